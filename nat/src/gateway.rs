//! The gateway: one object that takes frames, events and time, and returns frames.
use crate::config::{Config, link_local};
use crate::counters::{Counters, DropReason};
use crate::env::Env;
use crate::forward::Forward;
use crate::frame::{self, Arp, Content, Packet, protocol};
use crate::guests::Guests;
use crate::host::{Host, HostError, Readiness, Token, TokenClass};
use crate::meta::{Checksum, FrameMeta, Output};
use crate::services::Services;
use crate::status::FlowStatus;
use crate::tcp::{Pool, TcpTable};
use std::net::IpAddr;
use std::time::Duration;

/// A gateway between a network of guests and a [`Host`].
#[derive(Debug)]
pub struct Gateway<H: Host> {
    config: Config,
    host: H,
    services: Services,
    counters: Counters,
    guests: Guests,
    pool: Pool,
    tcp: TcpTable,
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
            counters: &mut $gateway.counters,
        }
    };
}

impl<H: Host> Gateway<H> {
    /// A gateway. `seed` makes what must not be guessed: sequence numbers, DNS query ids, the order of hash tables.
    pub fn new(config: Config, host: H, seed: u64) -> Self {
        Self {
            services: Services::new(&config, seed),
            guests: Guests::new(config.quotas, seed),
            pool: Pool::default(),
            tcp: TcpTable::new(seed),
            config,
            host,
            counters: Counters::default(),
        }
    }

    /// A frame from the network.
    pub fn input(&mut self, now: Duration, frame: &[u8], meta: FrameMeta, out: &mut dyn Output) {
        self.counters.frames_in += 1;
        self.counters.bytes_in += frame.len() as u64;
        let outcome = match frame::parse(frame) {
            Ok(Content::Arp(arp)) => self.input_arp(now, &arp, out),
            Ok(Content::Ip(packet)) => {
                self.input_packet(now, &packet, meta.checksum == Checksum::Unknown, out)
            }
            Err(reason) => Err(reason),
        };
        if let Err(reason) = outcome {
            self.counters.drop(reason);
        }
    }

    fn input_arp(
        &mut self,
        now: Duration,
        arp: &Arp,
        out: &mut dyn Output,
    ) -> Result<(), DropReason> {
        let guest = self
            .guests
            .seen(arp.sender_mac, now)
            .ok_or(DropReason::GuestQuota)?;
        let sender = arp.sender.into();
        let addressing = &self.config.addressing;
        if addressing.is_inside(sender) && !addressing.is_gateway(sender) {
            self.guests.learn(guest, sender, now);
        }
        env!(self, now, out).with_services(|services, cx| services.arp(cx, arp));
        Ok(())
    }

    fn input_packet(
        &mut self,
        now: Duration,
        packet: &Packet<'_>,
        verify: bool,
        out: &mut dyn Output,
    ) -> Result<(), DropReason> {
        let guest = self
            .guests
            .seen(packet.link.source, now)
            .ok_or(DropReason::GuestQuota)?;
        self.check_source(now, guest, packet)?;
        match packet.protocol {
            protocol::TCP => {
                self.tcp.input(env!(self, now, out), guest, packet, verify);
                Ok(())
            }
            _ => Err(DropReason::UnknownProtocol),
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
        self.guests.learn(guest, source, now);
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
        match token.class() {
            Some(TokenClass::Tcp) => self.tcp.host_event(token, ready),
            Some(TokenClass::Service) => env!(self, now, out)
                .with_services(|services, cx| services.host_event(cx, token, ready)),
            _ => {}
        }
    }

    /// Sends what is ready, and runs timers. Returns when to be called next, if nothing else happens; `Some(now)` or earlier: at
    /// once, or as soon as there is room in `out` again.
    pub fn poll(&mut self, now: Duration, out: &mut dyn Output) -> Option<Duration> {
        let services = env!(self, now, out).with_services(Services::poll);
        while let Some(stream) = self.services.next_ready_stream() {
            self.tcp.stream_ready(stream);
        }
        let tcp = self.tcp.poll(env!(self, now, out));
        [services, tcp].into_iter().flatten().min()
    }

    /// Every flow and mapping, for a table.
    pub fn flows(&self, now: Duration) -> impl Iterator<Item = FlowStatus> + '_ {
        self.tcp.flows(now)
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

    /// Begins a forward. An error: its port is busy, its address is not there…; then nothing has changed.
    pub fn forward_add(&mut self, _now: Duration, _forward: &Forward) -> Result<(), HostError> {
        Ok(())
    }

    /// Ends a forward; its connections stay. False: there is none like it.
    pub fn forward_remove(&mut self, _forward: &Forward) -> bool {
        false
    }

    /// The forwards.
    pub fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.config.forwards.iter()
    }
}
