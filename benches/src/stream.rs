//! One TCP connection from a guest through the gateway of a NAT network, as fast as the peer's window lets it, in frames of up to
//! 64 KiB for the back-end to segment or to pass on.
//!
//! The payload lies in guest memory once ([`Pattern`]) and frames point into it: the generator writes headers and copies nothing, so that
//! what is measured is the way behind it. A frame that is sent again is made of the same bytes.

mod connection;
mod packet;
mod pattern;
mod sender;
mod station;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use connection::Connection;
use packet::{ETHERNET, Parties};
use sender::Sender;
use smoltcp::wire::EthernetAddress;
use station::Station;
use virtqueue::{DriverBuffer, NET_HEADER_LEN};

use crate::{
    Endpoint, FrontEnd, Pages,
    front_end::{CSUM, GUEST_CSUM, HOST_TSO4, Layout},
    ring::Shape,
};

pub use pattern::Pattern;

/// An Ethernet frame and its virtio-net header: acknowledgements, and what else comes.
const ROOM: usize = NET_HEADER_LEN + ETHERNET + 1500;
/// Frames added before they are published.
const BURST: u32 = 32;
/// Dynamic ports (RFC 6335, 6).
const FIRST_PORT: u16 = 0xC000;

/// The guest's rings and memory.
#[derive(Debug, Clone, Copy)]
pub struct StreamOptions {
    /// Entries of each ring; a frame takes two.
    pub queue_size: u16,
    /// Guest memory.
    pub pages: Pages,
    /// Packed rings that complete in order, instead of split ones.
    pub packed: bool,
}

impl Default for StreamOptions {
    /// Usual rings.
    fn default() -> Self {
        Self {
            queue_size: 256,
            pages: Pages::Normal,
            packed: false,
        }
    }
}

/// Whom to send to, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct StreamLoad {
    /// Where the stream goes.
    pub server: SocketAddrV4,
    /// The guest's own address.
    pub address: Ipv4Addr,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its router.
    pub gateway: Ipv4Addr,
    /// Time before the measurement starts.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub time: Duration,
}

