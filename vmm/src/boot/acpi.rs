//! ACPI tables: processors, interrupts, the PCI host bridge, the serial port, power-off and reset (ACPI 6.5, chapter 5).

use acpi_tables::{
    Aml,
    aml::{
        self, AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Name, Package,
        PackageBuilder, ResourceTemplate, Scope,
    },
    facs::FACS,
    fadt::{FADTBuilder, Flags},
    gas::{AccessSize, AddressSpace as GasSpace, GAS},
    madt::{EnabledStatus, IoApic, ProcessorLocalApic},
    mcfg::MCFG,
    rsdp::Rsdp,
    sdt::Sdt,
    xsdt::XSDT,
};

use super::{BootError, put};
use crate::{
    layout::{
        ACPI_ADDR, ACPI_END, ACPI_PM_PORT, ECAM_SIZE, ECAM_START, IOAPIC_ADDR, LAPIC_ADDR,
        PCI_CONFIG_PORT, PCI_MMIO32_SIZE, PCI_MMIO32_START, PCI_MMIO64_SIZE, PCI_MMIO64_START,
        PCI_PIO_SIZE, PCI_PIO_START, SERIAL_IRQ, SERIAL_PORT, intx_gsi,
    },
    memory::GuestRam,
};

/// `SLP_TYP` of soft-off, as the `\_S5` package tells the guest.
pub(crate) const SLEEP_TYPE_S5: u8 = 5;
/// What a write to the reset register must be to reset.
pub(crate) const RESET_VALUE: u8 = 0x06;
/// System control interrupt.
const SCI_IRQ: u16 = 9;

const OEM_ID: [u8; 6] = *b"NBVMM ";
const OEM_TABLE_ID: [u8; 8] = *b"NBVMMPC ";
const OEM_REVISION: u32 = 1;

/// Writes all tables; returns the address of the RSDP.
pub(super) fn write_tables(ram: &GuestRam, cpus: u8) -> Result<u64, BootError> {
    let mut area = Area {
        ram,
        next: ACPI_ADDR + Rsdp::len().next_multiple_of(16) as u64,
    };
    let facs = area.place(&FACS::new(), 64)?;
    let dsdt = area.place_bytes(dsdt(cpus).as_slice(), 16)?;
    let fadt = area.place(&fadt(dsdt, facs), 16)?;
    let madt = area.place_bytes(madt(cpus).as_slice(), 16)?;
    let mcfg = area.place(&mcfg(), 16)?;
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    for table in [fadt, madt, mcfg] {
        xsdt.add_entry(table);
    }
    let xsdt = area.place(&xsdt, 16)?;
    put(
        ram,
        ACPI_ADDR,
        &bytes_of(&Rsdp::new(OEM_ID, xsdt)),
        "ACPI tables",
    )?;
    Ok(ACPI_ADDR)
}

/// The memory that tables are placed in, one after the other.
struct Area<'a> {
    ram: &'a GuestRam,
    next: u64,
}

impl Area<'_> {
    fn place(&mut self, table: &dyn Aml, align: u64) -> Result<u64, BootError> {
        self.place_bytes(&bytes_of(table), align)
    }

    fn place_bytes(&mut self, bytes: &[u8], align: u64) -> Result<u64, BootError> {
        let addr = self.next.next_multiple_of(align);
        self.next = addr + bytes.len() as u64;
        if self.next > ACPI_END {
            return Err(BootError::Write("ACPI tables"));
        }
        put(self.ram, addr, bytes, "ACPI tables")?;
        Ok(addr)
    }
}

