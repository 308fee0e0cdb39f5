//! Software offloads: what a frame's virtio-net header asks for, done for an egress that cannot do
//! it.
//!
//! Frames travel between guests with partial checksums and unsegmented (virtio 1.2, 5.1.6.2), as
//! their sender left them. Two things stand between a sender's header and a receiver:
//!
//! 1. [`validate`] checks the header against the frame, once, at ingress. What it returns is safe
//!    to hand to any receiver that negotiated it, and is all zeros if nothing is asked for.
//! 2. An egress that did not negotiate what the header asks for gets the work done: [`Segments`]
//!    cuts a GSO frame into plain ones (a datagram with UFO into IP fragments), [`complete_checksum`] completes a partial checksum. Both
//!    leave nothing to ask for: such frames go out with [`Validated::PLAIN`].
//!
//! Pure functions on byte slices: no I/O, no allocation, no panic whatever the bytes.
//!
//! ```
//! use netbackend::offload::{self, HEAD_LEN, Reject, Segments};
//! use virtqueue::NetHeader;
//!
//! /// Hands a frame to an egress without offloads.
//! fn deliver(
//!     header: &NetHeader,
//!     frame: &mut [u8],
//!     mut send: impl FnMut(&[u8]),
//! ) -> Result<(), Reject> {
//!     let head = &frame[..frame.len().min(HEAD_LEN)];
//!     let validated = offload::validate(header, head, frame.len())?;
//!     if validated.is_gso() {
//!         let mut segments = Segments::new(&validated, frame)?;
//!         let mut out = vec![0; segments.max_segment_len()];
//!         while let Some(len) = segments.next_into(&mut out) {
//!             send(&out[..len]);
//!         }
//!     } else {
//!         if validated.needs_csum() {
//!             offload::complete_checksum(frame, validated.header())?;
//!         }
//!         send(frame);
//!     }
//!     Ok(())
//! }
//! # let mut sent = 0;
//! # deliver(&NetHeader::default(), &mut [0; 60], |_| sent += 1).unwrap();
//! # assert_eq!(sent, 1);
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod bytes;
mod checksum;
#[cfg(test)]
mod fixture;
mod fragment;
mod parse;
mod segment;
mod validate;

pub use checksum::{Checksum, complete_checksum};
pub use parse::{IpVersion, Layout, ParseError, parse};
pub use segment::{Segment, Segments};
pub use validate::{HEAD_LEN, MAX_SEGMENTS, Reject, Segmentation, Validated, validate};
