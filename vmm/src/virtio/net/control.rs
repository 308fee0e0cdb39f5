//! The control queue (virtio 1.2, 5.1.6.5), which never leaves the VMM.
use super::receive::{CLASS_MAC, CLASS_RX, ReceiveControl};
use crate::{net::LinkHandle, virtio::worker::ChainHandler};
use virtqueue::{Chain, Segments};

/// VIRTIO_NET_CTRL_MQ.
const CLASS_MQ: u8 = 4;
/// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
const MQ_VQ_PAIRS_SET: u8 = 0;

/// VIRTIO_NET_OK.
pub(super) const OK: u8 = 0;
/// VIRTIO_NET_ERR.
pub(super) const ERR: u8 = 1;

/// Answers commands.
#[derive(Debug)]
pub(super) struct ControlHandler {
    pub(super) link: LinkHandle,
    /// Queue pairs that may be asked for; 1 without VIRTIO_NET_F_MQ.
    pub(super) max_pairs: u16,
    /// Of a guest that may choose what it receives.
    pub(super) receive: Option<ReceiveControl>,
}

impl ChainHandler for ControlHandler {
    fn handle(&mut self, chain: &Chain<'_>) -> u32 {
        let ack = self.execute(chain);
        // A driver that left no room for the answer gets none.
        u32::try_from(chain.writable().write_at(0, &[ack])).unwrap_or(0)
    }
}

impl ControlHandler {
    fn execute(&mut self, chain: &Chain<'_>) -> u8 {
        let bytes = chain.readable();
        let mut command = [0; 2];
        if bytes.read_at(0, &mut command) < command.len() {
            return ERR;
        }
        match (command, &mut self.receive) {
            ([CLASS_MQ, MQ_VQ_PAIRS_SET], _) => self.set_pairs(&bytes),
            ([class @ (CLASS_RX | CLASS_MAC), kind], Some(receive)) => {
                receive.execute(class, kind, &bytes)
            }
            // Classes that were not offered, and those nobody knows, are answered the same way.
            _ => ERR,
        }
    }

    fn set_pairs(&self, bytes: &Segments<'_>) -> u8 {
        let mut pairs = [0; 2];
        if bytes.read_at(2, &mut pairs) < pairs.len() {
            return ERR;
        }
        let pairs = u16::from_le_bytes(pairs);
        if !(1..=self.max_pairs).contains(&pairs) {
            return ERR;
        }
        self.link.set_pairs(pairs);
        OK
    }
}
