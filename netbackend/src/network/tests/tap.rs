//! A tap in a network namespace as a port: Linux's own stack on one side, a test guest on the other.
use super::{
    Net, frame,
    guest::{ALL, GUEST_CSUM, GUEST_TSO4, Guest, GuestSpec, MRG_RXBUF, wait_for},
    mac, port_spec,
};
use crate::network::{PortSpec, PortTransport};
use control::{PortPolicy, PortState};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    net::{TcpListener, UdpSocket},
    os::fd::AsRawFd,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};
use virtqueue::{GsoType, NetHeader};

const IFF_TAP: libc::c_short = 0x0002;
const IFF_NO_PI: libc::c_short = 0x1000;
const IFF_VNET_HDR: libc::c_short = 0x4000;
/// TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
const OFFLOADS: libc::c_ulong = 1 | 2 | 4 | 8;
const HOST: [u8; 4] = [192, 0, 2, 1];
const GUEST: [u8; 4] = [192, 0, 2, 2];

/// Gives the tap its addresses.
const SCRIPT: &str = "ip link set tap0 address 52:54:00:00:00:01 mtu 9000 up; ip addr add 192.0.2.1/24 dev tap0; \
    ip neigh add 192.0.2.2 lladdr 52:54:00:00:00:00 dev tap0; ip link set lo up";

nix::ioctl_write_ptr_bad!(
    /// TUNSETVNETHDRSZ
    tun_set_vnet_hdr_size,
    0x4004_54d8,
    libc::c_int
);

/// Runs `work` in a network namespace of its own with a tap, whose file goes to `file`.
fn namespace<T: Send + 'static>(
    file: mpsc::Sender<File>,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        file.send(open_tap()).unwrap();
        let status = Command::new("sh").args(["-ec", SCRIPT]).status().unwrap();
        assert!(status.success());
        work()
    })
}

#[expect(unsafe_code, reason = "the tap ioctls have no safe wrapper")]
fn open_tap() -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    let mut request = [0u8; 40];
    request[..4].copy_from_slice(b"tap0");
    let flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: `request` is a whole `struct ifreq`; the kernel reads it during the call.
    let set = unsafe { libc::ioctl(file.as_raw_fd(), 0x4004_54ca, request.as_mut_ptr()) };
    assert_eq!(set, 0, "TUNSETIFF");
    // SAFETY: the kernel reads the int during the call.
    unsafe { tun_set_vnet_hdr_size(file.as_raw_fd(), &12) }.unwrap();
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    let set = unsafe { libc::ioctl(file.as_raw_fd(), 0x4004_54d0, OFFLOADS) };
    assert_eq!(set, 0);
    file
}

