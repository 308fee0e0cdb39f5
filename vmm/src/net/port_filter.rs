//! The filter of a port of netbackend, which applies it to the guest's macvtap.
use super::{filter::ReceiveFilter, mac::MacAddress};
use control::{Client, ClientError, PortFilter};
use std::{collections::BTreeSet, io, time::Duration};

/// How long netbackend may take: the guest's driver waits for it, and some wait with the CPU busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// A filter that is somebody else's to apply.
#[derive(Debug)]
pub(super) struct RemoteFilter {
    client: Client,
    network: String,
    port: String,
    takes_all_addresses: bool,
    /// As netbackend has confirmed it.
    wanted: PortFilter,
    /// It has not answered since, and may have something else.
    in_doubt: bool,
}

impl RemoteFilter {
    /// The filter of a new port.
    ///
    /// # Errors
    /// Netbackend does not trust the port with it; told with the remedy.
    pub(super) fn new(
        client: &Client,
        network: &str,
        port: &str,
        takes_all_addresses: bool,
    ) -> Result<Self, ClientError> {
        let wanted = PortFilter::default();
        client.set_filter(network, port, &wanted)?;
        Ok(Self {
            client: client.clone().with_timeout(PATIENCE),
            network: network.to_owned(),
            port: port.to_owned(),
            takes_all_addresses,
            wanted,
            in_doubt: false,
        })
    }

    /// Asks for all of it each time, also if it is the same: whoever has forgotten it knows it again.
    fn set(&mut self, wanted: PortFilter) -> io::Result<()> {
        let done = self.client.set_filter(&self.network, &self.port, &wanted);
        self.in_doubt = done.is_err();
        done.map_err(io::Error::other)?;
        self.wanted = wanted;
        Ok(())
    }
}

impl ReceiveFilter for RemoteFilter {
    fn takes_all_addresses(&self) -> bool {
        self.takes_all_addresses
    }

    fn set_address(&mut self, address: [u8; 6]) -> io::Result<()> {
        self.set(PortFilter {
            address: Some(MacAddress(address).to_string()),
            ..self.wanted.clone()
        })
    }

    fn set_groups(&mut self, groups: Option<&BTreeSet<[u8; 6]>>) -> io::Result<()> {
        let name = |groups: &BTreeSet<[u8; 6]>| {
            let groups = groups.iter().map(|group| MacAddress(*group).to_string());
            groups.collect()
        };
        self.set(PortFilter {
            groups: groups.map(name),
            ..self.wanted.clone()
        })
    }

    fn set_promiscuous(&mut self, promiscuous: bool) -> io::Result<()> {
        self.set(PortFilter {
            promiscuous,
            ..self.wanted.clone()
        })
    }

    fn restore(&mut self) {
        if self.wanted.is_default() && !self.in_doubt {
            return;
        }
        if let Err(error) = self.set(PortFilter::default()) {
            let (network, port) = (&self.network, &self.port);
            tracing::warn!(%error, network, port, "restore a receive filter");
        }
    }
}

#[cfg(test)]
#[path = "port_filter_test.rs"]
mod tests;
