//! What a peer sends at a rate that can be changed while it flows, so that it is not more than a NIC takes.
use std::{
    io::stdin,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use benches::{FrameKind, PacketSocket};

/// How often some are sent: seldom enough to cost little, often enough for rings of a few dozen.
const TICK: Duration = Duration::from_micros(200);
/// What could not be sent for so long is not sent later either.
const LONGEST: Duration = Duration::from_millis(2);
const NANOSECONDS: u128 = 1_000_000_000;

/// Datagrams of so many bytes.
pub(crate) fn datagrams(to: SocketAddr, bytes: usize) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no socket")?;
    socket
        .connect(to)
        .with_context(|| format!("no way to {to}"))?;
    let payload = vec![0; bytes];
    at_rates(|| {
        // A full queue loses it, as a wire would.
        let _ = socket.send(&payload);
    })
}

/// TCP frames of nearly 64 KiB, to be cut on their way.
pub(crate) fn segments(interface: &str) -> Result<()> {
    let socket = PacketSocket::open(interface, FrameKind::Gso)?;
    at_rates(|| {
        let _ = socket.send();
    })
}

/// Sends as often per second as the last line of the standard input says, until that ends.
fn at_rates(mut send: impl FnMut()) -> Result<()> {
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
            send();
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
