//! The fields of an Ethernet header that steer forwarding.
use crate::mac::Key;

/// `ETH_P_PAUSE`: EtherType of MAC Control frames (IEEE 802.3, 57A and Annex 31A).
const ETHERTYPE_MAC_CONTROL: u16 = 0x8808;
/// 01:80:C2:00:00:00, the Nearest Customer Bridge group address: BPDUs (IEEE 802.1Q, table 8-1).
const BRIDGE_GROUP: Key = Key(0x0180_c200_0000);
/// 01:80:C2:00:00:01, where PAUSE frames go (IEEE 802.3, Annex 31B).
const PAUSE: Key = Key(0x0180_c200_0001);

/// A decoded Ethernet header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) dst: Key,
    pub(crate) src: Key,
    ethertype: u16,
}

impl Header {
    /// Decodes the start of a frame; `None`: shorter than 14 bytes.
    #[inline]
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        // As two words, of which the other's octets are shifted out: half the work of putting six octets together.
        let dst = u64::from_be_bytes(*frame.first_chunk()?) >> 16;
        let src = u64::from_be_bytes(*frame.get(6..)?.first_chunk()?);
        let [.., high, low] = src.to_be_bytes();
        Some(Self {
            dst: Key(dst),
            src: Key(src >> 16),
            ethertype: u16::from_be_bytes([high, low]),
        })
    }

    /// Puts its addresses into a VLAN.
    #[inline]
    pub(crate) fn set_vlan(&mut self, vlan: u16) {
        self.src = self.src.in_vlan(vlan);
        self.dst = self.dst.in_vlan(vlan);
    }

    /// The VLAN that it is in; 0: none.
    #[inline]
    pub(crate) fn vlan(&self) -> u16 {
        self.dst.vlan()
    }

    /// Whether it is a MAC Control frame: link-local flow control, forwarded by nobody.
    #[inline]
    pub(crate) fn is_pause(&self) -> bool {
        self.dst == PAUSE || self.ethertype == ETHERTYPE_MAC_CONTROL
    }

    /// Whether a bridge without spanning tree filters it: 01:80:C2:00:00:01 to 0F.
    #[inline]
    pub(crate) fn is_filtered_by_bridges(&self) -> bool {
        let dst = self.dst.plain();
        dst.0 >> 4 == BRIDGE_GROUP.0 >> 4 && dst != BRIDGE_GROUP
    }
}
