//! What was changed at run time, kept for the next start.
//!
//! The file has the keys of the configuration file, as JSON. `docs/config.md`, "Changes at run time",
//! says which of the two wins.
use super::parent;
use crate::process::Process;
use anyhow::Context;
use control::PortFilter;
use nat::forward::Forward;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use toml::{Table, Value};
use tracing::error;

/// Version of the file's shape.
const VERSION: u32 = 1;

/// Changes since the configuration file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// Networks that the file does not have, with their settings.
    #[serde(default)]
    networks: BTreeMap<String, Settings>,
    /// Networks of the file that are not wanted.
    #[serde(default)]
    removed_networks: BTreeSet<String>,
    /// Ports that the file does not have, by network.
    #[serde(default)]
    ports: BTreeMap<String, BTreeMap<String, Settings>>,
    /// Ports of the file that are not wanted, by network.
    #[serde(default)]
    removed_ports: BTreeMap<String, BTreeSet<String>>,
    /// Forwards that the file does not have, by network.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    forwards: BTreeMap<String, BTreeSet<String>>,
    /// Forwards of the file that are not wanted, by network.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removed_forwards: BTreeMap<String, BTreeSet<String>>,
    /// Ports on lease, by network: they are there again after a restart if their process still lives.
    #[serde(default)]
    leases: BTreeMap<String, BTreeMap<String, Leased>>,
}

/// A port on lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leased {
    pub(super) process: Process,
    pub(super) settings: Settings,
    /// What its guest has chosen to receive.
    #[serde(default, skip_serializing_if = "PortFilter::is_default")]
    pub(super) filter: PortFilter,
}

/// Keys and values of a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Settings(pub(super) Table);

// A number that is no number is never equal to itself, and never valid here.
impl Eq for Settings {}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            networks: BTreeMap::new(),
            removed_networks: BTreeSet::new(),
            ports: BTreeMap::new(),
            removed_ports: BTreeMap::new(),
            forwards: BTreeMap::new(),
            removed_forwards: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }
}

