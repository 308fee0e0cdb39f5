//! Raw Ethernet at an interface of a namespace: what is on the wire, byte by byte.
use crate::{Namespace, sys};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, setsockopt,
    socket, sockopt,
};
use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// linux/if_packet.h: `TP_STATUS_VLAN_VALID`, `TP_STATUS_VLAN_TPID_VALID`.
const VLAN_VALID: u32 = 1 << 4;
const VLAN_TPID_VALID: u32 = 1 << 6;
/// `struct tpacket_auxdata` (linux/if_packet.h).
const AUXDATA_LEN: usize = 20;
/// Destination and source address: a VLAN tag follows them.
const ADDRESSES: usize = 12;
const MAX_FRAME: usize = 1 << 16;
/// Of the socket, in bytes: a test that looks late misses nothing.
const BUFFER: usize = 8 << 20;

/// An AF_PACKET socket at one interface. It sees every frame that the interface receives, whatever
/// its destination, and none that the interface sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

impl PacketSocket {
    /// A socket at `interface` in `namespace`.
    #[track_caller]
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let every = u16::try_from(libc::ETH_P_ALL).expect("an EtherType");
        Self::open_for(namespace, interface, every)
    }

    /// One that sees only what the host's own stack is given of an EtherType: nothing that a bridge or a macvlan has taken.
    #[track_caller]
    pub fn open_for(namespace: &Namespace, interface: &str, ethertype: u16) -> Self {
        let path = Path::new("/run/netns").join(namespace.name());
        // A namespace is entered by a thread, which is of no further use.
        let opened =
            thread::scope(|scope| scope.spawn(|| open(&path, interface, ethertype)).join());
        let socket = opened
            .expect("the thread does not panic")
            .unwrap_or_else(|error| panic!("{interface} in {}: {error}", namespace.name()));
        Self { socket }
    }

    /// Sends a frame: addresses, EtherType, payload; the frame check sequence is not part of it.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "sending a frame");
    }

    /// The next frame with its VLAN tag in place, if one arrives before `deadline`.
    pub fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            // A millisecond more than is left, or the last one were spent polling.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
            match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => panic!("poll of a packet socket: {error}"),
            }
        }
    }

    /// The next frame, if it is here.
    fn take(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; MAX_FRAME];
        let mut control = nix::cmsg_space!([u8; AUXDATA_LEN]);
        let mut buffers = [IoSliceMut::new(&mut frame)];
        let received = recvmsg::<()>(
            self.socket.as_raw_fd(),
            &mut buffers,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match received {
            Ok(message) => message,
            // ENETDOWN: the interface went away; the test will miss its frames.
            Err(Errno::EAGAIN | Errno::ENETDOWN) => return None,
            Err(error) => panic!("receiving at a packet socket: {error}"),
        };
        let len = message.bytes;
        let tag = message.cmsgs().ok()?.find_map(|message| match message {
            ControlMessageOwned::Unknown(message) => vlan_tag(&message.data_bytes),
            _ => None,
        });
        frame.truncate(len);
        if let Some(tag) = tag
            && frame.len() >= ADDRESSES
        {
            frame.splice(ADDRESSES..ADDRESSES, tag);
        }
        Some(frame)
    }
}

fn open(namespace: &Path, interface: &str, ethertype: u16) -> std::io::Result<OwnedFd> {
    setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
    // No protocol: nothing is received before the socket is bound to its interface.
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    for option in [libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING] {
        sys::enable_packet_option(socket.as_fd(), option)?;
    }
    sys::bind_packet_socket(socket.as_fd(), if_nametoindex(interface)?, ethertype)?;
    Ok(socket)
}

/// The tag that the kernel took out of the frame.
fn vlan_tag(auxdata: &[u8]) -> Option<[u8; 4]> {
    let status = u32::from_ne_bytes(*auxdata.first_chunk()?);
    let [.., tci_low, tci_high, tpid_low, tpid_high] = *auxdata.first_chunk::<AUXDATA_LEN>()?;
    if status & VLAN_VALID == 0 {
        return None;
    }
    let tci = u16::from_ne_bytes([tci_low, tci_high]).to_be_bytes();
    let tpid = match status & VLAN_TPID_VALID {
        0 => 0x8100,
        _ => u16::from_ne_bytes([tpid_low, tpid_high]),
    };
    let tpid = tpid.to_be_bytes();
    Some([tpid[0], tpid[1], tci[0], tci[1]])
}
