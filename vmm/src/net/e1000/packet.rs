//! One packet on its way out: its buffers, and what the NIC changes in front of them.
use super::descriptor::{Context, Data};
use crate::net::wire::{MAX_BUFFERS, MAX_HEAD, Offloads, Sum};
use virtqueue::{DriverBuffer, GsoType, MemoryMap, NetHeader};

/// The longest packet before segmentation: what IP can name, an Ethernet header and a tag.
const MAX_PACKET: usize = 65535 + 18;
/// Bytes of a VLAN tag.
const TAG_LEN: u16 = 4;
/// Room for headers beside an inserted tag.
const MAX_COPIED: usize = MAX_HEAD - TAG_LEN as usize;
/// Both addresses: a tag goes after them.
const ADDRESSES_LEN: usize = 12;

/// How a packet is segmented here, when the back-end does not do it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// First byte of the IP header.
    pub(super) ip: usize,
    /// It is IPv4's.
    pub(super) ipv4: bool,
    /// Payload of a segment.
    pub(super) mss: u16,
}

/// A packet being put together.
#[derive(Debug, Default)]
pub(super) struct Packet {
    /// What is in guest memory; without the copied head once prepared.
    pub(super) buffers: Vec<DriverBuffer>,
    /// Header for the back-end.
    pub(super) header: NetHeader,
    /// Bytes of the packet.
    len: usize,
    /// What the first data descriptor asks for.
    options: Data,
    started: bool,
    /// It cannot be sent.
    bad: bool,
    head: Vec<u8>,
    cut: Option<Cut>,
}

impl Packet {
    /// Starts over.
    pub(super) fn clear(&mut self) {
        self.buffers.clear();
        self.head.clear();
        self.header = NetHeader::default();
        self.len = 0;
        self.started = false;
        self.bad = false;
        self.cut = None;
    }

    /// How to segment it here.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Adds a buffer.
    pub(super) fn push(&mut self, data: &Data, memory: &dyn Fn(u64, u64) -> bool) {
        if !self.started {
            self.started = true;
            self.options = *data;
        }
        self.options.vlan = data.vlan.or(self.options.vlan);
        self.options.legacy = data.legacy.or(self.options.legacy);
        if data.len == 0 || self.bad {
            return;
        }
        self.len += usize::try_from(data.len).unwrap_or(MAX_PACKET);
        if self.len > MAX_PACKET
            || self.buffers.len() == MAX_BUFFERS
            || !memory(data.addr, data.len.into())
        {
            self.bad = true;
            return;
        }
        self.buffers.push(DriverBuffer {
            addr: data.addr,
            len: data.len,
            writable: false,
        });
    }

    /// It is not to be sent.
    pub(super) fn spoil(&mut self) {
        self.bad = true;
    }

    /// Copies all of it to `frame`; false: its memory is gone.
    pub(super) fn gather(&self, memory: &MemoryMap, frame: &mut Vec<u8>) -> bool {
        frame.clear();
        frame.extend_from_slice(&self.head);
        self.buffers.iter().all(|buffer| {
            let start = frame.len();
            let len = usize::try_from(buffer.len).unwrap_or(0);
            frame.resize(start + len, 0);
            frame
                .get_mut(start..)
                .is_some_and(|to| memory.read(buffer.addr, to))
        })
    }

    /// Bytes of the packet as it leaves.
    pub(super) fn len(&self) -> usize {
        let body = self.buffers.iter().map(|buffer| u64::from(buffer.len));
        let body = usize::try_from(body.sum::<u64>()).unwrap_or(usize::MAX);
        body.saturating_add(self.head.len())
    }

    /// What goes in front of the buffers.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether the context segments it.
    pub(super) fn segmented(&self) -> bool {
        self.header.gso != GsoType::None
    }

    /// Applies what its descriptors ask for; false: it must not be sent. `contexts`: for checksums, for segmentation.
    pub(super) fn prepare(
        &mut self,
        contexts: [&Context; 2],
        offloads: Offloads,
        insert_tags: Option<u16>,
        memory: &MemoryMap,
    ) -> bool {
        if self.bad || self.len < ADDRESSES_LEN + 2 {
            return false;
        }
        let options = self.options;
        let [plain, segmenting] = contexts;
        let done = if options.tse {
            self.segment(segmenting, offloads, memory)
        } else {
            self.checksums(plain, &options, offloads, memory)
        };
        done && match options.vlan.zip(insert_tags) {
            Some((tag, ethertype)) => self.tag(tag, ethertype, memory),
            None => true,
        }
    }

    /// Copies the first `len` bytes out of the buffers.
    fn copy_head(&mut self, len: usize, memory: &MemoryMap) -> bool {
        let Some(mut missing) = len.checked_sub(self.head.len()) else {
            return true;
        };
        if len > MAX_COPIED || len > self.len {
            return false;
        }
        let mut emptied = 0;
        for buffer in &mut self.buffers {
            let here = usize::try_from(buffer.len)
                .unwrap_or(usize::MAX)
                .min(missing);
            let start = self.head.len();
            self.head.resize(start + here, 0);
            let copied = self
                .head
                .get_mut(start..)
                .is_some_and(|to| memory.read(buffer.addr, to));
            if !copied {
                return false;
            }
            let taken = u32::try_from(here).unwrap_or(buffer.len);
            buffer.addr += u64::from(taken);
            buffer.len -= taken;
            missing -= here;
            if buffer.len == 0 {
                emptied += 1;
            }
            if missing == 0 {
                break;
            }
        }
        self.buffers.drain(..emptied);
        missing == 0
    }

