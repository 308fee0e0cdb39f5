//! Ethernet addresses of our guests.
use std::fmt;

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of a VM's NIC number `index` when none is asked for: the same at every start,
    /// locally administered, with the prefix that KVM guests are known by. 24 bits of FNV-1a over
    /// the VM's name and the number.
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
        // FNV hardly mixes its last byte: finish like MurmurHash3, and take the best mixed bits.
        let mixed = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let [a, b, c, ..] = mixed.to_be_bytes();
        Self([0x52, 0x54, 0x00, a, b, c])
    }

    /// As a NIC's EEPROM holds it: words, low byte first.
    pub fn words(self) -> [u16; 3] {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(self.0.chunks_exact(2)) {
            *word = bytes.try_into().map_or(0, u16::from_le_bytes);
        }
        words
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&bytes.join(":"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_addresses_differ_by_vm_and_index() {
        let macs: std::collections::HashSet<_> = (0..32)
            .flat_map(|index| (0..32).map(move |vm| (format!("vm{vm}"), index)))
            .map(|(vm, index)| MacAddress::derive(&vm, index))
            .collect();
        assert_eq!(macs.len(), 1024);
    }
}
