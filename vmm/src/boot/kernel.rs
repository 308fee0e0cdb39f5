//! Loading the kernel image and the initramfs.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use linux_loader::loader::{KernelLoader, bootparam::setup_header, bzimage::BzImage, elf::Elf};
use vm_memory::{Address, ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::BootError;
use crate::{kvm::Entry, layout::HIGH_RAM_START, memory::GuestRam};

/// A bzImage's 64-bit entry point lies this far behind its load address (Documentation/arch/x86/boot.rst).
const BZIMAGE_ENTRY_64: u64 = 0x200;
/// `xloadflags`: the kernel has the 64-bit entry point.
const XLF_KERNEL_64: u16 = 1;
/// `loadflags`: the protected-mode code is loaded at 1 MiB.
const LOADED_HIGH: u8 = 1;
/// The magic of a setup header, "HdrS", at this offset of the file.
const SETUP_MAGIC: (u64, [u8; 4]) = (0x202, *b"HdrS");
/// Offset of the setup header in the file.
const SETUP_HEADER: u64 = 0x1F1;
/// Unit of `setup_sects`.
const SECTOR: u64 = 512;
/// The magic of an ELF file.
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// `e_ident[EI_CLASS]` and `e_machine` of x86-64.
const ELFCLASS64: u8 = 2;
const EM_X86_64: u16 = 62;
/// Command line limit of a kernel that does not tell (ELF): COMMAND_LINE_SIZE of x86 without the final zero.
const CMDLINE_LIMIT: usize = 2047;
const PAGE: u64 = 4096;

/// A kernel in memory.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Entry point.
    pub(super) entry: Entry,
    /// First byte behind all that the kernel needs to unpack itself.
    pub(super) end: u64,
    /// Its setup header (made up for ELF).
    pub(super) header: setup_header,
    /// Bytes of command line it takes.
    pub(super) cmdline_limit: usize,
    /// Highest address for the initrd's last byte.
    initrd_addr_max: u64,
}

/// Why a kernel was refused.
enum Refusal {
    /// The file.
    Bad(String),
    /// It needs RAM up to this address to start.
    NeedsRam(u64),
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(reason: T) -> Self {
        Self::Bad(reason.into())
    }
}

pub(super) fn load(ram: &GuestRam, path: &Path) -> Result<Kernel, BootError> {
    let (mut file, len) = open("kernel", path)?;
    let unreadable = |source| BootError::File {
        what: "kernel",
        path: path.into(),
        source,
    };
    let loaded = if magic(&file, 0).map_err(unreadable)? == Some(ELF_MAGIC) {
        load_elf(ram, &mut file)
    } else if magic(&file, SETUP_MAGIC.0).map_err(unreadable)? == Some(SETUP_MAGIC.1) {
        load_bzimage(ram, &mut file, len)
    } else {
        Err("it has neither an ELF header nor a Linux setup header".into())
    };
    loaded.map_err(|refusal| match refusal {
        Refusal::Bad(reason) => BootError::Kernel {
            path: path.into(),
            reason,
        },
        Refusal::NeedsRam(end) => BootError::KernelTooBig {
            path: path.into(),
            needed: end.div_ceil(1 << 20),
            present: low_ram(ram) >> 20,
        },
    })
}

/// Opens a file that is read as a whole: a regular one, because others do not tell their length.
fn open(what: &'static str, path: &Path) -> Result<(File, u64), BootError> {
    let unreadable = |source| BootError::File {
        what,
        path: path.into(),
        source,
    };
    // Looked at before it is opened: opening a pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok((file, metadata.len()))
}

