//! Forwards that are open: their listening sockets, and whom their clients reach.
use super::spec::{Forward, GuestRef, Transport};
use crate::MacAddr;
use crate::counters::DropReason;
use crate::datagram::{Client, DatagramTable, Way};
use crate::env::Env;
use crate::host::{HostError, ListenAt, Readiness, SocketId, Token, TokenClass};
use crate::neighbour;
use crate::slab::{Key, Slab};
use crate::tcp::{Inbound, TcpTable};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Connections or datagrams of one socket at once.
const BATCH: usize = 64;
/// How long a client waits for a guest to answer for its address.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at sockets that something keeps waiting.
const RETRY: Duration = Duration::from_millis(250);
/// DNS, DHCP, TFTP and DHCPv6.
const SERVICE_PORTS: [u16; 4] = [53, 67, 69, 547];
/// First port of those that stand for clients whose own is taken (RFC 6335, 6).
const FIRST_EPHEMERAL: u16 = 49_152;
/// Ports that are tried for a client.
const MAX_TRIES: u16 = 256;

/// A listening socket.
#[derive(Debug)]
struct Listener {
    forward: Forward,
    socket: SocketId,
    /// the guest's port
    port: u16,
    /// since when it waits for its guest's MAC address
    waiting: Option<Duration>,
}

/// A datagram that was received and is to be handed on.
type Received = (Client, Vec<u8>, Option<u16>, Option<u8>, u8);

/// All forwards.
#[derive(Debug)]
pub(crate) struct ForwardTable {
    list: Vec<Forward>,
    listeners: Slab<Listener>,
    /// those that have more, and when to look again
    pending: Vec<u32>,
    retry_at: Option<Duration>,
    next_port: u16,
}

/// The guest of a forward, as it is now.
#[derive(Debug, Clone, Copy)]
struct Target {
    guest: u32,
    mac: MacAddr,
    address: IpAddr,
}

/// Why there is no target.
enum Missing {
    /// nobody has the name, or the network has no such address
    Guest,
    /// its MAC address was asked for
    Mac,
}

