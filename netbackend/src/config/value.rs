//! Reading and checking single values.
use std::{
    net::IpAddr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    time::Duration,
};
use switch::MacAddr;
use toml::de::DeValue;

/// Longest path of a Unix socket: `sun_path` of `unix(7)` without its final NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// Bits per second that a limit may be.
const SLOWEST: u64 = 8_000;
const FASTEST: u64 = 1_000_000_000_000;

/// The largest VLAN identifier (IEEE 802.1Q, table 9-2).
pub(super) const LAST_VLAN: u16 = 4094;

/// What is wrong with a value, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// A value of the file with its text.
#[derive(Debug)]
pub(super) struct Reading<'v, 'i> {
    pub(super) value: &'v DeValue<'i>,
    /// As it stands in the file, shortened.
    pub(super) text: String,
}

impl Reading<'_, '_> {
    /// The value is of another type than it must be.
    fn expected(&self, what: &str, example: &str) -> Wrong {
        Wrong::new(
            format!("{} is not {what}", self.text),
            format!("write {what}, like {example}"),
        )
    }
}

pub(super) fn string(reading: &Reading<'_, '_>) -> Result<String, Wrong> {
    reading
        .value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| reading.expected("a string", "\"text\""))
}

pub(super) fn boolean(reading: &Reading<'_, '_>) -> Result<bool, Wrong> {
    reading
        .value
        .as_bool()
        .ok_or_else(|| reading.expected("a boolean", "true"))
}

/// An integer from `low` to `high`, both allowed.
pub(super) fn integer<T>(low: T, high: T) -> impl FnOnce(&Reading<'_, '_>) -> Result<T, Wrong>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    move |reading| {
        let remedy = format!("write a whole number from {low} to {high}");
        let integer = reading.value.as_integer().ok_or_else(|| {
            Wrong::new(format!("{} is not a number", reading.text), remedy.clone())
        })?;
        i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| *number >= low && *number <= high)
            .ok_or_else(|| Wrong::new(format!("{} is out of range", reading.text), remedy))
    }
}

/// One of a fixed set of words.
pub(super) fn word<T: Copy>(
    words: &[(&str, T)],
) -> impl FnOnce(&Reading<'_, '_>) -> Result<T, Wrong> {
    move |reading| {
        let allowed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let found = words
            .iter()
            .find(|(word, _)| reading.value.as_str() == Some(word));
        found.map(|(_, value)| *value).ok_or_else(|| {
            Wrong::new(
                format!("{} is not known", reading.text),
                format!("choose one of {}", allowed.join(", ")),
            )
        })
    }
}

/// Seconds as a number, or a string of a number and a unit.
pub(super) fn duration(
    low: Duration,
    high: Duration,
) -> impl FnOnce(&Reading<'_, '_>) -> Result<Duration, Wrong> {
    move |reading| {
        let parsed = match reading.value {
            DeValue::String(text) => with_unit(text),
            DeValue::Integer(number) => seconds(number.as_str(), 1.0),
            DeValue::Float(number) => seconds(number.as_str(), 1.0),
            _ => None,
        };
        let duration = parsed.ok_or_else(|| {
            Wrong::new(
                format!("{} is not a duration", reading.text),
                "write seconds, or a number with a unit (ms, s, m, h), like \"300s\"",
            )
        })?;
        if duration < low || duration > high {
            return Err(Wrong::new(
                format!("{} is out of range", reading.text),
                format!("choose {low:?} to {high:?}"),
            ));
        }
        Ok(duration)
    }
}

fn with_unit(text: &str) -> Option<Duration> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    seconds(number.trim_end(), factor)
}

fn seconds(number: &str, factor: f64) -> Option<Duration> {
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * factor).ok()
}

/// A bit rate: a number of bits per second, or a string of a number and a unit.
pub(super) fn bit_rate(reading: &Reading<'_, '_>) -> Result<u64, Wrong> {
    let parsed = match reading.value {
        DeValue::String(text) => rate_with_unit(text),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    parsed.filter(|rate| (SLOWEST..=FASTEST).contains(rate)).ok_or_else(|| {
        Wrong::new(
            format!("{} is not a bit rate", reading.text),
            "write 8kbit to 1000Gbit, like \"100Mbit\" (units are powers of ten: kbit, Mbit, Gbit)",
        )
    })
}

fn rate_with_unit(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return None,
    };
    number.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

/// A list of IP addresses.
pub(super) fn addresses(reading: &Reading<'_, '_>) -> Result<Vec<IpAddr>, Wrong> {
    let wrong = || reading.expected("a list of IP addresses", "[\"10.0.0.5\", \"2001:db8::5\"]");
    let list = reading.value.as_array().ok_or_else(wrong)?;
    list.iter()
        .map(|entry| {
            let text = entry.get_ref().as_str();
            text.and_then(|text| text.parse().ok()).ok_or_else(wrong)
        })
        .collect()
}

/// A list of numbers of CPUs, each once, `most` at most.
pub(super) fn cpus(most: usize) -> impl FnOnce(&Reading<'_, '_>) -> Result<Vec<u16>, Wrong> {
    move |reading| {
        let wrong = || reading.expected("a list of CPU numbers", "[2, 3]");
        let list = reading.value.as_array().ok_or_else(wrong)?;
        let cpu = |value: &DeValue<'_>| {
            let number = value.as_integer()?;
            u16::from_str_radix(number.as_str(), number.radix()).ok()
        };
        let cpus = list.iter().map(|entry| cpu(entry.get_ref()));
        let cpus: Vec<u16> = cpus.collect::<Option<_>>().ok_or_else(wrong)?;
        let each_once = (1..)
            .zip(&cpus)
            .all(|(next, cpu)| !cpus[next..].contains(cpu));
        if cpus.is_empty() || cpus.len() > most || !each_once {
            return Err(Wrong::new(
                format!("{} does not name 1 to {most} different CPUs", reading.text),
                "name one CPU for each worker, like cpus = [2, 3], or remove the key",
            ));
        }
        Ok(cpus)
    }
}

