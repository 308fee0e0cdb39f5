//! How others talk to a network's task.
use super::{lease::Lessee, port::Port};
use crate::{
    config::{NetworkConfig, PortConfig},
    uplink::Wanted,
};
use control::{
    ApiError, FlowStatus, ForwardStatus, LeaseStatus, NetworkState, NetworkStatus, PortDetail,
    PortStatus,
};
use nat::forward::Forward;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::SendTimeoutError},
        oneshot, watch,
    },
    time,
};
use toml::Table;

/// Requests that may wait for a task; the API serves fewer connections than that at once.
const QUEUE: usize = 128;
/// How long a worker may take for its part of a status.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a change of ports may take: its peer is given 5 s for a reply at most.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A port that was added.
pub(super) type Added = (PortStatus, PortConfig);

/// What a network's task is asked for.
#[derive(Debug)]
pub(super) enum Command {
    Report(oneshot::Sender<NetworkStatus>),
    AddPort {
        /// The first of p0, p1, … that is free, without.
        name: Option<String>,
        settings: Table,
        lessee: Option<Lessee>,
        /// What its guest has chosen to receive before.
        filter: Wanted,
        reply: oneshot::Sender<Result<Added, ApiError>>,
    },
    /// A port that is open already.
    InsertPort {
        port: Box<Port>,
        reply: oneshot::Sender<Result<Added, ApiError>>,
    },
    ShowPort {
        port: String,
        reply: oneshot::Sender<Result<PortDetail, ApiError>>,
    },
    /// Let through what the guest wants.
    SetFilter {
        port: String,
        wanted: Wanted,
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    /// Close the interfaces that are others with these settings, which follow.
    ReleaseWires {
        network: Box<NetworkConfig>,
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    /// Open again what was closed: no other settings come.
    TakeWiresBack,
    /// Go on with other settings; answered with what went wrong.
    Reconfigure {
        network: Box<NetworkConfig>,
        reply: oneshot::Sender<Result<Vec<String>, ApiError>>,
    },
    RemovePort {
        port: String,
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    AddForward {
        forward: Forward,
        reply: oneshot::Sender<Result<ForwardStatus, ApiError>>,
    },
    RemoveForward {
        forward: Forward,
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    /// Exactly these forwards from now on; answered with what went wrong.
    SetForwards {
        forwards: Vec<Forward>,
        reply: oneshot::Sender<Result<Vec<String>, ApiError>>,
    },
    Forwards(oneshot::Sender<Result<Vec<ForwardStatus>, ApiError>>),
    Flows(oneshot::Sender<Result<Vec<FlowStatus>, ApiError>>),
    Leases(oneshot::Sender<Result<Vec<LeaseStatus>, ApiError>>),
    /// Remove the port if it is still the one with this serial number.
    EndLease {
        port: String,
        serial: u64,
    },
}

/// The side of the task.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) status: watch::Sender<NetworkStatus>,
    pub(super) stop: Arc<Notify>,
}

/// A network, as seen by the rest of the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct NetworkHandle {
    name: Arc<str>,
    commands: mpsc::Sender<Command>,
    /// What is known without asking the worker.
    status: watch::Receiver<NetworkStatus>,
    stop: Arc<Notify>,
}

impl NetworkHandle {
    pub(super) fn new(status: NetworkStatus) -> (Mailbox, Self) {
        let name = status.name.as_str().into();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (publisher, status) = watch::channel(status);
        let stop = Arc::new(Notify::new());
        let mailbox = Mailbox {
            commands: receiver,
            status: publisher,
            stop: Arc::clone(&stop),
        };
        let handle = Self {
            name,
            commands: sender,
            status,
            stop,
        };
        (mailbox, handle)
    }

    /// Name of the network.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the first worker runs or has failed, but not for long.
    pub(super) async fn settled(&self) {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| status.state != NetworkState::Starting);
        drop(time::timeout(REPORT_TIMEOUT, settled).await);
    }

    /// State and counters. A worker that does not answer costs the counters, not the status.
    pub(crate) async fn status(&self) -> NetworkStatus {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            self.commands.send(Command::Report(reply)).await.ok()?;
            answer.await.ok()
        };
        match time::timeout(REPORT_TIMEOUT, ask).await {
            Ok(Some(status)) => status,
            _ => NetworkStatus {
                responsive: false,
                ..self.status.borrow().clone()
            },
        }
    }

    /// Adds a port, leased to a process or for good. `filter`: what its guest has chosen to receive before.
    pub(super) async fn add_port(
        &self,
        name: Option<String>,
        settings: Table,
        lessee: Option<Lessee>,
        filter: Wanted,
    ) -> Result<Added, ApiError> {
        self.change(|reply| Command::AddPort {
            name,
            settings,
            lessee,
            filter,
            reply,
        })
        .await
    }

    /// Adds a port that is open already.
    pub(super) async fn insert_port(&self, port: Port) -> Result<(), ApiError> {
        let port = Box::new(port);
        let inserted = self.change(|reply| Command::InsertPort { port, reply });
        inserted.await.map(drop)
    }

