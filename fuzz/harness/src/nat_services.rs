//! The services of a NAT gateway by themselves: what the targets `dhcp4`, `dhcp6`, `dns` and `tftp` play against.
use nat::frame::Datagram;
use nat::services::{Context, PER_STATION, Services, StreamId};
use nat::{
    Config, Counters, Family, FrameMeta, Host, HostError, Incoming, IncomingError, ListenAt,
    MacAddr, Outgoing, Output, PortId, Readiness, SocketId, Token, Unsent,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Frames that a single event may bring forth: a whole TFTP window and a little.
const MAX_FRAMES: usize = 80;
/// Questions that the ports of the stations may have under way, 64 each.
const UNDER_WAY: usize = 2 * 64;
/// Sockets that the services may have open: as many as there are questions under way.
const MAX_SOCKETS: usize = 512;

/// A socket of the host that is never heard of by the world.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) token: Token,
    pub(crate) peer: Option<SocketAddr>,
    /// what was sent or written last
    pub(crate) sent: Vec<u8>,
    pub(crate) arrived: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(crate) inbox: VecDeque<u8>,
    pub(crate) ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) sockets: BTreeMap<u32, Socket>,
    next: u32,
    pub(crate) refuse: bool,
}

impl FakeHost {
    fn open(&mut self, token: Token, peer: Option<SocketAddr>) -> Result<SocketId, HostError> {
        if self.refuse {
            return Err(HostError::NoResources);
        }
        let socket = Socket {
            token,
            peer,
            sent: Vec::new(),
            arrived: VecDeque::new(),
            inbox: VecDeque::new(),
            ended: false,
        };
        self.next += 1;
        self.sockets.insert(self.next, socket);
        assert!(self.sockets.len() <= MAX_SOCKETS, "sockets are not bounded");
        Ok(SocketId(self.next))
    }

    fn live(&mut self, id: SocketId) -> &mut Socket {
        self.sockets
            .get_mut(&id.0)
            .expect("a socket that is closed")
    }
}

impl Host for FakeHost {
    fn tcp_connect(&mut self, token: Token, remote: SocketAddr) -> Result<SocketId, HostError> {
        self.open(token, Some(remote))
    }

    fn tcp_connected(&mut self, socket: SocketId) -> Result<(), HostError> {
        self.live(socket);
        Ok(())
    }

    fn tcp_listen(&mut self, _token: Token, _at: &ListenAt) -> Result<SocketId, HostError> {
        unreachable!("no service listens")
    }

    fn tcp_accept(&mut self, _: SocketId, _: Token) -> Result<(SocketId, SocketAddr), HostError> {
        unreachable!("no service listens")
    }

    fn read(&mut self, socket: SocketId, into: &mut [IoSliceMut<'_>]) -> Result<usize, HostError> {
        let socket = self.live(socket);
        let mut total = 0;
        for slice in into {
            let len = slice.len().min(socket.inbox.len());
            for (place, byte) in slice.iter_mut().zip(socket.inbox.drain(..len)) {
                *place = byte;
            }
            total += len;
        }
        if total == 0 && !socket.ended {
            return Err(HostError::WouldBlock);
        }
        Ok(total)
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> Result<usize, HostError> {
        let bytes: Vec<u8> = from
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        // One octet less, so that the rest is written too.
        let len = bytes.len().div_ceil(2);
        self.live(socket).sent.extend(&bytes[..len]);
        Ok(len)
    }

    fn keep_alive(&mut self, socket: SocketId) {
        self.live(socket);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        self.live(socket);
    }

    fn close(&mut self, socket: SocketId) {
        self.live(socket);
        self.sockets.remove(&socket.0);
    }

    fn reset(&mut self, socket: SocketId) {
        self.close(socket);
    }

    fn udp_open(&mut self, token: Token, _family: Family) -> Result<SocketId, HostError> {
        self.open(token, None)
    }

    fn udp_listen(&mut self, _token: Token, _at: &ListenAt) -> Result<SocketId, HostError> {
        unreachable!("no service listens")
    }

    fn echo_open(&mut self, _token: Token, _family: Family) -> Result<SocketId, HostError> {
        unreachable!("no service pings")
    }

    fn send(&mut self, socket: SocketId, datagram: &Outgoing<'_>) -> Result<(), HostError> {
        let socket = self.live(socket);
        socket.peer = Some(datagram.to);
        socket.sent = datagram.payload.to_vec();
        Ok(())
    }

    fn flush(&mut self) {}

    fn take_unsent(&mut self) -> Option<Unsent> {
        None
    }

    fn receive(
        &mut self,
        socket: SocketId,
        limit: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, HostError> {
        let socket = self.live(socket);
        let count = limit.min(socket.arrived.len());
        for (from, payload) in socket.arrived.drain(..count) {
            sink(Incoming {
                from,
                to: None,
                payload: &payload,
                segment: None,
                hop_limit: None,
                traffic_class: 0,
            });
        }
        Ok(count)
    }

    fn receive_error(&mut self, socket: SocketId) -> Option<IncomingError> {
        self.live(socket);
        None
    }

    fn is_own_address(&mut self, _address: IpAddr) -> bool {
        false
    }
}

/// Frames, checked as they come.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) frames: Vec<Vec<u8>>,
    /// Questions that may be answered now: all who asked the same get one answer, or hear that there is none.
    questions: usize,
}

impl Output for Wire {
    fn emit(&mut self, len: usize, _meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        let mut frame = vec![0; len];
        fill(&mut frame);
        let (ip, rest) = match frame[12..14] {
            [0x08, 0x00] => (usize::from(u16::from_be_bytes([frame[16], frame[17]])), 0),
            [0x86, 0xdd] => (usize::from(u16::from_be_bytes([frame[18], frame[19]])), 40),
            _ => (len - 14, 0),
        };
        assert_eq!(ip + rest + 14, len, "an IP length that is not the frame's");
        assert!(len <= 1514, "larger than the network's MTU");
        self.frames.push(frame);
        let most = MAX_FRAMES + self.questions;
        assert!(self.frames.len() <= most, "an amplifier");
        true
    }

    fn room(&mut self) -> usize {
        usize::MAX
    }
}

/// The services with all around them.
pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) host: FakeHost,
    pub(crate) wire: Wire,
    pub(crate) now: Duration,
    counters: Counters,
}

