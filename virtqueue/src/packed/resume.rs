//! Where a packed ring goes on when the device that ran it has died without a word.
//!
//! A split ring has its used index in memory. A packed ring has not, and front-ends (QEMU, for one) then start it where it
//! started the last time. But its descriptors tell (virtio 1.2, 2.8.1): the AVAIL bit of each is the lap in which the driver has
//! written it last, so that the bit turns where the driver goes on. Before that lie the descriptors that are available, and before
//! these the last one that the device has used: USED equals AVAIL there, and nowhere behind.
//!
//! That is so because our device marks the last descriptor of whatever it completes as used, too, before it does so with the first,
//! which hands all of them to the driver. The number of them is where the address was: dying between the two, it leaves
//! a last one whose first is still available, and the ring goes on with that.

use super::{cursor::Cursor, layout::Ring};
use crate::{MemoryMap, QueueConfig, QueueFault};

/// The place of the next used descriptor, as the memory of the ring tells. `config.position` is what is believed where it does not:
/// a ring that another kind of device has run.
pub(crate) fn position_in_memory(mem: &MemoryMap, config: &QueueConfig) -> Result<u16, QueueFault> {
    let ring = Ring::new(mem, config)?;
    let base = ring.cursor(config.position.next_avail)?;
    Ok(next_used(&ring, base).encode())
}

fn next_used(ring: &Ring, base: Cursor) -> Cursor {
    let size = ring.size;
    let avail = next_avail(ring);
    let Some((last, behind)) = last_used(ring, avail) else {
        // Not one is used: all of them are available.
        return avail.before(size, size);
    };
    if let Some(slots) = completed(ring, last) {
        let first = last.before(slots - 1, size);
        if ring.load(first.index()).is_available(first.wrap()) {
            return first;
        }
    } else if (1..=behind).any(|slots| last.after(slots, size) == base) {
        return base;
    }
    last.after(1, size)
}

/// Where the driver goes on: the lap of descriptors turns there.
fn next_avail(ring: &Ring) -> Cursor {
    let lap = ring.load(0).lap();
    let index = (1..ring.size).find(|index| ring.load(*index).lap() != lap);
    match index {
        Some(index) => Cursor::new(index, lap),
        None => Cursor::new(0, !lap),
    }
}

/// The nearest descriptor before `at` that is used, and how far before.
fn last_used(ring: &Ring, at: Cursor) -> Option<(Cursor, u16)> {
    (1..=ring.size)
        .map(|back| (at.before(back, ring.size), back))
        .find(|(place, _)| {
            let word = ring.load(place.index());
            word.is_used(word.lap())
        })
}

/// How many descriptors were completed with this one, if our device wrote it.
fn completed(ring: &Ring, at: Cursor) -> Option<u16> {
    let slots = u16::try_from(ring.load_addr(at.index())).ok()?;
    (1..=ring.size).contains(&slots).then_some(slots)
}

#[cfg(test)]
#[path = "resume_test.rs"]
mod tests;