/// A network with a tap port `tap` and a guest on port `a`.
fn network<T: Send + 'static>(
    features: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> (Net, super::guest::Connected, thread::JoinHandle<T>) {
    let net = Net::new();
    let (sender, files) = mpsc::channel();
    let worker = namespace(sender, work);
    let file = files.recv().unwrap();
    net.network
        .add_port(port_spec("tap", 1), PortTransport::Tap(vec![file]))
        .unwrap();
    assert_eq!(net.status("tap").state, PortState::Running);
    let spec = GuestSpec {
        features,
        ..GuestSpec::default()
    };
    let mut guest = net.guest("a", spec);
    // The switch learns where the guest is.
    guest.guest.send(&frame(mac(9), mac(0), 60, 0));
    (net, guest, worker)
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4(GUEST, HOST, 64)
        .udp(4000, 5000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// The next UDP datagram for the guest; other traffic of the namespace (IPv6) is skipped.
#[track_caller]
fn next_udp(guest: &mut Guest) -> (NetHeader, Vec<u8>) {
    let mut found = None;
    wait_for("a datagram", || {
        if let Some(received) = guest.poll(0)
            && let Ok(sliced) = SlicedPacket::from_ethernet(&received.frame)
            && let Some(TransportSlice::Udp(_)) = sliced.transport
            && received.frame[12..14] == [8, 0]
        {
            found = Some((received.header, received.frame.clone()));
        }
        found.is_some()
    });
    found.unwrap()
}

/// Answers 20 datagrams with themselves; says when it listens.
fn echo_datagrams(ready: &mpsc::Sender<()>) {
    let socket = UdpSocket::bind(("192.0.2.1", 5000)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    ready.send(()).unwrap();
    for _ in 0..20 {
        let mut buffer = [0; 9000];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..len], from).unwrap();
    }
}

#[test]
fn datagrams_both_ways_with_and_without_checksum_offload() {
    for features in [ALL, ALL & !(GUEST_CSUM | GUEST_TSO4)] {
        let (ready, is_ready) = mpsc::channel();
        let (_net, mut guest, echo) = network(features, move || echo_datagrams(&ready));
        is_ready.recv().unwrap();
        for round in 0..20u8 {
            let payload = vec![round; 100 + usize::from(round) * 400];
            guest.guest.send(&udp(&payload));
            let (header, back) = next_udp(&mut guest.guest);
            assert_eq!(header.needs_csum, features & GUEST_CSUM != 0);
            let sliced = SlicedPacket::from_ethernet(&back).unwrap();
            let Some(TransportSlice::Udp(slice)) = sliced.transport else {
                panic!("no UDP");
            };
            assert_eq!(slice.payload(), payload);
            if !header.needs_csum {
                let header = slice.to_header();
                let right = header
                    .calc_checksum_ipv4_raw(HOST, GUEST, slice.payload())
                    .unwrap();
                assert_eq!(slice.checksum(), right);
            }
        }
        echo.join().unwrap();
    }
}

/// The kernel cuts what a guest leaves to its device, whether it knows how itself (UFO; USO since
/// Linux 6.2) or we do it for it.
#[test]
fn udp_segmentation_and_fragmentation_reach_a_socket() {
    let payload: Vec<u8> = (0..251u8).cycle().take(20_000).collect();
    let (ready, is_ready) = mpsc::channel();
    let (_net, mut guest, receiver) = network(ALL, move || {
        let socket = UdpSocket::bind(("192.0.2.1", 5000)).unwrap();
        let timeout = Some(Duration::from_secs(10));
        socket.set_read_timeout(timeout).unwrap();
        ready.send(()).unwrap();
        let mut datagrams = Vec::new();
        let mut bytes = 0;
        while bytes < 40_000 {
            let mut buffer = vec![0; 65_536];
            let len = socket.recv(&mut buffer).unwrap();
            buffer.truncate(len);
            bytes += len;
            datagrams.push(buffer);
        }
        datagrams
    });
    is_ready.recv().unwrap();
    for (gso, gso_size) in [(GsoType::UdpL4, 1200), (GsoType::Udp, 1480)] {
        let frame = udp(&payload);
        let header = NetHeader {
            needs_csum: true,
            gso,
            gso_size,
            hdr_len: 42,
            csum_start: 34,
            csum_offset: 6,
            ..NetHeader::default()
        };
        guest.guest.send_with(header, &partial_checksum(frame));
    }
    let datagrams = receiver.join().unwrap();
    let (whole, cut) = datagrams.split_last().unwrap();
    assert!(*whole == payload, "one datagram out of fragments");
    assert_eq!(cut.len(), payload.len().div_ceil(1200));
    assert!(cut.concat() == payload);
}

/// The UDP checksum field as a guest leaves it to the device.
fn partial_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(frame.len() - 34).unwrap();
    let addresses = frame[26..34].chunks(2);
    let words = addresses.map(|pair| u32::from(u16::from_be_bytes(pair.try_into().unwrap())));
    let sum = words.sum::<u32>() + 17 + length;
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap();
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// What the test guest does on its side of a TCP connection: takes a stream, acknowledging it.
#[test]
fn stream_from_the_namespace_arrives_as_gso_or_segmented() {
    for features in [ALL, ALL & !(GUEST_TSO4 | GUEST_CSUM | MRG_RXBUF)] {
        let payload: Vec<u8> = (0..253u8).cycle().take(200_000).collect();
        let sent = payload.clone();
        let (ready, is_ready) = mpsc::channel();
        let (net, mut guest, sender) = network(features, move || {
            // The guest's buffers hold 2 KiB.
            let status = Command::new("ip")
                .args(["link", "set", "tap0", "mtu", "1500"])
                .status()
                .unwrap();
            assert!(status.success());
            let listener = TcpListener::bind(("192.0.2.1", 5001)).unwrap();
            ready.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&sent).unwrap();
        });
        is_ready.recv().unwrap();
        let mut client = TcpClient::connect(&mut guest.guest);
        let mut largest = 0;
        while client.received.len() < payload.len() {
            largest = largest.max(client.step(&mut guest.guest));
        }
        assert!(client.received == payload);
        client.close(&mut guest.guest);
        sender.join().unwrap();
        if features == ALL {
            assert!(largest > 1448, "no GSO frame came: largest {largest}");
        } else {
            assert!(largest <= 1460);
            assert!(net.status("a").counters.software_offloads > 0);
        }
    }
}

/// As much TCP as it takes to receive a stream without loss.
#[derive(Debug)]
struct TcpClient {
    next: u32,
    ours: u32,
    received: Vec<u8>,
}

impl TcpClient {
    fn connect(guest: &mut Guest) -> Self {
        let mut client = Self {
            next: 0,
            ours: 1000,
            received: Vec::new(),
        };
        client.send(guest, |builder| {
            builder.syn().options_raw(&[2, 4, 5, 0xb4]).unwrap()
        });
        client.ours += 1;
        let segment = Self::segment(guest);
        client.next = segment.0 + 1;
        client.send(guest, |builder| builder);
        client
    }