/// One of a few stations.
pub(crate) fn station(number: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, number % 4])
}

/// The port that a station is behind: two share one.
pub(crate) fn port_of(MacAddr([.., last]): MacAddr) -> PortId {
    PortId(u16::from(last / 2))
}

impl World {
    pub(crate) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(MacAddr([0x52, 0x55, 10, 0, 2, 2]));
        change(&mut config);
        Self {
            services: Services::new(&config, 1),
            host: FakeHost::default(),
            wire: Wire::default(),
            now: Duration::from_secs(1),
            counters: Counters::default(),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Services, &mut Context<'_>) -> T) -> T {
        self.wire.frames.clear();
        let mut cx = Context {
            now: self.now,
            host: &mut self.host,
            out: &mut self.wire,
            counters: &mut self.counters,
        };
        act(&mut self.services, &mut cx)
    }

    pub(crate) fn datagram(
        &mut self,
        mac: MacAddr,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) {
        let datagram = Datagram {
            port: port_of(mac),
            mac,
            source: from,
            destination: to,
            payload,
        };
        self.with(|services, cx| services.datagram(cx, &datagram));
    }

    pub(crate) fn ndp(&mut self, ndp: &nat::frame::Ndp<'_>) {
        self.with(|services, cx| services.ndp(cx, ndp));
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wire.questions = UNDER_WAY;
        let next = self.with(Services::poll);
        self.wire.questions = 0;
        assert!(
            next.is_none_or(|next| next > self.now),
            "a timer that is never over"
        );
    }

    pub(crate) fn event(&mut self, token: Token) {
        let ready = Readiness {
            readable: true,
            ..Readiness::default()
        };
        self.wire.questions = UNDER_WAY;
        self.with(|services, cx| services.host_event(cx, token, ready));
        self.wire.questions = 0;
    }

    pub(crate) fn stream_input(&mut self, stream: (StreamId, PortId), bytes: &[u8]) {
        let taken = self.with(|services, cx| services.stream_input(cx, stream, bytes));
        assert!(taken <= bytes.len());
    }

    /// No address twice, no station with more than its share, nobody with an address of the gateway's.
    pub(crate) fn check_leases(&self) {
        let leases = self.services.leases(self.now);
        for family in [&leases.ipv4, &leases.ipv6] {
            let mut by_station = HashMap::<_, usize>::new();
            for lease in family {
                *by_station.entry(lease.mac).or_default() += 1;
                assert!(lease.remaining <= 3600);
            }
            assert!(by_station.values().all(|count| *count <= PER_STATION));
            let addresses: HashSet<_> = family.iter().map(|lease| lease.address).collect();
            assert_eq!(addresses.len(), family.len());
            let own =
                ["10.0.2.2", "10.0.2.3", "fd00::2", "fd00::3"].map(|own| own.parse().unwrap());
            assert!(!family.iter().any(|lease| own.contains(&lease.address)));
        }
        let text = serde_json::to_string(&leases).expect("leases are kept as text");
        assert_eq!(
            serde_json::from_str::<nat::services::Leases>(&text).unwrap(),
            leases
        );
    }
}
