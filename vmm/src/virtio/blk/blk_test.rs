use super::*;
use crate::virtio::testing::{Driver, TestMachine, readable, writable};
use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
};
use virtqueue::DriverQueue;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

/// A disk of eight sectors, each filled with its number plus one.
struct TempDisk {
    dir: tempfile::TempDir,
}

impl TempDisk {
    fn new() -> Self {
        let disk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut file = fs::File::create(disk.path()).unwrap();
        for sector in 1..=8 {
            file.write_all(&[sector; 512]).unwrap();
        }
        disk
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("a-disk.img")
    }
    fn image(&self, readonly: bool) -> Arc<Image> {
        Arc::new(Image::open(&self.path(), readonly).unwrap())
    }
    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }
}

/// A driver with its queue.
struct Guest<'m> {
    driver: Driver<'m>,
    queue: DriverQueue,
    header: u64,
    status: u64,
    data: u64,
}

impl<'m> Guest<'m> {
    fn new(machine: &'m TestMachine, disk: Block, features: u64) -> Self {
        let slot = machine.attach(disk);
        let mut driver = Driver::probe(machine, slot);
        driver.enable_msix();
        assert!(driver.negotiate(features | spec::F_VERSION_1));
        let queue = driver.queue(0, 64, features);
        driver.driver_ok();
        let (header, status, data) = (
            driver.allocate(16),
            driver.allocate(1),
            driver.allocate(1 << 16),
        );
        Self {
            driver,
            queue,
            header,
            status,
            data,
        }
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        assert!(self.driver.machine.ram.map.write(address, bytes));
    }

    fn get(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(self.driver.machine.ram.map.read(address, &mut bytes));
        bytes
    }

    /// Sends a request over `len` bytes of data; returns its status and the used length.
    fn request(&mut self, kind: u32, sector: u64, len: u32) -> (u8, u32) {
        let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.put(self.header, &header);
        self.put(self.status, &[0xee]);
        let mut buffers = vec![readable(self.header, 16)];
        // Two pieces, so that vectors are really used.
        let (first, second) = (len / 3, len - len / 3);
        let pieces = [(self.data, first), (self.data + 0x8000, second)];
        for (address, len) in pieces.into_iter().filter(|(_, len)| *len > 0) {
            buffers.push(if kind == OUT {
                readable(address, len)
            } else {
                writable(address, len)
            });
        }
        buffers.push(writable(self.status, 1));
        let used = self.driver.exchange(0, &mut self.queue, &buffers);
        self.driver.wait_vector(1);
        (self.get(self.status, 1)[0], used.written)
    }

    fn read_back(&self, len: usize) -> Vec<u8> {
        let first = len / 3;
        let mut data = self.get(self.data, first);
        data.extend(self.get(self.data + 0x8000, len - first));
        data
    }

    fn fill(&self, byte: u8) {
        self.put(self.data, &[byte; 0x4000]);
        self.put(self.data + 0x8000, &[byte; 0x4000]);
    }
}

#[test]
fn reads_sectors() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let mut guest = Guest::new(&machine, Block::new(disk.image(false)), F_FLUSH);
    assert_eq!(guest.request(IN, 2, 1024), (OK, 1025));
    assert_eq!(guest.read_back(1024), [[3; 512], [4; 512]].concat());
    assert_eq!(guest.request(IN, 7, 512), (OK, 513));
    assert_eq!(guest.read_back(512), [8; 512]);
}

#[test]
fn writes_sectors_and_flushes() {
    for features in [F_FLUSH, 0, F_FLUSH | spec::RING_FEATURES] {
        let (machine, disk) = (TestMachine::new(), TempDisk::new());
        let mut guest = Guest::new(&machine, Block::new(disk.image(false)), features);
        guest.fill(0xaa);
        assert_eq!(guest.request(OUT, 1, 1536), (OK, 1));
        assert_eq!(guest.request(FLUSH, 0, 0), (OK, 1));
        let bytes = disk.bytes();
        assert_eq!(bytes[..512], [1; 512]);
        assert_eq!(bytes[512..2048], [0xaa; 1536]);
        assert_eq!(bytes[2048..2560], [5; 512]);
        assert_eq!(bytes.len(), 4096);
    }
}

#[test]
fn refuses_what_is_not_on_the_disk() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let before = disk.bytes();
    let mut guest = Guest::new(&machine, Block::new(disk.image(false)), F_FLUSH);
    guest.fill(0xaa);
    for (sector, len) in [
        (8, 512),
        (7, 1024),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (1 << 55, 512),
        (0, 100),
        (0, 513),
    ] {
        assert_eq!(guest.request(OUT, sector, len).0, IOERR, "{sector} {len}");
        assert_eq!(guest.request(IN, sector, len).0, IOERR, "{sector} {len}");
    }
    for unknown in [2, 11, 13, 99, u32::MAX] {
        assert_eq!(guest.request(unknown, 0, 512).0, UNSUPP);
    }
    assert_eq!(disk.bytes(), before);
    assert_eq!(guest.request(IN, 0, 512).0, OK);
}

