//! Reading the configuration again: everything is checked and opened before anything is changed.
use super::{
    absence::Absent,
    forward::OpenForward,
    handle::NetworkHandle,
    mtu::awaits_mtu,
    port::Port,
    registry::{OpenNetwork, Registry},
    reload_plan::{Change, Networks, Plan},
    request::{invalid, refusal},
    wire::take_mtu_of_nic,
};
use crate::config::{Base, Config, NetworkConfig, PortConfig};
use control::{ApiError, ReloadReport};
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// New ports by network and name: open, or to be opened when what they need is free.
type Opened = BTreeMap<(String, String), Port>;

impl Registry {
    /// Reads the configuration again and changes what differs. Must not be cancelled: spawn it.
    pub(crate) async fn reload(self: Arc<Self>) -> Result<ReloadReport, ApiError> {
        let _turn = self.turn.lock().await;
        let done = self.reload_in_turn().await;
        match &done {
            Ok(report) => tell(report),
            Err(wrong) => warn!("configuration not reloaded, nothing was changed: {wrong}"),
        }
        done
    }

    async fn reload_in_turn(self: &Arc<Self>) -> Result<ReloadReport, ApiError> {
        let overrides = &self.options.overrides;
        let file = self.options.file.as_deref();
        let base = Base::load(file, overrides)
            .map_err(|wrong| refusal("bad-config", wrong.to_string(), "nothing was changed"))?;
        self.check_fixed(&base.config)?;
        let (state, mut warnings) = self.lock().state.after_reload(&base.sections());
        warnings.extend(base.config.warnings.iter().map(ToString::to_string));
        let mut new = base
            .with(overrides, |networks| state.apply(networks))
            .map_err(|wrong| {
                let wrong = invalid(&wrong);
                refusal(
                    "bad-config",
                    format!(
                        "the file and changes at run time do not fit: {}",
                        wrong.message
                    ),
                    wrong.remedy.unwrap_or_default(),
                )
            })?;
        let old = self.defined_as_it_runs();
        let mut waiting = Vec::new();
        for network in &mut new {
            let Err(wrong) = take_mtu_of_nic(network) else {
                continue;
            };
            if keep_mtu(network, old.get(&network.name)) {
                continue;
            }
            if !state.has_network(&network.name) {
                let wrong = format!("{wrong:#}");
                return Err(refusal("bad-config", wrong, "nothing was changed"));
            }
            // It was left out at the start for the same reason.
            warnings.push(format!("{wrong:#}; left out (the next reload tries again)"));
            waiting.push(network.name.clone());
        }
        new.retain(|network| !waiting.contains(&network.name));
        let plan = Plan::new(&old, &new);
        let opened = self.prepare(&plan, &old)?;
        // From here on nothing is refused any more.
        self.keep(|definitions| {
            definitions.base = base;
            definitions.state = state;
        });
        let mut report = ReloadReport {
            warnings,
            ..ReloadReport::default()
        };
        self.apply(plan, &old, opened, &mut report).await;
        Ok(report)
    }

    /// What there is: the MTU of a NIC that came later is not in what was asked for, and a tap that could not be made anew for it is gone.
    fn defined_as_it_runs(&self) -> Networks {
        let mut defined = self.lock().defined.clone();
        for network in defined.values_mut().filter(|network| network.mtu_of_nic) {
            if let Ok(handle) = self.network(&network.name) {
                network.mtu = handle.mtu();
                network.ports.retain(|port| handle.has_port(&port.name));
            }
        }
        defined
    }

    /// What only a restart can change.
    fn check_fixed(&self, new: &Config) -> Result<(), ApiError> {
        let definitions = self.lock();
        let old = &definitions.base.config;
        let changed = [
            ("runtime_dir", old.runtime_dir != new.runtime_dir),
            ("control_socket", old.control_socket != new.control_socket),
            (
                "the mode or owner of control_socket",
                old.control_access != new.control_access,
            ),
            ("state_file", old.state_file != new.state_file),
        ];
        match changed.iter().find(|(_, changed)| *changed) {
            None => Ok(()),
            Some((key, _)) => Err(refusal(
                "bad-config",
                format!("{key} has changed, which a running daemon cannot follow"),
                "restart netbackend, or undo that change; nothing was changed",
            )),
        }
    }

