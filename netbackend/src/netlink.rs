//! Interfaces, through a netlink socket of the namespace that the thread is in.
use rtnetlink::{
    LinkUnspec,
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};
use std::io;
use switch::MacAddr;

/// How often a list is asked for that others change meanwhile.
const DUMPS: usize = 20;
/// linux/netlink.h: interfaces came or went during the dump, so that some may be missing.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// What is known of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `ip -d link` calls it kind: `veth`, `macvtap`; empty for hardware.
    pub(crate) kind: String,
    pub(crate) is_ethernet: bool,
    /// Administratively.
    pub(crate) is_up: bool,
    /// A cable is plugged in and something is at its other end.
    pub(crate) has_carrier: bool,
    pub(crate) mtu: u32,
    pub(crate) mac: Option<MacAddr>,
    /// The bridge or bond that it is a port of.
    pub(crate) controller: Option<u32>,
    /// The interface of this namespace that it is on top of, or paired with.
    pub(crate) lower: Option<u32>,
    pub(crate) alias: String,
}

/// A socket for requests; answers are waited for.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

type Message = NetlinkMessage<RouteNetlinkMessage>;

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// The interface of that name, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let found = self.request(RouteNetlinkMessage::GetLink(message), NLM_F_ACK);
        match found {
            Ok(links) => Ok(links.into_iter().next()),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let list = |netlink: &mut Self| {
            let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
            netlink.request(message, NLM_F_DUMP)
        };
        for _ in 0..DUMPS {
            match list(self) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                listed => return listed,
            }
        }
        list(self)
    }

    pub(crate) fn add(&mut self, link: LinkMessage) -> io::Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewLink(link), flags)
            .map(drop)
    }

    pub(crate) fn set(&mut self, link: LinkMessage) -> io::Result<()> {
        self.request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK)
            .map(drop)
    }

    /// Removes an interface; it is no error if there is none.
    pub(crate) fn delete(&mut self, index: u32) -> io::Result<()> {
        // A macvlan device in passthru mode that is removed with this flag leaves its NIC with it (`macvlan_stop` takes back
        // the promiscuous mode only).
        let link = LinkUnspec::new_with_index(index).allmulticast(false);
        // Fails if there is no such interface, which is told below.
        drop(self.set(link.build()));
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.request(RouteNetlinkMessage::DelLink(message), NLM_F_ACK) {
            Err(error) if is_gone(&error) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Sends a request and takes its answer, up to the acknowledgement or the end of the dump.
    fn request(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<Link>> {
        let mut message = NetlinkMessage::from(request);
        self.sequence = self.sequence.wrapping_add(1);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = Answer::default();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if answer.take(&datagram, self.sequence)? {
                return answer.links();
            }
        }
    }
}

/// What has come of an answer.
#[derive(Debug, Default)]
struct Answer {
    links: Vec<Link>,
    is_inconsistent: bool,
}

impl Answer {
    fn links(self) -> io::Result<Vec<Link>> {
        if self.is_inconsistent {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(self.links)
    }

    /// Takes the messages of a datagram; true: it was the last.
    fn take(&mut self, datagram: &[u8], sequence: u32) -> io::Result<bool> {
        let mut rest = datagram;
        while !rest.is_empty() {
            let message = Message::deserialize(rest).map_err(io::Error::other)?;
            // Messages are aligned to 4 bytes (netlink(7)); the last may lack its padding.
            let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
            let next = length.max(1).next_multiple_of(4).min(rest.len());
            rest = rest.get(next..).unwrap_or_default();
            if message.header.sequence_number != sequence {
                continue;
            }
            self.is_inconsistent |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(true),
                        Some(_) => Err(error.to_io()),
                    };
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    self.links.push(Link::new(link));
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

impl Link {
    fn new(message: LinkMessage) -> Self {
        let header = message.header;
        let mut link = Self {
            index: header.index,
            name: String::new(),
            kind: String::new(),
            is_ethernet: header.link_layer_type == LinkLayerType::Ether,
            is_up: header.flags.contains(LinkFlags::Up),
            has_carrier: header.flags.contains(LinkFlags::LowerUp),
            mtu: 0,
            mac: None,
            controller: None,
            lower: None,
            alias: String::new(),
        };
        let mut is_lower_elsewhere = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::Link(index) => link.lower = Some(index),
                LinkAttribute::Address(bytes) => {
                    link.mac = bytes.try_into().ok().map(MacAddr);
                }
                LinkAttribute::LinkNetNsId(_) => is_lower_elsewhere = true,
                LinkAttribute::LinkInfo(infos) => link.kind = kind(&infos),
                _ => {}
            }
        }
        if is_lower_elsewhere {
            // Its index is one of another namespace, where others have the same.
            link.lower = None;
        }
        link
    }
}

fn kind(infos: &[LinkInfo]) -> String {
    let mut kinds = infos.iter().filter_map(|info| match info {
        LinkInfo::Kind(kind) => Some(InfoKind::to_string(kind)),
        _ => None,
    });
    kinds.next().unwrap_or_default()
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
#[path = "netlink_test.rs"]
mod tests;
