//! The guest's initramfs: busybox, network tools, virtio drivers, and the jobs of `tests/lab/guest`.
use super::{Tree, modules};
use crate::exec::find_program;
use crate::repo;
use crate::setup::kernels::{Flavour, Kernel};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Drivers that a guest may need for what our VMM and QEMU offer it.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "virtio_rng",
    // Of legacy NICs; the cloud kernel does not have them.
    "e1000",
    "pcnet32",
    "8139cp",
    "8139too",
    "ne2k-pci",
    // VLAN interfaces on them.
    "8021q",
];
const PROGRAMS: &[&str] = &["iperf3", "openssl", "ethtool"];
/// What looks at legacy NICs beside these.
const GENERIC_PROGRAMS: &[&str] = &["tcpdump"];

/// The guest's initramfs for `kernel` of `flavour`, from the cache if nothing in it changed.
pub fn build(kernel: &Kernel, flavour: Flavour) -> Result<PathBuf> {
    let mut tree = Tree::new();
    if let Some(busybox) = &kernel.busybox {
        add_directories(&mut tree);
        tree.copy("usr/bin/busybox", busybox, 0o755);
        tree.symlink("bin/sh", "/usr/bin/busybox");
    } else {
        add_system(&mut tree)?;
        let more = match flavour {
            Flavour::Generic => GENERIC_PROGRAMS,
            Flavour::Cloud | Flavour::Generic32 => &[],
        };
        for program in PROGRAMS.iter().chain(more) {
            add_program(&mut tree, program)?;
        }
    }
    modules::add(&mut tree, &kernel.modules, MODULES)?;
    let sources = repo::lab_sources().join("guest");
    tree.copy("init", &sources.join("init"), 0o755);
    tree.scripts("jobs", &sources.join("jobs"))?;
    tree.write(&repo::lab_cache().join("images"), "guest")
}

/// Busybox, a shell, and the directories that an init expects.
///
/// The shell is dash: busybox's own prefers its applets to programs of the same name, and its `ip` has
/// no namespaces.
pub(super) fn add_system(tree: &mut Tree) -> Result<()> {
    add_program(tree, "busybox")?;
    add_program(tree, "dash")?;
    add_directories(tree);
    tree.symlink("bin/sh", "/usr/bin/dash");
    Ok(())
}

fn add_directories(tree: &mut Tree) {
    for directory in ["proc", "sys", "dev", "run", "tmp", "etc", "bin"] {
        tree.directory(directory);
    }
}

pub(super) fn add_program(tree: &mut Tree, name: &str) -> Result<()> {
    let path = find_program(name).with_context(|| {
        format!("{name} is not installed; run `cargo xtask test` or `demo` once")
    })?;
    tree.program(&path)
}