impl StreamLoad {
    /// Of the first guest of a NAT network with the usual subnet, for two seconds.
    pub fn new(server: SocketAddrV4) -> Self {
        Self {
            server,
            address: Ipv4Addr::new(10, 0, 2, 15),
            mac: [0x52, 0x54, 0, 0, 0, 0x0f],
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            warm_up: Duration::from_millis(300),
            time: Duration::from_secs(2),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Streamed {
    /// Bytes of payload that were acknowledged while it was measured.
    pub bytes: u64,
    /// Length of the measurement.
    pub time: Duration,
    /// Bytes in all, from the first to the end of the stream; all were acknowledged.
    pub total: u64,
    /// Frames that carried them.
    pub frames: u64,
    /// Of these: because no acknowledgement came in time.
    pub again: u64,
}

/// A guest that is attached to a port.
#[derive(Debug)]
pub struct StreamGuest {
    end: FrontEnd,
    /// Where the payload lies.
    payload: u64,
}

impl StreamGuest {
    /// Attaches to the back-end at `endpoint`, and fills the guest's memory.
    pub fn meet(endpoint: &Endpoint, options: StreamOptions) -> anyhow::Result<Self> {
        ensure!(
            options.queue_size >= 2,
            "rings of {} entries: a frame takes two descriptors",
            options.queue_size
        );
        let shape = Shape::whole(ROOM as u64);
        let pattern = Pattern::new();
        let layout = Layout {
            queue_size: options.queue_size,
            features: CSUM | GUEST_CSUM | HOST_TSO4,
            received: shape,
            sent: shape,
            mergeable: false,
            more: pattern.bytes().len() as u64,
            pages: options.pages,
            packed: options.packed,
        };
        let end = FrontEnd::meet_with(endpoint, layout)?;
        let payload = layout.behind_buffers();
        let written = end.memory.map().write(payload, pattern.bytes());
        ensure!(written, "the payload lies outside guest memory");
        Ok(Self { end, payload })
    }
}

/// Sends from `guest` to a server for `load.time`, and ends the connection: all that was sent has arrived then.
pub fn stream(guest: &mut StreamGuest, load: &StreamLoad) -> anyhow::Result<Streamed> {
    let (port, iss) = beginnings()?;
    let parties = Parties {
        mac: EthernetAddress(load.mac),
        gateway: EthernetAddress::BROADCAST,
        local: SocketAddrV4::new(load.address, port),
        remote: load.server,
    };
    let mut station = Station::new(&mut guest.end, parties);
    station.resolve(load.gateway)?;
    let mut traffic = Traffic {
        station,
        payload: guest.payload,
        start: Instant::now(),
        connection: Connection::new(iss, Pattern::PERIOD, Duration::ZERO),
    };
    traffic.run(Duration::MAX, |connection| connection.sender().is_some())?;
    let (begun, before) = traffic.run_for(load.warm_up)?;
    let (ended, after) = traffic.run_for(load.time)?;
    traffic.connection.finish(ended);
    traffic.run(Duration::MAX, Connection::is_over)?;
    traffic.station.drain()?;
    let sender = traffic.connection.sender();
    let (frames, again) = sender.map_or((0, 0), Sender::frames);
    Ok(Streamed {
        bytes: after - before,
        time: ended.saturating_sub(begun),
        total: traffic.connection.acked(),
        frames,
        again,
    })
}

/// A port and a sequence number by the clock, as RFC 9293, 3.4.1 has it: the gateway may remember an earlier connection.
fn beginnings() -> anyhow::Result<(u16, u32)> {
    let ticks = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() / 4;
    let port = FIRST_PORT + u16::try_from(ticks % u128::from(u16::MAX - FIRST_PORT))?;
    Ok((port, u32::try_from(ticks % (1 << 32))?))
}

struct Traffic<'a> {
    station: Station<'a>,
    /// Where the payload lies.
    payload: u64,
    start: Instant,
    connection: Connection,
}

impl Traffic<'_> {
    /// Runs for `time`; returns when it ended, and how many bytes were acknowledged by then.
    fn run_for(&mut self, time: Duration) -> anyhow::Result<(Duration, u64)> {
        self.run(self.start.elapsed() + time, |_| false)?;
        Ok((self.start.elapsed(), self.connection.acked()))
    }

    /// Sends and receives until the connection is as it should be, or the time has come. The connection's own timers bound the rest.
    fn run(&mut self, until: Duration, done: fn(&Connection) -> bool) -> anyhow::Result<()> {
        loop {
            let mut worked = false;
            while let Some(segment) = self.station.receive()? {
                self.connection.take(&segment, self.start.elapsed())?;
                worked = true;
            }
            let now = self.start.elapsed();
            self.connection.check(now)?;
            worked |= self.send(now)?;
            self.station.publish();
            if done(&self.connection) || now >= until {
                return Ok(());
            }
            if worked {
                self.station.worked();
            } else {
                let next = self.connection.timer().min(until);
                self.station.pause(next.saturating_sub(now))?;
            }
        }
    }

    /// Sends a burst of what is due, as far as there is room; false: there was nothing to do.
    fn send(&mut self, now: Duration) -> anyhow::Result<bool> {
        for count in 0..BURST {
            let Some(due) = self.connection.due(now) else {
                return Ok(count > 0);
            };
            let len = due.piece.map_or(0, |piece| piece.len);
            let mss = self.connection.sender().map_or(0, Sender::mss);
            let headers = due.header.encode(self.station.parties(), len, mss)?;
            let payload = due.piece.filter(|_| len > 0).map(|piece| DriverBuffer {
                addr: self.payload + piece.at % Pattern::PERIOD,
                len,
                writable: false,
            });
            if !self.station.send(&headers, payload)? {
                return Ok(count > 0);
            }
            self.connection.sent(due, now);
        }
        Ok(true)
    }
}
