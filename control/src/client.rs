//! A blocking client of the control API.
use crate::{
    ApiError, FlowStatus, ForwardRequest, ForwardStatus, Health, LeaseStatus, NetworkRequest,
    NetworkStatus, PortDetail, PortFilter, PortRequest, PortStatus, ReloadReport, Status,
    transport,
};
use hyper::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a call may take unless [`Client::with_timeout`] says otherwise: longer than the daemon
/// itself waits for a worker.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The daemon said no.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// Nobody listens on the socket.
    #[error(
        "no netbackend is running at {} (start it with `netbackend`, or name its socket with --control-socket)",
        socket.display()
    )]
    NotRunning {
        /// The control socket.
        socket: PathBuf,
    },
    /// The socket's mode or owner keeps us out.
    #[error(
        "no permission to use {} (run as the user or group that netbackend runs as)",
        socket.display()
    )]
    PermissionDenied {
        /// The control socket.
        socket: PathBuf,
    },
    /// The daemon did not answer in time.
    #[error("netbackend at {} gave no answer within {timeout:?} (see its log)", socket.display())]
    TimedOut {
        /// The control socket.
        socket: PathBuf,
        /// How long was waited.
        timeout: Duration,
    },
    /// The connection could not be made or broke.
    #[error("talk to netbackend at {}: {source}", socket.display())]
    Io {
        /// The control socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What came back is not the control API.
    #[error("{} is not a netbackend control socket of this version: {reason}", socket.display())]
    Protocol {
        /// The control socket.
        socket: PathBuf,
        /// What was wrong with the answer.
        reason: String,
    },
}

