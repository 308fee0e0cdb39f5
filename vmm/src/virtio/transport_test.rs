use super::*;
use crate::{
    interrupt::{InterruptController, MsiMessage, MsiVector},
    virtio::{
        Notifier,
        spec::common,
        testing::{Driver, ECAM, TestMachine, eventually},
    },
};
use proptest::prelude::*;
use std::sync::Mutex;

/// A device that records what the transport does with it.
#[derive(Default, Clone)]
struct Probe(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    active: Option<Activation>,
    activations: usize,
    resets: usize,
    calls: Vec<(usize, Call)>,
    notifier: Option<Notifier>,
    config: [u8; 8],
    fail: bool,
}

const OFFERED: u64 = spec::RING_FEATURES | 1 << 3;
const REFUSED: u64 = 1 << 3;

impl VirtioDevice for Probe {
    fn device_type(&self) -> u16 {
        spec::TYPE_RNG
    }
    fn class(&self) -> u32 {
        0xff_00_00
    }
    fn features(&self) -> u64 {
        OFFERED
    }
    fn accepts(&self, features: u64) -> bool {
        features & REFUSED == 0
    }
    fn queue_sizes(&self) -> Vec<u16> {
        vec![256, 64, 16]
    }
    fn attach(&mut self, notifier: Notifier) {
        self.0.lock().unwrap().notifier = Some(notifier);
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = self.0.lock().unwrap().config;
        crate::virtio::read_config_bytes(&config, offset, data);
    }
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let ([value], Ok(offset)) = (data, usize::try_from(offset))
            && let Some(byte) = self.0.lock().unwrap().config.get_mut(offset)
        {
            *byte = *value;
        }
    }
    fn activate(&mut self, activation: Activation) -> Result<(), VirtioError> {
        let mut recorded = self.0.lock().unwrap();
        recorded.activations += 1;
        if recorded.fail {
            return Err(VirtioError::QueueMissing(0));
        }
        recorded.active = Some(activation);
        Ok(())
    }
    fn set_call(&mut self, index: usize, call: Call) {
        self.0.lock().unwrap().calls.push((index, call));
    }
    fn reset(&mut self) {
        let mut recorded = self.0.lock().unwrap();
        recorded.active = None;
        recorded.resets += 1;
    }
}

fn machine() -> (TestMachine, Probe, u8) {
    let machine = TestMachine::new();
    let probe = Probe::default();
    let slot = machine.attach(probe.clone());
    (machine, probe, slot)
}

/// Up to DRIVER_OK with all three queues.
fn running(driver: &mut Driver<'_>) {
    assert!(driver.negotiate(spec::F_VERSION_1));
    for index in 0..3 {
        driver.queue(index, 16, 0);
    }
    driver.driver_ok();
}

#[test]
fn looks_like_a_modern_virtio_function() {
    let (machine, _, slot) = machine();
    assert_eq!(slot, 1);
    assert_eq!(machine.config(slot, 0), 0x1044_1af4);
    assert_eq!(machine.config(slot, 8), 0xff00_0001);
    let driver = Driver::probe(&machine, slot);
    for kind in [
        spec::CAP_COMMON,
        spec::CAP_NOTIFY,
        spec::CAP_ISR,
        spec::CAP_DEVICE,
        spec::CAP_PCI_CFG,
    ] {
        assert!(driver.structures.contains_key(&kind), "{kind}");
    }
    assert_eq!(driver.notify_multiplier, 4);
    let queues = machine.read(driver.common(common::NUM_QUEUES));
    assert_eq!(u16::from_le_bytes(queues), 3);
    assert_eq!(driver.offered(), OFFERED | spec::F_VERSION_1);
}

