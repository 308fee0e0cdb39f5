//! Register traces and rings, honest and hostile, against a wire that remembers.
#![allow(
    clippy::cast_possible_truncation,
    clippy::decimal_bitwise_operands,
    reason = "descriptors are put together from small numbers"
)]
use super::*;
use crate::{
    interrupt::IntxLine,
    net::{
        e1000::datapath::Burst,
        wire::{Offloads, Outgoing, Wire},
    },
};
use std::{collections::VecDeque, sync::atomic::AtomicBool};
use virtqueue::{DriverBuffer, NetHeader};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
const RAM: u64 = 1 << 20;
const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;
/// Descriptors of each ring.
const COUNT: u32 = 16;

#[derive(Default)]
struct Line(AtomicBool);

impl IntxLine for Line {
    fn set(&self, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

/// What was sent: header, head, buffers.
type Frame = (NetHeader, Vec<u8>, Vec<DriverBuffer>);

#[derive(Default)]
struct FakeWire {
    offloads: Offloads,
    sent: Vec<Frame>,
    flying: VecDeque<u64>,
    /// Tokens go to `flying` and stay there until this is set.
    done: bool,
    full: bool,
    incoming: VecDeque<(NetHeader, Vec<u8>)>,
    restarts: usize,
}

impl Wire for FakeWire {
    fn offloads(&self) -> Offloads {
        self.offloads
    }
    fn send(&mut self, frame: &Outgoing<'_>) -> bool {
        if self.full {
            return false;
        }
        self.sent
            .push((*frame.header, frame.head.to_vec(), frame.body.to_vec()));
        self.flying.push_back(frame.token);
        true
    }
    fn flush(&mut self) {}
    fn sent(&mut self) -> Option<u64> {
        self.flying.pop_front_if(|_| self.done)
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<NetHeader> {
        let (header, bytes) = self.incoming.pop_front()?;
        frame.clone_from(&bytes);
        Some(header)
    }
    fn restart(&mut self) {
        self.restarts += 1;
        self.flying.clear();
    }
}

struct Bench {
    device: Device,
    wire: FakeWire,
    memory: Arc<MemoryMap>,
    line: Arc<Line>,
    now: Instant,
    tail: u32,
}

impl Bench {
    fn new() -> Self {
        let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let memory = MemoryMap::from_guest_memory(1, &ram).unwrap();
        let line = Arc::new(Line::default());
        let intx = Arc::new(Intx::new(Arc::clone(&line) as _));
        let mut device = Device::new(MAC, true, Arc::clone(&memory), intx);
        device.set_bus_master(true);
        Self {
            device,
            wire: FakeWire {
                done: true,
                offloads: Offloads {
                    checksum: true,
                    tso4: true,
                    tso6: true,
                },
                ..FakeWire::default()
            },
            memory,
            line,
            now: Instant::now(),
            tail: 0,
        }
    }

    /// Rings of `COUNT` descriptors; all but one receive descriptor given away.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.program();
        bench
    }

    fn program(&mut self) {
        self.tail = 0;
        for index in 0..u64::from(COUNT) {
            let mut descriptor = [0; 16];
            let buffer = BUFFERS + index * 0x1000;
            descriptor[..8].copy_from_slice(&buffer.to_le_bytes());
            assert!(self.memory.write(RX_RING + 16 * index, &descriptor));
        }
        for (register, value) in [
            (spec::TDBAL, TX_RING as u32),
            (spec::TDLEN, COUNT * 16),
            (spec::TDH, 0),
            (spec::TDT, 0),
            (spec::TCTL, spec::TCTL_EN),
            (spec::RDBAL, RX_RING as u32),
            (spec::RDLEN, COUNT * 16),
            (spec::RDH, 0),
            (spec::RDT, COUNT - 1),
            (spec::VET, 0x8100),
            (spec::RXCSUM, spec::RXCSUM_IPOFLD | spec::RXCSUM_TUOFLD),
            (spec::RCTL, spec::RCTL_EN | spec::RCTL_BAM),
            (spec::IMS, u32::MAX),
        ] {
            self.write(register, value);
        }
    }

    fn read(&mut self, register: u32) -> u32 {
        self.device.read(register, self.now)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.device.write(register, value, self.now);
    }

    fn burst(&mut self) -> Burst {
        let burst = self.device.burst(&mut self.wire, self.now);
        if burst.restart {
            self.wire.restart();
            self.device.restarted();
        }
        burst
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.burst().busy {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Puts a transmit descriptor at the tail.
    fn push(&mut self, low: u64, high: u64) {
        let at = TX_RING + u64::from(self.tail) * 16;
        assert!(self.memory.write(at, &low.to_le_bytes()));
        assert!(self.memory.write(at + 8, &high.to_le_bytes()));
        self.tail = (self.tail + 1) % COUNT;
    }

    fn ring_doorbell(&mut self) {
        let tail = self.tail;
        self.write(spec::TDT, tail);
    }

    /// A legacy descriptor that reports.
    fn push_legacy(&mut self, addr: u64, len: u64, command: u8) {
        self.push(addr, len | u64::from(command | spec::TXD_RS) << 24);
    }

    fn tx_status(&self, index: u64) -> u8 {
        self.byte(TX_RING + 16 * index + 12)
    }

    fn byte(&self, at: u64) -> u8 {
        let mut byte = [0];
        assert!(self.memory.read(at, &mut byte));
        byte[0]
    }

    fn rx(&self, index: u64) -> (u16, u8, u8, u16) {
        let mut bytes = [0; 8];
        assert!(self.memory.read(RX_RING + 16 * index + 8, &mut bytes));
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        (half(0), bytes[4], bytes[5], half(6))
    }

    fn mdic(&mut self, op: u32, register: u32, data: u32) -> u32 {
        self.write(
            spec::MDIC,
            op << 26 | spec::PHY_ADDRESS << 21 | register << 16 | data,
        );
        self.read(spec::MDIC)
    }
}

fn frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    frame[..6].copy_from_slice(&MAC.0);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

#[test]
fn the_eeprom_is_right_by_both_ways() {
    let mut bench = Bench::new();
    let mut sum = 0u16;
    for index in 0..64 {
        bench.write(spec::EERD, index << 8 | spec::EERD_START);
        let answer = bench.read(spec::EERD);
        assert_ne!(answer & spec::EERD_DONE, 0);
        let word = (answer >> 16) as u16;
        sum = sum.wrapping_add(word);
        // Microwire, as Linux does it.
        let pins = spec::EECD_REQ | spec::EECD_CS;
        bench.write(spec::EECD, spec::EECD_REQ);
        assert_ne!(bench.read(spec::EECD) & spec::EECD_GNT, 0);
        for bit in (0..9).rev() {
            let di = if (0b110 << 6 | index) >> bit & 1 != 0 {
                spec::EECD_DI
            } else {
                0
            };
            for sk in [0, spec::EECD_SK, 0] {
                bench.write(spec::EECD, pins | di | sk);
            }
        }
        let mut serial = 0;
        for _ in 0..16 {
            bench.write(spec::EECD, pins | spec::EECD_SK);
            serial = serial << 1 | bench.read(spec::EECD) >> 3 & 1;
            bench.write(spec::EECD, pins);
        }
        assert_eq!(serial as u16, word, "word {index}");
    }
    assert_eq!(sum, 0xbaba);
    bench.write(spec::EERD, 0xff << 8 | spec::EERD_START);
    assert_eq!(bench.read(spec::EERD) >> 16, 0xffff, "beyond the chip");
}

#[test]
fn the_phy_shows_the_link_and_its_changes() {
    let mut bench = Bench::new();
    bench.write(spec::IMS, spec::ICR_LSC);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 2, 0) & 0xffff, 0x0141);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 1, 0) & 0x24, 0x24);
    assert_ne!(bench.read(spec::STATUS) & spec::STATUS_LU, 0);
    let now = bench.now;
    bench.device.set_link(false, now);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 1, 0) & 0x24, 0);
    assert_eq!(bench.read(spec::STATUS) & spec::STATUS_LU, 0);
    assert!(bench.line.0.load(Ordering::SeqCst));
    assert_eq!(bench.read(spec::ICR), spec::ICR_LSC);
    assert!(!bench.line.0.load(Ordering::SeqCst));
    // Any register, any address: an answer, and an error where nobody is.
    for register in 0..32 {
        bench.mdic(spec::MDIC_OP_WRITE, register, 0x7fff);
        assert_ne!(
            bench.mdic(spec::MDIC_OP_READ, register, 0) & spec::MDIC_R,
            0
        );
    }
    bench.write(spec::MDIC, 2 << 26 | 7 << 21);
    assert_ne!(bench.read(spec::MDIC) & spec::MDIC_E, 0);
}

