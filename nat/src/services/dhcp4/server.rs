//! The server of RFC 2131, 4.3: the one authority over the addresses of its network.
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::MacAddr;

use super::message::Request;
use super::reply::Reply;
use super::spec::{CLIENT_PORT, FLAG_BROADCAST, MessageType, option};
use crate::services::cursor::seconds;
use crate::services::dns::name::{Name, compress_list};
use crate::services::hosts::{Hosts, Reservation, hostname};
use crate::services::leases::{Client, LeaseRecord, LeaseTable};

/// How long an offer waits for its client.
const OFFER_TIME: Duration = Duration::from_mins(1);
/// How long an address that a client found in use is left alone.
const DECLINE_TIME: Duration = Duration::from_mins(10);

/// What the server tells its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// the gateway's address: router and server identifier
    pub address: Ipv4Addr,
    /// the gateway's addresses, which are not given out
    pub own: Vec<Ipv4Addr>,
    /// length of the network's prefix
    pub prefix_len: u8,
    /// addresses to give out
    pub pool: RangeInclusive<Ipv4Addr>,
    /// whether the gateway is told as the router; without, guests reach each other only
    pub router: bool,
    /// name servers
    pub dns: Vec<Ipv4Addr>,
    /// domain of the guests
    pub domain: Option<Name>,
    /// domains to look names up in
    pub search: Vec<Name>,
    /// MTU of the network
    pub mtu: u16,
    /// how long a lease runs
    pub lease_time: Duration,
    /// whether a client may get its lease in two messages (RFC 4039)
    pub rapid_commit: bool,
    /// network boot
    pub boot: Option<Boot>,
}

/// Where a network boot goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// the TFTP server (`siaddr`)
    pub server: Ipv4Addr,
    /// its name or address as text (option 66)
    pub server_name: String,
    /// the file (`file`, option 67)
    pub file: String,
}

/// An answer and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// destination, of link layer
    pub mac: MacAddr,
    /// destination; the source is the gateway's address, port 67
    pub destination: SocketAddrV4,
    /// the message
    pub payload: Vec<u8>,
}

/// Why a message got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// not a DHCP message of an Ethernet client
    Malformed,
    /// `chaddr` is not the sender: somebody asks in another one's name
    Spoofed,
    /// meant for another server, or from a relay of another network
    NotOurs,
    /// the message wants none
    Done,
    /// no address left
    Exhausted,
}

/// The DHCPv4 server of one network.
#[derive(Debug)]
pub struct Server {
    config: Config,
    leases: LeaseTable,
    reservations: Vec<Reservation>,
}

impl Server {
    /// A server without leases.
    pub fn new(config: Config, reservations: Vec<Reservation>) -> Self {
        let mut own: Vec<IpAddr> = config.own.iter().map(|own| IpAddr::V4(*own)).collect();
        own.extend([network(&config), broadcast(&config)].map(IpAddr::V4));
        let pool = (*config.pool.start()).into()..=(*config.pool.end()).into();
        Self {
            leases: LeaseTable::new(pool, &own, &reservations),
            config,
            reservations,
        }
    }

    /// Tells clients to search these domains from now on.
    pub fn set_search(&mut self, search: Vec<Name>) {
        self.config.search = search;
    }

    /// The leases.
    pub fn leases(&self) -> &LeaseTable {
        &self.leases
    }

    /// Takes leases that were kept `elapsed` ago.
    pub fn import(
        &mut self,
        now: Duration,
        records: &[LeaseRecord],
        elapsed: Duration,
        hosts: &mut Hosts,
    ) {
        self.leases.import(now, records, elapsed);
        for lease in self.leases.iter() {
            if let Some(name) = &lease.hostname {
                hosts.claim(now, name, lease.mac, lease.address, lease.expires);
            }
        }
    }

    /// Answers one message that came from the station `from`.
    pub fn handle(
        &mut self,
        now: Duration,
        from: MacAddr,
        payload: &[u8],
        hosts: &mut Hosts,
    ) -> Result<Outgoing, Silence> {
        let request = Request::parse(payload).ok_or(Silence::Malformed)?;
        // All clients are on this link: who claims to be a relay speaks in the name of stations that it is not.
        if !request.giaddr.is_unspecified() {
            return Err(Silence::NotOurs);
        }
        if !request.mac.is_unicast() || request.mac != from {
            return Err(Silence::Spoofed);
        }
        let named = request.options.address(option::SERVER_ID);
        let ours = named.is_none_or(|server| server == self.config.address);
        self.answer(now, &request, ours, hosts)
    }

