//! Doorbells while another vCPU is in the model.
use super::*;
use crate::pci::{BarKind, Identity};
use std::{
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

const DOORBELL: u64 = 0;
const SLOW: u64 = 4;

#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Doorbells for Bell {
    fn ring(&self, at: Access, value: u32) -> Option<bool> {
        (at.bar == 1 && u64::from(at.offset) == DOORBELL).then(|| {
            self.0.store(value, Ordering::SeqCst);
            true
        })
    }
}

/// A register read takes until it is told to end.
#[derive(Debug)]
struct Slow {
    bell: Arc<Bell>,
    entered: Sender<()>,
    leave: Receiver<()>,
}

impl Model for Slow {
    type Doorbells = Bell;
    type Saved = ();

    const NAME: &'static str = "slow";

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
        self.entered.send(()).unwrap();
        self.leave.recv().unwrap();
        0
    }
    fn write(&mut self, _at: Access, _value: u32, _now: Instant) -> bool {
        false
    }
    fn burst(&mut self, _wire: &mut dyn Wire, _now: Instant) -> Burst {
        Burst {
            busy: false,
            restart: false,
            deadline: None,
        }
    }
    fn restarted(&mut self) {}
    fn save(&self, _now: Instant) {}
    fn restore(&mut self, (): (), _now: Instant) {}
}

#[test]
fn a_doorbell_waits_neither_for_the_model_nor_for_another_vcpu() {
    let bell = Arc::new(Bell::default());
    let (entered, has_entered) = channel();
    let (leave, may_leave) = channel();
    let bench = Bench::plug(true, |_| Slow {
        bell: Arc::clone(&bell),
        entered,
        leave: may_leave,
    });
    let (rang, has_rung) = channel();
    let rung = thread::scope(|scope| {
        scope.spawn(|| bench.machine.read::<4>(bench.registers + SLOW));
        has_entered.recv().unwrap();
        scope.spawn(|| {
            bench
                .machine
                .write(bench.registers + DOORBELL, &7u32.to_le_bytes());
            rang.send(()).unwrap();
        });
        let rung = has_rung.recv_timeout(Duration::from_secs(10));
        leave.send(()).unwrap();
        rung
    });
    assert_eq!(rung, Ok(()));
    assert_eq!(bell.0.load(Ordering::SeqCst), 7);
}
