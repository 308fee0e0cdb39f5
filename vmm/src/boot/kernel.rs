//! Loading the kernel image and the initramfs.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use linux_loader::loader::{KernelLoader, bootparam::setup_header, bzimage::BzImage, elf::Elf};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend};

use super::BootError;
use crate::{
    layout::{HIGH_RAM_START, HOLE_START},
    memory::GuestRam,
};

/// A bzImage's 64-bit entry point lies this far behind its load address (Documentation/arch/x86/boot.rst).
const BZIMAGE_ENTRY_64: u64 = 0x200;
/// `xloadflags`: the kernel has the 64-bit entry point.
const XLF_KERNEL_64: u16 = 1;
/// The magic of a setup header, "HdrS", at this offset of the file.
const SETUP_MAGIC: (u64, [u8; 4]) = (0x202, *b"HdrS");
/// The magic of an ELF file.
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// Command line limit of a kernel that does not tell (ELF): COMMAND_LINE_SIZE of x86 without the final zero.
const CMDLINE_LIMIT: usize = 2047;
const PAGE: u64 = 4096;

/// A kernel in memory.
#[derive(Debug)]
pub(super) struct Kernel {
    /// 64-bit entry point.
    pub(super) entry: u64,
    /// First byte behind all that the kernel needs to unpack itself.
    pub(super) end: u64,
    /// Its setup header (made up for ELF).
    pub(super) header: setup_header,
    /// Bytes of command line it takes.
    pub(super) cmdline_limit: usize,
    /// Highest address for the initrd's last byte.
    initrd_addr_max: u64,
}

pub(super) fn load(ram: &GuestRam, path: &Path) -> Result<Kernel, BootError> {
    let unreadable = |source| BootError::File {
        what: "kernel",
        path: path.into(),
        source,
    };
    let bad = |reason: String| BootError::Kernel {
        path: path.into(),
        reason,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    if magic(&mut file, 0).map_err(unreadable)? == Some(ELF_MAGIC) {
        return load_elf(ram, &mut file).map_err(bad);
    }
    if magic(&mut file, SETUP_MAGIC.0).map_err(unreadable)? == Some(SETUP_MAGIC.1) {
        return load_bzimage(ram, &mut file).map_err(bad);
    }
    Err(bad(
        "it has neither an ELF header nor a Linux setup header".into()
    ))
}

fn magic(file: &mut File, offset: u64) -> std::io::Result<Option<[u8; 4]>> {
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(offset))?;
    let found = match file.read_exact(&mut bytes) {
        Ok(()) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(0))?;
    Ok(found)
}

fn load_elf(ram: &GuestRam, file: &mut File) -> Result<Kernel, String> {
    let loaded = Elf::load(&ram.mmap, None, file, Some(GuestAddress(HIGH_RAM_START)))
        .map_err(|e| e.to_string())?;
    let header = setup_header {
        boot_flag: 0xAA55,
        header: u32::from_le_bytes(SETUP_MAGIC.1),
        kernel_alignment: 0x100_0000,
        ..Default::default()
    };
    Ok(Kernel {
        entry: loaded.kernel_load.raw_value(),
        end: loaded.kernel_end,
        header,
        cmdline_limit: CMDLINE_LIMIT,
        initrd_addr_max: 0x7FFF_FFFF,
    })
}

fn load_bzimage(ram: &GuestRam, file: &mut File) -> Result<Kernel, String> {
    let loaded = BzImage::load(&ram.mmap, None, file, Some(GuestAddress(HIGH_RAM_START)))
        .map_err(|e| e.to_string())?;
    let header = loaded.setup_header.ok_or("it has no setup header")?;
    if header.xloadflags & XLF_KERNEL_64 == 0 {
        return Err("it has no 64-bit entry point".into());
    }
    let start = loaded.kernel_load.raw_value();
    // `syssize` counts paragraphs of 16 bytes; what is missing at the end would be found out only by the guest's crash.
    let (size, loaded_size) = (u64::from(header.syssize) * 16, loaded.kernel_end - start);
    if loaded_size < size {
        return Err(format!(
            "it is cut short: {loaded_size} of {size} bytes behind its setup code"
        ));
    }
    // The kernel unpacks itself into `init_size` bytes at its preferred address, or where it was loaded if that is higher.
    let runs_at = start.max(header.pref_address);
    Ok(Kernel {
        entry: start + BZIMAGE_ENTRY_64,
        end: loaded
            .kernel_end
            .max(runs_at.saturating_add(u64::from(header.init_size))),
        header,
        cmdline_limit: usize::try_from(header.cmdline_size).unwrap_or(CMDLINE_LIMIT),
        initrd_addr_max: u64::from(header.initrd_addr_max),
    })
}

/// Puts the initramfs as high as the kernel allows, page-aligned; returns its address and size.
pub(super) fn load_initrd(
    ram: &GuestRam,
    path: &Path,
    kernel: &Kernel,
) -> Result<(u32, u32), BootError> {
    let unreadable = |source| BootError::File {
        what: "initrd",
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let too_big = || BootError::InitrdTooBig {
        path: path.into(),
        size,
    };
    let low_ram = ram.mmap.iter().next().map_or(0, low_end).min(HOLE_START);
    let top = low_ram.min(kernel.initrd_addr_max.saturating_add(1));
    let addr = top.checked_sub(size).ok_or_else(too_big)? / PAGE * PAGE;
    if addr < kernel.end {
        return Err(too_big());
    }
    let bytes = usize::try_from(size).map_err(|_| too_big())?;
    ram.mmap
        .read_exact_volatile_from(GuestAddress(addr), &mut file, bytes)
        .map_err(|e| unreadable(std::io::Error::other(e.to_string())))?;
    let addr = u32::try_from(addr).map_err(|_| too_big())?;
    Ok((addr, u32::try_from(size).map_err(|_| too_big())?))
}

fn low_end(region: &impl vm_memory::GuestMemoryRegion) -> u64 {
    region.start_addr().raw_value() + region.len()
}
