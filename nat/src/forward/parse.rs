//! Reading forwards: in our own spelling, in that of QEMU's `hostfwd`, and in that of passt's `-t` and `-u`.
//!
//! | whose | spelling |
//! |---|---|
//! | ours | `[tcp:\|udp:][[ADDRESS][%INTERFACE]:]PORT[-LAST]=[GUEST][:PORT][,preserve-source]` |
//! | QEMU's | `[hostfwd=][tcp\|udp]:[ADDRESS]:PORT-[GUEST-ADDRESS]:PORT` |
//! | passt's | `-t\|-u [ADDRESS][%INTERFACE]/PORT[-LAST][:PORT[-LAST]],...` |
use super::{Forward, GuestRef, Transport};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// Why a text is no forward.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseForwardError {
    /// No spelling is like that.
    #[error(
        "write it like tcp:8080=web:80, udp:[::1]:53=10.0.2.15:53 or tcp:%eth0:8000-8010=:8000"
    )]
    Shape,
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// The last port of a range comes before the first.
    #[error("the range {0}-{1} goes backwards")]
    Backwards(u16, u16),
    /// The ports of the guest do not reach as far.
    #[error("the range does not fit: its guest's ports would go beyond 65535")]
    TooFar,
    /// The two ranges are not equally long.
    #[error("the guest's range is not as long as the host's")]
    Lengths,
    /// The address of the host is none.
    #[error("{0:?} is not an address")]
    Address(String),
    /// The guest is neither an address nor a name.
    #[error("{0:?} is neither an address nor a name of a guest")]
    Guest(String),
    /// The name of the interface is none.
    #[error("{0:?} is not the name of an interface")]
    Interface(String),
    /// passt's spelling can leave ports out of a range.
    #[error("ports cannot be left out of a range (~): write the ranges between them")]
    Excluded,
    /// A list where one is wanted.
    #[error("these are several forwards: write them one by one")]
    Several,
    /// The word after the comma is not known.
    #[error("{0:?} is not known; the only option is preserve-source")]
    Option(String),
}

use ParseForwardError as Wrong;

impl FromStr for Forward {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let mut all = Self::parse_all(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(Wrong::Several),
        }
    }
}

impl Forward {
    /// Reads a text that may be several forwards: passt's lists.
    ///
    /// # Errors
    /// It is in no spelling, or not complete.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Wrong> {
        let text = text.trim();
        for (option, transport) in [
            ("-t", Transport::Tcp),
            ("--tcp-ports", Transport::Tcp),
            ("-u", Transport::Udp),
            ("--udp-ports", Transport::Udp),
        ] {
            if let Some(ports) = text.strip_prefix(option)
                && ports.starts_with([' ', '='])
            {
                return passt(transport, ports.trim_start_matches([' ', '=']));
            }
        }
        if let Some(text) = text.strip_prefix("hostfwd=") {
            return Ok(vec![qemu(text)?]);
        }
        let one = match text.split_once("->").or_else(|| text.split_once('=')) {
            Some((host, guest)) => ours(host.trim(), guest.trim())?,
            None => qemu(text)?,
        };
        Ok(vec![one])
    }
}

fn ours(host: &str, guest: &str) -> Result<Forward, Wrong> {
    let (transport, host) = transport(host);
    let (place, ports) = match host.rsplit_once(':') {
        Some((place, ports)) => (place, ports),
        None => ("", host),
    };
    let (address, interface) = host_side(place)?;
    let (first_port, last_port) = range(ports)?;
    let (guest, options) = match guest.split_once(',') {
        Some((guest, options)) => (guest, options),
        None => (guest, ""),
    };
    let preserve_source = match options {
        "" => false,
        "preserve-source" => true,
        other => return Err(Wrong::Option(other.to_owned())),
    };
    let (guest, guest_port) = guest_side(guest)?;
    Forward {
        transport,
        address,
        interface,
        first_port,
        last_port,
        guest,
        guest_port: guest_port.unwrap_or(first_port),
        preserve_source,
    }
    .checked()
}

