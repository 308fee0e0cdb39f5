//! Where netbackend differs from macvlan on purpose, and why.
use super::frames::{Class, Frame, Mac, Station};
use super::matrix::{Arrival, Arrivals, Matrix, Receiver};
use super::world::{Scenario, Way};
use std::fmt;

/// A reason to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deliberate {
    NotJoined,
    ToItself,
    BadSource,
    Pause,
    ReservedGroup,
    PrivateReflection,
    HostAside,
    HostListens,
}

impl Deliberate {
    /// All that there are.
    pub(super) fn of(way: Way) -> &'static [Self] {
        const OF_THE_SWITCH: [Deliberate; 6] = [
            Deliberate::NotJoined,
            Deliberate::ToItself,
            Deliberate::BadSource,
            Deliberate::Pause,
            Deliberate::ReservedGroup,
            Deliberate::PrivateReflection,
        ];
        const ON_A_NIC: [Deliberate; 7] = [
            Deliberate::NotJoined,
            Deliberate::ToItself,
            Deliberate::BadSource,
            Deliberate::Pause,
            Deliberate::ReservedGroup,
            Deliberate::PrivateReflection,
            Deliberate::HostAside,
        ];
        const BESIDE_A_HOST: [Deliberate; 7] = [
            Deliberate::NotJoined,
            Deliberate::ToItself,
            Deliberate::BadSource,
            Deliberate::Pause,
            Deliberate::ReservedGroup,
            Deliberate::PrivateReflection,
            Deliberate::HostListens,
        ];
        match way {
            Way::Tap => &OF_THE_SWITCH,
            Way::Nic => &ON_A_NIC,
            Way::Packet => &BESIDE_A_HOST,
            // The kernel forwards; what our relay does not pass on, it drops.
            Way::Attach => &[
                Deliberate::NotJoined,
                Deliberate::BadSource,
                Deliberate::Pause,
            ],
        }
    }
}

impl fmt::Display for Deliberate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJoined => {
                "groups nobody joined are delivered like joined ones: a front-end keeps its \
                 guest's multicast filter to itself, so the guest filters, not the switch"
            }
            Self::ToItself => {
                "bridge: no frame leaves by the port it came in by (IEEE 802.1Q, 8.6.1); macvlan \
                 loops a frame to one's own address back to its sender"
            }
            Self::BadSource => {
                "sources that are a group or zero are dropped, as every Linux bridge does \
                 (br_handle_frame); macvlan passes them"
            }
            Self::Pause => {
                "MAC Control is link-local (IEEE 802.3, Annex 31B): macvlan keeps it from other \
                 endpoints, but lets an endpoint stop the wire"
            }
            Self::ReservedGroup => {
                "bridge: 01:80:C2:00:00:02 to 0F are not forwarded (IEEE 802.1Q, table 8-1), as \
                 by a Linux bridge; macvlan treats them as any group"
            }
            Self::PrivateReflection => {
                "private: reflected unicast does not reach siblings, as ip-link(8) promises; \
                 macvlan delivers it"
            }
            Self::HostAside => {
                "a network has its NIC to itself: what comes in there is shared with the host by the \
                 rules of a macvtap in passthru mode, in which the host gets no unicast, and group \
                 frames whoever sent them, but for those from its own address"
            }
            Self::HostListens => {
                "private: reflected group frames reach the host, as a packet socket takes nothing from \
                 the host's stack (packet(7)); macvlan gives such a frame to its sender alone \
                 (macvlan_handle_frame)"
            }
        })
    }
}

/// What netbackend is to do with a step, given what the kernel did.
pub(super) fn expected(
    scenario: Scenario,
    script: &[Frame],
    step: usize,
    kernel: &Matrix,
) -> (Arrivals, Option<Deliberate>) {
    let (row, reason) = of_class(scenario, script, step, kernel);
    let frame = &script[step];
    let (shared, why) = match scenario.way {
        Way::Nic => (
            shared_with_host(scenario, frame, &row),
            Deliberate::HostAside,
        ),
        Way::Packet => (
            heard_by_host(scenario, frame, &row),
            Deliberate::HostListens,
        ),
        Way::Tap | Way::Attach => return (row, reason),
    };
    if shared == row {
        return (row, reason);
    }
    (shared, Some(why))
}

