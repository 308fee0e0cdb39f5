//! Router advertisements (RFC 4861, 6.2), with name servers (RFC 8106).
use std::net::Ipv6Addr;
use std::time::Duration;

use super::dns::name::{Name, plain_list};
use super::ndp::{ALL_NODES, Options, Outgoing, group_mac, kind, option, put_link_layer};
use super::random::Random;
use crate::frame::Ndp;
use crate::services::cursor::{Put, Reader, seconds};
use crate::{MacAddr, Prefix};

/// Time between two that nobody asked for: 200 to 600 s (6.2.1, defaults).
const MIN_INTERVAL: Duration = Duration::from_secs(200);
const MAX_INTERVAL: Duration = Duration::from_mins(10);
/// The first few come soon (6.2.4): who listens then need not ask.
const INITIAL_COUNT: u8 = 3;
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
/// Time between two that go to everybody (10, MIN_DELAY_BETWEEN_RAS).
const MIN_DELAY: Duration = Duration::from_secs(3);
/// How long what is told holds (6.2.1: three times the interval).
const LIFETIME: Duration = Duration::from_mins(30);
/// How long addresses made from the prefix hold (6.2.1, AdvValidLifetime and AdvPreferredLifetime).
const VALID: Duration = Duration::from_hours(30 * 24);
const PREFERRED: Duration = Duration::from_hours(7 * 24);

/// What is advertised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) mac: MacAddr,
    pub(crate) link_local: Ipv6Addr,
    /// guests make their addresses within
    pub(crate) prefix: Prefix,
    pub(crate) mtu: u16,
    /// this is the way to the world
    pub(crate) router: bool,
    /// DHCPv6 gives addresses
    pub(crate) managed: bool,
    /// DHCPv6 knows more
    pub(crate) other: bool,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<Name>,
}

/// The advertising side of a router.
#[derive(Debug)]
pub(crate) struct Advertiser {
    config: Config,
    random: Random,
    initial: u8,
    /// the next that nobody asked for
    next: Duration,
    last_to_all: Option<Duration>,
}

impl Advertiser {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            initial: INITIAL_COUNT,
            next: Duration::ZERO,
            last_to_all: None,
        }
    }

    /// Advertises other domains to search, as soon as may be and soon again (RFC 4861, 6.2.4: as when it began).
    pub(crate) fn set_search(&mut self, search: Vec<Name>) {
        if self.config.search != search {
            self.config.search = search;
            self.initial = INITIAL_COUNT;
            self.next = self
                .last_to_all
                .map_or(Duration::ZERO, |last| last.saturating_add(MIN_DELAY));
        }
    }

    /// The answer to a router solicitation: to its sender, if he says who he is.
    pub(crate) fn answer(&mut self, now: Duration, ndp: &Ndp<'_>) -> Option<Outgoing> {
        let mut reader = Reader::new(ndp.message);
        let [kind, code, _, _] = reader.array()?;
        if kind != kind::ROUTER_SOLICITATION || code != 0 {
            return None;
        }
        let _reserved = reader.u32()?;
        let options = Options::parse(reader.rest())?;
        if !ndp.source.is_unspecified() {
            return Some(self.message(ndp.mac, ndp.source));
        }
        // RFC 4861, 6.1.1: nobody has a link-layer address but no address.
        if options.source.is_some() {
            return None;
        }
        let due = self
            .last_to_all
            .map_or(now, |last| last.saturating_add(MIN_DELAY));
        if due > now {
            // Many who boot at once are answered together.
            self.next = self.next.min(due);
            return None;
        }
        Some(self.advertise(now))
    }

    /// When [`Self::poll`] has something.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// What is due without being asked for.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<Outgoing> {
        (self.next <= now).then(|| self.advertise(now))
    }

    fn advertise(&mut self, now: Duration) -> Outgoing {
        let spread = MAX_INTERVAL.saturating_sub(MIN_INTERVAL).as_secs();
        let mut interval = MIN_INTERVAL + Duration::from_secs(self.random.below(spread));
        if self.initial > 0 {
            self.initial -= 1;
            interval = interval.min(INITIAL_INTERVAL);
        }
        self.next = now.saturating_add(interval);
        self.last_to_all = Some(now);
        self.message(group_mac(ALL_NODES), ALL_NODES)
    }

    fn message(&self, mac: MacAddr, destination: Ipv6Addr) -> Outgoing {
        let config = &self.config;
        let mut message = vec![kind::ROUTER_ADVERTISEMENT, 0, 0, 0];
        // hop limit of the guests, flags M and O
        message.put_u8(64);
        message.put_u8(u8::from(config.managed) << 7 | u8::from(config.other) << 6);
        let lifetime = if config.router {
            LIFETIME
        } else {
            Duration::ZERO
        };
        message.put_u16(u16::try_from(seconds(lifetime)).unwrap_or(u16::MAX));
        // reachable time and retransmission time: the guests' own
        message.put_u32(0);
        message.put_u32(0);
        put_link_layer(&mut message, option::SOURCE_LINK_LAYER, config.mac);
        message.put(&[option::MTU, 1, 0, 0]);
        message.put_u32(config.mtu.into());
        self.put_prefix(&mut message);
        self.put_dns(&mut message);
        Outgoing {
            mac,
            source: config.link_local,
            destination,
            message,
        }
    }

    fn put_prefix(&self, message: &mut Vec<u8>) {
        let std::net::IpAddr::V6(prefix) = self.config.prefix.address() else {
            return;
        };
        // on link, and for addresses of their own making
        message.put(&[option::PREFIX, 4, self.config.prefix.len(), 0xc0]);
        message.put_u32(seconds(VALID));
        message.put_u32(seconds(PREFERRED));
        message.put_u32(0);
        message.put(&prefix.octets());
    }

    fn put_dns(&self, message: &mut Vec<u8>) {
        let servers = self.config.dns.iter().take(MAX_LISTED / 16);
        let servers: Vec<u8> = servers.flat_map(Ipv6Addr::octets).collect();
        put_list(message, option::RDNSS, servers);
        put_list(message, option::DNSSL, bounded_list(&self.config.search));
    }
}

/// Octets that one list may have: its option counts up to 255 units of eight, the first of which is the option's own.
const MAX_LISTED: usize = 254 * 8;

/// As many of the names as an option has room for.
fn bounded_list(names: &[Name]) -> Vec<u8> {
    let mut names = names;
    loop {
        let list = plain_list(names);
        match names.split_last() {
            Some((_, fewer)) if list.len() > MAX_LISTED => names = fewer,
            _ => return list,
        }
    }
}

/// Appends an option of RFC 8106: reserved, lifetime, and a list that is padded to units of eight octets.
fn put_list(message: &mut Vec<u8>, kind: u8, mut list: Vec<u8>) {
    if list.is_empty() {
        return;
    }
    list.resize(list.len().next_multiple_of(8), 0);
    let units = u8::try_from(list.len() / 8 + 1).unwrap_or(u8::MAX);
    message.put(&[kind, units, 0, 0]);
    message.put_u32(seconds(LIFETIME));
    message.put(&list);
}

#[cfg(test)]
#[path = "ra_test.rs"]
mod tests;
