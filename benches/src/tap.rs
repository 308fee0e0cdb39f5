//! The kernel's own way between two guests, as something to compare with: a bridge between two taps.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    Content, FrameKind,
    latency::{Times, nanoseconds, times},
    sys,
};

/// Longest frame.
const ROOM: usize = 65536;
/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries with the first frame: a bridge's ports take a while until they forward.
const AGAIN: Duration = Duration::from_millis(50);

/// A tap that exists, seen from the guest's side.
#[derive(Debug)]
pub struct Tap {
    file: File,
    room: Box<[u8]>,
}

impl Tap {
    /// Attaches to the tap `interface`.
    pub fn open(interface: &str) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("opening /dev/net/tun")?;
        sys::attach_tap(&file, interface)
            .with_context(|| format!("attaching to the tap {interface}"))?;
        let room = vec![0; ROOM].into_boxed_slice();
        Ok(Self { file, room })
    }

    /// Sleeps until a frame of ours comes; returns its number. `None`: none has within `patience`.
    fn receive(&mut self, content: &Content, patience: Duration) -> anyhow::Result<Option<u64>> {
        let start = Instant::now();
        while let Some(left) = patience.checked_sub(start.elapsed()) {
            let mut fd = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fd, PollTimeout::try_from(left)?)? == 0 {
                return Ok(None);
            }
            let len = self.file.read(&mut self.room)?;
            // The kernel has things to say too: neighbours, groups.
            if let Some(number) = content.number_of(self.room.get(..len).unwrap_or_default()) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

/// Like [`crate::from_idle`], from one tap to another.
pub fn tap_to_tap(
    mut from: Tap,
    mut to: Tap,
    frame: FrameKind,
    (gap, count): (Duration, u32),
) -> anyhow::Result<Times> {
    let content = Content::new(frame)?;
    let bytes = content.frame(0);
    let start = Instant::now();
    loop {
        from.file.write_all(&bytes).context("writing to the tap")?;
        if to.receive(&content, AGAIN)?.is_some() {
            break;
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "no frame came through: are both taps up and ports of one bridge?"
        );
    }
    while to.receive(&content, AGAIN)?.is_some() {}
    let epoch = Instant::now();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut times = times()?;
            while times.len() < u64::from(count) {
                let stamp = to
                    .receive(&content, PATIENCE)?
                    .context("a frame was lost")?;
                times.saturating_record(nanoseconds(epoch.elapsed()).saturating_sub(stamp));
            }
            anyhow::Ok(times)
        });
        for _ in 0..count {
            thread::sleep(gap);
            let bytes = content.frame(nanoseconds(epoch.elapsed()));
            from.file.write_all(&bytes).context("writing to the tap")?;
        }
        let received = receiver.join();
        received.map_err(|_| anyhow!("the receiver panicked"))?
    })
}
