//! Addresses of the host itself, which policy keeps guests from.
use nix::ifaddrs::getifaddrs;
use std::{
    collections::HashSet,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long a look at the interfaces holds.
const FRESH: Duration = Duration::from_secs(1);

/// The addresses of all interfaces, looked up again when they are asked for after a while.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    known: HashSet<IpAddr>,
    looked: Option<Instant>,
}

impl OwnAddresses {
    pub(super) fn contains(&mut self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return true;
        }
        if self.looked.is_none_or(|looked| looked.elapsed() > FRESH) {
            self.look();
        }
        self.known.contains(&address)
    }

    fn look(&mut self) {
        self.looked = Some(Instant::now());
        // Without descriptors the old answer must do.
        let Ok(interfaces) = getifaddrs() else {
            return;
        };
        self.known.clear();
        for address in interfaces.filter_map(|interface| interface.address) {
            if let Some(v4) = address.as_sockaddr_in() {
                self.known.insert(v4.ip().into());
            } else if let Some(v6) = address.as_sockaddr_in6() {
                self.known.insert(v6.ip().into());
            }
        }
    }
}
