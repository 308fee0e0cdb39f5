//! What the network says about guests' answers to clients of a forward. All of its sessions share one socket.
use super::mapping::{Client, Mapping};
use super::table::DatagramTable;
use super::world::problem_of;
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::protocol;
use crate::host::{IncomingError, SocketId};
use crate::icmp::{Problem, Remains, tell_of};
use std::net::SocketAddr;

/// Errors of one socket at once. Anybody can send them: no more than of anything else.
const BATCH: usize = 64;
/// An IPv6 header is longer than one of IPv4 by so much.
const LONGER: u32 = 20;

impl DatagramTable {
    /// Tells guests what the network said about what they have answered by a forward.
    pub(crate) fn drain_session_errors(&mut self, env: &mut Env<'_>, socket: SocketId) {
        for _ in 0..BATCH {
            let Some(error) = env.host.receive_error(socket) else {
                return;
            };
            match self.session_with(socket, error.destination) {
                Some(mapping) => tell(env, mapping, &error),
                None => env.counters.drop(DropReason::Filtered),
            }
        }
    }

    /// The session that an error is about: of those of a client, if it has asked several addresses, the one that was busy last. One
    /// that the guest has not answered had nothing sent; an error about that is somebody's invention.
    fn session_with(&self, socket: SocketId, client: SocketAddr) -> Option<&Mapping> {
        let first = Client {
            address: client,
            asked: None,
        };
        self.sessions
            .range((socket, first)..)
            .take_while(|((at, with), _)| *at == socket && with.address == client)
            .filter_map(|(_, &index)| self.mappings.at(index))
            .filter(|mapping| !mapping.is_unanswered())
            .max_by_key(|mapping| mapping.active)
    }
}

fn tell(env: &mut Env<'_>, mapping: &Mapping, error: &IncomingError) {
    let Some(seen) = mapping.endpoint.client else {
        return;
    };
    let Some(problem) = seen_as(error, seen) else {
        return;
    };
    let length = u16::try_from(8 + error.quoted.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let remains = Remains {
        source: mapping.endpoint.address,
        destination: seen,
        protocol: protocol::UDP,
        second_word: [high, low, 0, 0],
        rest: &error.quoted,
    };
    let offender = error.offender.filter(|offender| !offender.is_loopback());
    let guest = (mapping.endpoint.guest, mapping.mac);
    tell_of(env, guest, offender, &remains, problem);
}

/// The problem for a guest that may know the client by an address of the other family. `None`: that one has no words for it.
fn seen_as(error: &IncomingError, seen: SocketAddr) -> Option<Problem> {
    let problem = problem_of(error);
    match (problem, error.destination.is_ipv4(), seen.is_ipv4()) {
        (Problem::TooBig(mtu), false, true) => Some(Problem::TooBig(mtu.saturating_sub(LONGER))),
        (Problem::TooBig(mtu), true, false) => Some(Problem::TooBig(mtu.saturating_add(LONGER))),
        (problem, there, here) => (there == here).then_some(problem),
    }
}
