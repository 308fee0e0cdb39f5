//! 48-bit MAC addresses.
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A 48-bit MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// The text is not six hexadecimal octets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a MAC address: {0:?} (write six hexadecimal octets, like 52:54:00:12:34:56)")]
pub struct ParseMacError(String);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit (IEEE 802, first octet, bit 0) is set; true for broadcast.
    pub const fn is_multicast(self) -> bool {
        Key::new(self).is_multicast()
    }

    /// Whether a station may own the address: neither multicast nor all zero.
    pub const fn is_station(self) -> bool {
        Key::new(self).is_station()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [b0, b1, b2, b3, b4, b5] = self.0;
        write!(f, "{b0:02x}:{b1:02x}:{b2:02x}:{b3:02x}:{b4:02x}:{b5:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Parses six octets of one or two hexadecimal digits, separated by `:` or by `-`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMacError(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().ok_or_else(error)?;
            let digits = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_hexdigit());
            *octet = u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| digits)
                .ok_or_else(error)?;
        }
        if parts.next().is_some() {
            Err(error())
        } else {
            Ok(Self(octets))
        }
    }
}

/// An address as a number, first octet most significant, and above it its VLAN: what the table hashes and compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    pub(crate) const fn new(mac: MacAddr) -> Self {
        let [b0, b1, b2, b3, b4, b5] = mac.0;
        Self(u64::from_be_bytes([0, 0, b0, b1, b2, b3, b4, b5]))
    }

    pub(crate) const fn mac(self) -> MacAddr {
        let [_, _, b0, b1, b2, b3, b4, b5] = self.0.to_be_bytes();
        MacAddr([b0, b1, b2, b3, b4, b5])
    }

    /// The same address in a VLAN; 0 stands for none.
    pub(crate) const fn in_vlan(self, vlan: u16) -> Self {
        Self(self.station() | (vlan as u64) << 48)
    }

    pub(crate) const fn vlan(self) -> u16 {
        let [high, low, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The same address in no VLAN.
    pub(crate) const fn plain(self) -> Self {
        Self(self.station())
    }

    const fn station(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }

    pub(crate) const fn is_multicast(self) -> bool {
        self.0 >> 40 & 1 == 1
    }

    pub(crate) const fn is_station(self) -> bool {
        !self.is_multicast() && self.station() != 0
    }
}

#[cfg(test)]
#[path = "mac_test.rs"]
mod tests;
