//! The control API of netbackend: its types and a blocking client.
//!
//! HTTP/1.1 with JSON bodies on a Unix stream socket:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/health` | [`Health`], 503 if there are problems |
//! | `POST /v1/reload` | [`ReloadReport`] |
//! | `GET /v1/networks` | list of [`NetworkStatus`] |
//! | `POST /v1/networks` with [`NetworkRequest`] | 201, [`NetworkStatus`] |
//! | `GET /v1/networks/{network}` | [`NetworkStatus`] |
//! | `DELETE /v1/networks/{network}` | 204 |
//! | `GET /v1/networks/{network}/ports` | list of [`PortStatus`] |
//! | `POST /v1/networks/{network}/ports` with [`PortRequest`] | 201, [`PortStatus`] |
//! | `GET /v1/networks/{network}/ports/{port}` | [`PortDetail`] |
//! | `DELETE /v1/networks/{network}/ports/{port}` | 204 |
//! | `PUT /v1/networks/{network}/ports/{port}/filter` with [`PortFilter`] | 204 |
//! | `GET /v1/networks/{network}/forwards` | list of [`ForwardStatus`] |
//! | `POST /v1/networks/{network}/forwards` with [`ForwardRequest`] | 201, [`ForwardStatus`] |
//! | `DELETE /v1/networks/{network}/forwards/{forward}` | 204 |
//! | `GET /v1/networks/{network}/flows` | list of [`FlowStatus`] |
//! | `GET /v1/networks/{network}/leases` | list of [`LeaseStatus`] |
//!
//! Errors carry [`ApiError`] with a 4xx/5xx status.
//!
//! ```no_run
//! let client = control::Client::new(control::default_socket(&control::default_runtime_dir()));
//! for network in client.status()?.networks {
//!     println!("{}: {} ports", network.name, network.ports.len());
//! }
//! # Ok::<(), control::ClientError>(())
//! ```
#![forbid(unsafe_code)]
mod client;
mod filter;
mod nat;
mod paths;
mod transport;
mod types;

pub use client::{Client, ClientError};
pub use filter::PortFilter;
pub use nat::{
    DnsCounters, FlowStatus, ForwardRequest, ForwardStatus, LeaseStatus, NatCounters, NatStatus,
};
pub use paths::{default_runtime_dir, default_socket};
pub use types::{
    ApiError, Direction, Fault, Health, Mode, NetworkRequest, NetworkState, NetworkStatus,
    PortCounters, PortDetail, PortKind, PortPolicy, PortRequest, PortState, PortStatus,
    QueueCounters, QueueStatus, ReloadReport, SizeBins, Status, WorkerStatus,
};
