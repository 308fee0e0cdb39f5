//! A guest's own macvtap without the daemon, for a VMM.
//!
//! [`Direct`] serves it by threads of the calling process, as the worker of a network with `attach = "macvtap"` does for one port.
//! [`Bare`] leaves that to the kernel's vhost-net.
mod bare;
mod follower;
mod queue;

pub use crate::uplink::Filter;
pub use bare::Bare;
pub use queue::Queue;

use follower::Follower;

use crate::{
    network::{Lower, Network, NetworkSpec, PortSpec, PortTransport},
    process::Process,
    uplink::{self, Identity, MacvtapMode, MacvtapSpec, Nic, Uplink, UplinkError},
};
use anyhow::Context;
use control::Mode;
use nix::unistd::mkdtemp;
use std::{
    fmt,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, net::UnixListener},
    },
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use switch::{MacAddr, Role};

/// Aliases of what processes make for themselves start with this, as if it were a runtime directory.
const PREFIX: &str = "direct-";

/// The macvtap to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectSpec {
    /// The NIC that it is on.
    pub nic: String,
    /// What the kernel does between it, its siblings and the wire; NAT is refused.
    pub mode: Mode,
    /// The guest's address.
    pub mac: [u8; 6],
    /// Queue pairs of the guest.
    pub queue_pairs: u16,
}

/// A vhost-user socket with a macvtap behind it. Both go when this is dropped.
#[derive(Debug)]
pub struct Direct {
    // In the order in which they go.
    _follower: Follower,
    _network: Arc<Network>,
    wire: Uplink,
    directory: Directory,
    own: Option<MacAddr>,
    mtu: u16,
}

impl Direct {
    /// Makes the macvtap and serves it.
    ///
    /// # Errors
    /// The NIC will not do, or a capability is missing; told with the remedy.
    pub fn start(spec: &DirectSpec) -> anyhow::Result<Self> {
        let (wire, mtu) = open(spec)?;
        let mac = MacAddr(spec.mac);
        let directory = Directory::make()?;
        let listener =
            UnixListener::bind(directory.socket()).context("make the vhost-user socket")?;
        let network = Arc::new(serve(spec, mac, mtu, listener, &wire)?);
        let told = Arc::clone(&network);
        Ok(Self {
            _follower: Follower::start(&wire, move |carries| told.set_link(carries))?,
            _network: network,
            wire,
            directory,
            own: own_address(spec),
            mtu,
        })
    }

    /// What the macvtap lets through.
    ///
    /// # Errors
    /// The macvtap is gone.
    pub fn filter(&self) -> io::Result<Filter> {
        Filter::new(&self.wire, self.own)
    }

    /// Where the back-end listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.socket()
    }

    /// MTU of the NIC.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }
}

/// The address that the macvtap is given: in mode passthru none, as it would become the NIC's.
fn own_address(spec: &DirectSpec) -> Option<MacAddr> {
    (spec.mode != Mode::Passthrough).then_some(MacAddr(spec.mac))
}

/// Makes the macvtap; with the MTU of the NIC below.
fn open(spec: &DirectSpec) -> anyhow::Result<(Uplink, u16)> {
    let mode =
        mode(spec.mode).context("a macvtap has mode bridge, private, vepa or passthrough")?;
    let own = Owner::own().context("this process is not in /proc")?;
    remove_stale(own.namespace)?;
    let nic = Nic {
        name: spec.nic.clone(),
        netns: None,
    };
    let mac = MacAddr(spec.mac);
    let mtu = u16::try_from(uplink::mtu_of(&nic)?).unwrap_or(u16::MAX);
    let owner = PathBuf::from(own.to_string());
    let wire = Uplink::macvtap(&MacvtapSpec {
        vlan: None,
        mode,
        identity: Identity::new(&owner, &nic.name, &mac.to_string()),
        mac: own_address(spec),
        mtu,
        queues: spec.queue_pairs,
        nic,
    })?;
    Ok((wire, mtu))
}

