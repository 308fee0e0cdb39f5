//! A model on the bus, with its thread, in front of a back-end.
use super::{
    testing::{MAC, frame},
    *,
};
use crate::{
    interrupt::DoorbellAddress::Pio,
    net::{
        ne2k,
        rtl8139::{Device, spec},
        testing::{EchoBackend, Traits},
    },
    virtio::testing::{TestMachine, eventually},
};

#[path = "doorbell_test.rs"]
mod doorbell;
#[path = "idle_test.rs"]
mod idle;
#[path = "kept_test.rs"]
mod kept;
#[path = "knock_test.rs"]
mod knock;

/// A NIC in a machine, and where its BARs are: ports and memory.
struct Bench {
    machine: TestMachine,
    slot: u8,
    ports: u64,
    registers: u64,
    backend: EchoBackend,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// An RTL8139C.
    fn new(cable: bool) -> Self {
        Self::plug(cable, |parts| Device::new(spec::C, parts, Instant::now()))
    }

    fn plug<M: Model>(cable: bool, build: impl FnOnce(Parts) -> M) -> Self {
        Self::plug_patient(cable, Duration::from_micros(50), build)
    }

    fn plug_patient<M: Model>(
        cable: bool,
        poll_idle: Duration,
        build: impl FnOnce(Parts) -> M,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let backend = EchoBackend::start(&path, Traits::default());
        let machine = TestMachine::new();
        let attachment = Attachment {
            target: crate::net::Target::Socket(path),
            mtu: None,
            cable,
            filter: None,
            lease: None,
        };
        let controller: Arc<dyn InterruptController> = Arc::clone(&machine.controller) as _;
        let plug = Plug {
            attachment: &attachment,
            mac: MAC,
            poll_idle,
            ram: &machine.ram,
            controller: &controller,
        };
        let slot = plug.attach(&machine.pci, build).unwrap();
        let bar = |register| u64::from(machine.config(slot, register) & !0xf);
        Self {
            slot,
            ports: bar(0x10),
            registers: bar(0x14),
            machine,
            backend,
            _dir: dir,
        }
    }

    fn master(&self, on: bool) {
        let command = self.machine.config(self.slot, 4) & !4;
        let bit = if on { 4 } else { 0 };
        self.machine.set_config(self.slot, 4, command | bit);
    }

    fn port_write(&self, register: u32, data: &[u8]) {
        let port = self.ports + u64::from(register);
        assert!(self.machine.pio.write(port, data));
    }

    fn isr(&self) -> u16 {
        let isr = self.registers + u64::from(spec::ISR);
        u16::from_le_bytes(self.machine.read(isr))
    }
}

#[test]
fn frames_go_round_by_way_of_the_back_end_through_both_bars() {
    let bench = Bench::new(true);
    let ram = &bench.machine.ram.map;
    bench.master(true);
    for (register, value) in [
        (spec::RBSTART, 0x4_0000u32),
        (spec::RCR, spec::RCR_APM | spec::RCR_WRAP),
        (spec::TSAD0, 0x8000),
    ] {
        bench.port_write(register, &value.to_le_bytes());
    }
    bench.port_write(spec::CR, &[spec::CR_TE | spec::CR_RE]);
    let wanted = spec::ISR_ROK | spec::ISR_TOK;
    bench.port_write(spec::IMR, &wanted.to_le_bytes());
    let mut at = 0;
    for round in 0..200u16 {
        let len = 60 + usize::from(round);
        assert!(ram.write(0x8000, &frame(len)));
        let status = bench.registers + u64::from(spec::TSD0 + 4 * u32::from(round % 4));
        let address = u32::from(round % 4) * 4 + spec::TSAD0;
        bench.port_write(address, &0x8000u32.to_le_bytes());
        let size = u32::from(round) + 60;
        bench.machine.write(status, &size.to_le_bytes());
        eventually("a frame came back", || bench.isr() == wanted);
        assert!(bench.machine.intx_level(bench.slot));
        let mut bytes = vec![0; len];
        assert!(ram.read(0x4_0000 + at + 4, &mut bytes));
        assert_eq!(bytes, frame(len));
        at = (at + (4 + len as u64 + 4).next_multiple_of(4)) % 8192;
        let [low, high, ..] = at.wrapping_sub(16).to_le_bytes();
        bench.port_write(spec::CAPR, &[low, high]);
        bench.port_write(spec::ISR, &wanted.to_le_bytes());
        assert!(!bench.machine.intx_level(bench.slot));
    }
}

