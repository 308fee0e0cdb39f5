//! virtio-net whose rings are served by a back-end, vhost-user's or the kernel's (virtio 1.2, 5.1).
//!
//! The VMM keeps the configuration space and the control queue; receive and transmit rings go to
//! the back-end together with their doorbells (ioeventfds) and interrupts (irqfds). When the
//! back-end is gone, the guest sees the link go down. Without a cable no ring is enabled: the back-end discards what the guest sends.
mod control;
mod features;
mod receive;

use self::{
    control::ControlHandler,
    receive::{ReceiveControl, SharedAddress},
};
use super::{
    Activation, Call, Notifier, QueueSetup, VirtioDevice, VirtioError, read_config_bytes, spec,
    worker::QueueWorker,
};
use crate::{
    memory::GuestRam,
    net::{
        Attachment, Link, LinkEvent, LinkRecord, MacAddress, RingRecord, SessionError, SharedFilter,
    },
};
use std::sync::{Arc, Mutex, PoisonError};

/// Ethernet controller.
const CLASS: u32 = 0x02_00_00;
/// Entries of a receive or transmit ring.
const QUEUE_SIZE: u16 = 256;
/// Entries of the control queue.
const CONTROL_QUEUE_SIZE: u16 = 64;
/// VIRTIO_NET_S_LINK_UP.
const LINK_UP: u16 = 1;

/// A NIC.
#[derive(Debug)]
pub struct Net {
    // Runtime glue
    link: Link,
    notifier: Option<Notifier>,
    control: Option<QueueWorker>,
    // What the guest is told
    mac: SharedAddress,
    mtu: Option<u16>,
    cable: bool,
    max_pairs: u16,
    /// Of a guest that may choose what it receives.
    filter: Option<SharedFilter>,
}

impl Net {
    /// Connects a NIC with `queue_pairs` to the back-end behind `attachment`.
    pub fn connect(
        attachment: &Attachment,
        mac: MacAddress,
        queue_pairs: u16,
        memory: &GuestRam,
    ) -> Result<Self, SessionError> {
        Ok(Self {
            link: Link::connect(&attachment.target, queue_pairs, memory.clone())?,
            notifier: None,
            control: None,
            mac: Arc::new(Mutex::new(mac)),
            mtu: attachment.mtu,
            cable: attachment.cable,
            max_pairs: queue_pairs,
            filter: attachment.filter.clone(),
        })
    }

    /// `struct virtio_net_config` (5.1.4) up to `mtu`.
    fn config(&self) -> [u8; 12] {
        let up = self.cable && self.link.is_up();
        let status = if up { LINK_UP } else { 0 };
        let mut config = [0; 12];
        let mac = *self.mac.lock().unwrap_or_else(PoisonError::into_inner);
        config[..6].copy_from_slice(&mac.0);
        config[6..8].copy_from_slice(&status.to_le_bytes());
        config[8..10].copy_from_slice(&self.max_pairs.to_le_bytes());
        config[10..].copy_from_slice(&self.mtu.unwrap_or(0).to_le_bytes());
        config
    }

    /// Receive and transmit queues the driver may use.
    fn data_queues(&self, features: u64) -> usize {
        let pairs = if features & features::MQ != 0 {
            self.max_pairs
        } else {
            1
        };
        2 * usize::from(pairs)
    }

    fn start_control(
        &mut self,
        setup: QueueSetup,
        features: u64,
        memory: &GuestRam,
    ) -> Result<(), VirtioError> {
        let filter = self.filter.as_ref();
        let filter = filter.filter(|_| features & features::OF_FILTER != 0);
        let handler = ControlHandler {
            link: self.link.handle(),
            receive: filter.map(|filter| {
                ReceiveControl::new(Arc::clone(filter), features, Arc::clone(&self.mac))
            }),
            max_pairs: if features & features::MQ != 0 {
                self.max_pairs
            } else {
                1
            },
        };
        self.control = Some(QueueWorker::start(
            "virtio-net-ctrl",
            setup,
            memory.map.clone(),
            self.notifier.clone(),
            handler,
        )?);
        Ok(())
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> u16 {
        spec::TYPE_NET
    }

    fn class(&self) -> u32 {
        CLASS
    }

    fn features(&self) -> u64 {
        let mut features = self.link.features() & features::PASSED_THROUGH;
        features |= features::MAC | features::STATUS | features::CTRL_VQ;
        if self.max_pairs > 1 {
            features |= features::MQ;
        }
        if self.filter.is_some() {
            features |= features::OF_FILTER;
        }
        if self.mtu.is_some() {
            features |= features::MTU;
        }
        features
    }

    fn accepts(&self, features: u64) -> bool {
        features::consistent(features)
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let mut sizes = vec![QUEUE_SIZE; 2 * usize::from(self.max_pairs)];
        sizes.push(CONTROL_QUEUE_SIZE);
        sizes
    }

    fn attach(&mut self, notifier: Notifier) {
        let listener = notifier.clone();
        self.link.set_listener(move |event| match event {
            LinkEvent::Changed => listener.config_changed(),
            LinkEvent::Broken => listener.needs_reset(),
        });
        self.notifier = Some(notifier);
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), VirtioError> {
        let Activation {
            features,
            queues,
            memory,
        } = activation;
        // 5.1.2: the control queue follows the data queues that were negotiated.
        let data_queues = self.data_queues(features);
        let mut record = LinkRecord {
            features: features & self.link.features(),
            unplugged: !self.cable,
            rings: Vec::new(),
        };
        let mut control = None;
        for setup in queues {
            let index = setup.index;
            if index < data_queues {
                let ring = RingRecord::new(setup, &memory.map)
                    .map_err(|fault| VirtioError::Queue { index, fault })?;
                record.rings.push(ring);
            } else if index == data_queues && features & features::CTRL_VQ != 0 {
                control = Some(setup);
            }
        }
        // 5.1.6.5.5: one pair until the driver asks for more.
        record.set_pairs(1);
        self.link.start(record);
        match control {
            Some(setup) => self.start_control(setup, features, &memory),
            None => Ok(()),
        }
    }

    fn set_call(&mut self, index: usize, call: Call) {
        match &self.control {
            Some(control) if control.index() == index => control.set_call(call),
            _ => self.link.set_call(index, call),
        }
    }

    fn reset(&mut self) {
        self.control = None;
        self.link.stop();
    }
}

#[cfg(test)]
#[path = "net_device_test.rs"]
mod tests;
