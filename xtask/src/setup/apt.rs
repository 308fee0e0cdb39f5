//! Debian packages: installed by name, downloaded without installing.
use crate::exec;
use crate::machine;
use crate::ui::Step;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that is wanted from backports: bookworm's own QEMU 7.2 crashes as a vhost-user
/// front-end with MSI-X when it emulates the CPU.
const QEMU: &str = "qemu-system-x86";
const BACKPORTS: &str = "bookworm-backports";
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const BACKPORTS_LIST: &str = "/etc/apt/sources.list.d/bookworm-backports.list";

/// Installs `packages`; QEMU comes from backports on bookworm, where they can be reached.
pub fn install(step: &Step, packages: &[&str]) -> Result<()> {
    let wants_backports = packages.contains(&QEMU)
        && machine::os_release("VERSION_CODENAME").as_deref() == Some("bookworm");
    if wants_backports && !has_backports() {
        step.progress(&format!("add the suite {BACKPORTS} to apt's sources"));
        let source = format!("deb {MIRROR} {BACKPORTS} main");
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

/// Another release of Debian than this machine's: looked at and downloaded from, never installed.
/// Works without root.
#[derive(Debug)]
pub struct Release {
    directory: PathBuf,
    suite: String,
    /// If it is not this machine's own.
    architecture: Option<&'static str>,
}

impl Release {
    /// Suites of Debian, the one that packages are wanted from last; apt's files go into `directory`.
    pub fn create(directory: &Path, suites: &[&str]) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        // As if nothing were installed: then what is downloaded is complete.
        fs::write(directory.join("status"), "")?;
        let source = |suite: &&str| format!("deb [signed-by={KEYRING}] {MIRROR} {suite} main");
        let sources: Vec<String> = suites.iter().map(source).collect();
        fs::write(directory.join("sources.list"), sources.join("\n") + "\n")?;
        let suite = suites.last().context("no suite to download from")?;
        Ok(Self {
            directory: directory.to_owned(),
            suite: (*suite).to_owned(),
            architecture: None,
        })
    }

    /// The same of another architecture.
    #[must_use]
    pub fn of_architecture(self, name: &'static str) -> Self {
        Self {
            architecture: Some(name),
            ..self
        }
    }

    /// Fetches the indices.
    pub fn update(&self) -> Result<()> {
        exec::run(self.apt_get().arg("update"))
            .context("fetching package indices failed; is the network up?")?;
        Ok(())
    }

    /// Downloads `package` with everything it depends on.
    pub fn download(&self, package: &str) -> Result<Vec<PathBuf>> {
        let mut command = self.apt_get();
        command.args([
            "-y",
            "-t",
            &self.suite,
            "--no-install-recommends",
            "--download-only",
        ]);
        exec::run(command.args(["install", package]))
            .with_context(|| format!("downloading {package} failed; is the network up?"))?;
        packages_in(&self.directory.join("cache/archives"))
    }

    /// Downloads `package` alone, into `into`.
    pub fn download_alone(&self, package: &str, into: &Path) -> Result<()> {
        fs::create_dir_all(into)?;
        let mut command = self.apt_get();
        command.args(["download", package]).current_dir(into);
        exec::run(&mut command)
            .with_context(|| format!("downloading {package} failed; is the network up?"))?;
        Ok(())
    }

    /// The package that `metapackage` depends on.
    pub fn dependency_of(&self, metapackage: &str) -> Result<String> {
        let mut command = Command::new("apt-cache");
        self.configure(&mut command);
        named_dependency(metapackage, command.args(["depends", metapackage]))
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-o", "Acquire::Retries=3"]);
        self.configure(&mut command);
        command
    }

    fn configure(&self, command: &mut Command) {
        let place = |part: &str| self.directory.join(part).display().to_string();
        if let Some(name) = self.architecture {
            for option in ["APT::Architecture", "APT::Architectures"] {
                command.args(["-o", &format!("{option}={name}")]);
            }
        }
        for option in [
            format!("Dir::State::lists={}", place("lists")),
            format!("Dir::State::status={}", place("status")),
            format!("Dir::State::extended_states={}", place("extended_states")),
            format!("Dir::Cache={}", place("cache")),
            format!("Dir::Etc::sourcelist={}", place("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            // Nothing is installed, so there is nothing to lock against; and root may download as root
            // into a directory that apt's own user cannot enter.
            "Debug::NoLocking=1".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
    }
}

/// Downloads `package` and those of its dependencies that this machine lacks into `directory`, and installs nothing.
pub fn download_missing(package: &str, directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory.join("partial"))?;
    let download = || {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-y", "-o", "Acquire::Retries=3"]);
        for option in [
            &format!("Dir::Cache::archives={}", directory.display()),
            // Nothing is installed, so there is nothing to lock against.
            "Debug::NoLocking=1",
            "APT::Sandbox::User=root",
        ] {
            command.args(["-o", option]);
        }
        command.args(["--no-install-recommends", "--download-only", "install"]);
        exec::run(command.arg(package))
    };
    // An index from an old machine image names a version that the mirror has already replaced.
    if download().is_err() {
        update()?;
        download().with_context(|| format!("downloading {package} failed; is the network up?"))?;
    }
    packages_in(directory)
}

fn packages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut packages: Vec<PathBuf> = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    packages.sort();
    Ok(packages)
}

fn first_dependency(metapackage: &str) -> Result<String> {
    let mut command = Command::new("apt-cache");
    named_dependency(metapackage, command.args(["depends", metapackage]))
}

/// What the first line of `apt-cache depends` names.
fn named_dependency(metapackage: &str, command: &mut Command) -> Result<String> {
    let text = exec::stdout(command)?;
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
