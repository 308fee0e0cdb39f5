//! Target `device_queue`: rings in hostile memory, which a second thread rewrites meanwhile.
//!
//! The first byte chooses the side under test: the device side before a hostile driver, or the driver side before a lying
//! device. A model keeps account of what was popped, completed and given back; the queue must agree with it whatever the memory
//! says.
use crate::{
    input::Input,
    ring::{self, Memory, TABLES},
};
use std::{collections::HashMap, sync::Arc};
use virtqueue::{
    Burst, Chain, DeviceQueue, DriverBuffer, DriverQueue, QueueConfig, QueueFault, RingPosition,
};

/// Plays the input as events on one ring.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let sides = input.u8();
    let memory = Memory::new();
    let script = if sides & 2 == 0 {
        Vec::new()
    } else {
        ring::script(&mut input)
    };
    let config = ring::config(&mut input);
    if sides & 1 == 0 {
        for _ in 0..input.u8() % 32 {
            let (addr, bytes) = ring::write(&mut input);
            memory.poke(addr, &bytes);
        }
        ring::besieged(&memory, &script, || device(&memory, config, &mut input));
    } else {
        ring::besieged(&memory, &script, || driver(&memory, config, &mut input));
    }
}

/// The device side and what it must be like.
struct Device<'m> {
    memory: &'m Memory,
    queue: DeviceQueue,
    burst: Burst,
    /// Chains of the burst that are completed.
    done: usize,
    /// Where the ring stands by our own account.
    position: RingPosition,
    packed: bool,
    staged: u16,
    fault: Option<QueueFault>,
}

fn device(memory: &Memory, config: QueueConfig, input: &mut Input<'_>) {
    let Ok(queue) = DeviceQueue::new(Arc::clone(&memory.map), &config) else {
        return;
    };
    let _ = DeviceQueue::used_index_in_memory(&memory.map, &config);
    let mut device = Device {
        memory,
        queue,
        burst: Burst::new(),
        done: 0,
        position: config.position,
        packed: config.features.packed,
        staged: 0,
        fault: None,
    };
    while !input.is_empty() {
        device.event(input);
        device.check();
    }
    device.complete(usize::MAX);
    let _ = device.queue.publish();
    device.burst.release();
}

impl Device<'_> {
    fn in_flight(&self) -> usize {
        self.burst.len() - self.done
    }

    fn event(&mut self, input: &mut Input<'_>) {
        match input.u8() % 14 {
            0..=3 => {
                let (addr, bytes) = ring::write(input);
                self.memory.poke(addr, &bytes);
            }
            4..=6 => self.pop(usize::from(input.u8() % 80)),
            7 => self.complete(usize::from(input.u8() % 8)),
            8 => {
                self.complete(usize::MAX);
                self.publish();
            }
            9 => self.publish(),
            12 => self.publish_all(),
            13 => self.publish_written(usize::from(input.u8() % 8)),
            10 => {
                let count = usize::from(input.u8() % 8).min(self.in_flight());
                let keep = self.burst.len() - count;
                self.queue.unpop(&mut self.burst, keep);
            }
            _ => {
                self.queue.suppress_kicks();
                let more = self.queue.arm_kicks();
                assert!(
                    !(more && self.queue.fault().is_some()),
                    "a faulty ring has nothing more"
                );
            }
        }
    }

    fn pop(&mut self, max: usize) {
        let before = self.burst.len();
        if self.queue.has_available() {
            self.queue.prefetch();
        }
        self.queue.foresee();
        match self.queue.pop_burst(&mut self.burst, max) {
            Ok(count) => {
                assert!(self.fault.is_none(), "a fault stays");
                assert!(count <= max);
                assert_eq!(self.burst.len(), before + count);
            }
            Err(fault) => {
                assert_eq!(self.burst.len(), before);
                assert_eq!(
                    *self.fault.get_or_insert(fault),
                    fault,
                    "the first fault stays"
                );
            }
        }
        assert!(self.burst.len() <= Burst::MAX);
        self.fault = self.fault.or(self.queue.fault());
        for index in before..self.burst.len() {
            let chain = self.burst.chain(index).expect("it was just popped");
            check_chain(self.memory, &chain);
        }
        self.copy_around();
    }

    /// Guest to guest, as the datapath does it: from the oldest chain to the newest.
    fn copy_around(&self) {
        let (Some(from), Some(to)) = (
            self.burst.chain(0),
            self.burst
                .len()
                .checked_sub(1)
                .and_then(|last| self.burst.chain(last)),
        ) else {
            return;
        };
        for offset in [0, 1, 13] {
            let len = from.readable().len().min(4096);
            let copied = from.readable().copy_to(offset, &to.writable(), offset, len);
            let available = from.readable().len().saturating_sub(offset).min(len);
            let room = to.writable().len().saturating_sub(offset);
            assert_eq!(copied, available.min(room));
        }
    }

    fn complete(&mut self, count: usize) {
        for _ in 0..count.min(self.in_flight()) {
            let chain = self.burst.chain(self.done).expect("in flight");
            self.queue.complete(chain.head(), chain.writable().len());
            self.done += 1;
            self.staged += 1;
            self.position.next_avail = self.position.next_avail.wrapping_add(1);
        }
        if self.in_flight() == 0 {
            self.burst.clear();
            self.done = 0;
        }
    }

    fn publish(&mut self) {
        let call = self.queue.publish();
        self.account(call);
    }

    fn account(&mut self, call: bool) {
        assert!(
            !call || self.staged > 0,
            "nothing was done, nobody is called"
        );
        self.position.next_used = self.position.next_used.wrapping_add(self.staged);
        self.staged = 0;
    }

    /// All of the burst at once, as transmit rings do it.
    fn publish_all(&mut self) {
        if self.done == 0 {
            let call = self.queue.publish_all(&self.burst);
            self.published(self.burst.len(), call);
        }
    }

    /// The oldest `count` of the burst at once and the others given back, as receive rings do it.
    fn publish_written(&mut self, count: usize) {
        if self.done > 0 {
            return;
        }
        let written: Vec<_> = (0..count.min(self.burst.len()))
            .filter_map(|index| self.burst.writable_len(index))
            .collect();
        self.queue.unpop(&mut self.burst, written.len());
        let call = self.queue.publish_written(&self.burst, &written);
        self.published(written.len(), call);
    }

    fn published(&mut self, chains: usize, call: bool) {
        let chains = u16::try_from(chains).expect("a burst");
        self.staged += chains;
        self.position.next_avail = self.position.next_avail.wrapping_add(chains);
        self.burst.clear();
        self.account(call);
    }

    /// A split ring counts chains, as we do. A packed one counts descriptors: what was popped and completed is the same to both.
    fn check_position(&self) {
        let position = self.queue.position();
        if !self.packed {
            assert_eq!(position, self.position);
            return;
        }
        for bits in [position.next_avail, position.next_used] {
            assert!(
                bits & 0x7fff < self.queue.size(),
                "{bits:#x} is beyond the ring"
            );
        }
        if self.staged == 0 {
            assert_eq!(position.next_avail, position.next_used);
        }
    }

    fn check(&self) {
        self.check_position();
        assert_eq!(self.queue.fault(), self.fault);
        assert!(
            self.in_flight() <= usize::from(self.queue.size()),
            "more chains than the ring has"
        );
    }
}

