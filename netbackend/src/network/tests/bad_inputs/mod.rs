//! A guest that is malicious on its rings: each thing it may do costs its own queue or port only.
//!
//! While guest `a` (or `b`, whom it sends to) misbehaves, two witnesses with fixed addresses exchange frames on the same network
//! and miss none; the offender is counted.
//!
//! | what the guest does | test |
//! |---|---|
//! | TX chain as short as the header, or shorter | `transmit::chain_not_longer_than_the_header` |
//! | header split over 1-byte descriptors, header spanning more than two | `transmit::header_split_over_one_byte_descriptors` |
//! | writable descriptors in TX | `transmit::writable_descriptors` |
//! | zero-length descriptors | `transmit::zero_length_descriptors`, `receive::zero_length_buffers` |
//! | total lengths 0, 13, 14, 1514+n, 64 KiB and more; runts, frames beyond the MTU | `transmit::total_lengths` |
//! | lengths that add up to more than 2^32 | `transmit::lengths_that_add_up_to_4_gib` |
//! | loops, heads and successors beyond the table, broken indirect tables, index jumps | `transmit::broken_rings` |
//! | many tiny RX buffers with MRG_RXBUF | `receive::many_tiny_mergeable_buffers` |
//! | RX buffers smaller than a frame, than its header | `receive::buffers_smaller_than_a_frame`, `receive::buffers_smaller_than_the_header` |
//! | `num_buffers` with MRG_RXBUF off | `receive::num_buffers_is_one_without_mergeable_buffers` |
//! | readable descriptors in RX | `receive::readable_descriptors` |
//! | a guest stops consuming RX | `receive::guest_that_stops_consuming` |
//! | unknown `gso_type`, `gso_size` 0, 1, beyond the frame; `hdr_len` beyond the frame | `header::segmentation_lies` |
//! | checksum beyond the frame, overlapping headers, on what is neither TCP nor UDP | `header::checksum_lies` |
//! | GSO without CSUM, ECN, UFO, USO that were not negotiated | `header::offloads_that_were_not_negotiated` |
//! | VLAN-tagged GSO | `header::vlan_tagged_gso` |
//! | TSO6 with extension headers | `header::tso6_with_extension_headers` |
//! | GSO to a guest that did not negotiate it | `header::vlan_tagged_gso`, `header::tso6_with_extension_headers` |
//! | header and frame rewritten between two reads (double fetch) | `header::rewritten_between_reads` |
//! | broadcast storm, unknown-unicast storm | `traffic::broadcast_storm`, `traffic::unknown_unicast_storm`, with a limit `super::policy::a_storm_is_cut_and_its_sender_still_reaches_who_it_knows` |
//! | MAC flapping | `traffic::mac_flapping` |
//! | FDB exhaustion | `traffic::fdb_exhaustion` |
//! | spoofed source; multicast or zero source | `traffic::spoofed_source`, `traffic::impossible_source`, with anti-spoofing `super::policy::a_spoofed_source_reaches_nobody_and_is_counted_at_its_port` |
//! | PAUSE, frames to its own address | `traffic::frames_that_nobody_forwards` |
//! | avail index, descriptors, tables rewritten meanwhile | fuzz target `device_queue` |
mod header;
mod receive;
mod traffic;
mod transmit;

use super::{
    Net, frame,
    guest::{Connected, GUEST_BASE, Guest, GuestSpec, wait_for},
    introduce, mac,
};
use crate::network::{PortSpec, PortTransport};
use control::PortStatus;
use std::{
    os::unix::net::UnixListener,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use switch::{MacAddr, Role};
use virtqueue::DriverBuffer;

/// Where tests put what they send by hand: behind the rings, before the buffers.
const SCRATCH: u64 = GUEST_BASE + (3 << 20);
/// IEEE 802 local experimental EtherType 2: only witnesses use it.
const WITNESS: [u8; 2] = [0x88, 0xb6];
const WITNESS_MACS: [[u8; 6]; 2] = [[0x52, 0x54, 0, 0, 0, 0xc0], [0x52, 0x54, 0, 0, 0, 0xd0]];
/// Exchanges that an attack lasts at least, and those that follow it.
const EXCHANGES: u64 = 10;

/// A guest with a fixed address that only wants to talk to the other one.
struct Witness {
    connected: Connected,
    mac: [u8; 6],
}

/// A network, its witnesses, and what they have seen.
struct Stage {
    net: Net,
    witnesses: [Witness; 2],
    sent: u64,
}

/// The witnesses while an attack goes on.
struct Watch<'a> {
    exchanged: &'a AtomicU64,
}

impl Watch<'_> {
    /// Waits until the witnesses have exchanged a frame that was not under way before.
    #[track_caller]
    fn breathe(&self) {
        let before = self.exchanged.load(Ordering::Acquire);
        wait_for("the witnesses", || {
            self.exchanged.load(Ordering::Acquire) > before + 1
        });
    }
}

impl Stage {
    /// The witnesses on a network, and guests `a` and `b` who know each other.
    fn new(a: GuestSpec, b: GuestSpec) -> (Self, Connected, Connected) {
        let net = Net::new();
        let witnesses = [("c", 0), ("d", 1)].map(|(name, index)| {
            let path = net.socket(name);
            let transport = PortTransport::VhostUser(UnixListener::bind(&path).unwrap());
            let spec = PortSpec {
                mac: Some(MacAddr(WITNESS_MACS[index])),
                ..super::port_spec(name, 1)
            };
            assert_eq!(spec.role, Role::Guest);
            net.network.add_port(spec, transport).unwrap();
            Witness {
                connected: Guest::new(GuestSpec::default()).connect(&path),
                mac: WITNESS_MACS[index],
            }
        });
        let mut a = net.guest("a", a);
        let mut b = net.guest("b", b);
        introduce(&mut [&mut a.guest, &mut b.guest]);
        a.guest.reap();
        b.guest.reap();
        let stage = Self {
            net,
            witnesses,
            sent: 0,
        };
        (stage, a, b)
    }

