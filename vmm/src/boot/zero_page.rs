//! The zero page (`struct boot_params`) and the command line (Documentation/arch/x86/{boot,zero-page}.rst).

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{ByteValued, GuestMemoryBackend, GuestMemoryRegion};

use super::{BootError, kernel::Kernel, put};
use crate::{
    layout::{
        ACPI_ADDR, ACPI_END, CMDLINE_ADDR, CMDLINE_MAX, EBDA_START, ECAM_SIZE, ECAM_START,
        HIGH_RAM_START, ZERO_PAGE_ADDR,
    },
    memory::{GuestRam, ram_ranges},
};

/// `type_of_loader`: none of the registered ones.
const LOADER_UNDEFINED: u8 = 0xFF;
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const E820_ACPI: u32 = 3;

pub(super) fn write_cmdline(
    ram: &GuestRam,
    cmdline: &str,
    kernel: &Kernel,
) -> Result<(), BootError> {
    let limit = kernel.cmdline_limit.min(CMDLINE_MAX - 1);
    if cmdline.len() > limit {
        return Err(BootError::Cmdline(cmdline.len(), limit));
    }
    if cmdline.contains('\0') {
        return Err(BootError::CmdlineByte);
    }
    let mut bytes = cmdline.as_bytes().to_vec();
    bytes.push(0);
    put(ram, CMDLINE_ADDR, &bytes, "command line")
}

pub(super) fn write(
    ram: &GuestRam,
    kernel: &Kernel,
    initrd: Option<(u32, u32)>,
    cmdline: &str,
    rsdp: u64,
) -> Result<(), BootError> {
    let mut params = boot_params {
        hdr: kernel.header,
        ..Default::default()
    };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = u32::try_from(CMDLINE_ADDR).unwrap_or(0);
    params.hdr.cmdline_size = u32::try_from(cmdline.len()).unwrap_or(0);
    if let Some((addr, size)) = initrd {
        params.hdr.ramdisk_image = addr;
        params.hdr.ramdisk_size = size;
    }
    params.acpi_rsdp_addr = rsdp;
    let total = ram.mmap.iter().map(GuestMemoryRegion::len).sum();
    let map = e820(total);
    params.e820_entries = u8::try_from(map.len()).unwrap_or(0);
    for (entry, (addr, size, type_)) in params.e820_table.iter_mut().zip(&map) {
        *entry = boot_e820_entry {
            addr: *addr,
            size: *size,
            r#type: *type_,
        };
    }
    put(ram, ZERO_PAGE_ADDR, params.as_slice(), "zero page")
}

/// The memory map of a guest with `size` bytes of RAM.
pub(super) fn e820(size: u64) -> Vec<(u64, u64, u32)> {
    let mut map = vec![
        (0, EBDA_START, E820_RAM),
        (EBDA_START, ACPI_ADDR - EBDA_START, E820_RESERVED),
        (ACPI_ADDR, ACPI_END - ACPI_ADDR, E820_ACPI),
    ];
    for (start, len) in ram_ranges(size) {
        let start_usable = start.max(HIGH_RAM_START);
        map.push((start_usable, start + len - start_usable, E820_RAM));
    }
    // Linux takes an ECAM for real only if the map reserves it (arch/x86/pci/mmconfig-shared.c).
    map.push((ECAM_START, ECAM_SIZE, E820_RESERVED));
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_has_no_overlaps_and_counts_all_ram() {
        for size in [64 << 20, 512 << 20, 3 << 30, 5 << 30u64] {
            let mut map = e820(size);
            map.sort_unstable();
            for pair in map.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{map:x?}");
            }
            let ram: u64 = map.iter().filter(|e| e.2 == E820_RAM).map(|e| e.1).sum();
            assert_eq!(ram, size - (HIGH_RAM_START - EBDA_START));
        }
    }
}
