//! A gateway with time, a host, and what it sent to the network.
use super::host::{FakeHost, Socket};
use super::segment::Tcp;
use crate::{Checksum, Config, FrameMeta, Gateway, MacAddr, Output, PortId, Readiness, SocketId};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, IpRepr, Ipv4Packet,
    Ipv6Packet,
};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(crate) const GATEWAY_MAC: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
pub(crate) const GUEST_MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 0x15]);
pub(crate) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));
pub(crate) const GUEST: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15)), 40_000);
pub(crate) const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80)), 80);

/// Frames of the gateway, with what went beside them.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) frames: VecDeque<(Vec<u8>, FrameMeta)>,
    /// frames that there is room for
    pub(crate) room: usize,
}

impl Output for Wire {
    fn emit(&mut self, len: usize, meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        assert!(len <= 65_549, "a frame of {len} bytes");
        if self.frames.len() >= self.room {
            return false;
        }
        // What the gateway does not write shows up.
        let mut frame = vec![0xa5; len];
        fill(&mut frame);
        self.frames.push_back((frame, meta));
        true
    }

    fn room(&mut self) -> usize {
        self.room.saturating_sub(self.frames.len())
    }
}

pub(crate) struct Lab {
    pub(crate) gateway: Gateway<FakeHost>,
    pub(crate) now: Duration,
    pub(crate) wire: Wire,
    /// whose frames [`Lab::frame`] sends
    pub(crate) mac: MacAddr,
    /// by which port; `None`: each guest has its own
    pub(crate) port: Option<PortId>,
    /// what [`Gateway::poll`] said last
    pub(crate) next: Option<Duration>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(GATEWAY_MAC);
        // They come unasked, between what a test looks at.
        config.services.router_advertisements = false;
        change(&mut config);
        Self {
            gateway: Gateway::new(config, FakeHost::default(), 1),
            now: Duration::from_secs(1000),
            wire: Wire {
                frames: VecDeque::new(),
                room: usize::MAX,
            },
            mac: GUEST_MAC,
            port: None,
            next: None,
        }
    }

    pub(crate) fn host(&mut self) -> &mut FakeHost {
        self.gateway.host_mut()
    }

    pub(crate) fn socket(&mut self, index: usize) -> &mut Socket {
        &mut self.host().sockets[index]
    }

    /// Polls until nothing is left to be done now.
    pub(crate) fn poll(&mut self) {
        for _ in 0..10_000 {
            self.next = self.gateway.poll(self.now, &mut self.wire);
            if self.gateway.flush(self.now, &mut self.wire) {
                self.next = Some(self.now);
            }
            let full = self.wire.frames.len() >= self.wire.room;
            if full || self.next.is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("the gateway is never done");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        // As an event loop would: no deadline is slept over.
        while let Some(next) = self.next
            && next <= until
        {
            self.now = self.now.max(next);
            self.poll();
            if self.wire.frames.len() >= self.wire.room {
                break;
            }
        }
        self.now = until;
        self.poll();
    }

    /// A frame in the middle of a burst.
    pub(crate) fn input_only(&mut self, frame: &[u8]) {
        let frame = (frame, FrameMeta::default());
        self.gateway
            .input(self.now, self.port(), frame, &mut self.wire);
    }

    fn port(&self) -> PortId {
        let [.., last] = self.mac.0;
        self.port.unwrap_or(PortId(last.into()))
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.input_only(frame);
        self.poll();
    }

    /// Sends an IP packet of the guest, its payload written by `emit`.
    pub(crate) fn packet(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        protocol: IpProtocol,
        len: usize,
        emit: impl FnOnce(&mut [u8]),
    ) {
        let frame = ip_frame(self.mac, source, destination, protocol, len, emit);
        self.frame(&frame);
    }

    pub(crate) fn tcp_frame(&self, guest: SocketAddr, remote: SocketAddr, tcp: &Tcp) -> Vec<u8> {
        let repr = tcp.repr(guest.port(), remote.port());
        let (source, destination): (IpAddress, IpAddress) = (guest.ip().into(), remote.ip().into());
        let (protocol, len) = (IpProtocol::Tcp, repr.buffer_len());
        ip_frame(self.mac, guest.ip(), remote.ip(), protocol, len, |place| {
            let mut packet = smoltcp::wire::TcpPacket::new_unchecked(place);
            repr.emit(
                &mut packet,
                &source,
                &destination,
                &ChecksumCapabilities::default(),
            );
        })
    }

    pub(crate) fn tcp_from(&mut self, guest: SocketAddr, remote: SocketAddr, tcp: &Tcp) {
        let frame = self.tcp_frame(guest, remote, tcp);
        self.frame(&frame);
    }

    /// A segment of [`GUEST`] for [`REMOTE`].
    pub(crate) fn tcp(&mut self, tcp: &Tcp) {
        self.tcp_from(GUEST, REMOTE, tcp);
    }

    pub(crate) fn event(&mut self, index: usize, ready: Readiness) {
        let token = self.socket(index).token;
        self.gateway
            .host_event(self.now, token, ready, &mut self.wire);
        self.poll();
    }

    /// The host has connected.
    pub(crate) fn connected(&mut self, index: usize) {
        self.socket(index).connected = Ok(());
        self.event(index, WRITABLE);
    }

    /// The world sends bytes.
    pub(crate) fn world(&mut self, index: usize, bytes: &[u8]) {
        self.socket(index).inbox.extend(bytes);
        self.event(index, READABLE);
    }

    /// The world sends no more.
    pub(crate) fn world_ends(&mut self, index: usize) {
        self.socket(index).ended = true;
        let ready = Readiness {
            readable: true,
            peer_closed: true,
            ..Readiness::default()
        };
        self.event(index, ready);
    }

    /// Takes the oldest frame, its checksum completed and all of its lengths and sums checked by another implementation.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> Option<(Vec<u8>, FrameMeta)> {
        let (mut frame, meta) = self.wire.frames.pop_front()?;
        if let Checksum::Partial { start, offset } = meta.checksum {
            complete(&mut frame, start.into(), offset.into());
        }
        check(&frame);
        Some((frame, meta))
    }

    /// The next segment to a guest, if there is one.
    #[track_caller]
    pub(crate) fn next_tcp(&mut self) -> Option<Tcp> {
        let (frame, meta) = self.next_frame()?;
        Some(Tcp::read(&frame, meta))
    }

    /// What the gateway sent is exactly this.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &Tcp) {
        let mut got = self.next_tcp();
        if let Some(got) = &mut got
            && expected.window.is_none()
        {
            got.window = None;
        }
        assert_eq!(got.as_ref(), Some(expected));
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        let got = self.next_tcp();
        assert_eq!(got, None);
    }

    /// A connection of [`GUEST`] to [`REMOTE`]: socket 0, numbers 1001 and the one returned.
    #[track_caller]
    pub(crate) fn establish(&mut self, syn: &Tcp) -> u32 {
        self.tcp(syn);
        let index = self.host().sockets.len() - 1;
        self.connected(index);
        let answer = self.next_tcp().expect("SYN-ACK");
        assert_eq!((answer.flags, answer.ack), ("SA", Some(syn.seq + 1)));
        self.tcp(&super::ack(syn.seq + 1, answer.seq + 1));
        answer.seq + 1
    }

    pub(crate) fn id(index: usize) -> SocketId {
        SocketId(u32::try_from(index).unwrap())
    }
}

