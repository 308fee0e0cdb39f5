//! A guest's NIC with a station behind it: frames in and out of the rings, and who has which address (ARP).

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use smoltcp::wire::{ArpOperation, EthernetAddress};
use virtqueue::DriverBuffer;

use super::packet::{Incoming, Parties, Segment, arp};
use crate::FrontEnd;

/// How long the gateway may take to tell its MAC address.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions: the port may not run yet, and then they are lost.
const AGAIN: Duration = Duration::from_millis(50);
/// How long the back-end may take to take frames.
const STUCK: Duration = Duration::from_secs(5);
/// Without anything to do for so long, the guest sleeps.
const SPELL: Duration = Duration::from_micros(50);

/// The station and its rings.
#[derive(Debug)]
pub(crate) struct Station<'a> {
    end: &'a mut FrontEnd,
    parties: Parties,
    /// A frame that came, copied so that nobody changes it meanwhile.
    frame: Vec<u8>,
    /// Somebody asks for our address.
    asked: Option<(EthernetAddress, Ipv4Addr)>,
    /// Since when there has been nothing to do.
    idle: Option<Instant>,
}

impl<'a> Station<'a> {
    pub(crate) fn new(end: &'a mut FrontEnd, parties: Parties) -> Self {
        end.post_buffers();
        Self {
            end,
            parties,
            frame: Vec::new(),
            asked: None,
            idle: None,
        }
    }

    /// Asks for the MAC address of `gateway` (RFC 826), and sends all else there.
    pub(crate) fn resolve(&mut self, gateway: Ipv4Addr) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut last: Option<Instant> = None;
        while start.elapsed() < PATIENCE {
            if last.is_none_or(|last| last.elapsed() > AGAIN) {
                let nobody = EthernetAddress([0; 6]);
                self.send(&self.arp(ArpOperation::Request, (nobody, gateway)), None)?;
                self.publish();
                last = Some(Instant::now());
            }
            match self.next()? {
                Some(Incoming::Told(mac, address)) if address == gateway => {
                    self.parties.gateway = mac;
                    return Ok(());
                }
                Some(_) => {}
                None => thread::yield_now(),
            }
        }
        bail!("nobody has told the MAC address of {gateway}, which was asked for by ARP")
    }

    /// Who talks to whom.
    pub(crate) fn parties(&self) -> &Parties {
        &self.parties
    }

    fn arp(&self, operation: ArpOperation, to: (EthernetAddress, Ipv4Addr)) -> Vec<u8> {
        arp(operation, (self.parties.mac, *self.parties.local.ip()), to)
    }

    /// The next segment that came; who asks for our address is told.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Option<Segment>> {
        while let Some(incoming) = self.next()? {
            if let Incoming::Segment(segment) = incoming {
                return Ok(Some(segment));
            }
        }
        if let Some(who) = self.asked {
            let answer = self.arp(ArpOperation::Reply, who);
            if self.send(&answer, None)? {
                self.asked = None;
            }
        }
        Ok(None)
    }

    /// The next frame that is any concern of ours.
    fn next(&mut self) -> anyhow::Result<Option<Incoming>> {
        while let Some((slot, written)) = self.end.rx.done()? {
            let at = self.end.rx.buffer(slot);
            let room = u64::from(self.end.rx.room());
            ensure!(
                written <= room,
                "the back-end says that it wrote {written} bytes into a buffer of {room}"
            );
            self.frame.resize(usize::try_from(written)?, 0);
            let read = self.end.memory.map().read(at, &mut self.frame);
            ensure!(read, "a buffer lies outside guest memory");
            self.end.rx.refill(slot);
            let incoming = Incoming::parse(&self.frame, &self.parties);
            if let Some(Incoming::Asked(mac, address)) = incoming {
                self.asked = Some((mac, address));
            }
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
        Ok(None)
    }

    /// Adds a frame of `headers` and, behind them, bytes that lie in guest memory; false: there is no room.
    pub(crate) fn send(
        &mut self,
        headers: &[u8],
        payload: Option<DriverBuffer>,
    ) -> anyhow::Result<bool> {
        let tx = &mut self.end.tx;
        tx.reclaim()?;
        let Some(slot) = tx.next_slot() else {
            return Ok(false);
        };
        let written = tx.write(self.end.memory.map(), slot, 0, headers);
        ensure!(written, "a buffer lies outside guest memory");
        let len = u32::try_from(headers.len())?;
        Ok(match payload {
            None => tx.send(len),
            Some(payload) => tx.send_with(len, payload),
        })
    }

    /// Tells the back-end of what was added, and of receive buffers.
    pub(crate) fn publish(&mut self) {
        self.end.rx.publish();
        self.end.tx.publish();
    }

    /// There was something to do.
    pub(crate) fn worked(&mut self) {
        self.idle = None;
    }

    /// There is nothing to do until something comes, or `patience` is over: leaves the CPU to others for a spell, then sleeps until
    /// it is called, as a guest does.
    pub(crate) fn pause(&mut self, patience: Duration) -> anyhow::Result<()> {
        let since = *self.idle.get_or_insert_with(Instant::now);
        if since.elapsed() < SPELL {
            thread::yield_now();
            return Ok(());
        }
        // Whether it was called, or how much is left of its patience, is seen in the next round.
        self.end
            .rx
            .wait(patience.max(Duration::from_millis(1)))
            .context("waiting for a call")
            .map(drop)
    }

    /// Waits until the back-end has taken all frames.
    pub(crate) fn drain(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.end.tx.reclaim()?;
            if self.end.tx.is_drained() {
                return Ok(());
            }
            ensure!(start.elapsed() < STUCK, "the back-end keeps frames");
            thread::yield_now();
        }
    }
}
