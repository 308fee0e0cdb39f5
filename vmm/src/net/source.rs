//! From a [`NetSource`] to what serves it: a port of netbackend is asked for and given back, a macvtap made and removed.
use super::{
    backend::Target,
    filter::{ReceiveFilter, SharedFilter},
    mac::MacAddress,
    port_filter::RemoteFilter,
};
use crate::config::{NetConfig, NetSource};
use control::{Client, ClientError, Mode, PortKind, PortRequest};
use netbackend::direct::{Bare, Direct, DirectSpec};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use thiserror::Error;

/// Why netbackend gave no port.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A call of the control API failed.
    #[error("network `{network}`: {error}")]
    Control {
        /// The network asked for.
        network: String,
        /// What happened.
        error: ClientError,
    },
    /// There is no macvtap to be had.
    #[error("macvtap={nic}: {error}")]
    Macvtap {
        /// The NIC.
        nic: String,
        /// What is wrong, and the remedy.
        error: String,
    },
    /// The daemon made something else than a vhost-user port.
    #[error("network `{0}`: netbackend gave a port that is no vhost-user socket")]
    Kind(String),
}

/// What is ours until dropped.
#[derive(Debug)]
pub struct Lease(#[expect(dead_code, reason = "held for what it does when dropped")] Held);

#[derive(Debug)]
#[expect(dead_code, reason = "held for what it does when dropped")]
enum Held {
    Port(PortLease),
    Macvtap(Box<Direct>),
}

/// A port of netbackend.
#[derive(Debug)]
struct PortLease {
    client: Client,
    network: String,
    port: String,
}

impl Drop for PortLease {
    fn drop(&mut self) {
        // The daemon also notices by itself that we are gone.
        if let Err(error) = self.client.remove_port(&self.network, &self.port) {
            tracing::debug!(%error, network = self.network, port = self.port, "giving back a port failed");
        }
    }
}

/// A back-end, and what is known of the network behind it.
#[derive(Debug)]
pub struct Attachment {
    /// What serves its rings.
    pub target: Target,
    /// MTU of the network, if we could learn it.
    pub mtu: Option<u16>,
    /// The NIC's cable is plugged in.
    pub cable: bool,
    /// What the guest may choose frames by; none: it may not.
    pub filter: Option<SharedFilter>,
    /// Gives the port back, or removes the macvtap, when dropped.
    pub lease: Option<Lease>,
}

impl Attachment {
    /// Finds the back-end of `config`, by way of the daemon behind `control` if it is a network's.
    pub fn resolve(
        config: &NetConfig,
        mac: MacAddress,
        control: &Path,
    ) -> Result<Self, SourceError> {
        match &config.source {
            NetSource::Socket(socket) => Ok(Self {
                target: Target::Socket(socket.clone()),
                mtu: config.mtu,
                cable: config.link,
                filter: None,
                lease: None,
            }),
            NetSource::Network { network, trust } => lease(network, *trust, config, mac, control),
            NetSource::Macvtap {
                nic,
                mode,
                vhost,
                trust,
            } => {
                let spec = DirectSpec {
                    nic: nic.clone(),
                    mode: *mode,
                    mac: mac.0,
                    queue_pairs: config.queues,
                };
                let made = if *vhost {
                    bare(&spec, config, *trust)
                } else {
                    direct(&spec, config, *trust)
                };
                made.map_err(|error| SourceError::Macvtap {
                    nic: nic.clone(),
                    error: format!("{error:#}"),
                })
            }
        }
    }
}

/// A back-end of our own, in this process.
fn direct(spec: &DirectSpec, config: &NetConfig, trust: bool) -> anyhow::Result<Attachment> {
    let direct = Direct::start(spec)?;
    Ok(Attachment {
        target: Target::Socket(direct.socket()),
        mtu: config.mtu.or(Some(direct.mtu())),
        cable: config.link,
        filter: trust.then(|| shared(direct.filter())),
        lease: Some(Lease(Held::Macvtap(Box::new(direct)))),
    })
}

/// A macvtap for the kernel to serve; it goes with the target.
fn bare(spec: &DirectSpec, config: &NetConfig, trust: bool) -> anyhow::Result<Attachment> {
    let bare = Bare::open(spec)?;
    Ok(Attachment {
        mtu: config.mtu.or(Some(bare.mtu())),
        filter: trust.then(|| shared(bare.filter())),
        target: Target::VhostNet(Arc::new(bare)),
        cable: config.link,
        lease: None,
    })
}

fn shared(filter: impl ReceiveFilter + 'static) -> SharedFilter {
    Arc::new(Mutex::new(filter))
}

fn lease(
    network: &str,
    trust: bool,
    config: &NetConfig,
    mac: MacAddress,
    control: &Path,
) -> Result<Attachment, SourceError> {
    let failed = |error| SourceError::Control {
        network: network.into(),
        error,
    };
    let client = Client::new(control);
    let request = PortRequest {
        name: None,
        mac: Some(mac.to_string()),
        queue_pairs: Some(config.queues),
        lease: true,
        ..PortRequest::default()
    };
    let status = client.network(network).map_err(failed)?;
    let port = client.add_port(network, &request).map_err(failed)?;
    let held = PortLease {
        client,
        network: network.into(),
        port: port.name,
    };
    let filter = trust.then(|| {
        // In mode passthrough the kernel filters no addresses.
        let takes_all_addresses = status.mode == Mode::Passthrough;
        RemoteFilter::new(&held.client, network, &held.port, takes_all_addresses)
    });
    let filter = filter.transpose().map_err(failed)?;
    let lease = Lease(Held::Port(held));
    let PortKind::VhostUser { socket, .. } = port.kind else {
        return Err(SourceError::Kind(network.into()));
    };
    Ok(Attachment {
        target: Target::Socket(socket),
        mtu: Some(config.mtu.unwrap_or(status.mtu)),
        cable: config.link,
        filter: filter.map(shared),
        lease: Some(lease),
    })
}
