//! String instructions of a guest on the KVM of this machine.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex},
};

use vm_memory::{Bytes, GuestAddress};

use crate::{
    bus::{Bus, BusDevice},
    interrupt::{DoorbellAddress, InterruptController},
    kvm::{Exit, KvmInterrupts, Vcpu, Vm},
    memory::GuestRam,
    virtio::testing::eventually,
};

#[path = "kept_memory_test.rs"]
mod memory;
#[path = "kept_vcpus_test.rs"]
mod vcpus;

const CODE: u64 = 0x1000;
const OUT: u64 = 0x2000;
const IN: u64 = 0x3000;
/// Four ports of data, and one that ends the run.
const DATA: u16 = 0x1010;
const END: u16 = 0x1020;
/// Double words: more than KVM's ring holds twice.
const COUNT: u16 = 400;

/// What came, and in how many pieces.
#[derive(Default)]
struct Log {
    written: Vec<u8>,
    pieces: usize,
    reads: u32,
    /// Bytes that had come when the run ended.
    ended: Option<usize>,
}

struct Port(Arc<Mutex<Log>>);

impl BusDevice for Port {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        let mut log = self.0.lock().unwrap();
        data.copy_from_slice(&log.reads.to_le_bytes());
        log.reads += 1;
    }
    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut log = self.0.lock().unwrap();
        if offset == u64::from(END - DATA) {
            log.ended = Some(log.written.len());
        } else {
            log.written.extend(data);
            log.pieces += 1;
        }
    }
    fn write_repeated(&mut self, offset: u64, size: usize, data: &[u8]) {
        if offset != 0 {
            return self.write(offset, data);
        }
        assert!(size == 4 && data.len().is_multiple_of(4));
        let mut log = self.0.lock().unwrap();
        log.written.extend(data);
        log.pieces += 1;
    }
}

/// `rep outsd`, `rep insd`, and a byte to END.
fn code() -> Vec<u8> {
    let word = |opcode: u8, value: u16| {
        let [low, high] = value.to_le_bytes();
        [opcode, low, high]
    };
    let mut code = vec![0xFC]; // cld
    code.extend(word(0xBA, DATA)); // mov dx, DATA
    code.extend(word(0xBE, 0x2000)); // mov si, OUT
    code.extend(word(0xB9, COUNT)); // mov cx, COUNT
    code.extend([0xF3, 0x66, 0x6F]); // rep outsd
    code.extend(word(0xBF, 0x3000)); // mov di, IN
    code.extend(word(0xB9, COUNT)); // mov cx, COUNT
    code.extend([0xF3, 0x66, 0x6D]); // rep insd
    code.extend(word(0xBA, END)); // mov dx, END
    code.extend([0xEE, 0xEB, 0xFD]); // out dx, al; jmp out
    code
}

/// A vCPU in real mode, with devices.
struct Guest {
    ram: GuestRam,
    pio: Bus,
    mmio: Bus,
    interrupts: KvmInterrupts,
    vcpu: Vcpu,
    vm: Vm,
}

/// A vCPU that is about to run what is at `entry`.
fn vcpu(vm: &Vm, id: u8, entry: u64) -> Vcpu {
    let vcpu = vm.vcpu(id, 2).unwrap();
    let mut sregs = vcpu.fd.get_sregs().unwrap();
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.fd.set_sregs(&sregs).unwrap();
    let mut regs = vcpu.fd.get_regs().unwrap();
    (regs.rip, regs.rflags) = (entry, 2);
    vcpu.fd.set_regs(&regs).unwrap();
    vcpu
}

impl Guest {
    /// One that is about to run `code`. `None` where there is no KVM, which is said past the capture of test output.
    fn new(code: &[u8]) -> Option<Self> {
        if !Path::new("/dev/kvm").exists() {
            let _ = writeln!(io::stderr(), "NOT RUN: this machine has no /dev/kvm");
            return None;
        }
        let ram = GuestRam::new(32 << 20, false).unwrap();
        ram.mmap.write_slice(code, GuestAddress(CODE)).unwrap();
        let vm = Vm::new(ram.clone()).unwrap();
        let (pio, mmio) = (Bus::default(), Bus::default());
        let interrupts = KvmInterrupts::new(vm.fd(), vm.kept(), mmio.clone()).unwrap();
        Some(Self {
            ram,
            pio,
            mmio,
            interrupts,
            vcpu: vcpu(&vm, 0, CODE),
            vm,
        })
    }

    /// Has writes of four bytes kept; false: this KVM cannot.
    fn keep(&self, at: DoorbellAddress) -> bool {
        let kept = self.interrupts.keep_writes(at, 4);
        if let Err(error) = &kept {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            let _ = writeln!(io::stderr(), "NOT RUN: this KVM cannot keep writes");
        }
        kept.is_ok()
    }
}

/// Runs the guest; what its port saw.
fn run(keep: bool) -> Option<Log> {
    let mut guest = Guest::new(&code())?;
    let memory = &guest.ram.mmap;
    let out: Vec<u8> = (0..u32::from(COUNT)).flat_map(u32::to_le_bytes).collect();
    memory.write_slice(&out, GuestAddress(OUT)).unwrap();
    let log = Arc::new(Mutex::new(Log::default()));
    let port = Arc::new(Mutex::new(Port(Arc::clone(&log))));
    guest.pio.insert(DATA.into(), 0x20, port).unwrap();
    let at = DoorbellAddress::Pio(DATA);
    if keep && !guest.keep(at) {
        return None;
    }
    let mut exits = 0;
    while log.lock().unwrap().ended.is_none() {
        assert_eq!(guest.vcpu.run(&guest.pio, &guest.mmio), Exit::Again);
        exits += 1;
        assert!(exits < 2000, "it does not end");
    }
    if keep {
        guest.interrupts.bring_writes(at, 4).unwrap();
    }
    let mut read = vec![0; out.len()];
    memory.read_slice(&mut read, GuestAddress(IN)).unwrap();
    let log = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!(log.written, out, "each once and in order");
    assert_eq!(log.ended, Some(out.len()), "before what comes after them");
    assert_eq!(read, out);
    assert_eq!(log.reads, u32::from(COUNT));
    Some(log)
}

#[test]
fn string_instructions_lose_nothing() {
    run(false);
}

#[test]
fn kept_writes_cost_few_exits() {
    if let Some(log) = run(true) {
        assert!(log.pieces < 10, "{} pieces", log.pieces);
    }
}