    /// One port with its queues.
    pub(crate) async fn port(&self, port: String) -> Result<PortDetail, ApiError> {
        self.change(|reply| Command::ShowPort { port, reply }).await
    }

    /// Lets through what the guest of a port wants; if that cannot be had, nothing changes.
    pub(super) async fn set_filter(&self, port: String, wanted: Wanted) -> Result<(), ApiError> {
        self.change(|reply| Command::SetFilter {
            port,
            wanted,
            reply,
        })
        .await
    }

    /// Closes the interfaces that are others with these settings: another network may need their NIC before this one gets them.
    pub(super) async fn release_wires(&self, network: NetworkConfig) -> Result<(), ApiError> {
        let network = Box::new(network);
        self.change(|reply| Command::ReleaseWires { network, reply })
            .await
    }

    /// Opens again what [`Self::release_wires`] closed, if no other settings have come since.
    pub(super) async fn take_wires_back(&self) {
        // Fails only if the network is gone.
        drop(self.commands.send(Command::TakeWiresBack).await);
    }

    /// Goes on with other settings and the same ports. Returns what went wrong with them.
    ///
    /// # Errors
    /// The network goes on with its old settings.
    pub(super) async fn reconfigure(
        &self,
        network: NetworkConfig,
    ) -> Result<Vec<String>, ApiError> {
        self.reconfigure_within(network, CHANGE_TIMEOUT).await
    }

    async fn reconfigure_within(
        &self,
        network: NetworkConfig,
        patience: Duration,
    ) -> Result<Vec<String>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let network = Box::new(network);
        let command = Command::Reconfigure { network, reply };
        let sent = self.commands.send_timeout(command, patience).await;
        sent.map_err(|failed| match failed {
            SendTimeoutError::Timeout(_) => self.late(),
            SendTimeoutError::Closed(_) => self.stopping(),
        })?;
        match time::timeout(patience, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(self.stopping())),
            // It comes to them yet.
            Err(_) => Ok(vec![self.late().to_string()]),
        }
    }

    /// Offered to guests now.
    pub(super) fn mtu(&self) -> u16 {
        self.status.borrow().mtu
    }

    /// Whether the network has a port, leased or not.
    pub(super) fn has_port(&self, name: &str) -> bool {
        let status = self.status.borrow();
        status.ports.iter().any(|port| port.name == name)
    }

    /// Removes a port; it is closed when this returns.
    pub(crate) async fn remove_port(&self, port: String) -> Result<(), ApiError> {
        self.change(|reply| Command::RemovePort { port, reply })
            .await
    }

    /// Begins a forward.
    pub(crate) async fn add_forward(&self, forward: Forward) -> Result<ForwardStatus, ApiError> {
        self.change(|reply| Command::AddForward { forward, reply })
            .await
    }

    /// Ends a forward.
    pub(crate) async fn remove_forward(&self, forward: Forward) -> Result<(), ApiError> {
        self.change(|reply| Command::RemoveForward { forward, reply })
            .await
    }

    /// Ends all other forwards, begins those that are missing. Returns what went wrong.
    pub(super) async fn set_forwards(
        &self,
        forwards: Vec<Forward>,
    ) -> Result<Vec<String>, ApiError> {
        self.change(|reply| Command::SetForwards { forwards, reply })
            .await
    }

    /// All forwards.
    pub(crate) async fn forwards(&self) -> Result<Vec<ForwardStatus>, ApiError> {
        self.change(Command::Forwards).await
    }

    /// All flows through the gateway.
    pub(crate) async fn flows(&self) -> Result<Vec<FlowStatus>, ApiError> {
        self.change(Command::Flows).await
    }

    /// All addresses that DHCP gave away.
    pub(crate) async fn leases(&self) -> Result<Vec<LeaseStatus>, ApiError> {
        self.change(Command::Leases).await
    }

    async fn change<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Command,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            self.commands.send(command(reply)).await.ok()?;
            answer.await.ok()
        };
        match time::timeout(CHANGE_TIMEOUT, ask).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(self.stopping()),
            Err(_) => Err(self.late()),
        }
    }

    fn stopping(&self) -> ApiError {
        unavailable(format!("network {} is stopping", self.name))
    }

    fn late(&self) -> ApiError {
        let name = &self.name;
        unavailable(format!(
            "the worker of network {name} did not answer in time"
        ))
    }

    /// Removes the port `port` if it is still the one with this serial number.
    pub(super) async fn end_lease(&self, port: String, serial: u64) {
        // Fails only if the network is gone, and its ports with it.
        drop(self.commands.send(Command::EndLease { port, serial }).await);
    }

    /// Tells the task to stop the worker and to end.
    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }
}

/// The daemon cannot do it now.
pub(super) fn unavailable(message: String) -> ApiError {
    ApiError {
        code: "unavailable".into(),
        message,
        remedy: Some("try again; see the log of netbackend".into()),
    }
}

#[cfg(test)]
#[path = "handle_test.rs"]
mod tests;
