//! `netbackend status`: the daemon at a glance.
use super::table::{Table, human, human_time};
use crate::supervisor::examine;
use control::{
    DnsCounters, NatStatus, NetworkStatus, PortCounters, PortKind, PortStatus, Status, WorkerStatus,
};
use std::io::{self, Write};

const HEADINGS: &[&str] = &[
    "port",
    "state",
    "mac",
    "queues",
    "from guest",
    "to guest",
    "drops",
    "features",
    "transport",
];

/// Short forms of the features that decide how fast a port is.
const SHORT_FEATURES: &[(&str, &str)] = &[
    ("guest_csum", "gcsum"),
    ("host_tso4", "tso4"),
    ("host_tso6", "tso6"),
    ("guest_tso4", "gtso4"),
    ("guest_tso6", "gtso6"),
    ("mrg_rxbuf", "mrg"),
    ("event_idx", "evidx"),
    ("in_order", "inorder"),
];
/// Features that say nothing to people: every driver of today has them. `--json` has them all.
const PLAIN_FEATURES: &[&str] = &[
    "mtu",
    "guest_ecn",
    "host_ecn",
    "indirect_desc",
    "protocol_features",
    "version_1",
];

/// Prints all networks and their ports.
pub(super) fn show(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let up = human_time(status.uptime_seconds);
    writeln!(
        out,
        "netbackend {}, pid {}, up {up}",
        status.version, status.pid
    )?;
    show_totals(out, status)?;
    for network in &status.networks {
        writeln!(out)?;
        show_network(out, network)?;
    }
    Ok(())
}

fn show_totals(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let ports = status.networks.iter().flat_map(|network| &network.ports);
    let sum = |get: fn(&PortCounters) -> u64| ports.clone().map(|port| get(&port.counters)).sum();
    writeln!(
        out,
        "total: from guests {} / {}B, to guests {} / {}B, drops {} + {}",
        human(sum(|port| port.tx_frames)),
        human(sum(|port| port.tx_bytes)),
        human(sum(|port| port.rx_frames)),
        human(sum(|port| port.rx_bytes)),
        human(sum(|port| port.tx_dropped)),
        human(sum(|port| port.rx_dropped))
    )?;
    let health = examine(&status.networks);
    let word = match health.problems.len() {
        0 => "ok".into(),
        1 => "1 problem, see `netbackend health`".into(),
        several => format!("{several} problems, see `netbackend health`"),
    };
    writeln!(
        out,
        "health: {word}; restarts of workers {}, faulty queues {}",
        health.worker_restarts, health.faulty_queues
    )
}

pub(super) fn show_network(out: &mut impl Write, network: &NetworkStatus) -> io::Result<()> {
    let NetworkStatus {
        name,
        mode,
        mtu,
        state,
        restarts,
        ..
    } = network;
    let worker = match network.worker_pid {
        Some(pid) => format!("worker {pid}"),
        None => "no worker".into(),
    };
    let nic_mtu = network.nic_mtu.map(|mtu| format!(" (its NIC {mtu})"));
    let nic_mtu = nic_mtu.unwrap_or_default();
    writeln!(
        out,
        "network {name}: {mode}, mtu {mtu}{nic_mtu}, {state}, {worker}, restarts {restarts}"
    )?;
    if let Some(fault) = &network.last_fault {
        let ago = human_time(fault.seconds_ago);
        writeln!(out, "  last fault: {} ({ago} ago)", fault.message)?;
    }
    show_workers(out, &network.workers)?;
    if let Some(nat) = &network.nat {
        show_gateway(out, nat)?;
    }
    show_ports(out, &network.ports)
}

