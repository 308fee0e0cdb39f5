//! The frames that need no thought: known unicast between ports of a plain bridge.
//!
//! Nearly all are of that kind. Where thousands of addresses talk, no frame is like the one before, and what is decided once
//! ([`crate::repeat`]) does not help; so this is the same decision as in [`crate::forward`] with all cases left out that do not
//! apply. `None` is always right: the frame is then looked at in full.
use std::time::Duration;

use crate::fdb::Fdb;
use crate::header::Header;
use crate::ports::Ports;
use crate::{Mode, PortId};

/// Where the frame goes, if it is of that kind.
#[inline]
pub(crate) fn egress(
    mode: Mode,
    ports: &Ports,
    fdb: &mut Fdb,
    now: Duration,
    ingress: PortId,
    frame: &[u8],
) -> Option<PortId> {
    if mode != Mode::Bridge || ports.heeds_vlans() {
        return None;
    }
    let port = ports.get(ingress)?;
    if port.isolated || port.guard.is_some() || port.peer.is_some() {
        return None;
    }
    let header = Header::parse(frame)?;
    let of_stations = header.src.is_station() && !header.dst.is_multicast();
    if !of_stations || header.is_pause() {
        return None;
    }
    fdb.sweep(now);
    let is_settled = match port.fixed {
        Some(fixed) => fixed == header.src,
        None => fdb.is_settled(header.src, ingress),
    };
    if !is_settled {
        return None;
    }
    fdb.owner(header.dst).filter(|owner| *owner != ingress)
}

#[cfg(test)]
#[path = "known_test.rs"]
mod tests;