    /// Opens what the new ports need, as far as it is not in use by ports that will go.
    fn prepare(&self, plan: &Plan, old: &Networks) -> Result<Opened, ApiError> {
        let leaving = plan.leaving(old);
        let mut opened = Opened::new();
        let of_changed = plan
            .changed
            .iter()
            .flat_map(|change| change.added.iter().map(|port| (&change.network, port)));
        let of_added = plan
            .added
            .iter()
            .flat_map(|network| network.ports.iter().map(move |port| (network, port)));
        let mut made = Vec::new();
        let result = of_changed.chain(of_added).try_for_each(|(network, port)| {
            if let Some(handle) = self.network(&network.name).ok()
                && is_leased(&handle, old.get(&network.name), &port.name)
            {
                return Err(format!(
                    "port {}/{} is leased to a running guest",
                    network.name, port.name
                ));
            }
            if leaving.have(network, port) {
                return Ok(());
            }
            if !old.contains_key(&network.name) {
                made.push(network.name.clone());
            }
            let open = self
                .runtime_dir
                .make_network_dir(&network.name)
                .and_then(|()| self.open_port(network, port, Absent::Refused));
            let open = open.map_err(|wrong| format!("{wrong:#}"))?;
            opened.insert((network.name.clone(), port.name.clone()), open);
            Ok(())
        });
        match result {
            Ok(()) => Ok(opened),
            Err(wrong) => {
                drop(opened);
                for network in made {
                    self.runtime_dir.remove_network_dir(&network);
                }
                Err(refusal("bad-config", wrong, "nothing was changed"))
            }
        }
    }

    async fn apply(
        self: &Arc<Self>,
        plan: Plan,
        old: &Networks,
        mut opened: Opened,
        report: &mut ReloadReport,
    ) {
        for name in &plan.removed {
            self.end(name).await;
            report.removed.push(name.clone());
        }
        // All that goes before all that comes: a socket may move from one network to another.
        for change in &plan.changed {
            self.remove_ports(change, report).await;
        }
        self.release_wires(&plan, old, report).await;
        for change in plan.changed {
            self.change(change, old, &mut opened, report).await;
        }
        for network in plan.added {
            self.add(network, &mut opened, report).await;
        }
        report.untouched = plan.untouched;
    }

    async fn remove_ports(&self, change: &Change, report: &mut ReloadReport) {
        let Ok(handle) = self.network(&change.network.name) else {
            return;
        };
        for port in &change.removed {
            let path = format!("{}/{port}", change.network.name);
            // Somebody may have removed it meanwhile; a worker that hangs is replaced.
            if let Err(wrong) = handle.remove_port(port.clone()).await
                && wrong.code != "no-such-port"
            {
                report.failed.push(format!("remove port {path}: {wrong}"));
            }
            if !change.added.iter().any(|added| added.name == *port) {
                report.removed.push(path);
            }
        }
    }

    /// Guests on lease have macvtaps that no configuration tells of. All networks at once: one that hangs costs the others no time.
    async fn release_wires(&self, plan: &Plan, old: &Networks, report: &mut ReloadReport) {
        let changed = plan.changed.iter();
        let due = changed.filter(|change| plan.hands_over(change, old));
        let mut releases = JoinSet::new();
        for Change { network, .. } in due {
            if let Ok(handle) = self.network(&network.name) {
                let network = network.clone();
                releases.spawn(async move { handle.release_wires(network).await });
            }
        }
        while let Some(released) = releases.join_next().await {
            if let Ok(Err(wrong)) = released {
                report.failed.push(wrong.to_string());
            }
        }
    }