impl State {
    /// Reads the file. One that is not understood is put aside: networks must come up without it.
    ///
    /// # Errors
    /// The file cannot be read or put aside.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "read the changes at run time from {} (remove it to start without them)",
                        path.display()
                    )
                });
            }
        };
        let wrong = match serde_json::from_str::<Self>(&text) {
            Ok(state) if state.version == VERSION => return Ok(state),
            Ok(state) => format!("its version is {}", state.version),
            Err(wrong) => wrong.to_string(),
        };
        let aside = path.with_extension("json.bad");
        fs::rename(path, &aside)
            .with_context(|| format!("put {} aside as {}", path.display(), aside.display()))?;
        error!(
            "changes at run time are lost: {} is not understood ({wrong}), moved to {}",
            path.display(),
            aside.display()
        );
        Ok(Self::default())
    }

    /// Writes the file, as a whole or not at all; nothing to keep, no file.
    ///
    /// # Errors
    /// The directory is not writable, or full.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let written = if *self == Self::default() {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            self.replace(path)
        };
        written.with_context(|| format!("keep changes at run time in {}", path.display()))
    }

    fn replace(&self, path: &Path) -> std::io::Result<()> {
        let new = path.with_extension("json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        // The new name must be on the disk, too.
        File::open(parent(path))?.sync_all()
    }

    /// Applies the changes to the sections of the file's networks.
    pub(super) fn apply(&self, networks: &mut Table) {
        for name in &self.removed_networks {
            networks.remove(name);
        }
        for (name, Settings(settings)) in &self.networks {
            networks.insert(name.clone(), Value::Table(settings.clone()));
        }
        for (network, ports) in &self.removed_ports {
            if let Some(section) = ports_of(networks, network) {
                for port in ports {
                    section.remove(port);
                }
            }
        }
        for (network, ports) in &self.ports {
            if let Some(section) = ports_of(networks, network) {
                for (port, Settings(settings)) in ports {
                    section.insert(port.clone(), Value::Table(settings.clone()));
                }
            }
        }
        for (network, removed) in &self.removed_forwards {
            if let Some(forwards) = forwards_of(networks, network) {
                forwards.retain(|found| !is_one_of(found, removed));
            }
        }
        for (network, added) in &self.forwards {
            if let Some(forwards) = forwards_of(networks, network) {
                forwards.retain(|found| !is_one_of(found, added));
                forwards.extend(added.iter().cloned().map(Value::String));
            }
        }
    }

    /// A forward was added.
    pub(super) fn add_forward(&mut self, network: &str, forward: &Forward) {
        let text = forward.to_string();
        if let Some(removed) = self.removed_forwards.get_mut(network) {
            removed.remove(&text);
        }
        self.removed_forwards
            .retain(|_, removed| !removed.is_empty());
        self.forwards
            .entry(network.into())
            .or_default()
            .insert(text);
    }

    /// A forward was removed, which `is_configured` (in the file, or with its network) or is not.
    pub(super) fn remove_forward(&mut self, network: &str, forward: &Forward, is_configured: bool) {
        let text = forward.to_string();
        if let Some(added) = self.forwards.get_mut(network) {
            added.remove(&text);
        }
        self.forwards.retain(|_, added| !added.is_empty());
        if is_configured {
            self.removed_forwards
                .entry(network.into())
                .or_default()
                .insert(text);
        }
    }

    /// Whether the forward was added at run time.
    pub(super) fn has_added_forward(&self, network: &str, forward: &Forward) -> bool {
        let added = self.forwards.get(network);
        self.networks.contains_key(network)
            || added.is_some_and(|added| added.contains(&forward.to_string()))
    }

    /// A network was added.
    pub(super) fn add_network(&mut self, name: &str, settings: Table) {
        self.networks.insert(name.into(), Settings(settings));
    }

    /// A network was removed, which `is_in_file` or is not.
    pub(super) fn remove_network(&mut self, name: &str, is_in_file: bool) {
        self.networks.remove(name);
        self.ports.remove(name);
        self.removed_ports.remove(name);
        self.forwards.remove(name);
        self.removed_forwards.remove(name);
        self.leases.remove(name);
        if is_in_file {
            self.removed_networks.insert(name.into());
        }
    }

    /// A port was added.
    pub(super) fn add_port(&mut self, network: &str, port: &str, settings: Table) {
        let ports = self.ports.entry(network.into()).or_default();
        ports.insert(port.into(), Settings(settings));
    }

    /// A port was leased to a process. Forgets leases of processes that have ended.
    pub(super) fn lease_port(&mut self, network: &str, port: &str, lease: Leased) {
        for ports in self.leases.values_mut() {
            ports.retain(|_, leased| leased.process.is_alive());
        }
        let ports = self.leases.entry(network.into()).or_default();
        ports.insert(port.into(), lease);
        self.leases.retain(|_, ports| !ports.is_empty());
    }

    /// The guest of a port has chosen what it receives. True: it is a port on lease, and that is something new.
    pub(super) fn set_filter(&mut self, network: &str, port: &str, filter: PortFilter) -> bool {
        let lease = self.leases.get_mut(network);
        let lease = lease.and_then(|ports| ports.get_mut(port));
        let changed = lease.filter(|lease| lease.filter != filter);
        changed.map(|lease| lease.filter = filter).is_some()
    }

    /// The lease of a port has ended.
    pub(super) fn end_lease(&mut self, network: &str, port: &str) {
        if let Some(ports) = self.leases.get_mut(network) {
            ports.remove(port);
        }
        self.leases.retain(|_, ports| !ports.is_empty());
    }

    /// Takes all leases, each with its network and port.
    pub(super) fn take_leases(&mut self) -> Vec<(String, String, Leased)> {
        let leases = std::mem::take(&mut self.leases).into_iter();
        let leases = leases.flat_map(|(network, ports)| {
            let ports = ports.into_iter();
            ports.map(move |(port, leased)| (network.clone(), port, leased))
        });
        leases.collect()
    }

    /// A port was removed, which `is_configured` (in the file, or with its network) or is not.
    pub(super) fn remove_port(&mut self, network: &str, port: &str, is_configured: bool) {
        if let Some(ports) = self.ports.get_mut(network) {
            ports.remove(port);
        }
        if is_configured {
            let removed = self.removed_ports.entry(network.into()).or_default();
            removed.insert(port.into());
        }
        self.ports.retain(|_, ports| !ports.is_empty());
    }

    /// Whether the network was added at run time.
    pub(super) fn has_network(&self, network: &str) -> bool {
        self.networks.contains_key(network)
    }

    /// Whether the network or the port was added at run time.
    pub(super) fn has_added(&self, network: &str, port: &str) -> bool {
        let ports = self.ports.get(network);
        self.networks.contains_key(network) || ports.is_some_and(|ports| ports.contains_key(port))
    }

    /// What is left after the file was read anew: it brings back what it names, in its own words.
    /// Also tells what was given up.
    pub(super) fn after_reload(&self, file: &Table) -> (Self, Vec<String>) {
        let mut given_up = Vec::new();
        let mut state = Self {
            networks: self.networks.clone(),
            ports: self.ports.clone(),
            forwards: self.forwards.clone(),
            leases: self.leases.clone(),
            ..Self::default()
        };
        state.networks.retain(|name, _| {
            let keep = !file.contains_key(name);
            if !keep {
                given_up.push(format!(
                    "network {name} was added at run time; the file's takes its place"
                ));
            }
            keep
        });
        let networks = &state.networks;
        for (network, ports) in &mut state.ports {
            let known = file.contains_key(network) || networks.contains_key(network);
            ports.retain(|port, _| {
                let why = match file.get(network).and_then(|section| section.get("ports")) {
                    _ if !known => "its network is gone",
                    Some(ports) if ports.get(port).is_some() => "the file's takes its place",
                    _ => return true,
                };
                given_up.push(format!(
                    "port {network}/{port} was added at run time; {why}"
                ));
                false
            });
        }
        state.forwards.retain(|network, forwards| {
            if file.contains_key(network) || networks.contains_key(network) {
                return true;
            }
            let forwards = forwards.iter();
            given_up.extend(forwards.map(|forward| {
                format!("forward {forward} of {network} was added at run time; its network is gone")
            }));
            false
        });
        // The removal of a port or forward that came with its network stands.
        for (network, forwards) in &self.removed_forwards {
            if networks.contains_key(network) {
                let forwards = forwards.clone();
                state.removed_forwards.insert(network.clone(), forwards);
            }
        }
        for (network, ports) in &self.removed_ports {
            if networks.contains_key(network) {
                let ports = ports.clone();
                state.removed_ports.insert(network.clone(), ports);
            }
        }
        state.ports.retain(|_, ports| !ports.is_empty());
        (state, given_up)
    }

    /// The changes one by one, for finding those that do not fit any more, in an order in which each finds what it is about and
    /// what was in its way is gone.
    pub(super) fn singly(&self) -> Vec<(String, Self)> {
        let mut parts = Vec::new();
        for name in &self.removed_networks {
            let mut part = Self::default();
            part.removed_networks.insert(name.clone());
            parts.push((format!("the removal of network {name}"), part));
        }
        parts.extend(self.removals_singly(|network| !self.has_network(network)));
        for (name, settings) in &self.networks {
            let alone = Self {
                networks: BTreeMap::from([(name.clone(), settings.clone())]),
                ..Self::default()
            };
            // What it came with and has lost since may be somebody else's by now.
            let mut changed = alone.clone();
            if let Some(ports) = self.removed_ports.get(name) {
                changed.removed_ports.insert(name.clone(), ports.clone());
            }
            if let Some(forwards) = self.removed_forwards.get(name) {
                let removed = &mut changed.removed_forwards;
                removed.insert(name.clone(), forwards.clone());
            }
            if changed != alone {
                let what =
                    format!("network {name}, added at run time, without what was removed of it,");
                parts.push((what, changed));
            }
            parts.push((format!("network {name}, added at run time,"), alone));
        }
        parts.extend(self.removals_singly(|network| self.has_network(network)));
        for (network, ports) in &self.ports {
            for (port, settings) in ports {
                let mut part = Self::default();
                part.add_port(network, port, settings.0.clone());
                parts.push((format!("port {network}/{port}, added at run time,"), part));
            }
        }
        for (network, forwards) in &self.forwards {
            for forward in forwards {
                let one = BTreeMap::from([(network.clone(), BTreeSet::from([forward.clone()]))]);
                let part = Self {
                    forwards: one,
                    ..Self::default()
                };
                let what = format!("forward {forward} of {network}, added at run time,");
                parts.push((what, part));
            }
        }
        parts
    }

    /// Removals of ports and forwards of such networks.
    fn removals_singly(&self, of: impl Fn(&str) -> bool) -> Vec<(String, Self)> {
        let mut parts = Vec::new();
        for (network, ports) in self.removed_ports.iter().filter(|(name, _)| of(name)) {
            for port in ports {
                let mut part = Self::default();
                part.remove_port(network, port, true);
                parts.push((format!("the removal of port {network}/{port}"), part));
            }
        }
        for (network, forwards) in self.removed_forwards.iter().filter(|(name, _)| of(name)) {
            for forward in forwards {
                let one = BTreeSet::from([forward.clone()]);
                let part = Self {
                    removed_forwards: BTreeMap::from([(network.clone(), one)]),
                    ..Self::default()
                };
                let what = format!("the removal of forward {forward} of {network}");
                parts.push((what, part));
            }
        }
        parts
    }

    /// Only the leases, which change no configuration.
    pub(super) fn only_leases(&self) -> Self {
        Self {
            leases: self.leases.clone(),
            ..Self::default()
        }
    }

    /// Takes over the changes of `part`.
    pub(super) fn absorb(&mut self, part: Self) {
        self.removed_networks.extend(part.removed_networks);
        for (network, ports) in part.removed_ports {
            self.removed_ports.entry(network).or_default().extend(ports);
        }
        for (network, forwards) in part.removed_forwards {
            let removed = self.removed_forwards.entry(network).or_default();
            removed.extend(forwards);
        }
        self.networks.extend(part.networks);
        for (network, ports) in part.ports {
            self.ports.entry(network).or_default().extend(ports);
        }
        for (network, forwards) in part.forwards {
            self.forwards.entry(network).or_default().extend(forwards);
        }
    }
}

