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
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
