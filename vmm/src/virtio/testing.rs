//! For tests: a machine without KVM, and a small virtio driver that does what Linux does, through
//! the same registers.
use super::{VirtioDevice, attach, spec::common};
use crate::{
    bus::Bus,
    interrupt::{DoorbellAddress, InterruptController, IntxLine, MsiMessage, MsiVector},
    memory::GuestRam,
    pci::{
        CONFIG_PORTS, CONFIG_PORTS_LEN, ConfigPorts, ECAM_LEN, Ecam, PciBus, Windows,
        spec as pci_spec,
    },
    wait::wait,
};
use std::{
    collections::HashMap,
    io,
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use virtqueue::{DriverBuffer, DriverQueue, QueueConfig, Used};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Where the test's ECAM lies.
pub(crate) const ECAM: u64 = 0xe000_0000;

/// Polls `condition` until it holds; panics when it does not in time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "timeout: {what}");
        std::thread::yield_now();
    }
}

pub(crate) struct FakeVector {
    event: EventFd,
    pub(crate) route: Mutex<Option<MsiMessage>>,
}

impl MsiVector for FakeVector {
    fn eventfd(&self) -> &EventFd {
        &self.event
    }
    fn set_route(&self, message: Option<MsiMessage>) -> io::Result<()> {
        *self.route.lock().unwrap() = message;
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct FakeLine(AtomicBool);

impl IntxLine for FakeLine {
    fn set(&self, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

/// An interrupt controller that remembers.
#[derive(Default)]
pub(crate) struct FakeController {
    pub(crate) vectors: Mutex<Vec<Arc<FakeVector>>>,
    lines: Mutex<HashMap<u8, Arc<FakeLine>>>,
    pub(crate) doorbells: Mutex<HashMap<u64, i32>>,
    /// Bytes that signal an event, and where.
    pub(crate) knocks: Mutex<Vec<(DoorbellAddress, u8, EventFd)>>,
    /// Where writes may be kept, and of how many bytes.
    pub(crate) kept: Mutex<Vec<(DoorbellAddress, u32)>>,
    /// Writes to memory that are kept: brought only when a thread asks for them.
    pub(crate) writes: Mutex<Vec<(u64, Vec<u8>)>>,
    /// Where they are brought.
    pub(crate) mmio: Bus,
    /// How often a thread has asked for them.
    pub(crate) asked: AtomicUsize,
}

impl InterruptController for FakeController {
    fn msi_vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        let vector = Arc::new(FakeVector {
            event: EventFd::new(EFD_NONBLOCK)?,
            route: Mutex::default(),
        });
        self.vectors.lock().unwrap().push(Arc::clone(&vector));
        Ok(vector)
    }
    fn intx(&self, slot: u8, _pin: u8) -> io::Result<Arc<dyn IntxLine>> {
        let mut lines = self.lines.lock().unwrap();
        Ok(Arc::clone(lines.entry(slot).or_default()) as _)
    }
    fn add_doorbell(&self, address: DoorbellAddress, event: &EventFd) -> io::Result<()> {
        let DoorbellAddress::Mmio(address) = address else {
            panic!("virtio doorbells are memory");
        };
        let old = self
            .doorbells
            .lock()
            .unwrap()
            .insert(address, event.as_raw_fd());
        assert_eq!(old, None, "two doorbells at {address:#x}");
        Ok(())
    }
    fn remove_doorbell(&self, address: DoorbellAddress, event: &EventFd) -> io::Result<()> {
        let DoorbellAddress::Mmio(address) = address else {
            panic!("virtio doorbells are memory");
        };
        let old = self.doorbells.lock().unwrap().remove(&address);
        assert_eq!(old, Some(event.as_raw_fd()), "no doorbell at {address:#x}");
        Ok(())
    }
    fn add_byte_doorbell(
        &self,
        address: DoorbellAddress,
        byte: u8,
        event: &EventFd,
    ) -> io::Result<()> {
        let event = event.try_clone()?;
        self.knocks.lock().unwrap().push((address, byte, event));
        Ok(())
    }
    fn remove_byte_doorbell(
        &self,
        address: DoorbellAddress,
        byte: u8,
        _event: &EventFd,
    ) -> io::Result<()> {
        let mut knocks = self.knocks.lock().unwrap();
        let index = knocks
            .iter()
            .position(|(at, what, _)| (*at, *what) == (address, byte));
        knocks.remove(index.unwrap());
        Ok(())
    }
    fn keep_writes(&self, at: DoorbellAddress, len: u32) -> io::Result<()> {
        self.kept.lock().unwrap().push((at, len));
        Ok(())
    }
    fn bring_writes(&self, at: DoorbellAddress, len: u32) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap();
        let index = kept.iter().position(|other| *other == (at, len)).unwrap();
        kept.remove(index);
        Ok(())
    }
    fn post_writes(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut writes = self.writes.lock().unwrap();
        for (addr, data) in writes.drain(..) {
            assert!(self.mmio.post(addr, &data), "{addr:#x}");
        }
    }
}

/// A machine without processors.
pub(crate) struct TestMachine {
    pub(crate) pio: Bus,
    pub(crate) mmio: Bus,
    pub(crate) pci: PciBus,
    pub(crate) ram: GuestRam,
    pub(crate) controller: Arc<FakeController>,
}

impl TestMachine {
    pub(crate) fn new() -> Self {
        Self::with_ram(GuestRam::new(32 << 20, false).unwrap())
    }

    pub(crate) fn with_ram(ram: GuestRam) -> Self {
        let (pio, mmio) = (Bus::default(), Bus::default());
        let windows = Windows {
            io: 0xc000..0xf000,
            memory32: 0xc000_0000..0xe000_0000,
            memory64: 0x40_0000_0000..0x48_0000_0000,
        };
        let pci = PciBus::new(pio.clone(), mmio.clone(), windows);
        let ports = Arc::new(Mutex::new(ConfigPorts::new(pci.clone())));
        pio.insert(CONFIG_PORTS, CONFIG_PORTS_LEN, ports).unwrap();
        let ecam = Arc::new(Mutex::new(Ecam::new(pci.clone())));
        mmio.insert(ECAM, ECAM_LEN, ecam).unwrap();
        Self {
            controller: Arc::new(FakeController {
                mmio: mmio.clone(),
                ..FakeController::default()
            }),
            pio,
            mmio,
            pci,
            ram,
        }
    }

    pub(crate) fn attach(&self, device: impl VirtioDevice + 'static) -> u8 {
        let controller: Arc<dyn InterruptController> = Arc::clone(&self.controller) as _;
        attach(&self.pci, Box::new(device), &self.ram, &controller).unwrap()
    }

    pub(crate) fn intx_level(&self, slot: u8) -> bool {
        let lines = self.controller.lines.lock().unwrap();
        lines[&slot].0.load(Ordering::SeqCst)
    }

    /// Reads configuration space through the ports.
    pub(crate) fn config(&self, slot: u8, register: u16) -> u32 {
        self.select(slot, register);
        let mut data = [0; 4];
        self.pio.read(CONFIG_PORTS + 4, &mut data);
        u32::from_le_bytes(data)
    }

    /// Writes configuration space through the ports.
    pub(crate) fn set_config(&self, slot: u8, register: u16, value: u32) {
        self.select(slot, register);
        self.pio.write(CONFIG_PORTS + 4, &value.to_le_bytes());
    }

    fn select(&self, slot: u8, register: u16) {
        let address = 1 << 31 | u32::from(slot) << 11 | u32::from(register & 0xfc);
        self.pio.write(CONFIG_PORTS, &address.to_le_bytes());
    }

    pub(crate) fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut data = [0; N];
        assert!(self.mmio.read(address, &mut data), "{address:#x}");
        data
    }

    pub(crate) fn write(&self, address: u64, data: &[u8]) {
        assert!(self.mmio.write(address, data), "{address:#x}");
    }
}

impl Drop for TestMachine {
    fn drop(&mut self) {
        self.pci.clear();
    }
}

/// A driver of one device.
pub(crate) struct Driver<'m> {
    pub(crate) machine: &'m TestMachine,
    pub(crate) slot: u8,
    /// Guest physical addresses of the structures, by `cfg_type`.
    pub(crate) structures: HashMap<u8, u64>,
    pub(crate) notify_multiplier: u32,
    pub(crate) msix_capability: u16,
    pub(crate) msix_table: u64,
    /// Bytes of guest memory given away.
    pub(crate) next_page: u64,
}