    async fn change(
        &self,
        change: Change,
        old: &Networks,
        opened: &mut Opened,
        report: &mut ReloadReport,
    ) {
        let Change {
            mut network,
            settings,
            added,
            forwards,
            ..
        } = change;
        let Ok(handle) = self.network(&network.name) else {
            return;
        };
        if settings {
            match handle.reconfigure(network.clone()).await {
                Ok(failed) => report.failed.extend(failed),
                Err(wrong) => {
                    report.failed.push(wrong.to_string());
                    return self.go_on_as_before(handle);
                }
            }
            report.changed.push(network.name.clone());
            // A tap that could not be made anew is gone; the next reload tries again.
            let is_there = |name: &str| handle.has_port(name);
            network
                .ports
                .retain(|port| added.contains(port) || is_there(&port.name));
        }
        if network.mtu_of_nic {
            // Its NIC may have come since the configuration was read.
            network.mtu = handle.mtu();
        }
        if forwards && !settings {
            let wanted = network.nat.as_ref().map(|nat| nat.forwards.clone());
            match handle.set_forwards(wanted.unwrap_or_default()).await {
                Ok(failed) => report.failed.extend(failed),
                Err(wrong) => report.failed.push(wrong.to_string()),
            }
            report.changed.push(format!("forwards of {}", network.name));
        }
        if (forwards || settings)
            && let Some(nat) = &mut network.nat
            && let Ok(there) = handle.forwards().await
        {
            // One that could not be had; the next reload tries again.
            let there: Vec<String> = there.into_iter().map(|status| status.forward).collect();
            nat.forwards
                .retain(|forward| there.contains(&forward.to_string()));
        }
        let before = old.get(&network.name);
        for config in added {
            let path = format!("{}/{}", network.name, config.name);
            let existed = before.is_some_and(|n| n.ports.iter().any(|p| p.name == config.name));
            match self.insert(&handle, &network, &config, opened).await {
                Ok(()) if existed => report.changed.push(path),
                Ok(()) => report.added.push(path),
                Err(wrong) => {
                    network.ports.retain(|port| port.name != config.name);
                    report.failed.push(wrong);
                }
            }
        }
        let mut definitions = self.lock();
        if let Some(now) = definitions.defined.get_mut(&network.name) {
            keep_up(now, before, network);
        }
    }

    /// A network that does not come to its new settings goes on with the old ones; the next reload tries again.
    fn go_on_as_before(&self, handle: NetworkHandle) {
        if let Some(now) = self.lock().defined.get_mut(handle.name()) {
            now.ports.retain(|port| handle.has_port(&port.name));
        }
        tokio::spawn(async move { handle.take_wires_back().await });
    }

    async fn insert(
        &self,
        handle: &NetworkHandle,
        network: &NetworkConfig,
        config: &PortConfig,
        opened: &mut Opened,
    ) -> Result<(), String> {
        // The network's task makes it anew for another MTU. Here, a worker of it that is just forked may still hold the tap.
        let port = self.take_opened(network, config, opened)?;
        let inserted = handle.insert_port(port).await;
        inserted.map_err(|wrong| format!("add port {}/{}: {wrong}", network.name, config.name))
    }

    /// A port that was opened beforehand, for the MTU of then, or is opened now.
    fn take_opened(
        &self,
        network: &NetworkConfig,
        config: &PortConfig,
        opened: &mut Opened,
    ) -> Result<Port, String> {
        let (network_name, name) = (network.name.clone(), config.name.clone());
        let Some(port) = opened.remove(&(network_name, name)) else {
            let port = self.open_port(network, config, Absent::Refused);
            return port.map_err(|wrong| format!("{wrong:#}"));
        };
        Ok(port)
    }

    fn with_mtu(&self, mut port: Port, network: &NetworkConfig) -> Result<Port, String> {
        let followed = port.follow_mtu(network, &self.runtime_path());
        let path = format!("{}/{}", network.name, port.config.name);
        followed.map_err(|why| format!("open port {path} again: {why}"))?;
        Ok(port)
    }

