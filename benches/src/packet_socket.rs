//! Frames into an interface of this host with virtio-net headers: as large ones as its own TCP hands to a driver, without any TCP.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::Context;
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, bind, send, socket},
};

use crate::{Content, FrameKind, content::NUM_BUFFERS, sys};

/// A packet socket, and the frame that it sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    /// `struct virtio_net_hdr`, and the frame.
    bytes: Vec<u8>,
}

impl PacketSocket {
    /// For frames of `kind` into `interface`.
    ///
    /// # Errors
    /// There is no such interface in this network namespace, or CAP_NET_RAW is missing.
    pub fn open(interface: &str, kind: FrameKind) -> anyhow::Result<Self> {
        let no_protocol = None;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, no_protocol)
            .context("opening a packet socket")?;
        sys::expect_headers(&socket).context("setting PACKET_VNET_HDR")?;
        let address = getifaddrs()?
            .filter(|it| it.interface_name == interface)
            .filter_map(|it| it.address)
            .find(|it| it.family() == Some(AddressFamily::Packet))
            .with_context(|| format!("no interface {interface}"))?;
        bind(socket.as_raw_fd(), &address).with_context(|| format!("binding to {interface}"))?;
        let content = Content::new(kind)?;
        let header = content.start().get(..NUM_BUFFERS).unwrap_or_default();
        let bytes = [header, &content.frame(0)].concat();
        Ok(Self { socket, bytes })
    }

    /// Sends the frame once more.
    ///
    /// # Errors
    /// The interface is down, or its queue full.
    pub fn send(&self) -> io::Result<()> {
        send(self.socket.as_raw_fd(), &self.bytes, MsgFlags::empty())?;
        Ok(())
    }
}
