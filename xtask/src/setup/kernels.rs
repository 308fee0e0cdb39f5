//! Stock Debian kernels: downloaded and unpacked, never installed.
use super::apt::{self, Release};
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
    /// `linux-image-686`: the same for 32-bit CPUs. Comes with a busybox for them.
    ///
    /// Not the one with PAE: an emulated CPU marks entries of its page directory pointers as accessed, where the lab's KVM, which
    /// sees reserved bits there, refuses the next write to CR4. No guest of any VMM gets beyond that.
    Generic32,
}

/// The release of Debian that 32-bit kernels come from: the last one that has any.
const RELEASE_32: &str = "bookworm";
/// Its name for 32-bit x86, and a shell with the usual tools in one program.
const I386: &str = "i386";
const BUSYBOX: &str = "busybox-static";

impl Flavour {
    fn metapackage(self) -> &'static str {
        match self {
            Flavour::Cloud => "linux-image-cloud-amd64",
            Flavour::Generic => "linux-image-amd64",
            Flavour::Generic32 => "linux-image-686",
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
    /// A busybox of its own, if this machine's does not run on it.
    pub busybox: Option<PathBuf>,
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
        let package = download(flavour, &partial)?;
        step.progress(&format!("unpack {package}"));
        unpack(&partial)?;
        let _ = fs::remove_dir_all(&directory);
        fs::rename(&partial, &directory)?;
        locate(&directory)
    })
}

/// Downloads a kernel's package, and what comes with it, into `directory`; returns its name.
fn download(flavour: Flavour, directory: &Path) -> Result<String> {
    if flavour != Flavour::Generic32 {
        return apt::download_dependency(flavour.metapackage(), directory);
    }
    let place = directory.join("apt");
    let release = Release::create(&place, &[RELEASE_32])?.of_architecture(I386);
    release.update()?;
    let package = release.dependency_of(flavour.metapackage())?;
    for name in [package.as_str(), BUSYBOX] {
        release.download_alone(name, directory)?;
    }
    fs::remove_dir_all(&place)?;
    Ok(package)
}

/// Unpacks the packages in `directory` there.
fn unpack(directory: &Path) -> Result<()> {
    for name in ["linux-image-", BUSYBOX] {
        let Ok(package) = first_entry(directory, |entry| entry.starts_with(name)) else {
            continue;
        };
        exec::run(Command::new("dpkg").arg("-x").arg(&package).arg(directory))?;
        fs::remove_file(&package)?;
    }
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
    let busybox = directory.join("bin/busybox");
    Ok(Kernel {
        image,
        modules,
        busybox: busybox.is_file().then_some(busybox),
    })
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
