//! The script: which frames every station sends, in which order.
use std::fmt;

pub(super) type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];
/// IPv4 multicast; every endpoint has joined it.
const GROUP_OF_ALL: Mac = [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03];
/// IPv6 multicast; only the first endpoint has joined it.
const GROUP_OF_FIRST: Mac = [0x33, 0x33, 0x00, 0x01, 0x02, 0x03];
/// Nobody has joined it.
const GROUP_OF_NONE: Mac = [0x01, 0x00, 0x5e, 0x04, 0x05, 0x06];
/// Stations that do not exist.
const STRANGER: Mac = [0x02, 0x0e, 0x2e, 0x00, 0x00, 0xe0];
const NOBODY: Mac = [0x02, 0x0e, 0x2e, 0x00, 0x00, 0xe1];

const ETHERTYPE_VLAN: u16 = 0x8100;
/// MAC Control (IEEE 802.3, 57A).
const ETHERTYPE_PAUSE: u16 = 0x8808;
/// Local Experimental EtherType 1 (IEEE 802, 9.2.4).
pub(super) const ETHERTYPE_EXPERIMENT: u16 = 0x88b5;
const MAGIC: &[u8] = b"oracle";
const MIN_LEN: usize = 60;
const MAX_LEN: usize = 1514;

/// Something that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Station {
    /// A guest: a macvlan device, or a tap on a port of netbackend.
    Endpoint(usize),
    /// The host that the NIC is of, by the NIC itself.
    Host,
    /// The host behind the relay.
    Outside,
}

impl Station {
    pub(super) fn mac(self) -> Mac {
        let last = match self {
            Self::Endpoint(index) => u8::try_from(index + 1).unwrap(),
            Self::Host => 0xc0,
            Self::Outside => 0xf0,
        };
        [0x02, 0x0e, 0x2e, 0x00, 0x00, last]
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(index) => write!(f, "E{}", index + 1),
            Self::Host => f.write_str("host"),
            Self::Outside => f.write_str("outside"),
        }
    }
}

/// What decides whether a difference from the kernel is deliberate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Plain,
    /// To the address of the sender.
    ToItself,
    /// A group that every endpoint has joined.
    Joined,
    /// A group that not every endpoint has joined.
    NotJoined,
    /// From a group or from zero.
    BadSource,
    Pause,
    /// 01:80:C2:00:00:02 to 0F.
    ReservedGroup,
}

/// One step of the script.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) sender: Station,
    pub(super) what: String,
    pub(super) class: Class,
    pub(super) bytes: Vec<u8>,
}

impl Frame {
    pub(super) fn source(&self) -> Mac {
        self.bytes[6..12].try_into().unwrap()
    }

    pub(super) fn is_tagged(&self) -> bool {
        self.bytes[12..14] == ETHERTYPE_VLAN.to_be_bytes()
    }

    pub(super) fn is_multicast(&self) -> bool {
        self.bytes[0] & 1 == 1
    }
}

/// The groups that endpoint `index` joins.
pub(super) fn joined(index: usize) -> Vec<Mac> {
    let mut groups = vec![GROUP_OF_ALL];
    groups.extend([0x00, 0x01, 0x02, 0x0e, 0x21].map(reserved));
    if index == 0 {
        groups.push(GROUP_OF_FIRST);
    }
    groups
}

fn reserved(last: u8) -> Mac {
    [0x01, 0x80, 0xc2, 0x00, 0x00, last]
}

/// What a frame says that it is: a step of the script, or a mark behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Step(u32),
    Mark(u32),
}

/// A frame that tells its receiver that nothing sent before it is still on its way.
pub(super) fn mark(sender: Station, number: u32) -> Vec<u8> {
    encode(
        BROADCAST,
        sender.mac(),
        &[ETHERTYPE_EXPERIMENT],
        Tag::Mark(number),
        MIN_LEN,
    )
}

/// Reads the tag of a frame; `None`: not one of ours.
pub(super) fn tag(frame: &[u8]) -> Option<Tag> {
    let at = frame
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)?;
    let (kind, rest) = frame[at + MAGIC.len()..].split_first()?;
    let number = u32::from_be_bytes(*rest.first_chunk()?);
    match kind {
        b's' => Some(Tag::Step(number)),
        b'm' => Some(Tag::Mark(number)),
        _ => None,
    }
}

fn encode(dst: Mac, src: Mac, ethertypes: &[u16], tag: Tag, len: usize) -> Vec<u8> {
    let mut bytes = [dst, src].concat();
    for ethertype in ethertypes {
        bytes.extend(ethertype.to_be_bytes());
    }
    let (kind, number) = match tag {
        Tag::Step(number) => (b's', number),
        Tag::Mark(number) => (b'm', number),
    };
    bytes.extend(MAGIC);
    bytes.push(kind);
    bytes.extend(number.to_be_bytes());
    // Bytes that tell where they belong.
    let from = bytes.len();
    bytes.extend((from..len).map(|at| (at * 7 + 13).to_le_bytes()[0]));
    bytes
}