/// What 8139too does under a stream: four buffers on their way, a ring of 32 KiB read frame by frame, ROK acknowledged with each.
#[test]
fn a_stream_of_frames_does_not_stall() {
    const FRAMES: u32 = 3000;
    const RING: u32 = 0x8000;
    let bench = Bench::new(true);
    let ram = &bench.machine.ram.map;
    bench.master(true);
    bench.port_write(spec::RBSTART, &0x4_0000u32.to_le_bytes());
    bench.port_write(spec::CR, &[spec::CR_TE | spec::CR_RE]);
    let rcr = spec::RCR_APM | spec::RCR_WRAP | 2 << 11;
    bench.port_write(spec::RCR, &rcr.to_le_bytes());
    for index in 0..4 {
        let address = 0x8000 + 0x800 * index;
        bench.port_write(spec::TSAD0 + 4 * index, &address.to_le_bytes());
    }
    let register = |offset: u32| bench.registers + u64::from(offset);
    let (mut started, mut done, mut received, mut read) = (0, 0, 0, 0u32);
    eventually("all frames came back", || {
        while started < FRAMES && started - done < 4 {
            let entry = started % 4;
            let bytes = frame(1000 + started as usize % 514);
            assert!(ram.write(u64::from(0x8000 + 0x800 * entry), &bytes));
            let size = u32::try_from(bytes.len()).unwrap();
            bench
                .machine
                .write(register(spec::TSD0 + 4 * entry), &size.to_le_bytes());
            started += 1;
        }
        while done < started {
            let status = bench.machine.read(register(spec::TSD0 + 4 * (done % 4)));
            if u32::from_le_bytes(status) & spec::TSD_TOK == 0 {
                break;
            }
            done += 1;
        }
        while bench.machine.read::<1>(register(spec::CR))[0] & spec::CR_BUFE == 0 {
            let at = 0x4_0000 + u64::from(read % RING);
            let mut header = [0; 4];
            assert!(ram.read(at, &mut header));
            let len = u32::from_le_bytes(header) >> 16;
            let mut bytes = vec![0; len as usize - 4];
            assert!(ram.read(at + 4, &mut bytes));
            assert_eq!(bytes, frame(1000 + received as usize % 514), "{received}");
            received += 1;
            read += (len + 4 + 3) & !3;
            let [low, high, ..] = read.wrapping_sub(16).to_le_bytes();
            bench.port_write(spec::CAPR, &[low, high]);
            bench.port_write(spec::ISR, &spec::ISR_ROK.to_le_bytes());
        }
        received == FRAMES
    });
    assert_eq!(done, FRAMES);
}

/// TSD0.
fn status(bench: &Bench) -> u32 {
    let at = bench.registers + u64::from(spec::TSD0);
    u32::from_le_bytes(bench.machine.read(at))
}

fn send_first(bench: &Bench) {
    bench.port_write(spec::CR, &[spec::CR_TE]);
    let at = bench.registers + u64::from(spec::TSD0);
    bench.machine.write(at, &60u32.to_le_bytes());
}

#[test]
fn a_nic_without_cable_shows_it_and_sends_nothing() {
    let bench = Bench::new(false);
    let media = bench.registers + u64::from(spec::MSR);
    let [media] = bench.machine.read(media);
    assert_ne!(media & spec::MSR_LINKB, 0);
    bench.master(true);
    send_first(&bench);
    eventually("the frame is gone", || status(&bench) & spec::TSD_OWN != 0);
    assert_ne!(status(&bench) & spec::TSD_CRS, 0);
    // The back-end was told to bring nothing, either.
    for ring in 0..2 {
        let disabled = format!("SET_VRING_ENABLE {ring} false");
        let enabled = format!("SET_VRING_ENABLE {ring} true");
        assert!(bench.backend.asked(&disabled) && !bench.backend.asked(&enabled));
    }
}

#[test]
fn the_bus_master_bit_stops_a_nic() {
    let bench = Bench::new(true);
    bench.master(false);
    send_first(&bench);
    // An unmapped address would be an error, were it looked at.
    assert_eq!(status(&bench) & spec::TSD_OWN, 0);
    bench.master(true);
    eventually("the frame is sent", || status(&bench) & spec::TSD_OWN != 0);
    assert_ne!(status(&bench) & spec::TSD_TOK, 0);
}

