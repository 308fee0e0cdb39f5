//! The nested lab host's initramfs: KVM, network drivers, our programs, and a guest inside.
use super::guest::{add_program, add_system};
use super::{Tree, modules};
use crate::repo;
use crate::setup::kernels::Kernel;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const MODULES: &[&str] = &[
    "irqbypass",
    "kvm",
    "kvm-amd",
    "kvm-intel",
    "virtio_pci",
    "virtio_blk",
    "tun",
    "bridge",
    "veth",
    "macvtap",
    "8021q",
    "vhost_net",
];
const PROGRAMS: &[&str] = &["ip", "iperf3", "openssl", "ethtool", "tcpdump", "dnsmasq"];

/// What a scenario finds in its host besides the tools.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The kernel the host itself runs.
    pub host_kernel: Kernel,
    /// The kernel that its guests boot.
    pub guest_kernel: PathBuf,
    /// The initramfs that its guests boot.
    pub guest_initrd: PathBuf,
    /// Programs under test.
    pub programs: Vec<PathBuf>,
    /// Programs of this machine that the scenario wants besides the usual ones.
    pub tools: Vec<String>,
}

/// The lab host's initramfs, from the cache if nothing in it changed.
pub fn build(contents: &Contents) -> Result<PathBuf> {
    let mut tree = Tree::new();
    add_system(&mut tree)?;
    for program in PROGRAMS {
        add_program(&mut tree, program)?;
    }
    for tool in &contents.tools {
        add_program(&mut tree, tool)?;
        if tool.starts_with("qemu-system") {
            add_firmware(&mut tree)?;
        }
    }
    for program in &contents.programs {
        tree.program(program)?;
    }
    modules::add(&mut tree, &contents.host_kernel.modules, MODULES)?;
    tree.copy("lab/guest/vmlinuz", &contents.guest_kernel, 0o644);
    tree.copy("lab/guest/initrd.img", &contents.guest_initrd, 0o644);
    let sources = repo::lab_sources();
    tree.copy("init", &sources.join("host/init"), 0o755);
    tree.scripts("lab", &sources)?;
    tree.scripts("lab/jobs", &sources.join("guest/jobs"))?;
    tree.write(&repo::lab_cache().join("images"), "host")
}

/// What QEMU's PC wants to start Linux without a display: in QEMU's own directory, where its option `-L` finds all.
fn add_firmware(tree: &mut Tree) -> Result<()> {
    for name in ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin"] {
        let found = ["/usr/share/qemu", "/usr/share/seabios"]
            .iter()
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.is_file());
        let path = found.with_context(|| {
            format!("QEMU's {name} is missing (packages qemu-system-data and seabios)")
        })?;
        tree.copy(&format!("usr/share/qemu/{name}"), &path, 0o644);
    }
    Ok(())
}

/// A copy of `program` without debug information: the emulated host unpacks every byte of it.
pub fn stripped(program: &Path) -> PathBuf {
    let name = program.file_name().unwrap_or_default();
    let directory = repo::lab_cache().join("stripped");
    let target = directory.join(name);
    let done = std::fs::create_dir_all(&directory).is_ok()
        && crate::exec::run(
            std::process::Command::new("strip")
                .arg("-o")
                .arg(&target)
                .arg(program),
        )
        .is_ok();
    // Without binutils the image is larger, nothing else.
    if done { target } else { program.to_owned() }
}
