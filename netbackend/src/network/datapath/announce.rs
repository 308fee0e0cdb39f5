//! SEND_RARP: telling everybody that a station is behind a port now.
use super::{Source, worker::Worker};
use std::{collections::HashSet, time::Duration};
use switch::{MacAddr, PortId, Switch, VlanId};
use tracing::debug;

/// VLANs of a trunk in which a guest is announced at most. Each costs a frame to every member, and a trunk may have all 4094.
const MOST_VLANS: usize = 64;

impl Worker {
    /// Sends RARP requests from a port, as a guest would that asks for its own address (RFC 903).
    pub(super) fn announce(&mut self, port: PortId, mac: MacAddr) {
        let now = self.clock.elapsed();
        let source = Source { port, queue: 0 };
        // A front-end that asks for it all the time is a storm like any other.
        let conduct = self.ports.conduct(source);
        if conduct.is_some_and(|conduct| !conduct.may_announce(now)) {
            debug!(port = port.0, %mac, "guest is not announced: its port floods the network");
            return;
        }
        self.scratch.blames_sender = false;
        let mut extra = 0;
        for vlan in places(&self.switch, now, port, mac) {
            if self.frames.set_only(&rarp_request(mac, vlan)) {
                extra += self.forward(source, now);
            }
            // The memory of who received it must not outlive this command, nor pile up within.
            self.scratch.burst.release();
        }
        self.frames.clear();
        if let Some(conduct) = self.ports.conduct(source) {
            conduct.announced(now, extra);
        }
    }
}

/// The VLANs to announce a guest in, with a tag; `None`: without. Which of a trunk's VLANs it uses, only the guest knows: so all of them,
/// and those first in which the address was met.
fn places(switch: &Switch, now: Duration, port: PortId, mac: MacAddr) -> Vec<Option<VlanId>> {
    let Some(vlans) = switch.vlans(port) else {
        return vec![None];
    };
    let met = switch.fdb(now).filter(|entry| entry.mac == mac);
    let met: HashSet<u16> = met.map(|entry| entry.vlan).collect();
    let native = vlans.untagged;
    let tagged = vlans.tagged.iter().filter(|vlan| native != Some(*vlan));
    let mut tagged: Vec<_> = tagged.collect();
    tagged.sort_by_key(|vlan| !met.contains(&vlan.get()));
    let left_out = tagged.len().saturating_sub(MOST_VLANS);
    if left_out > 0 {
        debug!(port = port.0, %mac, left_out, "guest is not announced in all VLANs of its trunk");
    }
    let tagged = tagged.into_iter().take(MOST_VLANS).map(Some);
    native.map(|_| None).into_iter().chain(tagged).collect()
}

/// A RARP request for the address of `mac`, padded to the least length of a frame.
fn rarp_request(mac: MacAddr, vlan: Option<VlanId>) -> Vec<u8> {
    const BROADCAST: [u8; 6] = [0xff; 6];
    // EtherType; Ethernet and IPv4 with their lengths; operation 3, request reverse.
    const FIXED: [u8; 10] = [0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3];
    const UNKNOWN: [u8; 4] = [0; 4];
    const LEAST: usize = 60;
    let tag = vlan.map(|vlan| {
        let [high, low] = vlan.get().to_be_bytes();
        [0x81, 0, high, low]
    });
    let tag = tag.as_ref().map_or(&[][..], |tag| tag);
    let parts = [
        &BROADCAST[..],
        &mac.0,
        tag,
        &FIXED,
        &mac.0,
        &UNKNOWN,
        &mac.0,
    ];
    let mut frame = parts.concat();
    frame.resize(LEAST + tag.len(), 0);
    frame
}
