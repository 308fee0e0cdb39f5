//! What is sent, and what comes of it.
use super::world::{SERVER, Way, World};
use crate::exec;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    ToWorld,
    FromWorld,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::ToWorld, Self::FromWorld];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ToWorld => "guest → host",
            Self::FromWorld => "host → guest",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::ToWorld => "",
            Self::FromWorld => "-R",
        }
    }
}

/// Of several streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    /// Gb/s of all.
    pub(super) total: f64,
    /// The fastest by the slowest.
    pub(super) spread: f64,
}

const ATTEMPTS: usize = 3;
/// The limit that Linux has had for long, where none is to be read.
const DEFAULT_SOCKET: u64 = 212_992;
/// Bytes of a datagram's payload.
const DATAGRAM: u32 = 1400;

/// Bytes of the programs' own sockets: what the kernel gives at most. By default it has room for 90 such datagrams, which a program on a
/// busy CPU loses by itself, also where nothing is between it and the sender.
pub(super) fn socket_size() -> u64 {
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let limits = ["rmem_max", "wmem_max"].map(|name| limit(name).unwrap_or(DEFAULT_SOCKET));
    limits.into_iter().min().unwrap_or(DEFAULT_SOCKET)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Datagrams {
    /// Gb/s that arrived.
    pub(super) rate: f64,
    /// Of those sent, in percent.
    pub(super) loss: f64,
}

/// Connections that asked once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchanges {
    pub(super) per_second: f64,
    /// Microseconds.
    pub(super) p99: f64,
}

impl World {
    fn iperf(&self, way: Way, options: &str) -> Result<Value> {
        let line = format!("iperf3 -J -c {} {options}", way.server());
        let once = || -> Result<Value> {
            let text = exec::stdout(&mut self.near(way)?.command(&line))?;
            let report: Value = serde_json::from_str(&text).context("iperf3's report")?;
            match report.get("error") {
                None => Ok(report),
                Some(error) => bail!("iperf3: {error}"),
            }
        };
        let tries = || {
            // It may end with "unable to receive results" when its control connection competes with a flood.
            let mut tried = once();
            for _ in 1..ATTEMPTS {
                tried = tried.or_else(|_| once());
            }
            tried.with_context(|| format!("{line} by {way}"))
        };
        self.neighbours.measure(tries)
    }

    /// TCP, in so many streams at once.
    pub(super) fn tcp(
        &self,
        way: Way,
        direction: Direction,
        (streams, seconds): (u32, u32),
    ) -> Result<Streams> {
        let option = direction.option();
        let report = self.iperf(way, &format!("-t {seconds} -P {streams} {option}"))?;
        let rate = |place: &str| {
            let value = report.pointer(place).and_then(Value::as_f64);
            value.with_context(|| format!("iperf3's report has no {place}"))
        };
        let each = (0..streams)
            .map(|index| rate(&format!("/end/streams/{index}/receiver/bits_per_second")))
            .collect::<Result<Vec<_>>>()?;
        let most = each.iter().copied().fold(0.0, f64::max);
        let least = each.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Streams {
            total: rate("/end/sum_received/bits_per_second")? / 1e9,
            spread: most / least,
        })
    }

    /// UDP at this rate, in Gb/s; as fast as it goes if there is none.
    pub(super) fn udp(
        &self,
        way: Way,
        direction: Direction,
        (rate, seconds): (Option<f64>, u32),
    ) -> Result<Datagrams> {
        let bits = rate.map_or_else(|| "0".to_owned(), |rate| format!("{:.0}M", rate * 1000.0));
        let option = direction.option();
        let line = format!(
            "-u -w {} -b {bits} -l {DATAGRAM} -t {seconds} {option}",
            socket_size()
        );
        let report = self.iperf(way, &line)?;
        let figure = |key: &str| {
            let value = report.pointer(&format!("/end/sum/{key}"));
            let value = value.and_then(Value::as_f64);
            value.with_context(|| format!("iperf3's report has no end.sum.{key}"))
        };
        let (sent, lost) = (figure("packets")?, figure("lost_packets")?);
        ensure!(sent > 0.0, "iperf3 sent nothing by {way}");
        Ok(Datagrams {
            rate: (sent - lost) * f64::from(DATAGRAM) * 8.0 / figure("seconds")? / 1e9,
            loss: lost / sent * 100.0,
        })
    }

    /// Connect, ask, be answered, close: several at once.
    pub(super) fn connect(&self, way: Way, seconds: u32) -> Result<Exchanges> {
        let program = self.sockets.display();
        let line = format!("{program} connect {SERVER} --seconds {seconds}");
        let once = || exec::stdout(&mut self.near(way)?.command(&line));
        let text = self.neighbours.measure(once)?;
        let figures = text
            .split_whitespace()
            .map(str::parse::<f64>)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("sock-load printed {text}"))?;
        let [count, seconds, _, p99, failed] = figures[..] else {
            bail!("sock-load printed {text}");
        };
        ensure!(failed == 0.0, "{failed} connections by {way} failed");
        Ok(Exchanges {
            per_second: count / seconds,
            p99,
        })
    }
}
