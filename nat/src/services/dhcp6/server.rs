//! The server of RFC 8415, 18.3: addresses for who wants them (stateful), and what else there is to know for all (stateless).
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::message::{Association, Request, put_option, status as status_value};
use super::spec::{kind, option, status};
use crate::services::cursor::{Put, seconds};
use crate::services::dns::name::{Name, plain_list};
use crate::services::hosts::{Hosts, Reservation, hostname};
use crate::services::leases::{Client, LeaseRecord, LeaseTable};
use crate::{MacAddr, Prefix};

/// How long an advertised address waits for its client.
const OFFER_TIME: Duration = Duration::from_mins(1);
/// How long an address that a client found in use is left alone.
const DECLINE_TIME: Duration = Duration::from_mins(10);

/// What the server tells its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// the gateway's MAC address, which its DUID is made of
    pub mac: MacAddr,
    /// the network's prefix
    pub prefix: Prefix,
    /// the gateway's own addresses
    pub own: Vec<Ipv6Addr>,
    /// addresses to give out; `None`: only what else there is to know
    pub pool: Option<RangeInclusive<Ipv6Addr>>,
    /// name servers
    pub dns: Vec<Ipv6Addr>,
    /// domains to look names up in
    pub search: Vec<Name>,
    /// how long a lease runs
    pub lease_time: Duration,
    /// whether a client may get its lease in two messages
    pub rapid_commit: bool,
    /// network boot: where the file is (RFC 5970)
    pub boot_url: Option<String>,
}

/// Why a message got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// not a DHCPv6 message, or not one that a client sends
    Malformed,
    /// meant for another server
    NotOurs,
    /// nothing to say about it
    Done,
}

/// The DHCPv6 server of one network.
#[derive(Debug)]
pub struct Server {
    config: Config,
    duid: Vec<u8>,
    leases: Option<LeaseTable>,
    reservations: Vec<Reservation>,
}

/// What a message is answered in.
struct Scene<'a> {
    now: Duration,
    mac: MacAddr,
    duid: &'a [u8],
    name: Option<String>,
    hosts: &'a mut Hosts,
}

impl Server {
    /// A server without leases.
    pub fn new(config: Config, reservations: Vec<Reservation>) -> Self {
        // DUID-LL of Ethernet (11.4)
        let mut duid = vec![0, 3, 0, 1];
        duid.put(config.mac.as_bytes());
        let own: Vec<IpAddr> = config.own.iter().map(|address| (*address).into()).collect();
        let pool = config.pool.clone();
        let leases = pool.map(|pool| {
            let pool = (*pool.start()).into()..=(*pool.end()).into();
            LeaseTable::new(pool, &own, &reservations)
        });
        Self {
            config,
            duid,
            leases,
            reservations,
        }
    }

    /// Tells clients to search these domains from now on.
    pub fn set_search(&mut self, search: Vec<Name>) {
        self.config.search = search;
    }

    /// The leases, if it gives any.
    pub fn leases(&self) -> Option<&LeaseTable> {
        self.leases.as_ref()
    }

    /// Takes leases that were kept `elapsed` ago.
    pub fn import(
        &mut self,
        now: Duration,
        records: &[LeaseRecord],
        elapsed: Duration,
        hosts: &mut Hosts,
    ) {
        let Some(leases) = &mut self.leases else {
            return;
        };
        leases.import(now, records, elapsed);
        for lease in leases.iter() {
            if let Some(name) = &lease.hostname {
                hosts.claim(now, name, lease.mac, lease.address, lease.expires);
            }
        }
    }

