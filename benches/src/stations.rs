//! Who talks to whom: stations on both sides and flows between them.

/// Addresses that count up from a first one, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stations {
    first: [u8; 6],
    count: u32,
}

impl Stations {
    /// `count` stations behind port `port`. The addresses are locally administered ones of QEMU's range.
    pub(crate) fn behind(port: u8, count: u32) -> Self {
        Self {
            first: [0x52, 0x54, port, 0, 0, 0],
            count: count.max(1),
        }
    }

    /// How many there are.
    pub(crate) fn count(self) -> u32 {
        self.count
    }

    /// The station that has to do with frame `number`: they take turns.
    pub(crate) fn address(self, number: u64) -> [u8; 6] {
        let mut address = self.first;
        let index = number % u64::from(self.count);
        // Three bytes for the station.
        address[3..].copy_from_slice(&index.to_be_bytes()[5..]);
        address
    }
}

/// The two ends of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parties {
    pub(crate) source: Stations,
    pub(crate) target: Stations,
    /// UDP or TCP source ports that take turns.
    pub(crate) flows: u16,
}

impl Parties {
    /// Whether one frame's headers differ from another's.
    pub(crate) fn vary(&self) -> bool {
        self.flows > 1 || self.source.count > 1 || self.target.count > 1
    }

    /// The opposite direction.
    pub(crate) fn swapped(self) -> Self {
        Self {
            source: self.target,
            target: self.source,
            ..self
        }
    }
}

impl Default for Parties {
    /// One station on each side, one flow.
    fn default() -> Self {
        Self {
            source: Stations::behind(0, 1),
            target: Stations::behind(1, 1),
            flows: 1,
        }
    }
}
