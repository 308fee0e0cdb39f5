//! Forwards frames between two ports behind which many addresses are, for figures of what the table costs:
//! `cargo run --release -p switch --example addresses -- ADDRESSES FRAMES`, as it is or under
//! `valgrind --tool=callgrind --toggle-collect='*run*'`.
use std::hint::black_box;
use std::time::{Duration, Instant};

use switch::{Egress, Mode, PortConfig, PortId, Role, Switch, SwitchConfig};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        let given = arguments.next().and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (addresses, count) = (number(10_000u32), number(1_000_000u32));
    let mut config = SwitchConfig::new(Mode::Bridge);
    config.fdb_capacity_per_port = usize::MAX;
    let mut switch = Switch::new(config);
    for id in [0, 1] {
        let mac = None;
        let role = Role::Guest;
        let added = switch.add_port(PortId(id), PortConfig { role, mac });
        added.expect("the switch is empty");
    }
    let frames: Vec<_> = (0..addresses / 2).map(frame).collect();
    for frame in &frames {
        let back = [&frame[6..12], &frame[..6], &frame[12..]].concat();
        let _ = switch.forward(Duration::ZERO, PortId(1), &back);
    }
    let begun = Instant::now();
    let forwarded = run(&mut switch, &frames, count);
    let took = begun.elapsed();
    assert_eq!(forwarded, count);
    let each = took.as_secs_f64() * 1e9 / f64::from(count);
    println!("{addresses} addresses: {each:.1} ns per frame");
}

/// Every frame has another source and another destination than the one before, in an order that no cache foresees.
#[inline(never)]
fn run(switch: &mut Switch, frames: &[[u8; 14]], count: u32) -> u32 {
    let mut forwarded = 0;
    let mut at = 0;
    for number in 0..count {
        // A round of the datapath sees one time.
        let now = Duration::from_micros(u64::from(number / 32));
        at = (at + 7919) % frames.len();
        let egress = switch.forward(now, PortId(0), black_box(&frames[at]));
        forwarded += u32::from(egress == Egress::Port(PortId(1)));
    }
    forwarded
}

/// From station `pair` of port 0 to station `pair` of port 1.
fn frame(pair: u32) -> [u8; 14] {
    let [a, b, c, d] = pair.to_be_bytes();
    [0x52, 1, a, b, c, d, 0x52, 0, a, b, c, d, 0x88, 0xb5]
}
