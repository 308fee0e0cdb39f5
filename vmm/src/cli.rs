//! The command line of `vmm`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    boot::BootSource,
    config::{ByteSize, DiskConfig, GuestConfig, NetConfig, SerialConfig},
};

const EXIT_CODES: &str = "\
Exit codes of `vmm run`:
  0  the guest switched off, or a person or SIGTERM ended it
  1  it could not be started, or the host failed
  2  wrong command line
  3  the guest crashed (triple fault, or KVM could not go on)";

/// A minimal KVM virtual machine monitor whose NICs live in netbackend.
#[derive(Debug, Parser)]
#[command(name = "vmm", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log to standard error: error, warn, info, debug or trace, or a tracing filter.
    #[arg(
        long,
        global = true,
        env = "VMM_LOG",
        default_value = "warn",
        value_name = "LEVEL"
    )]
    pub log: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell whether this host can run KVM guests, and if not, why and what to do.
    Check,
    /// Boot a guest.
    Run(Box<RunArgs>),
}

/// A guest on the command line.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Linux kernel: bzImage or ELF vmlinux.
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,
    /// Initial RAM filesystem.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0")]
    pub cmdline: String,
    /// Guest memory; a multiple of 2M.
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub memory: ByteSize,
    /// Put guest memory on 2 MiB hugepages.
    #[arg(long)]
    pub hugepages: bool,
    /// Virtual CPUs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub cpus: u8,
    /// A virtio disk on a raw file: path=FILE[,readonly=on]. Repeatable.
    #[arg(long = "disk", value_name = "KEY=VALUE,…")]
    pub disks: Vec<DiskConfig>,
    /// A NIC: network=NAME[,trust=on] (asks netbackend for a port), socket=PATH (any vhost-user back-end) or
    /// macvtap=NIC[,mode=bridge|private|vepa|passthru][,vhost=on][,trust=on] (on a NIC of the host, without netbackend; vhost=on:
    /// served by the kernel's vhost-net; trust=on: the guest may change its address and what it receives, of a port of netbackend
    /// with trust_filters = true), [,mac=52:54:…][,queues=N][,mtu=N][,model=virtio|e1000|e1000-82545em|rtl8139|rtl8139c|ne2k_pci|pcnet|pcnet-79c973]
    /// [,poll_idle_us=N] (0 to 10000, 50 if not given: how long the thread of an emulated NIC polls after the last frame before it sleeps)
    /// [,link=down]. Repeatable, up to 31 devices in all.
    #[arg(long = "net", value_name = "KEY=VALUE,…")]
    pub nets: Vec<NetConfig>,
    /// Leave out the entropy device.
    #[arg(long)]
    pub no_rng: bool,
    /// The serial console: stdio (Ctrl-A x quits), null, or file=PATH.
    #[arg(long, value_name = "WHERE", default_value = "stdio")]
    pub serial: SerialConfig,
    /// End instead of booting again when the guest resets.
    #[arg(long)]
    pub no_reboot: bool,
    /// Name of the guest; its MAC addresses derive from it.
    #[arg(long, value_name = "NAME", default_value = "guest")]
    pub name: String,
    /// Control socket of netbackend, for network=NAME.
    #[arg(long, value_name = "PATH", env = "NETBACKEND_CONTROL_SOCKET")]
    pub control_socket: Option<PathBuf>,
}

impl RunArgs {
    /// The guest this describes.
    pub fn guest(&self) -> GuestConfig {
        GuestConfig {
            name: self.name.clone(),
            boot: BootSource {
                kernel: self.kernel.clone(),
                initrd: self.initrd.clone(),
                cmdline: self.cmdline.clone(),
            },
            memory: self.memory,
            hugepages: self.hugepages,
            cpus: self.cpus,
            disks: self.disks.clone(),
            nets: self.nets.clone(),
            rng: !self.no_rng,
            serial: self.serial.clone(),
        }
    }
}
