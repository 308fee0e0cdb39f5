//! Guest memory maps and virtio rings, device side and driver side: the only data-path unsafe code.

mod burst;
mod chain;
mod config;
mod copy;
mod device;
mod driver;
mod fault;
mod layout;
mod memory;
mod net;
#[cfg(test)]
mod testing;

pub use burst::{Burst, Chain, Segments};
pub use config::{QueueConfig, RingFeatures, RingPosition};
pub use device::DeviceQueue;
pub use driver::{DriverBuffer, DriverQueue, Used};
pub use fault::QueueFault;
pub use memory::{MAX_REGIONS, MapError, MemoryMap, RegionSpec, SealPolicy};
pub use net::{GsoType, NET_HEADER_LEN, NetHeader};
