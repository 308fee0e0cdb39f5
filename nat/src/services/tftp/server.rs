//! The server: transfers by their ports (RFC 1350, 4), within bounds.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::directory::{Directory, OpenError, clean};
use super::message::{ErrorCode, PORT, Packet, Request, error};
use super::transfer::{Fate, Transfer};
use crate::services::random::Random;
use crate::{MacAddr, PortId};

/// Transfers of all guests, and of those behind one port of the network.
const MAX_TRANSFERS: usize = 64;
const PER_PORT: usize = 4;
/// What a client is told that would have one more.
const TOO_MANY: (ErrorCode, &str) = (ErrorCode::Undefined, "too many transfers");
/// Ports of transfers: the dynamic ones (RFC 6335, 6).
const FIRST_PORT: u16 = 49_152;

/// The two ends of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) mac: MacAddr,
    pub(crate) guest: SocketAddr,
    /// ours; its port is the transfer's
    pub(crate) local: SocketAddr,
}

/// A packet to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) ends: Ends,
    pub(crate) payload: Vec<u8>,
}

/// A transfer, with the port of the network that it counts against.
#[derive(Debug)]
struct Running {
    port: PortId,
    ends: Ends,
    transfer: Transfer,
}

/// The TFTP server of one network.
#[derive(Debug)]
pub(crate) struct Server {
    directory: Box<dyn Directory>,
    mtu: usize,
    random: Random,
    /// by our ends' UDP ports
    transfers: BTreeMap<u16, Running>,
    /// of transfers that have ended, and whose clients are still to be told
    ended: Vec<Ends>,
}

