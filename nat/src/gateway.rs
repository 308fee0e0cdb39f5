//! The gateway: one object that takes frames, events and time, and returns frames.
use crate::bytes::get;
use crate::config::{Config, link_local};
use crate::counters::{Counters, DropReason};
use crate::datagram::{DatagramTable, Udp, icmp_checksum_is_right};
use crate::env::Env;
use crate::forward::{Forward, ForwardTable};
use crate::frame::{self, Arp, Content, Datagram, Fragmenter, Ndp, Packet, protocol};
use crate::guests::Guests;
use crate::host::{Host, HostError, Readiness, Token, TokenClass};
use crate::icmp::{self, About, TooBig};
use crate::meta::{Checksum, FrameMeta, Output};
use crate::reassembly::Reassembly;
use crate::services::Services;
use crate::status::FlowStatus;
use crate::tcp::{Pool, TcpTable, Windows};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use switch::PortId;

/// A gateway between a network of guests and a [`Host`].
#[derive(Debug)]
pub struct Gateway<H: Host> {
    config: Config,
    host: H,
    services: Services,
    counters: Counters,
    guests: Guests,
    pool: Pool,
    windows: Windows,
    tcp: TcpTable,
    datagrams: DatagramTable,
    /// Datagrams were polled before TCP the last time.
    datagrams_first: bool,
    reassembly: Reassembly,
    forwards: ForwardTable,
    fragmenter: Fragmenter,
}

/// The parts that are shared, beside the table that is to use them.
macro_rules! env {
    ($gateway:ident, $now:expr, $out:expr) => {
        &mut Env {
            now: $now,
            config: &$gateway.config,
            out: $out,
            host: &mut $gateway.host,
            services: &mut $gateway.services,
            guests: &mut $gateway.guests,
            pool: &mut $gateway.pool,
            windows: &mut $gateway.windows,
            counters: &mut $gateway.counters,
            fragmenter: &mut $gateway.fragmenter,
        }
    };
}

mod output;
mod removal;
mod unsent;

use output::{Counting, Nowhere};

impl<H: Host> Gateway<H> {
    /// A gateway. `seed` makes what must not be guessed: sequence numbers, DNS query ids, the order of hash tables.
    pub fn new(config: Config, host: H, seed: u64) -> Self {
        Self {
            services: Services::new(&config, seed),
            guests: Guests::new(config.quotas, seed),
            pool: Pool::default(),
            windows: Windows::new(config.link_room),
            tcp: TcpTable::new(seed),
            datagrams: DatagramTable::new(seed),
            datagrams_first: false,
            reassembly: Reassembly::new(seed),
            forwards: ForwardTable::new(),
            fragmenter: Fragmenter {
                mtu: config.mtu,
                // No secret, but not the same after every start: a guest may still have parts of an earlier one.
                next_id: u32::try_from(seed >> 32).unwrap_or(0),
            },
            config,
            host,
            counters: Counters::default(),
        }
    }