#[test]
fn registers_keep_what_the_driver_may_write() {
    let mut bench = Bench::new();
    for (register, mask) in [
        (spec::RDBAL, 0xffff_fff0),
        (spec::RDLEN, 0x000f_ff80),
        (spec::RDH, 0xffff),
        (spec::RDT, 0xffff),
        (spec::TDBAH, 0xffff_ffff),
        (spec::FCRTH, 0xfff8),
        (spec::TIPG, 0x3fff_ffff),
        (spec::RA + 12, 0x8003_ffff),
        (spec::MTA + 4 * 127, 0xffff_ffff),
    ] {
        for pattern in [0x5a5a_5a5a, 0xa5a5_a5a5, 0, u32::MAX] {
            bench.write(register, pattern);
            assert_eq!(bench.read(register), pattern & mask, "{register:#x}");
        }
    }
    let status = bench.read(spec::STATUS);
    bench.write(spec::STATUS, !status);
    assert_eq!(bench.read(spec::STATUS), status, "read-only");
    bench.write(spec::CTRL, spec::CTRL_RST);
    assert_eq!(bench.read(spec::RDBAL), 0);
    assert_eq!(bench.read(spec::CTRL) & spec::CTRL_RST, 0);
    assert_eq!(bench.read(spec::RA), 0x0100_5452);
    // Every offset, also where nothing is.
    for offset in (0..spec::MEMORY_LEN as u32).step_by(4) {
        bench.write(offset, u32::MAX);
        bench.read(offset);
    }
}

