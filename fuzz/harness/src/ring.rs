//! Memory that two sides write: where its pieces are, and who rewrites it.
use crate::input::Input;
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use virtqueue::{MemoryMap, QueueConfig, RingFeatures, RingPosition};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Two regions that touch, and one behind a gap.
const REGIONS: [(GuestAddress, usize); 3] = [
    (GuestAddress(0), 0x8000),
    (GuestAddress(0x8000), 0x8000),
    (GuestAddress(0x2_0000), 0x2000),
];
pub(crate) const DESC: u64 = 0;
pub(crate) const AVAIL: u64 = 0x1000;
pub(crate) const USED: u64 = 0x2000;
/// Indirect tables; the second lies across the border of two regions.
pub(crate) const TABLES: [u64; 2] = [0x3000, 0x7ff0];

/// Guest memory and where it is in ours.
pub(crate) struct Memory {
    pub(crate) map: Arc<MemoryMap>,
    host: Vec<Range<usize>>,
    _ram: GuestMemoryMmap,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let ram = GuestMemoryMmap::<()>::from_ranges(&REGIONS).unwrap();
        let map = MemoryMap::from_guest_memory(1, &ram).unwrap();
        let host = REGIONS
            .iter()
            .map(|(base, len)| {
                let start = ram.get_host_address(*base).unwrap().addr();
                start..start + len
            })
            .collect();
        Self {
            map,
            host,
            _ram: ram,
        }
    }

    /// Whether all of a host range is guest memory.
    pub(crate) fn holds(&self, start: usize, len: usize) -> bool {
        self.host
            .iter()
            .any(|range| range.start <= start && start + len <= range.end)
    }

    /// Writes what lies inside of memory, and nothing else.
    pub(crate) fn poke(&self, addr: u64, bytes: &[u8]) {
        let _ = self.map.write(addr, bytes);
    }
}

/// A ring at the usual place, or at one of the input's.
pub(crate) fn config(input: &mut Input<'_>) -> QueueConfig {
    let bits = input.u8();
    let packed = bits & 128 != 0;
    // Before the end of the indices, or in the second lap.
    let start = match (bits & 8 == 0, packed) {
        (true, false) | (false, true) => 0,
        (false, false) => u16::MAX - 2,
        (true, true) => RingPosition::PACKED_START.next_avail,
    };
    let mut config = QueueConfig {
        size: 1 << (bits >> 4 & 7).min(6),
        desc: DESC,
        avail: AVAIL,
        used: USED,
        features: RingFeatures {
            event_idx: bits & 1 != 0,
            indirect: bits & 2 != 0,
            in_order: true,
            packed,
        },
        position: RingPosition {
            next_avail: start,
            next_used: start,
        },
    };
    if bits & 4 != 0 {
        config.size = input.u16();
        config.desc = u64::from(input.u32() % 0x2_4000);
        config.avail = u64::from(input.u32() % 0x2_4000);
        config.used = u64::from(input.u32() % 0x2_4000);
    }
    config
}

/// An address: usually inside, sometimes at an edge, sometimes anywhere.
pub(crate) fn address(input: &mut Input<'_>) -> u64 {
    match input.u8() {
        0..=200 => u64::from(input.u16()),
        201..=230 => 0x2_0000 + u64::from(input.u16() % 0x2100),
        _ => input.u64(),
    }
}

/// One write of the other side.
pub(crate) type Write = (u64, Vec<u8>);

/// What the other side writes again and again.
pub(crate) fn script(input: &mut Input<'_>) -> Vec<Write> {
    (0..input.u8() % 16).map(|_| write(input)).collect()
}

/// A write that goes where it hurts: descriptors, indices, ring entries, tables.
pub(crate) fn write(input: &mut Input<'_>) -> Write {
    let kind = input.u8();
    match kind % 8 {
        0..=2 => {
            let base = match kind / 8 % 4 {
                0 => TABLES[0],
                1 => TABLES[1],
                _ => DESC,
            };
            let index = u64::from(input.u8() % 64);
            (base + 16 * index, descriptor(input))
        }
        3 => {
            let slot = u64::from(input.u8() % 64);
            let head = u16::from(input.u8());
            (AVAIL + 4 + 2 * slot, head.to_le_bytes().into())
        }
        4 => (AVAIL + 2, u16::from(input.u8() % 80).to_le_bytes().into()),
        5 => {
            let at = [AVAIL, AVAIL + 2, USED, USED + 2][usize::from(kind / 8 % 4)];
            (at, input.u16().to_le_bytes().into())
        }
        6 => {
            let slot = u64::from(input.u8() % 64);
            let mut element = u32::from(input.u8()).to_le_bytes().to_vec();
            element.extend(u32::from(input.u16()).to_le_bytes());
            (USED + 4 + 8 * slot, element)
        }
        _ => (address(input), input.u64().to_le_bytes().into()),
    }
}

fn descriptor(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    let flags = input.u8();
    let addr = match flags >> 4 {
        0..=11 => address(input),
        n => TABLES[usize::from(n & 1)],
    };
    bytes.extend(addr.to_le_bytes());
    let len = if flags & 8 == 0 {
        u32::from(input.u8()) * 16
    } else {
        input.u32()
    };
    bytes.extend(len.to_le_bytes());
    bytes.extend(u16::from(flags & 7).to_le_bytes());
    // The next descriptor of a split ring; the flags of a packed one, USED (bit 15) among them.
    let next = input.u8();
    let used = if next & 64 == 0 { 0 } else { 1 << 15 };
    bytes.extend((u16::from(next) | used).to_le_bytes());
    bytes
}

/// Runs `work` while another thread goes through `script` over and over. How the two interleave is the machine's choice; what is
/// written is the input's.
pub(crate) fn besieged(memory: &Memory, script: &[Write], work: impl FnOnce()) {
    if script.is_empty() {
        work();
        return;
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let vandal = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (addr, bytes) in script {
                    memory.poke(*addr, bytes);
                }
            }
        });
        {
            // The other thread must end even if the work panics, or the scope would wait for ever.
            let _stop = StopOnDrop(&stop);
            work();
        }
        // The scope waits for the closure only; a thread that is still ending would look like a leak.
        vandal.join().unwrap();
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
