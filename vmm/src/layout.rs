//! The address map of the guest: every fixed address of the machine, in one place.

/// RAM below this, the 32-bit hole above it.
pub const HOLE_START: u64 = 0xC000_0000;
/// End of the 32-bit hole; RAM goes on here.
pub const HOLE_END: u64 = 1 << 32;

/// 32-bit window for PCI memory BARs.
pub const PCI_MMIO32_START: u64 = HOLE_START;
/// Bytes of the 32-bit PCI window.
pub const PCI_MMIO32_SIZE: u64 = 0x2000_0000;
/// 64-bit window for PCI memory BARs, above any RAM that fits 39 physical address bits.
pub const PCI_MMIO64_START: u64 = 0x40_0000_0000;
/// Bytes of the 64-bit PCI window.
pub const PCI_MMIO64_SIZE: u64 = 0x8_0000_0000;
/// Ports for PCI I/O BARs.
pub const PCI_PIO_START: u16 = 0xC000;
/// Number of ports for PCI I/O BARs.
pub const PCI_PIO_SIZE: u16 = 0x3000;

/// Where the rings of an emulated NIC lie in the memory it shares with its back-end: an address that only
/// the back-end sees, beyond what any guest can name.
pub const NIC_RINGS_START: u64 = 1 << 52;

/// Enhanced configuration access (PCI Firmware Specification 4.1.2): one bus of 1 MiB.
pub const ECAM_START: u64 = 0xE000_0000;
/// Bytes of the ECAM of one bus.
pub const ECAM_SIZE: u64 = 1 << 20;

/// The I/O APIC of KVM.
pub const IOAPIC_ADDR: u32 = 0xFEC0_0000;
/// The local APICs.
pub const LAPIC_ADDR: u32 = 0xFEE0_0000;
/// Three pages that KVM needs on Intel (KVM_SET_TSS_ADDR).
pub const KVM_TSS_ADDR: u64 = 0xFFFB_D000;
/// One page that KVM needs on Intel (KVM_SET_IDENTITY_MAP_ADDR).
pub const KVM_IDENTITY_MAP_ADDR: u64 = 0xFFFB_C000;

/// Global descriptor table for the start of the first vCPU.
pub const BOOT_GDT_ADDR: u64 = 0x500;
/// `struct boot_params` (Documentation/arch/x86/boot.rst).
pub const ZERO_PAGE_ADDR: u64 = 0x7000;
/// Stack of the first vCPU at start.
pub const BOOT_STACK_ADDR: u64 = 0x8FF0;
/// Page tables of the first vCPU at start: PML4, PDPT, four page directories.
pub const PAGE_TABLES_ADDR: u64 = 0x9000;
/// Kernel command line.
pub const CMDLINE_ADDR: u64 = 0x2_0000;
/// Bytes of the command line at most, with its final zero.
pub const CMDLINE_MAX: usize = 0x1_0000;
/// End of low RAM, start of the legacy video and BIOS area.
pub const EBDA_START: u64 = 0x9_FC00;
/// ACPI tables; the RSDP comes first, where Linux scans for it (ACPI 6.5, 5.2.5.1).
pub const ACPI_ADDR: u64 = 0xE_0000;
/// End of the area for ACPI tables.
pub const ACPI_END: u64 = 0x10_0000;
/// RAM above the legacy area, and where kernels are loaded.
pub const HIGH_RAM_START: u64 = 0x10_0000;

/// COM1.
pub const SERIAL_PORT: u16 = 0x3F8;
/// Interrupt of COM1.
pub const SERIAL_IRQ: u32 = 4;
/// PCI configuration mechanism #1: address at this port, data four ports on.
pub const PCI_CONFIG_PORT: u16 = 0xCF8;
/// ACPI PM1a event block (4 ports), control block (2 ports), reset register (1 port).
pub const ACPI_PM_PORT: u16 = 0x600;

/// First interrupt of the I/O APIC that PCI INTx pins use; there are eight.
pub const PCI_INTX_GSI_BASE: u32 = 16;
/// Interrupts for PCI INTx pins.
pub const PCI_INTX_GSI_COUNT: u32 = 8;
/// Pins of the I/O APIC.
pub const IOAPIC_PINS: u32 = 24;

/// The I/O APIC pin of a slot's INTx pin (0 = INTA): pins of neighbouring slots are spread, as on real boards.
pub const fn intx_gsi(slot: u8, pin: u8) -> u32 {
    PCI_INTX_GSI_BASE + (slot as u32 + pin as u32) % PCI_INTX_GSI_COUNT
}
