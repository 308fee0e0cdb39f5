//! `netbackend flows`: what flows through a gateway, the fastest first.
use super::{Failure, print_json, table::Table};
use control::{Client, FlowStatus};
use std::{
    collections::HashMap,
    io::{self, Write},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

/// Between the two looks that a rate takes.
const LOOK: Duration = Duration::from_millis(500);
/// ED and CUP of ECMA-48: clear the screen, go to its start.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(
    client: &Client,
    network: &str,
    watch: Option<f64>,
    json: bool,
) -> Result<(), Failure> {
    let ask = || client.flows(network).map_err(Failure::at_run_time);
    let mut out = io::stdout().lock();
    if json {
        return Ok(print_json(&mut out, &ask()?)?);
    }
    let interval = match watch {
        Some(seconds) => Duration::try_from_secs_f64(seconds.max(0.1))
            .map_err(|wrong| Failure::usage(format_args!("--watch {seconds}: {wrong}")))?,
        None => LOOK,
    };
    let mut before = Look::new(ask()?);
    loop {
        thread::sleep(interval);
        let now = Look::new(ask()?);
        if watch.is_some() {
            write!(out, "{CLEAR}")?;
        }
        show(&mut out, &before, &now)?;
        out.flush()?;
        if watch.is_none() {
            return Ok(());
        }
        before = now;
    }
}

/// What makes a flow the same as before: protocol, direction, the guest with its end, and the other end. A mapping that the guest
/// made has none: its peer is whomever the guest sent to last.
type Key = (String, bool, String, SocketAddr, Option<SocketAddr>);

/// All flows at one moment.
struct Look {
    at: Instant,
    flows: Vec<FlowStatus>,
    bytes: HashMap<Key, u64>,
}

/// An answer may have taken so long that a look was earlier than its time says.
const ANSWER: Duration = Duration::from_millis(200);

impl Look {
    fn new(flows: Vec<FlowStatus>) -> Self {
        let bytes = flows
            .iter()
            .map(|flow| (key(flow), flow.sent + flow.received));
        Self {
            at: Instant::now(),
            bytes: bytes.collect(),
            flows,
        }
    }
}

fn key(flow: &FlowStatus) -> Key {
    let has_peer = flow.inbound || flow.protocol == "tcp";
    (
        flow.protocol.clone(),
        flow.inbound,
        flow.mac.clone(),
        flow.guest,
        has_peer.then_some(flow.remote),
    )
}

fn show(out: &mut impl Write, before: &Look, now: &Look) -> io::Result<()> {
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
    let rate = |flow: &FlowStatus| {
        // One that is younger than the look before has only its ends in common with what was there then.
        let between = now.at.duration_since(before.at);
        let is_older = Duration::from_millis(flow.age_ms) + ANSWER >= between;
        let earlier = before.bytes.get(&key(flow)).filter(|_| is_older);
        let earlier = earlier.copied().unwrap_or(0);
        let more = (flow.sent + flow.received).saturating_sub(earlier);
        // Rounding is of no account in a table.
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let bits = more as f64 * 8.0 / seconds;
        bits
    };
    let mut rows: Vec<(f64, &FlowStatus)> =
        now.flows.iter().map(|flow| (rate(flow), flow)).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut table = Table::new(&[
        "protocol", "guest", "", "world", "state", "sent", "received", "rate", "age", "idle",
    ]);
    for (rate, flow) in rows {
        table.row(vec![
            flow.protocol.clone(),
            flow.guest.to_string(),
            if flow.inbound { "<-" } else { "->" }.into(),
            flow.remote.to_string(),
            flow.state.clone(),
            bytes(flow.sent),
            bytes(flow.received),
            bits(rate),
            duration(flow.age_ms),
            duration(flow.idle_ms),
        ]);
    }
    table.print(out, "")
}

/// With a unit that leaves at most four digits.
fn scaled(mut value: f64, units: &[&str], unit: &str) -> String {
    let mut prefixes = units.iter();
    let mut prefix = "";
    while value >= 9999.5
        && let Some(next) = prefixes.next()
    {
        value /= 1000.0;
        prefix = next;
    }
    format!("{value:.0} {prefix}{unit}")
}

#[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
fn bytes(count: u64) -> String {
    scaled(count as f64, &["k", "M", "G", "T"], "B")
}

fn bits(rate: f64) -> String {
    scaled(rate, &["k", "M", "G", "T"], "bit/s")
}

fn duration(millis: u64) -> String {
    match millis / 1000 {
        0 => format!("{millis} ms"),
        seconds @ 1..600 => format!("{seconds} s"),
        seconds @ 600..36_000 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(guest: &str, sent: u64) -> FlowStatus {
        FlowStatus {
            protocol: "tcp".into(),
            inbound: false,
            mac: "52:54:00:00:00:01".into(),
            guest: guest.parse().unwrap(),
            remote: "192.0.2.1:80".parse().unwrap(),
            state: "established".into(),
            sent,
            received: 0,
            buffered: 0,
            age_ms: 120_700,
            idle_ms: 61_000,
        }
    }

    /// The rate of the only flow, two seconds after `before`.
    fn rate_after(before: FlowStatus, after: FlowStatus) -> String {
        let before = Look::new(vec![before]);
        let mut now = Look::new(vec![after]);
        now.at = before.at + Duration::from_secs(2);
        let mut out = Vec::new();
        show(&mut out, &before, &now).unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_mapping_is_the_same_whomever_it_sent_to_last() {
        let mapping = |remote: &str, sent| FlowStatus {
            protocol: "udp".into(),
            remote: remote.parse().unwrap(),
            ..flow("10.0.2.15:1", sent)
        };
        let (first, second) = ("192.0.2.1:53", "192.0.2.2:53");
        let row = rate_after(mapping(first, 1_000_000), mapping(second, 1_002_500));
        assert!(row.contains(second) && row.contains(" 10 kbit/s"), "{row}");
    }

    #[test]
    fn who_comes_after_another_at_the_same_ends_has_a_rate_of_its_own() {
        let of = |mac: &str, age_ms, sent| FlowStatus {
            mac: mac.into(),
            age_ms,
            ..flow("10.0.2.15:1", sent)
        };
        let before = of("52:54:00:00:00:01", 60_000, 2_000_000);
        for after in [
            of("52:54:00:00:00:02", 60_000, 2_500_000),
            of("52:54:00:00:00:01", 1500, 2_500_000),
        ] {
            let row = rate_after(before.clone(), after);
            assert!(row.contains(" 10 Mbit/s"), "{row}");
        }
    }

    #[test]
    fn the_fastest_flow_comes_first_with_its_rate() {
        let before = Look::new(vec![flow("10.0.2.15:1", 1000), flow("10.0.2.16:1", 0)]);
        let mut now = Look::new(vec![
            flow("10.0.2.15:1", 1000),
            flow("10.0.2.16:1", 2_500_000),
        ]);
        now.at = before.at + Duration::from_secs(2);
        let mut out = Vec::new();
        show(&mut out, &before, &now).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("10.0.2.16:1") && lines[1].contains("10 Mbit/s"),
            "{text}"
        );
        assert!(
            lines[1].contains("2500 kB") && lines[1].contains("120 s"),
            "{text}"
        );
        assert!(
            lines[2].contains("10.0.2.15:1") && lines[2].contains("0 bit/s"),
            "{text}"
        );
        assert!(lines[2].contains("61 s"), "{text}");
    }
}
