//! The control queue (virtio 1.2, 5.1.6.5), which never leaves the VMM.
use crate::{net::LinkHandle, virtio::worker::ChainHandler};
use virtqueue::Chain;

/// VIRTIO_NET_CTRL_MQ.
const CLASS_MQ: u8 = 4;
/// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
const MQ_VQ_PAIRS_SET: u8 = 0;

/// VIRTIO_NET_OK.
const OK: u8 = 0;
/// VIRTIO_NET_ERR.
const ERR: u8 = 1;

/// Answers commands.
#[derive(Debug)]
pub(super) struct ControlHandler {
    pub(super) link: LinkHandle,
    /// Queue pairs that may be asked for; 1 without VIRTIO_NET_F_MQ.
    pub(super) max_pairs: u16,
}

impl ChainHandler for ControlHandler {
    fn handle(&mut self, chain: &Chain<'_>) -> u32 {
        let ack = self.execute(chain);
        // A driver that left no room for the answer gets none.
        u32::try_from(chain.writable().write_at(0, &[ack])).unwrap_or(0)
    }
}

impl ControlHandler {
    fn execute(&self, chain: &Chain<'_>) -> u8 {
        let mut command = [0; 4];
        let len = chain.readable().read_at(0, &mut command);
        let [class, kind, low, high] = command;
        // Classes that were not offered, and those nobody knows, are answered the same way.
        if len < command.len() || (class, kind) != (CLASS_MQ, MQ_VQ_PAIRS_SET) {
            return ERR;
        }
        let pairs = u16::from_le_bytes([low, high]);
        if !(1..=self.max_pairs).contains(&pairs) {
            return ERR;
        }
        self.link.set_pairs(pairs);
        OK
    }
}