    /// A frame from the network, and the port that it came in by.
    pub fn input(
        &mut self,
        now: Duration,
        port: PortId,
        (frame, meta): (&[u8], FrameMeta),
        out: &mut dyn Output,
    ) {
        let out = &mut Counting::new(out);
        self.counters.frames_in += 1;
        self.counters.bytes_in += frame.len() as u64;
        let outcome = match frame::parse(frame) {
            Ok(Content::Arp(arp)) => self.input_arp(now, port, &arp, out),
            Ok(Content::Ip(packet)) => self.input_packet(now, port, (&packet, meta), out),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = outcome {
            self.counters.drop(reason);
        }
        out.add_to(&mut self.counters);
    }

    fn input_arp(
        &mut self,
        now: Duration,
        port: PortId,
        arp: &Arp,
        out: &mut dyn Output,
    ) -> Result<(), DropReason> {
        let guest = self
            .guests
            .seen(arp.sender_mac, port, now)
            .ok_or(DropReason::GuestQuota)?;
        let sender = arp.sender.into();
        let addressing = &self.config.addressing;
        if addressing.is_inside(sender) && !addressing.is_gateway(sender) {
            let holder = || self.services.holder(now, sender);
            self.guests.learn(guest, sender, now, holder);
        }
        env!(self, now, out).with_services(|services, cx| services.arp(cx, arp));
        Ok(())
    }

    fn input_packet(
        &mut self,
        now: Duration,
        port: PortId,
        (packet, meta): (&Packet<'_>, FrameMeta),
        out: &mut dyn Output,
    ) -> Result<(), DropReason> {
        let to_group = !packet.link.destination.is_unicast();
        // What a switch floods is for somebody else; what is for one address is not for a group (RFC 1122, 3.3.6).
        if packet.link.destination != self.config.mac
            && !(to_group && self.is_group(packet.destination))
        {
            return Err(DropReason::BadDestination);
        }
        let guest = self
            .guests
            .seen(packet.link.source, port, now)
            .ok_or(DropReason::GuestQuota)?;
        self.check_source(now, guest, packet)?;
        if packet.fragment.is_none() {
            return self.input_whole(now, guest, packet, meta, out);
        }
        let bounds = (&mut self.guests, &self.config.quotas, &self.config.timeouts);
        let Some(whole) = self.reassembly.input(now, guest, packet, bounds)? else {
            return Ok(());
        };
        let packet = Packet {
            protocol: whole.protocol,
            fragment: None,
            dont_fragment: false,
            whole: &whole.quote,
            payload: &whole.payload,
            ..*packet
        };
        self.input_whole(now, guest, &packet, FrameMeta::default(), out)
    }

    /// A packet that is no fragment.
    fn input_whole(
        &mut self,
        now: Duration,
        guest: u32,
        packet: &Packet<'_>,
        meta: FrameMeta,
        out: &mut dyn Output,
    ) -> Result<(), DropReason> {
        let verify = meta.checksum == Checksum::Unknown;
        match (packet.protocol, packet.source) {
            (protocol::TCP, _) => {
                self.tcp.input(env!(self, now, out), guest, packet, verify);
                Ok(())
            }
            (protocol::UDP, _) => {
                let udp = Udp::parse(packet, verify)?;
                if self.input_service(now, guest, packet, &udp, out) {
                    return Ok(());
                }
                self.check_routable(packet)?;
                let env = env!(self, now, out);
                self.datagrams.input_udp(env, guest, packet, &udp, meta)
            }
            (protocol::ICMP, IpAddr::V4(_)) | (protocol::ICMPV6, IpAddr::V6(_)) => {
                self.input_icmp(now, guest, packet, out)
            }
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    /// Hands a datagram to the services, if it is for the gateway. False: it is not theirs.
    fn input_service(
        &mut self,
        now: Duration,
        guest: u32,
        packet: &Packet<'_>,
        udp: &Udp<'_>,
        out: &mut dyn Output,
    ) -> bool {
        if !self.is_own(packet.destination) && !self.is_group(packet.destination) {
            return false;
        }
        let Some(port) = self.guests.port_of(guest) else {
            return false;
        };
        let datagram = Datagram {
            port,
            mac: packet.link.source,
            source: SocketAddr::new(packet.source, udp.source_port),
            destination: SocketAddr::new(packet.destination, udp.destination_port),
            payload: udp.payload,
        };
        env!(self, now, out).with_services(|services, cx| services.datagram(cx, &datagram))
    }

    fn input_icmp(
        &mut self,
        now: Duration,
        guest: u32,
        packet: &Packet<'_>,
        out: &mut dyn Output,
    ) -> Result<(), DropReason> {
        let message = packet.payload;
        let [kind, code] = get(message, 0).ok_or(DropReason::Malformed)?;
        if message.len() < 8 {
            return Err(DropReason::Malformed);
        }
        if !icmp_checksum_is_right(packet) {
            return Err(DropReason::BadChecksum);
        }
        match (packet.source, packet.destination, kind, code) {
            (IpAddr::V6(source), IpAddr::V6(destination), 133..=137, 0)
                if packet.hop_limit == 255 =>
            {
                let ndp = Ndp {
                    mac: packet.link.source,
                    source,
                    destination,
                    message,
                };
                env!(self, now, out).with_services(|services, cx| services.ndp(cx, &ndp));
                Ok(())
            }
            (IpAddr::V4(_), _, icmp::ECHO_V4, 0) | (IpAddr::V6(_), _, icmp::ECHO_V6, 0) => {
                self.check_routable(packet)?;
                let env = env!(self, now, out);
                if env.config.addressing.is_gateway(packet.destination)
                    || packet.destination == IpAddr::V6(link_local(env.config.mac))
                {
                    icmp::answer_echo(env, packet)
                } else {
                    self.datagrams.input_echo(env, guest, packet, message)
                }
            }
            (IpAddr::V4(_), _, 3, 4) | (IpAddr::V6(_), _, 2, 0) => {
                let rest = message.get(4..).unwrap_or_default();
                let told = TooBig::parse(packet.source.is_ipv4(), rest);
                let known = told.is_some_and(|told| match told.about {
                    About::Udp => self.datagrams.too_big(guest, &told),
                    About::Tcp(seq) => self.tcp.too_big(now, guest, &told, seq),
                });
                known.then_some(()).ok_or(DropReason::UnknownIcmp)
            }
            _ => Err(DropReason::UnknownIcmp),
        }
    }

    /// An address that is no guest's alone.
    fn is_group(&self, address: IpAddr) -> bool {
        address.is_multicast()
            || address == IpAddr::V4(Ipv4Addr::BROADCAST)
            || self.config.addressing.is_broadcast(address)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.config.addressing.is_gateway(address)
            || address == IpAddr::V6(link_local(self.config.mac))
    }

    /// Who has no address of the network, or one of its link only, speaks with the gateway itself, not with the world.
    fn check_routable(&self, packet: &Packet<'_>) -> Result<(), DropReason> {
        if self.config.addressing.is_inside(packet.source)
            || (self.is_own(packet.destination) && !packet.source.is_unspecified())
        {
            Ok(())
        } else {
            Err(DropReason::BadSource)
        }
    }

    /// A source must be an address that a guest of this network may have; unspecified is for who has none yet.
    fn check_source(
        &mut self,
        now: Duration,
        guest: u32,
        packet: &Packet<'_>,
    ) -> Result<(), DropReason> {
        let addressing = &self.config.addressing;
        let source = packet.source;
        let local = matches!(source, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if source.is_unspecified() {
            let datagram = matches!(packet.protocol, protocol::UDP | protocol::ICMPV6);
            return if datagram {
                Ok(())
            } else {
                Err(DropReason::BadSource)
            };
        }
        if addressing.is_gateway(source)
            || source == IpAddr::V6(link_local(self.config.mac))
            || !(local || addressing.is_inside(source) && !addressing.is_broadcast(source))
        {
            return Err(DropReason::BadSource);
        }
        let holder = || self.services.holder(now, source);
        self.guests.learn(guest, source, now, holder);
        Ok(())
    }

    /// Something happened to a host socket.
    pub fn host_event(
        &mut self,
        now: Duration,
        token: Token,
        ready: Readiness,
        out: &mut dyn Output,
    ) {
        let out = &mut Counting::new(out);
        match token.class() {
            Some(TokenClass::Tcp) => self.tcp.host_event(token, ready),
            Some(TokenClass::Udp | TokenClass::Echo) => {
                self.datagrams
                    .host_event(env!(self, now, out), token, ready);
            }
            Some(TokenClass::Forward) => self.forwards.host_event(token, ready),
            Some(TokenClass::Service) => env!(self, now, out)
                .with_services(|services, cx| services.host_event(cx, token, ready)),
            None => {}
        }
        out.add_to(&mut self.counters);
    }

    /// Sends what is ready, and runs timers. Returns when to be called next, if nothing else happens; `Some(now)` or earlier: at
    /// once, or as soon as there is room in `out` again.
    pub fn poll(&mut self, now: Duration, out: &mut dyn Output) -> Option<Duration> {
        let out = &mut Counting::new(out);
        let services = env!(self, now, out).with_services(Services::poll);
        while let Some(stream) = self.services.next_ready_stream() {
            self.tcp.stream_ready(stream);
        }
        let forwards = self
            .forwards
            .poll(env!(self, now, out), &mut self.tcp, &mut self.datagrams);
        // They take turns at what room there is in `out`: either could fill it each time.
        self.datagrams_first = !self.datagrams_first;
        let first = self
            .datagrams_first
            .then(|| self.datagrams.poll(env!(self, now, out)));
        let tcp = self.tcp.poll(env!(self, now, out));
        let datagrams = first.unwrap_or_else(|| self.datagrams.poll(env!(self, now, out)));
        let (reassembly, late) = self.reassembly.poll(now, &mut self.guests);
        for _ in 0..late {
            self.counters.drop(DropReason::ReassemblyQuota);
        }
        out.add_to(&mut self.counters);
        [services, forwards, tcp, datagrams, reassembly]
            .into_iter()
            .flatten()
            .min()
    }

    /// Every flow and mapping, for a table.
    pub fn flows(&self, now: Duration) -> impl Iterator<Item = FlowStatus> + '_ {
        self.tcp.flows(now).chain(self.datagrams.flows(now))
    }

    /// What a guest has.
    #[cfg(test)]
    pub(crate) fn guest_of(&self, mac: crate::MacAddr) -> Option<crate::account::Held> {
        self.guests.held_by(mac)
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The services, for leases and their like.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The services, to be changed.
    pub fn services_mut(&mut self) -> &mut Services {
        &mut self.services
    }

    /// The host.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    /// What the gateway was told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Begins a forward: opens all of its ports. An error: one is busy, its address is not there…; then nothing has changed.
    pub fn forward_add(&mut self, now: Duration, forward: &Forward) -> Result<(), HostError> {
        let env = env!(self, now, &mut Nowhere);
        self.forwards.add(env, forward)
    }

    /// Ends a forward; its TCP connections stay. False: there is none like it.
    pub fn forward_remove(&mut self, forward: &Forward) -> bool {
        let env = env!(self, Duration::ZERO, &mut Nowhere);
        self.forwards.remove(env, &mut self.datagrams, forward)
    }

    /// The forwards.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.forwards.list()
    }
}