pub(crate) const WRITABLE: Readiness = Readiness {
    readable: false,
    writable: true,
    peer_closed: false,
    error: false,
    urgent: false,
};
pub(crate) const READABLE: Readiness = Readiness {
    readable: true,
    writable: false,
    peer_closed: false,
    error: false,
    urgent: false,
};

/// A frame of a guest, made by smoltcp.
pub(crate) fn ip_frame(
    mac: MacAddr,
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    len: usize,
    emit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let ip = IpRepr::new(source.into(), destination.into(), protocol, len, 64);
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: GATEWAY_MAC,
        ethertype: match source {
            IpAddr::V4(_) => EthernetProtocol::Ipv4,
            IpAddr::V6(_) => EthernetProtocol::Ipv6,
        },
    };
    let mut bytes = vec![0; 14 + ip.buffer_len()];
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    ip.emit(&mut bytes[14..], &ChecksumCapabilities::default());
    emit(&mut bytes[14 + ip.header_len()..]);
    bytes
}

/// Completes a partial checksum (virtio 1.2, 5.1.6.2).
fn complete(frame: &mut [u8], start: usize, offset: usize) {
    let sum = smoltcp_free_sum(&frame[start..]);
    frame[start + offset..start + offset + 2].copy_from_slice(&(!sum).to_be_bytes());
}

/// RFC 1071 word by word.
fn smoltcp_free_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// smoltcp finds nothing wrong with a frame's IP header, and it is for the guest.
#[track_caller]
fn check(frame: &[u8]) {
    let ethernet = EthernetFrame::new_checked(frame).expect("an Ethernet frame");
    assert_eq!(ethernet.src_addr(), GATEWAY_MAC);
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).expect("an IPv4 packet");
            assert!(packet.verify_checksum(), "IPv4 header checksum");
            assert_eq!(usize::from(packet.total_len()), ethernet.payload().len());
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).expect("an IPv6 packet");
            assert_eq!(packet.total_len(), ethernet.payload().len());
        }
        _ => {}
    }
}
