//! What the gateway itself answers: ARP, NDP and router advertisements, DHCP, DNS, TFTP.
//!
//! The gateway parses and checks frames down to the datagram, and hands over what is for its own addresses, for broadcast or for a
//! multicast group. Each service is a pure function of bytes and time, in a module of its own; this one tells them apart, and
//! writes what they answer to [`Context::out`].
mod arp;
mod config;
mod cursor;
pub mod dhcp4;
pub mod dhcp6;
pub mod dns;
mod hosts;
mod leases;
mod ndp;
mod ra;
mod random;
mod setup;
pub mod tftp;

use crate::config::Config;
use crate::counters::{Counters, DropReason};
use crate::frame::{
    Arp, Datagram, ETHERTYPE_ARP, IpHeader, Link, Ndp, Pseudo, emit_ethernet, emit_ip, emit_udp,
    protocol,
};
use crate::{Host, MacAddr, Output, PortId, Readiness, Token, link_local};
use random::Random;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use config::{BootConfig, Dhcp6, DnsConfig, ServicesConfig};
pub use hosts::{MAX_HOSTNAME, Reservation, hostname};
pub use leases::{Client, Lease, LeaseRecord, LeaseTable, PER_STATION, State};

/// Names of guests that have no reservation.
const MAX_NAMES: usize = 8192;

/// What a service may use while it handles something.
#[allow(missing_debug_implementations, reason = "borrows trait objects")]
pub struct Context<'a> {
    /// time, from an origin of the caller's
    pub now: Duration,
    /// sockets of the host, for DNS upstreams
    pub host: &'a mut dyn Host,
    /// frames to the network
    pub out: &'a mut dyn Output,
    /// what is counted
    pub counters: &'a mut Counters,
}

/// A TCP connection of a guest to a service of the gateway (DNS over TCP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Whose something is, and the port of the network that it counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station {
    /// the guest is behind
    pub port: PortId,
    /// of the guest
    pub mac: MacAddr,
}

/// The leases of a network, to be kept across a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// of DHCPv4
    #[serde(default)]
    pub ipv4: Vec<LeaseRecord>,
    /// of DHCPv6
    #[serde(default)]
    pub ipv6: Vec<LeaseRecord>,
}

/// All services of a gateway.
#[derive(Debug)]
pub struct Services {
    mac: MacAddr,
    mtu: u16,
    /// the gateway's addresses, that of the DNS forwarder included
    own: Vec<IpAddr>,
    /// those at which the DNS forwarder answers
    dns_addresses: Vec<IpAddr>,
    /// of the guests
    domain: Option<dns::Name>,
    /// when something was handled last
    now: Duration,
    random: Random,
    hosts: hosts::Hosts,
    arp: arp::Responder,
    ndp: ndp::Responder,
    ra: Option<ra::Advertiser>,
    dhcp4: Option<(IpAddr, dhcp4::Server)>,
    dhcp6: Option<dhcp6::Server>,
    dns: Option<dns::Forwarder>,
    tftp: Option<tftp::Server>,
}

