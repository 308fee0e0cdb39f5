//! The virtio and vhost-user features of a port.
use super::super::command::PortOffloads;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use virtqueue::RingFeatures;

// Device features (virtio 1.2, 5.1.3) and transport features (6). By bit number.
const NET_CSUM: u32 = 0;
const NET_GUEST_CSUM: u32 = 1;
const NET_MTU: u32 = 3;
const NET_GUEST_TSO4: u32 = 7;
const NET_GUEST_TSO6: u32 = 8;
const NET_GUEST_ECN: u32 = 9;
const NET_GUEST_UFO: u32 = 10;
const NET_HOST_TSO4: u32 = 11;
const NET_HOST_TSO6: u32 = 12;
const NET_HOST_ECN: u32 = 13;
const NET_HOST_UFO: u32 = 14;
const NET_MRG_RXBUF: u32 = 15;
// Link status, link speed and the control queue are the front-end's: it has the configuration space,
// and no message of vhost-user passes commands on. Front-ends that mask their own features with ours
// need to see them.
const NET_STATUS: u32 = 16;
const NET_CTRL_VQ: u32 = 17;
/// The front-end tells its driver over the control queue, which is the front-end's, to announce itself
/// after a migration; QEMU does so only for back-ends that offer it.
const NET_GUEST_ANNOUNCE: u32 = 21;
const NET_MQ: u32 = 22;
/// VHOST_F_LOG_ALL: everything written to guest memory is marked in the dirty log (vhost-user.rst, "Migration").
const LOG_ALL: u32 = 26;
/// Legacy: headers may be anywhere. Since VERSION_1 that is a matter of course.
const ANY_LAYOUT: u32 = 27;
const RING_INDIRECT_DESC: u32 = 28;
const RING_EVENT_IDX: u32 = 29;
/// VHOST_USER_F_PROTOCOL_FEATURES (vhost-user.rst, "Feature negotiation").
const PROTOCOL_FEATURES: u32 = 30;
const VERSION_1: u32 = 32;
/// One ring of descriptors instead of three areas (virtio 1.2, 2.8).
const RING_PACKED: u32 = 34;
const IN_ORDER: u32 = 35;
/// A driver resets one queue: it reaches us as GET_VRING_BASE, and later as a new start.
const RING_RESET: u32 = 40;
const NET_GUEST_USO4: u32 = 54;
const NET_GUEST_USO6: u32 = 55;
const NET_HOST_USO: u32 = 56;
const NET_SPEED_DUPLEX: u32 = 63;

/// Every feature with its name in reports. What is listed is offered, MQ only with several pairs.
const FEATURES: [(u32, &str); 29] = [
    (NET_CSUM, "csum"),
    (NET_GUEST_CSUM, "guest_csum"),
    (NET_MTU, "mtu"),
    (NET_GUEST_TSO4, "guest_tso4"),
    (NET_GUEST_TSO6, "guest_tso6"),
    (NET_GUEST_ECN, "guest_ecn"),
    (NET_GUEST_UFO, "guest_ufo"),
    (NET_HOST_TSO4, "host_tso4"),
    (NET_HOST_TSO6, "host_tso6"),
    (NET_HOST_ECN, "host_ecn"),
    (NET_HOST_UFO, "host_ufo"),
    (NET_MRG_RXBUF, "mrg_rxbuf"),
    (NET_STATUS, "status"),
    (NET_CTRL_VQ, "ctrl_vq"),
    (NET_GUEST_ANNOUNCE, "guest_announce"),
    (NET_MQ, "mq"),
    (LOG_ALL, "log_all"),
    (ANY_LAYOUT, "any_layout"),
    (RING_INDIRECT_DESC, "indirect_desc"),
    (RING_EVENT_IDX, "event_idx"),
    (PROTOCOL_FEATURES, "protocol_features"),
    (VERSION_1, "version_1"),
    (RING_PACKED, "ring_packed"),
    (IN_ORDER, "in_order"),
    (RING_RESET, "ring_reset"),
    (NET_GUEST_USO4, "guest_uso4"),
    (NET_GUEST_USO6, "guest_uso6"),
    (NET_HOST_USO, "host_uso"),
    (NET_SPEED_DUPLEX, "speed_duplex"),
];

/// Features of a port with `queue_pairs` pairs at most.
pub(crate) fn offered(queue_pairs: u16) -> u64 {
    FEATURES
        .iter()
        .filter(|(bit, _)| *bit != NET_MQ || queue_pairs > 1)
        .fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// Protocol features; `has_cable`: the front-end can follow its guest's link. REPLY_ACK is the work of crate `vhost`.
pub(crate) fn offered_protocol(has_cable: bool) -> VhostUserProtocolFeatures {
    let of_cable = VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::BACKEND_REQ;
    let of_cable = if has_cable {
        of_cable
    } else {
        // QEMU, which has no use for CONFIG, warns of it at each start.
        VhostUserProtocolFeatures::empty()
    };
    of_cable
        | VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
        | VhostUserProtocolFeatures::LOG_SHMFD
        | VhostUserProtocolFeatures::RARP
        | VhostUserProtocolFeatures::MTU
        | VhostUserProtocolFeatures::RESET_DEVICE
        | VhostUserProtocolFeatures::INFLIGHT_SHMFD
        | VhostUserProtocolFeatures::STATUS
}

/// Names of the features in `bits`, for reports.
pub(crate) fn names(bits: u64) -> Vec<String> {
    FEATURES
        .iter()
        .filter(|(bit, _)| has(bits, *bit))
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Whether the front-end speaks of rings being enabled (it negotiated protocol features).
pub(crate) fn rings_start_disabled(bits: u64) -> bool {
    has(bits, PROTOCOL_FEATURES)
}

/// Whether the front-end migrates its guest now.
pub(crate) fn logs(bits: u64) -> bool {
    has(bits, LOG_ALL)
}

/// The ring layout that `bits` mean.
pub(crate) fn ring_features(bits: u64) -> RingFeatures {
    RingFeatures {
        event_idx: has(bits, RING_EVENT_IDX),
        indirect: has(bits, RING_INDIRECT_DESC),
        in_order: has(bits, IN_ORDER),
        packed: has(bits, RING_PACKED),
    }
}

/// The frame format that `bits` mean.
pub(crate) fn offloads(bits: u64) -> PortOffloads {
    let mergeable = has(bits, NET_MRG_RXBUF);
    PortOffloads {
        // Virtio 1.2, 5.1.6.1: the legacy header has no `num_buffers` unless MRG_RXBUF is there.
        header_len: if mergeable || has(bits, VERSION_1) {
            12
        } else {
            10
        },
        mergeable,
        tx_checksum: has(bits, NET_CSUM),
        tx_tso4: has(bits, NET_HOST_TSO4),
        tx_tso6: has(bits, NET_HOST_TSO6),
        tx_ecn: has(bits, NET_HOST_ECN),
        tx_ufo: has(bits, NET_HOST_UFO),
        tx_uso: has(bits, NET_HOST_USO),
        rx_checksum: has(bits, NET_GUEST_CSUM),
        rx_tso4: has(bits, NET_GUEST_TSO4),
        rx_tso6: has(bits, NET_GUEST_TSO6),
        rx_ecn: has(bits, NET_GUEST_ECN),
        rx_ufo: has(bits, NET_GUEST_UFO),
        rx_uso4: has(bits, NET_GUEST_USO4),
        rx_uso6: has(bits, NET_GUEST_USO6),
        wants_source: false,
        waited_for: false,
    }
}

fn has(bits: u64, bit: u32) -> bool {
    bits & 1 << bit != 0
}
