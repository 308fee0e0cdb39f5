//! From a [`NetSource`] to a socket: a port of netbackend is asked for, and given back.
use super::mac::MacAddress;
use crate::config::{NetConfig, NetSource};
use control::{Client, ClientError, PortKind, PortRequest};
use std::path::{Path, PathBuf};
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
    /// The daemon made something else than a vhost-user port.
    #[error("network `{0}`: netbackend gave a port that is no vhost-user socket")]
    Kind(String),
}

/// A port of netbackend that is ours until dropped.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    network: String,
    port: String,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The daemon also notices by itself that we are gone.
        if let Err(error) = self.client.remove_port(&self.network, &self.port) {
            tracing::debug!(%error, network = self.network, port = self.port, "giving back a port failed");
        }
    }
}

/// A back-end's socket, and what is known of the network behind it.
#[derive(Debug)]
pub struct Attachment {
    /// vhost-user socket.
    pub socket: PathBuf,
    /// MTU of the network, if we could learn it.
    pub mtu: Option<u16>,
    /// The NIC's cable is plugged in.
    pub cable: bool,
    /// Gives the port back when dropped.
    pub lease: Option<Lease>,
}

impl Attachment {
    /// Finds the socket of `config`, by way of the daemon behind `control` if it is a network's.
    pub fn resolve(
        config: &NetConfig,
        mac: MacAddress,
        control: &Path,
    ) -> Result<Self, SourceError> {
        match &config.source {
            NetSource::Socket(socket) => Ok(Self {
                socket: socket.clone(),
                mtu: config.mtu,
                cable: config.link,
                lease: None,
            }),
            NetSource::Network(network) => lease(network, config, mac, control),
        }
    }
}

fn lease(
    network: &str,
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
    let mtu = match config.mtu {
        Some(mtu) => mtu,
        None => client.network(network).map_err(failed)?.mtu,
    };
    let port = client.add_port(network, &request).map_err(failed)?;
    let lease = Lease {
        client,
        network: network.into(),
        port: port.name,
    };
    let PortKind::VhostUser { socket, .. } = port.kind else {
        return Err(SourceError::Kind(network.into()));
    };
    Ok(Attachment {
        socket,
        mtu: Some(mtu),
        cable: config.link,
        lease: Some(lease),
    })
}
