//! The command line.
mod args;
mod check;
mod flows;
mod forward;
mod health;
mod leases;
mod log;
mod network;
mod port;
mod queues;
mod reload;
mod set;
mod status;
mod table;

use crate::{
    config::{Base, Config, Overrides},
    supervisor, worker,
};
pub use args::Args;
use args::Command;
use clap::Parser;
use control::Client;
use std::{
    io::{self, Write},
    path::{self, Path},
    process::ExitCode,
};

/// Runs the command that the arguments of this process name; its exit code.
///
/// 0: done. 1: it failed. 2: the command line or the configuration is wrong.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.message.lines() {
                eprintln!("netbackend: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Why the command failed.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// It failed at run time.
    fn at_run_time(error: impl std::fmt::Display) -> Self {
        Self {
            code: 1,
            message: format!("{error:#}"),
        }
    }

    /// It failed, and was told on standard output.
    fn told(code: u8) -> Self {
        Self {
            code,
            message: String::new(),
        }
    }

    /// The user asked for something that cannot be meant.
    fn usage(error: impl std::fmt::Display) -> Self {
        Self {
            code: 2,
            message: error.to_string(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::at_run_time(format_args!("write the output: {error}"))
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let overrides = args.overrides().map_err(Failure::usage)?;
    match args.command {
        None => {
            // It is read again while the daemon may stand elsewhere.
            let file = args.config.map(path::absolute).transpose();
            let file = file.map_err(Failure::usage)?;
            let base = Base::load(file.as_deref(), &overrides).map_err(Failure::usage)?;
            log::init(&args.log, None).map_err(Failure::usage)?;
            let options = supervisor::Options {
                file,
                overrides,
                log: args.log,
            };
            supervisor::run(base, options).map_err(Failure::at_run_time)
        }
        Some(Command::Worker { network }) => {
            log::init(&args.log, Some(&network)).map_err(Failure::usage)?;
            worker::run(&network).map_err(Failure::at_run_time)
        }
        Some(Command::CheckConfig { file }) => {
            let config = load(Some(&file), &overrides)?;
            Ok(check::explain(&mut io::stdout().lock(), &file, &config)?)
        }
        Some(Command::Status { json }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            let status = client.status().map_err(Failure::at_run_time)?;
            let mut out = io::stdout().lock();
            if json {
                print_json(&mut out, &status)?;
            } else {
                status::show(&mut out, &status)?;
            }
            Ok(())
        }
        Some(Command::Health { json }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            health::run(&client, json)
        }
        Some(Command::Reload { json }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            reload::run(&client, json)
        }
        Some(Command::Network { command }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            network::run(&client, command)
        }
        Some(Command::Forward { command }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            forward::run(&client, command)
        }
        Some(Command::Flows {
            network,
            watch,
            json,
        }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            flows::run(&client, &network, watch, json)
        }
        Some(Command::Leases { network, json }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            leases::run(&client, &network, json)
        }
        Some(Command::Port { command }) => {
            let client = client(args.config.as_deref(), &overrides)?;
            port::run(&client, command)
        }
    }
}

fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, Failure> {
    match file {
        Some(file) => Config::load(file, overrides),
        None => Config::built_in(overrides),
    }
    .map_err(Failure::usage)
}

/// A client of the daemon that runs with this command line's configuration.
fn client(file: Option<&Path>, overrides: &Overrides) -> Result<Client, Failure> {
    Ok(Client::new(load(file, overrides)?.control_socket))
}

fn print_json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