impl<'m> Driver<'m> {
    /// Walks the capabilities of the function in `slot`.
    pub(crate) fn probe(machine: &'m TestMachine, slot: u8) -> Self {
        assert_eq!(machine.config(slot, 0) & 0xffff, 0x1af4);
        let mut driver = Self {
            machine,
            slot,
            structures: HashMap::new(),
            notify_multiplier: 0,
            msix_capability: 0,
            msix_table: 0,
            next_page: 0x10_0000,
        };
        let mut at = u16::try_from(machine.config(slot, 0x34) & 0xff).unwrap();
        while at != 0 {
            let head = machine.config(slot, at).to_le_bytes();
            match head[0] {
                pci_spec::CAP_VENDOR => driver.note_structure(at, head[3]),
                pci_spec::CAP_MSIX => {
                    let table = machine.config(slot, at + 4);
                    driver.msix_capability = at;
                    driver.msix_table =
                        driver.bar(u8::try_from(table & 7).unwrap()) + u64::from(table & !7);
                }
                other => panic!("unexpected capability {other:#x}"),
            }
            at = u16::from(head[1]);
        }
        driver
    }

    fn note_structure(&mut self, at: u16, kind: u8) {
        let bar = self.machine.config(self.slot, at + 4).to_le_bytes()[0];
        let offset = self.machine.config(self.slot, at + 8);
        if kind == super::spec::CAP_NOTIFY {
            self.notify_multiplier = self.machine.config(self.slot, at + 16);
        }
        let address = self.bar(bar) + u64::from(offset);
        self.structures.insert(kind, address);
    }

