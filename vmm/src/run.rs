//! `vmm run`: from a configuration to an exit code, across reboots of the guest.

use std::{io, process::ExitCode, thread, time::Duration};

use anyhow::Context;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
};

use crate::{
    cli::RunArgs,
    config::SerialConfig,
    machine::{Console, Event, HostResources, Machine, MachineError, Stopper},
    terminal::{self, RawMode},
};

/// Exit code of a guest that crashed.
const GUEST_CRASHED: u8 = 3;
/// Exit code of a command line that cannot be right.
const USAGE: u8 = 2;
/// Pause between attempts to build the next machine while a back-end is away, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Runs a guest to its end.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = args.guest();
    if let Err(message) = config.check_slots() {
        eprintln!("error: {message}");
        return Ok(ExitCode::from(USAGE));
    }
    raise_file_limit();
    // Before any thread starts: every thread inherits the mask, and only the signal thread takes these.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
    let stopper = Stopper::default();
    watch_signals(signals, stopper.clone())?;

    let host = HostResources::open(&config, args.control_socket.as_deref())?;
    let console = Console::new(stopper.clone()).context("setting up the console")?;
    let mut terminal = None;
    let mut machine = Machine::build(&config, &host)?;
    loop {
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
        console.detach();
        machine = match once_back_ends_are_back(&stopper, || Machine::build(&config, &host))? {
            Some(machine) => machine,
            None => return Ok(ExitCode::SUCCESS),
        };
    }
}

/// Builds the machine of a guest that has reset. A back-end that restarts just then must not end it; `None`: somebody asks for a stop.
fn once_back_ends_are_back<T>(
    stopper: &Stopper,
    mut build: impl FnMut() -> Result<T, MachineError>,
) -> Result<Option<T>, MachineError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match build() {
            Err(error) if error.is_passing() => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "the guest waits for its back-end");
                }
            }
            result => return result.map(Some),
        }
        if stopper.wait(pause) {
            return Ok(None);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Queues, rings and vectors cost descriptors; the soft limit is made for `select()`.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "raise the limit of open files");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::{DeviceError, events},
        net::SessionError,
    };

    fn away() -> MachineError {
        DeviceError::from(SessionError::NoSocket("s".into())).into()
    }

    #[test]
    fn a_reboot_waits_for_a_back_end_that_is_away() {
        let stopper = Stopper::default();
        let mut results = [Err(away()), Ok(1)].into_iter();
        let built = once_back_ends_are_back(&stopper, || results.next().unwrap());
        assert_eq!(built.unwrap(), Some(1));
        let refused = || Err::<(), _>(DeviceError::from(SessionError::Legacy).into());
        once_back_ends_are_back(&stopper, refused).unwrap_err();
    }

    #[test]
    fn a_wish_to_stop_ends_the_wait() {
        let stopper = Stopper::default();
        let (first, _receiver) = events();
        stopper.attach(first);
        let mut tries = 0;
        let built = once_back_ends_are_back(&stopper, || {
            tries += 1;
            if tries == 2 {
                assert!(stopper.stop());
            }
            Err::<(), _>(away())
        });
        assert_eq!((built.unwrap(), tries), (None, 2));
    }
}
