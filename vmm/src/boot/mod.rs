//! Getting a Linux kernel into guest memory and ready to run: image, initramfs, command line, zero page, page tables, ACPI.

pub(crate) mod acpi;
mod kernel;
mod page_tables;
mod zero_page;

use std::path::PathBuf;

use thiserror::Error;

use crate::{kvm::BootState, layout::ZERO_PAGE_ADDR, memory::GuestRam};

/// What to boot.
#[derive(Debug, Clone)]
pub struct BootSource {
    /// bzImage or ELF vmlinux.
    pub kernel: PathBuf,
    /// Initial RAM filesystem.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: String,
}

/// Why a guest cannot be booted.
#[derive(Debug, Error)]
pub enum BootError {
    /// The kernel or initrd file cannot be read.
    #[error("cannot read {what} {path}: {source}")]
    File {
        /// `kernel` or `initrd`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The kernel file is neither a bzImage nor an x86-64 ELF executable, or is damaged.
    #[error(
        "kernel {path} is not a bootable Linux kernel for x86 (bzImage, or ELF vmlinux of x86-64): {reason}"
    )]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel does not fit into RAM.
    #[error(
        "kernel {path} needs {needed} MiB of guest memory to start, of {present} MiB; give the guest more with --memory"
    )]
    KernelTooBig {
        /// The file.
        path: PathBuf,
        /// MiB it needs.
        needed: u64,
        /// MiB that there are below the 32-bit hole.
        present: u64,
    },
    /// The initrd does not fit behind the kernel.
    #[error(
        "initrd {path} of {size} bytes does not fit into guest memory behind the kernel; give the guest more with --memory"
    )]
    InitrdTooBig {
        /// The file.
        path: PathBuf,
        /// Its length.
        size: u64,
    },
    /// The command line is longer than the kernel takes.
    #[error("kernel command line of {0} bytes is longer than this kernel's limit of {1}")]
    Cmdline(usize, usize),
    /// The command line holds a zero byte.
    #[error("kernel command line contains a zero byte")]
    CmdlineByte,
    /// A table does not fit its place.
    #[error("writing the {0} into guest memory failed")]
    Write(&'static str),
}

/// Loads everything into `ram` and says where the first vCPU starts.
pub fn load(ram: &GuestRam, source: &BootSource, cpus: u8) -> Result<BootState, BootError> {
    let kernel = kernel::load(ram, &source.kernel)?;
    let initrd = match &source.initrd {
        Some(path) => Some(kernel::load_initrd(ram, path, &kernel)?),
        None => None,
    };
    zero_page::write_cmdline(ram, &source.cmdline, &kernel)?;
    let rsdp = acpi::write_tables(ram, cpus)?;
    zero_page::write(ram, &kernel, initrd, &source.cmdline, rsdp)?;
    page_tables::write(ram, kernel.entry)?;
    Ok(BootState {
        entry: kernel.entry,
        zero_page: ZERO_PAGE_ADDR,
    })
}

fn put(ram: &GuestRam, addr: u64, bytes: &[u8], what: &'static str) -> Result<(), BootError> {
    if ram.map.write(addr, bytes) {
        Ok(())
    } else {
        Err(BootError::Write(what))
    }
}
