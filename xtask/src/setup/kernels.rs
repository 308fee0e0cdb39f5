//! Stock Debian kernels: downloaded and unpacked, never installed.
use super::apt;
use crate::exec;
use crate::machine;
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of Debian's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `linux-image-cloud-amd64`: small, LZ4-compressed (quick under emulation), virtio only.
    Cloud,
    /// `linux-image-amd64`: has the drivers of the legacy NICs.
    Generic,
}

impl Flavour {
    fn metapackage(self) -> &'static str {
        match self {
            Flavour::Cloud => "linux-image-cloud-amd64",
            Flavour::Generic => "linux-image-amd64",
        }
    }

    fn directory(self) -> PathBuf {
        repo::lab_cache().join("kernels").join(self.metapackage())
    }
}

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// `lib/modules/VERSION`, with a `modules.dep`.
    pub modules: PathBuf,
}

/// The kernel of `flavour`, from the cache or from Debian's mirror.
pub fn kernel(ui: Ui, flavour: Flavour) -> Result<Kernel> {
    let directory = flavour.directory();
    if let Ok(kernel) = locate(&directory) {
        return Ok(kernel);
    }
    if !machine::is_debian() {
        bail!(
            "the lab's kernel is Debian's {name}: unpack its files (boot/, lib/) below {place} and run depmod there",
            name = flavour.metapackage(),
            place = directory.display(),
        );
    }
    let title = format!("download {}", flavour.metapackage());
    ui.step(&title, |step| {
        let partial = directory.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        let package = apt::download_dependency(flavour.metapackage(), &partial)?;
        step.progress(&format!("unpack {package}"));
        unpack(&partial)?;
        let _ = fs::remove_dir_all(&directory);
        fs::rename(&partial, &directory)?;
        locate(&directory)
    })
}

fn unpack(directory: &Path) -> Result<()> {
    let package = first_entry(directory, |name| name.starts_with("linux-image-"))?;
    exec::run(Command::new("dpkg").arg("-x").arg(&package).arg(directory))?;
    fs::remove_file(&package)?;
    let modules = first_entry(&directory.join("lib/modules"), |_| true)?;
    let version = modules
        .file_name()
        .context("a version directory has a name")?;
    let depmod = exec::find_program("depmod").context("depmod is missing (package kmod)")?;
    exec::run(Command::new(depmod).arg("-b").arg(directory).arg(version))?;
    Ok(())
}

fn locate(directory: &Path) -> Result<Kernel> {
    let modules = first_entry(&directory.join("lib/modules"), |_| true)?;
    if !modules.join("modules.dep").is_file() {
        bail!("{} has no modules.dep", modules.display());
    }
    let image = first_entry(&directory.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    Ok(Kernel { image, modules })
}

fn first_entry(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .into_iter()
        .find(|path| {
            let name = path.file_name().unwrap_or_default();
            wanted(&name.to_string_lossy())
        })
        .with_context(|| format!("nothing suitable in {}", directory.display()))
}
