//! Bursts of packets from and to a packet socket (packet(7)): one system call for each.
//!
//! It differs from a tap in two things. Its `virtio_net_hdr` lacks `num_buffers`, so it is shorter than ours. And a VLAN tag is not in
//! the frame but beside it, in `tpacket_auxdata`: it is put back.
#![expect(
    unsafe_code,
    reason = "recvmmsg and sendmmsg take pointers to the buffers that messages name"
)]
use super::{
    super::sys::{IoVecs, MAX_IOVECS},
    BURST,
    uring::Results,
};
use crate::sys::socket_option;
use arrayvec::ArrayVec;
use nix::sys::socket::{getsockopt, sockopt};
use std::{
    fs::File,
    io,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    ptr,
};
use virtqueue::{Burst, NET_HEADER_LEN};

/// Bytes of `virtio_net_hdr` as it goes through such a socket.
pub(super) const HEADER_LEN: usize = 10;
/// Destination and source: a tag follows them.
const ADDRESSES: usize = 12;
const TAG: usize = 4;
/// Bytes of ancillary data for one packet: `cmsghdr` and `tpacket_auxdata` (status, two lengths, two offsets, TCI, TPID).
const CONTROL: usize = 16 + 20;
/// linux/if_packet.h
const VLAN_VALID: u32 = 1 << 4;
const VLAN_TPID_VALID: u32 = 1 << 6;
const ETHERTYPE_VLAN: u16 = 0x8100;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;

/// What came beside a packet.
type Control = [u8; CONTROL];

/// Whether the file is such a socket; else it is a tap's.
pub(super) fn is_socket(file: &File) -> bool {
    let domain = socket_option(file, libc::SOL_SOCKET, libc::SO_DOMAIN);
    domain == Ok(libc::AF_PACKET)
}

/// Whether a socket that has reported an error works on: its interface was taken down, and may be taken up again.
pub(super) fn recovers(file: &File) -> bool {
    let error = getsockopt(&file.as_fd(), sockopt::SocketError);
    matches!(error, Ok(0 | libc::ENETDOWN | libc::EINVAL))
}

/// The ancillary data of a burst.
#[derive(Debug)]
pub(super) struct PacketSocket(Box<[Control; BURST]>);

impl Default for PacketSocket {
    fn default() -> Self {
        Self(Box::new([[0; CONTROL]; BURST]))
    }
}

impl PacketSocket {
    /// Reads one packet into each buffer, its header with room for `num_buffers`; behind the last packet there is an error.
    pub(super) fn read<'b>(
        &mut self,
        file: &File,
        buffers: impl Iterator<Item = &'b mut [u8]>,
    ) -> Results {
        let mut pieces = ArrayVec::<[libc::iovec; 2], BURST>::new();
        for buffer in buffers.take(BURST) {
            let (header, frame) = buffer.split_at_mut(NET_HEADER_LEN.min(buffer.len()));
            header.fill(0);
            let (short, _) = header.split_at_mut(HEADER_LEN.min(header.len()));
            pieces.push([piece(short), piece(frame)]);
        }
        let mut messages = ArrayVec::<libc::mmsghdr, BURST>::new();
        for (pieces, control) in pieces.iter_mut().zip(self.0.iter_mut()) {
            *control = [0; CONTROL];
            let mut message = message(pieces);
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of::<Control>();
            messages.push(message);
        }
        let count = libc::c_uint::try_from(messages.len()).unwrap_or(0);
        // SAFETY: each message names two pieces of a buffer that is borrowed, and its own ancillary data; all live during the
        // call, after which nothing is under way.
        let received = unsafe {
            libc::recvmmsg(
                file.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let mut results = Results::new();
        let Ok(received) = usize::try_from(received) else {
            results.push(outcome_of(io::Error::last_os_error()));
            return results;
        };
        for message in messages.iter().take(received) {
            let len = usize::try_from(message.msg_len).unwrap_or(0);
            results.push(Ok(len + NET_HEADER_LEN - HEADER_LEN));
        }
        if received < messages.len() {
            results.push(Err(io::ErrorKind::WouldBlock.into()));
        }
        results
    }

    /// Puts the tag of the packet that was read at `place` of the burst into its frame; the length that it has now. `None`: there is no room.
    pub(super) fn finish(&self, place: usize, packet: &mut [u8], len: usize) -> Option<usize> {
        match self.0.get(place).and_then(tag) {
            None => Some(len),
            Some(tag) => insert(tag, packet, len),
        }
    }
}

/// Writes one packet from each range of the gathered list, whose first piece is a header of [`HEADER_LEN`] bytes; all of it must be
/// of private memory, or of the memory map that `_keep` holds.
pub(super) fn write(
    file: &File,
    vecs: &mut IoVecs,
    packets: &[Range<usize>],
    _keep: &Burst,
) -> Results {
    let mut messages = ArrayVec::<libc::mmsghdr, BURST>::new();
    for packet in packets.iter().take(BURST) {
        let pieces = vecs.0.get_mut(packet.clone()).unwrap_or_default();
        let (pieces, _) = pieces.split_at_mut(pieces.len().min(MAX_IOVECS));
        messages.push(message(pieces));
    }
    let mut results = Results::new();
    while let Some(left) = messages
        .get_mut(results.len()..)
        .filter(|it| !it.is_empty())
    {
        let count = libc::c_uint::try_from(left.len()).unwrap_or(0);
        // SAFETY: as of `writev_guest`: the ranges were gathered from memory that lives during this call, and the kernel only
        // reads through them.
        let sent = unsafe {
            libc::sendmmsg(
                file.as_raw_fd(),
                left.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
            )
        };
        match usize::try_from(sent) {
            // What comes behind a packet that was refused is tried, too.
            Ok(0) | Err(_) => results.push(Err(io::Error::last_os_error())),
            Ok(sent) => results.extend(left.iter().take(sent).map(|_| Ok(0))),
        }
    }
    results
}

/// A packet whose header the kernel could not make (`packet_rcv_vnet`) is lost, and counted as one without any bytes. An interface
/// that is down has none.
fn outcome_of(error: io::Error) -> io::Result<usize> {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Ok(0),
        Some(libc::ENETDOWN) => Err(io::ErrorKind::WouldBlock.into()),
        _ => Err(error),
    }
}

