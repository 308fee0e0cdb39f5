//! smoltcp's own TCP as the guest: another implementation, over a link that loses and reorders.
use crate::testkit::*;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Default)]
struct Link {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Link {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.to_guest.pop_front()?;
        Some((Received(packet), Sending(&mut self.from_guest)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.from_guest))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

/// xorshift64: which packets are lost is the same in every run.
struct Chance(u64);

impl Chance {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(n)
    }

    /// What arrives: of packets, some are lost, and some change places with the next.
    fn pass(&mut self, packets: &mut Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        packets.retain(|_| !self.one_in(100));
        for n in 1..packets.len() {
            if self.one_in(50) {
                packets.swap(n - 1, n);
            }
        }
        std::mem::take(packets)
    }
}

fn pattern(len: usize, start: usize) -> Vec<u8> {
    (0..len)
        .map(|n| u8::try_from((n * 13 + n / 239 + start) % 256).unwrap())
        .collect()
}

/// Sends `len` bytes in each direction at once.
fn exchange(seed: u64, len: usize) {
    let mut lab = Lab::new();
    let mut chance = Chance(seed);
    let mut link = Link::default();
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut link, Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        addresses.push(IpCidr::new(GUEST.ip().into(), 24)).unwrap();
    });
    let gateway = std::net::Ipv4Addr::new(10, 0, 2, 2);
    interface
        .routes_mut()
        .add_default_ipv4_route(gateway)
        .unwrap();
    let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
    let remote = (smoltcp::wire::IpAddress::from(REMOTE.ip()), REMOTE.port());
    socket
        .connect(interface.context(), remote, GUEST.port())
        .unwrap();

    let (up, down) = (pattern(len, 0), pattern(len, 99));
    let (mut sent, mut got) = (0, Vec::new());
    let mut began = false;
    for step in 0.. {
        assert!(
            step < 400_000,
            "{sent} of {len} sent, {} received",
            got.len()
        );
        lab.pass(Duration::from_micros(500));
        interface.poll(
            Instant::from_micros(i64::try_from(lab.now.as_micros()).unwrap()),
            &mut link,
            &mut sockets,
        );
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        if socket.can_send() && sent < len {
            sent += socket.send_slice(&up[sent..]).unwrap();
        }
        if socket.can_recv() {
            socket
                .recv(|bytes| {
                    got.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
        if sent == len && got.len() == len && socket.send_queue() == 0 {
            socket.close();
        }
        for packet in chance.pass(&mut link.from_guest) {
            let mut frame = vec![0x52, 0x55, 10, 0, 2, 2];
            frame.extend(GUEST_MAC.0);
            frame.extend([8, 0]);
            frame.extend(packet);
            lab.frame(&frame);
        }
        if !began && !lab.host().sockets.is_empty() {
            began = true;
            lab.connected(0);
            lab.world(0, &down);
        }
        if began && lab.socket(0).shut && !lab.socket(0).ended {
            lab.world_ends(0);
        }
        let mut packets = Vec::new();
        while let Some((frame, _)) = lab.next_frame() {
            packets.push(frame[14..].to_vec());
        }
        link.to_guest.extend(chance.pass(&mut packets));
        if began && lab.socket(0).closed {
            break;
        }
    }
    assert!(lab.socket(0).outbox == up, "what the world got");
    assert!(got == down, "what the guest got");
    lab.pass(Duration::from_secs(5));
    assert_eq!(lab.gateway.flows(lab.now).count(), 0);
}

#[test]
fn every_byte_arrives_over_a_link_that_loses_and_reorders() {
    for seed in 1..=4 {
        exchange(seed, 400_000);
    }
}
