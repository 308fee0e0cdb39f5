//! `netbackend network`: networks of the running daemon.
use super::{Failure, args::NetworkCommand, print_json, set, status, table::Table};
use control::{Client, NetworkRequest, NetworkStatus};
use std::io::{self, Write};

pub(super) fn run(client: &Client, command: NetworkCommand) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match command {
        NetworkCommand::Add {
            network,
            mode,
            mtu,
            workers,
            cpus,
            set,
            json,
        } => {
            let mut settings = set::read(&set)?;
            if let Some(mode) = mode {
                settings.insert("mode".into(), mode.into());
            }
            if let Some(mtu) = mtu {
                settings.insert("mtu".into(), mtu.into());
            }
            if let Some(workers) = workers {
                settings.insert("workers".into(), workers.into());
            }
            if !cpus.is_empty() {
                settings.insert("cpus".into(), cpus.into());
            }
            let request = NetworkRequest {
                name: network,
                settings,
            };
            let added = client.add_network(&request).map_err(Failure::at_run_time)?;
            if json {
                print_json(&mut out, &added)?;
            } else {
                status::show_network(&mut out, &added)?;
            }
        }
        NetworkCommand::Remove { network } => client
            .remove_network(&network)
            .map_err(Failure::at_run_time)?,
        NetworkCommand::List { json } => {
            let networks = client.status().map_err(Failure::at_run_time)?.networks;
            if json {
                print_json(&mut out, &networks)?;
            } else {
                list(&mut out, &networks)?;
            }
        }
        NetworkCommand::Show { network, json } => {
            let network = client.network(&network).map_err(Failure::at_run_time)?;
            if json {
                print_json(&mut out, &network)?;
            } else {
                status::show_network(&mut out, &network)?;
            }
        }
    }
    Ok(())
}

fn list(out: &mut impl Write, networks: &[NetworkStatus]) -> io::Result<()> {
    let mut table = Table::new(&[
        "network", "state", "mode", "mtu", "ports", "worker", "restarts",
    ]);
    for network in networks {
        let worker = network.worker_pid.map(|pid| pid.to_string());
        table.row(vec![
            network.name.clone(),
            network.state.to_string(),
            network.mode.to_string(),
            network.mtu.to_string(),
            network.ports.len().to_string(),
            worker.unwrap_or_else(|| "-".into()),
            network.restarts.to_string(),
        ]);
    }
    table.print(out, "")
}