    fn send(
        &self,
        guest: &mut Guest,
        flags: impl FnOnce(
            etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        ) -> etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    ) {
        let builder = PacketBuilder::ethernet2(mac(0), mac(1))
            .ipv4(GUEST, HOST, 64)
            .tcp(4001, 5001, self.ours, 60_000);
        let builder = if self.next == 0 {
            builder
        } else {
            builder.ack(self.next)
        };
        let mut bytes = Vec::new();
        flags(builder).write(&mut bytes, &[]).unwrap();
        guest.send(&bytes);
    }

    fn segment(guest: &mut Guest) -> (u32, Vec<u8>) {
        let mut found = None;
        wait_for("a segment", || {
            if let Some(received) = guest.poll(0)
                && received.frame[12..14] == [8, 0]
                && let Ok(sliced) = SlicedPacket::from_ethernet(&received.frame)
                && let Some(TransportSlice::Tcp(tcp)) = sliced.transport
            {
                if !received.header.needs_csum {
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(HOST, GUEST).unwrap());
                }
                found = Some((tcp.sequence_number(), tcp.payload().to_vec()));
            }
            found.is_some()
        });
        found.unwrap()
    }

    /// Takes and acknowledges a segment; returns its payload's length.
    fn step(&mut self, guest: &mut Guest) -> usize {
        let (sequence, payload) = Self::segment(guest);
        let fresh = sequence == self.next;
        if fresh {
            self.next = self
                .next
                .wrapping_add(u32::try_from(payload.len()).unwrap());
            self.received.extend_from_slice(&payload);
        }
        self.send(guest, |builder| builder);
        payload.len()
    }

    fn close(&self, guest: &mut Guest) {
        self.send(guest, etherparse::PacketBuilderStep::rst);
    }
}

#[test]
fn tap_port_whose_device_is_deleted_is_faulty_and_costs_nothing() {
    let (net, mut guest, worker) = network(ALL, || {
        let status = Command::new("ip")
            .args(["link", "del", "tap0"])
            .status()
            .unwrap();
        assert!(status.success());
    });
    worker.join().unwrap();
    net.wait_for_status("tap", "the fault", |tap| tap.state == PortState::Faulty);
    guest.guest.send(&frame([0xff; 6], mac(0), 60, 0));
    net.wait_for_status("tap", "the drop", |tap| tap.counters.rx_dropped > 0);
    assert!(net.network.remove_port("tap").unwrap());
}

#[test]
fn a_kernel_on_an_access_port_speaks_with_a_guest_on_a_trunk() {
    const TAG: [u8; 4] = [0x81, 0, 0, 10];
    let net = Net::new();
    let (sender, files) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let echo = namespace(sender, move || echo_datagrams(&ready));
    let access = PortSpec {
        policy: PortPolicy {
            vlan: Some(10),
            ..PortPolicy::default()
        },
        ..port_spec("tap", 1)
    };
    let file = files.recv().unwrap();
    net.network
        .add_port(access, PortTransport::Tap(vec![file]))
        .unwrap();
    let trunk = PortPolicy {
        trunk: vec![[10, 11]],
        ..PortPolicy::default()
    };
    let mut guest = net.restricted("a", 0, trunk);
    is_ready.recv().unwrap();
    for round in 0..20u8 {
        let payload = vec![round; 50 + 60 * usize::from(round)];
        let mut frame = udp(&payload);
        let header = NetHeader {
            needs_csum: round % 2 == 0,
            csum_start: 38,
            csum_offset: 6,
            ..NetHeader::default()
        };
        if header.needs_csum {
            frame = with_partial_checksum(frame);
        }
        frame.splice(12..12, TAG);
        // The kernel completes the checksum where it is now, or checks it; else there is no answer.
        guest.guest.send_with(header, &frame);
        let mut answered = false;
        wait_for("a tagged datagram", || {
            let Some(received) = guest.guest.poll(0) else {
                return false;
            };
            assert_eq!(received.frame[12..16], TAG);
            let is_udp = received.frame[16..18] == [8, 0] && received.frame[27] == 17;
            if is_udp {
                assert!(received.frame.ends_with(&payload));
                assert!(received.header.needs_csum);
                assert_eq!(received.header.csum_start, 38);
                assert_eq!(received.header.csum_offset, 6);
                answered = true;
            }
            answered
        });
    }
    echo.join().unwrap();
}

/// The checksum field holds the sum of the pseudo header.
fn with_partial_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let words = frame[26..34]
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let length = u32::try_from(frame.len() - 34).unwrap();
    let mut sum = words.sum::<u32>() + 17 + length;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[40..42].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    frame
}