#[test]
fn a_packet_leaves_uncopied_and_is_reported() {
    let mut bench = Bench::running();
    bench.wire.done = false;
    bench.push(0x8000, 100);
    bench.push_legacy(0x9000, 50, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(*header, NetHeader::default());
    assert!(head.is_empty());
    let parts: Vec<_> = body.iter().map(|b| (b.addr, b.len, b.writable)).collect();
    assert_eq!(parts, [(0x8000, 100, false), (0x9000, 50, false)]);
    assert_eq!((bench.tx_status(1), bench.read(spec::TDH)), (0, 0));
    bench.wire.done = true;
    bench.settle();
    assert_eq!((bench.tx_status(0), bench.tx_status(1)), (0, spec::TXD_DD));
    assert_eq!(bench.read(spec::TDH), 2);
    assert!(bench.line.0.load(Ordering::SeqCst));
    assert_eq!(bench.read(spec::ICR), spec::ICR_TXDW | spec::ICR_TXQE);
    assert_eq!(bench.read(spec::GPTC), 1);
    assert_eq!(bench.read(spec::GPTC), 0, "reading clears");
}

#[test]
fn a_full_wire_delays_and_loses_nothing() {
    let mut bench = Bench::running();
    bench.wire.full = true;
    for index in 0..10 {
        bench.push_legacy(0x8000 + index, 60, spec::TXD_EOP);
    }
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    bench.wire.full = false;
    bench.settle();
    let addresses: Vec<_> = bench.wire.sent.iter().map(|f| f.2[0].addr).collect();
    assert_eq!(addresses, (0x8000..0x800a).collect::<Vec<_>>());
    assert_eq!(bench.read(spec::TDH), 10);
}

/// Context descriptor for a TCP/IPv4 packet with 54 bytes of headers.
fn push_context(bench: &mut Bench, mss: u64, hdrlen: u64) {
    let low = 14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40;
    let command = u64::from(spec::TXD_DEXT | spec::TXD_TSE | spec::TUCMD_IP | spec::TUCMD_TCP);
    bench.push(low, command << 24 | hdrlen << 40 | mss << 48);
}

fn push_tso_data(bench: &mut Bench, addr: u64, len: u64) {
    let command = spec::TXD_DEXT | spec::TXD_TSE | spec::TXD_EOP | spec::TXD_RS;
    let options = u64::from(spec::POPTS_IXSM | spec::POPTS_TXSM);
    bench.push(
        addr,
        len | 1 << 20 | u64::from(command) << 24 | options << 40,
    );
}

/// A TCP/IPv4 header as a driver leaves it for segmentation.
fn tcp_header() -> Vec<u8> {
    let mut header = vec![0; 54];
    header[12..14].copy_from_slice(&[8, 0]);
    header[14] = 0x45;
    header[23] = 6;
    header[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    header[46] = 0x50;
    let mut sum = crate::net::wire::Sum::default();
    sum.add(&header[26..34]);
    sum.add(&[0, 6]);
    header[50..52].copy_from_slice(&sum.fold().to_be_bytes());
    header
}

#[test]
fn segmentation_leaves_as_one_frame_with_the_headers_that_linux_would_make() {
    let mut bench = Bench::running();
    assert!(bench.memory.write(0x8000, &tcp_header()));
    push_context(&mut bench, 1460, 54);
    push_tso_data(&mut bench, 0x8000, 54 + 20000);
    bench.ring_doorbell();
    bench.settle();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(header.gso, virtqueue::GsoType::TcpV4);
    assert!(header.needs_csum);
    assert_eq!(
        (header.gso_size, header.csum_start, header.csum_offset),
        (1460, 34, 16)
    );
    assert_eq!(header.hdr_len, 54);
    assert_eq!((body[0].addr, body[0].len), (0x8000 + 54, 20000));
    assert_eq!(head[16..18], 20040u16.to_be_bytes());
    let mut sum = crate::net::wire::Sum::default();
    sum.add(&head[14..34]);
    assert_eq!(sum.fold(), 0xffff, "IP checksum");
    let mut pseudo = crate::net::wire::Sum::default();
    pseudo.add(&head[26..34]);
    pseudo.add(&[0, 6]);
    pseudo.add(&20020u16.to_be_bytes());
    assert_eq!(head[50..52], pseudo.fold().to_be_bytes());
    assert_eq!(bench.tx_status(1), spec::TXD_DD);
    assert_eq!(bench.read(spec::TSCTC), 1);
}

#[test]
fn a_back_end_without_segmentation_gets_segments() {
    for checksum in [true, false] {
        let mut bench = Bench::running();
        bench.wire.offloads = Offloads {
            checksum,
            ..Offloads::default()
        };
        let mut packet = tcp_header();
        packet[38..42].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
        // FIN, PSH, ACK, CWR.
        packet[47] = 0x99;
        packet.extend((0..3500u32).map(|i| i.to_le_bytes()[0]));
        assert!(bench.memory.write(0x8000, &packet));
        push_context(&mut bench, 1460, 54);
        push_tso_data(&mut bench, 0x8000, packet.len() as u64);
        bench.ring_doorbell();
        bench.settle();
        assert_eq!(bench.wire.sent.len(), 3);
        assert_eq!(
            (bench.tx_status(1), bench.read(spec::TDH)),
            (spec::TXD_DD, 2)
        );
        let mut payload = Vec::new();
        for (index, (header, head, body)) in bench.wire.sent.iter().enumerate() {
            let mut frame = head.clone();
            for buffer in body {
                let mut bytes = vec![0; buffer.len as usize];
                assert!(bench.memory.read(buffer.addr, &mut bytes));
                frame.extend(bytes);
            }
            assert_eq!(header.needs_csum, checksum);
            assert_eq!(header.gso, virtqueue::GsoType::None);
            if checksum {
                assert!(crate::net::wire::replace_partial(&mut frame, 34, 16));
            }
            let field = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
            let len = if index == 2 { 580 } else { 1460 };
            assert_eq!((field(16), field(18)), (40 + len, index as u16));
            let sequence = u32::from(field(38)) << 16 | u32::from(field(40));
            assert_eq!(sequence, 0xffff_ff00u32.wrapping_add(1460 * index as u32));
            assert_eq!(frame[47], [0x90, 0x10, 0x19][index]);
            let mut ip = crate::net::wire::Sum::default();
            ip.add(&frame[14..34]);
            let mut tcp = crate::net::wire::Sum::default();
            tcp.add(&frame[26..34]);
            tcp.add(&[0, 6]);
            tcp.add(&(20 + len).to_be_bytes());
            tcp.add(&frame[34..]);
            assert_eq!((ip.fold(), tcp.fold()), (0xffff, 0xffff), "checksums");
            payload.extend_from_slice(&frame[54..]);
        }
        assert_eq!(payload, packet[54..]);
    }
}

#[test]
fn without_offloads_checksums_are_computed_here() {
    let mut bench = Bench::running();
    bench.wire.offloads = Offloads::default();
    let mut packet = tcp_header();
    packet.extend((0..101u8).collect::<Vec<_>>());
    let mut expected = packet.clone();
    assert!(crate::net::wire::replace_partial(&mut expected, 34, 16));
    assert!(bench.memory.write(0x8000, &packet));
    let len = packet.len() as u64;
    // Legacy: CSO 50, CSS 34. Two buffers, the first of odd length.
    let command = u64::from(spec::TXD_IC) << 24 | 50 << 16 | 34 << 40;
    bench.push(0x8000, 61 | command);
    let last = u64::from(spec::TXD_EOP | spec::TXD_RS) << 24;
    bench.push(0x8000 + 61, (len - 61) | command | last);
    bench.ring_doorbell();
    bench.settle();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(*header, NetHeader::default());
    assert_eq!(head[..], expected[..52]);
    assert_eq!(body[0].addr, 0x8000 + 52);
}

#[test]
fn tags_are_inserted_and_stripped() {
    let mut bench = Bench::running();
    let ctrl = bench.read(spec::CTRL);
    bench.write(spec::CTRL, ctrl | spec::CTRL_VME);
    let bytes = frame(80);
    assert!(bench.memory.write(0x8000, &bytes));
    let command = spec::TXD_EOP | spec::TXD_VLE | spec::TXD_RS;
    bench.push(0x8000, 80 | u64::from(command) << 24 | 0x2123 << 48);
    bench.ring_doorbell();
    bench.settle();
    let (_, head, body) = &bench.wire.sent[0];
    assert_eq!(head[..12], bytes[..12]);
    assert_eq!(head[12..], [0x81, 0x00, 0x21, 0x23]);
    assert_eq!((body[0].addr, body[0].len), (0x8000 + 12, 68));

    let mut tagged = bytes.clone();
    tagged.splice(12..12, [0x81, 0x00, 0x21, 0x23]);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), tagged.clone()));
    bench.settle();
    let (len, status, errors, special) = bench.rx(0);
    assert_eq!((len, errors, special), (84, 0, 0x2123));
    assert_ne!(status & spec::RXD_VP, 0);
    let mut stored = vec![0; 80];
    assert!(bench.memory.read(BUFFERS, &mut stored));
    assert_eq!(stored, bytes);

    // 13.5.4: the filter knows 4096 bits.
    bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_BAM | spec::RCTL_VFE);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), tagged.clone()));
    bench.settle();
    assert_eq!(bench.rx(1).1, 0, "not in the table");
    bench.write(spec::VFTA + 4 * (0x123 >> 5), 1 << (0x123 & 31));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), tagged));
    bench.settle();
    assert_ne!(bench.rx(1).1 & spec::RXD_DD, 0);
}

