//! virtio-blk: a disk on a raw file (virtio 1.2, 5.2).
//!
//! Requests are executed one after the other on a thread of the disk's own, with vectored I/O
//! straight from and to guest memory. A flush is fdatasync(2); a driver that did not negotiate
//! flushes gets write-through.
mod image;
mod request;
mod sys;

pub use image::{DiskError, Image, SECTOR};

use self::{
    request::{ID_LEN, RequestHandler},
    sys::{VectoredIo, WriteMode},
};
use super::{
    Activation, Call, Notifier, VirtioDevice, VirtioError, read_config_bytes, spec,
    worker::QueueWorker,
};

use std::sync::Arc;

/// VIRTIO_BLK_F_SEG_MAX: `seg_max` is valid.
const F_SEG_MAX: u64 = 1 << 2;
/// VIRTIO_BLK_F_RO: the disk is read-only.
const F_RO: u64 = 1 << 5;
/// VIRTIO_BLK_F_BLK_SIZE: `blk_size` is valid.
const F_BLK_SIZE: u64 = 1 << 6;
/// VIRTIO_BLK_F_FLUSH: there is a volatile cache, and a command to flush it.
const F_FLUSH: u64 = 1 << 9;

const QUEUE_SIZE: u16 = 256;
/// Data segments of a request: a chain also holds header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// Mass storage, other.
const CLASS: u32 = 0x01_80_00;

/// A disk.
#[derive(Debug)]
pub struct Block {
    image: Arc<Image>,
    id: [u8; ID_LEN],
    notifier: Option<Notifier>,
    worker: Option<QueueWorker>,
}

impl Block {
    /// A disk on `image`. The guest reads the file's name as the disk's ID.
    pub fn new(image: Arc<Image>) -> Self {
        let mut id = [0; ID_LEN];
        for (byte, value) in id.iter_mut().zip(image.name().bytes()) {
            *byte = value;
        }
        Self {
            image,
            id,
            notifier: None,
            worker: None,
        }
    }

    /// `struct virtio_blk_config` (5.2.4) up to `blk_size`.
    fn config(&self) -> [u8; 24] {
        let mut config = [0; 24];
        config[..8].copy_from_slice(&self.image.sectors().to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..].copy_from_slice(&512u32.to_le_bytes());
        config
    }
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u16 {
        spec::TYPE_BLOCK
    }

    fn class(&self) -> u32 {
        CLASS
    }

    fn features(&self) -> u64 {
        let readonly = if self.image.readonly() { F_RO } else { 0 };
        spec::RING_FEATURES | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | readonly
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn attach(&mut self, notifier: Notifier) {
        self.notifier = Some(notifier);
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), VirtioError> {
        let setup = activation.queues.into_iter().next();
        let handler = RequestHandler {
            file: self.image.try_clone()?,
            sectors: self.image.sectors(),
            readonly: self.image.readonly(),
            mode: if activation.features & F_FLUSH != 0 {
                WriteMode::Back
            } else {
                WriteMode::Through
            },
            id: self.id,
            io: VectoredIo::default(),
        };
        self.worker = Some(QueueWorker::start(
            "virtio-blk",
            setup.ok_or(VirtioError::QueueMissing(0))?,
            activation.memory.map,
            self.notifier.clone(),
            handler,
        )?);
        Ok(())
    }

    fn set_call(&mut self, _index: usize, call: Call) {
        if let Some(worker) = &self.worker {
            worker.set_call(call);
        }
    }

    fn reset(&mut self) {
        self.worker = None;
    }
}

#[cfg(test)]
#[path = "blk_test.rs"]
mod tests;
