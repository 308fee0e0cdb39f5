use super::*;
use crate::{
    net::testing::{EchoBackend, Traits},
    virtio::{
        spec::common,
        testing::{Driver, TestMachine, eventually, readable, writable},
    },
};
use std::{path::PathBuf, time::Duration};
use virtqueue::DriverQueue;

pub(super) const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
const FRAME: u32 = 100;

pub(super) struct Lab {
    pub(super) machine: TestMachine,
    pub(super) slot: u8,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn new(traits: Traits, pairs: u16) -> (Self, EchoBackend) {
        Self::build(traits, pairs, true, None, None)
    }

    /// One queue pair, and a link that goes down this long after its back-end.
    fn with_grace(grace: Duration) -> (Self, EchoBackend) {
        Self::build(Traits::default(), 1, true, Some(grace), None)
    }

    /// A NIC whose guest may choose what it receives.
    pub(super) fn with_filter(filter: SharedFilter) -> (Self, EchoBackend) {
        Self::build(Traits::default(), 1, true, None, Some(filter))
    }

    /// `--net …,link=down`
    fn without_cable(traits: Traits, pairs: u16) -> (Self, EchoBackend) {
        Self::build(traits, pairs, false, None, None)
    }

    fn build(
        traits: Traits,
        pairs: u16,
        cable: bool,
        grace: Option<Duration>,
        filter: Option<SharedFilter>,
    ) -> (Self, EchoBackend) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let backend = EchoBackend::start(&path, traits);
        let machine = TestMachine::new();
        let attachment = Attachment {
            target: crate::net::Target::Socket(path.clone()),
            mtu: Some(9000),
            cable,
            filter,
            lease: None,
        };
        let net = Net::connect(&attachment, MAC, pairs, &machine.ram).unwrap();
        if let Some(grace) = grace {
            net.link.set_grace(grace);
        }
        let slot = machine.attach(net);
        let lab = Self {
            machine,
            slot,
            path,
            _dir: dir,
        };
        (lab, backend)
    }

    fn link_status(&self, driver: &Driver<'_>) -> u16 {
        let config = driver.structures[&spec::CAP_DEVICE];
        u16::from_le_bytes(self.machine.read(config + 6))
    }
}

/// A driver with as many queues as it negotiated.
pub(super) struct Guest<'m> {
    pub(super) driver: Driver<'m>,
    pub(super) queues: Vec<DriverQueue>,
    sent: u8,
}

impl<'m> Guest<'m> {
    pub(super) fn start(lab: &'m Lab, features: u64, pairs: u16) -> Self {
        let mut driver = Driver::probe(&lab.machine, lab.slot);
        driver.enable_msix();
        let queues = restart(&mut driver, features, pairs);
        Self {
            driver,
            queues,
            sent: 0,
        }
    }

    /// Posts a receive buffer and sends a frame; returns the buffer.
    fn send(&mut self, pair: u16) -> u64 {
        self.sent += 1;
        let (rx, tx) = (self.driver.allocate(4096), self.driver.allocate(4096));
        let bytes = vec![self.sent; FRAME as usize];
        assert!(self.driver.machine.ram.map.write(tx, &bytes));
        for (index, buffer) in [
            (2 * pair, writable(rx, 2048)),
            (2 * pair + 1, readable(tx, FRAME)),
        ] {
            let queue = &mut self.queues[usize::from(index)];
            let _ = queue.arm_calls();
            assert!(queue.add(&[buffer], 0));
            if queue.publish() {
                self.driver.kick(index);
            }
        }
        rx
    }

    fn receive(&mut self, pair: u16, buffer: u64, byte: u8) {
        let queue = &mut self.queues[usize::from(2 * pair)];
        let mut used = None;
        eventually("the frame comes back", || {
            used = queue.poll_used().unwrap();
            used.is_some()
        });
        assert_eq!(used.unwrap().written, FRAME);
        let mut bytes = vec![0; FRAME as usize];
        assert!(self.driver.machine.ram.map.read(buffer, &mut bytes));
        assert_eq!(bytes, vec![byte; FRAME as usize]);
    }

    fn echo(&mut self, pair: u16) {
        let buffer = self.send(pair);
        self.receive(pair, buffer, self.sent);
        self.driver.wait_vector(usize::from(2 * pair) + 1);
    }

    /// Sends a control command; returns the answer.
    pub(super) fn control(&mut self, index: u16, command: &[u8]) -> u8 {
        let at = self.driver.allocate(4096);
        let memory = &self.driver.machine.ram.map;
        assert!(memory.write(at, command));
        assert!(memory.write(at + 2048, &[0xee]));
        let len = u32::try_from(command.len()).unwrap();
        let buffers = [readable(at, len), writable(at + 2048, 1)];
        let queue = self.queues.last_mut().unwrap();
        self.driver.exchange(index, queue, &buffers);
        let mut answer = [0];
        assert!(memory.read(at + 2048, &mut answer));
        answer[0]
    }
}