impl Services {
    /// `seed` makes what must not be guessed (DNS query ids).
    pub fn new(config: &Config, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ipv4 = config.addressing.ipv4.as_ref();
        let ipv6 = config.addressing.ipv6.as_ref();
        let own4 = ipv4.map(|ipv4| [ipv4.gateway, ipv4.dns]);
        let own6 = ipv6.map(|ipv6| [ipv6.gateway, ipv6.dns]);
        let mut own6_all: Vec<_> = own6.into_iter().flatten().collect();
        own6_all.extend(ipv6.map(|_| link_local(config.mac)));
        let own4_all: Vec<_> = own4.into_iter().flatten().collect();
        let mut own: Vec<IpAddr> = own4_all.iter().map(|own| IpAddr::V4(*own)).collect();
        own.extend(own6_all.iter().map(|own| IpAddr::V6(*own)));
        let told = &config.services;
        Self {
            mac: config.mac,
            mtu: config.mtu,
            dns_addresses: setup::dns_addresses(config, &own),
            domain: told.domain.clone(),
            now: Duration::ZERO,
            hosts: hosts::Hosts::new(&told.reservations, MAX_NAMES),
            arp: arp::Responder::new(config.mac, own4_all),
            ndp: ndp::Responder::new(config.mac, own6_all.clone()),
            ra: ipv6
                .filter(|_| told.router_advertisements)
                .map(|ipv6| ra::Advertiser::new(setup::advertiser(config, ipv6), random.u64())),
            dhcp4: ipv4.filter(|_| told.dhcp4).map(|ipv4| {
                let server =
                    dhcp4::Server::new(setup::dhcp4(config, ipv4), told.reservations.clone());
                (ipv4.gateway.into(), server)
            }),
            dhcp6: ipv6.filter(|_| told.dhcp6 != Dhcp6::Off).map(|ipv6| {
                let described = setup::dhcp6(config, ipv6, own6_all);
                dhcp6::Server::new(described, told.reservations.clone())
            }),
            dns: told
                .dns
                .forwarder
                .then(|| setup::forwarder(config, random.u64())),
            tftp: None,
            own,
            random,
        }
    }

    /// Serves files of a directory by TFTP from now on.
    pub fn serve_directory(&mut self, directory: Box<dyn tftp::Directory>) {
        self.tftp = Some(tftp::Server::new(directory, self.mtu, self.random.u64()));
    }

    /// Passes DNS questions on to other servers from now on.
    pub fn set_dns_upstreams(&mut self, servers: &[SocketAddr]) {
        if let Some(dns) = &mut self.dns {
            dns.set_upstreams(servers);
        }
    }

    /// Tells guests to search these domains, besides their own, from now on.
    pub fn set_search(&mut self, domains: &[dns::Name]) {
        let list = config::search_list(self.domain.as_ref(), domains);
        if let Some((_, server)) = &mut self.dhcp4 {
            server.set_search(list.clone());
        }
        if let Some(server) = &mut self.dhcp6 {
            server.set_search(list.clone());
        }
        if let Some(ra) = &mut self.ra {
            ra.set_search(list);
        }
    }

    /// What the DNS forwarder has done.
    pub fn dns_counters(&self) -> dns::DnsCounters {
        self.dns
            .as_ref()
            .map(dns::Forwarder::counters)
            .unwrap_or_default()
    }

    /// The leases that run, to be kept.
    pub fn leases(&self, now: Duration) -> Leases {
        let ipv6 = self.dhcp6.as_ref().and_then(dhcp6::Server::leases);
        Leases {
            ipv4: self
                .dhcp4
                .as_ref()
                .map(|(_, server)| server.leases().export(now))
                .unwrap_or_default(),
            ipv6: ipv6.map(|leases| leases.export(now)).unwrap_or_default(),
        }
    }

    /// A number that changes whenever [`Self::leases`] does, but for the passing of time.
    pub fn leases_generation(&self) -> u64 {
        let ipv4 = self
            .dhcp4
            .as_ref()
            .map_or(0, |(_, server)| server.leases().generation());
        let ipv6 = self.dhcp6.as_ref().and_then(dhcp6::Server::leases);
        ipv4 + ipv6.map_or(0, LeaseTable::generation)
    }

    /// Takes kept leases, which [`Self::leases`] gave `elapsed` ago.
    pub fn restore_leases(&mut self, now: Duration, leases: &Leases, elapsed: Duration) {
        if let Some((_, server)) = &mut self.dhcp4 {
            server.import(now, &leases.ipv4, elapsed, &mut self.hosts);
        }
        if let Some(server) = &mut self.dhcp6 {
            server.import(now, &leases.ipv6, elapsed, &mut self.hosts);
        }
    }

    /// An ARP packet. The gateway has already learned its sender.
    pub fn arp(&mut self, cx: &mut Context<'_>, arp: &Arp) {
        if let Some(reply) = self.arp.answer(arp) {
            let sent = emit_ethernet(cx.out, self.to(arp.sender_mac), ETHERTYPE_ARP, &reply);
            count(cx, sent);
        }
    }