impl ForwardTable {
    pub(crate) const fn new() -> Self {
        Self {
            list: Vec::new(),
            listeners: Slab::new(),
            pending: Vec::new(),
            retry_at: None,
            next_port: FIRST_EPHEMERAL,
        }
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = &Forward> {
        self.list.iter()
    }

    /// Opens all ports of a forward, or none.
    pub(crate) fn add(&mut self, env: &mut Env<'_>, forward: &Forward) -> Result<(), HostError> {
        if self.list.contains(forward) {
            return Err(HostError::AddressInUse);
        }
        for host_port in forward.first_port..=forward.last_port {
            if let Err(error) = self.listen(env, forward, host_port) {
                self.close(env, &mut DatagramTable::new(0), forward);
                return Err(error);
            }
        }
        self.list.push(forward.clone());
        Ok(())
    }

    fn listen(
        &mut self,
        env: &mut Env<'_>,
        forward: &Forward,
        host_port: u16,
    ) -> Result<(), HostError> {
        let key = self.listeners.next_key();
        let token = Token::new(TokenClass::Forward, key.index, key.generation);
        let at = ListenAt {
            address: forward.address,
            interface: forward.interface.clone(),
            port: host_port,
        };
        let socket = match forward.transport {
            Transport::Tcp => env.host.tcp_listen(token, &at)?,
            Transport::Udp => env.host.udp_listen(token, &at)?,
        };
        let offset = host_port - forward.first_port;
        self.listeners.insert(Listener {
            forward: forward.clone(),
            socket,
            port: forward.guest_port.saturating_add(offset),
            waiting: None,
        });
        Ok(())
    }

    /// Closes a forward's ports. False: there is none like it.
    pub(crate) fn remove(
        &mut self,
        env: &mut Env<'_>,
        datagrams: &mut DatagramTable,
        forward: &Forward,
    ) -> bool {
        let before = self.list.len();
        self.list.retain(|other| other != forward);
        self.close(env, datagrams, forward);
        self.list.len() < before
    }

    fn close(&mut self, env: &mut Env<'_>, datagrams: &mut DatagramTable, forward: &Forward) {
        let of_forward =
            |(index, listener): (u32, &Listener)| (listener.forward == *forward).then_some(index);
        let gone: Vec<u32> = self.listeners.iter().filter_map(of_forward).collect();
        for index in gone {
            if let Some(listener) = self.listeners.remove(index) {
                datagrams.remove_sessions(env, listener.socket);
                env.host.close(listener.socket);
            }
            self.pending.retain(|other| *other != index);
        }
    }

    /// Something happened to a listening socket.
    pub(crate) fn host_event(&mut self, token: Token, ready: Readiness) {
        let key = Key {
            index: token.index(),
            generation: token.generation(),
        };
        if let Some(index) = self.listeners.live(key)
            && (ready.readable || ready.error)
            && !self.pending.contains(&index)
        {
            self.pending.push(index);
            self.retry_at = Some(Duration::ZERO);
        }
    }

    /// Takes what has come. Returns when to be called next.
    pub(crate) fn poll(
        &mut self,
        env: &mut Env<'_>,
        tcp: &mut TcpTable,
        datagrams: &mut DatagramTable,
    ) -> Option<Duration> {
        if self.retry_at.is_none_or(|at| at > env.now) {
            return self.retry_at;
        }
        self.retry_at = None;
        for index in std::mem::take(&mut self.pending) {
            let Some(listener) = self.listeners.at(index) else {
                continue;
            };
            let again = match listener.forward.transport {
                Transport::Tcp => self.accept(env, tcp, index),
                Transport::Udp => self.receive(env, datagrams, index),
            };
            if let Some(at) = again {
                self.pending.push(index);
                self.retry_at = Some(self.retry_at.map_or(at, |other| other.min(at)));
            }
        }
        self.retry_at
    }

    /// Takes connections; when to go on, if there may be more.
    fn accept(&mut self, env: &mut Env<'_>, tcp: &mut TcpTable, index: u32) -> Option<Duration> {
        let listener = self.listeners.at_mut(index)?;
        if let Some(later) = listener.wait_for_guest(env) {
            return Some(later);
        }
        let (socket, port, preserve) = (
            listener.socket,
            listener.port,
            listener.forward.preserve_source,
        );
        let guest = listener.forward.guest.clone();
        for _ in 0..BATCH {
            let next_port = &mut self.next_port;
            let whom = |env: &mut Env<'_>, tcp: &TcpTable, client: SocketAddr| {
                let target =
                    target_of(env, &guest, Some(client.ip())).map_err(|_| DropReason::NoGuest)?;
                let to = SocketAddr::new(target.address, port);
                let taken = |from| tcp.is_taken(target.guest, to, from);
                let from = client_as_seen(env, to, client, preserve, next_port, taken)?;
                Ok(Inbound {
                    guest: target.guest,
                    mac: target.mac,
                    to,
                    from,
                })
            };
            match tcp.accept(env, socket, whom) {
                Err(HostError::WouldBlock) => return None,
                // It is still there when a descriptor is free again.
                Err(HostError::NoResources) => return Some(env.now + RETRY),
                // Taken, or gone before it was.
                Ok(()) | Err(_) => {}
            }
        }
        Some(env.now)
    }

    /// Takes datagrams; when to go on, if there may be more.
    fn receive(
        &mut self,
        env: &mut Env<'_>,
        datagrams: &mut DatagramTable,
        index: u32,
    ) -> Option<Duration> {
        let listener = self.listeners.at_mut(index)?;
        if let Some(later) = listener.wait_for_guest(env) {
            return Some(later);
        }
        let (socket, port, preserve) = (
            listener.socket,
            listener.port,
            listener.forward.preserve_source,
        );
        let guest = listener.forward.guest.clone();
        // As for all other datagrams: what finds no room in the network stays in the socket.
        let limit = BATCH.min(datagrams.room_of_forward(env, socket));
        if limit == 0 {
            return Some(env.now);
        }
        let mut received: Vec<Received> = Vec::new();
        let count = env.host.receive(socket, limit, &mut |incoming| {
            let crate::Incoming {
                from,
                to,
                payload,
                segment,
                hop_limit,
                traffic_class,
            } = incoming;
            let client = Client {
                address: from,
                asked: to,
            };
            received.push((client, payload.to_vec(), segment, hop_limit, traffic_class));
        });
        // Of clients that have gone, or whose path has a smaller MTU.
        datagrams.drain_session_errors(env, socket);
        for (client, payload, segment, hop_limit, traffic_class) in received {
            let incoming = crate::Incoming {
                from: client.address,
                to: client.asked,
                payload: &payload,
                segment,
                hop_limit,
                traffic_class,
            };
            env.counters.forwarded += 1;
            let handed = match datagrams.session(socket, client) {
                Some(way) => datagrams.input_forwarded(env, &way, &incoming),
                None => self
                    .new_way(env, datagrams, &guest, (socket, port, preserve), client)
                    .and_then(|way| datagrams.input_forwarded(env, &way, &incoming)),
            };
            if let Err(reason) = handed {
                env.counters.drop(reason);
            }
        }
        count.is_ok_and(|count| count >= limit).then_some(env.now)
    }

