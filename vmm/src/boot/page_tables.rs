//! Page tables and GDT for the first instructions of the first vCPU: the first 4 GiB, identity-mapped with 2 MiB pages
//! (SDM volume 3A, 4.5.4).

use super::{BootError, put};
use crate::{
    kvm::Entry,
    layout::{BOOT_GDT_ADDR, PAGE_TABLES_ADDR},
    memory::GuestRam,
};

const PRESENT_WRITABLE: u64 = 3;
const LARGE_PAGE: u64 = 1 << 7;
const PAGE: u64 = 4096;
const ENTRIES: u64 = 512;
const GIGABYTES: u64 = 4;

pub(super) fn write(ram: &GuestRam, entry: Entry) -> Result<(), BootError> {
    const WHAT: &str = "page tables";
    let pdpt = PAGE_TABLES_ADDR + PAGE;
    let first_directory = pdpt + PAGE;
    put(
        ram,
        PAGE_TABLES_ADDR,
        &(pdpt | PRESENT_WRITABLE).to_le_bytes(),
        WHAT,
    )?;
    for gigabyte in 0..GIGABYTES {
        let directory = first_directory + gigabyte * PAGE;
        put(
            ram,
            pdpt + 8 * gigabyte,
            &(directory | PRESENT_WRITABLE).to_le_bytes(),
            WHAT,
        )?;
        for entry in 0..ENTRIES {
            let page = (gigabyte * ENTRIES + entry) << 21;
            let value = page | PRESENT_WRITABLE | LARGE_PAGE;
            put(ram, directory + 8 * entry, &value.to_le_bytes(), WHAT)?;
        }
    }
    for (index, descriptor) in (0u64..).zip(entry.gdt()) {
        put(
            ram,
            BOOT_GDT_ADDR + 8 * index,
            &descriptor.to_le_bytes(),
            "GDT",
        )?;
    }
    Ok(())
}
