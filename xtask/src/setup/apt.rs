//! Debian packages: installed by name, downloaded without installing.
use crate::exec;
use crate::machine;
use crate::ui::Step;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The package that is wanted from backports: bookworm's own QEMU 7.2 crashes as a vhost-user
/// front-end with MSI-X when it emulates the CPU.
const QEMU: &str = "qemu-system-x86";
const BACKPORTS: &str = "bookworm-backports";
const BACKPORTS_LIST: &str = "/etc/apt/sources.list.d/bookworm-backports.list";

/// Installs `packages`; QEMU comes from backports on bookworm, where they can be reached.
pub fn install(step: &Step, packages: &[&str]) -> Result<()> {
    let wants_backports = packages.contains(&QEMU)
        && machine::os_release("VERSION_CODENAME").as_deref() == Some("bookworm");
    if wants_backports && !has_backports() {
        step.progress(&format!("add the suite {BACKPORTS} to apt's sources"));
        let source = format!("deb http://deb.debian.org/debian {BACKPORTS} main");
        let script = format!("echo '{source}' > {BACKPORTS_LIST}");
        exec::run(as_root("sh")?.args(["-c", &script]))?;
    }
    step.progress("apt-get update");
    update()?;
    if wants_backports {
        step.progress(&format!("{QEMU} from {BACKPORTS}"));
        let from_backports = exec::run(apt_install()?.args(["-t", BACKPORTS, QEMU]));
        if from_backports.is_err() {
            step.progress("not to be had there: bookworm's own QEMU will do");
        }
    }
    step.progress("apt-get install");
    exec::run(apt_install()?.args(packages))
        .context("installing packages failed; run the command by hand to see why")?;
    Ok(())
}

/// Downloads the package that `metapackage` depends on into `directory`; returns its name.
pub fn download_dependency(metapackage: &str, directory: &Path) -> Result<String> {
    let package = if let Ok(package) = first_dependency(metapackage) {
        package
    } else {
        update()?;
        first_dependency(metapackage)?
    };
    fs::create_dir_all(directory)?;
    let download = || {
        exec::run(
            Command::new("apt-get")
                .args(["-q", "-o", "Acquire::Retries=3", "download", &package])
                .current_dir(directory),
        )
    };
    // An index from an old machine image names a version that the mirror has already replaced.
    if download().is_err() {
        update()?;
        download().with_context(|| format!("downloading {package} failed; is the network up?"))?;
    }
    Ok(package)
}

fn first_dependency(metapackage: &str) -> Result<String> {
    let text = exec::stdout(Command::new("apt-cache").args(["depends", metapackage]))?;
    let dependency = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "));
    match dependency {
        Some(name) => Ok(name.to_owned()),
        None => bail!("apt knows no dependency of {metapackage}; run `apt-get update`"),
    }
}

fn update() -> Result<()> {
    // One unreachable third-party source must not stop us; a missing package will say so itself.
    exec::run(as_root("apt-get")?.args(["-q", "-o", "Acquire::Retries=3", "update"]))
        .context("apt-get update failed; is the network up?")
        .map(drop)
        .or_else(|error| {
            if first_dependency("linux-image-cloud-amd64").is_ok() {
                Ok(())
            } else {
                Err(error)
            }
        })
}

fn apt_install() -> Result<Command> {
    let mut command = as_root("apt-get")?;
    command.args([
        "-q",
        "-y",
        "-o",
        "Acquire::Retries=3",
        "install",
        "--no-install-recommends",
    ]);
    Ok(command)
}

fn as_root(program: &str) -> Result<Command> {
    let environment = "DEBIAN_FRONTEND=noninteractive";
    let mut command = if machine::is_root() {
        Command::new("env")
    } else if exec::find_program("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    } else {
        bail!("installing packages needs root: run this as root, or install sudo");
    };
    command.args([environment, program]);
    Ok(command)
}

fn has_backports() -> bool {
    let mut files = vec!["/etc/apt/sources.list".into()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.iter().any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .any(|line| !line.trim_start().starts_with('#') && line.contains(BACKPORTS))
    })
}