    /// A neighbor or router solicitation or advertisement with hop limit 255. The gateway has already learned its sender.
    pub fn ndp(&mut self, cx: &mut Context<'_>, ndp: &Ndp<'_>) {
        self.now = cx.now;
        let advertised = self.ra.as_mut().and_then(|ra| ra.answer(cx.now, ndp));
        if let Some(answer) = advertised.or_else(|| self.ndp.answer(ndp)) {
            self.send_ndp(cx, answer);
        }
    }

    /// A UDP datagram to an address of the gateway, broadcast or multicast. False: no service has this port.
    pub fn datagram(&mut self, cx: &mut Context<'_>, datagram: &Datagram<'_>) -> bool {
        self.now = cx.now;
        let to = datagram.destination;
        match to.port() {
            dhcp4::SERVER_PORT if to.is_ipv4() && self.dhcp4.is_some() => {
                self.dhcp4_message(cx, datagram);
            }
            dhcp6::SERVER_PORT if to.is_ipv6() && self.dhcp6.is_some() => {
                self.dhcp6_message(cx, datagram);
            }
            dns::spec::PORT if self.dns.is_some() && self.dns_addresses.contains(&to.ip()) => {
                self.dns_query(cx, datagram);
            }
            port if self.own.contains(&to.ip()) && self.has_transfer(port) => {
                self.tftp_packet(cx, datagram);
            }
            _ => return false,
        }
        true
    }

    /// Whether a service accepts TCP connections to this address and port of the gateway's.
    pub fn listens(&self, local: SocketAddr) -> bool {
        let answers = local.port() == dns::spec::PORT && self.dns.is_some();
        answers && self.dns_addresses.contains(&local.ip())
    }

    /// A guest connected to a service. False: it is not to be.
    pub fn stream_open(&mut self, now: Duration, stream: StreamId, by: Station) -> bool {
        let dns = self.dns.as_mut();
        dns.is_some_and(|dns| dns.stream_open(now, stream, by))
    }

    /// A port is gone, and the streams of the guests that are behind it are closed: their questions and transfers end. Those of guests
    /// that were behind it go on, and count where `place_of` finds the guest now, if there is room. Leases stay: they are those of MAC
    /// addresses.
    pub(crate) fn forget_port(
        &mut self,
        host: &mut dyn Host,
        port: PortId,
        place_of: &dyn Fn(MacAddr) -> Option<PortId>,
    ) {
        if let Some(dns) = &mut self.dns {
            dns.forget_port(host, port, place_of);
        }
        if let Some(tftp) = &mut self.tftp {
            tftp.forget_port(port, place_of);
        }
    }

    /// Bytes that the guest, behind a port now, sent, in order; how many were taken. The rest comes again once there was output.
    pub fn stream_input(
        &mut self,
        cx: &mut Context<'_>,
        stream: (StreamId, PortId),
        bytes: &[u8],
    ) -> usize {
        let Some(dns) = &mut self.dns else {
            return bytes.len();
        };
        let mut scene = dns::Scene {
            now: cx.now,
            host: cx.host,
            hosts: &self.hosts,
        };
        dns.stream_input(&mut scene, stream, bytes)
    }

    /// Moves bytes for the guest into `into`; how many. `None`: there will be no more, close.
    pub fn stream_output(&mut self, stream: StreamId, into: &mut [u8]) -> Option<usize> {
        self.dns.as_mut()?.stream_output(stream, into)
    }

    /// The guest sends no more, and all that it sent was taken: the stream ends when it has been answered.
    pub fn stream_finished(&mut self, stream: StreamId) {
        if let Some(dns) = &mut self.dns {
            dns.stream_finished(stream);
        }
    }

    /// The guest closed or reset the connection.
    pub fn stream_closed(&mut self, stream: StreamId) {
        if let Some(dns) = &mut self.dns {
            dns.stream_closed(stream);
        }
    }

