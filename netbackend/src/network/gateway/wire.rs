//! The gateway's port, from its own side: the driver's end of one queue pair.
use super::super::{
    command::{Command, Kick, NewCarrier, PortOffloads, RingId, RingStart},
    counters::PortShared,
    datapath::Limits,
    mailbox::Mailbox,
};
use anyhow::Context;
use control::PortPolicy;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use switch::{MacAddr, PortConfig, PortId, Role};
use virtqueue::{LocalReceiver, LocalRing, LocalSender, QueueFault};

/// Buffers of 4 KiB for frames from the network: room for a thousand short frames, or for sixty of the longest.
const RECEIVE_SIZE: u16 = 1024;
/// Payload that finds room there, if each buffer holds a segment of an Ethernet MTU, and some hold acknowledgements.
pub(super) const RECEIVE_ROOM: usize = RECEIVE_SIZE as usize * 1400;
/// Frames to the network that may be on their way.
const SEND_SIZE: u16 = 512;
/// Bytes of such frames.
const SEND_BYTES: usize = 2 << 20;

/// All that a driver can negotiate: frames come and go as they are, with checksums left open and in one piece.
const OFFLOADS: PortOffloads = PortOffloads {
    header_len: 12,
    mergeable: true,
    tx_checksum: true,
    tx_tso4: true,
    tx_tso6: true,
    tx_ecn: true,
    tx_ufo: false,
    tx_uso: true,
    rx_checksum: true,
    rx_tso4: true,
    rx_tso6: true,
    rx_ecn: true,
    rx_ufo: false,
    rx_uso4: true,
    rx_uso6: true,
    wants_source: true,
    waited_for: true,
};

/// Rings, and the fds by which the two ends wake each other.
#[derive(Debug)]
pub(super) struct Wire {
    receiver: LocalReceiver,
    sender: LocalSender,
    /// Wakes the datapath: frames were sent.
    kick: EventFd,
    /// Wakes us: frames came in, or were taken.
    call: EventFd,
}

impl Wire {
    pub(super) fn new() -> anyhow::Result<Self> {
        let eventfd = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        Ok(Self {
            receiver: LocalReceiver::new(RECEIVE_SIZE)?,
            sender: LocalSender::new(SEND_SIZE, SEND_BYTES)?,
            kick: eventfd()?,
            call: eventfd()?,
        })
    }

    /// Plugs the other end into the datapath, as port `port`.
    pub(super) fn plug(
        &self,
        mailbox: &Mailbox,
        port: PortId,
        mac: MacAddr,
        shared: Arc<PortShared>,
    ) -> anyhow::Result<()> {
        mailbox.call(Command::AddPort {
            port,
            config: PortConfig {
                role: Role::Guest,
                mac: Some(mac),
            },
            // It talks to isolated ports: it is not one itself.
            limits: Limits::new(&PortPolicy::default()),
            policy: PortPolicy::default(),
            carrier: NewCarrier::VhostUser {
                rings: 2,
                receive: Arc::default(),
            },
            shared,
        })?;
        mailbox.call(Command::SetOffloads {
            port,
            offloads: OFFLOADS,
        })?;
        let call = Arc::new(file(&self.call)?);
        let rings = [
            (0, self.receiver.ring(), Kick::Polled),
            (1, self.sender.ring(), Kick::Fd(Arc::new(file(&self.kick)?))),
        ];
        for (index, ring, kick) in rings {
            let LocalRing { memory, config } = ring;
            let start = Box::new(RingStart {
                memory,
                config,
                kick,
                call: Some(Arc::clone(&call)),
                err: None,
                enabled: true,
            });
            let ring = RingId { port, index };
            mailbox
                .call(Command::StartRing { ring, start })
                .context("start the gateway's rings")?;
        }
        Ok(())
    }

    /// Both ends at once: frames come from one while others go by the other.
    pub(super) fn split(&mut self) -> (&mut LocalReceiver, &mut LocalSender) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Takes back room of frames that were taken; whether there was any.
    pub(super) fn reclaim(&mut self) -> Result<bool, QueueFault> {
        self.sender.reclaim()
    }

    /// Makes known what was sent and given back: once per burst, with one kick at most.
    pub(super) fn flush(&mut self) {
        if self.sender.publish() {
            // Cannot fail short of 2^64 unread kicks.
            let _ = self.kick.write(1);
        }
        // Nobody sleeps for receive buffers: the datapath looks when it has a frame, and again and again while a source is held.
        let _ = self.receiver.publish();
    }

    /// Asks to be woken by frames, and by `room` for more; true: there is some of it already.
    pub(super) fn arm(&mut self, room: bool) -> bool {
        let received = self.receiver.arm();
        (room && self.sender.arm()) || received
    }

    /// Readable when the datapath has called.
    pub(super) fn call(&self) -> BorrowedFd<'_> {
        self.call.as_fd()
    }
}

fn file(event: &EventFd) -> std::io::Result<File> {
    let fd: OwnedFd = event.as_fd().try_clone_to_owned()?;
    Ok(File::from(fd))
}