/// `tcp::2222-:22`.
fn qemu(text: &str) -> Result<Forward, Wrong> {
    let (host, guest) = text.rsplit_once('-').ok_or(Wrong::Shape)?;
    let (transport, host) = match host.split_once(':') {
        Some(("" | "tcp", host)) => (Transport::Tcp, host),
        Some(("udp", host)) => (Transport::Udp, host),
        _ => return Err(Wrong::Shape),
    };
    let (address, first_port) = host.rsplit_once(':').ok_or(Wrong::Shape)?;
    let first_port = port(first_port)?;
    let (address, interface) = host_side(address)?;
    let (guest, guest_port) = guest_side(guest)?;
    Ok(Forward {
        transport,
        address,
        interface,
        first_port,
        last_port: first_port,
        guest,
        guest_port: guest_port.ok_or(Wrong::Shape)?,
        preserve_source: false,
    })
}

/// `127.0.0.1%lo/22,80-90:8080-8090`, in front of which stood `-t` or `-u`.
fn passt(transport: Transport, text: &str) -> Result<Vec<Forward>, Wrong> {
    let (place, lists) = text.rsplit_once('/').unwrap_or(("", text));
    let (address, interface) = host_side(place)?;
    let all = lists.split(',').map(|entry| {
        if entry.starts_with('~') {
            return Err(Wrong::Excluded);
        }
        let (host, guest) = entry.split_once(':').unwrap_or((entry, entry));
        let (first_port, last_port) = range(host)?;
        let (guest_port, last_guest_port) = range(guest)?;
        let single = guest_port == last_guest_port;
        if !single && last_guest_port - guest_port != last_port - first_port {
            return Err(Wrong::Lengths);
        }
        Forward {
            transport,
            address,
            interface: interface.clone(),
            first_port,
            last_port,
            guest: GuestRef::Any,
            guest_port,
            preserve_source: false,
        }
        .checked()
    });
    all.collect()
}

impl Forward {
    fn checked(self) -> Result<Self, Wrong> {
        let more = self.last_port - self.first_port;
        self.guest_port.checked_add(more).ok_or(Wrong::TooFar)?;
        Ok(self)
    }
}

fn transport(host: &str) -> (Transport, &str) {
    if let Some(rest) = host.strip_prefix("udp:") {
        return (Transport::Udp, rest);
    }
    (Transport::Tcp, host.strip_prefix("tcp:").unwrap_or(host))
}

/// `ADDRESS%INTERFACE`, either of which may be missing.
fn host_side(text: &str) -> Result<(Option<IpAddr>, Option<String>), Wrong> {
    let (address, interface) = match text.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (text, None),
    };
    // The percent sign may stand within the brackets, too.
    let closed = |text: &str| text.trim_end_matches(']').to_owned();
    let interface = interface.map(closed);
    if let Some(name) = &interface {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
        if !(1..=15).contains(&name.len()) || name.contains(bad) {
            return Err(Wrong::Interface(name.clone()));
        }
    }
    let address = match address {
        "" | "*" => None,
        text => Some(self::address(text).ok_or_else(|| Wrong::Address(text.to_owned()))?),
    };
    Ok((address, interface))
}

/// An address, of IPv6 in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').unwrap_or(inner);
            inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        None => text.parse().ok(),
    }
}

/// `GUEST:PORT`, either of which may be missing.
fn guest_side(text: &str) -> Result<(GuestRef, Option<u16>), Wrong> {
    let in_brackets = text.starts_with('[') && text.ends_with(']');
    let (guest, guest_port) = match text.rsplit_once(':') {
        Some((guest, port)) if !in_brackets => (guest, Some(port)),
        _ => (text, None),
    };
    let guest_port = guest_port.map(port).transpose()?;
    let guest = match guest {
        "" => GuestRef::Any,
        text => match address(text) {
            Some(address) => GuestRef::Address(address),
            None if is_name(text) => GuestRef::Name(text.to_ascii_lowercase()),
            None => return Err(Wrong::Guest(text.to_owned())),
        },
    };
    Ok((guest, guest_port))
}

/// A host name (RFC 1123, 2.1), with a letter in it: one of digits and dots is a mistyped address.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(inner);
    text.len() <= 253
        && text.split('.').all(label)
        && text.contains(|c: char| c.is_ascii_alphabetic())
}

/// `PORT` or `PORT-LAST`.
fn range(text: &str) -> Result<(u16, u16), Wrong> {
    let Some((first, last)) = text.split_once('-') else {
        let only = port(text)?;
        return Ok((only, only));
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(Wrong::Backwards(first, last));
    }
    Ok((first, last))
}

fn port(text: &str) -> Result<u16, Wrong> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or_else(|| Wrong::Port(text.to_owned()))
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