    /// A stream that has output since it was asked last, if there is one; each is told once.
    pub fn next_ready_stream(&mut self) -> Option<StreamId> {
        self.dns.as_mut()?.next_ready_stream()
    }

    /// Something happened to a socket with a token of class [`crate::TokenClass::Service`].
    pub fn host_event(&mut self, cx: &mut Context<'_>, token: Token, _ready: Readiness) {
        self.with_dns(cx, |dns, scene| dns.host_event(scene, token));
    }

    /// A datagram of ours could not be sent after all.
    pub(crate) fn unsent(&mut self, cx: &mut Context<'_>, token: Token) {
        self.with_dns(cx, |dns, scene| dns.unsent(scene, token));
    }

    fn with_dns(
        &mut self,
        cx: &mut Context<'_>,
        run: impl FnOnce(&mut dns::Forwarder, &mut dns::Scene<'_>),
    ) {
        self.now = cx.now;
        let Some(dns) = &mut self.dns else {
            return;
        };
        let mut scene = dns::Scene {
            now: cx.now,
            host: cx.host,
            hosts: &self.hosts,
        };
        run(dns, &mut scene);
        self.send_dns(cx);
    }

    /// Timers; when to be called next.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Option<Duration> {
        self.now = cx.now;
        if let Some(advertisement) = self.ra.as_mut().and_then(|ra| ra.poll(cx.now)) {
            self.send_ndp(cx, advertisement);
        }
        let advertisement = self.ra.as_ref().map(ra::Advertiser::next);
        let mut packets = Vec::new();
        let tftp = self.tftp.as_mut();
        let transfer = tftp.and_then(|tftp| tftp.poll(cx.now, &mut packets));
        send_tftp(self.mac, cx, &packets);
        let timeout = self.dns.as_mut().and_then(|dns| {
            let mut scene = dns::Scene {
                now: cx.now,
                host: cx.host,
                hosts: &self.hosts,
            };
            dns.poll(&mut scene)
        });
        self.send_dns(cx);
        [advertisement, transfer, timeout]
            .into_iter()
            .flatten()
            .min()
    }

    /// The address of a guest by its name (a lease's or a reservation's).
    pub fn resolve(&self, name: &str, ipv6: bool) -> Option<IpAddr> {
        let name = hostname(name)?;
        let mut addresses = self.hosts.addresses(self.now, &name)?;
        addresses.find(|address| address.is_ipv6() == ipv6)
    }

    fn lease_table(&self, ipv6: bool) -> Option<&LeaseTable> {
        if ipv6 {
            self.dhcp6.as_ref()?.leases()
        } else {
            Some(self.dhcp4.as_ref()?.1.leases())
        }
    }

    /// The station that an address is reserved for, or leased to, and since when.
    pub fn holder(&self, now: Duration, address: IpAddr) -> Option<(MacAddr, Duration)> {
        self.lease_table(address.is_ipv6())?.holder(now, address)
    }

    /// An address of the station that was given one first, of whatever family, and still has it: for forwards that name no guest.
    pub fn first_lease(&self, ipv6: bool) -> Option<IpAddr> {
        let tables = [false, true].map(|ipv6| self.lease_table(ipv6)).into_iter();
        let firsts = tables.flatten().filter_map(|table| table.first(self.now));
        let (_, first) = firsts.min_by_key(|(since, _)| *since)?;
        self.lease_table(ipv6)?.latest_of(self.now, first)
    }

    fn dhcp4_message(&mut self, cx: &mut Context<'_>, datagram: &Datagram<'_>) {
        let Some((address, server)) = &mut self.dhcp4 else {
            return;
        };
        let source = SocketAddr::new(*address, dhcp4::SERVER_PORT);
        match server.handle(cx.now, datagram.mac, datagram.payload, &mut self.hosts) {
            Ok(reply) => {
                let link = self.to(reply.mac);
                let sent = emit_udp(
                    cx.out,
                    link,
                    source,
                    reply.destination.into(),
                    &reply.payload,
                );
                count(cx, sent);
            }
            Err(dhcp4::Silence::Done) => {}
            Err(_) => cx.counters.drop(DropReason::Service),
        }
    }