fn magic(file: &File, offset: u64) -> io::Result<Option<[u8; 4]>> {
    let mut bytes = [0; 4];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn load_elf(ram: &GuestRam, file: &mut File) -> Result<Kernel, Refusal> {
    let mut ident = [0; 20];
    file.read_exact_at(&mut ident, 0)
        .map_err(|_| "its ELF header is cut off")?;
    let (class, machine) = (ident[4], u16::from_le_bytes([ident[18], ident[19]]));
    if (class, machine) != (ELFCLASS64, EM_X86_64) {
        return Err(format!("it is for another processor (ELF machine {machine})").into());
    }
    let loaded = Elf::load(&ram.mmap, None, file, Some(GuestAddress(HIGH_RAM_START)))
        .map_err(|e| format!("{e} (it may be cut off, or need more memory than the guest has)"))?;
    if loaded.kernel_end > low_ram(ram) {
        return Err(Refusal::NeedsRam(loaded.kernel_end));
    }
    let header = setup_header {
        boot_flag: 0xAA55,
        header: u32::from_le_bytes(SETUP_MAGIC.1),
        kernel_alignment: 0x100_0000,
        ..Default::default()
    };
    Ok(Kernel {
        entry: Entry::Long(loaded.kernel_load.raw_value()),
        end: loaded.kernel_end,
        header,
        cmdline_limit: CMDLINE_LIMIT,
        initrd_addr_max: 0x7FFF_FFFF,
    })
}

fn load_bzimage(ram: &GuestRam, file: &mut File, len: u64) -> Result<Kernel, Refusal> {
    let mut header = setup_header::default();
    file.read_exact_at(header.as_mut_slice(), SETUP_HEADER)
        .map_err(|_| "its setup header is cut off")?;
    if header.loadflags & LOADED_HIGH == 0 {
        return Err("it is to be loaded below 1 MiB (a zImage)".into());
    }
    let setup = (u64::from(header.setup_sects) + 1) * SECTOR;
    let (code, expected) = (len.saturating_sub(setup), u64::from(header.syssize) * 16);
    if code + PAGE < expected {
        return Err(format!("it is cut off: {code} of {expected} bytes of code are there").into());
    }
    // The kernel unpacks itself into `init_size` bytes at its preferred address, or where it was loaded if that is higher.
    let runs_at = HIGH_RAM_START.max(header.pref_address);
    let end = (HIGH_RAM_START + code).max(runs_at.saturating_add(u64::from(header.init_size)));
    if end > low_ram(ram) {
        return Err(Refusal::NeedsRam(end));
    }
    let loaded = BzImage::load(&ram.mmap, None, file, Some(GuestAddress(HIGH_RAM_START)))
        .map_err(|e| e.to_string())?;
    let start = loaded.kernel_load.raw_value();
    Ok(Kernel {
        entry: if header.xloadflags & XLF_KERNEL_64 == 0 {
            Entry::Protected(start)
        } else {
            Entry::Long(start + BZIMAGE_ENTRY_64)
        },
        end: end.max(loaded.kernel_end),
        header: loaded.setup_header.unwrap_or(header),
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
    let (mut file, size) = open("initrd", path)?;
    let too_big = || BootError::InitrdTooBig {
        path: path.into(),
        size,
    };
    let top = low_ram(ram).min(kernel.initrd_addr_max.saturating_add(1));
    let addr = top.checked_sub(size).ok_or_else(too_big)? / PAGE * PAGE;
    if addr < kernel.end {
        return Err(too_big());
    }
    let bytes = usize::try_from(size).map_err(|_| too_big())?;
    ram.mmap
        .read_exact_volatile_from(GuestAddress(addr), &mut file, bytes)
        .map_err(|e| BootError::File {
            what: "initrd",
            path: path.into(),
            source: io::Error::other(e.to_string()),
        })?;
    let addr = u32::try_from(addr).map_err(|_| too_big())?;
    Ok((addr, u32::try_from(size).map_err(|_| too_big())?))
}

/// End of the RAM below the 32-bit hole.
fn low_ram(ram: &GuestRam) -> u64 {
    let first = ram.mmap.iter().next();
    first.map_or(0, |region| region.start_addr().raw_value() + region.len())
}
