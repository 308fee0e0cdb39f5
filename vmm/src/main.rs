//! The `vmm` command.

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;
use vmm::{
    check,
    cli::{Cli, Command},
    run,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&cli.log))
        .with_writer(io::stderr)
        .without_time()
        .init();
    let result = match &cli.command {
        Command::Check => check::report(&check::check(), &mut io::stdout())
            .map(|good| {
                if good {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                }
            })
            .map_err(Into::into),
        Command::Run(args) => run::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", describe(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, without those whose text it has already.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::describe;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x: {source}")]
    struct Telling {
        source: io::Error,
    }

    #[test]
    fn each_cause_is_told_once() {
        let source = io::Error::other("no such file");
        let error = Err::<(), _>(Telling { source }).context("booting");
        assert_eq!(
            describe(&error.unwrap_err()),
            "booting: cannot read x: no such file"
        );
    }
}