impl Server {
    pub(crate) fn new(directory: Box<dyn Directory>, mtu: u16, seed: u64) -> Self {
        Self {
            directory,
            mtu: mtu.into(),
            random: Random::new(seed),
            transfers: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Whether a port of ours belongs to a transfer.
    pub(crate) fn has(&self, port: u16) -> bool {
        port == PORT || self.transfers.contains_key(&port)
    }

    /// Whether a port of the network may have one transfer more.
    fn has_room(&self, port: PortId) -> bool {
        let transfers = self.transfers.values();
        transfers.filter(|running| running.port == port).count() < PER_PORT
    }

    /// A port of the network is gone, and its guests with it. `place_of` knows behind which port a guest is now: transfers of those
    /// that have moved go on, and count there, if there is room; if not, the next [poll](Self::poll) tells the client.
    pub(crate) fn forget_port(
        &mut self,
        port: PortId,
        place_of: &dyn Fn(MacAddr) -> Option<PortId>,
    ) {
        let of_port = self.transfers.iter();
        let of_port = of_port.filter(|(_, running)| running.port == port);
        let of_port: Vec<_> = of_port
            .map(|(at, running)| (*at, running.ends.mac))
            .collect();
        for (at, mac) in of_port {
            let place = place_of(mac).filter(|now| *now != port);
            if let Some(now) = place.filter(|now| self.has_room(*now)) {
                if let Some(running) = self.transfers.get_mut(&at) {
                    running.port = now;
                }
                continue;
            }
            let removed = self.transfers.remove(&at).filter(|_| place.is_some());
            self.ended.extend(removed.map(|running| running.ends));
        }
    }

    /// A packet from a client behind a port of the network; `ends.local` is where it was sent to.
    pub(crate) fn handle(
        &mut self,
        now: Duration,
        (by, ends): (PortId, Ends),
        payload: &[u8],
        out: &mut Vec<Outgoing>,
    ) {
        let packet = Packet::parse(payload);
        if ends.local.port() != PORT {
            return self.proceed(now, (by, ends), packet.as_ref(), out);
        }
        let (code, text) = match packet {
            Some(Packet::Read(request)) => return self.begin(now, (by, ends), &request, out),
            Some(Packet::Write) => (ErrorCode::AccessViolation, "read only"),
            // Errors are never answered.
            Some(Packet::Error) => return,
            _ => (ErrorCode::IllegalOperation, "no such request"),
        };
        out.push(Outgoing {
            ends,
            payload: error(code, text),
        });
    }

    /// Repeats what was not acknowledged, and tells of transfers that have ended (RFC 1350, 5); when to be called next.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut Vec<Outgoing>) -> Option<Duration> {
        let (code, text) = TOO_MANY;
        out.extend(self.ended.drain(..).map(|ends| Outgoing {
            ends,
            payload: error(code, text),
        }));
        self.transfers.retain(|_, running| {
            let ends = running.ends;
            let mut send = |payload| out.push(Outgoing { ends, payload });
            running.transfer.poll(now, &mut send) == Fate::Continues
        });
        self.transfers
            .values()
            .map(|running| running.transfer.deadline)
            .min()
    }

    fn begin(
        &mut self,
        now: Duration,
        (by, ends): (PortId, Ends),
        request: &Request,
        out: &mut Vec<Outgoing>,
    ) {
        // A request that came again: its first transfer has not been heard of by the client.
        let whose = |ends: &Ends| (ends.mac, ends.guest, ends.local.ip());
        self.transfers
            .retain(|_, running| whose(&running.ends) != whose(&ends));
        match self.try_begin(now, (by, ends), request, out) {
            Ok(()) => {}
            Err((code, text)) => out.push(Outgoing {
                ends,
                payload: error(code, text),
            }),
        }
    }

    fn try_begin(
        &mut self,
        now: Duration,
        (by, ends): (PortId, Ends),
        request: &Request,
        out: &mut Vec<Outgoing>,
    ) -> Result<(), (ErrorCode, &'static str)> {
        if !request.octet {
            return Err((ErrorCode::IllegalOperation, "mode octet only"));
        }
        if !self.has_room(by) || self.transfers.len() >= MAX_TRANSFERS {
            return Err(TOO_MANY);
        }
        let path = clean(&request.file).ok_or((ErrorCode::AccessViolation, "not here"))?;
        let file = self.directory.open(&path).map_err(|why| match why {
            OpenError::NotFound => (ErrorCode::NotFound, "no such file"),
            OpenError::Denied => (ErrorCode::AccessViolation, "not to be read"),
            OpenError::Failed => (ErrorCode::Undefined, "the file cannot be opened"),
        })?;
        let port = self.free_port();
        let mut local = ends.local;
        local.set_port(port);
        let ends = Ends { local, ..ends };
        // IP, UDP and TFTP headers: no block is larger than a packet.
        let headers = if local.is_ipv4() {
            20 + 8 + 4
        } else {
            40 + 8 + 4
        };
        let max_block = self.mtu.saturating_sub(headers);
        let mut send = |payload| out.push(Outgoing { ends, payload });
        let (transfer, fate) = Transfer::start(now, file, request.options, max_block, &mut send);
        if fate == Fate::Continues {
            let running = Running {
                port: by,
                ends,
                transfer,
            };
            self.transfers.insert(port, running);
        }
        Ok(())
    }

    fn proceed(
        &mut self,
        now: Duration,
        (by, ends): (PortId, Ends),
        packet: Option<&Packet>,
        out: &mut Vec<Outgoing>,
    ) {
        let port = ends.local.port();
        // A guest's transfers go with it, but not to where there are enough: no two ports have more than each may begin.
        let has_room = self.has_room(by);
        let Some(Running {
            port: counted,
            ends: held,
            transfer,
        }) = self.transfers.get_mut(&port)
        else {
            return;
        };
        if *held != ends {
            // RFC 1350, 4: a stranger is told, and the transfer goes on.
            if !matches!(packet, Some(Packet::Error)) {
                out.push(Outgoing {
                    ends,
                    payload: error(ErrorCode::UnknownTransfer, "not your transfer"),
                });
            }
            return;
        }
        if has_room {
            *counted = by;
        }
        let mut send = |payload| out.push(Outgoing { ends, payload });
        let fate = match packet {
            Some(Packet::Ack(number)) => transfer.acknowledge(now, *number, &mut send),
            Some(Packet::Error) => Fate::Ended,
            _ => {
                send(error(
                    ErrorCode::IllegalOperation,
                    "only acknowledgements now",
                ));
                Fate::Ended
            }
        };
        if fate == Fate::Ended {
            self.transfers.remove(&port);
        }
    }

    /// There are many more ports than transfers.
    fn free_port(&mut self) -> u16 {
        loop {
            let port = FIRST_PORT | self.random.u16() >> 2;
            if !self.transfers.contains_key(&port) {
                return port;
            }
        }
    }
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
