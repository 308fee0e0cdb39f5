//! `cargo xtask demo`: two guests on one network, for people.
use super::build::{self, Profile};
use crate::lab::{self, Options, Scenario};
use crate::machine;
use crate::repo;
use crate::setup;
use crate::ui::Ui;
use anyhow::Result;
use std::process::ExitCode;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show everything the machines print
    #[arg(long)]
    verbose: bool,
}

/// From a fresh machine to two guests that talk.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    println!("Two stock Linux guests in `vmm`, on KVM, connected by `netbackend`.\n");
    setup::install_tools(ui)?;
    let mut options = Options::new(build::programs(ui, Profile::Release)?);
    options.verbose = args.verbose;
    if !machine::has_virtualization() {
        ui.note("This machine's CPU offers no virtualization: QEMU emulates a host that has it.");
        ui.note("Everything is real but slow; compare the figures with each other only.");
    }
    let verdict = lab::run(ui, &Scenario::load("demo")?, &options)?;
    println!();
    if verdict.passed() {
        println!(
            "That was it, in {:.0} s; everything is cleaned up.",
            verdict.elapsed.as_secs_f64()
        );
        println!(
            "Logs of both guests and the daemon: {}",
            repo::display(&verdict.logs)
        );
        println!("Go on with: cargo xtask lab shell");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("Something failed: see {}", repo::display(&verdict.console));
        Ok(ExitCode::FAILURE)
    }
}
