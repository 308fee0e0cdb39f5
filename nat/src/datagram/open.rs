//! New mappings, and their sockets.
use super::mapping::{Endpoint, Kind, Mapping};
use super::table::{DatagramTable, refused};
use crate::counters::DropReason;
use crate::env::Env;
use crate::frame::Packet;
use crate::host::{Family, HostError, SocketId, Token};
use std::net::SocketAddr;

/// Why there is no socket for a mapping.
enum Refusal {
    Quota(DropReason),
    Host(HostError),
}

impl DatagramTable {
    /// The mapping of an endpoint; a new one if it has none.
    pub(super) fn find_or_open(
        &mut self,
        env: &mut Env<'_>,
        endpoint: Endpoint,
        packet: &Packet<'_>,
        destination: SocketAddr,
    ) -> Result<u32, DropReason> {
        if let Some(index) = self.find(&endpoint) {
            return Ok(index);
        }
        env.guests.open_flow(endpoint.guest, env.now)?;
        let socket = match self.open_socket(env, endpoint) {
            Ok(socket) => socket,
            Err(refusal) => {
                env.guests.close_flow(endpoint.guest);
                return Err(match refusal {
                    Refusal::Quota(reason) => reason,
                    Refusal::Host(error) => refused(env, endpoint.guest, packet, error),
                });
            }
        };
        match endpoint.kind {
            Kind::Udp => env.counters.udp_opened += 1,
            Kind::Echo => env.counters.echo_opened += 1,
        }
        let mac = packet.link.source;
        let mut mapping = Mapping::new(endpoint, mac, socket, destination, env.now);
        mapping.refresh(&env.config.timeouts, env.now);
        Ok(self.insert(mapping))
    }

    /// A socket for a new mapping, whose key is the next one.
    fn open_socket(&mut self, env: &mut Env<'_>, endpoint: Endpoint) -> Result<SocketId, Refusal> {
        let family = Family::of(endpoint.address.ip());
        match endpoint.kind {
            Kind::Udp => {
                let most = env.config.quotas.datagram_ports;
                let account = env.guests.get(endpoint.guest);
                let own = account.map_or(0, |account| account.held.ports);
                self.ports.take(own, most).map_err(Refusal::Quota)?;
                let opened = env.host.udp_open(self.next_token(Kind::Udp), family);
                match opened {
                    Ok(_) => env.guests.count(endpoint.guest, |held| held.ports += 1),
                    Err(_) => self.ports.give_back(),
                }
                opened.map_err(Refusal::Host)
            }
            Kind::Echo => {
                let opened = env.host.echo_open(self.next_token(Kind::Echo), family);
                let Err(error) = opened else {
                    return opened.map_err(Refusal::Host);
                };
                // A host that has no "ping" sockets for us has a few of another kind, for all guests.
                let port = env.guests.port_of(endpoint.guest);
                let is_own = |guest| env.guests.port_of(guest) == port;
                let idle = self.idlest_echo(is_own, family);
                self.remove(env, idle.ok_or(Refusal::Host(error))?);
                // Its place may be the one that is taken next.
                let opened = env.host.echo_open(self.next_token(Kind::Echo), family);
                opened.map_err(Refusal::Host)
            }
        }
    }

    fn next_token(&self, kind: Kind) -> Token {
        let key = self.mappings.next_key();
        Token::new(kind.class(), key.index, key.generation)
    }

    /// The echo mapping that a new one takes the place of: of its own port's guests the one that has been idle for the longest
    /// time, or else of all. Who makes up MAC addresses is not to get everybody's, one by one.
    fn idlest_echo(&self, is_own: impl Fn(u32) -> bool, family: Family) -> Option<u32> {
        let echoes = self.echoes.iter().filter_map(|&index| {
            let mapping = self.mappings.at(index)?;
            let like = Family::of(mapping.endpoint.address.ip()) == family;
            like.then_some((!is_own(mapping.endpoint.guest), mapping.active, index))
        });
        echoes.min().map(|(.., index)| index)
    }
}
