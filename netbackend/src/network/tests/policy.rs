//! What a port may do, through real rings.
use super::{
    BROADCAST, Net, frame,
    guest::{Connected, Guest, GuestSpec},
    introduce, mac, port_spec,
};
use crate::network::{PortSpec, PortTransport};
use control::PortPolicy;
use std::{
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};
use switch::MacAddr;

impl Net {
    /// A guest whose port has a fixed address and a policy.
    pub(super) fn restricted(&self, name: &str, n: u8, policy: PortPolicy) -> Connected {
        let path = self.socket(name);
        let spec = PortSpec {
            mac: Some(MacAddr(mac(n))),
            policy,
            ..port_spec(name, 1)
        };
        let transport = PortTransport::VhostUser(UnixListener::bind(&path).unwrap());
        self.network.add_port(spec, transport).unwrap();
        Guest::new(GuestSpec::default()).connect(&path)
    }

    pub(super) fn drops(&self, name: &str, reason: &str) -> u64 {
        let (_, detail) = self.network.show(name).unwrap();
        detail
            .iter()
            .map(|queue| queue.counters.drops.get(reason).copied().unwrap_or(0))
            .sum()
    }
}

#[test]
fn a_spoofed_source_reaches_nobody_and_is_counted_at_its_port() {
    let net = Net::new();
    let guarded = PortPolicy {
        anti_spoofing: true,
        ..PortPolicy::default()
    };
    let mut a = net.restricted("a", 0, guarded);
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for n in 0..10 {
        a.guest.send(&frame(mac(1), mac(1), 100, n));
        a.guest.send(&frame(BROADCAST, mac(77), 100, n));
    }
    let honest = frame(mac(1), mac(0), 100, 3);
    a.guest.send(&honest);
    assert_eq!(
        b.guest.receive().frame,
        honest,
        "the first that arrives is the honest one"
    );
    assert_eq!(net.drops("a", "spoofed"), 20);
    assert_eq!(net.drops("b", "spoofed"), 0);
}

#[test]
fn isolated_guests_reach_the_others_only() {
    let net = Net::new();
    let isolated = || PortPolicy {
        isolated: true,
        ..PortPolicy::default()
    };
    let mut a = net.restricted("a", 0, isolated());
    let mut b = net.restricted("b", 1, isolated());
    let mut c = net.restricted("c", 2, PortPolicy::default());
    let hello = frame(BROADCAST, mac(0), 100, 1);
    a.guest.send(&frame(mac(1), mac(0), 100, 9));
    a.guest.send(&hello);
    assert_eq!(c.guest.receive().frame, hello);
    c.guest.send(&frame(mac(1), mac(2), 100, 2));
    let received = b.guest.receive().frame;
    assert_eq!(received[6..12], mac(2), "nothing of a came before");
    assert_eq!(net.drops("a", "isolated"), 1);
}

#[test]
fn a_storm_is_cut_and_its_sender_still_reaches_who_it_knows() {
    let net = Net::new();
    let limited = PortPolicy {
        storm_limit: Some(20),
        ..PortPolicy::default()
    };
    let mut a = net.restricted("a", 0, limited);
    let mut b = net.restricted("b", 1, PortPolicy::default());
    let begun = Instant::now();
    for n in 0..200 {
        a.guest.send(&frame(BROADCAST, mac(0), 100, n));
    }
    let known = frame(mac(1), mac(0), 200, 7);
    a.guest.send(&known);
    let mut broadcasts = 0;
    while b.guest.receive().frame != known {
        broadcasts += 1;
    }
    let allowed = 2 + 20 * (begun.elapsed().as_secs() + 1);
    assert!(
        broadcasts <= allowed,
        "{broadcasts} in {:?}",
        begun.elapsed()
    );
    assert_eq!(net.drops("a", "storm"), 200 - broadcasts);
}

/// Bytes that a sender without a limit of its own gets through in `time`, and how long it really took.
fn flood(from: &mut Connected, to: &mut Connected, time: Duration) -> (u64, Duration) {
    let sent = frame(mac(1), mac(0), 1514, 1);
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < time {
        for _ in 0..16 {
            from.guest.send(&sent);
        }
        while let Some(received) = to.guest.poll(0) {
            bytes += received.frame.len() as u64;
        }
    }
    (bytes, begun.elapsed())
}

#[test]
fn rate_limits_hold_in_each_direction() {
    const BITS: u64 = 20_000_000;
    let limit = |from_guest, to_guest| PortPolicy {
        limit_from_guest: from_guest,
        limit_to_guest: to_guest,
        ..PortPolicy::default()
    };
    for (of_a, of_b, culprit) in [
        (limit(Some(BITS), None), limit(None, None), "a"),
        (limit(None, None), limit(None, Some(BITS)), "b"),
    ] {
        let net = Net::new();
        let mut a = net.restricted("a", 0, of_a);
        let mut b = net.restricted("b", 1, of_b);
        let (bytes, took) = flood(&mut a, &mut b, Duration::from_secs(1));
        // The bucket starts full; how exact it is, its own tests show without a clock.
        let micros = u64::try_from(took.as_micros()).unwrap();
        let allowed = micros * (BITS / 8) / 1_000_000 * 102 / 100 + (128 << 10);
        assert!(
            bytes < allowed,
            "{bytes} bytes in {took:?}, limit at {culprit}"
        );
        assert!(
            bytes > 1 << 16,
            "{bytes} bytes in {took:?}, limit at {culprit}"
        );
        assert!(net.drops(culprit, "rate_limit") > 0);
    }
}