fn restart(driver: &mut Driver<'_>, features: u64, pairs: u16) -> Vec<DriverQueue> {
    assert!(driver.negotiate(features | spec::F_VERSION_1));
    let vector = driver.common(common::CONFIG_MSIX_VECTOR);
    driver.machine.write(vector, &[0, 0]);
    let queues = (0..=2 * pairs)
        .map(|index| driver.queue(index, 64, features))
        .collect();
    driver.driver_ok();
    queues
}

const MULTI: u64 = features::MQ | features::CTRL_VQ;

#[test]
fn shows_what_it_is() {
    let (lab, _backend) = Lab::new(Traits::default(), 2);
    let driver = Driver::probe(&lab.machine, lab.slot);
    assert_eq!(lab.machine.config(lab.slot, 0), 0x1041_1af4);
    let config = driver.structures[&spec::CAP_DEVICE];
    assert_eq!(lab.machine.read::<6>(config), MAC.0);
    assert_eq!(lab.link_status(&driver), LINK_UP);
    let rest = lab.machine.read::<4>(config + 8);
    assert_eq!(rest, [2, 0, 0x28, 0x23]);
    let offered = driver.offered();
    assert_eq!(
        offered,
        spec::F_VERSION_1
            | spec::RING_FEATURES
            | features::CSUM
            | features::GUEST_CSUM
            | 1 << 15
            | features::MAC
            | features::STATUS
            | features::MTU
            | MULTI
    );
    let queues = lab.machine.read(driver.common(common::NUM_QUEUES));
    assert_eq!(u16::from_le_bytes(queues), 5);
    assert!(!driver.negotiate(spec::F_VERSION_1 | features::MQ));
}

#[test]
fn frames_go_round_by_way_of_the_back_end() {
    for ring in [0, spec::RING_FEATURES] {
        let (lab, backend) = Lab::new(Traits::default(), 1);
        let mut guest = Guest::start(&lab, features::MAC | ring, 1);
        for _ in 0..200 {
            guest.echo(0);
            guest.driver.next_page -= 8192;
            while guest.queues[1].poll_used().unwrap().is_some() {}
        }
        let features = spec::F_VERSION_1 | ring | 1 << 30;
        assert!(backend.asked(&format!("SET_FEATURES {features:#x}")));
        assert!(backend.asked("SET_VRING_ENABLE 1 true"));
    }
}

#[test]
fn reset_stops_every_ring_and_the_driver_may_start_again() {
    let (lab, backend) = Lab::new(Traits::default(), 2);
    let mut guest = Guest::start(&lab, MULTI, 2);
    guest.echo(0);
    guest.driver.set_status(0);
    for ring in 0..4 {
        assert!(backend.asked(&format!("GET_VRING_BASE {ring}")));
    }
    guest.queues = restart(&mut guest.driver, 0, 1);
    guest.echo(0);
    assert_eq!(lab.link_status(&guest.driver), LINK_UP);
}

#[test]
fn the_driver_chooses_the_number_of_pairs() {
    let (lab, backend) = Lab::new(Traits::default(), 4);
    let mut guest = Guest::start(&lab, MULTI, 4);
    let requests = backend.requests();
    for request in ["SET_VRING_ENABLE 1 true", "SET_VRING_ENABLE 2 false"] {
        assert!(requests.iter().any(|r| r == request), "{requests:?}");
    }
    assert_eq!(guest.control(8, &[4, 0, 4, 0]), 0);
    for pair in 0..4 {
        guest.echo(pair);
    }
    assert_eq!(guest.control(8, &[4, 0, 1, 0]), 0);
    assert_eq!(
        backend.requests().last().unwrap(),
        "SET_VRING_ENABLE 7 false"
    );
    for bad in [
        &[4u8, 0, 0, 0][..],
        &[4, 0, 5, 0],
        &[4, 0, 0xff, 0xff],
        &[4, 0, 1],
        &[4, 1, 1, 0],
        &[0, 0, 1, 0],
        &[1, 0, 0xff, 0xff, 0xff, 0xff],
        &[2, 0, 0xff, 0xff],
        &[0xff; 64],
        &[4],
    ] {
        assert_eq!(guest.control(8, bad), 1, "{bad:?}");
    }
    let requests = backend.requests().len();
    // An answer that has no room, and one that is read-only.
    let at = guest.driver.allocate(4096);
    for buffers in [
        vec![readable(at, 4)],
        vec![readable(at, 4), readable(at + 8, 1)],
        vec![writable(at, 64)],
    ] {
        let queue = guest.queues.last_mut().unwrap();
        guest.driver.exchange(8, queue, &buffers);
    }
    assert_eq!(backend.requests().len(), requests);
    guest.echo(0);
}

