//! One ring as its front-end sets it up, message by message.
use super::super::command::Kick;
use std::{fs::File, sync::Arc};
use thiserror::Error;
use virtqueue::{MemoryMap, QueueConfig, RingFeatures, RingPosition};

/// Virtio 1.2, 2.7 and 2.8: entries at most.
const MAX_SIZE: u16 = 32_768;

/// Why a ring cannot be described to the datapath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum SetupError {
    #[error(
        "ring size {0} is not between 1 and 32768, or not the power of two that a split ring needs"
    )]
    Size(u32),
    #[error("ring address {0:#x} is in no memory region")]
    Address(u64),
    #[error("ring base {0} does not fit a split ring")]
    Base(u32),
}

/// Addresses of a ring in the front-end's own address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserAddresses {
    pub(super) desc: u64,
    pub(super) avail: u64,
    pub(super) used: u64,
}

/// State of one ring on the control side.
#[derive(Debug, Default)]
pub(super) struct RingSetup {
    size: Option<u16>,
    pub(super) addresses: Option<UserAddresses>,
    /// Where the ring starts, if that was said; after GET_VRING_BASE, where it stopped.
    position: Option<RingPosition>,
    /// Handed to the datapath when the ring starts.
    pub(super) kick: Option<Kick>,
    pub(super) call: Option<Arc<File>>,
    pub(super) err: Option<Arc<File>>,
    /// What SET_VRING_ENABLE said last.
    enabled: Option<bool>,
    /// The datapath has the ring.
    pub(super) running: bool,
}

impl RingSetup {
    /// SET_VRING_NUM
    pub(super) fn set_size(&mut self, size: u32, packed: bool) -> Result<(), SetupError> {
        // Virtio 1.2, 2.7: "Queue Size ... is always a power of 2. The maximum is 32768." 2.8 demands only the latter.
        let fits = |size: &u16| size.is_power_of_two() || packed && (1..=MAX_SIZE).contains(size);
        let narrow = u16::try_from(size).ok().filter(fits);
        self.size = Some(narrow.ok_or(SetupError::Size(size))?);
        Ok(())
    }

    /// SET_VRING_BASE: everything before `base` is done, as we complete in order.
    pub(super) fn set_base(&mut self, base: u32, packed: bool) -> Result<(), SetupError> {
        let [low, high] = [base & 0xffff, base >> 16];
        if high != 0 && !packed {
            return Err(SetupError::Base(base));
        }
        // The upper half of a packed ring's is where the used descriptors go on: DPDK leaves it 0, and with nothing in flight
        // it is the same as the lower one.
        let index = u16::try_from(low).map_err(|_| SetupError::Base(base))?;
        self.set_position(RingPosition {
            next_avail: index,
            next_used: index,
        });
        Ok(())
    }

    /// Where the ring has stopped.
    pub(super) fn set_position(&mut self, position: RingPosition) {
        self.position = Some(position);
    }

    /// Where the ring is to start, or where it has stopped.
    pub(super) fn position(&self, features: RingFeatures) -> RingPosition {
        self.position.unwrap_or(RingPosition::start(features))
    }

    /// SET_VRING_ENABLE
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = Some(enabled);
    }

    /// Whether the ring carries frames. vhost-user.rst, "Ring states": it starts disabled if
    /// protocol features were negotiated, else enabled.
    pub(super) fn is_enabled(&self, starts_disabled: bool) -> bool {
        self.enabled.unwrap_or(!starts_disabled)
    }

    /// The ring for the datapath; `None` while size or addresses are missing.
    pub(super) fn config(
        &self,
        memory: &MemoryMap,
        features: RingFeatures,
    ) -> Result<Option<QueueConfig>, SetupError> {
        let (Some(size), Some(user)) = (self.size, self.addresses) else {
            return Ok(None);
        };
        let translate = |addr| memory.user_to_guest(addr).ok_or(SetupError::Address(addr));
        Ok(Some(QueueConfig {
            size,
            desc: translate(user.desc)?,
            avail: translate(user.avail)?,
            used: translate(user.used)?,
            features,
            position: self.position(features),
        }))
    }
}

/// What GET_VRING_BASE says of a position (vhost-user.rst, "Vring state description").
pub(super) fn base(position: RingPosition, packed: bool) -> u32 {
    let used = if packed { position.next_used } else { 0 };
    u32::from(position.next_avail) | u32::from(used) << 16
}

#[cfg(test)]
#[path = "ring_setup_test.rs"]
mod tests;
