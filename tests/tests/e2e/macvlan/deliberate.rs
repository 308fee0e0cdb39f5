//! Where netbackend differs from macvlan on purpose, and why.
use super::frames::{Class, Frame, Station};
use super::matrix::{Arrival, Arrivals, Matrix, Receiver};
use super::world::{Attach, Scenario};
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
    OwnNic,
}

impl Deliberate {
    pub(super) const ALL: [Self; 7] = [
        Self::NotJoined,
        Self::ToItself,
        Self::BadSource,
        Self::Pause,
        Self::ReservedGroup,
        Self::PrivateReflection,
        Self::OwnNic,
    ];
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
            Self::OwnNic => {
                "attach = \"switch\": the NIC is the network's alone, so the host's own stack gets \
                 no unicast by it, but all groups; beside macvlans it gets what is for nobody else"
            }
        })
    }
}

/// What netbackend is to do with a step, given what the kernel did.
pub(super) fn expected(
    scenario: Scenario,
    attach: Attach,
    script: &[Frame],
    step: usize,
    kernel: &Matrix,
) -> (Arrivals, Option<Deliberate>) {
    let frame = &script[step];
    let row = &kernel.rows[step];
    // Nothing of it depends on who switches.
    let (row, mut reason) = match frame.class {
        Class::NotJoined => {
            let like = joined_by_all(script, frame.sender);
            (kernel.rows[like].clone(), Some(Deliberate::NotJoined))
        }
        Class::BadSource if from_guest(frame) => (Arrivals::default(), Some(Deliberate::BadSource)),
        Class::Pause if from_guest(frame) => (Arrivals::default(), Some(Deliberate::Pause)),
        _ => (row.clone(), None),
    };
    let row = match attach {
        Attach::Macvtap => row,
        Attach::Switch => by_our_switch(scenario, frame, row, &mut reason),
    };
    let differs = row != kernel.rows[step];
    (row, reason.filter(|_| differs))
}

/// What our switch does otherwise than the kernel's.
fn by_our_switch(
    scenario: Scenario,
    frame: &Frame,
    row: Arrivals,
    reason: &mut Option<Deliberate>,
) -> Arrivals {
    let bridge = scenario.mode == "bridge";
    let sender = Receiver::from(frame.sender);
    let is_endpoint = |one| matches!(one, Receiver::Station(Station::Endpoint(_)));
    let mut leave = |row: Arrivals, why, pass: &dyn Fn(Receiver) -> bool| {
        let left = row.only(pass);
        if left != row {
            *reason = Some(why);
        }
        left
    };
    let row = match frame.class {
        Class::ToItself if bridge => leave(row, Deliberate::ToItself, &|one| one != sender),
        // What did not come from a guest was on the wire before the switch saw it.
        Class::BadSource => leave(row, Deliberate::BadSource, &|one| !is_endpoint(one)),
        Class::Pause => leave(row, Deliberate::Pause, &|one| !is_endpoint(one)),
        Class::ReservedGroup if bridge && from_guest(frame) => {
            leave(row, Deliberate::ReservedGroup, &|_| false)
        }
        Class::ReservedGroup if bridge => {
            leave(row, Deliberate::ReservedGroup, &|one| !is_endpoint(one))
        }
        _ if scenario.mode == "private" && !frame.is_multicast() => {
            leave(row, Deliberate::PrivateReflection, &|one| {
                !is_sibling(frame, one)
            })
        }
        _ => row,
    };
    let right = at_host(scenario, frame, &row);
    if right != row {
        *reason = Some(Deliberate::OwnNic);
    }
    right
}

/// What the host's own stack gets beside a device that takes all unicast: every group frame that comes in.
fn at_host(scenario: Scenario, frame: &Frame, row: &Arrivals) -> Arrivals {
    let host = Receiver::from(Station::Host);
    let got = |receiver: Receiver| row.0.iter().any(|arrival| arrival.receiver == receiver);
    let comes_in = match frame.sender {
        Station::Outside => row
            .0
            .iter()
            .any(|arrival| arrival.receiver != Receiver::Wire),
        // The relay has sent it on, and so back.
        Station::Endpoint(_) | Station::Host => scenario.hairpin && got(Station::Outside.into()),
    };
    let mut right = row.only(|one| one != host);
    // Its macvtap has the NIC's address: what seems to come from there is its alone.
    let from_own = frame.source() == Station::Host.mac();
    if comes_in && frame.is_multicast() && !from_own {
        right.0.push(Arrival {
            receiver: host,
            intact: !frame.is_tagged(),
        });
        right.0.sort();
    }
    right
}

fn from_guest(frame: &Frame) -> bool {
    matches!(frame.sender, Station::Endpoint(_))
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
    let from_endpoint = |mac| (0..4).any(|index| Station::Endpoint(index).mac() == mac);
    match receiver {
        Receiver::Station(station @ Station::Endpoint(_)) => {
            from_endpoint(frame.source()) && station.mac() != frame.source()
        }
        _ => false,
    }
}
