//! Bursts of packets from and to a queue of a tap.
//!
//! By io_uring: one system call for a burst. Where the kernel has none for us, one call for each packet. A packet socket has system
//! calls of its own for bursts.
use super::{
    super::sys::{self, IoVecs, MAX_IOVECS},
    BURST,
    frame::Outgoing,
    packet_socket::{self, PacketSocket},
    uring::{Results, Uring},
};
use arrayvec::ArrayVec;
use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
};
use tracing::info;
use virtqueue::{Burst, NET_HEADER_LEN};

/// The ring that bursts go through, and memory for them.
#[derive(Debug, Default)]
pub(super) struct TapIo {
    ring: Ring,
    socket: PacketSocket,
    vecs: IoVecs,
}

/// Which kind of file packets go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Tap,
    Socket,
}

impl Medium {
    pub(super) fn of(file: &File) -> Self {
        if packet_socket::is_socket(file) {
            Self::Socket
        } else {
            Self::Tap
        }
    }

    /// Bytes of the virtio-net header before a frame.
    fn header_len(self) -> usize {
        match self {
            Self::Tap => NET_HEADER_LEN,
            Self::Socket => packet_socket::HEADER_LEN,
        }
    }
}

#[derive(Debug, Default)]
enum Ring {
    /// Made for the first burst, by the thread that uses it.
    #[default]
    Unmade,
    Made(Box<Uring>),
    /// There is none to be had.
    None,
}

impl Ring {
    fn get(&mut self) -> Option<&mut Uring> {
        if let Self::Unmade = self {
            *self = match Uring::new() {
                Ok(ring) => Self::Made(Box::new(ring)),
                Err(error) => {
                    info!(%error, "no io_uring: taps take a system call for each frame");
                    Self::None
                }
            };
        }
        match self {
            Self::Made(ring) => Some(ring),
            Self::Unmade | Self::None => None,
        }
    }

    /// The results of what the ring has done; without any, it is not used again.
    fn take(&mut self, done: Option<Results>) -> Results {
        done.unwrap_or_else(|| {
            *self = Self::None;
            Results::new()
        })
    }
}

impl TapIo {
    /// Reads one packet into each of `buffers`; behind the last packet there is an error, usually `EAGAIN`.
    pub(super) fn read<'b>(
        &mut self,
        (file, medium): (&File, Medium),
        mut buffers: impl ExactSizeIterator<Item = &'b mut [u8]>,
    ) -> Results {
        if medium == Medium::Socket {
            return self.socket.read(file, buffers);
        }
        if buffers.len() > 1
            && let Some(ring) = self.ring.get()
        {
            let done = ring.read(file, buffers);
            return self.ring.take(done);
        }
        let mut results = Results::new();
        while let (false, Some(buffer)) = (results.is_full(), buffers.next()) {
            let result = read_one(file, buffer);
            let ended = result.is_err();
            results.push(result);
            if ended {
                break;
            }
        }
        results
    }

    /// Completes the packet of `len` bytes that the last read has put into its buffer `place`; the length that it has now.
    pub(super) fn finish(
        &self,
        medium: Medium,
        place: usize,
        packet: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        match medium {
            Medium::Tap => Some(len),
            Medium::Socket => self.socket.finish(place, packet, len),
        }
    }

    /// Writes `frames`, in order.
    pub(super) fn write(
        &mut self,
        (file, medium): (&File, Medium),
        frames: &[Outgoing<'_>],
        burst: &Burst,
        linear: &mut [u8],
    ) -> Results {
        let headers = frames.iter().map(|frame| frame.header().encode());
        let headers: ArrayVec<[u8; NET_HEADER_LEN], BURST> = headers.take(BURST).collect();
        let headers = headers
            .iter()
            .filter_map(|header| header.get(..medium.header_len()));
        let mut packets = ArrayVec::new();
        if frames.len() > 1 && self.gather(headers.clone(), frames, &mut packets) {
            if medium == Medium::Socket {
                let done = packet_socket::write(file, &mut self.vecs, &packets, burst);
                self.vecs.0.clear();
                return done;
            }
            if let Some(ring) = self.ring.get() {
                let done = ring.write(file, &self.vecs, &packets, burst);
                self.vecs.0.clear();
                return self.ring.take(done);
            }
        }
        self.vecs.0.clear();
        let frames = headers.zip(frames);
        frames
            .map(|(header, frame)| write_one(file, header, frame, burst, (&mut self.vecs, linear)))
            .collect()
    }

    /// False: a frame is not all there, or in too many pieces for one packet.
    fn gather<'h>(
        &mut self,
        headers: impl Iterator<Item = &'h [u8]>,
        frames: &[Outgoing<'_>],
        packets: &mut ArrayVec<Range<usize>, BURST>,
    ) -> bool {
        let vecs = &mut self.vecs;
        vecs.0.clear();
        headers.zip(frames).all(|(header, frame)| {
            let start = vecs.0.len();
            vecs.push(header);
            let whole = frame.gather(vecs);
            packets.push(start..vecs.0.len());
            whole && vecs.0.len() - start <= MAX_IOVECS
        })
    }
}

fn read_one(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn write_one(
    file: &File,
    header: &[u8],
    frame: &Outgoing<'_>,
    burst: &Burst,
    (vecs, linear): (&mut IoVecs, &mut [u8]),
) -> io::Result<usize> {
    vecs.0.clear();
    vecs.push(header);
    let mut whole = frame.gather(vecs);
    if vecs.0.len() > MAX_IOVECS {
        // A guest that sends by the byte pays for it with a copy.
        vecs.0.clear();
        vecs.push(header);
        let bytes = frame.linearize(linear);
        whole = bytes.is_some();
        vecs.push(bytes.as_deref().unwrap_or_default());
    }
    let written = if whole {
        sys::writev_guest(file, vecs, Some(burst))
    } else {
        Err(io::ErrorKind::InvalidData.into())
    };
    vecs.0.clear();
    written
}
