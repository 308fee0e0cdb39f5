//! What the kernel tells of an interface that changes (rtnetlink(7), `RTM_NEWLINK`).

/// linux/rtnetlink.h.
const RTM_NEWLINK: u16 = 16;
/// linux/if_link.h.
const IFLA_MTU: u16 = 4;
/// Attributes follow `struct nlmsghdr` and `struct ifinfomsg`.
const HEADERS: usize = 32;
const ALIGNMENT: usize = 4;
/// Of each message: the MTU is among the first attributes (`rtnl_fill_ifinfo`).
pub(super) const LONGEST: usize = 256;

/// The MTU of this interface in a message, which may be cut.
pub(super) fn mtu_of(index: u32, message: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(part(message, 4)?);
    let of = u32::from_ne_bytes(part(message, 20)?);
    if kind != RTM_NEWLINK || of != index {
        return None;
    }
    let mut attributes = message.get(HEADERS..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(part(attributes, 0)?));
        if u16::from_ne_bytes(part(attributes, 2)?) == IFLA_MTU {
            return Some(u32::from_ne_bytes(part(attributes, 4)?));
        }
        // None is empty: its length counts its header.
        let next = length.max(ALIGNMENT).next_multiple_of(ALIGNMENT);
        attributes = attributes.get(next..)?;
    }
}

fn part<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
#[path = "link_event_test.rs"]
mod tests;
