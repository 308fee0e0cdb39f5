//! `netbackend port show`: one port with every counter of its queues.
use super::{status, table::Table};
use control::{Fault, PortDetail, PortFilter, QueueCounters};
use std::{
    collections::BTreeSet,
    io::{self, Write},
};

type Getter = fn(&QueueCounters) -> u64;

const ROWS: &[(&str, Getter)] = &[
    ("frames", |queue| queue.frames),
    ("bytes", |queue| queue.bytes),
    ("undersize", |queue| queue.sizes.undersize),
    ("64", |queue| queue.sizes.size_64),
    ("65-127", |queue| queue.sizes.size_65_127),
    ("128-255", |queue| queue.sizes.size_128_255),
    ("256-511", |queue| queue.sizes.size_256_511),
    ("512-1023", |queue| queue.sizes.size_512_1023),
    ("1024-1518", |queue| queue.sizes.size_1024_1518),
    ("1519 and more", |queue| queue.sizes.size_1519_and_more),
    ("multicast", |queue| queue.multicast),
    ("broadcast", |queue| queue.broadcast),
    ("software offloads", |queue| queue.software_offloads),
    ("kicks", |queue| queue.kicks),
    ("calls", |queue| queue.calls),
    ("calls suppressed", |queue| queue.calls_suppressed),
    ("faults", |queue| queue.faults),
    ("dropped", |queue| queue.dropped),
];

/// A column per queue, a row per counter, exact numbers.
pub(super) fn show(out: &mut impl Write, network: &str, detail: &PortDetail) -> io::Result<()> {
    let port = &detail.port;
    writeln!(
        out,
        "port {network}/{}: {}, {}, mac {}, {} queue pairs",
        port.name,
        port.state,
        status::transport(&port.kind),
        port.mac.as_deref().unwrap_or("-"),
        port.queue_pairs
    )?;
    if let Some(filter) = &port.filter {
        writeln!(out, "receives: {}", chosen(filter))?;
    }
    if !port.features.is_empty() {
        writeln!(out, "features: {}", port.features.join(", "))?;
    }
    if let Some(Fault {
        message,
        seconds_ago,
    }) = &port.last_fault
    {
        writeln!(out, "last fault: {message} ({seconds_ago} s ago)")?;
    }
    let headings = detail.queues.iter().map(|queue| {
        let faulty = if queue.faulty { " (faulty)" } else { "" };
        let worker = queue.worker.map(|worker| format!(" (worker {worker})"));
        let worker = worker.unwrap_or_default();
        format!("{}{}{worker}{faulty}", queue.direction, queue.queue_pair)
    });
    let headings: Vec<_> = ["counter".to_owned()].into_iter().chain(headings).collect();
    let headings: Vec<_> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for (name, get) in ROWS {
        table.row(row(name, detail, *get));
    }
    let reasons = detail
        .queues
        .iter()
        .flat_map(|queue| queue.counters.drops.keys());
    for reason in reasons.collect::<BTreeSet<_>>() {
        let count = |queue: &QueueCounters| queue.drops.get(reason).copied().unwrap_or(0);
        table.row(row(&format!("  {reason}"), detail, count));
    }
    table.print(out, "")
}

/// What comes by a macvtap whose guest may choose that.
fn chosen(filter: &PortFilter) -> String {
    let address = filter.address.as_deref().unwrap_or("its own address");
    let groups = match &filter.groups {
        None => "all groups".to_owned(),
        Some(groups) if groups.is_empty() => "no groups".to_owned(),
        Some(groups) => {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            format!("groups {}", groups.join(" "))
        }
    };
    let promiscuous = if filter.promiscuous {
        ", promiscuous"
    } else {
        ""
    };
    format!("{address}, {groups}{promiscuous}")
}

fn row(name: &str, detail: &PortDetail, get: impl Fn(&QueueCounters) -> u64) -> Vec<String> {
    let values = detail
        .queues
        .iter()
        .map(|queue| get(&queue.counters).to_string());
    [name.to_owned()].into_iter().chain(values).collect()
}