#[test]
fn frames_arrive_whole_in_as_many_buffers_as_they_need() {
    let mut bench = Bench::running();
    bench.write(
        spec::RCTL,
        spec::RCTL_EN | spec::RCTL_LPE | 3 << 16 | spec::RCTL_BSEX,
    );
    let long = frame(9014);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), long.clone()));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(20)));
    bench.settle();
    let mut stored = Vec::new();
    for index in 0..3 {
        let (len, status, errors, _) = bench.rx(index);
        assert_eq!(status & spec::RXD_EOP != 0, index == 2);
        assert_eq!(errors, 0);
        let mut part = vec![0; len.into()];
        assert!(bench.memory.read(BUFFERS + index * 0x1000, &mut part));
        stored.extend(part);
    }
    assert_eq!(stored.len(), 9014 + 4);
    assert_eq!(stored[..9014], long);
    assert_eq!(bench.rx(3).0, 64, "padded, with FCS");
    assert_eq!(bench.read(spec::RDH), 4);
    assert_ne!(bench.read(spec::ICR) & spec::ICR_RXT0, 0);
}

#[test]
fn filters_take_what_the_driver_asked_for() {
    let mut bench = Bench::running();
    let arrives = |bench: &mut Bench, destination: [u8; 6]| {
        bench.program();
        bench.write(spec::MPC, 0);
        let mut bytes = frame(60);
        bytes[..6].copy_from_slice(&destination);
        bench.wire.incoming.push_back((NetHeader::default(), bytes));
        bench.settle();
        bench.read(spec::RDH) == 1
    };
    let group = [0x01, 0, 0x5e, 0, 0, 0x16];
    assert!(arrives(&mut bench, MAC.0));
    assert!(arrives(&mut bench, [0xff; 6]));
    assert!(!arrives(&mut bench, [0x52, 0x54, 0, 9, 9, 9]));
    assert!(!arrives(&mut bench, group));
    // MO 00b: bits 47:36 of the address.
    let hash = u32::from(u16::from_le_bytes([group[4], group[5]])) >> 4 & 0xfff;
    bench.write(spec::MTA + 4 * (hash >> 5), 1 << (hash & 31));
    assert!(arrives(&mut bench, group));
    assert!(!arrives(&mut bench, [0x01, 0, 0x5e, 0, 0, 0x26]));
}