    pub(crate) fn bar(&self, index: u8) -> u64 {
        let register = 0x10 + 4 * u16::from(index);
        let low = self.machine.config(self.slot, register);
        let high = self.machine.config(self.slot, register + 4);
        u64::from(high) << 32 | u64::from(low & !0xf)
    }

    pub(crate) fn common(&self, register: u64) -> u64 {
        self.structures[&super::spec::CAP_COMMON] + register
    }

    pub(crate) fn status(&self) -> u8 {
        self.machine.read::<1>(self.common(common::DEVICE_STATUS))[0]
    }

    pub(crate) fn set_status(&self, status: u8) {
        self.machine
            .write(self.common(common::DEVICE_STATUS), &[status]);
    }

    pub(crate) fn offered(&self) -> u64 {
        [0u32, 1].into_iter().fold(0, |features, select| {
            self.machine.write(
                self.common(common::DEVICE_FEATURE_SELECT),
                &select.to_le_bytes(),
            );
            let dword = self.machine.read(self.common(common::DEVICE_FEATURE));
            features | u64::from(u32::from_le_bytes(dword)) << (32 * select)
        })
    }

    pub(crate) fn accept(&self, features: u64) {
        for select in [0u32, 1] {
            self.machine.write(
                self.common(common::DRIVER_FEATURE_SELECT),
                &select.to_le_bytes(),
            );
            let bytes = features.to_le_bytes();
            let dword = &bytes[4 * select as usize..][..4];
            self.machine
                .write(self.common(common::DRIVER_FEATURE), dword);
        }
    }

    /// Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK; false: the device refuses.
    pub(crate) fn negotiate(&self, features: u64) -> bool {
        self.set_status(0);
        assert_eq!(self.status(), 0);
        self.set_status(1);
        self.set_status(3);
        self.accept(features);
        self.set_status(0xb);
        self.status() == 0xb
    }

    pub(crate) fn driver_ok(&self) {
        self.set_status(0xf);
        assert_eq!(self.status(), 0xf);
    }