/// A blocking client; one connection per call.
///
/// Calls must not be made from inside an async runtime: they run one of their own.
///
/// ```
/// use control::{Client, ClientError};
///
/// let client = Client::new("/nonexistent/control.sock");
/// assert!(matches!(client.status(), Err(ClientError::NotRunning { .. })));
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon behind `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The same client with another limit on the time of a call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The socket it connects to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET /v1/status`
    pub fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status")
    }

    /// `GET /v1/health`; problems are no error.
    pub fn health(&self) -> Result<Health, ClientError> {
        let answer = self.exchange(&Method::GET, "/v1/health", None::<&()>)?;
        match answer.status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => self.decode(&answer.body),
            _ => Err(self.refusal(&answer, &Method::GET, "/v1/health")),
        }
    }

    /// `POST /v1/reload`
    pub fn reload(&self) -> Result<ReloadReport, ClientError> {
        let answer = self.call(&Method::POST, "/v1/reload", None::<&()>)?;
        self.decode(&answer)
    }

    /// `POST /v1/networks`
    pub fn add_network(&self, request: &NetworkRequest) -> Result<NetworkStatus, ClientError> {
        let answer = self.call(&Method::POST, "/v1/networks", Some(request))?;
        self.decode(&answer)
    }

    /// `DELETE /v1/networks/{network}`
    pub fn remove_network(&self, network: &str) -> Result<(), ClientError> {
        let path = format!("/v1/networks/{}", segment(network));
        self.call(&Method::DELETE, &path, None::<&()>).map(drop)
    }

    /// `GET /v1/networks/{network}/ports/{port}`
    pub fn port(&self, network: &str, port: &str) -> Result<PortDetail, ClientError> {
        let (network, port) = (segment(network), segment(port));
        self.get(&format!("/v1/networks/{network}/ports/{port}"))
    }

    /// `GET /v1/networks/{network}`
    pub fn network(&self, network: &str) -> Result<NetworkStatus, ClientError> {
        self.get(&format!("/v1/networks/{}", segment(network)))
    }

    /// `POST /v1/networks/{network}/ports`
    pub fn add_port(
        &self,
        network: &str,
        request: &PortRequest,
    ) -> Result<PortStatus, ClientError> {
        let path = format!("/v1/networks/{}/ports", segment(network));
        let answer = self.call(&Method::POST, &path, Some(request))?;
        self.decode(&answer)
    }

    /// `DELETE /v1/networks/{network}/ports/{port}`
    pub fn remove_port(&self, network: &str, port: &str) -> Result<(), ClientError> {
        let (network, port) = (segment(network), segment(port));
        let path = format!("/v1/networks/{network}/ports/{port}");
        self.call(&Method::DELETE, &path, None::<&()>).map(drop)
    }

    /// `PUT /v1/networks/{network}/ports/{port}/filter`
    pub fn set_filter(
        &self,
        network: &str,
        port: &str,
        filter: &PortFilter,
    ) -> Result<(), ClientError> {
        let (network, port) = (segment(network), segment(port));
        let path = format!("/v1/networks/{network}/ports/{port}/filter");
        self.call(&Method::PUT, &path, Some(filter)).map(drop)
    }

    /// `GET /v1/networks/{network}/forwards`
    pub fn forwards(&self, network: &str) -> Result<Vec<ForwardStatus>, ClientError> {
        self.get(&format!("/v1/networks/{}/forwards", segment(network)))
    }

    /// `POST /v1/networks/{network}/forwards`
    pub fn add_forward(
        &self,
        network: &str,
        request: &ForwardRequest,
    ) -> Result<ForwardStatus, ClientError> {
        let path = format!("/v1/networks/{}/forwards", segment(network));
        let answer = self.call(&Method::POST, &path, Some(request))?;
        self.decode(&answer)
    }

    /// `DELETE /v1/networks/{network}/forwards/{forward}`
    pub fn remove_forward(&self, network: &str, forward: &str) -> Result<(), ClientError> {
        let (network, forward) = (segment(network), segment(forward));
        let path = format!("/v1/networks/{network}/forwards/{forward}");
        self.call(&Method::DELETE, &path, None::<&()>).map(drop)
    }

    /// `GET /v1/networks/{network}/flows`
    pub fn flows(&self, network: &str) -> Result<Vec<FlowStatus>, ClientError> {
        self.get(&format!("/v1/networks/{}/flows", segment(network)))
    }

    /// `GET /v1/networks/{network}/leases`
    pub fn leases(&self, network: &str) -> Result<Vec<LeaseStatus>, ClientError> {
        self.get(&format!("/v1/networks/{}/leases", segment(network)))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.call(&Method::GET, path, None::<&()>)?;
        self.decode(&answer)
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.protocol(error.to_string()))
    }

    /// One request; the body of a successful answer.
    fn call(
        &self,
        method: &Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, ClientError> {
        let answer = self.exchange(method, path, body)?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(self.refusal(&answer, method, path))
    }

    fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<transport::Answer, ClientError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| self.protocol(error.to_string()))?;
        transport::call(&self.socket, self.timeout, method, path, body)
            .map_err(|error| self.classify(error))
    }

    /// An answer that is no success, as an error.
    fn refusal(&self, answer: &transport::Answer, method: &Method, path: &str) -> ClientError {
        match serde_json::from_slice::<ApiError>(&answer.body) {
            Ok(error) => ClientError::Api(error),
            Err(_) => self.protocol(format!("it answered {} to {method} {path}", answer.status)),
        }
    }

    fn classify(&self, error: transport::Error) -> ClientError {
        let socket = self.socket.clone();
        let source = match error {
            transport::Error::Http(reason) => return self.protocol(reason),
            transport::Error::Io(source) => source,
        };
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { socket }
            }
            io::ErrorKind::PermissionDenied => ClientError::PermissionDenied { socket },
            io::ErrorKind::TimedOut => ClientError::TimedOut {
                socket,
                timeout: self.timeout,
            },
            _ => ClientError::Io { socket, source },
        }
    }

    fn protocol(&self, reason: String) -> ClientError {
        ClientError::Protocol {
            socket: self.socket.clone(),
            reason,
        }
    }
}

/// A name as one path segment: everything but RFC 3986's unreserved characters escaped.
fn segment(name: &str) -> String {
    use std::fmt::Write;
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