    /// Runs `attack` while the witnesses exchange frames; none may be lost, delayed for ever, changed, or go to anybody else.
    #[track_caller]
    fn during(&mut self, attack: impl FnOnce(&Net, &Watch<'_>)) {
        let stop = AtomicBool::new(false);
        let exchanged = AtomicU64::new(0);
        let (witnesses, sent) = (&mut self.witnesses, &mut self.sent);
        thread::scope(|scope| {
            let witness = scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    exchange(witnesses, sent);
                    exchanged.fetch_add(1, Ordering::Release);
                }
            });
            {
                let _stop = StopOnDrop(&stop);
                let watch = Watch {
                    exchanged: &exchanged,
                };
                let enough = || {
                    let from = exchanged.load(Ordering::Acquire);
                    wait_for("the witnesses", || {
                        exchanged.load(Ordering::Acquire) >= from + EXCHANGES
                            || witness.is_finished()
                    });
                };
                enough();
                attack(&self.net, &watch);
                enough();
            }
            witness.join().unwrap();
        });
        for name in ["c", "d"] {
            let counters = self.net.status(name).counters;
            assert_eq!(counters.tx_frames, self.sent, "{name} sent");
            assert_eq!((counters.rx_dropped, counters.tx_dropped), (0, 0), "{name}");
            assert_eq!(counters.faults, 0, "{name}");
        }
    }
}

/// An attack that panics must not leave the witnesses at it.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One frame there and one back.
fn exchange(witnesses: &mut [Witness; 2], sent: &mut u64) {
    for _ in 0..2 {
        let [from, to] = &mut *witnesses;
        hand_over(from, to, *sent);
        witnesses.reverse();
        // After two turns they are in their places again.
    }
    *sent += 1;
}

/// One frame from a witness to the other.
fn hand_over(from: &mut Witness, to: &mut Witness, number: u64) {
    let mut bytes = frame(to.mac, from.mac, 200, number.to_le_bytes()[0]);
    bytes[12..14].copy_from_slice(&WITNESS);
    bytes[14..22].copy_from_slice(&number.to_be_bytes());
    from.connected.guest.send(&bytes);
    from.connected.guest.reap();
    loop {
        let received = to.connected.guest.receive().frame;
        if received[12..14] == WITNESS {
            assert!(
                received == bytes,
                "a witness got another frame than was sent"
            );
            return;
        }
        assert!(
            received[0] & 1 == 1 || received[..6] == to.mac || received[..6] == UNKNOWN,
            "a witness got a frame for somebody else"
        );
    }
}

/// An address that nobody has.
const UNKNOWN: [u8; 6] = [0x52, 0x54, 0, 0xff, 0xff, 0xff];

const fn readable(addr: u64, len: u32) -> DriverBuffer {
    DriverBuffer {
        addr,
        len,
        writable: false,
    }
}

const fn writable(addr: u64, len: u32) -> DriverBuffer {
    DriverBuffer {
        addr,
        len,
        writable: true,
    }
}

/// Sends chains as they are and waits until the device is done with them.
#[track_caller]
fn transmit(guest: &mut Guest, chains: &[&[DriverBuffer]]) {
    for (token, chain) in (0..).zip(chains) {
        assert!(guest.rings[1].queue.add(chain, token));
    }
    guest.rings[1].publish_and_kick();
    let mut completed = Vec::new();
    wait_for("all chains", || {
        completed.extend(guest.reap());
        completed.len() == chains.len()
    });
    assert!(completed.iter().copied().eq(0..chains.len() as u64));
}

/// Sends header and frame as raw bytes in one descriptor.
#[track_caller]
fn transmit_raw(guest: &mut Guest, header: [u8; 12], frame: &[u8]) {
    assert!(guest.memory.map.write(SCRATCH, &header));
    assert!(guest.memory.map.write(SCRATCH + 12, frame));
    let len = u32::try_from(12 + frame.len()).unwrap();
    transmit(guest, &[&[readable(SCRATCH, len)]]);
}

/// How often a queue of a port has dropped frames for a reason. Ring 0 is the receive ring, 1 the transmit ring.
fn drops(net: &Net, port: &str, ring: usize, reason: &str) -> u64 {
    let (_, queues) = net.network.show(port).unwrap();
    let counters = &queues[ring].counters;
    counters.drops.get(reason).copied().unwrap_or_default()
}

/// Waits for a number of drops, and for no more.
#[track_caller]
fn expect_drops(net: &Net, port: &str, ring: usize, reason: &str, count: u64) {
    wait_for(&format!("{count} drops: {reason}"), || {
        drops(net, port, ring, reason) >= count
    });
    assert_eq!(drops(net, port, ring, reason), count, "{reason}");
}

/// A ring fault latches the ring; the others of the port are not touched.
#[track_caller]
fn expect_latched(net: &Net, port: &str) -> PortStatus {
    // Queues, counters and texts are not told at one instant.
    net.wait_for_status(port, "the fault", |status| {
        status.faulty_queues == 1 && status.counters.faults == 1 && status.fault.is_some()
    });
    net.status(port)
}

/// `a` can still reach `b`.
#[track_caller]
fn goes_on(a: &mut Connected, b: &mut Connected, seed: u8) {
    let good = frame(mac(1), mac(0), 90, seed);
    a.guest.send(&good);
    let mut received = None;
    wait_for("a good frame", || {
        received = b.guest.poll(0).map(|got| got.frame);
        received.as_ref() == Some(&good)
    });
    while !a.guest.reap().is_empty() {}
}