#[test]
fn without_a_cable_no_ring_is_ever_enabled() {
    let (lab, backend) = Lab::without_cable(Traits::default(), 2);
    let mut guest = Guest::start(&lab, MULTI, 2);
    assert_eq!(lab.link_status(&guest.driver), 0);
    guest.send(0);
    assert_eq!(guest.control(4, &[4, 0, 2, 0]), 0, "two pairs");
    backend.disconnect();
    let starts = || {
        let requests = backend.requests();
        let bases = requests
            .iter()
            .filter(|r| r.starts_with("SET_VRING_BASE 3"));
        bases.count()
    };
    eventually("the back-end is told all again", || starts() == 2);
    let requests = backend.requests();
    assert!(requests.iter().any(|r| r == "SET_VRING_ENABLE 0 false"));
    let enabled =
        |request: &String| request.starts_with("SET_VRING_ENABLE") && request.ends_with("true");
    assert!(!requests.iter().any(enabled), "{requests:?}");
    assert_eq!(guest.queues[0].poll_used().unwrap(), None);
}

#[test]
fn a_back_end_that_cannot_disable_rings_is_not_told_of_them_without_a_cable() {
    let mut traits = Traits::default();
    traits.features &= !(1 << 30);
    let (lab, backend) = Lab::without_cable(traits, 1);
    let mut guest = Guest::start(&lab, features::MAC, 1);
    guest.send(0);
    restart(&mut guest.driver, features::MAC, 1);
    let starts = || {
        let requests = backend.requests();
        let tables = requests.iter().filter(|r| r.starts_with("SET_MEM_TABLE"));
        tables.count()
    };
    // Nothing is acknowledged here: the second start comes after all of the first.
    eventually("it was started twice", || starts() == 2);
    let requests = backend.requests();
    let of_rings = requests.iter().any(|request| request.contains("VRING"));
    assert!(!of_rings, "{requests:?}");
}

#[test]
fn without_mq_the_control_queue_is_the_third() {
    let (lab, _backend) = Lab::new(Traits::default(), 4);
    let mut guest = Guest::start(&lab, features::CTRL_VQ, 1);
    assert_eq!(guest.control(2, &[4, 0, 2, 0]), 1);
    assert_eq!(guest.control(2, &[4, 0, 1, 0]), 0);
    guest.echo(0);
}

#[test]
fn nothing_is_lost_when_the_back_end_dies_and_comes_back() {
    let (lab, backend) = Lab::new(Traits::default(), 2);
    let mut guest = Guest::start(&lab, MULTI | spec::F_IN_ORDER | features::STATUS, 2);
    assert_eq!(guest.control(4, &[4, 0, 2, 0]), 0);
    for _ in 0..5 {
        guest.echo(0);
    }
    guest.echo(1);
    let generation = |guest: &Guest<'_>| {
        lab.machine
            .read::<1>(guest.driver.common(common::CONFIG_GENERATION))[0]
    };
    let before = generation(&guest);
    drop(backend);
    // The guest goes on meanwhile.
    let buffers = [guest.send(0), guest.send(0), guest.send(1)];
    assert_eq!(guest.control(4, &[4, 0, 3, 0]), 1);
    assert_eq!(guest.control(4, &[4, 0, 2, 0]), 0);

    let backend = EchoBackend::start(&lab.path, Traits::default());
    let sent = guest.sent;
    guest.receive(0, buffers[0], sent - 2);
    guest.receive(0, buffers[1], sent - 1);
    guest.receive(1, buffers[2], sent);
    assert!(backend.asked("SET_VRING_BASE 0 5"));
    assert!(backend.asked("SET_VRING_BASE 3 1"));
    assert!(backend.asked("SET_VRING_ENABLE 3 true"));
    guest.echo(0);
    guest.echo(1);
    assert_eq!(generation(&guest), before, "the guest did not notice");
}

#[test]
fn a_back_end_that_stays_away_takes_the_link_down() {
    let (lab, backend) = Lab::with_grace(Duration::ZERO);
    let mut guest = Guest::start(&lab, features::STATUS, 1);
    guest.echo(0);
    let generation = |guest: &Guest<'_>| {
        lab.machine
            .read::<1>(guest.driver.common(common::CONFIG_GENERATION))[0]
    };
    for _ in 0..2 {
        let before = generation(&guest);
        assert_eq!(lab.link_status(&guest.driver), LINK_UP);
        backend.disconnect();
        eventually("the link goes down and up", || {
            generation(&guest) == before.wrapping_add(2)
        });
        guest.driver.wait_vector(0);
    }
    drop(backend);
    eventually("the link goes down", || lab.link_status(&guest.driver) == 0);
    guest.driver.wait_vector(0);
}

