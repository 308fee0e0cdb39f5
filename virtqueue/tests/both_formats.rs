//! Split and packed rings are two ways to say the same: given the same buffers, both ends see the same chains, bytes and completions.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; its numbers are its own"
)]

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use virtqueue::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, MemoryMap, QueueConfig, QueueFault,
    RingFeatures, RingPosition, Used,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SIZE: u16 = 16;
const TABLES: u64 = 0x3000;
const DATA: u64 = 0x8000;
/// Two regions touch here.
const BORDER: u64 = 0xc000;
const END: u64 = 0x1_0000;

/// What the two sides do next.
#[derive(Debug, Clone)]
enum Step {
    Add {
        chain: Vec<DriverBuffer>,
        indirect: bool,
    },
    PublishAvail,
    Pop(usize),
    Unpop(usize),
    /// Complete what is popped: with bytes written, or with none and published.
    Complete(Option<u32>),
    PublishUsed,
    Poll,
    ArmCalls(bool),
    ArmKicks(bool),
}

fn buffer() -> impl Strategy<Value = DriverBuffer> {
    let addr =
        prop_oneof![8 => DATA..END - 256, 3 => BORDER - 64..BORDER + 64, 1 => END - 8..END + 8];
    (addr, 0..200u32, any::<bool>()).prop_map(|(addr, len, writable)| DriverBuffer {
        addr,
        len,
        writable,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let mut chain = vec(buffer(), 1..5).boxed();
    // Mostly in the order that the specification demands.
    chain = (chain, 0..10)
        .prop_map(|(mut chain, any_order)| {
            if any_order > 0 {
                chain.sort_by_key(|buffer| buffer.writable);
            }
            chain
        })
        .boxed();
    prop_oneof![
        6 => (chain, any::<bool>()).prop_map(|(chain, indirect)| Step::Add { chain, indirect }),
        3 => Just(Step::PublishAvail),
        4 => (1..8usize).prop_map(Step::Pop),
        1 => (0..4usize).prop_map(Step::Unpop),
        3 => proptest::option::of(0..500u32).prop_map(Step::Complete),
        3 => Just(Step::PublishUsed),
        3 => Just(Step::Poll),
        1 => any::<bool>().prop_map(Step::ArmCalls),
        1 => any::<bool>().prop_map(Step::ArmKicks),
    ]
}

/// What a step showed.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Added(bool),
    Popped(Result<Vec<(Vec<u8>, u32)>, QueueFault>),
    Used(Result<Vec<Used>, QueueFault>),
    Told(bool),
    More(bool),
}

struct Pair {
    _ram: GuestMemoryMmap,
    driver: DriverQueue,
    device: DeviceQueue,
    burst: Burst,
    token: u64,
}

impl Pair {
    fn new(features: RingFeatures) -> Self {
        let ram = GuestMemoryMmap::from_ranges(&[
            (GuestAddress(0), BORDER as usize),
            (GuestAddress(BORDER), (END - BORDER) as usize),
        ])
        .unwrap();
        let noise: Vec<u8> = (0..END - DATA).map(|i| (i * 7 % 251) as u8).collect();
        ram.write_slice(&noise, GuestAddress(DATA)).unwrap();
        let map: Arc<MemoryMap> = MemoryMap::from_guest_memory(1, &ram).unwrap();
        let config = QueueConfig {
            size: SIZE,
            desc: 0,
            avail: 0x1000,
            used: 0x2000,
            features,
            position: RingPosition::start(features),
        };
        Self {
            _ram: ram,
            driver: DriverQueue::new(Arc::clone(&map), &config).unwrap(),
            device: DeviceQueue::new(map, &config).unwrap(),
            burst: Burst::new(),
            token: 0,
        }
    }

    fn run(&mut self, step: &Step) -> Seen {
        match step {
            Step::Add { chain, indirect } => {
                self.token += 1;
                Seen::Added(if *indirect {
                    let table = TABLES + 64 * (self.token % 32);
                    self.driver.add_indirect(table, chain, self.token)
                } else {
                    self.driver.add(chain, self.token)
                })
            }
            Step::PublishAvail => Seen::Told(self.driver.publish()),
            Step::Pop(max) => Seen::Popped(self.pop(*max)),
            Step::Unpop(count) => {
                let keep = self.burst.len().saturating_sub(*count);
                self.device.unpop(&mut self.burst, keep);
                Seen::Told(false)
            }
            Step::Complete(written) => {
                let told = match written {
                    None => self.device.publish_all(&self.burst),
                    Some(written) => {
                        for head in self.burst.heads() {
                            self.device.complete(head, *written);
                        }
                        false
                    }
                };
                self.burst.clear();
                Seen::Told(told)
            }
            Step::PublishUsed => Seen::Told(self.device.publish()),
            Step::Poll => {
                let mut used = Vec::new();
                Seen::Used(loop {
                    match self.driver.poll_used() {
                        Ok(Some(one)) => used.push(one),
                        Ok(None) => break Ok(used),
                        Err(fault) => break Err(fault),
                    }
                })
            }
            Step::ArmCalls(true) => Seen::More(self.driver.arm_calls()),
            Step::ArmCalls(false) => {
                self.driver.suppress_calls();
                Seen::Told(false)
            }
            Step::ArmKicks(true) => Seen::More(self.device.arm_kicks()),
            Step::ArmKicks(false) => {
                self.device.suppress_kicks();
                Seen::Told(false)
            }
        }
    }

    /// A split ring ends a burst at the index that it has seen: more is there at the next try.
    fn pop(&mut self, max: usize) -> Result<Vec<(Vec<u8>, u32)>, QueueFault> {
        let before = self.burst.len();
        loop {
            let count = self.burst.len() - before;
            match self.device.pop_burst(&mut self.burst, max - count) {
                Err(fault) if count == 0 => return Err(fault),
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        let new = before..self.burst.len();
        Ok(new.map(|index| self.contents(index)).collect())
    }

    fn contents(&self, index: usize) -> (Vec<u8>, u32) {
        let chain = self.burst.chain(index).unwrap();
        let mut bytes = vec![0; chain.readable().len() as usize];
        assert_eq!(chain.readable().read_at(0, &mut bytes), bytes.len());
        (bytes, chain.writable().len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn both_formats_say_the_same(steps in vec(step(), 1..120), in_order: bool) {
        let features = RingFeatures { event_idx: false, indirect: true, in_order, packed: false };
        let mut split = Pair::new(features);
        let mut packed = Pair::new(RingFeatures { packed: true, ..features });
        for step in &steps {
            let (one, other) = (split.run(step), packed.run(step));
            if in_order && let (Seen::Used(Ok(one)), Seen::Used(Ok(other))) = (&one, &other) {
                // Of all but the last of a batch in order it is not said how much was written: nothing, where all is readable.
                let tokens = |used: &[Used]| used.iter().map(|used| used.token).collect::<Vec<_>>();
                prop_assert_eq!(tokens(one), tokens(other));
                continue;
            }
            prop_assert_eq!(&one, &other, "{:?}", step);
            prop_assert_eq!(split.driver.free(), packed.driver.free());
            prop_assert_eq!(split.device.fault(), packed.device.fault());
        }
    }
}
