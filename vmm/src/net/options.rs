//! What `--net` says.
use super::mac::{MacAddress, MacError};
use std::{path::PathBuf, str::FromStr};
use thiserror::Error;

/// Queue pairs at most: 17 queues and a vector each still fit in every guest's first choice.
pub const MAX_QUEUE_PAIRS: u16 = 8;
/// Entries per ring unless asked otherwise.
pub const DEFAULT_QUEUE_SIZE: u16 = 256;
/// Largest ring that virtio-net drivers and back-ends commonly agree on.
const MAX_QUEUE_SIZE: u16 = 1024;
/// Smallest MTU that carries IPv4 (RFC 791).
const MIN_MTU: u16 = 68;

/// Where the NIC's other end is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetSource {
    /// A port of this network, asked of netbackend.
    Network(String),
    /// Any vhost-user back-end behind this socket.
    Socket(PathBuf),
}

/// `--net network=NAME|socket=PATH[,model=virtio][,mac=MAC][,queues=N][,queue-size=N][,mtu=N]`.
///
/// ```
/// use vmm::net::{NetOptions, NetSource};
/// let options: NetOptions = "network=lan,queues=2".parse()?;
/// assert_eq!(options.source, NetSource::Network("lan".into()));
/// assert_eq!(options.queue_pairs, 2);
/// # Ok::<(), vmm::net::OptionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetOptions {
    /// The other end.
    pub source: NetSource,
    /// Address; derived from the VM's name when missing.
    pub mac: Option<MacAddress>,
    /// Queue pairs.
    pub queue_pairs: u16,
    /// Entries per ring, a power of two.
    pub queue_size: u16,
    /// MTU told to the guest; that of the network when missing.
    pub mtu: Option<u16>,
}

/// Why a `--net` option was refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// Not a `key=value` that we know.
    #[error(
        "--net: `{0}` is not understood (keys: network, socket, model, mac, queues, queue-size, mtu)"
    )]
    Unknown(String),
    /// A number that is no number, or out of range.
    #[error("--net: {key}={value}: {hint}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        hint: &'static str,
    },
    /// Both or none of the two sources.
    #[error("--net: give exactly one of network=NAME and socket=PATH")]
    Source,
    /// A bad address.
    #[error("--net: mac={0}")]
    Mac(#[from] MacError),
}

impl FromStr for NetOptions {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let mut sources = Vec::new();
        let mut options = Self {
            source: NetSource::Network(String::new()),
            mac: None,
            queue_pairs: 1,
            queue_size: DEFAULT_QUEUE_SIZE,
            mtu: None,
        };
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("network", name)) if !name.is_empty() => {
                    sources.push(NetSource::Network(name.into()));
                }
                Some(("socket", path)) if !path.is_empty() => {
                    sources.push(NetSource::Socket(path.into()));
                }
                Some(("model", "virtio")) => {}
                Some(("model", value)) => {
                    let hint = "the only model so far is `virtio`";
                    return Err(value_error("model", value, hint));
                }
                Some(("mac", value)) => options.mac = Some(value.parse()?),
                Some(("queues", value)) => options.queue_pairs = queue_pairs(value)?,
                Some(("queue-size", value)) => options.queue_size = queue_size(value)?,
                Some(("mtu", value)) => options.mtu = Some(mtu(value)?),
                _ => return Err(OptionError::Unknown(part.into())),
            }
        }
        let mut sources = sources.into_iter();
        match (sources.next(), sources.next()) {
            (Some(source), None) => options.source = source,
            _ => return Err(OptionError::Source),
        }
        Ok(options)
    }
}

fn queue_pairs(value: &str) -> Result<u16, OptionError> {
    let number = value.parse().ok();
    number
        .filter(|pairs| (1..=MAX_QUEUE_PAIRS).contains(pairs))
        .ok_or_else(|| value_error("queues", value, "give 1 to 8 queue pairs"))
}

fn queue_size(value: &str) -> Result<u16, OptionError> {
    let number = value.parse::<u16>().ok();
    number
        .filter(|size| size.is_power_of_two() && (64..=MAX_QUEUE_SIZE).contains(size))
        .ok_or_else(|| value_error("queue-size", value, "give 64, 128, 256, 512 or 1024"))
}

fn mtu(value: &str) -> Result<u16, OptionError> {
    let number = value.parse().ok();
    number
        .filter(|mtu| *mtu >= MIN_MTU)
        .ok_or_else(|| value_error("mtu", value, "give 68 to 65535 bytes"))
}

fn value_error(key: &'static str, value: &str, hint: &'static str) -> OptionError {
    OptionError::Value {
        key,
        value: value.into(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_all_keys() {
        let text = "socket=/run/s.sock,model=virtio,mac=52:54:00:00:00:02,queues=8,queue-size=1024,mtu=9000";
        let options: NetOptions = text.parse().unwrap();
        assert_eq!(
            options,
            NetOptions {
                source: NetSource::Socket("/run/s.sock".into()),
                mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, 2])),
                queue_pairs: 8,
                queue_size: 1024,
                mtu: Some(9000),
            }
        );
    }

    #[test]
    fn refuses_with_a_remedy() {
        for (text, hint) in [
            ("", "is not understood"),
            ("queues=1", "exactly one of"),
            ("network=a,socket=/b", "exactly one of"),
            ("network=a,network=b", "exactly one of"),
            ("network=", "is not understood"),
            ("network=a,speed=1", "keys: network"),
            ("network=a,model=e1000", "`virtio`"),
            ("network=a,mac=1", "52:54:00"),
            ("network=a,queues=0", "1 to 8"),
            ("network=a,queues=9", "1 to 8"),
            ("network=a,queue-size=100", "64, 128"),
            ("network=a,mtu=67", "68 to"),
            ("network=a,mtu=99999", "68 to"),
        ] {
            let error = text.parse::<NetOptions>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
