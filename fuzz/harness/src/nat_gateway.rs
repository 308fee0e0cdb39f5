//! Target `nat_gateway`: frames of guests, events of sockets and time, against a gateway whose host answers as the input says.
//!
//! What must hold: nothing panics, no frame is longer than it may be or written past its end, what the guests behind a port hold stays
//! within its quotas, and in the end every socket that was opened is closed.
mod frames;
mod script;
mod whole;

use crate::input::Input;
use frames::{GATEWAY, PORTS};
use nat::{
    Config, FrameMeta, Gateway, Output, PortId, Readiness, Token,
    forward::{Forward, GuestRef, Transport},
};
use script::Script;
use std::time::Duration;

/// Flows of one port.
const MAX_FLOWS: usize = 64;
/// Turns until all has ended: four probes of each flow, or nine times that it is sent again.
const MAX_TURNS: usize = 20_000;

/// The network: frames that the gateway sends are looked at, and there is not always room.
#[derive(Debug, Default)]
struct Wire {
    full: bool,
    /// acknowledgement numbers and ports of the last segment, so that the input can answer it
    last: Vec<u8>,
}

impl Output for Wire {
    fn emit(&mut self, len: usize, meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        assert!((14..=65_549).contains(&len), "a frame of {len} bytes");
        if self.full {
            return false;
        }
        let mut frame = vec![0; len];
        fill(&mut frame);
        assert_eq!(frame[6..12], GATEWAY.0, "the source is the gateway");
        if let Some(gso) = meta.gso {
            assert!(gso.size > 0 && usize::from(gso.header_len) < len);
        }
        frame.truncate(128);
        self.last = frame;
        true
    }

    fn room(&mut self) -> usize {
        if self.full { 0 } else { 64 }
    }
}

/// Plays the input.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut config = Config::new(GATEWAY);
    config.quotas.flows_per_guest = MAX_FLOWS;
    config.policy.gateway_is_host_loopback = input.u8().is_multiple_of(2);
    let len = usize::from(input.u8());
    let script = Script::new(input.take(len));
    let mut gateway = Gateway::new(config, script, 7);
    let mut wire = Wire::default();
    let mut now = Duration::from_secs(1);
    while !input.is_empty() {
        match input.u8() % 8 {
            0..=3 => {
                let frame = frames::any(&mut input, &wire.last);
                let meta = FrameMeta::default();
                gateway.input(now, PortId(1), (&frame, meta), &mut wire);
            }
            4 => event(&mut gateway, now, &mut input, &mut wire),
            5 => now += Duration::from_millis(u64::from(input.u16()) * 16),
            6 => wire.full = input.u8().is_multiple_of(4),
            _ => match input.u8() {
                which @ 0..=15 => change_forward(&mut gateway, now, which),
                16..=19 => gateway.host_mut().is_own ^= true,
                kind => {
                    let sent = whole::frames(&mut input, kind, &wire.last);
                    for (frame, meta) in sent.frames {
                        gateway.input(now, sent.port, (&frame, meta), &mut wire);
                    }
                }
            },
        }
        gateway.poll(now, &mut wire);
        assert!(
            gateway.flows(now).count() <= MAX_FLOWS * usize::from(PORTS),
            "more flows than there may be"
        );
    }
    end(gateway, now, wire);
}

/// Something happens to a socket.
fn event(gateway: &mut Gateway<Script>, now: Duration, input: &mut Input<'_>, wire: &mut Wire) {
    let which = usize::from(input.u8());
    let open = &gateway.host_mut().open;
    let token = open.values().nth(which % open.len().max(1)).copied();
    let bits = input.u8();
    let ready = Readiness {
        readable: bits & 1 != 0,
        writable: bits & 2 != 0,
        peer_closed: bits & 4 != 0,
        error: bits & 8 != 0,
        urgent: bits & 16 != 0,
    };
    let token = token.unwrap_or(Token::from_bits(input.u64()));
    gateway.host_event(now, token, ready, wire);
}

/// One of four forwards, each with the clients' addresses or without.
fn forward(which: u8) -> Forward {
    let (address, transport) = match which % 4 {
        0 => ([10, 0, 2, 15].into(), Transport::Tcp),
        1 => ([10, 0, 2, 15].into(), Transport::Udp),
        2 => ([0xfd00, 0, 0, 0, 0, 0, 0, 0x15].into(), Transport::Tcp),
        _ => ([0xfd00, 0, 0, 0, 0, 0, 0, 0x15].into(), Transport::Udp),
    };
    Forward {
        transport,
        address: None,
        interface: None,
        first_port: 2000 + u16::from(which),
        last_port: 2001 + u16::from(which),
        guest: GuestRef::Address(address),
        guest_port: 80,
        preserve_source: which & 4 != 0,
    }
}

/// A forward begins, or ends.
fn change_forward(gateway: &mut Gateway<Script>, now: Duration, which: u8) {
    let forward = forward(which);
    if !gateway.forward_remove(&forward) {
        // The host may have refused it.
        let _ = gateway.forward_add(now, &forward);
    }
}

/// All of it ends by itself, without a sign of the guests or of the world.
fn end(mut gateway: Gateway<Script>, mut now: Duration, mut wire: Wire) {
    wire.full = false;
    for which in 0..16 {
        gateway.forward_remove(&forward(which));
    }
    for _ in 0..MAX_TURNS {
        let next = gateway.poll(now, &mut wire);
        if gateway.host_mut().open.is_empty() && gateway.flows(now).next().is_none() {
            return;
        }
        // A world that sends without end has it called again at once, for ever.
        now = match next {
            Some(next) if next > now => next,
            _ => now + Duration::from_secs(1),
        };
    }
    let next = gateway.poll(now, &mut wire);
    let flows: Vec<_> = gateway.flows(now).collect();
    panic!(
        "at {now:?}, next {next:?}, {:?} are open with {flows:?}",
        gateway.host_mut().open
    );
}
