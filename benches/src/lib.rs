//! Traffic generator on the driver side of vhost-user rings: front-ends in one process, which send to each other through a switch.
//!
//! It attaches to any vhost-user back-end, server or client, so the same generator measures ours and its peers.
//!
//! * [`throughput`]: frames as fast as they go between pairs of ports, one way or both, with many flows and stations if wished,
//!   every byte verified if wished.
//! * [`ping_pong`] and [`from_idle`]: how long a frame takes; [`tap_to_tap`] is the kernel's own way.
//! * [`stream`]: a TCP connection from a guest through the gateway of a NAT network.
//! * [`copying`]: what the memory allows, and [`distance`], what two CPUs do.
//!
//! ```
//! // Frames are made before the clock starts: a GSO frame is one large TCP segment for the back-end to pass on or to cut.
//! use benches::{Content, FrameKind};
//!
//! let content = Content::new(FrameKind::Gso)?;
//! assert_eq!(content.frame_len(), 54 + 45 * 1448);
//! # Ok::<(), anyhow::Error>(())
//! ```
#![deny(unsafe_code)]

mod content;
mod copying;
mod cpu;
mod distance;
mod front_end;
mod introduce;
mod lane;
mod latency;
mod memory;
mod packet_socket;
mod report;
mod ring;
mod session;
mod stations;
mod stream;
mod sys;
mod tap;
#[cfg(test)]
mod testing;
mod throughput;
mod verify;

pub use content::{Content, FrameKind};
pub use copying::copying;
pub use cpu::{pin_process, pin_thread};
pub use distance::distance;
pub use front_end::{FrontEnd, Options};
pub use latency::{Times, from_idle, ping_pong};
pub use memory::{Memory, Pages};
pub use packet_socket::PacketSocket;
pub use report::{Format, LatencyReport, Report, StreamReport};
pub use ring::Ring;
pub use session::{Endpoint, Role};
pub use stream::{Pattern, StreamGuest, StreamLoad, StreamOptions, Streamed, stream};
pub use tap::{Tap, tap_to_tap};
pub use throughput::{Load, Measured, bursts, throughput};