fn bytes_of(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Power management by the fixed PM1 registers (4.8.3): the guest writes SLP_TYP and SLP_EN to switch off.
fn fadt(dsdt: u64, facs: u64) -> acpi_tables::fadt::FADT {
    let port = |bits: u8, offset: u16, access| {
        GAS::new(
            GasSpace::SystemIo,
            bits,
            0,
            access,
            u64::from(ACPI_PM_PORT + offset),
        )
    };
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .firmware_ctrl_64(facs)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    // Without SMI_CMD the machine is in ACPI mode from the start (5.2.9).
    fadt.sci_int = SCI_IRQ.into();
    fadt.pm1a_evt_blk = u32::from(ACPI_PM_PORT).into();
    fadt.pm1a_cnt_blk = u32::from(ACPI_PM_PORT + 4).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.x_pm1a_evt_blk = port(32, 0, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = port(16, 4, AccessSize::WordAccess);
    fadt.reset_reg = port(8, 6, AccessSize::ByteAccess);
    fadt.reset_value = RESET_VALUE;
    // LEGACY_DEVICES, and no 8042: Linux would look for its keyboard for two seconds (5.2.9.3). Its reset line works all the same.
    fadt.iapc_boot_arch = 1.into();
    fadt.finalize()
}

fn madt(cpus: u8) -> Sdt {
    const PCAT_COMPAT: u32 = 1; // there are 8259s as well
    let mut madt = Sdt::new(*b"APIC", 36, 5, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    madt.append_slice(&LAPIC_ADDR.to_le_bytes());
    madt.append_slice(&PCAT_COMPAT.to_le_bytes());
    for cpu in 0..cpus {
        madt.append_slice(&bytes_of(&ProcessorLocalApic::new(
            cpu,
            cpu,
            EnabledStatus::Enabled,
        )));
    }
    madt.append_slice(&bytes_of(&IoApic::new(cpus, IOAPIC_ADDR, 0)));
    madt.append_slice(&source_override(0, 2, 0)); // the timer is on pin 2
    madt.append_slice(&source_override(9, 9, 0x0D)); // the SCI is level-triggered, active high
    // Local APIC NMI: all processors, LINT1 (5.2.12.7).
    madt.append_slice(&[4, 6, 0xFF, 0, 0, 1]);
    madt
}

/// Interrupt source override of an ISA interrupt (5.2.12.5).
fn source_override(irq: u8, gsi: u8, flags: u8) -> [u8; 10] {
    [2, 10, 0, irq, gsi, 0, 0, 0, flags, 0]
}

fn mcfg() -> MCFG {
    let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    mcfg.add_ecam(ECAM_START, 0, 0, 0);
    mcfg
}

fn dsdt(cpus: u8) -> Sdt {
    let mut aml = Vec::new();
    aml.extend(sleep_state());
    processors(cpus, &mut aml);
    host_bridge(&mut aml);
    motherboard(&mut aml);
    serial(&mut aml);
    let mut dsdt = Sdt::new(*b"DSDT", 36, 6, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    dsdt.append_slice(&aml);
    dsdt
}

/// `\_S5`: what to write as SLP_TYP to switch off (7.4.2.6).
fn sleep_state() -> Vec<u8> {
    let values = Package::new(vec![&SLEEP_TYPE_S5, &SLEEP_TYPE_S5, &aml::ZERO, &aml::ZERO]);
    bytes_of(&Name::new("_S5_".into(), &values))
}

fn processors(cpus: u8, aml: &mut Vec<u8>) {
    for cpu in 0..cpus {
        let name = format!("C{cpu:03X}");
        let hid = Name::new("_HID".into(), &"ACPI0007");
        let uid = Name::new("_UID".into(), &cpu);
        let device = Device::new(name.as_str().into(), vec![&hid, &uid]);
        Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(aml);
    }
}

/// The PCI host bridge: its windows and where the INTx pins of each slot go (6.2.13, `_PRT`).
fn host_bridge(aml: &mut Vec<u8>) {
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0A08"));
    let cid = Name::new("_CID".into(), &EISAName::new("PNP0A03"));
    let uid = Name::new("_UID".into(), &aml::ZERO);
    let segment = Name::new("_SEG".into(), &aml::ZERO);
    let bus = Name::new("_BBN".into(), &aml::ZERO);
    let bus_range = AddressSpace::new_bus_number(0u16, 0);
    let config_ports = IO::new(PCI_CONFIG_PORT, PCI_CONFIG_PORT, 1, 8);
    let ports = AddressSpace::new_io(
        PCI_PIO_START,
        PCI_PIO_START + (PCI_PIO_SIZE - 1),
        None::<u16>,
    );
    let low = u32::try_from(PCI_MMIO32_START).unwrap_or(u32::MAX);
    let low_end = u32::try_from(PCI_MMIO32_START + PCI_MMIO32_SIZE - 1).unwrap_or(u32::MAX);
    let memory32 = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        low,
        low_end,
        None,
    );
    let memory64 = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        PCI_MMIO64_START,
        PCI_MMIO64_START + PCI_MMIO64_SIZE - 1,
        None,
    );
    let windows = ResourceTemplate::new(vec![
        &bus_range,
        &config_ports,
        &ports,
        &memory32,
        &memory64,
    ]);
    let resources = Name::new("_CRS".into(), &windows);
    let routing_table = Raw(routing_table());
    let routing = Name::new("_PRT".into(), &routing_table);
    let device = Device::new(
        "PCI0".into(),
        vec![&hid, &cid, &uid, &segment, &bus, &resources, &routing],
    );
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(aml);
}

/// AML that is already encoded.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(&self.0);
    }
}