#[test]
fn features_are_refused_that_cannot_be() {
    let (machine, _, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    assert!(driver.negotiate(spec::F_VERSION_1 | spec::F_EVENT_IDX));
    assert!(!driver.negotiate(spec::F_EVENT_IDX), "VERSION_1 is a must");
    assert!(!driver.negotiate(spec::F_VERSION_1 | 1), "not offered");
    assert!(!driver.negotiate(spec::F_VERSION_1 | REFUSED));
    // DRIVER_OK without FEATURES_OK does nothing.
    driver.set_status(0xf);
    assert_eq!(driver.status(), 3);
}

#[test]
fn features_are_final_after_features_ok() {
    let (machine, probe, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    assert!(driver.negotiate(spec::F_VERSION_1));
    driver.accept(u64::MAX);
    driver.driver_ok();
    let recorded = probe.0.lock().unwrap();
    assert_eq!(
        recorded.active.as_ref().unwrap().features,
        spec::F_VERSION_1
    );
}

#[test]
fn driver_ok_hands_over_the_enabled_queues() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    assert!(driver.negotiate(spec::F_VERSION_1 | spec::F_EVENT_IDX));
    let configs = [driver.place(128, 0), driver.place(16, 0)];
    driver.configure_queue(0, &configs[0]);
    driver.configure_queue(2, &configs[1]);
    driver.driver_ok();
    let recorded = probe.0.lock().unwrap();
    let queues = &recorded.active.as_ref().unwrap().queues;
    let indexes: Vec<_> = queues.iter().map(|queue| queue.index).collect();
    assert_eq!(indexes, [0, 2]);
    for (queue, config) in queues.iter().zip(configs) {
        assert!(queue.config.features.event_idx);
        assert!(!queue.config.features.indirect);
        assert_eq!(
            (
                queue.config.size,
                queue.config.desc,
                queue.config.avail,
                queue.config.used
            ),
            (config.size, config.desc, config.avail, config.used)
        );
        driver.kick(u16::try_from(queue.index).unwrap());
        assert_eq!(queue.kick.read().unwrap(), 1);
        queue.call.signal();
        driver.wait_vector(queue.index + 1);
    }
}

#[test]
fn queue_registers_do_not_change_under_a_living_device() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    let word = |driver: &Driver<'_>, register| {
        u16::from_le_bytes(driver.machine.read(driver.common(register)))
    };
    driver.negotiate(spec::F_VERSION_1);
    for bad in [0, 3, 512u16] {
        machine.write(driver.common(common::QUEUE_SIZE), &bad.to_le_bytes());
        assert_eq!(word(&driver, common::QUEUE_SIZE), 256);
    }
    machine.write(driver.common(common::QUEUE_ENABLE), &2u16.to_le_bytes());
    assert_eq!(word(&driver, common::QUEUE_ENABLE), 0);
    running(&mut driver);
    let before = machine.read::<56>(driver.common(0));
    for (register, len) in [
        (common::QUEUE_SIZE, 2),
        (common::QUEUE_DESC, 4),
        (common::QUEUE_DRIVER + 4, 4),
        (common::QUEUE_DEVICE, 8),
        (common::DRIVER_FEATURE, 4),
    ] {
        machine.write(driver.common(register), &vec![8; len]);
    }
    assert_eq!(machine.read::<56>(driver.common(0)), before);
    assert_eq!(probe.0.lock().unwrap().activations, 1);
}

#[test]
fn queues_that_are_not_there_read_as_nothing() {
    let (machine, _, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    driver.negotiate(spec::F_VERSION_1);
    for select in [3u16, 100, 0xffff] {
        machine.write(driver.common(common::QUEUE_SELECT), &select.to_le_bytes());
        machine.write(driver.common(common::QUEUE_SIZE), &16u16.to_le_bytes());
        machine.write(driver.common(common::QUEUE_ENABLE), &1u16.to_le_bytes());
        machine.write(driver.common(common::QUEUE_DESC), &[1; 8]);
        let size = machine.read(driver.common(common::QUEUE_SIZE));
        assert_eq!(u16::from_le_bytes(size), 0);
        driver.kick(select % 1000);
    }
    driver.driver_ok();
}

#[test]
fn vectors_that_are_not_there_read_back_as_none() {
    let (machine, _, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    for (vector, seen) in [(3u16, 3), (4, 0xffff), (0xffff, 0xffff), (0, 0)] {
        for register in [common::CONFIG_MSIX_VECTOR, common::QUEUE_MSIX_VECTOR] {
            machine.write(driver.common(register), &vector.to_le_bytes());
            let read = u16::from_le_bytes(machine.read(driver.common(register)));
            assert_eq!(read, seen);
        }
    }
}

#[test]
fn reset_quiesces_and_forgets() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    running(&mut driver);
    driver.kick(0);
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
    assert!(probe.0.lock().unwrap().active.is_none());
    assert_eq!(probe.0.lock().unwrap().resets, 2);
    let enable = machine.read(driver.common(common::QUEUE_ENABLE));
    assert_eq!(u16::from_le_bytes(enable), 0);
    running(&mut driver);
    let recorded = probe.0.lock().unwrap();
    let kick = &recorded.active.as_ref().unwrap().queues[0].kick;
    assert!(kick.read().is_err(), "a kick of the past life");
}

#[test]
fn a_living_device_that_loses_the_bus_needs_reset() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    running(&mut driver);
    // A firmware that never sets Bus Master.
    machine.set_config(slot, 4, 2);
    assert!(probe.0.lock().unwrap().active.is_some());
    machine.set_config(slot, 4, 6);
    machine.set_config(slot, 4, 2);
    assert!(probe.0.lock().unwrap().active.is_none());
    assert_eq!(driver.status(), 0x4f);
    assert!(driver.vector(0).eventfd().read().is_err(), "no interrupt");
    // It stays so, whatever vectors are moved, until the driver resets it.
    machine.set_config(slot, 4, 6);
    machine.write(driver.common(common::QUEUE_MSIX_VECTOR), &[0, 0]);
    assert!(probe.0.lock().unwrap().calls.is_empty());
    assert_eq!(driver.status(), 0x4f);
    let notifier = probe.0.lock().unwrap().notifier.clone().unwrap();
    notifier.config_changed();
    let config = driver.vector(0);
    assert!(config.eventfd().read().is_err(), "nor one by its link");
    running(&mut driver);
    assert!(probe.0.lock().unwrap().active.is_some());
}

