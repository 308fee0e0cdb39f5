//! Datagrams at a rate that can be changed while they flow: what a peer sends that does not send faster than a NIC takes. The bench
//! starts it in the peer's namespace.
use anyhow::{Context, Result};
use std::io::stdin;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often some are sent: seldom enough to cost little, often enough for rings of a few dozen.
const TICK: Duration = Duration::from_micros(200);
/// What could not be sent for so long is not sent later either.
const LONGEST: Duration = Duration::from_millis(2);
const NANOSECONDS: u128 = 1_000_000_000;

/// Arguments of `bench datagrams`.
#[derive(Debug, clap::Args)]
pub struct DatagramOptions {
    /// Where they go
    to: SocketAddr,
    /// Bytes of payload
    bytes: usize,
}

/// Sends as many per second as the last line of the standard input says, until that ends.
pub fn datagrams(options: &DatagramOptions) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no socket")?;
    socket
        .connect(options.to)
        .with_context(|| format!("no way to {}", options.to))?;
    let payload = vec![0; options.bytes];
    let (sender, rates) = channel();
    thread::spawn(move || read_rates(&sender));
    let mut pace = Pace::new(Instant::now());
    loop {
        match rates.recv_timeout(TICK) {
            Ok(rate) => pace.rate = rate,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        for _ in 0..pace.due(Instant::now()) {
            // A full queue loses it, as a wire would.
            let _ = socket.send(&payload);
        }
    }
}

fn read_rates(rates: &Sender<u32>) {
    for line in stdin().lines().map_while(Result::ok) {
        let Ok(rate) = line.trim().parse() else {
            return;
        };
        if rates.send(rate).is_err() {
            return;
        }
    }
}

/// How many are due.
struct Pace {
    /// Per second.
    rate: u32,
    last: Instant,
    /// Of one more, in fractions of a billion.
    owed: u128,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            rate: 0,
            last: now,
            owed: 0,
        }
    }

    fn due(&mut self, now: Instant) -> u128 {
        let passed = now.saturating_duration_since(self.last).min(LONGEST);
        self.last = now;
        self.owed += passed.as_nanos() * u128::from(self.rate);
        let due = self.owed / NANOSECONDS;
        self.owed %= NANOSECONDS;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_lost_between_looks_and_a_long_pause_makes_no_burst() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.rate = 1500;
        let mut sent = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            sent += pace.due(now);
        }
        assert_eq!(sent, 1500);
        now += Duration::from_secs(10);
        assert_eq!(pace.due(now), 3);
    }
}
