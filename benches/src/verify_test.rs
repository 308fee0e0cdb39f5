use super::*;
use crate::{FrameKind, memory::Memory, memory::Pages};

const AT: u64 = 0x1000;

struct Receiver {
    memory: Memory,
    content: Content,
    verifier: Verifier,
}

impl Receiver {
    fn new(kind: FrameKind) -> Self {
        let content = Content::new(kind).expect("a kind of frame");
        Self {
            memory: Memory::new(1 << 20, Pages::Normal).expect("a little memory"),
            verifier: Verifier::new(&content),
            content,
        }
    }

    fn frame(&self, number: u64) -> Vec<u8> {
        let payload = self.content.payload(number);
        let mut frame = [self.content.start(), &number.to_le_bytes(), payload].concat();
        // num_buffers
        frame[10] = 1;
        frame
    }

    fn receive(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        assert!(self.memory.map().write(AT, bytes));
        let len = u32::try_from(bytes.len())?;
        // As after an error nobody goes on, but these tests do.
        let mut verifier = self.verifier.clone();
        verifier.append(self.memory.map(), AT, len)?;
        verifier.check(&self.content, 1, u64::MAX)?;
        self.verifier = verifier;
        Ok(())
    }
}

#[test]
fn frames_in_order_pass_and_gaps_are_counted() {
    for kind in [FrameKind::Plain(60), FrameKind::Plain(1518), FrameKind::Gso] {
        let mut receiver = Receiver::new(kind);
        for number in [0, 1, 2, 5, 6, 300] {
            let frame = receiver.frame(number);
            receiver.receive(&frame).expect("a good frame");
        }
        assert_eq!(receiver.verifier.lost(), 2 + 293);
    }
}

#[test]
fn a_repeated_or_overtaken_frame_is_an_error() {
    let mut receiver = Receiver::new(FrameKind::Plain(64));
    for number in [0, 1, 2] {
        let frame = receiver.frame(number);
        receiver.receive(&frame).expect("a good frame");
    }
    for number in [2, 1] {
        let frame = receiver.frame(number);
        let error = receiver.receive(&frame).expect_err("an old number");
        assert!(error.to_string().contains("came after frame"), "{error}");
    }
}

#[test]
fn one_altered_byte_is_an_error_wherever_it_is() {
    let mut receiver = Receiver::new(FrameKind::Plain(128));
    let good = receiver.frame(0);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x15;
        assert!(receiver.receive(&bad).is_err(), "byte {at} was altered");
    }
    receiver.receive(&good).expect("a good frame");
}

#[test]
fn a_short_frame_is_an_error() {
    let mut receiver = Receiver::new(FrameKind::Plain(128));
    let good = receiver.frame(0);
    let short = &good[..good.len() - 1];
    assert!(receiver.receive(short).is_err());
}
