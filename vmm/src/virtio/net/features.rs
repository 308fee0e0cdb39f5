//! Feature bits of virtio-net (virtio 1.2, 5.1.3), and who has a say in each.
use crate::virtio::spec;

/// VIRTIO_NET_F_CSUM: the driver may send partial checksums.
pub(super) const CSUM: u64 = 1 << 0;
/// VIRTIO_NET_F_GUEST_CSUM: it takes them.
pub(super) const GUEST_CSUM: u64 = 1 << 1;
/// VIRTIO_NET_F_MTU: the configuration has an MTU.
pub(super) const MTU: u64 = 1 << 3;
/// VIRTIO_NET_F_MAC: the configuration has an address.
pub(super) const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
/// VIRTIO_NET_F_MRG_RXBUF: a frame may take several buffers.
const MRG_RXBUF: u64 = 1 << 15;
/// VIRTIO_NET_F_STATUS: the configuration has a link status.
pub(super) const STATUS: u64 = 1 << 16;
/// VIRTIO_NET_F_CTRL_VQ: there is a control queue.
pub(super) const CTRL_VQ: u64 = 1 << 17;
/// VIRTIO_NET_F_CTRL_RX: the driver says which frames it wants.
pub(super) const CTRL_RX: u64 = 1 << 18;
/// VIRTIO_NET_F_CTRL_MAC_ADDR: it changes the address.
pub(super) const CTRL_MAC_ADDR: u64 = 1 << 23;
/// VIRTIO_NET_F_MQ: there are several queue pairs.
pub(super) const MQ: u64 = 1 << 22;

/// Of a NIC whose guest is trusted with its filter. Not CTRL_RX_EXTRA: nothing of the host can keep broadcasts alone away, as 5.1.6.5.1.1
/// demands of whoever offers it.
pub(super) const OF_FILTER: u64 = CTRL_RX | CTRL_MAC_ADDR;

/// What only the back-end can do.
pub(super) const PASSED_THROUGH: u64 = CSUM
    | GUEST_CSUM
    | GUEST_TSO4
    | GUEST_TSO6
    | GUEST_ECN
    | HOST_TSO4
    | HOST_TSO6
    | HOST_ECN
    | MRG_RXBUF
    | spec::RING_FEATURES;

/// What a feature needs (5.1.3.1): the left one is refused without one of the right ones.
const NEEDS: [(u64, u64); 9] = [
    (GUEST_TSO4, GUEST_CSUM),
    (GUEST_TSO6, GUEST_CSUM),
    (GUEST_ECN, GUEST_TSO4 | GUEST_TSO6),
    (HOST_TSO4, CSUM),
    (HOST_TSO6, CSUM),
    (HOST_ECN, HOST_TSO4 | HOST_TSO6),
    (MQ, CTRL_VQ),
    (CTRL_RX, CTRL_VQ),
    (CTRL_MAC_ADDR, CTRL_VQ),
];

/// The set is closed under the requirements of 5.1.3.1.
pub(super) fn consistent(features: u64) -> bool {
    NEEDS
        .iter()
        .all(|(feature, needs)| features & feature == 0 || features & needs != 0)
}
