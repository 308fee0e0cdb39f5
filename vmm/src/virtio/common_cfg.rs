//! The common configuration structure (virtio 1.2, 4.1.4.3): register reads and writes over
//! [`TransportState`].
use super::{
    spec::{self, NO_VECTOR, common},
    state::{QueueState, TransportState},
};

/// What the registers show besides the driver's own state.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceView {
    /// Offered features.
    pub(super) features: u64,
    /// Device status bits that are the device's own.
    pub(super) device_status: u8,
    /// Changes with the device configuration.
    pub(super) generation: u8,
    /// MSI-X vectors.
    pub(super) vectors: u16,
}

/// What the transport must do after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The driver wrote this device status.
    Status(u8),
    /// A vector was assigned.
    Vector,
}

impl TransportState {
    /// Reads any bytes of the structure.
    pub(super) fn read_common(&self, view: &DeviceView, offset: u64, data: &mut [u8]) {
        let image = self.common_image(view);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = image.get(start.saturating_add(index)).copied().unwrap_or(0);
        }
    }

    fn common_image(&self, view: &DeviceView) -> [u8; common::LEN] {
        let mut image = [0; common::LEN];
        let mut put = |offset: u64, bytes: &[u8]| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            if let Some(place) = image.get_mut(start..start.saturating_add(bytes.len())) {
                place.copy_from_slice(bytes);
            }
        };
        let device = window(view.features, self.device_feature_select);
        let driver = window(self.driver_features, self.driver_feature_select);
        let queues = u16::try_from(self.queues.len()).unwrap_or(u16::MAX);
        put(
            common::DEVICE_FEATURE_SELECT,
            &self.device_feature_select.to_le_bytes(),
        );
        put(common::DEVICE_FEATURE, &device.to_le_bytes());
        put(
            common::DRIVER_FEATURE_SELECT,
            &self.driver_feature_select.to_le_bytes(),
        );
        put(common::DRIVER_FEATURE, &driver.to_le_bytes());
        put(
            common::CONFIG_MSIX_VECTOR,
            &self.config_vector.to_le_bytes(),
        );
        put(common::NUM_QUEUES, &queues.to_le_bytes());
        put(common::DEVICE_STATUS, &[self.status | view.device_status]);
        put(common::CONFIG_GENERATION, &[view.generation]);
        put(common::QUEUE_SELECT, &self.queue_select.to_le_bytes());
        // 4.1.4.3.2: of a queue that is not there, queue_size reads 0.
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            put(common::QUEUE_SIZE, &queue.size.to_le_bytes());
            put(common::QUEUE_MSIX_VECTOR, &queue.vector.to_le_bytes());
            put(
                common::QUEUE_ENABLE,
                &u16::from(queue.enabled).to_le_bytes(),
            );
            put(common::QUEUE_NOTIFY_OFF, &self.queue_select.to_le_bytes());
            put(common::QUEUE_DESC, &queue.desc.to_le_bytes());
            put(common::QUEUE_DRIVER, &queue.avail.to_le_bytes());
            put(common::QUEUE_DEVICE, &queue.used.to_le_bytes());
        }
        image
    }

    /// Writes one register. 4.1.3.1: a driver uses accesses of the field's width (two dwords for
    /// 64-bit fields); a qword is tolerated there, everything else is lost.
    pub(super) fn write_common(&mut self, view: &DeviceView, offset: u64, data: &[u8]) -> Effect {
        match *data {
            [value] if offset == common::DEVICE_STATUS => return Effect::Status(value),
            [a, b] => return self.write_word(view, offset, u16::from_le_bytes([a, b])),
            [a, b, c, d] => self.write_dword(offset, u32::from_le_bytes([a, b, c, d])),
            [ref low @ .., _, _, _, _] if low.len() == 4 && is_address(offset) => {
                self.write_common(view, offset, low);
                self.write_common(view, offset + 4, &data[4..]);
            }
            _ => {}
        }
        Effect::None
    }

    fn write_dword(&mut self, offset: u64, value: u32) {
        match offset {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select = value,
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select = value,
            common::DRIVER_FEATURE => self.write_driver_feature(value),
            _ if is_address(offset) => self.write_address(offset, value),
            _ => {}
        }
    }

    fn write_driver_feature(&mut self, value: u32) {
        // 2.2.1: features are final once FEATURES_OK is set.
        if self.has(spec::STATUS_FEATURES_OK) {
            return;
        }
        let value = u64::from(value);
        match self.driver_feature_select {
            0 => self.driver_features = self.driver_features & !0xffff_ffff | value,
            1 => self.driver_features = self.driver_features & 0xffff_ffff | value << 32,
            _ => {}
        }
    }

    fn write_address(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.configurable_queue() else {
            return;
        };
        let (field, first) = match offset {
            common::QUEUE_DESC..common::QUEUE_DRIVER => (&mut queue.desc, common::QUEUE_DESC),
            common::QUEUE_DRIVER..common::QUEUE_DEVICE => (&mut queue.avail, common::QUEUE_DRIVER),
            _ => (&mut queue.used, common::QUEUE_DEVICE),
        };
        let value = u64::from(value);
        match offset - first {
            0 => *field = *field & !0xffff_ffff | value,
            4 => *field = *field & 0xffff_ffff | value << 32,
            _ => {}
        }
    }

    fn write_word(&mut self, view: &DeviceView, offset: u64, value: u16) -> Effect {
        // 4.1.4.3.1: a vector that cannot be had reads back as NO_VECTOR.
        let vector = if value < view.vectors {
            value
        } else {
            NO_VECTOR
        };
        match offset {
            common::CONFIG_MSIX_VECTOR => {
                self.config_vector = vector;
                return Effect::Vector;
            }
            common::QUEUE_SELECT => self.queue_select = value,
            common::QUEUE_MSIX_VECTOR => {
                if let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) {
                    queue.vector = vector;
                    return Effect::Vector;
                }
            }
            common::QUEUE_SIZE => {
                if let Some(queue) = self.configurable_queue()
                    && value.is_power_of_two()
                    && value <= queue.max_size
                {
                    queue.size = value;
                }
            }
            common::QUEUE_ENABLE => {
                // 4.1.4.3.2: a driver never writes 0.
                if value == 1
                    && self.has(spec::STATUS_FEATURES_OK)
                    && let Some(queue) = self.configurable_queue()
                {
                    queue.enabled = true;
                }
            }
            _ => {}
        }
        Effect::None
    }

    /// The selected queue while it may be set up: not after it was enabled, and never while the
    /// device lives, because the device works with what it was given at DRIVER_OK.
    fn configurable_queue(&mut self) -> Option<&mut QueueState> {
        if self.has(spec::STATUS_DRIVER_OK) {
            return None;
        }
        let queue = self.queues.get_mut(usize::from(self.queue_select))?;
        (!queue.enabled).then_some(queue)
    }
}

/// The dword of `features` that a select register shows.
fn window(features: u64, select: u32) -> u32 {
    let shift = match select {
        0 => 0,
        1 => 32,
        _ => return 0,
    };
    u32::try_from(features >> shift & 0xffff_ffff).unwrap_or(0)
}

fn is_address(offset: u64) -> bool {
    (common::QUEUE_DESC..common::QUEUE_ADDRESSES_END).contains(&offset)
}
