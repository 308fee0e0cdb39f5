//! Writes to memory that KVM keeps, of a guest that polls.
use std::thread;

use super::*;
use crate::bus::PostedWrites;

/// Where there is no RAM.
const REGISTER: u64 = 0xD000_0000;
/// A byte that the guest waits for, and one that it has set before.
const FLAG: u16 = 0x4000;
const WAITS: u16 = 0x4001;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Memory(u32),
    Port(u32),
    End,
}

/// All that comes, in order.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    fn push(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

fn value(data: &[u8]) -> u32 {
    u32::from_le_bytes(data.try_into().unwrap())
}

impl BusDevice for Events {
    fn read(&mut self, _offset: u64, _data: &mut [u8]) {}
    fn write(&mut self, offset: u64, data: &[u8]) {
        let is_end = offset == u64::from(END - DATA);
        self.push(if is_end {
            Event::End
        } else {
            Event::Port(value(data))
        });
    }
}

impl PostedWrites for Events {
    fn post(&self, _offset: u64, data: &[u8]) -> bool {
        self.push(Event::Memory(value(data)));
        true
    }
}

/// Has the guest end when it goes: of a test that fails, too, or its vCPU would run for ever.
struct Release<'a>(&'a GuestRam);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let _ = self.0.mmap.write_obj(1u8, GuestAddress(FLAG.into()));
    }
}

/// Memory, port, memory twice; then the flag is waited for, and a byte goes to END.
fn polling_code() -> Vec<u8> {
    let [low, high] = DATA.to_le_bytes();
    let mut code = vec![0xBA, low, high]; // mov dx, DATA
    for (number, to_memory) in [(1u8, true), (2, false), (3, true), (4, true)] {
        code.extend([0x66, 0xB8, number, 0, 0, 0]); // mov eax, number
        if to_memory {
            code.extend([0x66, 0xA3, 0, 0]); // mov [0], eax
        } else {
            code.extend([0x66, 0xEF]); // out dx, eax
        }
    }
    let [low, high] = WAITS.to_le_bytes();
    code.extend([0x26, 0xC6, 0x06, low, high, 1]); // mov byte es:[WAITS], 1
    let [low, high] = FLAG.to_le_bytes();
    code.extend([0x26, 0x80, 0x3E, low, high, 0]); // cmp byte es:[FLAG], 0
    code.extend([0x74, 0xF8]); // je to the comparison
    let [low, high] = END.to_le_bytes();
    code.extend([0xBA, low, high, 0xEE, 0xEB, 0xFD]); // mov dx, END; out dx, al; jmp out
    code
}

#[test]
fn a_thread_takes_what_a_guest_that_polls_has_written() {
    let Some(mut guest) = Guest::new(&polling_code()) else {
        return;
    };
    let mut sregs = guest.vcpu.fd.get_sregs().unwrap();
    (sregs.ds.base, sregs.es.base) = (REGISTER, 0);
    guest.vcpu.fd.set_sregs(&sregs).unwrap();
    let events = Events::default();
    let shared = Arc::new(Mutex::new(events.clone()));
    let (pio, mmio) = (&guest.pio, &guest.mmio);
    pio.insert(DATA.into(), 0x20, Arc::clone(&shared) as _)
        .unwrap();
    let posted = Arc::new(events.clone());
    mmio.insert_posted(REGISTER, 4, shared, Some(posted))
        .unwrap();
    let (port, register) = (DoorbellAddress::Pio(DATA), DoorbellAddress::Mmio(REGISTER));
    if !guest.keep(port) || !guest.keep(register) {
        return;
    }
    let (vcpu, interrupts) = (&mut guest.vcpu, &guest.interrupts);
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            while events.all().last() != Some(&Event::End) {
                assert_eq!(vcpu.run(pio, mmio), Exit::Again);
            }
        });
        let release = Release(&guest.ram);
        let waits = GuestAddress(WAITS.into());
        eventually("the guest has written all, and waits", || {
            guest.ram.mmap.read_obj::<u8>(waits).unwrap() != 0
        });
        assert_eq!(events.all(), [], "KVM keeps them");
        // What is behind a write that is not for this thread is not, either.
        interrupts.post_writes();
        interrupts.post_writes();
        assert_eq!(events.all(), [Event::Memory(1)]);
        drop(release);
        running.join().unwrap();
    });
    let expected = [
        Event::Memory(1),
        Event::Port(2),
        Event::Memory(3),
        Event::Memory(4),
        Event::End,
    ];
    assert_eq!(events.all(), expected);
    interrupts.bring_writes(port, 4).unwrap();
    interrupts.bring_writes(register, 4).unwrap();
}