#[test]
fn oversize_frames_are_counted_and_refused() {
    let mut bench = Bench::running();
    for len in [1515, 9014, 16384] {
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(len)));
    }
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.read(spec::ROC)), (0, 3));
    bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_LPE);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(16384)));
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.read(spec::ROC)), (0, 1));
}

#[test]
fn partial_checksums_are_completed_and_known_ones_told() {
    let mut bench = Bench::running();
    let mut packet = tcp_header();
    packet[..6].copy_from_slice(&MAC.0);
    packet.extend([7; 20]);
    let mut expected = packet.clone();
    assert!(crate::net::wire::replace_partial(&mut expected, 34, 16));
    let partial = NetHeader {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 16,
        ..NetHeader::default()
    };
    let senseless = NetHeader {
        csum_start: 60000,
        ..partial
    };
    for header in [senseless, partial, NetHeader::default()] {
        bench.wire.incoming.push_back((header, packet.clone()));
    }
    bench.settle();
    assert_eq!(bench.read(spec::RDH), 2, "the senseless one is gone");
    let mut stored = vec![0; packet.len()];
    assert!(bench.memory.read(BUFFERS, &mut stored));
    assert_eq!(stored, expected);
    assert_ne!(bench.rx(0).1 & spec::RXD_TCPCS, 0);
    assert_eq!(bench.rx(1).1 & spec::RXD_TCPCS, 0);
}

