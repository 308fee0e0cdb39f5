use super::*;
use crate::{
    pci::{BarKind, CONFIG_PORTS},
    virtio::testing::{ECAM, TestMachine},
};
use proptest::prelude::*;

/// What a legacy NIC looks like: registers in memory and, the same, behind ports.
struct Legacy {
    function: Function,
    registers: [u8; 32],
    moves: Vec<(u8, Option<BarAddress>)>,
}

impl Legacy {
    fn new() -> Self {
        let mut function = Function::new(&Identity {
            vendor: 0x8086,
            device: 0x100e,
            class: 0x02_00_00,
            ..Identity::default()
        });
        function.add_bar(0, BarKind::Memory32, 0x2_0000);
        function.add_bar(1, BarKind::Io, 0x40);
        Self {
            function,
            registers: [0; 32],
            moves: Vec::new(),
        }
    }
}

impl PciDevice for Legacy {
    fn function(&self) -> &Function {
        &self.function
    }
    fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }
    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        assert!(bar < 2);
        let start = usize::try_from(offset).unwrap();
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = self.registers.get(start + index).copied().unwrap_or(0);
        }
    }
    fn bar_write(&mut self, _bar: u8, offset: u64, data: &[u8]) {
        let start = usize::try_from(offset).unwrap();
        for (index, byte) in data.iter().enumerate() {
            if let Some(register) = self.registers.get_mut(start + index) {
                *register = *byte;
            }
        }
    }
    fn bar_moved(&mut self, bar: u8, at: Option<BarAddress>) {
        self.moves.push((bar, at));
    }
}

fn machine() -> (TestMachine, Arc<Mutex<Legacy>>) {
    let machine = TestMachine::new();
    let device = Arc::new(Mutex::new(Legacy::new()));
    machine.pci.add(5, Arc::clone(&device) as _).unwrap();
    (machine, device)
}

#[test]
fn slot_0_is_a_host_bridge_that_cannot_be_switched_off() {
    let machine = TestMachine::new();
    assert_eq!(machine.config(0, 0), 0x0d57_8086);
    assert_eq!(machine.config(0, 8) >> 8, 0x06_00_00);
    machine.set_config(0, 4, u32::MAX);
    assert_eq!(machine.config(0, 4) & 0xffff, 0);
    assert_eq!(machine.pci.free_slot().unwrap(), 1);
}

