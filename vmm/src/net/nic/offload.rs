//! What a driver asks its NIC to do with a packet, in terms that do not depend on the NIC: checksums, segmentation, a tag.
//!
//! A back-end that can is asked to do it; what it cannot do is done here.
use super::{
    packet::{ADDRESSES_LEN, MAX_COPIED, Packet, sum_buffers},
    segment::CWR,
};
use crate::net::wire::{Offloads, Sum};
use virtqueue::{GsoType, MemoryMap};

/// What a checksum covers and where it goes; offsets in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte covered.
    pub start: usize,
    /// Where the sum goes.
    pub field: usize,
    /// After the last byte covered; `None`: the packet's end.
    pub end: Option<usize>,
}

/// TCP segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// First byte of the IP header.
    pub ip: usize,
    /// It is IPv4's.
    pub ipv4: bool,
    /// First byte of the TCP header.
    pub tcp: usize,
    /// Where the TCP checksum goes; the pseudo-header's sum, without a length, is there.
    pub field: usize,
    /// Bytes of all headers.
    pub header: usize,
    /// Payload of a segment.
    pub mss: u16,
}

/// All that is asked for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// The IPv4 header's checksum.
    pub ip: Option<Range>,
    /// TCP's or UDP's; the pseudo-header's sum is in the field.
    pub transport: Option<Range>,
    /// Instead of a transport checksum.
    pub segmentation: Option<Segmentation>,
    /// A VLAN tag, and the ethertype in front of it.
    pub tag: Option<(u16, u16)>,
}

/// How a packet is segmented here, when the back-end does not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// First byte of the IP header.
    pub(super) ip: usize,
    /// It is IPv4's.
    pub(super) ipv4: bool,
    /// Payload of a segment.
    pub(super) mss: u16,
}

impl Packet {
    /// Does what is asked, or has the back-end do it; false: the packet must not be sent. Once per packet.
    pub fn apply(&mut self, request: &Request, offloads: Offloads, memory: &MemoryMap) -> bool {
        if !self.is_good() {
            return false;
        }
        let done = match &request.segmentation {
            Some(segmentation) => self.segment(segmentation, request.ip, offloads, memory),
            None => self.checksums(request, offloads, memory),
        };
        done && match request.tag {
            Some((tag, ethertype)) => self.tag(tag, ethertype, memory),
            None => true,
        }
    }

    /// The back-end wants what Linux's own stack would give it, that is lengths and checksums of one big packet, where the driver
    /// leaves them to the NIC.
    fn segment(
        &mut self,
        asked: &Segmentation,
        ip_checksum: Option<Range>,
        offloads: Offloads,
        memory: &MemoryMap,
    ) -> bool {
        let &Segmentation {
            ip,
            ipv4,
            tcp,
            field,
            header,
            mss,
        } = asked;
        let sane = mss > 0
            && ip >= ADDRESSES_LEN + 2
            && tcp >= ip + if ipv4 { 20 } else { 40 }
            && field >= tcp
            && field + 2 <= header
            && header >= tcp + 20
            && self.len > header;
        if !sane || !self.copy_head(header, memory) {
            return false;
        }
        let (Ok(ip_len), Ok(tcp_len)) =
            (u16::try_from(self.len - ip), u16::try_from(self.len - tcp))
        else {
            return false;
        };
        let (Ok(hdr_len), Ok(csum_start), Ok(csum_offset)) = (
            u16::try_from(header),
            u16::try_from(tcp),
            u16::try_from(field - tcp),
        ) else {
            return false;
        };
        if ipv4 {
            self.put(ip + 2, ip_len);
            if let Some(range) = ip_checksum {
                self.ip_checksum(range);
            }
        } else {
            self.put(ip + 4, ip_len.saturating_sub(40));
        }
        // The pseudo-header has no length, because each segment has another.
        let mut sum = Sum::default();
        if let Some(field) = self.head.get(field..field + 2) {
            sum.add(field);
        }
        sum.add(&tcp_len.to_be_bytes());
        self.put(field, sum.fold());
        self.header.needs_csum = true;
        self.header.csum_start = csum_start;
        self.header.csum_offset = csum_offset;
        // A back-end that knows nothing of ECN would give CWR to each segment.
        let congested = self
            .head
            .get(tcp + 13)
            .is_some_and(|flags| flags & CWR != 0);
        // What fits one segment is an ordinary packet.
        if self.len - header > usize::from(mss) {
            self.header.gso = if ipv4 { GsoType::TcpV4 } else { GsoType::TcpV6 };
            self.header.gso_size = mss;
            self.header.hdr_len = hdr_len;
            self.header.ecn = congested && offloads.ecn;
        }
        let able = if ipv4 { offloads.tso4 } else { offloads.tso6 };
        let able = able && (offloads.ecn || !congested);
        if self.is_segmented() && !able || !offloads.checksum {
            self.cut = Some(Cut { ip, ipv4, mss });
        }
        true
    }

    /// Inserts the IP checksum into the copied head.
    fn ip_checksum(&mut self, range: Range) {
        let end = range.end.unwrap_or(self.head.len());
        if range.field < range.start || range.field + 2 > end {
            return;
        }
        self.put(range.field, 0);
        if let Some(covered) = self.head.get(range.start..end) {
            let mut sum = Sum::default();
            sum.add(covered);
            self.put(range.field, sum.complement());
        }
    }

    /// Checksums without segmentation. A request that makes no sense is ignored, as hardware does: it harms its own packet only.
    fn checksums(&mut self, request: &Request, offloads: Offloads, memory: &MemoryMap) -> bool {
        if let Some(range) = request.ip {
            let end = range.end.unwrap_or(self.len);
            if end <= self.len.min(MAX_COPIED) {
                if !self.copy_head(end, memory) {
                    return false;
                }
                self.ip_checksum(range);
            }
        }
        let Some(Range { start, field, end }) = request.transport else {
            return true;
        };
        let past = end.map_or(self.len, |end| end.min(self.len));
        if field < start || field + 2 > past {
            return true;
        }
        if offloads.checksum
            && past == self.len
            && let (Ok(start), Ok(offset)) = (u16::try_from(start), u16::try_from(field - start))
        {
            self.header.needs_csum = true;
            self.header.csum_start = start;
            self.header.csum_offset = offset;
            return true;
        }
        if field + 2 > MAX_COPIED {
            return true;
        }
        self.copy_head(field + 2, memory) && self.software_checksum(start, field, past, memory)
    }

    /// The checksum of `first..past`, into `at`, which lies in the copied head.
    fn software_checksum(
        &mut self,
        first: usize,
        at: usize,
        past: usize,
        memory: &MemoryMap,
    ) -> bool {
        let mut sum = Sum::default();
        let mut left = past - first;
        let head = self.head.get(first..).unwrap_or(&[]);
        let head = head.get(..left.min(head.len())).unwrap_or(head);
        sum.add(head);
        left -= head.len();
        if !sum_buffers(&mut sum, &self.buffers, left, memory) {
            return false;
        }
        self.put(at, sum.complement());
        true
    }
}

#[cfg(test)]
#[path = "offload_test.rs"]
mod tests;
