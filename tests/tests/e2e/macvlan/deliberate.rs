//! Where netbackend differs from macvlan on purpose, and why.
use super::frames::{Class, Frame, Station};
use super::matrix::{Arrivals, Matrix, Receiver};
use super::world::Scenario;
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
}

impl Deliberate {
    pub(super) const ALL: [Self; 6] = [
        Self::NotJoined,
        Self::ToItself,
        Self::BadSource,
        Self::Pause,
        Self::ReservedGroup,
        Self::PrivateReflection,
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
    let frame = &script[step];
    let row = &kernel.rows[step];
    let bridge = scenario.mode == "bridge";
    let nobody = Arrivals::default;
    let sender = Receiver::from(frame.sender);
    let (row, reason) = match frame.class {
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
    let differs = row != kernel.rows[step];
    (row, differs.then_some(reason))
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
