//! Doorbells that KVM takes by itself.
use super::*;
use crate::interrupt::DoorbellAddress::{self, Mmio, Pio};

const RING: u64 = 0x4000;
const BUFFER: u64 = 0x8000;

fn knocks(bench: &Bench) -> Vec<(DoorbellAddress, u8)> {
    let knocks = bench.machine.controller.knocks.lock().unwrap();
    knocks.iter().map(|(at, byte, _)| (*at, *byte)).collect()
}

#[test]
fn knocks_are_heard_where_the_bars_are() {
    let bench = Bench::new(true);
    let poll = u64::from(spec::TPPOLL);
    let port = |base: u64| Pio(u16::try_from(base + poll).unwrap());
    let memory = Mmio(bench.registers + poll);
    let npq = spec::TPPOLL_NPQ;
    assert_eq!(knocks(&bench), [(port(bench.ports), npq), (memory, npq)]);
    let elsewhere = bench.ports + 0x100;
    let value = u32::try_from(elsewhere).unwrap();
    bench.machine.set_config(bench.slot, 0x10, value);
    assert_eq!(knocks(&bench), [(memory, npq), (port(elsewhere), npq)]);
    // No decoding.
    let command = bench.machine.config(bench.slot, 4) & !3;
    bench.machine.set_config(bench.slot, 4, command);
    assert_eq!(knocks(&bench), []);
}

/// Frames one after the other, each of which is told of by a signal alone.
fn sends_what_is_knocked_for(poll_idle: Duration) {
    let chip = spec::C_PLUS;
    let bench = Bench::plug_patient(true, poll_idle, |parts| {
        Device::new(chip, parts, Instant::now())
    });
    let ram = &bench.machine.ram.map;
    bench.master(true);
    bench.port_write(spec::CPCR, &spec::CPCR_TX.to_le_bytes());
    bench.port_write(spec::TNPDS, &RING.to_le_bytes()[..4]);
    bench.port_write(spec::CR, &[spec::CR_TE]);
    assert!(ram.write(BUFFER, &frame(60)));
    let event = {
        let knocks = bench.machine.controller.knocks.lock().unwrap();
        let (_, _, event) = knocks.first().unwrap();
        event.try_clone().unwrap()
    };
    for _ in 0..100 {
        let command = spec::D_OWN | spec::D_EOR | spec::D_FS | spec::D_LS | 0x3c;
        assert!(ram.write(RING + 8, &BUFFER.to_le_bytes()));
        assert!(ram.write(RING, &command.to_le_bytes()));
        event.write(1).unwrap();
        eventually("the frame is sent", || {
            let mut status = [0; 4];
            assert!(ram.read(RING, &mut status));
            u32::from_le_bytes(status) & spec::D_OWN == 0
        });
    }
}

#[test]
fn a_knock_wakes_a_thread_that_sleeps() {
    sends_what_is_knocked_for(Duration::ZERO);
}

#[test]
fn a_knock_is_heard_by_a_thread_that_polls() {
    sends_what_is_knocked_for(Duration::from_mins(1));
}