    fn new_way(
        &mut self,
        env: &mut Env<'_>,
        datagrams: &DatagramTable,
        guest: &GuestRef,
        (socket, port, preserve): (SocketId, u16, bool),
        client: Client,
    ) -> Result<Way, DropReason> {
        let target =
            target_of(env, guest, Some(client.address.ip())).map_err(|_| DropReason::NoGuest)?;
        let to = SocketAddr::new(target.address, port);
        let taken = |seen| datagrams.is_taken(target.guest, to, seen);
        let seen = client_as_seen(
            env,
            to,
            client.address,
            preserve,
            &mut self.next_port,
            taken,
        )?;
        Ok(Way {
            guest: target.guest,
            mac: target.mac,
            socket,
            to,
            client,
            seen,
        })
    }
}

impl Listener {
    /// When to look again, while the guest is asked for its MAC address: what has come stays in the socket.
    fn wait_for_guest(&mut self, env: &mut Env<'_>) -> Option<Duration> {
        let target = target_of(env, &self.forward.guest, None);
        if matches!(target, Err(Missing::Mac)) {
            let since = *self.waiting.get_or_insert(env.now);
            if env.now < since + PATIENCE {
                return Some(env.now + RETRY);
            }
        }
        self.waiting = None;
        None
    }
}

/// Finds a forward's guest; if it has both, an address of the client's family.
fn target_of(
    env: &mut Env<'_>,
    guest: &GuestRef,
    client: Option<IpAddr>,
) -> Result<Target, Missing> {
    let v6_first = matches!(client, Some(IpAddr::V6(_)));
    let both = |find: &dyn Fn(bool) -> Option<IpAddr>| find(v6_first).or_else(|| find(!v6_first));
    let address = match guest {
        GuestRef::Address(address) => Some(*address),
        GuestRef::Name(name) => both(&|v6| env.services.resolve(name, v6)),
        GuestRef::Any => {
            both(&|v6| env.services.first_lease(v6)).or_else(|| env.guests.only_address())
        }
    };
    let address = address
        .filter(|address| env.config.addressing.is_inside(*address))
        .ok_or(Missing::Guest)?;
    // Who has leased it is known before it says anything from there.
    let holder = || env.services.holder(env.now, address);
    let owner = env
        .guests
        .owner(address)
        .or_else(|| env.guests.id_of(holder()?.0));
    let Some((guest, mac)) = owner.and_then(|guest| Some((guest, env.guests.mac_of(guest)?)))
    else {
        neighbour::ask(env, address);
        return Err(Missing::Mac);
    };
    Ok(Target {
        guest,
        mac,
        address,
    })
}

/// What the guest sees of a client: its own address if it may, or else the gateway's, with the client's port if it is free.
fn client_as_seen(
    env: &Env<'_>,
    to: SocketAddr,
    client: SocketAddr,
    preserve: bool,
    next_port: &mut u16,
    taken: impl Fn(SocketAddr) -> bool,
) -> Result<SocketAddr, DropReason> {
    let ip = client.ip().to_canonical();
    let itself = SocketAddr::new(ip, client.port());
    // The guest must have a route to it that leads here: not so for an address of its own network, or of its own machine.
    let routable = ip.is_ipv4() == to.is_ipv4()
        && !ip.is_loopback()
        && !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
        && !env.config.addressing.is_inside(ip);
    if preserve && routable && !taken(itself) {
        return Ok(itself);
    }
    let gateway = env.gateway_address(to.ip()).ok_or(DropReason::NoGuest)?;
    let own_port = SocketAddr::new(gateway, client.port());
    // What is sent to a service's port of the gateway is the service's.
    if !SERVICE_PORTS.contains(&client.port()) && !taken(own_port) {
        return Ok(own_port);
    }
    for _ in 0..MAX_TRIES {
        let port = *next_port;
        *next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
        let candidate = SocketAddr::new(gateway, port);
        if !taken(candidate) {
            return Ok(candidate);
        }
    }
    Err(DropReason::FlowQuota)
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
