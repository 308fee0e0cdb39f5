use super::*;
use crate::virtio::{
    spec::common,
    testing::{Driver, TestMachine, readable, writable},
};

#[test]
fn fills_buffers_within_bounds() {
    let machine = TestMachine::new();
    let slot = machine.attach(Rng::new().unwrap());
    let mut driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    let features = spec::F_VERSION_1 | spec::RING_FEATURES;
    assert!(driver.negotiate(features));
    let mut queue = driver.queue(0, 64, features);
    driver.driver_ok();
    let at = driver.allocate(0x10000);
    for (len, written) in [(64, 64), (1, 1), (0x10000, 4096)] {
        assert!(machine.ram.map.write(at, &vec![0; 0x10000]));
        let used = driver.exchange(0, &mut queue, &[writable(at, len)]);
        driver.wait_vector(1);
        assert_eq!(used.written, written);
        let mut bytes = vec![0; 0x10000];
        assert!(machine.ram.map.read(at, &mut bytes));
        let (filled, rest) = bytes.split_at(usize::try_from(written).unwrap());
        assert!(rest.iter().all(|byte| *byte == 0));
        if len > 1 {
            assert!(filled.iter().filter(|byte| **byte != 0).count() > filled.len() / 2);
        }
    }
    // Nothing to fill is no fault.
    let used = driver.exchange(0, &mut queue, &[readable(at, 16)]);
    assert_eq!(used.written, 0);
    assert_eq!(driver.status(), 0xf);
}

#[test]
fn does_not_start_without_its_queue() {
    let machine = TestMachine::new();
    let slot = machine.attach(Rng::new().unwrap());
    let driver = Driver::probe(&machine, slot);
    assert!(driver.negotiate(spec::F_VERSION_1));
    driver.set_status(0xf);
    assert_eq!(driver.status(), 0x4f);
}

#[test]
fn an_interrupt_is_not_lost_with_its_old_vector() {
    let machine = TestMachine::new();
    let slot = machine.attach(Rng::new().unwrap());
    let mut driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    assert!(driver.negotiate(spec::F_VERSION_1));
    driver.queue(0, 16, 0);
    driver.driver_ok();
    machine.write(driver.common(common::QUEUE_MSIX_VECTOR), &[0, 0]);
    driver.wait_vector(0);
}
