//! Taking a port away from a network and its worker.
use super::{
    network::{NetworkTask, no_such_port},
    requests::Waiting,
};
use crate::protocol::ToWorker;
use control::ApiError;
use tokio::sync::oneshot;
use tracing::info;

impl NetworkTask {
    pub(super) fn remove_port(
        &mut self,
        port: String,
        reply: Option<oneshot::Sender<Result<(), ApiError>>>,
    ) {
        // Closes our descriptors and unlinks the socket: nobody new can connect.
        let Some(entry) = self.ports.remove(&port) else {
            if let Some(reply) = reply {
                drop(reply.send(Err(no_such_port(&self.config.name, &port))));
            }
            return;
        };
        info!(network = self.config.name, port, "port removed");
        self.publish_ports();
        if self.removing.contains(&port) || entry.port.is_unwired() {
            // The worker has lost it with its NIC.
            if let Some(reply) = reply {
                drop(reply.send(Ok(())));
            }
            return;
        }
        if let Some(id) = self.post(ToWorker::RemovePort(port.clone()), &[]) {
            self.removing.insert(port.clone());
            self.requests
                .insert(id, Waiting::RemovePort { port, reply });
            return;
        }
        if let Some(reply) = reply {
            drop(reply.send(Ok(())));
        }
        if self.has_worker() {
            // It hangs, and has a port that must be gone: a new one will not have it.
            self.worker_died("it takes no requests");
        }
    }

    /// Removes the port unless it is another one by now.
    pub(super) fn remove_exactly(&mut self, port: String, serial: u64) {
        if self.has(&port, serial) {
            self.remove_port(port, None);
        }
    }
}
