//! The split ring (virtio 1.2, 2.7): a table of descriptors, and a ring of heads in each direction.
mod chain;
mod device;
mod driver;
mod layout;

pub(crate) use device::Device;
pub(crate) use driver::Driver;
pub(crate) use layout::area_sizes;