#[test]
fn a_lost_connection_alone_is_mended() {
    let (lab, backend) = Lab::new(Traits::default(), 1);
    let mut guest = Guest::start(&lab, 0, 1);
    for round in 0..20 {
        guest.echo(0);
        let starts = |backend: &EchoBackend| {
            let requests = backend.requests();
            requests.iter().filter(|r| *r == "SET_OWNER").count()
        };
        backend.disconnect();
        eventually("another connection", || starts(&backend) == round + 2);
    }
    guest.echo(0);
}

#[test]
fn a_back_end_that_can_do_less_does_not_get_the_guest() {
    let (lab, backend) = Lab::with_grace(Duration::ZERO);
    let mut guest = Guest::start(&lab, features::CSUM, 1);
    guest.echo(0);
    drop(backend);
    let lesser = Traits {
        features: spec::F_VERSION_1 | 1 << 30,
        ..Traits::default()
    };
    let backend = EchoBackend::start(&lab.path, lesser);
    eventually("it is asked", || backend.asked("SET_OWNER"));
    assert_eq!(lab.link_status(&guest.driver), 0);
    drop(backend);
    let _backend = EchoBackend::start(&lab.path, Traits::default());
    eventually("the link comes up", || {
        lab.link_status(&guest.driver) == LINK_UP
    });
    guest.echo(0);
}

#[test]
fn a_driver_may_stop_and_start_while_the_back_end_is_gone() {
    let (lab, backend) = Lab::with_grace(Duration::ZERO);
    let mut guest = Guest::start(&lab, 0, 1);
    guest.echo(0);
    drop(backend);
    eventually("the link goes down", || lab.link_status(&guest.driver) == 0);
    guest.driver.set_status(0);
    assert_eq!(guest.driver.status(), 0);
    guest.queues = restart(&mut guest.driver, 0, 1);
    let buffer = guest.send(0);
    let backend = EchoBackend::start(&lab.path, Traits::default());
    let sent = guest.sent;
    guest.receive(0, buffer, sent);
    assert!(backend.asked("SET_VRING_BASE 0 0"));
}

#[test]
fn rings_outside_of_memory_never_reach_the_back_end() {
    let (lab, backend) = Lab::new(Traits::default(), 1);
    let mut driver = Driver::probe(&lab.machine, lab.slot);
    for (desc, used) in [
        (1 << 40, 0x2000),
        (0x1000, 32 << 20),
        (u64::MAX - 15, 0x2000),
    ] {
        assert!(driver.negotiate(spec::F_VERSION_1));
        let mut config = driver.place(64, 0);
        (config.desc, config.used) = (desc, used);
        driver.configure_queue(0, &config);
        driver.set_status(0xf);
        assert_eq!(driver.status(), 0x4f);
        driver.set_status(0);
    }
    assert!(!backend.requests().iter().any(|r| r.starts_with("SET_MEM")));
    let mut guest = Guest::start(&lab, 0, 1);
    guest.echo(0);
}

#[test]
fn intx_and_a_change_to_msix_reach_the_guest() {
    let (lab, _backend) = Lab::new(Traits::default(), 1);
    let mut driver = Driver::probe(&lab.machine, lab.slot);
    let queues = restart(&mut driver, 0, 1);
    let mut guest = Guest {
        driver,
        queues,
        sent: 0,
    };
    let buffer = guest.send(0);
    guest.receive(0, buffer, 1);
    eventually("the line goes up", || lab.machine.intx_level(lab.slot));
    let isr = guest.driver.structures[&spec::CAP_ISR];
    assert_eq!(lab.machine.read::<1>(isr)[0] & 1, 1);
    guest.driver.enable_msix();
    guest.echo(0);
}

#[test]
fn a_back_end_that_hangs_is_cut_off() {
    let traits = Traits {
        stalls: true,
        ..Traits::default()
    };
    let (lab, backend) = Lab::new(traits, 1);
    let mut guest = Guest::start(&lab, 0, 1);
    guest.echo(0);
    guest.driver.set_status(0);
    assert_eq!(guest.driver.status(), 0);
    drop(backend);
    let _backend = EchoBackend::start(&lab.path, Traits::default());
    eventually("the link comes up", || {
        lab.link_status(&guest.driver) == LINK_UP
    });
    guest.queues = restart(&mut guest.driver, 0, 1);
    guest.echo(0);
}