#[test]
fn empty_slots_functions_and_busses_read_as_ones() {
    let (machine, _) = machine();
    assert_eq!(machine.config(6, 0), u32::MAX);
    for address in [1 << 16 | 5 << 11, 5 << 11 | 1 << 8, 0x7f_ff00] {
        let address = 1u32 << 31 | address;
        machine.pio.write(CONFIG_PORTS, &address.to_le_bytes());
        let mut data = [0; 4];
        machine.pio.read(CONFIG_PORTS + 4, &mut data);
        assert_eq!(data, [0xff; 4]);
    }
    // Without the enable bit the data port is not ours.
    machine.pio.write(CONFIG_PORTS, &(5u32 << 11).to_le_bytes());
    let mut data = [0; 4];
    machine.pio.read(CONFIG_PORTS + 4, &mut data);
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn the_address_port_reads_back_and_takes_dwords_only() {
    let (machine, _) = machine();
    let read = || {
        let mut data = [0; 4];
        machine.pio.read(CONFIG_PORTS, &mut data);
        u32::from_le_bytes(data)
    };
    machine.pio.write(CONFIG_PORTS, &[0xff; 4]);
    assert_eq!(read(), 0x80ff_fffc);
    machine.pio.write(CONFIG_PORTS, &[0; 2]);
    machine.pio.write(CONFIG_PORTS + 1, &[0]);
    assert_eq!(read(), 0x80ff_fffc);
}

#[test]
fn the_data_port_takes_bytes_and_words() {
    let (machine, _) = machine();
    let select = |register: u32| {
        let address = 1 << 31 | 5 << 11 | register;
        machine.pio.write(CONFIG_PORTS, &address.to_le_bytes());
    };
    select(0);
    let mut word = [0; 2];
    machine.pio.read(CONFIG_PORTS + 6, &mut word);
    assert_eq!(u16::from_le_bytes(word), 0x100e);
    let mut byte = [0];
    machine.pio.read(CONFIG_PORTS + 5, &mut byte);
    assert_eq!(byte, [0x80]);
    select(0x3c);
    machine.pio.write(CONFIG_PORTS + 4, &[11]);
    assert_eq!(machine.config(5, 0x3c) & 0xff, 11);
    // An access across the dword's end stops there.
    let mut wide = [0; 4];
    machine.pio.read(CONFIG_PORTS + 7, &mut wide);
    assert_eq!(wide[1..], [0xff; 3]);
}

#[test]
fn ecam_shows_the_same_function() {
    let (machine, _) = machine();
    let function = ECAM + (5 << 15);
    assert_eq!(machine.read::<4>(function), [0x86, 0x80, 0x0e, 0x10]);
    assert_eq!(machine.read::<2>(function + 2), [0x0e, 0x10]);
    machine.write(function + 0x3c, &[9]);
    assert_eq!(machine.config(5, 0x3c) & 0xff, 9);
    // A conventional function has no extended configuration space.
    assert_eq!(machine.read::<4>(function + 0x100), [0xff; 4]);
    assert_eq!(machine.read::<8>(function + 0xffc), [0xff; 8]);
}

#[test]
fn bars_are_assigned_and_decoded_like_firmware_does() {
    let (machine, device) = machine();
    assert_eq!(machine.config(5, 4) & 3, 3);
    assert_eq!(machine.config(5, 0x10), 0xc000_0000);
    assert_eq!(machine.config(5, 0x14), 0xc001);
    machine.write(0xc000_0004, &[1, 2, 3, 4]);
    let mut data = [0; 4];
    assert!(machine.pio.read(0xc004, &mut data));
    assert_eq!(data, [1, 2, 3, 4]);
    assert_eq!(
        device.lock().unwrap().moves,
        [
            (0, Some(BarAddress::Memory(0xc000_0000))),
            (1, Some(BarAddress::Io(0xc000)))
        ]
    );
}

#[test]
fn bars_are_sized_by_writing_ones() {
    let (machine, _) = machine();
    machine.set_config(5, 4, 0);
    for (register, size) in [
        (0x10, 0xfffe_0000),
        (0x14, 0xffff_ffc1),
        (0x18, 0),
        (0x30, 0),
    ] {
        machine.set_config(5, register, u32::MAX);
        assert_eq!(machine.config(5, register), size);
    }
}

#[test]
fn bars_move_while_they_are_decoded() {
    let (machine, device) = machine();
    device.lock().unwrap().moves.clear();
    machine.set_config(5, 0x10, 0xd000_0000);
    assert!(!machine.mmio.read(0xc000_0000, &mut [0]));
    assert!(machine.mmio.read(0xd001_ffff, &mut [0]));
    machine.set_config(5, 0x14, 0xd000);
    assert!(!machine.pio.read(0xc000, &mut [0]));
    assert!(machine.pio.read(0xd03f, &mut [0]));
    machine.set_config(5, 4, 1);
    assert!(!machine.mmio.read(0xd000_0000, &mut [0]));
    assert!(machine.pio.read(0xd000, &mut [0]));
    assert_eq!(
        device.lock().unwrap().moves,
        [
            (0, None),
            (0, Some(BarAddress::Memory(0xd000_0000))),
            (1, None),
            (1, Some(BarAddress::Io(0xd000))),
            (0, None),
        ]
    );
}

#[test]
fn a_bar_on_top_of_another_device_is_not_seen() {
    let (machine, _) = machine();
    machine.set_config(5, 0x10, u32::try_from(ECAM).unwrap());
    assert_eq!(machine.read::<4>(ECAM), [0x86, 0x80, 0x57, 0x0d]);
    machine.set_config(5, 0x14, 0xcc0);
    assert_eq!(machine.config(0, 0), 0x0d57_8086);
    machine.set_config(5, 0x10, 0xd000_0000);
    assert!(machine.mmio.read(0xd000_0000, &mut [0]));
}

#[test]
fn slots_are_taken_once() {
    let (machine, device) = machine();
    for slot in [5, 0, 32, 255] {
        let error = machine.pci.add(slot, Arc::clone(&device) as _).unwrap_err();
        assert!(matches!(error, PciError::SlotTaken(_)));
    }
}

#[test]
fn a_cleared_bus_lets_go_of_devices_and_addresses() {
    let (machine, device) = machine();
    machine.pci.clear();
    assert_eq!(Arc::strong_count(&device), 1);
    assert!(!machine.mmio.read(0xc000_0000, &mut [0]));
    assert!(!machine.pio.read(0xc000, &mut [0]));
    assert_eq!(machine.config(0, 0), u32::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn hostile_port_accesses_never_panic(
        accesses in proptest::collection::vec(
            (0..8u64, proptest::collection::vec(any::<u8>(), 1..=4), 0..0x40u32),
            0..100,
        ),
    ) {
        let (machine, _) = machine();
        for (port, data, register) in accesses {
            let address = 1u32 << 31 | 5 << 11 | register;
            machine.pio.write(CONFIG_PORTS, &address.to_le_bytes());
            machine.pio.write(CONFIG_PORTS + port, &data);
            machine.pio.read(CONFIG_PORTS + port, &mut data.clone());
        }
        machine.set_config(5, 4, 0);
        machine.set_config(5, 0x10, 0xd000_0000);
        machine.set_config(5, 4, 2);
        assert!(machine.mmio.read(0xd000_0000, &mut [0]));
    }
}
