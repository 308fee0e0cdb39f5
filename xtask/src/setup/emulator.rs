//! The QEMU that emulates the lab host.
//!
//! Before 10.2, QEMU's vCPU threads changed `CPUState.interrupt_request` without a lock or an atomic
//! operation at each VMRUN and #VMEXIT. An interrupt that another thread raised in that instant was
//! lost, or a virtual one left behind: nested hosts hung, guests saw exceptions that nobody raised.
//! Debian has a later QEMU in trixie's backports. It goes into the cache with the libraries it needs,
//! down to the dynamic loader, and is never installed.
use super::apt::Release;
use crate::exec;
use crate::machine;
use crate::repo;
use crate::ui::{Step, Ui};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first QEMU whose emulation of nested SVM is free of that race.
const SOUND: (u32, u32) = (10, 2);
/// Where Debian has it: a suite, and the one that its dependencies come from.
const SUITES: &[&str] = &["trixie", "trixie-backports"];
const PACKAGE: &str = "qemu-system-x86";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// How to start the emulator.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// Where it is unpacked; absent if it is the one on `PATH`.
    root: Option<PathBuf>,
}

impl Emulator {
    /// A command that has yet to get its arguments.
    pub fn command(&self) -> Command {
        let Some(root) = &self.root else {
            return Command::new("qemu-system-x86_64");
        };
        // The loader of its own release: this machine's C library may be older.
        let libraries = root.join(LIBRARIES);
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries);
        command.arg(root.join("usr/bin/qemu-system-x86_64"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(firmware));
        }
        command
    }

    fn version(&self) -> Option<(u32, u32)> {
        machine::qemu_version(self.command())
    }
}

/// An emulator that is sound, from this machine, the cache or Debian; else the one on `PATH`, and says so.
pub fn emulator(ui: Ui) -> Result<Emulator> {
    let installed = Emulator { root: None };
    if installed.version() >= Some(SOUND) {
        return Ok(installed);
    }
    let root = repo::lab_cache().join("emulator");
    let own = Emulator {
        root: Some(root.clone()),
    };
    if own.version() >= Some(SOUND) {
        return Ok(own);
    }
    let fetched = if machine::is_debian() {
        let title = format!(
            "fetch QEMU for the lab host from Debian {}",
            SUITES.join(", ")
        );
        ui.step(&title, |step| fetch(step, &root)).and_then(|()| {
            own.version()
                .map(drop)
                .context("the unpacked QEMU does not start")
        })
    } else {
        Err(anyhow::anyhow!("this is not a Debian system"))
    };
    match fetched {
        Ok(()) => Ok(own),
        Err(error) if installed.version().is_some() => {
            ui.note(&format!(
                "no QEMU {}.{} or later for the lab host ({error:#}): the installed one loses an interrupt now and then, \
                 and a scenario may have to be run again",
                SOUND.0, SOUND.1
            ));
            Ok(installed)
        }
        Err(error) => Err(error),
    }
}

fn fetch(step: &Step, root: &Path) -> Result<()> {
    let partial = root.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let release = Release::create(&partial.join("apt"), SUITES)?;
    step.progress("apt-get update");
    release.update()?;
    step.progress(&format!("download {PACKAGE} and what it needs"));
    let packages = release.download(PACKAGE)?;
    let unpacked = partial.join("root");
    fs::create_dir_all(&unpacked)?;
    step.progress(&format!("unpack {} packages", packages.len()));
    for package in &packages {
        exec::run(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(package)
                .arg(&unpacked),
        )?;
    }
    if !unpacked.join(LIBRARIES).is_dir() {
        bail!("the packages hold no {LIBRARIES}");
    }
    let _ = fs::remove_dir_all(root);
    fs::rename(&unpacked, root)?;
    fs::remove_dir_all(&partial)?;
    Ok(())
}