#[test]
fn survives_malformed_chains() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let mut guest = Guest::new(&machine, Block::new(disk.image(false)), 0);
    guest.put(guest.header, &[0; 16]);
    let (header, status) = (guest.header, guest.status);
    for (buffers, written) in [
        // No room for a status.
        (vec![readable(header, 16)], 0),
        (vec![readable(header, 16), writable(status, 0)], 0),
        // Half a header, no header.
        (vec![readable(header, 15), writable(status, 1)], 1),
        (vec![writable(status, 1)], 1),
    ] {
        guest.put(status, &[0xee]);
        let used = guest.driver.exchange(0, &mut guest.queue, &buffers);
        assert_eq!(used.written, written);
        guest.driver.wait_vector(1);
        let status = guest.get(status, 1)[0];
        assert_eq!(status, if written == 0 { 0xee } else { IOERR });
    }
    assert_eq!(guest.request(IN, 0, 512).0, OK);
}

#[test]
fn a_broken_ring_needs_reset_and_nothing_else() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let mut guest = Guest::new(&machine, Block::new(disk.image(false)), 0);
    // A buffer outside of memory is the driver's fault.
    assert!(guest.queue.add(&[readable(1 << 40, 16)], 1));
    assert!(guest.queue.publish());
    guest.driver.kick(0);
    crate::virtio::testing::eventually("NEEDS_RESET", || guest.driver.status() == 0x4f);
    assert!(guest.driver.negotiate(spec::F_VERSION_1));
    guest.queue = guest.driver.queue(0, 64, 0);
    guest.driver.driver_ok();
    assert_eq!(guest.request(IN, 0, 512).0, OK);
}

#[test]
fn a_file_that_shrinks_costs_the_request_only() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let mut guest = Guest::new(&machine, Block::new(disk.image(false)), F_FLUSH);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(disk.path())
        .unwrap();
    file.set_len(1024).unwrap();
    assert_eq!(guest.request(IN, 4, 512).0, IOERR);
    assert_eq!(guest.request(IN, 1, 1024).0, IOERR);
    assert_eq!(guest.request(IN, 1, 512).0, OK);
}

#[test]
fn a_readonly_disk_stays_as_it_is() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let before = disk.bytes();
    let block = Block::new(disk.image(true));
    assert_ne!(block.features() & F_RO, 0);
    let mut guest = Guest::new(&machine, block, F_RO);
    guest.fill(0xaa);
    assert_eq!(guest.request(OUT, 0, 512).0, IOERR);
    assert_eq!(guest.request(IN, 0, 512).0, OK);
    assert_eq!(disk.bytes(), before);
}

#[test]
fn tells_its_size_and_its_name() {
    let (machine, disk) = (TestMachine::new(), TempDisk::new());
    let mut guest = Guest::new(&machine, Block::new(disk.image(false)), F_FLUSH);
    let config = guest.driver.structures[&spec::CAP_DEVICE];
    assert_eq!(u64::from_le_bytes(machine.read(config)), 8);
    assert_eq!(u32::from_le_bytes(machine.read(config + 12)), SEG_MAX);
    assert_eq!(u32::from_le_bytes(machine.read(config + 20)), 512);
    assert_eq!(machine.read::<8>(config + 0xfc), [0; 8]);
    assert_eq!(guest.request(GET_ID, 0, 20).0, OK);
    assert_eq!(guest.read_back(20), b"a-disk.img\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn images_are_locked() {
    let disk = TempDisk::new();
    let writer = disk.image(false);
    let busy = |readonly| Image::open(&disk.path(), readonly).unwrap_err().to_string();
    assert!(busy(false).contains("in use by another process"));
    assert!(busy(true).contains("in use"));
    drop(writer);
    let reader = disk.image(true);
    let _second = disk.image(true);
    assert!(busy(false).contains("in use"));
    drop(reader);
}

#[test]
fn images_that_cannot_be_are_named() {
    let disk = TempDisk::new();
    let dir = disk.dir.path();
    fs::write(dir.join("small"), [0; 511]).unwrap();
    for (path, hint) in [
        (dir.join("missing"), "truncate -s 1G"),
        (dir.join("small"), "smaller than one sector"),
        (dir.to_path_buf(), "directory"),
        (disk.path().join("x"), "ot a directory"),
    ] {
        for readonly in [false, true] {
            let error = Image::open(&path, readonly).unwrap_err().to_string();
            assert!(
                error.contains(hint) || error.contains("irectory"),
                "{error}"
            );
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
    // The odd bytes at the end are out of reach, the rest is a disk.
    fs::write(dir.join("odd"), [0; 1025]).unwrap();
    assert_eq!(Image::open(&dir.join("odd"), false).unwrap().sectors(), 2);
    let mut file = fs::File::open(dir.join("odd")).unwrap();
    assert_eq!(file.read(&mut [0; 2048]).unwrap(), 1025);
}