    async fn add(
        self: &Arc<Self>,
        mut network: NetworkConfig,
        opened: &mut Opened,
        report: &mut ReloadReport,
    ) {
        let name = network.name.clone();
        // All before may have taken long: the NIC may have come up since the configuration was read.
        let awaits_mtu = awaits_mtu(&network);
        // What is wrong with the NIC, a port on it tells.
        drop(take_mtu_of_nic(&mut network));
        if let Err(wrong) = self.runtime_dir.make_network_dir(&name) {
            report.failed.push(format!("{wrong:#}"));
            return;
        }
        let mut ports = Vec::new();
        let mut left_out = Vec::new();
        for config in &network.ports {
            let port = self.take_opened(&network, config, opened);
            match port.and_then(|port| self.with_mtu(port, &network)) {
                Ok(port) => ports.push(port),
                Err(wrong) => {
                    report.failed.push(wrong);
                    left_out.push(config.name.clone());
                }
            }
        }
        network.ports.retain(|port| !left_out.contains(&port.name));
        let forwards = open_forwards(&mut network, report);
        self.start(OpenNetwork {
            config: network,
            ports,
            forwards,
            awaits_mtu,
        });
        if let Ok(handle) = self.network(&name) {
            handle.settled().await;
        }
        report.added.push(name);
    }
}

/// Opens the forwards that can be had, and leaves out the others; the next reload tries them again.
fn open_forwards(network: &mut NetworkConfig, report: &mut ReloadReport) -> Vec<OpenForward> {
    let mut open = Vec::new();
    let Some(nat) = &mut network.nat else {
        return open;
    };
    nat.forwards
        .retain(|forward| match OpenForward::open(&network.name, forward) {
            Ok(forward) => {
                open.push(forward);
                true
            }
            Err(wrong) => {
                report.failed.push(format!("{wrong:#}"));
                false
            }
        });
    open
}

/// The NIC of a network that runs may be unplugged: its MTU stays as it was. False if the network is on another.
fn keep_mtu(network: &mut NetworkConfig, running: Option<&NetworkConfig>) -> bool {
    let Some(running) = running.filter(|running| running.nic() == network.nic()) else {
        return false;
    };
    network.mtu = running.mtu;
    true
}

/// Makes `now` what was asked for, but for ports that have come or gone since `before`.
fn keep_up(now: &mut NetworkConfig, before: Option<&NetworkConfig>, mut asked: NetworkConfig) {
    let has = |network: Option<&NetworkConfig>, name: &str| {
        network.is_some_and(|network| network.ports.iter().any(|port| port.name == name))
    };
    let gone = |name: &str| has(before, name) && !has(Some(now), name);
    let stays = asked.ports.iter().filter(|port| !gone(&port.name));
    let mut ports: Vec<PortConfig> = stays.cloned().collect();
    let come = now.ports.iter().filter(|port| !has(before, &port.name));
    ports.extend(come.filter(|port| !has(Some(&asked), &port.name)).cloned());
    asked.ports = ports;
    *now = asked;
}

/// Whether a port is there that no configuration asks for.
fn is_leased(handle: &NetworkHandle, network: Option<&NetworkConfig>, port: &str) -> bool {
    let defined = network.is_some_and(|network| network.ports.iter().any(|p| p.name == port));
    !defined && handle.has_port(port)
}

fn tell(report: &ReloadReport) {
    let ReloadReport {
        added,
        removed,
        changed,
        untouched,
        ..
    } = report;
    info!(
        ?added,
        ?removed,
        ?changed,
        ?untouched,
        "configuration reloaded"
    );
    for warning in &report.warnings {
        warn!("{warning}");
    }
    for failed in &report.failed {
        warn!("reload: {failed}");
    }
}

#[cfg(test)]
#[path = "reload_test.rs"]
mod tests;
