//! Where frames go while something is handled.
use crate::counters::Counters;
use crate::meta::{FrameMeta, Output};

/// Counts what is sent.
pub(super) struct Counting<'a> {
    out: &'a mut dyn Output,
    frames: u64,
    bytes: u64,
}

impl<'a> Counting<'a> {
    pub(super) fn new(out: &'a mut dyn Output) -> Self {
        Self {
            out,
            frames: 0,
            bytes: 0,
        }
    }

    pub(super) fn add_to(&self, counters: &mut Counters) {
        counters.frames_out += self.frames;
        counters.bytes_out += self.bytes;
    }
}

impl Output for Counting<'_> {
    fn emit(&mut self, len: usize, meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        let sent = self.out.emit(len, meta, fill);
        if sent {
            self.frames += 1;
            self.bytes += len as u64;
        }
        sent
    }

    fn room(&mut self) -> usize {
        self.out.room()
    }

    fn room_for(&mut self, len: usize) -> usize {
        self.out.room_for(len)
    }
}

/// For what sends nothing.
pub(super) struct Nowhere;

impl Output for Nowhere {
    fn emit(&mut self, _: usize, _: FrameMeta, _: &mut dyn FnMut(&mut [u8])) -> bool {
        false
    }

    fn room(&mut self) -> usize {
        0
    }
}