    fn answer(
        &mut self,
        now: Duration,
        request: &Request<'_>,
        ours: bool,
        hosts: &mut Hosts,
    ) -> Result<Outgoing, Silence> {
        match request.kind {
            MessageType::Discover => self.discover(now, request, hosts),
            MessageType::Request if !ours => {
                // It took another server's offer (RFC 2131, 4.3.2).
                self.leases.withdraw(client(request));
                Err(Silence::NotOurs)
            }
            MessageType::Request => self.request(now, request, hosts),
            MessageType::Decline if ours => self.decline(now, request, hosts),
            MessageType::Release if ours => self.release(request, hosts),
            MessageType::Inform => Ok(self.inform(request)),
            _ => Err(Silence::NotOurs),
        }
    }

    fn discover(
        &mut self,
        now: Duration,
        request: &Request<'_>,
        hosts: &mut Hosts,
    ) -> Result<Outgoing, Silence> {
        let wanted = request.options.address(option::REQUESTED_ADDRESS);
        let until = now.saturating_add(OFFER_TIME);
        let offered = self
            .leases
            .offer(now, client(request), wanted.map(IpAddr::V4), until);
        let Some(IpAddr::V4(address)) = offered else {
            return Err(Silence::Exhausted);
        };
        let rapid = request.options.get(option::RAPID_COMMIT).is_some();
        if rapid && self.config.rapid_commit && self.bind(now, request, address, hosts) {
            let mut reply = self.lease(request, MessageType::Ack, address);
            reply.put(option::RAPID_COMMIT, &[]);
            return Ok(self.send(request, reply));
        }
        let reply = self.lease(request, MessageType::Offer, address);
        Ok(self.send(request, reply))
    }

    /// SELECTING, INIT-REBOOT, RENEWING and REBINDING alike: the client gets the address it names, or a NAK.
    fn request(
        &mut self,
        now: Duration,
        request: &Request<'_>,
        hosts: &mut Hosts,
    ) -> Result<Outgoing, Silence> {
        let requested = request.options.address(option::REQUESTED_ADDRESS);
        let address = requested.unwrap_or(request.ciaddr);
        if address.is_unspecified() {
            return Err(Silence::Malformed);
        }
        if self.bind(now, request, address, hosts) {
            let reply = self.lease(request, MessageType::Ack, address);
            return Ok(self.send(request, reply));
        }
        let mut reply = Reply::new(MessageType::Nak, self.config.address);
        reply.put(option::MESSAGE, b"this address is not yours");
        Ok(self.send(request, reply))
    }

    fn decline(
        &mut self,
        now: Duration,
        request: &Request<'_>,
        hosts: &mut Hosts,
    ) -> Result<Outgoing, Silence> {
        let declined = request.options.address(option::REQUESTED_ADDRESS);
        let declined = IpAddr::V4(declined.ok_or(Silence::Malformed)?);
        let until = now.saturating_add(DECLINE_TIME);
        if self.leases.decline(client(request), declined, until) {
            hosts.release(declined);
        }
        Err(Silence::Done)
    }

    fn release(&mut self, request: &Request<'_>, hosts: &mut Hosts) -> Result<Outgoing, Silence> {
        let released = IpAddr::V4(request.ciaddr);
        if self.leases.release(client(request), released) {
            hosts.release(released);
        }
        Err(Silence::Done)
    }

    fn inform(&self, request: &Request<'_>) -> Outgoing {
        let mut reply = Reply::new(MessageType::Ack, self.config.address);
        self.describe_network(request, &mut reply);
        self.send(request, reply)
    }

    fn bind(
        &mut self,
        now: Duration,
        request: &Request<'_>,
        address: Ipv4Addr,
        hosts: &mut Hosts,
    ) -> bool {
        let until = now.saturating_add(self.config.lease_time);
        let client = client(request);
        let address = IpAddr::V4(address);
        let name = self.reserved_name(request.mac).or_else(|| called(request));
        if !self.leases.bind(now, client, address, name.clone(), until) {
            return false;
        }
        match name {
            Some(name) if hosts.claim(now, &name, request.mac, address, until) => {}
            _ => hosts.release(address),
        }
        true
    }

    fn reserved_name(&self, mac: MacAddr) -> Option<String> {
        let mut reservations = self.reservations.iter();
        let reserved = reservations.find(|reservation| reservation.mac == mac)?;
        hostname(reserved.hostname.as_deref()?)
    }

    fn lease(&self, request: &Request<'_>, kind: MessageType, address: Ipv4Addr) -> Reply {
        let mut reply = Reply::new(kind, self.config.address);
        reply.yiaddr = address;
        let lease = seconds(self.config.lease_time);
        reply.put(option::LEASE_TIME, &lease.to_be_bytes());
        self.describe_network(request, &mut reply);
        // RFC 2131, 4.4.5: T1 and T2 are a half and seven eighths of the lease.
        reply.put(option::RENEWAL_TIME, &(lease / 2).to_be_bytes());
        let rebinding = u64::from(lease) * 7 / 8;
        let rebinding = u32::try_from(rebinding).unwrap_or(u32::MAX);
        reply.put(option::REBINDING_TIME, &rebinding.to_be_bytes());
        if let Some(name) = self.reserved_name(request.mac) {
            reply.put(option::HOST_NAME, name.as_bytes());
        }
        reply
    }

