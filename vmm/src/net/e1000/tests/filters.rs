//! Which frames are taken (13.5), and what passes for a tag.
use super::*;

const STRANGER: [u8; 6] = [0x52, 0x54, 0, 9, 9, 9];
const GROUP: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 0x16];

/// Whether a frame to `destination` gets into the ring.
fn takes(bench: &mut Bench, rctl: u32, destination: [u8; 6]) -> bool {
    bench.program();
    bench.write(spec::RCTL, spec::RCTL_EN | rctl);
    let mut bytes = frame(60);
    bytes[..6].copy_from_slice(&destination);
    bench.wire.bring(bytes);
    bench.settle();
    assert!(bench.wire.incoming.is_empty());
    bench.read(spec::RDH) == 1
}

#[test]
fn promiscuous_modes_are_of_stations_or_of_groups() {
    let mut bench = Bench::running();
    for (rctl, taken) in [
        (0, [false, false, false]),
        (spec::RCTL_UPE, [true, false, false]),
        // A broadcast is a multicast, too.
        (spec::RCTL_MPE, [false, true, true]),
        (spec::RCTL_BAM, [false, false, true]),
        (spec::RCTL_UPE | spec::RCTL_MPE, [true; 3]),
    ] {
        let found =
            [STRANGER, GROUP, [0xff; 6]].map(|destination| takes(&mut bench, rctl, destination));
        assert_eq!(found, taken, "{rctl:#x}");
        assert!(takes(&mut bench, rctl, MAC.0));
    }
}

#[test]
fn all_sixteen_addresses_are_ours_while_they_are_valid() {
    for index in 1..16 {
        let mut bench = Bench::running();
        let register = spec::RA + 8 * index;
        let (low, high) = crate::net::e1000::state::address_registers(STRANGER);
        let high = high & !spec::RAH_AV;
        bench.write(register, low);
        bench.write(register + 4, high);
        assert!(!takes(&mut bench, 0, STRANGER), "without AV");
        bench.write(register + 4, high | spec::RAH_AV);
        assert!(takes(&mut bench, 0, STRANGER), "RA[{index}]");
        assert!(takes(&mut bench, 0, MAC.0));
        assert!(!takes(&mut bench, 0, GROUP));
    }
}

#[test]
fn a_tag_is_what_vet_says() {
    for (vet, strips) in [
        (0u16, false),
        (0x0800, true),
        (0x8100, false),
        (0x88a8, false),
    ] {
        let mut bench = Bench::running();
        let ctrl = bench.read(spec::CTRL);
        bench.write(spec::CTRL, ctrl | spec::CTRL_VME);
        bench.write(spec::VET, vet.into());
        let mut bytes = frame(80);
        bytes[12..16].copy_from_slice(&[8, 0, 0x45, 0x67]);
        bench.wire.bring(bytes.clone());
        bench.settle();
        let (len, status, _, special) = bench.rx(0);
        assert_eq!(status & spec::RXD_VP != 0, strips, "{vet:#x}");
        let expected = if strips { (80, 0x4567) } else { (84, 0) };
        assert_eq!((len, special), expected, "{vet:#x}");
        // What is put in is of that kind, too.
        assert!(bench.memory.write(0x8000, &bytes));
        let command = u64::from(spec::TXD_EOP | spec::TXD_VLE | spec::TXD_RS);
        bench.push(0x8000, 80 | command << 24 | 0x2123 << 48);
        bench.ring_doorbell();
        bench.settle();
        let sent = bench.wire.bytes(0, &bench.memory);
        assert_eq!(sent[12..16], [vet.to_be_bytes(), [0x21, 0x23]].concat());
        assert_eq!(sent[16..], bytes[12..]);
    }
}
