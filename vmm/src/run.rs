//! `vmm run`: from a configuration to an exit code, across reboots of the guest.

use std::{io, process::ExitCode, thread};

use anyhow::Context;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::{
    cli::RunArgs,
    config::SerialConfig,
    machine::{Console, Event, HostResources, Machine, Stopper},
    terminal::{self, RawMode},
};

/// Exit code of a guest that crashed.
const GUEST_CRASHED: u8 = 3;
/// Exit code of a command line that cannot be right.
const USAGE: u8 = 2;

/// Runs a guest to its end.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = args.guest();
    if let Err(message) = config.check_slots() {
        eprintln!("error: {message}");
        return Ok(ExitCode::from(USAGE));
    }
    // Before any thread starts: every thread inherits the mask, and only the signal thread takes these.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
    let stopper = Stopper::default();
    watch_signals(signals, stopper.clone())?;

    let host = HostResources::open(&config, args.control_socket.as_deref())?;
    let console = Console::new(stopper.clone()).context("setting up the console")?;
    let mut terminal = None;
    loop {
        let machine = Machine::build(&config, &host)?;
        stopper.attach(machine.events());
        if config.serial == SerialConfig::Stdio {
            console.attach(machine.console());
            if terminal.is_none() {
                terminal = Some(RawMode::enter().context("switching the terminal to raw mode")?);
                console.spawn()?;
            }
        }
        match machine.run()? {
            Event::PowerOff | Event::Quit => return Ok(ExitCode::SUCCESS),
            Event::Reset if args.no_reboot => return Ok(ExitCode::SUCCESS),
            Event::Reset => tracing::info!(guest = config.name, "the guest resets"),
            Event::Crash(why) => {
                drop(terminal);
                eprintln!("error: the guest crashed: {why}");
                return Ok(ExitCode::from(GUEST_CRASHED));
            }
        }
    }
}

fn watch_signals(signals: SigSet, stopper: Stopper) -> io::Result<()> {
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while let Ok(signal) = signals.wait() {
                // The first signal stops the machine in order. Without one, or if that takes too long for somebody, end at once.
                if !stopper.stop() {
                    terminal::restore();
                    std::process::exit(128 + signal as i32);
                }
            }
        })?;
    Ok(())
}