fn serve(
    spec: &DirectSpec,
    mac: MacAddr,
    mtu: u16,
    listener: UnixListener,
    wire: &Uplink,
) -> anyhow::Result<Network> {
    let network = Network::start(NetworkSpec {
        name: spec.nic.clone(),
        mode: switch::Mode::Bridge,
        mtu,
        ageing: Duration::from_mins(5),
        fdb_capacity_per_port: 1,
        poll_idle: Duration::from_micros(50),
        workers: 1,
        cpus: Vec::new(),
        require_sealed_memory: false,
        isolate: false,
    })?;
    let port = PortSpec {
        name: "guest".into(),
        role: Role::Guest,
        mac: Some(mac),
        policy: control::PortPolicy::default(),
        queue_pairs: spec.queue_pairs,
    };
    let queues = wire.queues().iter().map(OwnedFd::try_clone);
    let queues = queues
        .collect::<Result<Vec<_>, _>>()
        .context("copy the macvtap's queues")?;
    let queues = queues.into_iter().map(File::from).collect();
    let lower = Lower {
        wire: queues,
        link: Some(true),
    };
    network.add_port_above(port, PortTransport::VhostUser(listener), lower)?;
    Ok(network)
}

fn mode(mode: Mode) -> Option<MacvtapMode> {
    match mode {
        Mode::Bridge => Some(MacvtapMode::Bridge),
        Mode::Private => Some(MacvtapMode::Private),
        Mode::Vepa => Some(MacvtapMode::Vepa),
        Mode::Passthrough => Some(MacvtapMode::Passthru),
        Mode::Nat => None,
    }
}

/// Removes what processes that have ended could not remove themselves. Those of other PID namespaces cannot be looked up from
/// here, nor can those of former versions, whose aliases do not tell the namespace: what is theirs stays.
fn remove_stale(namespace: u64) -> Result<(), UplinkError> {
    uplink::remove_by_alias(|alias| {
        let owner = Identity::owner(alias).and_then(|owner| owner.parse::<Owner>().ok());
        owner.is_some_and(|owner| owner.namespace == namespace && !owner.process.is_alive())
    })
    .map(drop)
}

/// Whose an interface is, as it stands in its alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    process: Process,
    /// Inode of the PID namespace in which the process has its id: several containers may share the host's network.
    namespace: u64,
}

impl Owner {
    /// This process.
    fn own() -> Option<Self> {
        Some(Self {
            process: Process::own()?,
            namespace: fs::metadata("/proc/self/ns/pid").ok()?.ino(),
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.process, self.namespace)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.strip_prefix(PREFIX).ok_or(())?;
        let (process, namespace) = text.rsplit_once('-').ok_or(())?;
        Ok(Self {
            process: process.parse()?,
            namespace: namespace.parse().map_err(drop)?,
        })
    }
}

/// A private directory with the socket.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> anyhow::Result<Self> {
        let template = std::env::temp_dir().join("netbackend-XXXXXX");
        // A name of its own, mode 0700: a process that was killed leaves its directory behind, and process ids come round.
        let path = mkdtemp(&template)
            .with_context(|| format!("make a directory like {}", template.display()))?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("vhost-user.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let gone = fs::remove_file(self.socket()).and_then(|()| fs::remove_dir(&self.0));
        if let Err(error) = gone {
            tracing::debug!(%error, path = %Path::display(&self.0), "remove a directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_back_from_aliases() {
        let own = Owner::own().unwrap();
        let identity = Identity::new(Path::new(&own.to_string()), "eth1", "52:54:00:00:00:01");
        let owner = Identity::owner(identity.alias()).unwrap();
        assert_eq!(owner.parse(), Ok(own));
        assert!(own.process.is_alive());
    }

    #[test]
    fn directories_are_private_and_never_in_the_way_of_each_other() {
        // The first is one that was left behind.
        let left = std::mem::ManuallyDrop::new(Directory::make().unwrap());
        let next = Directory::make().unwrap();
        assert_ne!(left.0, next.0);
        let mode = fs::metadata(&next.0).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o700);
        fs::remove_dir(&left.0).unwrap();
    }

    #[test]
    fn aliases_of_former_versions_have_no_owner() {
        for owner in ["direct-12-345", "/run/netbackend", "direct-1-2-x"] {
            assert_eq!(owner.parse::<Owner>(), Err(()), "{owner}");
        }
    }
}