/// The forwards of a section, which need not be there yet.
fn forwards_of<'a>(networks: &'a mut Table, network: &str) -> Option<&'a mut Vec<Value>> {
    let section = networks.get_mut(network)?.as_table_mut()?;
    let forwards = section
        .entry("forwards")
        .or_insert_with(|| Value::Array(Vec::new()));
    forwards.as_array_mut()
}

/// Whether a section names a forward, in whatever spelling.
pub(super) fn has_forward(section: &Table, forward: &Forward) -> bool {
    let forwards = section.get("forwards").and_then(Value::as_array);
    let one = BTreeSet::from([forward.to_string()]);
    forwards.is_some_and(|forwards| forwards.iter().any(|found| is_one_of(found, &one)))
}

/// Whether an entry of `forwards` is among those.
fn is_one_of(found: &Value, those: &BTreeSet<String>) -> bool {
    let forward = found.as_str().and_then(|text| text.parse::<Forward>().ok());
    forward.is_some_and(|forward| those.contains(&forward.to_string()))
}

fn ports_of<'a>(networks: &'a mut Table, network: &str) -> Option<&'a mut Table> {
    let section = networks.get_mut(network)?.as_table_mut()?;
    let ports = section
        .entry("ports")
        .or_insert_with(|| Value::Table(Table::new()));
    ports.as_table_mut()
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
