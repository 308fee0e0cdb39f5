//! A blocking client of the control API.
use crate::{ApiError, NetworkStatus, PortRequest, PortStatus, Status};
use std::path::{Path, PathBuf};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The daemon said no.
    #[error("{0}")]
    Api(#[from] ApiError),
}

/// A blocking client; one connection per call.
#[derive(Debug, Clone)]
pub struct Client {
    _socket: PathBuf,
}

impl Client {
    /// A client of the daemon behind `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            _socket: socket.into(),
        }
    }
    /// `GET /v1/status`
    pub fn status(&self) -> Result<Status, ClientError> {
        todo!()
    }
    /// `GET /v1/networks/{network}`
    pub fn network(&self, _network: &str) -> Result<NetworkStatus, ClientError> {
        todo!()
    }
    /// `POST /v1/networks/{network}/ports`
    pub fn add_port(
        &self,
        _network: &str,
        _request: &PortRequest,
    ) -> Result<PortStatus, ClientError> {
        todo!()
    }
    /// `DELETE /v1/networks/{network}/ports/{port}`
    pub fn remove_port(&self, _network: &str, _port: &str) -> Result<(), ClientError> {
        todo!()
    }
}

/// Where the daemon keeps its sockets unless told otherwise: `/run/netbackend` for root, else `$XDG_RUNTIME_DIR/netbackend`.
pub fn default_runtime_dir() -> PathBuf {
    todo!()
}

/// The default control socket in `runtime_dir`.
pub fn default_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}
