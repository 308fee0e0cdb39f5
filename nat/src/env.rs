//! What the parts of the gateway share while they handle something.
use crate::MacAddr;
use crate::config::Config;
use crate::counters::Counters;
use crate::frame::{Fragmenter, Link};
use crate::guests::Guests;
use crate::host::Host;
use crate::meta::Output;
use crate::services::{Context, Services};
use crate::tcp::{Pool, Windows};
use std::net::IpAddr;
use std::time::Duration;

pub(crate) struct Env<'a> {
    pub(crate) now: Duration,
    pub(crate) config: &'a Config,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) host: &'a mut dyn Host,
    pub(crate) services: &'a mut Services,
    pub(crate) guests: &'a mut Guests,
    pub(crate) pool: &'a mut Pool,
    pub(crate) windows: &'a mut Windows,
    pub(crate) counters: &'a mut Counters,
    pub(crate) fragmenter: &'a mut Fragmenter,
}

impl Env<'_> {
    /// What a service gets.
    pub(crate) fn with_services<R>(
        &mut self,
        run: impl FnOnce(&mut Services, &mut Context<'_>) -> R,
    ) -> R {
        let mut cx = Context {
            now: self.now,
            host: self.host,
            out: self.out,
            counters: self.counters,
        };
        run(self.services, &mut cx)
    }

    /// Stations of a frame to a guest.
    pub(crate) fn link_to(&self, guest: MacAddr) -> Link {
        Link {
            source: self.config.mac,
            destination: guest,
        }
    }

    /// The gateway's own address, of the family of another; `None`: the network does not have that family.
    pub(crate) fn gateway_address(&self, like: IpAddr) -> Option<IpAddr> {
        self.config.addressing.gateway(like)
    }
}
