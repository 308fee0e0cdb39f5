//! What processes that have ports on lease keep over a restart of the daemon: their ports, and what their guests have chosen to receive.
use super::{lease::lessee_of, registry::Registry};
use crate::uplink::Wanted;
use control::{ApiError, PortFilter};
use std::{sync::Arc, time::Duration};
use tokio::time;
use tracing::{error, warn};

/// How often guests have the state written at most: they may change their filters all the time, and the disk is the host's.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

impl Registry {
    /// Gives ports on lease back to their processes, as far as those still live: they have outlived
    /// another daemon, and connect to the same sockets again.
    pub(super) async fn renew_leases(&self) {
        let leases = {
            let mut definitions = self.lock();
            definitions.state.take_leases()
        };
        let mut renewed = Vec::new();
        for (network, port, leased) in leases {
            if self.network(&network).is_err() && self.lock().state.has_network(&network) {
                // It could not be had this time; perhaps the next.
                renewed.push((network, port, leased));
                continue;
            }
            let (Ok(handle), Some(lessee)) = (self.network(&network), lessee_of(leased.process))
            else {
                continue;
            };
            let settings = leased.settings.0.clone();
            // It was checked when it was set.
            let filter = Wanted::read(&leased.filter).unwrap_or_default();
            match handle
                .add_port(Some(port.clone()), settings, Some(lessee), filter)
                .await
            {
                Ok(_) => renewed.push((network, port, leased)),
                Err(wrong) => warn!("port {network}/{port} is not leased again: {wrong}"),
            }
        }
        self.keep(|definitions| {
            for (network, port, leased) in renewed {
                definitions.state.lease_port(&network, &port, leased);
            }
        });
        self.save();
    }

    /// Lets through what the guest of a port wants. Must not be cancelled: spawn it.
    pub(crate) async fn set_filter(
        self: Arc<Self>,
        network: String,
        port: String,
        filter: PortFilter,
    ) -> Result<(), ApiError> {
        let handle = self.network(&network)?;
        let wanted = Wanted::read(&filter)?;
        handle.set_filter(port.clone(), wanted).await?;
        if self.lock().state.set_filter(&network, &port, filter) {
            self.unsaved.notify_one();
        }
        Ok(())
    }

    /// Writes down what guests have chosen to receive, for ever.
    pub(super) async fn save_filters(self: Arc<Self>) {
        loop {
            self.unsaved.notified().await;
            self.save();
            time::sleep(SAVE_PAUSE).await;
        }
    }

    /// Writes the state, whether it has changed or not.
    pub(super) fn save(&self) {
        let definitions = self.lock();
        if let Err(wrong) = definitions.state.save(&definitions.base.config.state_file) {
            error!("{wrong:#}");
        }
    }
}