#[test]
fn a_call_after_a_reset_leaves_the_line_alone() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    running(&mut driver);
    let call = probe.0.lock().unwrap().active.as_ref().unwrap().queues[1]
        .call
        .clone();
    driver.set_status(0);
    call.signal();
    eventually("the relay has seen it", || {
        !crate::wait::is_readable(call.eventfd())
    });
    // The relay holds a lock until it is done, which this waits for.
    assert_eq!(driver.status(), 0);
    assert!(!machine.intx_level(slot));
}

#[test]
fn a_device_that_cannot_start_needs_reset() {
    let (machine, probe, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    probe.0.lock().unwrap().fail = true;
    driver.negotiate(spec::F_VERSION_1);
    machine.write(driver.common(common::CONFIG_MSIX_VECTOR), &[0, 0]);
    driver.set_status(0xf);
    assert_eq!(driver.status(), 0x4f);
    driver.wait_vector(0);
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
}

#[test]
fn configuration_changes_interrupt_and_change_the_generation() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    let generation = || machine.read::<1>(driver.common(common::CONFIG_GENERATION))[0];
    let before = generation();
    let notifier = probe.0.lock().unwrap().notifier.clone().unwrap();
    notifier.config_changed();
    assert_ne!(generation(), before);
    assert!(
        driver.vector(0).eventfd().read().is_err(),
        "nobody is there to hear it"
    );
    driver.negotiate(spec::F_VERSION_1);
    machine.write(driver.common(common::CONFIG_MSIX_VECTOR), &[0, 0]);
    driver.queue(0, 16, 0);
    driver.driver_ok();
    notifier.config_changed();
    driver.wait_vector(0);
    assert!(!machine.intx_level(slot));
    let isr = driver.structures[&spec::CAP_ISR];
    assert_eq!(machine.read::<1>(isr), [spec::ISR_CONFIG]);
    assert_eq!(machine.read::<1>(isr), [0]);
}

#[test]
fn without_msix_the_line_and_the_isr_tell() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    running(&mut driver);
    let call = probe.0.lock().unwrap().active.as_ref().unwrap().queues[1]
        .call
        .clone();
    let isr = driver.structures[&spec::CAP_ISR];
    for _ in 0..3 {
        call.signal();
        eventually("the line goes up", || machine.intx_level(slot));
        assert_ne!(machine.config(slot, 4) & 0x8_0000, 0, "interrupt status");
        assert_eq!(machine.read::<1>(isr), [spec::ISR_QUEUE]);
        assert!(!machine.intx_level(slot));
    }
    // Interrupt Disable holds the line down, not the status.
    machine.set_config(slot, 4, 0x0402);
    call.signal();
    eventually("the status shows it", || {
        machine.config(slot, 4) & 0x8_0000 != 0
    });
    assert!(!machine.intx_level(slot));
    machine.set_config(slot, 4, 0x0002);
    assert!(machine.intx_level(slot));
    driver.set_status(0);
    assert!(!machine.intx_level(slot));
}

