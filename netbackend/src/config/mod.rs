//! The configuration file: TOML, checked as a whole, every problem told with its file, line, key
//! and remedy.
//!
//! The file is walked by hand instead of being deserialized: only so can every message name its
//! line, several problems be told at once, and cross-checks (two ports with one address) point at
//! both lines. `docs/config.md` lists all keys.
mod access;
mod error;
mod name;
mod nat;
mod network;
mod overlay;
mod policy;
mod port;
mod section;
mod trust;
mod uplink;
mod value;

pub use self::nat::{Dhcp6Mode, HostConfig, NatConfig, UdpFiltering};
pub use access::SocketAccess;
pub use error::{ConfigError, Problem};
pub(crate) use name::check as check_name;
pub(crate) use overlay::{Base, parse_port};
pub use uplink::{AttachConfig, UplinkConfig, UplinkDevice};

use control::{Mode, PortPolicy};
use error::Source;
use section::{Diagnostics, Section};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use switch::{MacAddr, Role};
use toml::de::DeTable;

/// Queue pairs that a vhost-user port offers unless told otherwise.
pub const DEFAULT_QUEUE_PAIRS: u16 = 8;
/// Name of the network that exists when the configuration names none.
pub const DEFAULT_NETWORK: &str = "default";

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where sockets are made.
    pub runtime_dir: PathBuf,
    /// The control API's socket.
    pub control_socket: PathBuf,
    /// Who may use the control API.
    pub control_access: SocketAccess,
    /// What was changed at run time, for the next start.
    pub state_file: PathBuf,
    /// Networks, in the order of their names.
    pub networks: Vec<NetworkConfig>,
    /// What is allowed but looks like a mistake.
    pub warnings: Vec<Problem>,
}

/// A network to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Name.
    pub name: String,
    /// Forwarding policy.
    pub mode: Mode,
    /// MTU offered to guests and set on taps.
    pub mtu: u16,
    /// Life of a learned address.
    pub ageing: Duration,
    /// Learned addresses per port at most.
    pub fdb_capacity_per_port: usize,
    /// How long an idle datapath thread polls before it sleeps.
    pub poll_idle: Duration,
    /// Datapath threads.
    pub workers: u16,
    /// The CPU of each of them; none: wherever the scheduler puts them.
    pub cpus: Vec<u16>,
    /// Refuse guest memory that its owner could truncate.
    pub require_sealed_memory: bool,
    /// The gateway, in mode `nat`.
    pub nat: Option<NatConfig>,
    /// Who may connect to its ports' sockets, where a port says nothing else.
    pub socket_access: SocketAccess,
    /// The MTU is the NIC's, unless the file has another.
    pub mtu_of_nic: bool,
    /// Each guest has a macvtap of its own, and the kernel switches.
    pub attach: Option<AttachConfig>,
    /// Guests may choose what comes by those macvtaps, where a port says nothing else.
    pub trust_filters: bool,
    /// Ports that exist from the start, in the order of their names.
    pub ports: Vec<PortConfig>,
}

/// A port to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Name, unique in its network.
    pub name: String,
    /// Guest or uplink.
    pub role: Role,
    /// Fixed address.
    pub mac: Option<MacAddr>,
    /// What it may do.
    pub policy: PortPolicy,
    /// Queue pairs at most.
    pub queue_pairs: u16,
    /// Who may connect to its socket.
    pub socket_access: SocketAccess,
    /// Its guest may choose what comes by its macvtap, or may not, whatever its network says.
    pub trust_filters: Option<bool>,
    /// What carries its frames.
    pub transport: TransportConfig,
}