    /// Enables MSI-X, with every vector open.
    pub(crate) fn enable_msix(&self) {
        let control = self.machine.config(self.slot, self.msix_capability);
        let vectors = u64::from(control >> 16 & 0x7ff) + 1;
        for vector in 0..vectors {
            let entry = self.msix_table + 16 * vector;
            self.machine.write(entry, &0xfee0_0000u32.to_le_bytes());
            self.machine.write(entry + 4, &[0; 4]);
            self.machine
                .write(entry + 8, &u32::try_from(vector).unwrap().to_le_bytes());
            self.machine.write(entry + 12, &[0; 4]);
        }
        self.machine
            .set_config(self.slot, self.msix_capability, control | 1 << 31);
    }

    /// Sets up queue `index` with MSI-X vector `index + 1` (0 is for configuration changes).
    pub(crate) fn queue(&mut self, index: u16, size: u16, features: u64) -> DriverQueue {
        let config = self.place(size, features);
        let queue = DriverQueue::new(Arc::clone(&self.machine.ram.map), &config).unwrap();
        self.configure_queue(index, &config);
        queue
    }

    /// Finds room for a ring.
    pub(crate) fn place(&mut self, size: u16, features: u64) -> QueueConfig {
        let (desc, avail, used) = DriverQueue::layout(size);
        let mut state = super::state::QueueState::new(size);
        state.desc = self.allocate(desc);
        state.avail = self.allocate(avail);
        state.used = self.allocate(used);
        state.config(features)
    }

    /// Tells the device of a ring, and enables it.
    pub(crate) fn configure_queue(&self, index: u16, config: &QueueConfig) {
        let put = |register, bytes: &[u8]| self.machine.write(self.common(register), bytes);
        put(common::QUEUE_SELECT, &index.to_le_bytes());
        put(common::QUEUE_SIZE, &config.size.to_le_bytes());
        put(common::QUEUE_MSIX_VECTOR, &(index + 1).to_le_bytes());
        let addresses = [
            (common::QUEUE_DESC, config.desc),
            (common::QUEUE_DRIVER, config.avail),
            (common::QUEUE_DEVICE, config.used),
        ];
        for (register, address) in addresses {
            let bytes = address.to_le_bytes();
            put(register, &bytes[..4]);
            put(register + 4, &bytes[4..]);
        }
        put(common::QUEUE_ENABLE, &1u16.to_le_bytes());
    }

    /// Guest memory, page aligned.
    pub(crate) fn allocate(&mut self, len: usize) -> u64 {
        let at = self.next_page;
        self.next_page += (len as u64).next_multiple_of(0x1000).max(0x1000);
        at
    }

    pub(crate) fn kick(&self, index: u16) {
        let doorbell = self.structures[&super::spec::CAP_NOTIFY]
            + u64::from(index) * u64::from(self.notify_multiplier);
        self.machine.write(doorbell, &index.to_le_bytes());
    }

    /// The eventfd behind a vector of this device, if it is the only one on the bus.
    pub(crate) fn vector(&self, index: usize) -> Arc<FakeVector> {
        Arc::clone(&self.machine.controller.vectors.lock().unwrap()[index])
    }

    pub(crate) fn wait_vector(&self, index: usize) {
        let vector = self.vector(index);
        assert_ne!(wait(&[vector.eventfd()], Some(PATIENCE)).unwrap(), 0);
        vector.eventfd().read().unwrap();
    }

    /// Adds a chain, kicks and waits for its completion.
    pub(crate) fn exchange(
        &self,
        index: u16,
        queue: &mut DriverQueue,
        buffers: &[DriverBuffer],
    ) -> Used {
        assert!(queue.add(buffers, 7));
        assert!(!queue.arm_calls(), "nothing is under way");
        if queue.publish() {
            self.kick(index);
        }
        let mut used = None;
        eventually("a used buffer", || {
            used = queue.poll_used().unwrap();
            used.is_some()
        });
        used.unwrap()
    }
}

/// A device-readable buffer.
pub(crate) fn readable(addr: u64, len: u32) -> DriverBuffer {
    DriverBuffer {
        addr,
        len,
        writable: false,
    }
}

/// A device-writable buffer.
pub(crate) fn writable(addr: u64, len: u32) -> DriverBuffer {
    DriverBuffer {
        addr,
        len,
        writable: true,
    }
}
