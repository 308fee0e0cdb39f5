//! Traffic generator on the driver side of vhost-user rings: two front-ends in one process, one sends and one receives.
//!
//! It attaches to any vhost-user back-end, server or client, so the same generator measures ours and its peers.
//!
//! ```
//! // Frames are made before the clock starts: a GSO frame is one large TCP segment for the back-end to pass on or to cut.
//! use benches::{Content, FrameKind};
//!
//! let content = Content::new(FrameKind::Gso)?;
//! assert_eq!(content.frame_len(), 54 + 45 * 1448);
//! # Ok::<(), anyhow::Error>(())
//! ```
#![forbid(unsafe_code)]

mod content;
mod cpu;
mod front_end;
mod memory;
mod one_way;
mod report;
mod ring;
mod session;
mod verify;

pub use content::{Content, FrameKind};
pub use cpu::{pin_process, pin_thread};
pub use front_end::{FrontEnd, Options};
pub use memory::{Memory, Pages};
pub use one_way::{Load, Measured, one_way};
pub use report::{Format, Report};
pub use ring::Ring;
pub use session::{Endpoint, Role};