    /// Answers one message from the station `mac`; `multicast`: it was sent to [`ALL_SERVERS`](super::ALL_SERVERS), as it should.
    pub fn handle(
        &mut self,
        now: Duration,
        mac: MacAddr,
        multicast: bool,
        payload: &[u8],
        hosts: &mut Hosts,
    ) -> Result<Vec<u8>, Silence> {
        let request = Request::parse(payload).ok_or(Silence::Malformed)?;
        self.check(&request)?;
        let duid = request.client.unwrap_or_default();
        if !multicast {
            return self.refuse_unicast(&request);
        }
        let mut scene = Scene {
            now,
            mac,
            duid,
            name: self.reserved_name(mac).or_else(|| called(&request)),
            hosts,
        };
        match request.kind {
            kind::SOLICIT if request.rapid_commit && self.config.rapid_commit => {
                let mut reply = self.start(kind::REPLY, &request);
                put_option(&mut reply, option::RAPID_COMMIT, &[]);
                self.assign(&mut scene, &request, true, &mut reply);
                Ok(self.finish(reply))
            }
            kind::SOLICIT => {
                let mut reply = self.start(kind::ADVERTISE, &request);
                put_option(&mut reply, option::PREFERENCE, &[255]);
                self.assign(&mut scene, &request, false, &mut reply);
                Ok(self.finish(reply))
            }
            kind::REQUEST | kind::RENEW | kind::REBIND => {
                let mut reply = self.start(kind::REPLY, &request);
                self.assign(&mut scene, &request, true, &mut reply);
                Ok(self.finish(reply))
            }
            kind::CONFIRM => self.confirm(&request),
            kind::RELEASE | kind::DECLINE => Ok(self.give_back(&mut scene, &request)),
            _ => {
                let mut reply = self.start(kind::REPLY, &request);
                let refresh = seconds(self.config.lease_time.max(Duration::from_mins(10)));
                put_option(&mut reply, option::REFRESH_TIME, &refresh.to_be_bytes());
                Ok(self.finish(reply))
            }
        }
    }

    /// Which identifiers a message must and must not have (RFC 8415, 16).
    fn check(&self, request: &Request<'_>) -> Result<(), Silence> {
        let (client, server) = match request.kind {
            kind::SOLICIT | kind::CONFIRM | kind::REBIND => (true, false),
            kind::REQUEST | kind::RENEW | kind::RELEASE | kind::DECLINE => (true, true),
            kind::INFORMATION_REQUEST => (false, request.server.is_some()),
            _ => return Err(Silence::Malformed),
        };
        let complete = request.client.is_some() || !client;
        if !complete || request.server.is_some() != server {
            return Err(Silence::Malformed);
        }
        let ours = request.server.is_none_or(|server| server == self.duid);
        if ours { Ok(()) } else { Err(Silence::NotOurs) }
    }

    /// RFC 8415, 18.3.2 and others: clients are not told that they may use unicast.
    fn refuse_unicast(&self, request: &Request<'_>) -> Result<Vec<u8>, Silence> {
        if request.server.is_none() || request.kind == kind::INFORMATION_REQUEST {
            return Err(Silence::Malformed);
        }
        let mut reply = self.start(kind::REPLY, request);
        let value = status_value(status::USE_MULTICAST, "send to ff02::1:2");
        put_option(&mut reply, option::STATUS, &value);
        Ok(reply)
    }

    fn start(&self, kind: u8, request: &Request<'_>) -> Vec<u8> {
        let mut message = vec![kind];
        message.put(&request.transaction);
        if let Some(client) = request.client {
            put_option(&mut message, option::CLIENT_ID, client);
        }
        put_option(&mut message, option::SERVER_ID, &self.duid);
        message
    }

    fn finish(&self, mut message: Vec<u8>) -> Vec<u8> {
        let config = &self.config;
        let servers: Vec<u8> = config.dns.iter().flat_map(Ipv6Addr::octets).collect();
        if !servers.is_empty() {
            put_option(&mut message, option::DNS, &servers);
        }
        if !config.search.is_empty() {
            let list = plain_list(&config.search);
            put_option(&mut message, option::DOMAIN_LIST, &list);
        }
        if let Some(url) = &config.boot_url {
            put_option(&mut message, option::BOOT_FILE_URL, url.as_bytes());
        }
        message
    }

    /// Addresses for all associations of a message; `bind`: for good, not as an offer.
    fn assign(
        &mut self,
        scene: &mut Scene<'_>,
        request: &Request<'_>,
        bind: bool,
        reply: &mut Vec<u8>,
    ) {
        for association in &request.associations {
            let address = self.address_for(scene, association, bind);
            let value = self.describe(association, address);
            put_option(reply, option::IA_NA, &value);
        }
        for iaid in &request.delegations {
            let mut value = Vec::new();
            value.put_u32(*iaid);
            value.put(&[0; 8]);
            let none = status_value(status::NO_PREFIX, "no prefixes here");
            put_option(&mut value, option::STATUS, &none);
            put_option(reply, option::IA_PD, &value);
        }
    }