    fn dhcp6_message(&mut self, cx: &mut Context<'_>, datagram: &Datagram<'_>) {
        let Some(server) = &mut self.dhcp6 else {
            return;
        };
        let multicast = datagram.destination.ip() == dhcp6::ALL_SERVERS;
        let (now, mac) = (cx.now, datagram.mac);
        match server.handle(now, mac, multicast, datagram.payload, &mut self.hosts) {
            Ok(reply) => {
                let source = SocketAddr::new(link_local(self.mac).into(), dhcp6::SERVER_PORT);
                let link = self.to(mac);
                let sent = emit_udp(cx.out, link, source, datagram.source, &reply);
                count(cx, sent);
            }
            Err(dhcp6::Silence::Done) => {}
            Err(_) => cx.counters.drop(DropReason::Service),
        }
    }

    fn dns_query(&mut self, cx: &mut Context<'_>, datagram: &Datagram<'_>) {
        let Some(dns) = &mut self.dns else {
            return;
        };
        let mut scene = dns::Scene {
            now: cx.now,
            host: cx.host,
            hosts: &self.hosts,
        };
        let client = dns::Client::Udp {
            by: Station {
                port: datagram.port,
                mac: datagram.mac,
            },
            guest: datagram.source,
            local: datagram.destination,
        };
        dns.query(&mut scene, client, datagram.payload);
        self.send_dns(cx);
    }

    fn has_transfer(&self, port: u16) -> bool {
        self.tftp.as_ref().is_some_and(|tftp| tftp.has(port))
    }

    fn tftp_packet(&mut self, cx: &mut Context<'_>, datagram: &Datagram<'_>) {
        let Some(tftp) = &mut self.tftp else {
            return;
        };
        let ends = tftp::Ends {
            mac: datagram.mac,
            guest: datagram.source,
            local: datagram.destination,
        };
        let mut packets = Vec::new();
        let from = (datagram.port, ends);
        tftp.handle(cx.now, from, datagram.payload, &mut packets);
        send_tftp(self.mac, cx, &packets);
    }

    fn send_dns(&mut self, cx: &mut Context<'_>) {
        let replies = self.dns.as_mut().map(dns::Forwarder::take_replies);
        for reply in replies.unwrap_or_default() {
            let link = self.to(reply.mac);
            let sent = emit_udp(cx.out, link, reply.local, reply.guest, &reply.payload);
            count(cx, sent);
        }
    }

    fn send_ndp(&self, cx: &mut Context<'_>, answer: ndp::Outgoing) {
        let header = IpHeader {
            source: answer.source.into(),
            destination: answer.destination.into(),
            protocol: protocol::ICMPV6,
            // RFC 4861: proof that it did not come from beyond a router
            hop_limit: 255,
            traffic_class: 0,
        };
        let mut message = answer.message;
        let pseudo = Pseudo::V6(answer.source, answer.destination);
        let sum = pseudo.sum(protocol::ICMPV6, message.len()).bytes(&message);
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum.checksum());
        }
        let sent = emit_ip(cx.out, self.to(answer.mac), &header, &message);
        count(cx, sent);
    }

    fn to(&self, destination: MacAddr) -> Link {
        Link {
            source: self.mac,
            destination,
        }
    }
}

/// All of these protocols repeat what is lost: an answer that finds no room is counted, not kept.
fn count(cx: &mut Context<'_>, sent: bool) {
    if !sent {
        cx.counters.drop(DropReason::NoRoom);
    }
}

fn send_tftp(mac: MacAddr, cx: &mut Context<'_>, packets: &[tftp::Outgoing]) {
    for packet in packets {
        let link = Link {
            source: mac,
            destination: packet.ends.mac,
        };
        let (local, guest) = (packet.ends.local, packet.ends.guest);
        let sent = emit_udp(cx.out, link, local, guest, &packet.payload);
        count(cx, sent);
    }
}

#[cfg(test)]
#[path = "services_test.rs"]
mod tests;
