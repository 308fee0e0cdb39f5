//! Starting the worker of a network: it is given the settings, the gateway's descriptors, the ports and the
//! forwards.
use super::{
    network::{NetworkTask, borrowed},
    wire::Wire,
    worker::Worker,
};
use crate::{
    network::raw_sockets,
    protocol::{NetworkSettings, ToWorker},
};
use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
};
use tracing::{error, warn};

/// Raw ICMP sockets of each family for a gateway: echo requests of so many guests' processes at once, where "ping" sockets are not allowed.
const RAW_ECHO_SOCKETS: usize = 32;

impl NetworkTask {
    /// A new worker that has the network's settings, and its ports and forwards as far as it can have them.
    pub(super) async fn start_worker(&mut self) -> Result<Worker, String> {
        let mut worker = Worker::spawn(&self.config.name, &self.log)
            .map_err(|error| format!("it cannot be started: {error}"))?;
        let mut settings = Box::new(NetworkSettings::from(&self.config));
        let fds = if self.config.nat.is_some() {
            let lease_file = self.lease_file();
            settings.lease_file = lease_file.is_some();
            let raw_echo = raw_sockets(RAW_ECHO_SOCKETS);
            lease_file.into_iter().chain(raw_echo).collect()
        } else {
            Vec::new()
        };
        worker
            .call(ToWorker::Configure(settings), &borrowed(&fds))
            .await?;
        let link = self.link();
        let mut all_fit = true;
        for (name, entry) in &mut self.ports {
            let port = &mut entry.port;
            // Its interface may have come back while no worker was there to get it.
            let is_back = port.is_due(&self.nics);
            let rewired = if is_back { port.rewire() } else { Ok(()) };
            let is_wired = port.wire.as_ref().is_some_and(Wire::is_open);
            let message = ToWorker::AddPort(port.settings(link));
            let given = rewired.and_then(|()| port.hand_over().map_err(|error| error.to_string()));
            port.fault = match given {
                // A worker that is gone has refused nothing: the next one gets all as they are.
                Ok(fds) => worker.ask(message, &borrowed(&fds)).await?.err(),
                Err(why) => Some(why),
            };
            entry.is_given = port.fault.is_none();
            if !entry.is_given && (is_back || is_wired) {
                all_fit = false;
                port.close_wire();
            }
            if let Some(fault) = &port.fault {
                error!(
                    network = self.config.name,
                    port = name,
                    fault,
                    "port does not work"
                );
            }
        }
        if all_fit {
            self.nics.retry.reset_pause();
        } else {
            self.nics.retry.try_again();
        }
        self.hand_over_forwards(&mut worker).await;
        Ok(worker)
    }

    /// Where the gateway keeps its leases over a restart, of the worker as of the daemon.
    fn lease_file(&self) -> Option<OwnedFd> {
        let path = self.lease_path.as_path();
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        match options.mode(0o600).open(path) {
            Ok(file) => Some(file.into()),
            Err(error) => {
                let path = path.display();
                warn!(network = self.config.name, %error, "leases are not kept over a restart: open {path}");
                None
            }
        }
    }
}
