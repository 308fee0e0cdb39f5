//! A macvtap behind a vhost-user socket, served by threads of this process.
use super::{
    DirectSpec, Filter,
    directory::Directory,
    follower::{Follower, Served},
    macvtap::Macvtap,
};
use crate::network::{Lower, Network, NetworkSpec, PortSpec, PortTransport};
use anyhow::Context;
use std::{fs, io, os::unix::net::UnixListener, path::PathBuf, sync::Arc, time::Duration};
use switch::{MacAddr, Role};

/// Name of the one port.
const GUEST: &str = "guest";

/// A vhost-user socket with a macvtap behind it. Both go when this is dropped.
#[derive(Debug)]
pub struct Direct {
    // In the order in which they go.
    _follower: Follower,
    macvtap: Arc<Macvtap>,
    socket: PathBuf,
}

impl Direct {
    /// Makes the macvtap and serves it.
    ///
    /// # Errors
    /// The NIC will not do, or a capability is missing; told with the remedy.
    pub fn start(spec: &DirectSpec) -> anyhow::Result<Self> {
        let macvtap = Arc::new(Macvtap::make(spec)?);
        let port = Port {
            network: start_network(&spec.nic, macvtap.mtu())?,
            mac: MacAddr(spec.mac),
            queue_pairs: spec.queue_pairs,
            directory: Directory::make()?,
        };
        port.add(&macvtap)?;
        Ok(Self {
            socket: port.directory.socket(),
            _follower: Follower::start(&macvtap, port)?,
            macvtap,
        })
    }

    /// What the macvtap lets through.
    pub fn filter(&self) -> Filter {
        Filter::new(&self.macvtap)
    }

    /// Where the back-end listens.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// MTU of the NIC when the macvtap was made first.
    pub fn mtu(&self) -> u16 {
        self.macvtap.mtu()
    }
}

/// The guest's port, joined to the macvtap.
struct Port {
    // Before its sockets.
    network: Network,
    mac: MacAddr,
    queue_pairs: u16,
    directory: Directory,
}

impl Port {
    fn add(&self, macvtap: &Macvtap) -> anyhow::Result<()> {
        let spec = PortSpec {
            name: GUEST.into(),
            role: Role::Guest,
            mac: Some(self.mac),
            policy: control::PortPolicy::default(),
            queue_pairs: self.queue_pairs,
        };
        let lower = Lower {
            wire: macvtap.queues()?,
            link: Some(true),
        };
        let socket = self.directory.socket();
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let listener = UnixListener::bind(socket).context("make the vhost-user socket")?;
        let transport = PortTransport::VhostUser(listener);
        self.network.add_port_above(spec, transport, lower)
    }
}

impl Served for Port {
    fn set_carrier(&self, carries: bool) {
        self.network.set_link(carries);
    }

    /// The front-end loses its connection, and finds the port with its new queues when it comes back.
    fn renew(&self, macvtap: &Macvtap) -> anyhow::Result<()> {
        self.network.remove_port(GUEST)?;
        self.add(macvtap)
    }
}

fn start_network(name: &str, mtu: u16) -> anyhow::Result<Network> {
    Network::start(NetworkSpec {
        name: name.to_owned(),
        mode: switch::Mode::Bridge,
        mtu,
        ageing: Duration::from_mins(5),
        fdb_capacity_per_port: 1,
        poll_idle: Duration::from_micros(50),
        workers: 1,
        cpus: Vec::new(),
        require_sealed_memory: false,
        isolate: false,
    })
}
