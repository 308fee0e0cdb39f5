//! Pure Ethernet forwarding: bridge, private, VEPA and passthrough policies.
//!
//! A [`Switch`] is the forwarding state of one network. It is told which ports exist, is shown the
//! first bytes of every frame together with the port it came in by, and answers where the frame
//! goes. It does no I/O, reads no clock (time is a parameter) and knows nothing of rings, threads
//! or sockets.
//!
//! # Rules
//! The policies are those of the Linux `macvlan` driver (`drivers/net/macvlan.c`,
//! `macvlan_queue_xmit` and `macvlan_handle_frame`), extended by learning for ports that have no
//! configured address. With only fixed addresses, bridge, private and VEPA decide exactly as
//! `macvlan` does, except where noted in [`Mode`].
//!
//! VLAN tags are payload until a port is given [`PortVlans`]. From then on frames stay in their VLAN and addresses are
//! learned per VLAN; fixed and static addresses belong to their port in all of them. The switch decides, and tells with
//! [`Switch::retag`] what its owner must do to a frame's tag.
//!
//! # Threads
//! A switch belongs to one thread. Several of them are one bridge if they are told of the same ports and have their addresses in
//! common ([`Switch::share`]): what one learns, the others find. Counters and storm limits are each one's own.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use switch::{Egress, MacAddr, Mode, PortConfig, PortId, Role, Switch, SwitchConfig};
//!
//! let mut switch = Switch::new(SwitchConfig::new(Mode::Bridge));
//! let (a, b, uplink) = (PortId(0), PortId(1), PortId(2));
//! let mac_a: MacAddr = "52:54:00:00:00:0a".parse()?;
//! switch.add_port(a, PortConfig { role: Role::Guest, mac: Some(mac_a) })?;
//! switch.add_port(b, PortConfig { role: Role::Guest, mac: None })?;
//! switch.add_port(uplink, PortConfig { role: Role::Uplink, mac: None })?;
//!
//! // A broadcast of `a` reaches everybody else.
//! let mut frame = [0xff; 14];
//! frame[6..12].copy_from_slice(&mac_a.0);
//! let Egress::Flood(flood) = switch.forward(Duration::ZERO, a, &frame) else { panic!() };
//! assert_eq!(switch.targets(flood).collect::<Vec<_>>(), [b, uplink]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
// Every byte seen here was written by a guest or by the wire.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod bucket;
mod config;
mod counters;
mod egress;
mod fdb;
mod forward;
mod guard;
mod header;
mod known;
mod mac;
mod ports;
mod repeat;
mod slots;
mod vlan;

pub use bucket::{Rate, TokenBucket};
pub use config::{Mode, PortConfig, PortError, PortId, PortPolicy, Role, SwitchConfig};
pub use counters::Counters;
pub use egress::{DropReason, Egress, Flood};
pub use fdb::{EntryKind, FdbEntry};
pub use forward::Switch;
pub use mac::{MacAddr, ParseMacError};
pub use vlan::{PortVlans, Retag, VlanId, VlanSet};
