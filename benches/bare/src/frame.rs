//! What is sent.

use crate::{io::store8, layout::FRAME};

/// Ethernet, IPv4 and TCP, without options.
pub const TCP_HEADERS: u32 = 54;
/// Bytes of a datagram's frame; the NIC's check sequence makes them 64.
pub const SMALL: u32 = 60;
/// Bytes of a frame that fills the MTU.
pub const FULL: u32 = 1514;

/// To a station that is nobody, so that no kernel at the other end has work with it; 02:00:00:00:00:02 is who sends.
#[rustfmt::skip]
const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
/// From 10.9.0.2 to 10.9.0.1, TCP port 1000 to 1001, ACK. The length is for whoever cuts it to say, and the sums are to be filled in.
#[rustfmt::skip]
const TCP: [u8; 40] = [
    0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1,
    3, 0xE8, 3, 0xE9, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xFF, 0xFF, 0, 0, 0, 0,
];
/// 18 bytes between the same two, 46 with headers; the sum of the IP header is right, that of UDP is to be filled in or not there.
#[rustfmt::skip]
const UDP: [u8; 28] = [
    0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0x26, 0xAB, 10, 9, 0, 2, 10, 9, 0, 1,
    3, 0xE8, 3, 0xE9, 0, 26, 0, 0,
];

/// The start of the IP header of a full frame: length and sum are others.
#[rustfmt::skip]
const FULL_IP: [u8; 12] = [0x45, 0, 0x05, 0xDC, 0, 0, 0x40, 0, 64, 17, 0x20, 0xFD];

const ETHERNET_LENGTH: u32 = 14;
/// Ethernet and IPv4: from there on UDP's length counts.
const FULL_HEADERS: u32 = 34;
/// Where lengths are.
const IP_LENGTH: u32 = 16;
const UDP_LENGTH: u32 = 38;

/// Lays the headers of a TCP frame at `FRAME`, in front of zeros.
pub fn tcp() {
    put(&TCP);
}

/// Says in the IP header of a TCP frame how many bytes of payload it has, for a NIC that wants to know.
pub fn set_length(payload: u32) {
    let [low, high, ..] = (payload + TCP_HEADERS - ETHERNET_LENGTH).to_le_bytes();
    store8(FRAME + IP_LENGTH, high);
    store8(FRAME + IP_LENGTH + 1, low);
}

/// Lays a datagram's frame there.
pub fn udp() {
    put(&UDP);
}

/// The same, as long as the MTU lets it be.
pub fn full() {
    udp();
    for (at, byte) in (FRAME + ETHERNET_LENGTH..).zip(&FULL_IP) {
        store8(at, *byte);
    }
    let [low, high, ..] = (FULL - FULL_HEADERS).to_le_bytes();
    store8(FRAME + UDP_LENGTH, high);
    store8(FRAME + UDP_LENGTH + 1, low);
}

fn put(packet: &[u8]) {
    for (at, byte) in (FRAME..).zip(ETHERNET.iter().chain(packet)) {
        store8(at, *byte);
    }
}
