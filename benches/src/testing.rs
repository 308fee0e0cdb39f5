//! A back-end for tests, as bad as it is told to be. It copies every frame out of one front-end's ring and into another's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use virtqueue::{Burst, DeviceQueue};

use crate::{FrontEnd, Load, Measured, Options, Ring};

/// What the peer does to the frames of the first front-end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Nothing.
    None,
    /// Turns over a bit of one frame, at this place.
    Alter(usize),
    /// Keeps one frame for itself.
    Drop,
    /// Delivers one frame twice.
    Repeat,
    /// Lets one frame overtake the one before it.
    Swap,
    /// Delivers one frame with a number that is yet to come.
    Invent,
    /// Cuts the end off one frame.
    Cut,
    /// Says that one frame has a buffer more than it has.
    Miscount,
}

/// Which frame the defect is about. A ring takes more than that, however slow the machine.
const WHICH: usize = 100;
/// Where frames have their number: behind Ethernet, IPv4 and UDP headers.
const NUMBER_AT: usize = 12 + 14 + 20 + 8;

struct Port {
    tx: DeviceQueue,
    rx: DeviceQueue,
}

struct Peer {
    ports: Vec<Port>,
    burst: Burst,
    defect: Defect,
    /// Frames of the first front-end so far.
    seen: usize,
    held: Option<Vec<u8>>,
}

/// Measures through a peer with `defect`.
pub(crate) fn through(
    defect: Defect,
    options: Options,
    load: &Load,
    pairs: usize,
) -> anyhow::Result<Measured> {
    let ends = (0..2 * pairs).map(|_| FrontEnd::new(options));
    let mut ends: Vec<FrontEnd> = ends.collect::<anyhow::Result<_>>()?;
    let port = |end: &FrontEnd| {
        let queue = |ring: &Ring| {
            let map = Arc::clone(end.memory.map());
            DeviceQueue::new(map, &ring.config).expect("a ring in the front-end's memory")
        };
        Port {
            tx: queue(&end.tx),
            rx: queue(&end.rx),
        }
    };
    let mut peer = Peer {
        ports: ends.iter().map(port).collect(),
        burst: Burst::new(),
        defect,
        seen: 0,
        held: None,
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peer.round(&stop);
                thread::yield_now();
            }
        });
        let measured = crate::throughput(&mut ends, load);
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

impl Peer {
    fn round(&mut self, stop: &AtomicBool) {
        for from in 0..self.ports.len() {
            let frames = take(&mut self.ports[from].tx, &mut self.burst);
            for frame in frames {
                for frame in self.spoil(from, frame) {
                    let is_bad = from == 0 && self.seen == WHICH;
                    let more = u16::from(is_bad && self.defect == Defect::Miscount);
                    let rx = &mut self.ports[from ^ 1].rx;
                    deliver(rx, &mut self.burst, &frame, more, stop);
                }
            }
        }
    }

    /// What is delivered in place of a frame.
    fn spoil(&mut self, from: usize, mut frame: Vec<u8>) -> Vec<Vec<u8>> {
        if from != 0 {
            return vec![frame];
        }
        self.seen += 1;
        if let Some(held) = self.held.take() {
            return vec![frame, held];
        }
        if self.seen != WHICH {
            return vec![frame];
        }
        match self.defect {
            Defect::None | Defect::Miscount => {}
            Defect::Alter(at) => frame[at] ^= 4,
            Defect::Drop => return Vec::new(),
            Defect::Repeat => return vec![frame.clone(), frame],
            Defect::Swap => {
                self.held = Some(frame);
                return Vec::new();
            }
            // 251 * 256 further: the payload is the same again.
            Defect::Invent => {
                let mut number = [0; 8];
                number.copy_from_slice(&frame[NUMBER_AT..NUMBER_AT + 8]);
                let later = u64::from_le_bytes(number) + (251 << 20);
                frame[NUMBER_AT..NUMBER_AT + 8].copy_from_slice(&later.to_le_bytes());
            }
            Defect::Cut => {
                frame.pop();
            }
        }
        vec![frame]
    }
}

/// Takes all frames of a transmit ring.
fn take(tx: &mut DeviceQueue, burst: &mut Burst) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    tx.pop_burst(burst, Burst::MAX).expect("a good driver");
    for index in 0..burst.len() {
        let chain = burst.chain(index).expect("one that was popped");
        let mut frame = vec![0; chain.readable().len() as usize];
        chain.readable().read_at(0, &mut frame);
        frames.push(frame);
        tx.complete(chain.head(), 0);
    }
    burst.clear();
    let _ = tx.publish();
    frames
}

/// Writes a frame into as many buffers as it takes, and `more` than these into its header. Waits for room.
fn deliver(rx: &mut DeviceQueue, burst: &mut Burst, frame: &[u8], more: u16, stop: &AtomicBool) {
    let mut room = 0;
    while room < frame.len() {
        if rx.pop_burst(burst, 1).expect("a good driver") == 0 {
            if stop.load(Ordering::Relaxed) {
                burst.clear();
                return;
            }
            thread::yield_now();
            continue;
        }
        let newest = burst.chain(burst.len() - 1).expect("one that was popped");
        room += newest.writable().len() as usize;
    }
    let mut frame = frame.to_vec();
    let buffers = u16::try_from(burst.len()).expect("few") + more;
    frame[10..12].copy_from_slice(&buffers.to_le_bytes());
    let mut rest = frame.as_slice();
    for index in 0..burst.len() {
        let chain = burst.chain(index).expect("one that was popped");
        let written = chain.writable().write_at(0, rest);
        rest = &rest[written..];
        rx.complete(chain.head(), u32::try_from(written).expect("short"));
    }
    burst.clear();
    let _ = rx.publish();
}