#[test]
fn a_frame_waits_for_buffers() {
    let mut bench = Bench::running();
    bench.write(spec::RDT, 0);
    for _ in 0..3 {
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(60)));
    }
    bench.settle();
    assert_eq!(bench.wire.incoming.len(), 3);
    bench.write(spec::RDT, 2);
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.wire.incoming.len()), (2, 1));
    // A frame that turns out to need more than there is.
    bench.write(spec::RDT, 3);
    bench.write(spec::RCTL, spec::RCTL_EN | 3 << 16);
    bench.wire.incoming[0].1 = frame(600);
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.read(spec::RNBC)), (2, 1));
    bench.write(spec::RDT, 8);
    bench.settle();
    assert_eq!(bench.read(spec::RDH), 5);
}

#[test]
fn loopback_returns_what_was_sent_and_nothing_else() {
    let mut bench = Bench::running();
    bench.write(spec::RCTL, spec::RCTL_EN | 1 << 6);
    assert!(bench.memory.write(0x8000, &frame(100)));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.push_legacy(0x8000, 100, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.read(spec::RDH), 1);
    let mut stored = vec![0; 100];
    assert!(bench.memory.read(BUFFERS, &mut stored));
    assert_eq!(stored, frame(100));
    // More than the receive ring takes: CVE-2021-3416 was a recursion here.
    for _ in 0..8 {
        for _ in 0..COUNT - 1 {
            bench.push_legacy(0x8000, 100, spec::TXD_EOP);
        }
        bench.ring_doorbell();
        bench.settle();
    }
    assert_eq!(bench.read(spec::RDH), COUNT - 1);
}

