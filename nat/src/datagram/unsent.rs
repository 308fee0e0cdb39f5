//! Datagrams that the host took to send them with others, and then could not send.
use super::mapping::{Client, Kind, Mapping};
use super::table::{DatagramTable, reason_of};
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::protocol;
use crate::host::{HostError, TokenClass, Unsent};
use crate::icmp::{Problem, Remains, tell_of};
use crate::slab::Key;
use std::net::SocketAddr;

impl DatagramTable {
    /// Tells the guest why what it sent went nowhere, if there is an error for that.
    pub(crate) fn unsent(&mut self, env: &mut Env<'_>, unsent: &Unsent) {
        let reason = match unsent.error {
            // As a full queue of any link would.
            HostError::WouldBlock => DropReason::RateLimit,
            error => reason_of(error),
        };
        for _ in 0..unsent.count {
            env.counters.drop(reason);
        }
        let Some(index) = self.sender_of(unsent) else {
            return;
        };
        if unsent.error == HostError::MessageTooLong {
            // The error queue has the MTU, and tells nobody twice.
            return self.drain_errors(env, index, unsent.socket);
        }
        let problem = Problem::of(unsent.error);
        if let (Some(problem), Some(mapping)) = (problem, self.mappings.at(index)) {
            tell(env, mapping, unsent, problem);
        }
    }

    /// Whose they were; `None`: it was forgotten meanwhile.
    fn sender_of(&self, unsent: &Unsent) -> Option<u32> {
        match unsent.token.class()? {
            TokenClass::Udp | TokenClass::Echo => self.mappings.live(Key {
                index: unsent.token.index(),
                generation: unsent.token.generation(),
            }),
            // The sessions of a forward share its socket.
            TokenClass::Forward => {
                let client = Client {
                    address: unsent.to,
                    asked: unsent.from,
                };
                self.sessions.get(&(unsent.socket, client)).copied()
            }
            TokenClass::Tcp | TokenClass::Service => None,
        }
    }
}

fn tell(env: &mut Env<'_>, mapping: &Mapping, unsent: &Unsent, problem: Problem) {
    if mapping.endpoint.kind == Kind::Echo {
        // Echo requests are not held back: whoever sends one hears at once.
        return;
    }
    let gateway = env.gateway_address(unsent.to.ip());
    let seen = || mapping.seen_from(unsent.to, gateway);
    let destination: SocketAddr = mapping.endpoint.client.unwrap_or_else(seen);
    let length = u16::try_from(8 + unsent.quoted.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let remains = Remains {
        source: mapping.endpoint.address,
        destination,
        protocol: protocol::UDP,
        second_word: [high, low, 0, 0],
        rest: &unsent.quoted,
    };
    let guest = (mapping.endpoint.guest, mapping.mac);
    tell_of(env, guest, None, &remains, problem);
}
