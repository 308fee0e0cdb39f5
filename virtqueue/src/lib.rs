//! Guest memory maps and virtio rings, device side and driver side: the only data-path unsafe code.
//!
//! * [`MemoryMap`]: an immutable, generation-counted map from guest physical addresses to host memory.
//! * [`DeviceQueue`] pops [`Burst`]s of validated descriptor chains and completes them in order.
//! * [`DriverQueue`] is the other end, for emulated NICs, traffic generators and tests.
//!   Both know split and packed rings ([`RingFeatures::packed`]).
//! * [`LocalReceiver`] and [`LocalSender`] are that end with buffers, where both ends are in one process.
//! * [`NetHeader`] is what precedes every frame on a virtio-net ring.
//!
//! No Rust reference ever points into guest memory: its bytes change at any moment. Descriptors are read once into
//! private memory and validated there; all bytes move through one copy function; the first fault of a peer latches its
//! queue and nothing else.
//!
//! # Example
//! A driver and a device on the two ends of one ring:
//! ```
//! use std::sync::Arc;
//! use virtqueue::{Burst, DeviceQueue, DriverBuffer, DriverQueue, MemoryMap, QueueConfig};
//! use vm_memory::{GuestAddress, GuestMemoryMmap};
//!
//! let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1_0000)])?;
//! let mem = MemoryMap::from_guest_memory(1, &ram)?;
//! let config = QueueConfig { size: 8, desc: 0, avail: 0x1000, used: 0x2000, ..Default::default() };
//! let mut driver = DriverQueue::new(Arc::clone(&mem), &config)?;
//! let mut device = DeviceQueue::new(Arc::clone(&mem), &config)?;
//!
//! assert!(mem.write(0x8000, b"hello"));
//! assert!(driver.add(&[DriverBuffer { addr: 0x8000, len: 5, writable: false }], 42));
//! let _kick = driver.publish();
//!
//! let mut burst = Burst::new();
//! assert_eq!(device.pop_burst(&mut burst, 32)?, 1);
//! let chain = burst.chain(0).expect("one chain was popped");
//! let mut bytes = [0; 5];
//! assert_eq!(chain.readable().read_at(0, &mut bytes), 5);
//! assert_eq!(&bytes, b"hello");
//! device.complete(chain.head(), 0);
//! let _call = device.publish();
//! assert_eq!(driver.poll_used()?.map(|used| used.token), Some(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod area;
mod backing;
mod burst;
mod chain;
mod config;
mod copy;
mod device;
mod dirty_log;
mod driver;
mod fault;
mod local;
mod memory;
mod net;
mod packed;
mod segments;
mod split;
#[cfg(test)]
mod testing;
mod truncation;
mod wide;

pub use burst::{Burst, Chain, Head};
pub use config::{QueueConfig, RingFeatures, RingPosition};
pub use device::DeviceQueue;
pub use dirty_log::{DirtyLog, LOG_PAGE, LogError};
pub use driver::{DriverBuffer, DriverQueue, Used};
pub use fault::QueueFault;
pub use local::{LocalError, LocalReceiver, LocalRing, LocalSender};
pub use memory::{MAX_REGIONS, MapError, MemoryMap, RegionSpec, SealPolicy};
pub use net::{GsoType, NET_HEADER_LEN, NetHeader};
pub use segments::{Cursor, Segments};
pub use truncation::{survive_truncation, truncations};