#[test]
fn a_reset_with_packets_on_their_way_waits_for_the_wire() {
    let mut bench = Bench::running();
    bench.wire.done = false;
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    bench.write(spec::CTRL, spec::CTRL_RST);
    assert_ne!(bench.read(spec::CTRL) & spec::CTRL_RST, 0);
    bench.write(spec::RDLEN, 0x80);
    let late = bench.wire.flying.clone();
    bench.settle();
    assert_eq!(bench.wire.restarts, 1);
    assert_eq!(bench.read(spec::CTRL) & spec::CTRL_RST, 0);
    // A token of the past life changes nothing.
    bench.program();
    bench.wire.flying.extend(late);
    bench.wire.done = true;
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.wire.full = true;
    bench.ring_doorbell();
    bench.settle();
    assert_eq!((bench.tx_status(0), bench.read(spec::TDH)), (0, 0));
}

#[test]
fn nothing_moves_without_bus_mastering() {
    let mut bench = Bench::running();
    bench.device.set_bus_master(false);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!((bench.rx(0).1, bench.tx_status(0)), (0, 0));
}

// What bad-inputs.md lists for e1000.

#[test]
fn head_and_tail_beyond_the_ring_and_rings_of_nothing() {
    let mut bench = Bench::running();
    for (len, head, tail) in [
        (0, 0, 5),
        (COUNT * 16, 0, COUNT),
        (COUNT * 16, 0xffff, 3),
        (COUNT * 16, COUNT, COUNT - 1),
        (0xf_ff80, 3, 0xffff),
    ] {
        for (l, h, t) in [
            (spec::TDLEN, spec::TDH, spec::TDT),
            (spec::RDLEN, spec::RDH, spec::RDT),
        ] {
            bench.write(l, len);
            bench.write(h, head);
            bench.write(t, tail);
        }
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(60)));
        for _ in 0..200 {
            bench.burst();
        }
    }
    bench.write(spec::CTRL, spec::CTRL_RST);
    bench.settle();
    bench.program();
    bench.wire.sent.clear();
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1, "it works again");
}

#[test]
fn buffers_and_rings_outside_of_ram_are_never_touched() {
    let mut bench = Bench::running();
    for addr in [
        RAM,
        RAM - 10,
        0xfee0_0000,
        crate::layout::NIC_RINGS_START,
        u64::MAX - 5,
    ] {
        bench.push_legacy(addr, 60, spec::TXD_EOP);
    }
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.read(spec::TDH), 5, "dropped, and reported");
    // Receive: an error of the frame.
    assert!(bench.memory.write(RX_RING, &0xfee0_0000u64.to_le_bytes()));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.settle();
    assert_eq!(bench.rx(0).2, 0x80);
    // The rings themselves.
    for register in [spec::TDBAL, spec::RDBAL] {
        bench.write(register, 0xfee0_0000);
    }
    bench.write(spec::TDT, 9);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.settle();
}

#[test]
fn null_buffers_take_nothing_and_end() {
    let mut bench = Bench::running();
    for index in 0..u64::from(COUNT) {
        assert!(bench.memory.write(RX_RING + 16 * index, &[0; 16]));
    }
    let before = bench.byte(0);
    for _ in 0..40 {
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(60)));
    }
    bench.settle();
    assert_eq!(bench.read(spec::RDH), COUNT - 1);
    assert_eq!(bench.byte(0), before);
}

#[test]
fn a_packet_without_end_is_cut_off() {
    let mut bench = Bench::running();
    for _ in 0..100 {
        for _ in 0..COUNT - 1 {
            bench.push_legacy(0x8000, 100, 0);
        }
        bench.ring_doorbell();
        bench.settle();
    }
    assert!(bench.wire.sent.is_empty());
    let reported = bench.read(spec::ICR) & spec::ICR_TXDW;
    assert_ne!(reported, 0, "its descriptors came back");
    // The rest of it ends here; what follows is whole.
    bench.push(0x8000, 100 | u64::from(spec::TXD_EOP) << 24);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!(bench.wire.sent.last().unwrap().2[0].len, 60);
}

