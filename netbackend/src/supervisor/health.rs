//! Whether everything works, from what networks and ports say of themselves.
use control::{Fault, Health, NetworkState, NetworkStatus, PortState, PortStatus};

/// A restart of a worker is worth a note for this long.
const RECENT_SECONDS: u64 = 600;

/// Examines the state of all networks.
pub(crate) fn examine(networks: &[NetworkStatus]) -> Health {
    let mut health = Health::default();
    for network in networks {
        examine_network(network, &mut health);
        examine_mtu(network, &mut health);
        for port in &network.ports {
            examine_port(&network.name, port, &mut health);
        }
    }
    health.healthy = health.problems.is_empty();
    health
}

fn examine_network(network: &NetworkStatus, health: &mut Health) {
    let name = &network.name;
    health.networks += 1;
    health.worker_restarts += network.restarts;
    let why = |fault: &Option<Fault>| match fault {
        Some(fault) => format!(" ({})", fault.message),
        None => String::new(),
    };
    if network.state != NetworkState::Running {
        let why = why(&network.last_fault);
        health
            .problems
            .push(format!("network {name} is {}{why}", network.state));
    } else if !network.responsive {
        let problem = format!("the worker of network {name} does not answer");
        health.problems.push(problem);
    } else {
        health.networks_running += 1;
        if let Some(fault) = recent(network.last_fault.as_ref()) {
            health.notes.push(format!(
                "the worker of network {name} was restarted {} s ago ({})",
                fault.seconds_ago, fault.message
            ));
        }
    }
}

fn examine_mtu(network: &NetworkStatus, health: &mut Health) {
    if let Some(mtu_of_nic) = network.nic_mtu {
        let (name, mtu) = (&network.name, network.mtu);
        health.problems.push(format!(
            "network {name} has mtu {mtu}, but its NIC {mtu_of_nic}: larger frames are lost"
        ));
    }
}

fn examine_port(network: &str, port: &PortStatus, health: &mut Health) {
    let name = &port.name;
    health.ports += 1;
    health.ports_running += u64::from(port.state == PortState::Running);
    health.faulty_queues += u64::from(port.faulty_queues);
    if let Some(fault) = &port.fault {
        health
            .problems
            .push(format!("port {network}/{name} is faulty ({fault})"));
    } else if port.faulty_queues > 0 {
        let count = port.faulty_queues;
        health
            .problems
            .push(format!("port {network}/{name} has {count} faulty queues"));
    } else if let Some(fault) = recent(port.last_fault.as_ref()) {
        health.notes.push(format!(
            "port {network}/{name} was faulty {} s ago ({})",
            fault.seconds_ago, fault.message
        ));
    }
}

fn recent(fault: Option<&Fault>) -> Option<&Fault> {
    fault.filter(|fault| fault.seconds_ago < RECENT_SECONDS)
}

#[cfg(test)]
#[path = "health_test.rs"]
mod tests;