    fn put(&mut self, at: usize, value: u16) {
        if let Some(field) = self.head.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// TCP segmentation (SDM 3.5): the back-end wants what Linux's own stack would give it, that is lengths and checksums
    /// of one big packet, where the driver leaves them to the NIC.
    fn segment(&mut self, context: &Context, offloads: Offloads, memory: &MemoryMap) -> bool {
        let header = usize::from(context.hdrlen);
        let (ip, tcp) = (usize::from(context.ipcss), usize::from(context.tucss));
        let field = usize::from(context.tucso);
        let able = if context.ipv4 {
            offloads.tso4
        } else {
            offloads.tso6
        };
        let sane = context.mss > 0
            && context.tcp
            && ip >= ADDRESSES_LEN + 2
            && tcp >= ip + if context.ipv4 { 20 } else { 40 }
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
        if context.ipv4 {
            self.put(ip + 2, ip_len);
            self.ip_checksum(context);
        } else {
            self.put(ip + 4, ip_len.saturating_sub(40));
        }
        // The driver's pseudo-header has no length, because each segment has another (3.5.7).
        let mut sum = Sum::default();
        if let Some(field) = self.head.get(field..field + 2) {
            sum.add(field);
        }
        sum.add(&tcp_len.to_be_bytes());
        self.put(field, sum.fold());
        self.header.needs_csum = true;
        self.header.csum_start = u16::from(context.tucss);
        self.header.csum_offset = u16::from(context.tucso - context.tucss);
        // What fits one segment is an ordinary packet.
        if self.len - header > usize::from(context.mss) {
            self.header.gso = if context.ipv4 {
                GsoType::TcpV4
            } else {
                GsoType::TcpV6
            };
            self.header.gso_size = context.mss;
            self.header.hdr_len = u16::from(context.hdrlen);
        }
        if self.segmented() && !able || !offloads.checksum {
            self.cut = Some(Cut {
                ip,
                ipv4: context.ipv4,
                mss: context.mss,
            });
        }
        true
    }

    /// Inserts the IP checksum into the copied head.
    fn ip_checksum(&mut self, context: &Context) {
        let (start, end) = (usize::from(context.ipcss), usize::from(context.ipcse));
        let field = usize::from(context.ipcso);
        if field < start || field + 1 > end {
            return;
        }
        self.put(field, 0);
        if let Some(covered) = self.head.get(start..=end) {
            let mut sum = Sum::default();
            sum.add(covered);
            self.put(field, sum.complement());
        }
    }

    /// Checksums without segmentation. A request that makes no sense is ignored, as hardware does: it harms its own packet only.
    fn checksums(
        &mut self,
        context: &Context,
        options: &Data,
        offloads: Offloads,
        memory: &MemoryMap,
    ) -> bool {
        if options.ixsm {
            let end = usize::from(context.ipcse) + 1;
            if end <= self.len.min(MAX_COPIED) {
                if !self.copy_head(end, memory) {
                    return false;
                }
                self.ip_checksum(context);
            }
        }
        let (start, field, end) = if options.txsm {
            (context.tucss, context.tucso, context.tucse)
        } else if let Some((start, field)) = options.legacy {
            (start, field, 0)
        } else {
            return true;
        };
        let (first, at) = (usize::from(start), usize::from(field));
        let past = match usize::from(end) {
            0 => self.len,
            last => (last + 1).min(self.len),
        };
        if at < first || at + 2 > past {
            return true;
        }
        if offloads.checksum && past == self.len {
            self.header.needs_csum = true;
            self.header.csum_start = start.into();
            self.header.csum_offset = (field - start).into();
            return true;
        }
        if at + 2 > MAX_COPIED {
            return true;
        }
        self.copy_head(at + 2, memory) && self.software_checksum(first, at, past, memory)
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

    fn tag(&mut self, tag: u16, ethertype: u16, memory: &MemoryMap) -> bool {
        if !self.copy_head(ADDRESSES_LEN, memory) {
            return false;
        }
        let [e0, e1] = ethertype.to_be_bytes();
        let [t0, t1] = tag.to_be_bytes();
        self.head
            .splice(ADDRESSES_LEN..ADDRESSES_LEN, [e0, e1, t0, t1]);
        if let Some(cut) = &mut self.cut {
            cut.ip += usize::from(TAG_LEN);
        }
        if self.header.needs_csum {
            self.header.csum_start += TAG_LEN;
        }
        if self.header.hdr_len > 0 {
            self.header.hdr_len += TAG_LEN;
        }
        true
    }
}

/// Adds the first `left` bytes of `buffers`; false: some of them are not there.
pub(super) fn sum_buffers(
    sum: &mut Sum,
    buffers: &[DriverBuffer],
    mut left: usize,
    memory: &MemoryMap,
) -> bool {
    let mut chunk = [0; 1024];
    for buffer in buffers {
        let mut addr = buffer.addr;
        let mut rest = usize::try_from(buffer.len).unwrap_or(0).min(left);
        left -= rest;
        while rest > 0 {
            let now = rest.min(chunk.len());
            let Some(bytes) = chunk.get_mut(..now) else {
                return false;
            };
            if !memory.read(addr, bytes) {
                return false;
            }
            sum.add(bytes);
            addr += now as u64;
            rest -= now;
        }
    }
    true
}