#[test]
fn switching_msix_under_a_living_device_moves_its_calls() {
    let (machine, probe, slot) = machine();
    let mut driver = Driver::probe(&machine, slot);
    running(&mut driver);
    driver.enable_msix();
    let calls = std::mem::take(&mut probe.0.lock().unwrap().calls);
    assert_eq!(calls.len(), 3);
    for (index, call) in calls {
        call.signal();
        driver.wait_vector(index + 1);
    }
    machine.write(driver.common(common::QUEUE_SELECT), &[1, 0]);
    machine.write(driver.common(common::QUEUE_MSIX_VECTOR), &[0, 0]);
    let calls = std::mem::take(&mut probe.0.lock().unwrap().calls);
    let [(1, call)] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    call.signal();
    driver.wait_vector(0);
}

#[test]
fn masked_vectors_keep_their_events_as_pending_bits() {
    let (machine, _, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    let vector = driver.vector(2);
    assert_eq!(
        *vector.route.lock().unwrap(),
        Some(MsiMessage {
            address: 0xfee0_0000,
            data: 2
        })
    );
    let control = driver.msix_table + 2 * 16 + 12;
    let pending = driver.msix_table + 0x3000;
    machine.write(control, &1u32.to_le_bytes());
    assert_eq!(*vector.route.lock().unwrap(), None);
    assert_eq!(machine.read::<8>(pending), [0; 8]);
    vector.eventfd().write(1).unwrap();
    assert_eq!(machine.read::<8>(pending), [4, 0, 0, 0, 0, 0, 0, 0]);
    machine.write(control, &0u32.to_le_bytes());
    assert!(vector.route.lock().unwrap().is_some());
    assert_eq!(machine.read::<4>(pending), [0; 4]);
    // The function mask covers all, and leaves the table alone.
    let head = machine.config(slot, driver.msix_capability);
    machine.set_config(slot, driver.msix_capability, head | 1 << 30);
    assert_eq!(*vector.route.lock().unwrap(), None);
    assert_eq!(machine.read::<4>(control), [0; 4]);
    machine.set_config(slot, driver.msix_capability, head);
    assert!(vector.route.lock().unwrap().is_some());
}

#[test]
fn doorbells_follow_the_bar() {
    let (machine, _, slot) = machine();
    let driver = Driver::probe(&machine, slot);
    let doorbells = || {
        let mut all: Vec<_> = machine
            .controller
            .doorbells
            .lock()
            .unwrap()
            .keys()
            .copied()
            .collect();
        all.sort_unstable();
        all
    };
    let base = driver.bar(0);
    let at = |base| vec![base + 0x3000, base + 0x3004, base + 0x3008];
    assert_eq!(doorbells(), at(base));
    machine.set_config(slot, 0x10, 0xd000_0000);
    assert_eq!(doorbells(), at(0xd000_0000));
    assert_eq!(Driver::probe(&machine, slot).offered(), driver_offer());
    machine.set_config(slot, 4, 0);
    assert!(doorbells().is_empty());
    assert!(!machine.mmio.read(0xd000_0000, &mut [0; 4]));
}

fn driver_offer() -> u64 {
    OFFERED | spec::F_VERSION_1
}

#[test]
fn the_bar_can_be_sized_and_moved_above_4_gib() {
    let (machine, _, slot) = machine();
    machine.set_config(slot, 4, 0);
    machine.set_config(slot, 0x10, u32::MAX);
    machine.set_config(slot, 0x14, u32::MAX);
    assert_eq!(machine.config(slot, 0x10), 0xffff_8004);
    assert_eq!(machine.config(slot, 0x14), 0xffff_ffff);
    machine.set_config(slot, 0x10, 0x0001_0000);
    machine.set_config(slot, 0x14, 0x41);
    machine.set_config(slot, 4, 2);
    let driver = Driver::probe(&machine, slot);
    assert_eq!(driver.bar(0), 0x41_0001_0000);
    assert_eq!(driver.offered(), driver_offer());
}

#[test]
fn sizing_while_decoding_harms_nobody() {
    let (machine, _, slot) = machine();
    let base = machine.config(slot, 0x10);
    machine.set_config(slot, 0x10, u32::MAX);
    machine.set_config(slot, 0x14, u32::MAX);
    machine.set_config(slot, 0x10, base);
    machine.set_config(slot, 0x14, 0);
    assert_eq!(Driver::probe(&machine, slot).offered(), driver_offer());
}

#[test]
fn the_configuration_window_reaches_the_bar() {
    let (machine, probe, slot) = machine();
    let mut at = 0x34;
    // Find the capability: its type is in byte 3 of the first dword.
    let mut next = machine.config(slot, at).to_le_bytes()[0];
    while machine.config(slot, u16::from(next)).to_le_bytes()[3] != spec::CAP_PCI_CFG
        || machine.config(slot, u16::from(next)).to_le_bytes()[0] != 9
    {
        at = u16::from(next);
        next = machine.config(slot, at).to_le_bytes()[1];
        assert_ne!(next, 0);
    }
    let cap = u16::from(next);
    let access = |offset: u32, length: u32| {
        machine.set_config(slot, cap + 4, 0);
        machine.set_config(slot, cap + 8, offset);
        machine.set_config(slot, cap + 12, length);
    };
    access(u32::try_from(common::NUM_QUEUES).unwrap(), 2);
    assert_eq!(machine.config(slot, cap + 16), 3);
    access(0x2001, 1);
    machine.set_config(slot, cap + 16, 0xab);
    assert_eq!(probe.0.lock().unwrap().config[1], 0xab);
    access(0x4000 + 8, 4);
    machine.set_config(slot, cap + 16, 0x1234_5678);
    assert_eq!(machine.config(slot, cap + 16), 0x1234_5678);
    for (offset, length) in [(1, 2), (0, 3), (0, 0), (0x8000, 4), (u32::MAX, 1)] {
        access(offset, length);
        machine.config(slot, cap + 16);
        machine.set_config(slot, cap + 16, u32::MAX);
    }
}

#[test]
fn thirty_one_devices_fill_the_bus() {
    let machine = TestMachine::new();
    for slot in 1..32 {
        assert_eq!(machine.attach(Probe::default()), slot);
    }
    let controller: Arc<dyn InterruptController> = Arc::clone(&machine.controller) as _;
    let device = Box::new(Probe::default());
    let error = crate::virtio::attach(&machine.pci, device, &machine.ram, &controller);
    assert!(error.unwrap_err().to_string().contains("31 PCI slots"));
    for slot in 1..32 {
        let driver = Driver::probe(&machine, slot);
        assert_eq!(driver.offered(), driver_offer());
        let mut id = [0; 4];
        machine.mmio.read(ECAM + (u64::from(slot) << 15), &mut id);
        assert_eq!(u32::from_le_bytes(id), 0x1044_1af4);
    }
}

/// One access of a guest that does anything.
#[derive(Debug, Clone)]
enum Access {
    Config(u16, Vec<u8>),
    ConfigRead(u16, usize),
    Bar(u64, Vec<u8>),
    BarRead(u64, usize),
}

fn accesses() -> impl Strategy<Value = Vec<Access>> {
    let bytes = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..=8),
            proptest::collection::vec(0u8..16, 1..=4),
        ]
    };
    // Most accesses go to the common configuration, where the state machine is.
    let offset = || prop_oneof![3 => 0..0x40u64, 1 => 0..0x8000u64];
    let access = prop_oneof![
        1 => (0..0x100u16, bytes()).prop_map(|(at, data)| Access::Config(at, data)),
        1 => (0..0x1000u16, 1..=8usize).prop_map(|(at, len)| Access::ConfigRead(at, len)),
        6 => (offset(), bytes()).prop_map(|(at, data)| Access::Bar(at, data)),
        2 => (offset(), 1..=8usize).prop_map(|(at, len)| Access::BarRead(at, len)),
    ];
    proptest::collection::vec(access, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn hostile_accesses_never_panic(accesses in accesses()) {
        let (machine, _, slot) = machine();
        let base = Driver::probe(&machine, slot).bar(0);
        for access in accesses {
            match access {
                Access::Config(at, data) => {
                    machine.mmio.write(ECAM + (u64::from(slot) << 15) + u64::from(at), &data);
                }
                Access::ConfigRead(at, len) => {
                    machine.mmio.read(ECAM + (u64::from(slot) << 15) + u64::from(at), &mut vec![0; len]);
                }
                Access::Bar(at, data) => {
                    machine.mmio.write(base + at, &data);
                }
                Access::BarRead(at, len) => {
                    machine.mmio.read(base + at, &mut vec![0; len]);
                }
            }
        }
        // Whatever it did, a guest that starts over finds a working device.
        let function = ECAM + (u64::from(slot) << 15);
        machine.write(function + 4, &[0, 0]);
        machine.write(function + 0x10, &0xd000_0000u32.to_le_bytes());
        machine.write(function + 0x14, &[0; 4]);
        machine.write(function + 4, &[2, 0]);
        let mut driver = Driver::probe(&machine, slot);
        running(&mut driver);
    }
}
