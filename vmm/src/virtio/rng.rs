//! virtio-rng: an entropy source (virtio 1.2, 5.4).
use super::{
    Activation, Call, Notifier, VirtioDevice, VirtioError, spec,
    worker::{ChainHandler, QueueWorker},
};
use std::{fs::File, io::Read, path::Path};
use virtqueue::Chain;

const QUEUE_SIZE: u16 = 64;
/// Bytes given per request at most, however large the buffer: a guest cannot keep the thread in one
/// request.
const MAX_REQUEST: usize = 4096;
/// Unclassified device.
const CLASS: u32 = 0xff_00_00;

/// The entropy source; the kernel's generator is behind it.
#[derive(Debug)]
pub struct Rng {
    source: File,
    notifier: Option<Notifier>,
    worker: Option<QueueWorker>,
}

impl Rng {
    /// A source that reads the host's /dev/urandom.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            source: File::open(Path::new("/dev/urandom"))?,
            notifier: None,
            worker: None,
        })
    }
}

struct Handler {
    source: File,
}

impl ChainHandler for Handler {
    fn handle(&mut self, chain: &Chain<'_>) -> u32 {
        let mut bytes = [0; MAX_REQUEST];
        let buffer = chain.writable();
        let wanted = usize::try_from(buffer.len()).map_or(MAX_REQUEST, |len| len.min(MAX_REQUEST));
        let Some(bytes) = bytes.get_mut(..wanted) else {
            return 0;
        };
        if self.source.read_exact(bytes).is_err() {
            return 0;
        }
        u32::try_from(buffer.write_at(0, bytes)).unwrap_or(0)
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> u16 {
        spec::TYPE_RNG
    }

    fn class(&self) -> u32 {
        CLASS
    }

    fn features(&self) -> u64 {
        spec::RING_FEATURES
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn attach(&mut self, notifier: Notifier) {
        self.notifier = Some(notifier);
    }

    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

    fn activate(&mut self, activation: Activation) -> Result<(), VirtioError> {
        let setup = activation.queues.into_iter().next();
        let handler = Handler {
            source: self.source.try_clone()?,
        };
        self.worker = Some(QueueWorker::start(
            "virtio-rng",
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
#[path = "rng_test.rs"]
mod tests;
