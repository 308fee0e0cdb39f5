//! An independent peer for vhost-user front-ends: two ports joined back to back, made only of the
//! stock crates `vhost-user-backend` and `virtio-queue`. Nothing of ours is on its data path.
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackendMut, VhostUserDaemon, VringMutex, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

const RX: u16 = 0;
const TX: u16 = 1;
const QUEUE_SIZE: usize = 1024;
/// `struct virtio_net_hdr_v1` (virtio 1.2 § 5.1.6).
const HEADER: usize = 12;
/// Where `num_buffers` is in it; must be 1 without MRG_RXBUF (§ 5.1.6.4.1).
const NUM_BUFFERS: usize = 10;
/// The largest frame without offloads: 1500 bytes, an Ethernet header, a VLAN tag.
const MAX_FRAME: usize = 1518;
/// Frames that wait for a receiver without buffers; more are lost, as on a wire.
const MAX_PENDING: usize = 4096;

/// What the other port needs to know of a port: its RX ring, and frames on their way to it.
#[derive(Default)]
struct Receiver {
    ring: Option<(VringMutex, Memory)>,
    pending: VecDeque<Vec<u8>>,
}

impl Receiver {
    fn push(&mut self, frame: Vec<u8>) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push_back(frame);
        }
    }

    /// Moves pending frames into the guest's buffers, as far as there are any.
    fn flush(&mut self) -> io::Result<()> {
        let Some((ring, memory)) = &self.ring else {
            return Ok(());
        };
        let mut ring = ring.get_mut();
        if !ring.is_enabled() || !ring.get_queue().ready() {
            return Ok(());
        }
        let mut delivered = false;
        while let Some(frame) = self.pending.front() {
            let guard = memory.memory();
            let Some(chain) = ring.get_queue_mut().pop_descriptor_chain(guard.clone()) else {
                // Ask for a kick; look again if a buffer came meanwhile.
                if ring.enable_notification().map_err(io::Error::other)? {
                    continue;
                }
                break;
            };
            let head = chain.head_index();
            let mut writer = chain.writer(&guard).map_err(io::Error::other)?;
            writer.write_all(frame)?;
            let written = u32::try_from(frame.len()).map_err(io::Error::other)?;
            ring.add_used(head, written).map_err(io::Error::other)?;
            delivered = true;
            self.pending.pop_front();
        }
        if delivered && ring.needs_notification().map_err(io::Error::other)? {
            ring.signal_used_queue()?;
        }
        Ok(())
    }
}

type SharedReceiver = Arc<Mutex<Receiver>>;

fn lock(receiver: &SharedReceiver) -> MutexGuard<'_, Receiver> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One port: sends what its guest transmits to the other port's receiver.
struct Port {
    memory: Memory,
    own: SharedReceiver,
    other: SharedReceiver,
}

impl Port {
    fn transmit(&self, ring: &VringMutex) -> io::Result<()> {
        let mut ring = ring.get_mut();
        let mut other = lock(&self.other);
        loop {
            ring.disable_notification().map_err(io::Error::other)?;
            let mut used = false;
            loop {
                let memory = self.memory.memory();
                let Some(chain) = ring.get_queue_mut().pop_descriptor_chain(memory.clone()) else {
                    break;
                };
                let head = chain.head_index();
                if let Some(frame) = read_frame(chain.reader(&memory).map_err(io::Error::other)?) {
                    other.push(frame);
                }
                ring.add_used(head, 0).map_err(io::Error::other)?;
                used = true;
            }
            if used && ring.needs_notification().map_err(io::Error::other)? {
                ring.signal_used_queue()?;
            }
            if !ring.enable_notification().map_err(io::Error::other)? {
                break;
            }
        }
        other.flush()
    }
}

/// The frame behind its virtio header, with a header for a receiver without offloads.
fn read_frame(mut reader: impl Read) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(HEADER + MAX_FRAME);
    let limit = (HEADER + MAX_FRAME + 1) as u64;
    reader.by_ref().take(limit).read_to_end(&mut frame).ok()?;
    if frame.len() <= HEADER || frame.len() > HEADER + MAX_FRAME {
        return None;
    }
    frame[..HEADER].fill(0);
    frame[NUM_BUFFERS] = 1;
    Some(frame)
}

impl VhostUserBackendMut for Port {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        2
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        (1 << VIRTIO_F_VERSION_1)
            | (1 << VIRTIO_RING_F_EVENT_IDX)
            | (1 << VIRTIO_RING_F_INDIRECT_DESC)
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::MQ
    }

    fn set_event_idx(&mut self, _enabled: bool) {
        // `virtio-queue` keeps this per ring; nothing of ours depends on it.
    }

    fn update_memory(&mut self, memory: Memory) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(
        &mut self,
        event: u16,
        _readiness: EventSet,
        rings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        match event {
            RX => {
                let mut own = lock(&self.own);
                own.ring = Some((rings[usize::from(RX)].clone(), self.memory.clone()));
                own.flush()
            }
            TX => self.transmit(&rings[usize::from(TX)]),
            other => Err(io::Error::other(format!("no queue {other}"))),
        }
    }
}

/// Serves both sockets until the process ends; a front-end may come back as often as it likes.
pub fn serve(first: &Path, second: &Path) -> Result<()> {
    let ends = [SharedReceiver::default(), SharedReceiver::default()];
    thread::scope(|scope| {
        let [one, two] = &ends;
        let helper = scope.spawn(|| serve_port(first, one, two));
        serve_port(second, two, one)?;
        helper.join().unwrap_or(Ok(()))
    })
}

fn serve_port(socket: &Path, own: &SharedReceiver, other: &SharedReceiver) -> Result<()> {
    loop {
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let port = Port {
            memory: memory.clone(),
            own: own.clone(),
            other: other.clone(),
        };
        let name = socket.display().to_string();
        let port = Arc::new(Mutex::new(port));
        let mut daemon = VhostUserDaemon::new(name, port, memory)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("preparing {}", socket.display()))?;
        if let Err(error) = daemon.serve(socket) {
            eprintln!("{}: connection ended: {error}", socket.display());
        }
        *lock(own) = Receiver::default();
    }
}
