//! Ethernet addresses of our guests.
use std::{fmt, str::FromStr};
use thiserror::Error;

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// A text that is no address for a NIC.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no unicast MAC address (write it like 52:54:00:12:34:56)")]
pub struct MacError(String);

impl MacAddress {
    /// The address of a VM's NIC number `index` when none is asked for: the same at every start, locally administered,
    /// with the prefix that KVM guests are known by. 24 bits of FNV-1a over the VM's name and the number.
    ///
    /// ```
    /// use vmm::net::MacAddress;
    /// let mac = MacAddress::derive("vm1", 0);
    /// assert!(mac.to_string().starts_with("52:54:00:"));
    /// assert_eq!(mac, MacAddress::derive("vm1", 0));
    /// assert_ne!(mac, MacAddress::derive("vm1", 1));
    /// ```
    pub fn derive(vm: &str, index: u8) -> Self {
        let bytes = vm.bytes().chain([0, index]);
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The high half of an FNV hash is the better mixed one.
        let [.., a, b, c] = (hash >> 24).to_be_bytes();
        Self([0x52, 0x54, 0x00, a, b, c])
    }
}

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let error = || MacError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let digits = part.filter(|part| part.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(digits.ok_or_else(error)?, 16).map_err(|_| error())?;
        }
        let group = bytes[0] & 1 != 0;
        if parts.next().is_some() || group || bytes == [0; 6] {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints_and_nothing_else() {
        let mac: MacAddress = "52:54:00:aB:cd:0f".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:0f:01",
            "52:54:00:ab:cd:g0",
            "52:54:00:ab:cd:+f",
            "525400abcd0f",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_addresses_differ_by_vm_and_index() {
        let macs: std::collections::HashSet<_> = (0..32)
            .flat_map(|index| [("a", index), ("b", index), ("vm1", index)])
            .map(|(vm, index)| MacAddress::derive(vm, index))
            .collect();
        assert_eq!(macs.len(), 96);
    }
}
