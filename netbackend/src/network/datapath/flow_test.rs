use super::hash;
use etherparse::PacketBuilder;

fn udp(from: [u8; 4], to: [u8; 4], source: u16, destination: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(from, to, 64)
        .udp(source, destination);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[0; 32]).unwrap();
    bytes
}

fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, 5]);
    frame
}

#[test]
fn both_directions_of_a_flow_are_one() {
    let there = udp([10, 0, 0, 1], [10, 0, 0, 2], 1000, 53);
    let back = udp([10, 0, 0, 2], [10, 0, 0, 1], 53, 1000);
    assert_eq!(hash(&there), hash(&back));
    assert_eq!(hash(&tagged(there)), hash(&back), "a tag changes nothing");
}

#[test]
fn flows_differ() {
    let hashes: std::collections::HashSet<_> = (0..256)
        .map(|port| hash(&udp([10, 0, 0, 1], [10, 0, 0, 2], port, 53)) % 8)
        .collect();
    assert_eq!(hashes.len(), 8);
}

#[test]
fn fragments_of_a_datagram_stay_together() {
    let mut first = udp([10, 0, 0, 1], [10, 0, 0, 2], 1000, 53);
    first[20] = 0x20;
    let mut later = udp([10, 0, 0, 1], [10, 0, 0, 2], 7777, 9);
    later[21] = 4;
    assert_eq!(hash(&first), hash(&later));
}

#[test]
fn ipv6_flows_count_addresses_and_ports() {
    let tcp = |from: u8, port| {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([from; 16], [9; 16], 64)
            .tcp(port, 80, 0, 0);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[]).unwrap();
        bytes
    };
    assert_eq!(hash(&tcp(1, 5)), hash(&tcp(1, 5)));
    assert_ne!(hash(&tcp(1, 5)), hash(&tcp(1, 6)));
}

#[test]
fn any_prefix_is_hashed() {
    let whole = tagged(udp([10, 0, 0, 1], [10, 0, 0, 2], 1000, 53));
    for len in 0..=whole.len() {
        hash(&whole[..len]);
    }
}
