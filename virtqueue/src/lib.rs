//! Guest memory maps and virtio rings, device side and driver side: the only data-path unsafe code.
mod burst;
mod config;
mod device;
mod driver;
mod fault;
mod memory;
mod net;

pub use burst::{Burst, Chain, Segments};
pub use config::{QueueConfig, RingFeatures, RingPosition};
pub use device::DeviceQueue;
pub use driver::{DriverBuffer, DriverQueue, Used};
pub use fault::QueueFault;
pub use memory::{MapError, MemoryMap, RegionSpec, SealPolicy};
pub use net::{GsoType, NET_HEADER_LEN, NetHeader};