#[test]
fn segmentation_by_senseless_contexts_sends_nothing() {
    let mut bench = Bench::running();
    assert!(bench.memory.write(0x8000, &tcp_header()));
    for (mss, hdrlen, len) in [
        (0, 54, 3000),
        (1460, 0, 3000),
        (1460, 255, 3000),
        (1460, 54, 54),
        (1460, 54, 10),
        (1460, 53, 3000),
        (1460, 54, 0),
    ] {
        push_context(&mut bench, mss, hdrlen);
        push_tso_data(&mut bench, 0x8000, len);
        bench.ring_doorbell();
        bench.settle();
        assert!(bench.wire.sent.is_empty(), "{mss} {hdrlen} {len}");
        assert_eq!(bench.read(spec::TDH), bench.tail);
    }
    // 64 KiB and more: IP cannot name it.
    push_context(&mut bench, 1460, 54);
    push_tso_data(&mut bench, 0x8000, 65560);
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
}

#[test]
fn checksums_beyond_the_packet_are_not_asked_for() {
    let mut bench = Bench::running();
    assert!(bench.memory.write(0x8000, &tcp_header()));
    for (css, cso, tucse) in [
        (200u64, 210u64, 0u64),
        (60, 50, 0),
        (0, 255, 0),
        (34, 99, 10),
    ] {
        let context = u64::from(spec::TXD_DEXT) << 24;
        bench.push(css << 32 | cso << 40 | tucse << 48 | 255 << 16, context);
        let command = spec::TXD_DEXT | spec::TXD_EOP | spec::TXD_RS;
        let options = u64::from(spec::POPTS_IXSM | spec::POPTS_TXSM);
        bench.push(
            0x8000,
            100 | 1 << 20 | u64::from(command) << 24 | options << 40,
        );
        bench.ring_doorbell();
        bench.settle();
        let (header, ..) = bench.wire.sent.pop().unwrap();
        assert!(!header.needs_csum, "{css} {cso} {tucse}");
    }
}

#[test]
fn one_burst_has_a_budget() {
    let mut bench = Bench::running();
    bench.write(spec::RDT, COUNT - 1);
    for _ in 0..1000 {
        // Filtered frames cost time too.
        let mut stranger = frame(60);
        stranger[0] = 0x02;
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), stranger));
    }
    assert!(bench.burst().busy);
    assert_eq!(bench.wire.incoming.len(), 1000 - 32);
    // A ring as long as it can be, full of contexts: 4 KiB of them at a time.
    bench.write(spec::TDLEN, 0xf_ff80);
    bench.write(spec::TDBAL, 0);
    bench.write(spec::TDT, 0xfff);
    assert!(bench.burst().busy);
}

proptest::proptest! {
    #[test]
    fn no_register_trace_and_no_memory_makes_it_fail(
        memory in proptest::collection::vec(proptest::num::u8::ANY, 4096),
        trace in proptest::collection::vec((0u32..0x1800, proptest::num::u32::ANY), 1..60),
    ) {
        let mut bench = Bench::running();
        proptest::prop_assert!(bench.memory.write(TX_RING, &memory));
        for (register, value) in trace {
            bench.write(register * 4, value);
            bench.read(register * 4);
            bench.write(spec::TDT, value & 15);
            bench.wire.incoming.push_back((NetHeader::default(), frame(60 + (value & 0x1fff) as usize)));
            bench.burst();
        }
        // Whatever was sent lies in RAM.
        for (_, _, body) in &bench.wire.sent {
            for buffer in body {
                proptest::prop_assert!(buffer.addr + u64::from(buffer.len) <= RAM);
            }
        }
    }
}

#[test]
fn masking_wakes_the_thread_only_for_a_throttled_interrupt() {
    let mut bench = Bench::running();
    assert!(!bench.device.needs_thread(spec::IMS));
    assert!(bench.device.needs_thread(spec::TCTL));
    bench.write(spec::ITR, 1000);
    for _ in 0..2 {
        bench.write(spec::ICS, spec::ICR_RXT0);
        bench.read(spec::ICR);
    }
    bench.write(spec::ICS, spec::ICR_RXT0);
    assert!(bench.device.needs_thread(spec::IMS));
}