/// The script for these stations. A step's number is its place.
pub(super) fn script(stations: &[Station]) -> Vec<Frame> {
    let mut script = Script::default();
    // Twice: first to a relay that has learned nothing, then to one that knows everybody.
    for round in ["first", "then"] {
        for sender in stations {
            for receiver in stations.iter().filter(|receiver| *receiver != sender) {
                let what = format!("{round} to {receiver}");
                script.add(*sender, &what, Class::Plain, receiver.mac(), sender.mac());
            }
        }
    }
    for sender in stations {
        script.groups_and_strangers(*sender);
        script.tagged(*sender, stations);
        script.reserved(*sender);
        script.bad_sources(*sender);
    }
    // Last: forged sources spoil what the relay has learned.
    for sender in stations {
        for victim in stations.iter().filter(|victim| *victim != sender) {
            script.forged(*sender, &format!("from {victim}"), victim.mac(), stations);
        }
        script.forged(*sender, "from a stranger", STRANGER, stations);
    }
    script.frames
}

#[derive(Default)]
struct Script {
    frames: Vec<Frame>,
}

impl Script {
    fn add(&mut self, sender: Station, what: &str, class: Class, dst: Mac, src: Mac) {
        let ethertypes = &[ETHERTYPE_EXPERIMENT];
        self.push(sender, what, class, (dst, src), ethertypes, MIN_LEN);
    }

    fn push(
        &mut self,
        sender: Station,
        what: &str,
        class: Class,
        (dst, src): (Mac, Mac),
        ethertypes: &[u16],
        len: usize,
    ) {
        let number = u32::try_from(self.frames.len()).unwrap();
        self.frames.push(Frame {
            sender,
            what: what.to_owned(),
            class,
            bytes: encode(dst, src, ethertypes, Tag::Step(number), len),
        });
    }

    fn groups_and_strangers(&mut self, sender: Station) {
        let own = sender.mac();
        let class = match sender {
            Station::Endpoint(_) => Class::ToItself,
            Station::Host | Station::Outside => Class::Plain,
        };
        self.add(sender, "to itself", class, own, own);
        self.add(sender, "to nobody", Class::Plain, NOBODY, own);
        self.add(sender, "broadcast", Class::Plain, BROADCAST, own);
        self.add(sender, "to joined group", Class::Joined, GROUP_OF_ALL, own);
        let class = Class::NotJoined;
        self.add(sender, "to E1's group", class, GROUP_OF_FIRST, own);
        self.add(sender, "to nobody's group", class, GROUP_OF_NONE, own);
        let ethertypes = &[ETHERTYPE_EXPERIMENT];
        let what = "broadcast of full size";
        self.push(
            sender,
            what,
            Class::Plain,
            (BROADCAST, own),
            ethertypes,
            MAX_LEN,
        );
    }

    fn tagged(&mut self, sender: Station, stations: &[Station]) {
        let own = sender.mac();
        let others = stations.iter().filter(|station| **station != sender);
        let receivers = others.map(|station| (format!("to {station}"), station.mac()));
        for (what, dst) in receivers.chain([("broadcast".to_owned(), BROADCAST)]) {
            for (name, tci) in [("VLAN 5", 5), ("priority 3", 3 << 13)] {
                let ethertypes = &[ETHERTYPE_VLAN, tci, ETHERTYPE_EXPERIMENT];
                let what = format!("{name}, {what}");
                self.push(sender, &what, Class::Plain, (dst, own), ethertypes, MIN_LEN);
            }
        }
    }

    fn reserved(&mut self, sender: Station) {
        let own = sender.mac();
        let class = Class::ReservedGroup;
        self.add(sender, "BPDU", Class::Plain, reserved(0), own);
        self.add(sender, "LACP", class, reserved(2), own);
        self.add(sender, "LLDP", class, reserved(0xe), own);
        self.add(sender, "MVRP", Class::Plain, reserved(0x21), own);
        let addresses = (reserved(1), own);
        let ethertypes = &[ETHERTYPE_PAUSE, 1];
        self.push(
            sender,
            "PAUSE",
            Class::Pause,
            addresses,
            ethertypes,
            MIN_LEN,
        );
    }

    fn bad_sources(&mut self, sender: Station) {
        let class = Class::BadSource;
        self.add(sender, "from a group", class, BROADCAST, GROUP_OF_ALL);
        self.add(sender, "from zero", class, BROADCAST, [0; 6]);
    }

    fn forged(&mut self, sender: Station, forged: &str, src: Mac, stations: &[Station]) {
        let mut add = |what: String, dst| self.add(sender, &what, Class::Plain, dst, src);
        add(format!("{forged}, broadcast"), BROADCAST);
        add(format!("{forged}, to nobody"), NOBODY);
        for receiver in stations.iter().filter(|receiver| **receiver != sender) {
            add(format!("{forged}, to {receiver}"), receiver.mac());
        }
    }
}