fn piece(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

fn message(pieces: &mut [libc::iovec]) -> libc::mmsghdr {
    // SAFETY: plain data; all bits zero are a valid value.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = pieces.as_mut_ptr();
    message.msg_hdr.msg_iovlen = pieces.len();
    message
}

/// The tag in the ancillary data.
fn tag(control: &Control) -> Option<[u8; TAG]> {
    let int = |at: usize| control.get(at..)?.first_chunk().copied();
    let len = u64::from_ne_bytes(*control.first_chunk()?);
    let [level, kind] = [int(8)?, int(12)?].map(libc::c_int::from_ne_bytes);
    let is_auxdata = usize::try_from(len).is_ok_and(|len| len >= CONTROL)
        && (level, kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA);
    let status = u32::from_ne_bytes(int(16)?);
    if !is_auxdata || status & VLAN_VALID == 0 {
        return None;
    }
    let [tci_low, tci_high, tpid_low, tpid_high] = int(32)?;
    let tci = u16::from_ne_bytes([tci_low, tci_high]).to_be_bytes();
    let tpid = match status & VLAN_TPID_VALID {
        0 => ETHERTYPE_VLAN,
        _ => u16::from_ne_bytes([tpid_low, tpid_high]),
    };
    let tpid = tpid.to_be_bytes();
    Some([tpid[0], tpid[1], tci[0], tci[1]])
}

/// What the header says of places in the frame moves with what is behind the tag.
fn insert(tag: [u8; TAG], packet: &mut [u8], len: usize) -> Option<usize> {
    let at = NET_HEADER_LEN + ADDRESSES;
    let longer = len
        .checked_add(TAG)
        .filter(|longer| *longer <= packet.len())?;
    if len < at {
        return Some(len);
    }
    packet.copy_within(at..len, at + TAG);
    packet.get_mut(at..at + TAG)?.copy_from_slice(&tag);
    let header: &mut [u8; HEADER_LEN] = packet.first_chunk_mut()?;
    let [flags, _, hdr_low, hdr_high, _, _, start_low, start_high, ..] = *header;
    let hdr_len = u16::from_le_bytes([hdr_low, hdr_high]);
    if hdr_len != 0 {
        [header[2], header[3]] = hdr_len.saturating_add(4).to_le_bytes();
    }
    if flags & NEEDS_CSUM != 0 {
        let start = u16::from_le_bytes([start_low, start_high]);
        [header[6], header[7]] = start.saturating_add(4).to_le_bytes();
    }
    Some(longer)
}

#[cfg(test)]
#[path = "packet_socket_test.rs"]
mod tests;
