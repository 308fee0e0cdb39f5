//! Our device side against crate `virtio-queue` as an oracle: random and hostile rings must give the same verdicts and the same
//! bytes.
//!
//! The oracle ends a broken chain silently, so its verdict is read off what it yields: a chain is good if its last descriptor has no
//! successor, no readable buffer follows a writable one, and every buffer is mapped. Two rules of ours are stricter
//! and kept out of the generator, with unit tests of their own: INDIRECT together with NEXT, and indirect tables that are
//! partly unmapped or longer than both the queue and 1024 descriptors.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; its numbers are its own"
)]

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use virtio_queue::{Queue, QueueOwnedT, QueueT, desc::split::Descriptor as OracleDescriptor};
use virtqueue::{
    Burst, DeviceQueue, MemoryMap, QueueConfig, QueueFault, RingFeatures, RingPosition,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

const SIZE: u16 = 8;
const DESC: u64 = 0;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
/// Indirect tables and buffers lie from here on, across the border of two adjacent regions.
const DATA: u64 = 0x3000;
const BORDER: u64 = 0x8000;
const END: u64 = 0x1_0000;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

#[derive(Debug, Clone, Copy)]
struct Desc {
    addr: u64,
    len: u32,
    flags: u16,
    next: u16,
}

/// A ring in memory, as a hostile driver may leave it.
#[derive(Debug, Clone)]
struct Scene {
    table: Vec<Desc>,
    /// One more table, for indirect descriptors.
    indirect: Vec<Desc>,
    heads: Vec<u16>,
    start: u16,
    available: u16,
    used_event: u16,
    event_idx: bool,
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => DATA..END - 256,
        2 => BORDER - 64..BORDER + 64,
        1 => END - 8..END + 64,
        1 => Just(u64::MAX - 3),
    ]
}

fn descriptor(links: u16, may_be_indirect: bool) -> impl Strategy<Value = Desc> {
    let flags =
        prop_oneof![4 => Just(0u16), 4 => Just(NEXT), 2 => Just(WRITE), 3 => Just(NEXT | WRITE)];
    let plain = (
        address(),
        prop_oneof![6 => 1..200u32, 1 => Just(0), 1 => Just(u32::MAX)],
        flags,
    );
    let plain = (plain, 0..links + 1).prop_map(|((addr, len, flags), next)| Desc {
        addr,
        len,
        flags,
        next,
    });
    if !may_be_indirect {
        return plain.boxed();
    }
    let table = prop_oneof![8 => Just(DATA), 1 => Just(END + 0x1000)];
    let len = prop_oneof![8 => (1..SIZE).prop_map(|n| u32::from(n) * 16), 1 => 0..40u32];
    let indirect = (table, len).prop_map(|(addr, len)| Desc {
        addr,
        len,
        flags: INDIRECT,
        next: 0,
    });
    prop_oneof![5 => plain, 1 => indirect].boxed()
}

prop_compose! {
    fn scene()(
        table in vec(descriptor(SIZE, true), usize::from(SIZE)),
        indirect in vec(descriptor(SIZE, true), usize::from(SIZE)),
        heads in vec(prop_oneof![12 => 0..SIZE, 1 => any::<u16>()], usize::from(SIZE)),
        start in prop_oneof![Just(0u16), Just(u16::MAX - 2), any::<u16>()],
        available in prop_oneof![8 => 0..=SIZE, 1 => SIZE + 1..SIZE + 3, 1 => Just(u16::MAX)],
        event_distance in 0..2 * SIZE,
        event_idx in any::<bool>(),
    ) -> Scene {
        let used_event = start.wrapping_add(event_distance).wrapping_sub(SIZE);
        Scene { table, indirect, heads, start, available, used_event, event_idx }
    }
}

fn memory(scene: &Scene) -> GuestMemoryMmap {
    let low = usize::try_from(BORDER).unwrap();
    let high = usize::try_from(END - BORDER).unwrap();
    let mem = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), low), (GuestAddress(BORDER), high)])
        .unwrap();
    let noise: Vec<u8> = (0..END - DATA)
        .map(|i| u8::try_from(i * 7 % 251).unwrap())
        .collect();
    mem.write_slice(&noise, GuestAddress(DATA)).unwrap();
    for (base, table) in [(DESC, &scene.table), (DATA, &scene.indirect)] {
        for (index, desc) in (0u64..).zip(table) {
            let raw = OracleDescriptor::new(desc.addr, desc.len, desc.flags, desc.next);
            mem.write_obj(raw, GuestAddress(base + 16 * index)).unwrap();
        }
    }
    let put = |addr: u64, value: u16| mem.write_obj(value.to_le(), GuestAddress(addr)).unwrap();
    for (entry, head) in (0u16..).zip(&scene.heads) {
        let slot = scene.start.wrapping_add(entry) % SIZE;
        put(AVAIL + 4 + 2 * u64::from(slot), *head);
    }
    put(AVAIL + 2, scene.start.wrapping_add(scene.available));
    put(AVAIL + 4 + 2 * u64::from(SIZE), scene.used_event);
    put(USED + 2, scene.start);
    mem
}