    fn describe_network(&self, request: &Request<'_>, reply: &mut Reply) {
        let config = &self.config;
        let mask = mask(config.prefix_len);
        reply.put(option::SUBNET_MASK, &mask.octets());
        if config.router {
            reply.put(option::ROUTER, &config.address.octets());
        }
        if !config.dns.is_empty() {
            reply.put(option::DNS, &octets(&config.dns));
        }
        if let Some(domain) = &config.domain {
            reply.put(option::DOMAIN_NAME, domain.to_string().as_bytes());
        }
        self.describe_boot(request, reply);
        let asked = request.options.get(option::PARAMETER_REQUEST);
        let asked_for = |code| asked.is_none_or(|codes| codes.contains(&code));
        if asked_for(option::INTERFACE_MTU) {
            reply.put(option::INTERFACE_MTU, &config.mtu.to_be_bytes());
        }
        if asked_for(option::BROADCAST) {
            reply.put(option::BROADCAST, &broadcast(config).octets());
        }
        if asked_for(option::DOMAIN_SEARCH) && !config.search.is_empty() {
            reply.put(option::DOMAIN_SEARCH, &compress_list(&config.search));
        }
    }

    fn describe_boot(&self, request: &Request<'_>, reply: &mut Reply) {
        let Some(boot) = &self.config.boot else {
            return;
        };
        reply.siaddr = boot.server;
        let asked = request.options.get(option::PARAMETER_REQUEST);
        let asked_for = |code| asked.is_some_and(|codes| codes.contains(&code));
        if asked_for(option::TFTP_SERVER_NAME) {
            reply.put(option::TFTP_SERVER_NAME, boot.server_name.as_bytes());
        }
        if asked_for(option::BOOT_FILE) {
            reply.put(option::BOOT_FILE, boot.file.as_bytes());
        }
        // One octet is for the zero at its end.
        if boot.file.len() < 128 {
            reply.file = boot.file.clone().into_bytes();
        }
    }

    /// RFC 2131, 4.1: who cannot be reached by unicast yet gets a broadcast.
    fn send(&self, request: &Request<'_>, reply: Reply) -> Outgoing {
        let nak = reply.is_nak();
        let yiaddr = reply.yiaddr;
        let payload = reply.emit(request, self.config.mtu);
        let address = if nak {
            Ipv4Addr::BROADCAST
        } else if !request.ciaddr.is_unspecified() && self.is_on_link(request.ciaddr) {
            request.ciaddr
        } else if request.flags & FLAG_BROADCAST != 0 || yiaddr.is_unspecified() {
            Ipv4Addr::BROADCAST
        } else {
            yiaddr
        };
        let mac = if address.is_broadcast() {
            MacAddr::BROADCAST
        } else {
            request.mac
        };
        Outgoing {
            mac,
            destination: SocketAddrV4::new(address, CLIENT_PORT),
            payload,
        }
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let mask = mask(self.config.prefix_len);
        address & mask == network(&self.config)
    }
}

/// Who asks: by its identifier if it gives one, else by its hardware address (RFC 2131, 4.2).
fn client<'a>(request: &'a Request<'_>) -> Client<'a> {
    let id = request.options.get(option::CLIENT_ID);
    let id = id.filter(|id| !id.is_empty() && id.len() <= 255);
    Client {
        id: id.unwrap_or(request.mac.as_bytes()),
        mac: request.mac,
    }
}

/// What the client calls itself: option 12, or option 81 as text or in the form of DNS (RFC 4702, 2.1: flag E).
fn called(request: &Request<'_>) -> Option<String> {
    let name = request.options.get(option::HOST_NAME).and_then(text);
    name.or_else(|| {
        let (fixed, name) = request
            .options
            .get(option::CLIENT_FQDN)?
            .split_first_chunk()?;
        let [flags, _rcode1, _rcode2] = *fixed;
        if flags & 4 == 0 {
            return text(name);
        }
        let (len, rest) = name.split_first()?;
        text(rest.get(..usize::from(*len))?)
    })
}

/// Some clients end it with a zero.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    hostname(text.trim_end_matches('\0'))
}

fn octets(addresses: &[Ipv4Addr]) -> Vec<u8> {
    addresses.iter().flat_map(Ipv4Addr::octets).collect()
}

fn mask(prefix_len: u8) -> Ipv4Addr {
    let host_bits = 32u32.saturating_sub(prefix_len.into());
    Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

fn network(config: &Config) -> Ipv4Addr {
    config.address & mask(config.prefix_len)
}

fn broadcast(config: &Config) -> Ipv4Addr {
    config.address | !mask(config.prefix_len)
}

#[cfg(test)]
#[path = "server_test.rs"]
pub(crate) mod tests;
