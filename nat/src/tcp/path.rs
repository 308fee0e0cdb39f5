//! What the way to a guest takes, if a router behind it says that it is less than the guest does (RFC 1191, RFC 8201).
use super::flow::{Flow, Phase, Tuple};
use super::seq::Seq;
use super::table::TcpTable;
use crate::icmp::TooBig;
use std::time::Duration;

impl TcpTable {
    /// A router among the guests has no room for a segment with a sequence number. A guest can say so of its own connections only.
    /// False: it has none like that, or nothing like that is under way to it.
    pub(crate) fn too_big(&mut self, now: Duration, guest: u32, told: &TooBig, seq: u32) -> bool {
        let tuple = Tuple {
            guest,
            guest_port: told.guest.port(),
            remote_port: told.remote.port(),
            guest_address: told.guest.ip(),
            remote_address: told.remote.ip(),
        };
        let Some(index) = self.find(&tuple) else {
            return false;
        };
        let known = self
            .flow_mut(index)
            .is_some_and(|flow| flow.too_big(now, told.mtu, Seq(seq)));
        if known {
            self.enlist(index);
        }
        known
    }
}

impl Flow {
    /// Segments are smaller from now on, for as long as the flow lives (RFC 1191, 6.3, tries larger ones after a while). False: what is
    /// told of is not under way; who says so has not seen it (RFC 5927, 4.1).
    fn too_big(&mut self, now: Duration, mtu: u16, seq: Seq) -> bool {
        let is_known = self.phase == Phase::Open && self.sender.is_under_way(seq);
        if is_known {
            let mss = mtu.saturating_sub(self.headers());
            self.sender.shrink(mss, seq, now);
        }
        is_known
    }
}
