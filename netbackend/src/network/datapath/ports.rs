//! The ports of a datapath thread.
use super::{
    super::counters::PortShared,
    Source, Target,
    conduct::Conduct,
    frame::{flow_hash, source_mac},
    limits::Limits,
    ring::Ring,
    tap_port::{TapPort, TapQueue},
    vhost_port::VhostPort,
};
use std::sync::Arc;
use switch::PortId;

/// What carries the frames of a port.
#[derive(Debug)]
pub(super) enum Carrier {
    Vhost(VhostPort),
    Tap(TapPort),
}

/// A port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) shared: Arc<PortShared>,
    pub(super) carrier: Carrier,
    pub(super) limits: Limits,
    /// The first source address was noted.
    knows_mac: bool,
}

impl Port {
    pub(super) fn new(shared: Arc<PortShared>, carrier: Carrier, limits: Limits) -> Self {
        Self {
            shared,
            carrier,
            limits,
            knows_mac: false,
        }
    }

    pub(super) fn vhost(&mut self) -> Option<&mut VhostPort> {
        match &mut self.carrier {
            Carrier::Vhost(port) => Some(port),
            Carrier::Tap(_) => None,
        }
    }

    /// Queue that the frame which starts with `head` leaves by; `None`: none is there to take it.
    pub(super) fn queue_for(&self, head: &[u8]) -> Option<u16> {
        match &self.carrier {
            Carrier::Vhost(port) => port.receive_queue(|| flow_hash(head)),
            Carrier::Tap(port) if port.queues.len() > 1 => {
                let queues = u32::try_from(port.queues.len()).ok()?;
                u16::try_from(flow_hash(head) % queues).ok()
            }
            Carrier::Tap(_) => Some(0),
        }
    }

    /// Whether all frames leave by the same queue, whatever their flow.
    pub(super) fn has_one_queue(&self) -> bool {
        match &self.carrier {
            Carrier::Vhost(port) => port.has_one_receive_queue(),
            Carrier::Tap(port) => port.queues.len() <= 1,
        }
    }

    /// Whether frames from this source are to be carried.
    pub(super) fn is_source_enabled(&mut self, queue: u16) -> bool {
        match &mut self.carrier {
            Carrier::Vhost(port) => port.transmit(queue).is_some_and(|ring| ring.enabled),
            Carrier::Tap(_) => true,
        }
    }

    /// Notes the source of the port's first frame, which starts with `head`, for reports.
    pub(super) fn note_mac(&mut self, head: &[u8]) {
        if !self.knows_mac {
            self.knows_mac = true;
            self.shared.set_first_mac(source_mac(head));
        }
    }

    /// Queue `queue`, if the port is a tap's.
    pub(super) fn tap_queue(&mut self, queue: u16) -> Option<&mut TapQueue> {
        match &mut self.carrier {
            Carrier::Vhost(_) => None,
            Carrier::Tap(port) => port.queue(queue),
        }
    }

    /// The conduct of a source that this worker serves.
    pub(super) fn conduct(&mut self, queue: u16) -> Option<&mut Conduct> {
        match &mut self.carrier {
            Carrier::Vhost(port) => Some(&mut port.transmit(queue)?.conduct),
            Carrier::Tap(port) => {
                let tap = port.queue(queue).filter(|tap| tap.served)?;
                Some(&mut tap.conduct)
            }
        }
    }
}

/// Ports by id.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<Option<Port>>);

impl Ports {
    pub(super) fn get(&self, id: PortId) -> Option<&Port> {
        self.0.get(usize::from(id.0))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.0.get_mut(usize::from(id.0))?.as_mut()
    }

    /// The receive ring that frames leave by, if it is this worker's alone.
    #[inline]
    pub(super) fn own_receive(&mut self, target: Target) -> Option<&mut Ring> {
        match &mut self.get_mut(target.port)?.carrier {
            Carrier::Vhost(port) => port.own_receive(target.queue),
            Carrier::Tap(_) => None,
        }
    }

    /// Whether frames wait in a transmit ring. A tap's are epoll's to tell.
    #[inline]
    pub(super) fn is_waiting(&mut self, source: Source) -> bool {
        let Some(port) = self.get_mut(source.port) else {
            return false;
        };
        match &mut port.carrier {
            Carrier::Vhost(port) => port.transmit(source.queue).is_some_and(|r| r.is_waiting()),
            Carrier::Tap(_) => false,
        }
    }

    pub(super) fn insert(&mut self, id: PortId, port: Port) {
        let index = usize::from(id.0);
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some(port);
        }
    }

    pub(super) fn remove(&mut self, id: PortId) -> Option<Port> {
        self.0.get_mut(usize::from(id.0))?.take()
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Port> {
        self.0.iter_mut().flatten()
    }

    /// Port ids up to the largest in use.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The conduct of a source that this worker serves.
    pub(super) fn conduct(&mut self, source: Source) -> Option<&mut Conduct> {
        self.get_mut(source.port)?.conduct(source.queue)
    }
}
