//! A queue of a macvtap that somebody else reads and writes.
use crate::sys;
use nix::{errno::Errno, libc};
use std::{
    fs::File,
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// VIRTIO_F_VERSION_1 and VIRTIO_NET_F_MRG_RXBUF: with one of them the header has `num_buffers` (virtio 1.2, 5.1.6.1).
const LONG_HEADER: u64 = 1 << 32 | 1 << 15;
/// VIRTIO_NET_F_GUEST_CSUM, GUEST_TSO4, GUEST_TSO6 and GUEST_ECN (virtio 1.2, 5.1.3), each beside what a tap's reader says instead:
/// TUN_F_CSUM, TSO4, TSO6 and TSO_ECN (linux/if_tun.h).
const OFFLOADS: [(u64, libc::c_int); 4] = [(1 << 1, 1), (1 << 7, 2), (1 << 8, 4), (1 << 9, 8)];

/// A queue. The kernel spreads frames over those that are attached.
#[derive(Debug)]
pub struct Queue {
    file: File,
    attached: AtomicBool,
}

impl Queue {
    /// A queue as the kernel opens it: attached.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            attached: AtomicBool::new(true),
        }
    }

    /// What reads and writes frames.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Has the kernel put before each frame the header that a guest with these features expects, and finish what it cannot take.
    ///
    /// # Errors
    /// The macvtap is gone.
    pub fn suit(&self, features: u64) -> io::Result<()> {
        sys::set_tap_header_size(&self.file, header_len(features))?;
        Ok(sys::set_tap_offloads(&self.file, offloads(features))?)
    }

    /// Whether frames come to this queue. A queue that nobody reads would swallow its share.
    ///
    /// # Errors
    /// The macvtap is gone.
    pub fn set_attached(&self, attached: bool) -> io::Result<()> {
        // Callers take turns; the kernel refuses to attach twice.
        if self.attached.swap(attached, Ordering::AcqRel) == attached {
            return Ok(());
        }
        sys::attach_tap_queue(&self.file, attached).map_err(|errno: Errno| {
            self.attached.store(!attached, Ordering::Release);
            errno.into()
        })
    }
}

fn header_len(features: u64) -> libc::c_int {
    if features & LONG_HEADER == 0 { 10 } else { 12 }
}

fn offloads(features: u64) -> libc::c_int {
    let accepted = OFFLOADS.iter().filter(|(bit, _)| features & bit != 0);
    accepted.map(|(_, flag)| flag).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_offloads_follow_the_features() {
        assert_eq!((header_len(0), offloads(0)), (10, 0));
        assert_eq!(header_len(1 << 15), 12);
        assert_eq!(header_len(1 << 32), 12);
        assert_eq!(offloads(1 << 1 | 1 << 8), 1 | 4);
        // What the guest sends needs no consent of a reader.
        assert_eq!(offloads(1 | 0b111 << 11), 0);
        assert_eq!(offloads(u64::MAX), 15);
    }
}