/// A list of VLANs and of ranges of them, as first and last.
pub(super) fn vlans(reading: &Reading<'_, '_>) -> Result<Vec<[u16; 2]>, Wrong> {
    let wrong = || reading.expected("a list of VLANs from 1 to 4094", "[20, \"100-199\"]");
    let list = reading.value.as_array().ok_or_else(wrong)?;
    if list.is_empty() {
        return Err(Wrong::new(
            "a trunk without VLANs carries nothing",
            "name some, like trunk = [20, \"100-199\"], or remove the key",
        ));
    }
    list.iter()
        .map(|entry| vlan_range(entry.get_ref()).ok_or_else(wrong))
        .collect()
}

fn vlan_range(value: &DeValue<'_>) -> Option<[u16; 2]> {
    let range = match value {
        DeValue::Integer(number) => {
            let vlan = u16::from_str_radix(number.as_str(), number.radix()).ok()?;
            [vlan, vlan]
        }
        DeValue::String(text) => {
            let (first, last) = text.split_once('-')?;
            [first.trim().parse().ok()?, last.trim().parse().ok()?]
        }
        _ => return None,
    };
    let [first, last] = range;
    (1 <= first && first <= last && last <= LAST_VLAN).then_some(range)
}

pub(super) fn station_mac(reading: &Reading<'_, '_>) -> Result<MacAddr, Wrong> {
    parse_station_mac(&string(reading)?)
}

/// Parses the address of one station.
fn parse_station_mac(text: &str) -> Result<MacAddr, Wrong> {
    let mac: MacAddr = text.parse().map_err(|_| {
        Wrong::new(
            format!("{text:?} is not a MAC address"),
            "write six hexadecimal octets, like 52:54:00:12:34:56",
        )
    })?;
    if mac.is_station() {
        return Ok(mac);
    }
    Err(Wrong::new(
        format!("{mac} is not the address of a station (it is multicast or zero)"),
        "write a unicast address: an even first octet, like 52:54:00:12:34:56",
    ))
}

pub(super) fn absolute_path(reading: &Reading<'_, '_>) -> Result<PathBuf, Wrong> {
    let path = PathBuf::from(string(reading)?);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && path.file_name().is_some() {
        return Ok(path);
    }
    Err(Wrong::new(
        format!("{} is not an absolute path", reading.text),
        "write a path that starts with / and has no .. in it",
    ))
}

pub(super) fn socket_path(reading: &Reading<'_, '_>) -> Result<PathBuf, Wrong> {
    let path = absolute_path(reading)?;
    check_socket_length(&path)?;
    Ok(path)
}

/// The kernel takes no longer paths for sockets.
pub(super) fn check_socket_length(path: &Path) -> Result<(), Wrong> {
    let length = path.as_os_str().as_bytes().len();
    if length <= LONGEST_SOCKET_PATH {
        return Ok(());
    }
    Err(Wrong::new(
        format!("the socket path {} has {length} bytes", path.display()),
        format!(
            "a Unix socket's path has {LONGEST_SOCKET_PATH} at most: choose a shorter runtime_dir or name"
        ),
    ))
}

/// An interface name as the kernel takes it (`dev_valid_name` of net/core/dev.c); no `%`, which
/// TUNSETIFF would replace by a number.
pub(super) fn interface(reading: &Reading<'_, '_>) -> Result<String, Wrong> {
    let name = string(reading)?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    if (1..=15).contains(&name.len()) && !name.contains(bad) && name != "." && name != ".." {
        return Ok(name);
    }
    Err(Wrong::new(
        format!("{} is not an interface name", reading.text),
        "write 1 to 15 bytes without spaces, '/', ':' or '%', like \"tap-lan0\"",
    ))
}

/// A name in /run/netns.
pub(super) fn netns(reading: &Reading<'_, '_>) -> Result<String, Wrong> {
    let name = string(reading)?;
    if (1..=255).contains(&name.len())
        && !name.contains(['/', '\0'])
        && !matches!(&*name, "." | "..")
    {
        return Ok(name);
    }
    Err(Wrong::new(
        format!("{} is not the name of a network namespace", reading.text),
        "write a name that `ip netns list` shows",
    ))
}
