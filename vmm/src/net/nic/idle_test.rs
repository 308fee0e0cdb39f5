//! A NIC's thread that has nothing to do.
use super::*;
use crate::{
    net::wire::Outgoing,
    pci::{BarKind, Identity},
};
use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};
use virtqueue::NetHeader;

/// What tests do with the NIC.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    received: AtomicU32,
}

impl Doorbells for Bell {
    fn ring(&self, _at: Access, _value: u32) -> Option<bool> {
        self.rung.store(true, Ordering::SeqCst);
        Some(true)
    }
}

/// Each ring of its doorbell is a frame. `NAME` tells the threads of tests that run beside each other apart.
#[derive(Debug)]
struct Bouncer<const SLEEPER: bool> {
    bell: Arc<Bell>,
    frame: Vec<u8>,
}

impl<const SLEEPER: bool> Model for Bouncer<SLEEPER> {
    type Doorbells = Bell;
    type Saved = ();

    const NAME: &'static str = if SLEEPER { "sleeper" } else { "waker" };

    fn function(&self) -> Function {
        let mut function = Function::new(&Identity::default());
        function.add_bar(0, BarKind::Io, 0x100);
        function.add_bar(1, BarKind::Memory32, 0x1000);
        function
    }
    fn doorbells(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }
    fn set_bus_master(&mut self, _on: bool) {}
    fn set_link(&mut self, _up: bool, _now: Instant) {}
    fn read(&mut self, _at: Access, _now: Instant) -> u32 {
        0
    }
    fn write(&mut self, _at: Access, _value: u32, _now: Instant) -> bool {
        false
    }
    fn burst(&mut self, wire: &mut dyn Wire, _now: Instant) -> Burst {
        let mut busy = self.bell.rung.swap(false, Ordering::SeqCst);
        if busy {
            assert!(wire.send(&Outgoing {
                header: &NetHeader::default(),
                head: b"a frame",
                body: &[],
                token: 0,
            }));
        }
        while wire.receive(&mut self.frame).is_some() {
            self.bell.received.fetch_add(1, Ordering::SeqCst);
            busy = true;
        }
        while wire.sent().is_some() {
            busy = true;
        }
        wire.flush();
        Burst {
            busy,
            restart: false,
            deadline: None,
        }
    }
    fn restarted(&mut self) {}
    fn save(&self, _now: Instant) {}
    fn restore(&mut self, (): (), _now: Instant) {}
}

/// A NIC, after a hundred frames one after the other.
fn worn_out<const SLEEPER: bool>(poll_idle: Duration) -> (Bench, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    let bench = Bench::plug_patient(true, poll_idle, |_| Bouncer::<SLEEPER> {
        bell: Arc::clone(&bell),
        frame: Vec::new(),
    });
    for round in 1..=100 {
        bench.machine.write(bench.registers, &[0; 4]);
        eventually("the frame comes back", || {
            bell.received.load(Ordering::SeqCst) == round
        });
    }
    (bench, bell)
}

/// What the kernel tells in `/proc/self/task/…/NAME` of the thread.
fn tells(thread: &str, name: &str) -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let is_it = |comm: String| comm.trim_end() == thread;
    // Other tests' threads end meanwhile.
    let task = tasks.find(|task| fs::read_to_string(task.join("comm")).is_ok_and(is_it));
    fs::read_to_string(task.unwrap().join(name)).unwrap()
}

/// CPU time so far.
fn used(thread: &str) -> Duration {
    let text = tells(thread, "schedstat");
    let nanoseconds = text.split(' ').next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

#[test]
fn an_idle_nic_uses_no_cpu() {
    for poll_idle in [Duration::ZERO, Duration::from_micros(50)] {
        let (_bench, _) = worn_out::<true>(poll_idle);
        eventually("the thread sleeps", || {
            tells("sleeper", "stat").contains(") S ")
        });
        let before = used("sleeper");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            thread::yield_now();
        }
        let used = used("sleeper").saturating_sub(before);
        // Once it may have been about to look again.
        assert!(used < Duration::from_millis(1), "{used:?} of CPU");
    }
}

#[test]
fn a_nic_that_has_just_worked_polls() {
    let (bench, bell) = worn_out::<false>(Duration::from_hours(1));
    let bounce = || {
        let before = bell.received.load(Ordering::SeqCst);
        bench.machine.write(bench.registers, &[0; 4]);
        eventually("the frame comes back", || {
            bell.received.load(Ordering::SeqCst) > before
        });
    };
    // One that has lost its CPU to others sleeps, until it has worked again some time later.
    eventually("the thread looks and looks", || {
        bounce();
        let (before, begun) = (used("waker"), Instant::now());
        while begun.elapsed() < Duration::from_millis(100) {
            thread::yield_now();
        }
        used("waker") > before + Duration::from_millis(20)
    });
    // It takes what comes meanwhile, and ends when it is told to.
    bounce();
}
