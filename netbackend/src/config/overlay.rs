//! Configurations that do not come from the file alone: changes at run time over it, single ports.
use super::{
    Config, ConfigError, DEFAULT_NETWORK, NetworkConfig, Overrides, PortConfig, SocketAccess,
};
use control::Mode;
use std::{fmt::Write as _, fs, path::Path};
use toml::{Table, Value};

/// A configuration file, valid by itself, to which changes can be applied.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    table: Table,
    pub(crate) config: Config,
}

impl Base {
    /// Reads and checks a file; without one, the built-in configuration.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub(crate) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = match file {
            Some(file) => fs::read_to_string(file).map_err(|source| ConfigError::Read {
                file: file.to_owned(),
                source,
            })?,
            None => String::new(),
        };
        let name = file.unwrap_or(Path::new("command line"));
        let config = Config::parse(name, &text, overrides)?;
        // It was parsed just now.
        let mut table: Table = text.parse().unwrap_or_default();
        let networks = networks_of(&mut table);
        if networks.is_empty() {
            let mode = ("mode".to_owned(), Value::String("nat".into()));
            networks.insert(
                DEFAULT_NETWORK.into(),
                Value::Table(Table::from_iter([mode])),
            );
        }
        Ok(Self { table, config })
    }

    /// The networks of the file with `change` applied to their sections, checked as a whole.
    ///
    /// # Errors
    /// What results is not valid. Lines are of no use then: keys tell the place.
    pub(crate) fn with(
        &self,
        overrides: &Overrides,
        change: impl FnOnce(&mut Table),
    ) -> Result<Vec<NetworkConfig>, ConfigError> {
        let mut table = self.table.clone();
        let networks = networks_of(&mut table);
        change(networks);
        if networks.is_empty() {
            return Ok(Vec::new());
        }
        let text = toml::to_string(&table).unwrap_or_default();
        let place = Path::new("changes at run time");
        Ok(Config::parse(place, &text, overrides)?.networks)
    }

    /// The sections of the networks.
    pub(crate) fn sections(&self) -> Table {
        self.sections_with(|_| ())
    }

    /// The sections of the networks after `change`.
    pub(crate) fn sections_with(&self, change: impl FnOnce(&mut Table)) -> Table {
        let mut table = self.table.clone();
        let networks = networks_of(&mut table);
        change(networks);
        std::mem::take(networks)
    }
}

fn networks_of(table: &mut Table) -> &mut Table {
    let networks = table
        .entry("networks")
        .or_insert_with(|| Value::Table(Table::new()));
    match networks {
        Value::Table(networks) => networks,
        // A valid configuration has a table there.
        other => {
            *other = Value::Table(Table::new());
            other.as_table_mut().expect("it was made just now")
        }
    }
}

/// One port of `network`, its settings being those of a section `[networks.NETWORK.ports.NAME]`.
///
/// # Errors
/// A setting is unknown or wrong. Whether the port fits beside the others is not checked.
pub(crate) fn parse_port(
    network: &NetworkConfig,
    name: &str,
    settings: &Table,
    runtime_dir: &Path,
) -> Result<PortConfig, ConfigError> {
    let overrides = Overrides {
        runtime_dir: Some(runtime_dir.to_owned()),
        control_socket: None,
    };
    // What a port may be depends on the mode. A passthrough network is not valid without its uplink,
    // which is not here; to a port it is like a private one.
    let mode = match network.mode {
        Mode::Passthrough => Mode::Private,
        mode => mode,
    };
    let mut text = format!("[networks.{}]\nmode = \"{mode}\"\n", network.name);
    write_access(&mut text, network.socket_access);
    if let Some(attach) = &network.attach {
        let nic = &attach.nic;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "uplink = {{ nic = \"{nic}\", attach = \"macvtap\" }}");
    }
    let section = Table::from_iter([(name.to_owned(), Value::Table(settings.clone()))]);
    let section = Table::from_iter([("ports".to_owned(), Value::Table(section))]);
    let section = Table::from_iter([(network.name.clone(), Value::Table(section))]);
    let section = Table::from_iter([("networks".to_owned(), Value::Table(section))]);
    let mut table: Table = text.parse().unwrap_or_default();
    merge(&mut table, section);
    let text = toml::to_string(&table).unwrap_or_default();
    let config = Config::parse(Path::new("request"), &text, &overrides)?;
    let mut ports = config.networks.into_iter().flat_map(|found| found.ports);
    // A port that is read without a problem is there.
    let mut port = ports.next().expect("the request's port");
    if let (Some(vlan), true) = (network.guest_vlan(), port.policy.trunk.is_empty()) {
        port.policy.vlan.get_or_insert(vlan);
    }
    Ok(port)
}

fn write_access(text: &mut String, access: SocketAccess) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "socket_mode = \"{:o}\"", access.mode);
    if let Some(owner) = access.owner {
        let _ = writeln!(text, "socket_owner = {owner}");
    }
    if let Some(group) = access.group {
        let _ = writeln!(text, "socket_group = {group}");
    }
}

/// Puts the tables of `from` into those of `into`.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
