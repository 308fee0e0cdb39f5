//! What a guest is made of, as the command line says it.

mod disk;
mod net;
mod serial;
mod size;

pub use disk::DiskConfig;
pub use net::{NetConfig, NetModel, NetSource};
pub use serial::SerialConfig;
pub use size::ByteSize;

use crate::boot::BootSource;

/// PCI slots for devices: 32, less the host bridge.
pub const MAX_DEVICES: usize = 31;

/// One guest.
#[derive(Debug, Clone)]
pub struct GuestConfig {
    /// Name, for logs and for addresses derived from it.
    pub name: String,
    /// What to boot.
    pub boot: BootSource,
    /// RAM.
    pub memory: ByteSize,
    /// RAM on 2 MiB pages.
    pub hugepages: bool,
    /// vCPUs.
    pub cpus: u8,
    /// Disks, in order.
    pub disks: Vec<DiskConfig>,
    /// NICs, in order.
    pub nets: Vec<NetConfig>,
    /// An entropy device.
    pub rng: bool,
    /// The serial console.
    pub serial: SerialConfig,
}

impl GuestConfig {
    /// PCI devices it asks for.
    pub fn device_count(&self) -> usize {
        self.disks.len() + self.nets.len() + usize::from(self.rng)
    }

    /// Refuses more devices than there are slots.
    pub fn check_slots(&self) -> Result<(), String> {
        let count = self.device_count();
        if count <= MAX_DEVICES {
            return Ok(());
        }
        let rng = if self.rng {
            " and 1 entropy device (leave it out with --no-rng)"
        } else {
            ""
        };
        Err(format!(
            "{count} PCI devices asked for, but the bus has {MAX_DEVICES} slots besides the host bridge: \
             {} --net, {} --disk{rng}",
            self.nets.len(),
            self.disks.len(),
        ))
    }
}

/// Splits `key=value,key=value`. A word without `=` is a key without value.
fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (part, None),
        })
}

/// The value of a key that needs one.
fn value<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value
        .filter(|v| !v.is_empty())
        .ok_or_else(|| format!("`{key}` needs a value: {key}=…"))
}

/// A value that is `on` or `off`; the bare key is `on`.
fn switch(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("on" | "true" | "yes") => Ok(true),
        Some("off" | "false" | "no") => Ok(false),
        Some(other) => Err(format!("`{key}={other}`: use {key}=on or {key}=off")),
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
