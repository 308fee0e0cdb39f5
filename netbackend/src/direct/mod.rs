//! A guest's own macvtap without the daemon, for a VMM.
//!
//! [`Direct`] serves it by threads of the calling process, as the worker of a network with `attach = "macvtap"` does for one port.
//! [`Bare`] leaves that to the kernel's vhost-net. A macvtap goes with its NIC; when one of that name is there again, it is made anew
//! with the filter that the guest has chosen, and who serves it goes on with its new queues.
mod bare;
mod directory;
mod filter;
mod follower;
mod macvtap;
mod owner;
mod queue;
mod server;

pub use bare::Bare;
pub use filter::Filter;
pub use queue::Queue;
pub use server::Direct;

use control::Mode;

/// The macvtap to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectSpec {
    /// The NIC that it is on.
    pub nic: String,
    /// What the kernel does between it, its siblings and the wire; NAT is refused.
    pub mode: Mode,
    /// The guest's address.
    pub mac: [u8; 6],
    /// Queue pairs of the guest.
    pub queue_pairs: u16,
}

#[cfg(test)]
mod direct_test;