/// The row with what the host gets beside a macvtap in passthru mode.
fn shared_with_host(scenario: Scenario, frame: &Frame, row: &Arrivals) -> Arrivals {
    let mut shared = row.only(|one| one != Station::Host.into());
    if comes_in(scenario, frame, row)
        && frame.is_multicast()
        && frame.source() != Station::Host.mac()
    {
        add_host(&mut shared, frame);
    }
    shared
}

/// The row with what the host gets beside packet sockets: all that comes in.
fn heard_by_host(scenario: Scenario, frame: &Frame, row: &Arrivals) -> Arrivals {
    let mut heard = row.clone();
    let is_reflected = is_of_endpoint(frame.source()) && comes_in(scenario, frame, row);
    if scenario.mode == "private" && frame.is_multicast() && is_reflected {
        add_host(&mut heard, frame);
    }
    heard
}

/// Whether the relay passes the frame on to the host's NIC.
fn comes_in(scenario: Scenario, frame: &Frame, row: &Arrivals) -> bool {
    let outside = Receiver::from(Station::Outside);
    let has = |pass: &dyn Fn(Receiver) -> bool| !row.only(pass).0.is_empty();
    match frame.sender {
        Station::Outside => has(&|one| one != outside),
        _ => scenario.hairpin && has(&|one| one == outside),
    }
}

fn add_host(row: &mut Arrivals, frame: &Frame) {
    row.0.push(Arrival {
        receiver: Station::Host.into(),
        // The host's stack takes the tag out.
        intact: !frame.is_tagged(),
    });
    row.0.sort();
}

fn of_class(
    scenario: Scenario,
    script: &[Frame],
    step: usize,
    kernel: &Matrix,
) -> (Arrivals, Option<Deliberate>) {
    let frame = &script[step];
    let row = &kernel.rows[step];
    let bridge = scenario.mode == "bridge";
    let is_inside = |one| matches!(one, Receiver::Station(Station::Endpoint(_)));
    // What the host sends goes to the wire beside the switch.
    let nobody = || row.only(|one| frame.sender == Station::Host && !is_inside(one));
    let sender = Receiver::from(frame.sender);
    let is_listed = |reason: &Deliberate| Deliberate::of(scenario.way).contains(reason);
    let (wanted, reason) = match frame.class {
        Class::NotJoined => {
            let like = joined_by_all(script, frame.sender);
            (kernel.rows[like].clone(), Deliberate::NotJoined)
        }
        Class::ToItself if bridge => (row.only(|one| one != sender), Deliberate::ToItself),
        Class::BadSource => (nobody(), Deliberate::BadSource),
        Class::Pause => (nobody(), Deliberate::Pause),
        Class::ReservedGroup if bridge => (nobody(), Deliberate::ReservedGroup),
        _ if scenario.mode == "private" && !frame.is_multicast() => (
            row.only(|one| !is_sibling(frame, one)),
            Deliberate::PrivateReflection,
        ),
        _ => return (row.clone(), None),
    };
    if !is_listed(&reason) {
        return (row.clone(), None);
    }
    let differs = wanted != *row;
    (wanted, differs.then_some(reason))
}

/// The step in which the same sender sends to a group that everybody has joined.
fn joined_by_all(script: &[Frame], sender: Station) -> usize {
    script
        .iter()
        .position(|frame| frame.sender == sender && frame.class == Class::Joined)
        .unwrap()
}

/// Whether the receiver is another endpoint than the one that the frame claims to come from.
fn is_sibling(frame: &Frame, receiver: Receiver) -> bool {
    match receiver {
        Receiver::Station(station @ Station::Endpoint(_)) => {
            is_of_endpoint(frame.source()) && station.mac() != frame.source()
        }
        _ => false,
    }
}

fn is_of_endpoint(mac: Mac) -> bool {
    (0..4).any(|index| Station::Endpoint(index).mac() == mac)
}
