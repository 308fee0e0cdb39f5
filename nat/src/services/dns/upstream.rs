//! The servers that questions are passed on to, and which of them is asked first.
use std::net::{IpAddr, SocketAddr};

use super::name::Name;
use super::spec::PORT;

/// Servers that are used at most, as by the resolvers of all C libraries (resolv.conf(5), MAXNS).
pub const MAX_SERVERS: usize = 3;

/// What a resolv.conf says that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// servers, in their order
    pub servers: Vec<SocketAddr>,
    /// domains to search
    pub search: Vec<Name>,
}

impl ResolvConf {
    /// Reads the text of a resolv.conf as resolvers do: what they do not know they pass over.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                // The last of these lines counts.
                Some("search" | "domain") => {
                    conf.search = words.filter_map(|word| word.parse().ok()).collect();
                    conf.search.retain(|name| !name.is_root());
                }
                _ => {}
            }
        }
        conf.servers.truncate(MAX_SERVERS);
        conf
    }
}

/// A server's address. A link-local one may name its interface, but only the host's own resolver could tell which that is by
/// number.
fn server(word: &str) -> Option<SocketAddr> {
    let address: IpAddr = word.parse().ok()?;
    Some(SocketAddr::new(address, PORT))
}

/// The servers in use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstreams {
    servers: Vec<SocketAddr>,
    first: usize,
}

impl Upstreams {
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let servers = servers.iter().copied().take(MAX_SERVERS).collect();
        Self { servers, first: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whom to ask at the n-th try: in turn, from the one on that answered last.
    pub(crate) fn at(&self, attempt: usize) -> Option<SocketAddr> {
        let index = (self.first + attempt).checked_rem(self.servers.len())?;
        self.servers.get(index).copied()
    }

    /// This one answered when others before it had not.
    pub(crate) fn prefer(&mut self, server: SocketAddr) {
        if let Some(index) = self.servers.iter().position(|other| *other == server) {
            self.first = index;
        }
    }
}

#[cfg(test)]
#[path = "upstream_test.rs"]
mod tests;
