//! Sessions whose guests are behind links that take less than the network does. Those of a forward share its socket, and of what is
//! in there nobody knows whose it is before it was taken.
use crate::host::SocketId;
use std::collections::BTreeMap;

/// How many sessions of a socket have an MTU.
#[derive(Debug, Default)]
pub(super) struct Narrow(BTreeMap<(SocketId, u16), usize>);

impl Narrow {
    /// A session's MTU is another one now; `None`: that of the network.
    pub(super) fn change(&mut self, socket: SocketId, before: Option<u16>, now: Option<u16>) {
        if let Some(now) = now {
            *self.0.entry((socket, now)).or_default() += 1;
        }
        let Some(key) = before.map(|before| (socket, before)) else {
            return;
        };
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// The smallest MTU of a socket's sessions.
    pub(super) fn least(&self, socket: SocketId) -> Option<u16> {
        let mut of_socket = self.0.range((socket, 0)..=(socket, u16::MAX));
        of_socket.next().map(|((_, mtu), _)| *mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_those_that_are_left() {
        let (socket, other) = (SocketId(1), SocketId(2));
        let mut narrow = Narrow::default();
        narrow.change(other, None, Some(600));
        assert_eq!(narrow.least(socket), None);
        narrow.change(socket, None, Some(1400));
        narrow.change(socket, None, Some(1400));
        narrow.change(socket, Some(1400), Some(1000));
        assert_eq!(narrow.least(socket), Some(1000));
        narrow.change(socket, Some(1000), None);
        assert_eq!(narrow.least(socket), Some(1400));
        narrow.change(socket, Some(1400), None);
        assert_eq!(narrow.least(socket), None);
        assert_eq!(narrow.least(other), Some(600));
    }
}
