//! Work of a known amount, for callgrind to count: `cargo xtask bench instructions`.
//!
//! `count rings split|packed BURSTS` lets chains go through a ring's two ends, each primitive in a function of its own name.
//! `count forward SIZE [mergeable] [packed] [stations] BURSTS` lets a network forward frames, a burst at a time: the datapath sleeps
//! in between, so that it never polls in vain and does the same for each burst. `stations`: among 2000 addresses.

use std::{
    hint::black_box,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use benches::{Endpoint, FrameKind, FrontEnd, Load, Options, Role, bursts};
use netbackend::network::{Network, NetworkSpec, PortSpec, PortTransport};
use virtqueue::{
    Burst, DeviceQueue, DriverBuffer, DriverQueue, MemoryMap, QueueConfig, RingFeatures,
    RingPosition,
};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const BURST: usize = 32;
/// Addresses behind each of two ports, when there are many.
const STATIONS: u32 = 1000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["rings", "split", count] => rings(false, count.parse()?),
        ["rings", "packed", count] => rings(true, count.parse()?),
        ["forward", size, words @ .., count] => {
            forward(&kind(size.parse()?, words)?, count.parse()?)
        }
        _ => bail!("count rings split|packed BURSTS | forward SIZE [WORD...] BURSTS"),
    }
}

/// What is forwarded, and between whom.
struct Kind {
    options: Options,
    load: Load,
}

fn kind(frame: FrameKind, words: &[&str]) -> anyhow::Result<Kind> {
    let mut kind = Kind {
        options: Options::new(frame),
        load: Load {
            burst: u16::try_from(BURST)?,
            ..Load::new(frame)
        },
    };
    for word in words {
        match *word {
            "mergeable" => kind.options.mergeable = true,
            "packed" => kind.options.packed = true,
            "stations" => kind.load.stations = STATIONS,
            other => bail!("{other:?} is none of mergeable, packed, stations"),
        }
    }
    Ok(kind)
}

fn rings(packed: bool, count: u32) -> anyhow::Result<()> {
    let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 4 << 20)])?;
    let mem = MemoryMap::from_guest_memory(1, &ram)?;
    let features = RingFeatures {
        packed,
        ..RingFeatures::default()
    };
    let config = QueueConfig {
        size: 256,
        desc: 0,
        avail: 0x1_0000,
        used: 0x2_0000,
        features,
        position: RingPosition::start(features),
    };
    let mut driver = DriverQueue::new(Arc::clone(&mem), &config)?;
    let mut device = DeviceQueue::new(mem, &config)?;
    let mut burst = Burst::new();
    for _ in 0..count {
        driver_add(&mut driver);
        device_pop(&mut device, &mut burst)?;
        device_complete(&mut device, &mut burst);
        driver_poll(&mut driver)?;
    }
    Ok(())
}

#[inline(never)]
fn driver_add(driver: &mut DriverQueue) {
    let buffer = DriverBuffer {
        addr: 0x10_0000,
        len: 76,
        writable: false,
    };
    for token in 0..BURST as u64 {
        let _ = black_box(driver.add(&[buffer], token));
    }
    let _ = black_box(driver.publish());
}

#[inline(never)]
fn device_pop(device: &mut DeviceQueue, burst: &mut Burst) -> anyhow::Result<()> {
    let popped = device.pop_burst(burst, BURST)?;
    ensure!(popped == BURST, "{popped} chains were popped");
    Ok(())
}

#[inline(never)]
fn device_complete(device: &mut DeviceQueue, burst: &mut Burst) {
    let _ = black_box(device.publish_all(burst));
    burst.clear();
}

#[inline(never)]
fn driver_poll(driver: &mut DriverQueue) -> anyhow::Result<()> {
    while let Some(used) = driver.poll_used()? {
        black_box(used);
    }
    Ok(())
}

fn forward(kind: &Kind, count: u32) -> anyhow::Result<()> {
    let directory = PathBuf::from(format!("/tmp/count-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let outcome = forward_in(&directory, kind, count);
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn forward_in(directory: &Path, kind: &Kind, count: u32) -> anyhow::Result<()> {
    let network = Network::start(NetworkSpec {
        name: "count".to_owned(),
        mode: switch::Mode::Bridge,
        mtu: 1500,
        ageing: Duration::from_mins(5),
        fdb_capacity_per_port: 1024,
        // To sleep at once.
        poll_idle: Duration::ZERO,
        workers: 1,
        cpus: Vec::new(),
        require_sealed_memory: false,
        isolate: false,
    })?;
    let mut ends = Vec::new();
    for name in ["from", "to"] {
        let path = directory.join(name);
        let listener = UnixListener::bind(&path).context("a socket in a new directory")?;
        let spec = PortSpec {
            name: name.to_owned(),
            role: switch::Role::Guest,
            mac: None,
            policy: control::PortPolicy::default(),
            queue_pairs: 1,
        };
        network.add_port(spec, PortTransport::VhostUser(listener))?;
        ends.push(FrontEnd::meet(
            &Endpoint::open(&path, Role::Connect)?,
            kind.options,
        )?);
    }
    let received = bursts(&mut ends, &kind.load, count)?;
    ensure!(
        received == u64::from(count) * BURST as u64,
        "{received} frames came"
    );
    network.stop();
    Ok(())
}
