//! Writes that KVM keeps of two vCPUs at once, while a thread takes some.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use kvm_bindings::kvm_mp_state;

use super::*;
use crate::bus::PostedWrites;

const REGISTERS: u64 = 0xD000_0000;
/// What a vCPU writes between two other accesses: KVM's ring holds that of both, so that nothing brings it but those and the thread.
const WRITES: u16 = 80;
const ROUNDS: u16 = 500;
/// Of the second vCPU's code from that of the first.
const APART: u64 = 0x200;

/// What came of each vCPU.
#[derive(Debug, Default)]
struct Seen {
    /// How many writes to its register, one greater than the other.
    written: u32,
    /// And accesses to its port.
    accesses: u16,
}

#[derive(Clone, Default)]
struct Events(Arc<Mutex<[Seen; 2]>>);

impl BusDevice for Events {
    fn read(&mut self, _offset: u64, _data: &mut [u8]) {}
    fn write(&mut self, offset: u64, data: &[u8]) {
        let value = u32::from_le_bytes(data.try_into().unwrap());
        let mut seen = self.0.lock().unwrap();
        let seen = &mut seen[usize::try_from(offset / 4).unwrap()];
        seen.accesses += 1;
        assert_eq!(value, u32::from(WRITES) * u32::from(seen.accesses));
        assert_eq!(seen.written, value, "what it wrote before came before");
    }
}

impl PostedWrites for Events {
    fn post(&self, offset: u64, data: &[u8]) -> bool {
        let value = u32::from_le_bytes(data.try_into().unwrap());
        let mut seen = self.0.lock().unwrap();
        let seen = &mut seen[usize::try_from(offset / 4).unwrap()];
        seen.written += 1;
        assert_eq!(value, seen.written, "each once and in order");
        true
    }
}

/// Counts in its register, `WRITES` times, then says to its port how far it is; again and again.
fn code(id: u8) -> Vec<u8> {
    let [low, high] = (DATA + 4 * u16::from(id)).to_le_bytes();
    let mut code = vec![0x66, 0x31, 0xC0]; // xor eax, eax
    code.extend([0xBA, low, high]); // mov dx, the port
    let [low, high] = WRITES.to_le_bytes();
    code.extend([0xB9, low, high]); // again: mov cx, WRITES
    code.extend([0x66, 0x40]); // next: inc eax
    code.extend([0x66, 0xA3, 4 * id, 0]); // mov [the register], eax
    code.extend([0xE2, 0xF8]); // loop next
    code.extend([0x66, 0xEF]); // out dx, eax
    code.extend([0xEB, 0xF1]); // jmp again
    code
}

#[test]
fn what_two_vcpus_write_comes_before_what_they_do_next() {
    let Some(mut guest) = Guest::new(&code(0)) else {
        return;
    };
    let mut second = vcpu(&guest.vm, 1, CODE + APART);
    let at = GuestAddress(CODE + APART);
    guest.ram.mmap.write_slice(&code(1), at).unwrap();
    let events = Events::default();
    let shared = Arc::new(Mutex::new(events.clone()));
    let registers = [0, 4].map(|offset| DoorbellAddress::Mmio(REGISTERS + offset));
    if !registers.iter().all(|register| guest.keep(*register)) {
        return;
    }
    let Guest {
        pio,
        mmio,
        interrupts,
        vcpu: first,
        ..
    } = &mut guest;
    let (pio, mmio, interrupts) = (&*pio, &*mmio, &*interrupts);
    pio.insert(DATA.into(), 8, Arc::clone(&shared) as _)
        .unwrap();
    let posted = Arc::new(events.clone());
    mmio.insert_posted(REGISTERS, 8, shared, Some(posted))
        .unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let vcpus = [first, &mut second].into_iter().enumerate();
        let running = vcpus.map(|(id, vcpu)| {
            // The second would wait for the first to start it.
            vcpu.fd.set_mp_state(kvm_mp_state::default()).unwrap();
            let mut sregs = vcpu.fd.get_sregs().unwrap();
            sregs.ds.base = REGISTERS;
            vcpu.fd.set_sregs(&sregs).unwrap();
            let events = events.clone();
            let accesses = move || events.0.lock().unwrap()[id].accesses;
            scope.spawn(move || {
                while accesses() < ROUNDS {
                    assert_eq!(vcpu.run(pio, mmio), Exit::Again);
                }
            })
        });
        let running = running.collect::<Vec<_>>();
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                interrupts.post_writes();
                thread::yield_now();
            }
        });
        let ends = running.into_iter().map(thread::ScopedJoinHandle::join);
        let ends = ends.collect::<Vec<_>>();
        ended.store(true, Ordering::SeqCst);
        assert!(ends.iter().all(Result::is_ok));
    });
    for seen in &*events.0.lock().unwrap() {
        assert_eq!(seen.accesses, ROUNDS);
    }
    for register in registers {
        interrupts.bring_writes(register, 4).unwrap();
    }
}