/// What came of one chain: its bytes and its room, or that it is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Good {
        head: u16,
        readable: Vec<u8>,
        writable: u32,
    },
    Broken,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    chains: Vec<Verdict>,
    bad_index: bool,
    notify: Option<bool>,
    used_ring: Vec<u8>,
}

fn used_ring(mem: &GuestMemoryMmap) -> Vec<u8> {
    let mut bytes = vec![0; 4 + 8 * usize::from(SIZE)];
    mem.read_slice(&mut bytes, GuestAddress(USED)).unwrap();
    bytes
}

fn ours(scene: &Scene) -> Outcome {
    let mem = memory(scene);
    let map: Arc<MemoryMap> = MemoryMap::from_guest_memory(1, &mem).unwrap();
    let config = QueueConfig {
        size: SIZE,
        desc: DESC,
        avail: AVAIL,
        used: USED,
        features: RingFeatures {
            event_idx: scene.event_idx,
            indirect: true,
            in_order: true,
            packed: false,
        },
        position: RingPosition {
            next_avail: scene.start,
            next_used: scene.start,
        },
    };
    let mut queue = DeviceQueue::new(map, &config).unwrap();
    let mut burst = Burst::new();
    let mut chains = Vec::new();
    let mut bad_index = false;
    loop {
        match queue.pop_burst(&mut burst, 3) {
            Ok(0) => break,
            Ok(_) => {}
            Err(QueueFault::AvailIndex { .. }) => bad_index = true,
            Err(_) => chains.push(Verdict::Broken),
        }
        for chain in (0..burst.len()).filter_map(|index| burst.chain(index)) {
            let mut readable = vec![0; usize::try_from(chain.readable().len()).unwrap()];
            assert_eq!(chain.readable().read_at(0, &mut readable), readable.len());
            let writable = chain.writable().len();
            chains.push(Verdict::Good {
                head: chain.head().id(),
                readable,
                writable,
            });
            queue.complete(chain.head(), writable);
        }
        burst.clear();
        if queue.fault().is_some() && queue.pop_burst(&mut burst, 1).is_err() {
            if !bad_index && chains.last() != Some(&Verdict::Broken) {
                chains.push(Verdict::Broken);
            }
            break;
        }
    }
    let notify = queue.publish();
    let notify = scene.event_idx.then_some(notify);
    Outcome {
        chains,
        bad_index,
        notify,
        used_ring: used_ring(&mem),
    }
}

/// The oracle, up to and with its first broken chain: there ours latches.
fn oracle(scene: &Scene) -> Outcome {
    let mem = memory(scene);
    let mut queue = Queue::new(SIZE).unwrap();
    let low = |addr: u64| Some(u32::try_from(addr).unwrap());
    queue.set_size(SIZE);
    queue.set_desc_table_address(low(DESC), Some(0));
    queue.set_avail_ring_address(low(AVAIL), Some(0));
    queue.set_used_ring_address(low(USED), Some(0));
    queue.set_event_idx(scene.event_idx);
    queue.set_next_avail(scene.start);
    queue.set_next_used(scene.start);
    queue.set_ready(true);
    assert!(queue.is_valid(&mem));
    let mut chains = Vec::new();
    let bad_index = queue.iter(&mem).is_err();
    if !bad_index {
        while let Some(chain) = queue.pop_descriptor_chain(&mem) {
            let head = chain.head_index();
            let verdict = judge(&mem, head, &chain.collect::<Vec<_>>());
            chains.push(verdict.clone());
            let Verdict::Good { writable, .. } = verdict else {
                break;
            };
            queue.add_used(&mem, head, writable).unwrap();
        }
    }
    // Nothing used: the oracle would compare the index with itself, which is no event.
    let any_used = queue.next_used() != scene.start;
    let notify = scene
        .event_idx
        .then(|| any_used && queue.needs_notification(&mem).unwrap());
    Outcome {
        chains,
        bad_index,
        notify,
        used_ring: used_ring(&mem),
    }
}

fn judge(mem: &GuestMemoryMmap, head: u16, descs: &[OracleDescriptor]) -> Verdict {
    let (mut readable, mut writable) = (Vec::new(), 0u32);
    let mut seen_writable = false;
    for desc in descs {
        let len = usize::try_from(desc.len()).unwrap();
        if len > 0 && !mem.check_range(desc.addr(), len) {
            return Verdict::Broken;
        }
        if desc.is_write_only() {
            seen_writable = true;
            writable += desc.len();
            continue;
        }
        if seen_writable {
            return Verdict::Broken;
        }
        let mut bytes = vec![0; len];
        if len > 0 {
            mem.read_slice(&mut bytes, desc.addr()).unwrap();
        }
        readable.extend(bytes);
    }
    match descs.last() {
        Some(last) if !last.has_next() => Verdict::Good {
            head,
            readable,
            writable,
        },
        _ => Verdict::Broken,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn random_and_hostile_rings_are_judged_alike(scene in scene()) {
        prop_assert_eq!(ours(&scene), oracle(&scene));
    }
}