fn routing_table() -> Vec<u8> {
    let mut table = PackageBuilder::new();
    for slot in 0..32u8 {
        for pin in 0..4u8 {
            let address = u32::from(slot) << 16 | 0xFFFF;
            let gsi = intx_gsi(slot, pin);
            table.add_element(&Package::new(vec![&address, &pin, &aml::ZERO, &gsi]));
        }
    }
    bytes_of(&table)
}

/// Addresses that belong to the board: the ECAM must be reserved here to be believed (PCI Firmware Specification 4.1.2).
fn motherboard(aml: &mut Vec<u8>) {
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0C02"));
    let ecam = aml::Memory32Fixed::new(
        true,
        u32::try_from(ECAM_START).unwrap_or(u32::MAX),
        u32::try_from(ECAM_SIZE).unwrap_or(0),
    );
    let pm = IO::new(ACPI_PM_PORT, ACPI_PM_PORT, 1, 8);
    let template = ResourceTemplate::new(vec![&ecam, &pm]);
    let resources = Name::new("_CRS".into(), &template);
    let device = Device::new("MBRD".into(), vec![&hid, &resources]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(aml);
}

fn serial(aml: &mut Vec<u8>) {
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let uid = Name::new("_UID".into(), &aml::ZERO);
    let interrupt = Interrupt::new(true, true, false, false, SERIAL_IRQ);
    let ports = IO::new(SERIAL_PORT, SERIAL_PORT, 1, 8);
    let template = ResourceTemplate::new(vec![&interrupt, &ports]);
    let resources = Name::new("_CRS".into(), &template);
    let device = Device::new("COM1".into(), vec![&hid, &uid, &resources]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(aml);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ram: &GuestRam, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(ram.map.read(addr, &mut bytes));
        bytes
    }

    fn table(ram: &GuestRam, addr: u64) -> Vec<u8> {
        let header = read(ram, addr, 36);
        let len = u32::from_le_bytes(header[4..8].try_into().unwrap());
        read(ram, addr, usize::try_from(len).unwrap())
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    /// Walks from the RSDP as a kernel does; every table must add up to zero.
    #[test]
    fn every_table_is_reachable_and_its_checksum_is_right() {
        let ram = GuestRam::new(64 << 20, false).unwrap();
        let rsdp = write_tables(&ram, 4).unwrap();
        let rsdp = read(&ram, rsdp, 36);
        assert_eq!(
            (&rsdp[..8], sum(&rsdp[..20]), sum(&rsdp)),
            (&b"RSD PTR "[..], 0, 0)
        );
        let xsdt = table(&ram, u64::from_le_bytes(rsdp[24..32].try_into().unwrap()));
        assert_eq!((&xsdt[..4], sum(&xsdt)), (&b"XSDT"[..], 0));
        let tables: Vec<_> = xsdt[36..]
            .chunks_exact(8)
            .map(|entry| table(&ram, u64::from_le_bytes(entry.try_into().unwrap())))
            .collect();
        let names: Vec<_> = tables.iter().map(|t| &t[..4]).collect();
        assert_eq!(names, [b"FACP", b"APIC", b"MCFG"]);
        for table in &tables {
            assert_eq!(sum(table), 0, "{:?}", String::from_utf8_lossy(&table[..4]));
        }
        let dsdt = table(
            &ram,
            u64::from_le_bytes(tables[0][140..148].try_into().unwrap()),
        );
        assert_eq!((&dsdt[..4], sum(&dsdt)), (&b"DSDT"[..], 0));
        let processors = tables[1][44..].windows(2).filter(|w| *w == [0, 8]).count();
        assert!(processors >= 4, "{processors} local APIC entries");
    }
}
