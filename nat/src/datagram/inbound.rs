//! Datagrams that come by a forward.
use super::mapping::{Client, Endpoint, Kind, Mapping};
use super::table::DatagramTable;
use super::world::deliver;
use crate::MacAddr;
use crate::counters::DropReason;
use crate::env::Env;
use crate::host::{Incoming, SocketId};
use std::net::SocketAddr;

/// A datagram's way to its guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) guest: u32,
    pub(crate) mac: MacAddr,
    pub(crate) socket: SocketId,
    /// the guest's end
    pub(crate) to: SocketAddr,
    /// the client as it is
    pub(crate) client: Client,
    /// the client as the guest is to see it
    pub(crate) seen: SocketAddr,
}

impl DatagramTable {
    /// The session of a client that has one at a forward's socket, and how the guest sees it.
    pub(crate) fn session(&self, socket: SocketId, client: Client) -> Option<Way> {
        let mapping = self.mappings.at(*self.sessions.get(&(socket, client))?)?;
        Some(Way {
            guest: mapping.endpoint.guest,
            mac: mapping.mac,
            socket,
            to: mapping.endpoint.address,
            client,
            seen: mapping.endpoint.client?,
        })
    }

    /// Whether the guest's end already speaks with this client.
    pub(crate) fn is_taken(&self, guest: u32, to: SocketAddr, seen: SocketAddr) -> bool {
        self.find(&session_of(guest, to, seen)).is_some()
    }

    /// Hands a datagram to its guest, and remembers the client for the answer.
    pub(crate) fn input_forwarded(
        &mut self,
        env: &mut Env<'_>,
        way: &Way,
        incoming: &Incoming<'_>,
    ) -> Result<(), DropReason> {
        let endpoint = session_of(way.guest, way.to, way.seen);
        let index = if let Some(index) = self.find(&endpoint) {
            index
        } else {
            if !env.guests.may_be_asked(way.guest) {
                return Err(DropReason::FlowQuota);
            }
            env.guests.open_inbound(way.guest, env.now)?;
            env.guests.count(way.guest, |held| held.unanswered += 1);
            env.counters.udp_opened += 1;
            let mut mapping = Mapping::new(endpoint, way.mac, way.socket, way.seen, env.now);
            mapping.client = Some(way.client);
            mapping.refresh(&env.config.timeouts, env.now);
            self.insert(mapping)
        };
        let (now, link) = (env.now, env.link_to(way.mac));
        let admitted = env.guests.admit(way.guest, now, *incoming, env.counters);
        let Some(incoming) = admitted else {
            return Ok(());
        };
        let Some(mapping) = self.mappings.at_mut(index) else {
            return Err(DropReason::FlowQuota);
        };
        if !deliver(mapping, env.out, env.fragmenter, link, way.seen, &incoming) {
            return Err(DropReason::NoRoom);
        }
        mapping.note_received(incoming.payload.len(), now);
        Ok(())
    }
}

fn session_of(guest: u32, to: SocketAddr, seen: SocketAddr) -> Endpoint {
    Endpoint {
        kind: Kind::Udp,
        guest,
        address: to,
        client: Some(seen),
    }
}
