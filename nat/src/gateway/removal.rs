//! A port of the network is removed, and whoever was behind it with it.
use super::Gateway;
use super::output::Nowhere;
use crate::env::Env;
use crate::host::Host;
use std::time::Duration;
use switch::PortId;

impl<H: Host> Gateway<H> {
    /// A port is gone, and all of its frames were handed in: its flows end, its guests and what counted against it are forgotten.
    /// Who gets its number next begins with nothing. Leases stay: they are those of MAC addresses.
    pub fn forget_port(&mut self, now: Duration, port: PortId) {
        // Whom a frame could be for is not there any more.
        let env = env!(self, now, &mut Nowhere);
        let is_gone = |env: &Env<'_>, guest| env.guests.is_behind(guest, port);
        self.tcp.end(env, is_gone);
        self.datagrams.end(env, is_gone);
        let place_of = |mac| env.guests.port_of(env.guests.id_of(mac)?);
        env.services.forget_port(env.host, port, &place_of);
        self.reassembly.end(&mut self.guests, |guests, guest| {
            guests.is_behind(guest, port)
        });
        self.guests.forget_port(port);
    }
}

#[cfg(test)]
#[path = "removal_test.rs"]
mod tests;
