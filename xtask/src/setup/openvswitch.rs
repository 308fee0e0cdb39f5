//! Open vSwitch with its DPDK datapath, for measurements beside ours.
//!
//! It goes into the cache and is never installed: Debian's packages start a switch of the whole machine.
use super::apt;
use crate::exec;
use crate::machine;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "openvswitch-switch-dpdk";
/// Where its packages keep libraries that this machine lacks.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where its packages keep programs.
const PROGRAMS: &[&str] = &["usr/lib/openvswitch-switch-dpdk", "usr/sbin", "usr/bin"];

/// Programs of Open vSwitch.
#[derive(Debug)]
pub struct OpenVSwitch {
    root: PathBuf,
}

impl OpenVSwitch {
    /// A command that has yet to get its arguments.
    pub fn command(&self, program: &str) -> Command {
        self.with_libraries(Command::new(self.program(program)))
    }

    /// The same, started by another program that is told so with its last argument.
    pub fn wrapped(&self, mut wrapper: Command, program: &str) -> Command {
        wrapper.arg(self.program(program));
        self.with_libraries(wrapper)
    }

    /// Schema of its database.
    pub fn schema(&self) -> PathBuf {
        self.root.join("usr/share/openvswitch/vswitch.ovsschema")
    }

    /// What its switch says of itself: versions of Open vSwitch and DPDK.
    pub fn version(&self) -> Result<String> {
        let text = exec::stdout(self.command("ovs-vswitchd").arg("--version"))?;
        Ok(text.trim().lines().collect::<Vec<_>>().join(", "))
    }

    fn program(&self, name: &str) -> PathBuf {
        // The one with DPDK has its name and a suffix on some releases, a directory of its own on others.
        let names = [
            format!("{name}-dpdk"),
            format!("{name}.openvswitch-switch-dpdk"),
            name.to_owned(),
        ];
        let candidates = PROGRAMS.iter().flat_map(|directory| {
            let directory = self.root.join(directory);
            names.iter().map(move |name| directory.join(name))
        });
        let mut found = candidates.filter(|path| path.is_file());
        found
            .next()
            .unwrap_or_else(|| self.root.join("usr/sbin").join(name))
    }

    fn with_libraries(&self, mut command: Command) -> Command {
        command.env("LD_LIBRARY_PATH", self.root.join(LIBRARIES));
        command
    }
}

/// Open vSwitch from the cache, else from Debian.
pub fn open_vswitch(ui: Ui) -> Result<OpenVSwitch> {
    let root = repo::lab_cache().join("openvswitch");
    let cached = OpenVSwitch { root: root.clone() };
    if cached.version().is_ok() {
        return Ok(cached);
    }
    if !machine::is_debian() {
        bail!("Open vSwitch is taken from Debian's packages, and this is not a Debian system");
    }
    ui.step(&format!("fetch {PACKAGE}"), |step| {
        let partial = root.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        step.progress("download the packages that are missing here");
        let packages = apt::download_missing(PACKAGE, &partial.join("archives"))?;
        let unpacked = partial.join("root");
        fs::create_dir_all(&unpacked)?;
        for package in &packages {
            unpack(package, &unpacked)?;
        }
        let _ = fs::remove_dir_all(&root);
        fs::rename(&unpacked, &root)?;
        fs::remove_dir_all(&partial)?;
        Ok(())
    })?;
    cached
        .version()
        .context("the unpacked Open vSwitch does not start")?;
    Ok(cached)
}

fn unpack(package: &Path, directory: &Path) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb");
    exec::run(dpkg.arg("-x").arg(package).arg(directory))?;
    Ok(())
}
