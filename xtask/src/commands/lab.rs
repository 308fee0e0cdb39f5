//! `cargo xtask lab`: scenarios by name, and a shell in the lab host.
use super::build::{self, Profile};
use crate::lab::{self, Options, Scenario};
use crate::repo;
use crate::setup;
use crate::ui::Ui;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// Arguments of `lab`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name the scenarios and what each shows
    List,
    /// Run one scenario; the exit code is its verdict
    Run {
        /// Name, as `lab list` shows it
        scenario: String,
        #[command(flatten)]
        host: Host,
        /// A variable for the scenario's script; repeatable
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
        settings: Vec<(String, String)>,
        /// How many times as long as usual everything may take: for long runs, and on a busy machine
        #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        patience: u32,
        /// Show everything the host prints
        #[arg(long)]
        verbose: bool,
    },
    /// A shell in the lab host, with our programs and a guest to boot
    Shell(Host),
}

#[derive(Debug, clap::Args)]
struct Host {
    /// CPUs of the nested host
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory of the nested host, MiB
    #[arg(long, default_value_t = 3072)]
    memory: u32,
    /// CPU model that QEMU emulates for the nested host
    #[arg(long, default_value = lab::CPU_MODEL)]
    cpu_model: String,
    /// Use the nested host although this machine could run guests itself
    #[arg(long)]
    nested: bool,
    /// Programs from the release profile
    #[arg(long)]
    release: bool,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let setting = text
        .split_once('=')
        .filter(|_| !text.contains(char::is_whitespace));
    let (key, value) =
        setting.ok_or_else(|| format!("`{text}` is not KEY=VALUE without spaces"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Does what `args` ask for.
pub fn run(ui: Ui, args: &Args) -> Result<ExitCode> {
    match &args.action {
        Action::List => {
            for scenario in Scenario::all()? {
                println!("{:24} {}", scenario.name, scenario.title);
            }
        }
        Action::Run {
            scenario,
            host,
            settings,
            patience,
            verbose,
        } => {
            let mut scenario = Scenario::load(scenario)?;
            scenario.timeout *= *patience;
            let mut options = prepare(ui, host)?;
            options.verbose = *verbose;
            options.settings.clone_from(settings);
            options.patience = *patience;
            return run_scenario(ui, &scenario, &options);
        }
        Action::Shell(host) => lab::shell(ui, &prepare(ui, host)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn prepare(ui: Ui, host: &Host) -> Result<Options> {
    setup::install_tools(ui)?;
    let profile = if host.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    let mut options = Options::new(build::programs(ui, profile)?);
    options.cpus = host.cpus;
    options.memory_mib = host.memory;
    options.cpu_model.clone_from(&host.cpu_model);
    options.force_nested = host.nested;
    Ok(options)
}

fn run_scenario(ui: Ui, scenario: &Scenario, options: &Options) -> Result<ExitCode> {
    let verdict = lab::run(ui, scenario, options)?;
    let word = if verdict.passed() { "passed" } else { "FAILED" };
    println!(
        "{} {word} in {:.0} s; console {}, logs {}",
        scenario.name,
        verdict.elapsed.as_secs_f64(),
        repo::display(&verdict.console),
        repo::display(&verdict.logs)
    );
    Ok(if verdict.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
