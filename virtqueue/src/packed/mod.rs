//! The packed ring (virtio 1.2, 2.8): one ring of descriptors that both sides write, and an event suppression area of each side.
mod chain;
mod cursor;
mod device;
mod driver;
mod layout;
mod resume;

pub(crate) use device::Device;
pub(crate) use driver::Driver;
pub(crate) use layout::area_sizes;
pub(crate) use resume::position_in_memory;