/// An RTL8029AS as ne2k-pci sets it up: ring from 0x4c to 0x80, transmit buffer at 0x4000.
fn ne2000() -> Bench {
    let bench = Bench::plug(true, ne2k::Device::new);
    let own = MAC.0;
    for (register, bytes) in [
        (0, &[0x21, 0x4c, 0x80, 0x4c][..]),
        (0xc, &[0x04, 0, 0x49, 0]),
        (0, &[0x61, own[0], own[1], own[2]]),
        (4, &[own[3], own[4], own[5], 0x4d]),
        (0, &[0x22]),
        (0xf, &[0x3f]),
    ] {
        bench.port_write(register, bytes);
    }
    bench
}

impl Bench {
    fn port_read(&self, register: u32) -> u8 {
        let mut byte = [0];
        let port = self.ports + u64::from(register);
        assert!(self.machine.pio.read(port, &mut byte));
        byte[0]
    }

    /// RSAR, RBCR and the command.
    fn remote(&self, at: u16, len: usize, command: u8) {
        let len = u16::try_from(len).unwrap();
        self.port_write(8, &at.to_le_bytes());
        self.port_write(0xa, &len.to_le_bytes());
        self.port_write(0, &[command]);
    }

    fn strings_in(&self, at: u16, len: usize) -> Vec<u8> {
        self.remote(at, len, 0x0a);
        let mut bytes = vec![0; len.next_multiple_of(4)];
        let port = self.ports + 0x10;
        // As KVM brings it: by the kibibyte.
        for part in bytes.chunks_mut(1024) {
            assert!(self.machine.pio.read_repeated(port, 4, part));
        }
        bytes.truncate(len);
        bytes
    }
}

#[test]
fn an_ne2000_moves_frames_by_string_instructions() {
    let bench = ne2000();
    let mut at = 0x4d;
    for round in 0..200usize {
        let bytes = frame(60 + 4 * round);
        bench.remote(0x4000, bytes.len(), 0x12);
        let port = bench.ports + 0x10;
        for part in bytes.chunks(680) {
            assert!(bench.machine.pio.write_repeated(port, 4, part));
        }
        let len = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        bench.port_write(4, &[0x40, len[0], len[1], 0xff]);
        bench.port_write(0, &[0x26]);
        eventually("a frame came back", || {
            bench.port_write(0, &[0x62]);
            let current = bench.port_read(7);
            bench.port_write(0, &[0x22]);
            current != at
        });
        eventually("the line is up", || bench.machine.intx_level(bench.slot));
        let start = u16::from(at) << 8;
        let header = bench.strings_in(start, 4);
        let len = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let received = bench.strings_in(start + 4, len - 4);
        assert_eq!(received, bytes, "round {round}");
        let read = at;
        at = header[1];
        bench.port_write(3, &[if at == 0x4c { read } else { at - 1 }]);
    }
}

#[test]
fn writes_to_quiet_ports_are_kept_while_nobody_could_notice() {
    let bench = ne2000();
    let kept = || bench.machine.controller.kept.lock().unwrap().clone();
    let ranges = |base: u64| {
        let base = u16::try_from(base).unwrap();
        [0x03..0x07, 0x08..0x0c, 0x10..0x18u16]
            .map(|ports| (Pio(base + ports.start), u32::from(ports.end - ports.start)))
    };
    assert_eq!(kept(), ranges(bench.ports));
    // Remote DMA interrupts: who waits for that must not wait for another access.
    bench.port_write(0xf, &[0x7f]);
    assert_eq!(kept(), []);
    bench.port_write(0xf, &[0x3f]);
    assert_eq!(kept(), ranges(bench.ports));
    let elsewhere = bench.ports + 0x100;
    let value = u32::try_from(elsewhere).unwrap();
    bench.machine.set_config(bench.slot, 0x10, value);
    assert_eq!(kept(), ranges(elsewhere));
    // I/O decoding off.
    let command = bench.machine.config(bench.slot, 4) & !1;
    bench.machine.set_config(bench.slot, 4, command);
    assert_eq!(kept(), []);
}
