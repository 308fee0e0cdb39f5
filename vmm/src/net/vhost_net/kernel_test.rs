//! With the kernel's own vhost-net, where there is one and this process may make macvtaps; elsewhere nothing is shown.
use crate::{
    net::{Attachment, MacAddress, Target},
    virtio::{
        net::Net,
        spec,
        testing::{Driver, TestMachine, eventually, readable},
    },
};
use netbackend::direct::{Bare, DirectSpec};
use nix::sched::{CloneFlags, unshare};
use std::{path::Path, process::Command, sync::Arc};
use virtqueue::DriverQueue;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);

fn run(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).status();
    status.is_ok_and(|status| status.success())
}

/// A macvtap in a namespace of this thread's own.
fn macvtap() -> Option<Arc<Bare>> {
    let is_there = Path::new("/dev/vhost-net").exists();
    if !is_there || unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_err() {
        eprintln!("skipped: no /dev/vhost-net, or not root");
        return None;
    }
    // /sys shows the interfaces of the namespace in which it was mounted.
    assert!(run("mount --make-rprivate /"));
    assert!(run("mount -t sysfs none /sys"));
    assert!(run("ip link add kern0 type veth peer name kern1"));
    assert!(run("ip link set kern0 up") && run("ip link set kern1 up"));
    let spec = DirectSpec {
        nic: "kern0".into(),
        mode: control::Mode::Bridge,
        mac: MAC.0,
        queue_pairs: 1,
    };
    Some(Arc::new(Bare::open(&spec).unwrap()))
}

fn start(driver: &mut Driver<'_>) -> DriverQueue {
    assert!(driver.negotiate(spec::F_VERSION_1));
    let _receive = driver.queue(0, 64, 0);
    let transmit = driver.queue(1, 64, 0);
    driver.driver_ok();
    transmit
}

fn send(driver: &Driver<'_>, queue: &mut DriverQueue, address: u64) {
    assert!(queue.add(&[readable(address, 12 + 60)], 0));
    if queue.publish() {
        driver.kick(1);
    }
}

#[test]
fn a_broken_ring_stops_the_nic_until_the_driver_resets_it() {
    let Some(macvtap) = macvtap() else { return };
    let machine = TestMachine::new();
    let attachment = Attachment {
        target: Target::VhostNet(Arc::clone(&macvtap)),
        mtu: None,
        cable: true,
        filter: None,
        lease: None,
    };
    let slot = machine.attach(Net::connect(&attachment, MAC, 1, &machine.ram).unwrap());
    let mut driver = Driver::probe(&machine, slot);
    driver.enable_msix();
    for _ in 0..3 {
        let mut transmit = start(&mut driver);
        let frame = driver.allocate(4096);
        send(&driver, &mut transmit, frame);
        eventually("a frame is sent", || {
            transmit.poll_used().unwrap().is_some()
        });
        // In no memory.
        send(&driver, &mut transmit, 1 << 40);
        eventually("the device wants a reset", || {
            driver.status() & spec::STATUS_NEEDS_RESET != 0
        });
        send(&driver, &mut transmit, frame);
        // After the reset the kernel is done with all that it was told to do.
        driver.set_status(0);
        assert_eq!(driver.status(), 0);
        assert!(transmit.poll_used().unwrap().is_none(), "it stood still");
    }
    assert!(run("ip link set kern1 down"));
    eventually("the carrier is lost", || !macvtap.carries());
}
