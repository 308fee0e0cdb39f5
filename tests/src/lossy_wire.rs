//! A wire that loses frames and delivers some late (no netem on every kernel).
use crate::PacketSocket;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a frame is held back at most: the wire may be silent behind it.
const HELD: Duration = Duration::from_millis(5);
/// Frames that may overtake one.
const OVERTAKING: u64 = 16;

/// What happens to frames, in thousandths of them.
#[derive(Debug, Clone, Copy)]
pub struct Impairment {
    /// are lost
    pub lost: u64,
    /// are overtaken by up to 16 others
    pub late: u64,
}

/// Carries frames between two interfaces until it is dropped. They must have all offloads of transmission off at their far ends:
/// a frame is what fits a wire.
#[derive(Debug)]
pub struct LossyWire {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    carried: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
}

impl LossyWire {
    /// Begins to carry, both ways.
    pub fn between(ends: [PacketSocket; 2], impairment: Impairment) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let ends = ends.map(Arc::new);
        let [left, right] = &ends;
        let threads = [(left, right), (right, left)].map(|(from, to)| {
            let mut direction = Direction {
                from: Arc::clone(from),
                to: Arc::clone(to),
                impairment,
                // Not the same frames in each direction.
                random: if Arc::ptr_eq(from, left) { 1 } else { 2 },
                held: VecDeque::new(),
                counts: Arc::clone(&counts),
            };
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    direction.carry();
                }
            })
        });
        Self {
            stop,
            counts,
            threads: threads.into(),
        }
    }

    /// Frames that were carried, and of these lost and late ones.
    pub fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        (
            count(&counts.carried),
            count(&counts.lost),
            count(&counts.late),
        )
    }
}

impl Drop for LossyWire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A direction that panicked has said so; its test has failed for want of frames.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Direction {
    from: Arc<PacketSocket>,
    to: Arc<PacketSocket>,
    impairment: Impairment,
    random: u64,
    /// Late frames, and how many others are to overtake each.
    held: VecDeque<(u64, Vec<u8>)>,
    counts: Arc<Counts>,
}

impl Direction {
    /// Takes a frame, or finds that the wire is silent.
    fn carry(&mut self) {
        let Some(frame) = self.from.receive(Instant::now() + HELD) else {
            for (_, frame) in self.held.drain(..) {
                self.to.send(&frame);
            }
            return;
        };
        self.counts.carried.fetch_add(1, Ordering::Relaxed);
        let fate = self.random() % 1000;
        if fate < self.impairment.lost {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        } else if fate < self.impairment.lost + self.impairment.late {
            self.counts.late.fetch_add(1, Ordering::Relaxed);
            let overtaken = 1 + self.random() % OVERTAKING;
            self.held.push_back((overtaken, frame));
        } else {
            self.to.send(&frame);
            self.release();
        }
    }

    /// A frame has overtaken those that are held back.
    fn release(&mut self) {
        let to = &self.to;
        self.held.retain_mut(|(overtaken, frame)| {
            *overtaken -= 1;
            if *overtaken == 0 {
                to.send(frame);
            }
            *overtaken > 0
        });
    }

    /// Marsaglia, Xorshift RNGs (2003): the same sequence in each run.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}
