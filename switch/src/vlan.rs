//! VLANs of ports: access, trunk and native (IEEE 802.1Q, 6.9 and 8.8).
//!
//! A switch heeds VLANs as soon as one of its ports has [`PortVlans`]; before, tags are payload. It
//! then sorts every frame by its outer C-tag (TPID 0x8100; an S-tag is payload) into one VLAN, and lets it leave by
//! ports of that VLAN only. Ports that were told nothing are in no VLAN: guests among them exchange untagged frames with each
//! other and with the uplink; the uplink carries all VLANs besides, tagged.
use crate::{DropReason, Role};

/// TPID of a C-tag.
const TPID: u16 = 0x8100;
/// The VLAN identifier of a tag's control information.
const VID: u16 = 0xfff;
/// The largest identifier; 0 is a tag with a priority only, 4095 is reserved (IEEE 802.1Q, table 9-2).
const LAST: u16 = 4094;

/// A VLAN: 1 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// `None`: no VLAN has this number.
    pub const fn new(id: u16) -> Option<Self> {
        match id {
            1..=LAST => Some(Self(id)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// VLANs, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanSet(Box<[u64; 64]>);

impl Default for VlanSet {
    fn default() -> Self {
        Self(Box::new([0; 64]))
    }
}

impl VlanSet {
    /// Whether the VLAN is one of them.
    pub fn contains(&self, vlan: VlanId) -> bool {
        self.has(vlan.0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        (1..=LAST).filter(|vid| self.has(*vid)).map(VlanId)
    }

    fn has(&self, vid: u16) -> bool {
        let word = self.0.get(usize::from(vid / 64));
        word.is_some_and(|word| word >> (vid % 64) & 1 == 1)
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> Self {
        let mut set = Self::default();
        for VlanId(vid) in vlans {
            if let Some(word) = set.0.get_mut(usize::from(vid / 64)) {
                *word |= 1 << (vid % 64);
            }
        }
        set
    }
}

/// The VLANs of a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortVlans {
    /// The VLAN of frames without tag, in and out: that of an access port, the native one of a trunk. None: the port takes
    /// no frames without tag.
    pub untagged: Option<VlanId>,
    /// The VLANs of a trunk's tagged frames. Empty: an access port, which takes none with a tag, but for tags that
    /// only have a priority.
    pub tagged: VlanSet,
}

/// What is to be done to a frame's C-tag as it leaves. The numbers are the tag control information: priority and VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retag {
    /// nothing
    Keep,
    /// take it away
    Strip,
    /// give it one, between source address and EtherType
    Insert(u16),
    /// overwrite its control information
    Set(u16),
}

/// How a port takes part. VLAN 0 stands for none.
#[derive(Debug, Clone)]
pub(crate) enum Membership {
    /// told nothing
    Default(Role),
    Told(PortVlans),
}

impl Membership {
    /// The VLAN of a frame that comes in.
    pub(crate) fn classify(&self, frame: &[u8]) -> Result<u16, DropReason> {
        let tag = Tag::of(frame)?;
        let vid = match tag.vid() {
            None => match self {
                Self::Default(_) => Some(0),
                Self::Told(vlans) => vlans.untagged.map(VlanId::get),
            },
            Some(vid) => Some(vid).filter(|vid| match self {
                Self::Told(vlans) if vlans.tagged.is_empty() => false,
                _ => self.carries(*vid),
            }),
        };
        vid.ok_or(DropReason::Vlan)
    }

    /// Whether frames of the VLAN leave by the port.
    pub(crate) fn carries(&self, vid: u16) -> bool {
        match self {
            Self::Default(Role::Guest) => vid == 0,
            Self::Default(Role::Uplink) => vid <= LAST,
            Self::Told(vlans) => vid != 0 && (vlans.is_native(vid) || vlans.tagged.has(vid)),
        }
    }

    /// What a frame of the VLAN needs to leave here as this port has it.
    pub(crate) fn retag(&self, vid: u16, frame: &[u8]) -> Retag {
        let is_tagged = match self {
            Self::Default(_) => vid != 0,
            Self::Told(vlans) => !vlans.is_native(vid),
        };
        match (Tag::of(frame).unwrap_or(Tag(None)).0, is_tagged) {
            (None, false) => Retag::Keep,
            (None, true) => Retag::Insert(vid),
            (Some(_), false) if vid == 0 => Retag::Keep,
            (Some(_), false) => Retag::Strip,
            (Some(tci), true) if tci & VID == vid => Retag::Keep,
            (Some(tci), true) => Retag::Set(tci & !VID | vid),
        }
    }
}

impl PortVlans {
    fn is_native(&self, vid: u16) -> bool {
        self.untagged.is_some_and(|untagged| untagged.0 == vid)
    }
}

/// Control information of the outer C-tag.
#[derive(Debug, Clone, Copy)]
struct Tag(Option<u16>);

impl Tag {
    /// Refuses a tag that is cut off, and one C-tag within another: where the outer is taken away, the inner would carry
    /// the frame into another VLAN ("VLAN hopping"). Stacked tags are for S-tags.
    fn of(frame: &[u8]) -> Result<Self, DropReason> {
        if word(frame, 12) != Some(TPID) {
            return Ok(Self(None));
        }
        match (word(frame, 14), word(frame, 16)) {
            (Some(tci), Some(ethertype)) if ethertype != TPID => Ok(Self(Some(tci))),
            _ => Err(DropReason::Vlan),
        }
    }

    /// The VLAN that it names; `None`: none.
    fn vid(self) -> Option<u16> {
        self.0.map(|tci| tci & VID).filter(|vid| *vid != 0)
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
#[path = "vlan_test.rs"]
mod tests;