/// How busy the datapath is, and how evenly.
fn show_workers(out: &mut impl Write, workers: &[WorkerStatus]) -> io::Result<()> {
    let share = |worker: &WorkerStatus| {
        let (whole, tenth) = (worker.busy_permille / 10, worker.busy_permille % 10);
        format!("{whole}.{tenth} %")
    };
    match workers {
        [] => Ok(()),
        [only] => writeln!(out, "  busy {}", share(only)),
        several => {
            let each = several.iter().map(|worker| {
                let cpu = worker.cpu.map(|cpu| format!(" (CPU {cpu})"));
                let cpu = cpu.unwrap_or_default();
                format!("worker {}{cpu} {}", worker.worker, share(worker))
            });
            writeln!(out, "  busy: {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn show_gateway(out: &mut impl Write, nat: &NatStatus) -> io::Result<()> {
    let counters = &nat.counters;
    writeln!(
        out,
        "  gateway: {} flows, {} sockets; from guests {} / {}B, to guests {} / {}B",
        nat.flows,
        nat.sockets,
        human(counters.frames_in),
        human(counters.bytes_in),
        human(counters.frames_out),
        human(counters.bytes_out)
    )?;
    if nat.dns.queries > 0 {
        show_dns(out, &nat.dns)?;
    }
    if counters.drops.is_empty() {
        return Ok(());
    }
    let drops = counters.drops.iter();
    let drops: Vec<String> = drops
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    writeln!(out, "  gateway dropped: {}", drops.join(", "))
}

fn show_dns(out: &mut impl Write, dns: &DnsCounters) -> io::Result<()> {
    writeln!(
        out,
        "  gateway DNS: {} questions; {} answered here, {} from the cache, {} asked of servers, {} failed, {} refused",
        human(dns.queries),
        human(dns.local),
        human(dns.cached),
        human(dns.forwarded),
        human(dns.failed),
        human(dns.over_quota)
    )
}

pub(super) fn show_ports(out: &mut impl Write, ports: &[PortStatus]) -> io::Result<()> {
    if ports.is_empty() {
        return writeln!(out, "  no ports");
    }
    let mut table = Table::new(HEADINGS);
    for port in ports {
        table.row(row(port));
    }
    table.print(out, "  ")?;
    for port in ports {
        if let Some(fault) = &port.fault {
            writeln!(out, "  {}: {fault}", port.name)?;
        }
    }
    Ok(())
}

fn row(port: &PortStatus) -> Vec<String> {
    let counters = &port.counters;
    let traffic = |frames, bytes| format!("{} / {}B", human(frames), human(bytes));
    let name = if port.uplink {
        format!("{} (uplink)", port.name)
    } else {
        port.name.clone()
    };
    vec![
        name,
        port.state.to_string(),
        port.mac.clone().unwrap_or_else(|| "-".into()),
        port.queue_pairs.to_string(),
        traffic(counters.tx_frames, counters.tx_bytes),
        traffic(counters.rx_frames, counters.rx_bytes),
        drops(port),
        features(port),
        transport(&port.kind),
    ]
}

/// Both directions apart: the first is policy or the guest's fault, the second a slow guest.
fn drops(port: &PortStatus) -> String {
    let (tx, rx) = (port.counters.tx_dropped, port.counters.rx_dropped);
    format!("{} + {}", human(tx), human(rx))
}

fn features(port: &PortStatus) -> String {
    let names = port.features.iter().map(String::as_str);
    let names = names.filter(|name| !PLAIN_FEATURES.contains(name));
    let short: Vec<_> = names.map(short_form).collect();
    if short.is_empty() {
        "-".into()
    } else {
        short.join(",")
    }
}

fn short_form(name: &str) -> &str {
    let found = SHORT_FEATURES.iter().find(|(long, _)| *long == name);
    found.map_or(name, |(_, short)| short)
}

pub(super) fn transport(kind: &PortKind) -> String {
    match kind {
        PortKind::VhostUser {
            socket,
            client: false,
        } => format!("vhost-user {}", socket.display()),
        PortKind::VhostUser { socket, .. } => format!("vhost-user to {}", socket.display()),
        PortKind::Tap { interface, netns } => format!("tap {interface}{}", at(netns.as_deref())),
        PortKind::Nic { nic, netns, vlan } => {
            let vlan = vlan.map_or_else(String::new, |vlan| format!(".{vlan}"));
            let netns = at(netns.as_deref());
            format!("nic {nic}{vlan}{netns}")
        }
        PortKind::Packet { nic, netns } => format!("packet {nic}{}", at(netns.as_deref())),
    }
}

fn at(netns: Option<&str>) -> String {
    netns.map_or_else(String::new, |netns| format!("@{netns}"))
}

#[cfg(test)]
#[path = "status_test.rs"]
mod tests;