/// What carries a port's frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportConfig {
    /// A vhost-user socket that the daemon listens on.
    VhostUser {
        /// The socket.
        socket: PathBuf,
    },
    /// A vhost-user socket that the front-end listens on.
    VhostUserClient {
        /// The socket.
        socket: PathBuf,
    },
    /// A tap device that the daemon creates.
    Tap {
        /// Name of the interface.
        interface: String,
        /// Named network namespace (`ip netns`) to create it in; the daemon's own without.
        netns: Option<String>,
    },
    /// The way out that the section `uplink` describes.
    Uplink(UplinkConfig),
}

/// What the command line sets, over the file and over the defaults.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--runtime-dir`
    pub runtime_dir: Option<PathBuf>,
    /// `--control-socket`
    pub control_socket: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid: then all its problems are told.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(file, &text, overrides)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn parse(file: &Path, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let table = DeTable::parse(text).map_err(|error| source.syntax(&error))?;
        let mut diagnostics = Diagnostics::new(source);
        let config = Self::read(table.get_ref(), overrides, &mut diagnostics);
        diagnostics.finish(config)
    }

    /// What runs without a file: one network in mode `nat`, ports on request.
    ///
    /// # Errors
    /// A path of the command line cannot be used.
    pub fn built_in(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::parse(Path::new("command line"), "", overrides)
    }

    fn read(table: &DeTable<'_>, overrides: &Overrides, diagnostics: &mut Diagnostics) -> Self {
        const KEYS: &[&str] = &["runtime_dir", "control_socket", "state_file", "networks"];
        let known = [KEYS, &access::CONTROL_KEYS].concat();
        let mut top = Section::new("", 0, table, &known, diagnostics);
        let runtime_dir = top.get("runtime_dir", value::absolute_path);
        let runtime_dir = overrides
            .runtime_dir
            .clone()
            .or(runtime_dir)
            .unwrap_or_else(control::default_runtime_dir);
        let control_socket = top.get("control_socket", value::socket_path);
        let control_socket = overrides
            .control_socket
            .clone()
            .or(control_socket)
            .unwrap_or_else(|| control::default_socket(&runtime_dir));
        if let Err(wrong) = value::check_socket_length(&control_socket) {
            top.problem("control_socket", wrong);
        }
        let control_access = access::read(&mut top, access::CONTROL_KEYS, SocketAccess::DEFAULT);
        let state_file = top.get("state_file", value::absolute_path);
        let state_file = state_file.unwrap_or_else(|| runtime_dir.join("state.json"));
        let mut networks = network::read_all(&mut top, &runtime_dir, &control_socket);
        if networks.is_empty() {
            networks.push(NetworkConfig::built_in());
        }
        Self {
            runtime_dir,
            control_socket,
            control_access,
            state_file,
            networks,
            warnings: Vec::new(),
        }
    }
}

impl NetworkConfig {
    /// The network that exists when the configuration names none: guests reach the world.
    pub fn built_in() -> Self {
        Self {
            mode: Mode::Nat,
            nat: Some(NatConfig::default()),
            ..Self::new(DEFAULT_NETWORK)
        }
    }

    /// A bridge with default settings and no ports.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: Mode::Bridge,
            mtu: 1500,
            ageing: Duration::from_mins(5),
            fdb_capacity_per_port: 1024,
            poll_idle: Duration::from_micros(50),
            workers: 1,
            cpus: Vec::new(),
            require_sealed_memory: false,
            nat: None,
            socket_access: SocketAccess::DEFAULT,
            mtu_of_nic: false,
            attach: None,
            trust_filters: false,
            ports: Vec::new(),
        }
    }

    /// Whether the guest of this port may choose what comes by its macvtap.
    pub(crate) fn trusts(&self, port: &PortConfig) -> bool {
        let has_macvtap = self.attach.is_some() && port.role == Role::Guest;
        has_macvtap && port.trust_filters.unwrap_or(self.trust_filters)
    }
}

/// The socket of a vhost-user port that names none.
pub fn default_port_socket(runtime_dir: &Path, network: &str, port: &str) -> PathBuf {
    runtime_dir.join(network).join(format!("{port}.sock"))
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
