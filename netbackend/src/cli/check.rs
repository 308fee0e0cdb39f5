//! `netbackend check-config`: what a valid configuration means.
use super::table::Table;
use crate::config::{Config, NetworkConfig, PortConfig, TransportConfig};
use std::{
    io::{self, Write},
    path::Path,
};
use switch::Role;

/// Prints every effective setting, defaults included.
pub(super) fn explain(out: &mut impl Write, file: &Path, config: &Config) -> io::Result<()> {
    writeln!(out, "{}: valid", file.display())?;
    for warning in &config.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "runtime directory: {}", config.runtime_dir.display())?;
    writeln!(out, "control socket: {}", config.control_socket.display())?;
    for network in &config.networks {
        explain_network(out, network)?;
    }
    Ok(())
}

fn explain_network(out: &mut impl Write, network: &NetworkConfig) -> io::Result<()> {
    writeln!(
        out,
        "\nnetwork {}: {}, mtu {}, ageing {:?}, {} addresses per port, polls {:?} when idle, {}{}{}",
        network.name,
        network.mode,
        network.mtu,
        network.ageing,
        network.fdb_capacity_per_port,
        network.poll_idle,
        workers(network),
        if network.require_sealed_memory {
            ", sealed memory only"
        } else {
            ""
        },
        if network.trust_filters {
            ", guests choose what they receive"
        } else {
            ""
        }
    )?;
    if network.ports.is_empty() {
        return writeln!(out, "  no static ports: guests get theirs on request");
    }
    let mut table = Table::new(&["port", "role", "mac", "queue pairs", "transport"]);
    for port in &network.ports {
        table.row(port_row(port));
    }
    table.print(out, "  ")
}

fn workers(network: &NetworkConfig) -> String {
    let count = match network.workers {
        1 => "1 worker".into(),
        several => format!("{several} workers"),
    };
    let cpus: Vec<_> = network.cpus.iter().map(u16::to_string).collect();
    match cpus.len() {
        0 => count,
        1 => format!("{count} on CPU {}", cpus.join(", ")),
        _ => format!("{count} on CPUs {}", cpus.join(", ")),
    }
}

fn port_row(port: &PortConfig) -> Vec<String> {
    let transport = match &port.transport {
        TransportConfig::VhostUser { socket } => format!("vhost-user {}", socket.display()),
        TransportConfig::VhostUserClient { socket } => {
            format!("vhost-user, connects to {}", socket.display())
        }
        TransportConfig::Tap { interface, netns } => match netns {
            Some(netns) => format!("tap {interface} in netns {netns}"),
            None => format!("tap {interface}"),
        },
        TransportConfig::Uplink(uplink) => uplink.to_string(),
    };
    let role = match port.role {
        Role::Guest => "guest",
        Role::Uplink => "uplink",
    };
    let mac = port
        .mac
        .map_or_else(|| "learned".into(), |mac| mac.to_string());
    vec![
        port.name.clone(),
        role.into(),
        mac,
        port.queue_pairs.to_string(),
        transport,
    ]
}