    fn address_for(
        &mut self,
        scene: &mut Scene<'_>,
        association: &Association,
        bind: bool,
    ) -> Option<Ipv6Addr> {
        let leases = self.leases.as_mut()?;
        let id = client_id(scene.duid, association.iaid);
        let client = Client {
            id: &id,
            mac: scene.mac,
        };
        let wanted = association.addresses.first().map(|wanted| (*wanted).into());
        let offer_until = scene.now.saturating_add(OFFER_TIME);
        let address = leases.offer(scene.now, client, wanted, offer_until)?;
        if bind {
            let until = scene.now.saturating_add(self.config.lease_time);
            let name = scene.name.clone();
            if !leases.bind(scene.now, client, address, name, until) {
                return None;
            }
            match &scene.name {
                Some(name)
                    if scene
                        .hosts
                        .claim(scene.now, name, scene.mac, address, until) => {}
                _ => scene.hosts.release(address),
            }
        }
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    /// What an association is told: its address, and that others that it named are none of its own (18.3.4).
    fn describe(&self, association: &Association, address: Option<Ipv6Addr>) -> Vec<u8> {
        let lease = seconds(self.config.lease_time);
        let share = |tenths: u64| u32::try_from(u64::from(lease) * tenths / 10).unwrap_or(u32::MAX);
        let mut value = Vec::new();
        value.put_u32(association.iaid);
        value.put_u32(share(5));
        value.put_u32(share(8));
        let granted = address.map(|address| (address, lease));
        let others = association.addresses.iter();
        let others = others.filter(|other| Some(**other) != address);
        for (address, lifetime) in granted.into_iter().chain(others.map(|other| (*other, 0))) {
            let mut inner = address.octets().to_vec();
            inner.put_u32(lifetime);
            inner.put_u32(lifetime);
            put_option(&mut value, option::IA_ADDRESS, &inner);
        }
        if address.is_none() {
            let none = status_value(status::NO_ADDRESSES, "no address left");
            put_option(&mut value, option::STATUS, &none);
        }
        value
    }

    /// 18.3.3: is the client still on this network?
    fn confirm(&self, request: &Request<'_>) -> Result<Vec<u8>, Silence> {
        let mut addresses = request
            .associations
            .iter()
            .flat_map(|ia| &ia.addresses)
            .peekable();
        if addresses.peek().is_none() {
            return Err(Silence::Done);
        }
        let on_link = addresses.all(|address| self.config.prefix.contains((*address).into()));
        let value = if on_link {
            status_value(status::SUCCESS, "these are of this network")
        } else {
            status_value(status::NOT_ON_LINK, "not all of these are of this network")
        };
        let mut reply = self.start(kind::REPLY, request);
        put_option(&mut reply, option::STATUS, &value);
        Ok(self.finish(reply))
    }

    /// 18.3.7 and 18.3.8.
    fn give_back(&mut self, scene: &mut Scene<'_>, request: &Request<'_>) -> Vec<u8> {
        let mut reply = self.start(kind::REPLY, request);
        for association in &request.associations {
            let id = client_id(scene.duid, association.iaid);
            let client = Client {
                id: &id,
                mac: scene.mac,
            };
            let mut bound = false;
            for address in association
                .addresses
                .iter()
                .map(|address| (*address).into())
            {
                let Some(leases) = &mut self.leases else {
                    continue;
                };
                let ended = if request.kind == kind::DECLINE {
                    leases.decline(client, address, scene.now.saturating_add(DECLINE_TIME))
                } else {
                    leases.release(client, address)
                };
                if ended {
                    scene.hosts.release(address);
                    bound = true;
                }
            }
            if !bound {
                let mut value = Vec::new();
                value.put_u32(association.iaid);
                value.put(&[0; 8]);
                let none = status_value(status::NO_BINDING, "no such lease");
                put_option(&mut value, option::STATUS, &none);
                put_option(&mut reply, option::IA_NA, &value);
            }
        }
        let done = status_value(status::SUCCESS, "done");
        put_option(&mut reply, option::STATUS, &done);
        reply
    }

    fn reserved_name(&self, mac: MacAddr) -> Option<String> {
        let mut reservations = self.reservations.iter();
        let reserved = reservations.find(|reservation| reservation.mac == mac)?;
        hostname(reserved.hostname.as_deref()?)
    }
}

fn client_id(duid: &[u8], iaid: u32) -> Vec<u8> {
    let mut id = Vec::with_capacity(duid.len() + 4);
    id.put(duid);
    id.put_u32(iaid);
    id
}

/// What the client calls itself: flags, then a name as in DNS, of which the last label may be missing (RFC 4704, 4.2).
fn called(request: &Request<'_>) -> Option<String> {
    let (_flags, name) = request.fqdn?.split_first()?;
    let (len, rest) = name.split_first()?;
    hostname(std::str::from_utf8(rest.get(..usize::from(*len))?).ok()?)
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
