//! The gateway: one object that takes frames, events and time, and returns frames.
use crate::config::Config;
use crate::counters::Counters;
use crate::forward::Forward;
use crate::frame::{self, Content};
use crate::host::{Host, HostError, Readiness, Token, TokenClass};
use crate::meta::{FrameMeta, Output};
use crate::services::{Context, Services};
use crate::status::FlowStatus;
use std::time::Duration;

/// A gateway between a network of guests and a [`Host`].
#[derive(Debug)]
pub struct Gateway<H: Host> {
    config: Config,
    host: H,
    services: Services,
    counters: Counters,
}

impl<H: Host> Gateway<H> {
    /// A gateway. `seed` makes what must not be guessed: sequence numbers, DNS query ids, the order of hash tables.
    pub fn new(config: Config, host: H, seed: u64) -> Self {
        Self {
            services: Services::new(&config, seed),
            config,
            host,
            counters: Counters::default(),
        }
    }

    /// A frame from the network.
    pub fn input(&mut self, now: Duration, frame: &[u8], _meta: FrameMeta, out: &mut dyn Output) {
        match frame::parse(frame) {
            Ok(Content::Arp(arp)) => {
                let mut cx = Context {
                    now,
                    host: &mut self.host,
                    out,
                    counters: &mut self.counters,
                };
                self.services.arp(&mut cx, &arp);
            }
            Ok(Content::Ip(_)) => {}
            Err(reason) => self.counters.drop(reason),
        }
    }

    /// Something happened to a host socket.
    pub fn host_event(
        &mut self,
        now: Duration,
        token: Token,
        ready: Readiness,
        out: &mut dyn Output,
    ) {
        if token.class() == Some(TokenClass::Service) {
            let mut cx = Context {
                now,
                host: &mut self.host,
                out,
                counters: &mut self.counters,
            };
            self.services.host_event(&mut cx, token, ready);
        }
    }

    /// Sends what is ready, and runs timers. Returns when to be called next, if nothing else happens; `Some(now)` or earlier: at
    /// once, or as soon as there is room in `out` again.
    pub fn poll(&mut self, now: Duration, out: &mut dyn Output) -> Option<Duration> {
        let mut cx = Context {
            now,
            host: &mut self.host,
            out,
            counters: &mut self.counters,
        };
        self.services.poll(&mut cx)
    }

    /// Every flow and mapping, for a table.
    pub fn flows(&self, _now: Duration) -> impl Iterator<Item = FlowStatus> + '_ {
        std::iter::empty()
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