/// All pieces lie in guest memory and make up the length; reads and writes end where the chain does.
fn check_chain(memory: &Memory, chain: &Chain<'_>) {
    for segments in [chain.readable(), chain.writable()] {
        let mut pieces = Vec::new();
        let covered = segments.append_iovecs(0, u32::MAX, &mut pieces);
        assert_eq!(covered, segments.len());
        for piece in &pieces {
            assert!(
                piece.iov_len > 0 && memory.holds(piece.iov_base.addr(), piece.iov_len),
                "a piece outside of guest memory"
            );
        }
        let mut bytes = [0; 600];
        for offset in [
            0,
            1,
            segments.len() / 2,
            segments.len().saturating_sub(1),
            u32::MAX,
        ] {
            let left = segments.len().saturating_sub(offset);
            let expected = usize::try_from(left).unwrap().min(bytes.len());
            assert_eq!(segments.read_at(offset, &mut bytes), expected);
        }
    }
    let room = usize::try_from(chain.writable().len()).unwrap();
    assert_eq!(chain.writable().write_at(0, &[0x5a; 600]), room.min(600));
}

/// The driver side before a device that lies.
fn driver(memory: &Memory, config: QueueConfig, input: &mut Input<'_>) {
    let Ok(mut queue) = DriverQueue::new(Arc::clone(&memory.map), &config) else {
        return;
    };
    // Tokens that the device has, and the descriptors they take.
    let mut given: HashMap<u64, u16> = HashMap::new();
    let mut next_token = 0;
    let mut fault = None;
    while !input.is_empty() {
        match input.u8() % 8 {
            0 | 1 => {
                let count = input.u8() % 6;
                let buffer = DriverBuffer {
                    addr: ring::address(input),
                    len: u32::from(input.u16()),
                    writable: count.is_multiple_of(2),
                };
                let free = queue.free();
                let buffers = vec![buffer; count.into()];
                let added = queue.add(&buffers, next_token);
                assert_eq!(added, count > 0 && u16::from(count) <= free);
                if added {
                    given.insert(next_token, count.into());
                    next_token += 1;
                }
            }
            2 => {
                let buffer = DriverBuffer {
                    addr: ring::address(input),
                    len: 64,
                    writable: false,
                };
                let table = TABLES[usize::from(input.u8() % 2)];
                if queue.add_indirect(table, &[buffer; 3], next_token) {
                    given.insert(next_token, 1);
                    next_token += 1;
                }
            }
            3 => {
                let _ = queue.publish();
            }
            4 => {
                queue.suppress_calls();
                let _ = queue.arm_calls();
            }
            5 | 6 => match queue.poll_used() {
                Ok(Some(used)) => {
                    assert!(fault.is_none(), "a fault stays");
                    let known = given.remove(&used.token);
                    assert!(
                        known.is_some(),
                        "a chain came back that the device did not have"
                    );
                }
                Ok(None) => {}
                Err(found) => assert_eq!(*fault.get_or_insert(found), found),
            },
            _ => {
                let (addr, bytes) = ring::write(input);
                memory.poke(addr, &bytes);
            }
        }
        let taken: u16 = given.values().sum();
        assert_eq!(queue.free(), config.size - taken, "descriptors are lost");
    }
}
