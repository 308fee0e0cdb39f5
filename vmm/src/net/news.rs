//! What a back-end says unasked: over a channel of its own, beside the connection (vhost-user.rst, "Back-end communication").
use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
};

/// Bytes of a header: request, flags, size of the body.
const HEADER_LEN: usize = 12;
/// Larger bodies are of no message that there is.
const MAX_BODY: usize = 0x1000;
/// Messages that are taken at once: the link has other things to look after.
const MAX_MESSAGES: usize = 64;

/// VHOST_USER_BACKEND_CONFIG_CHANGE_MSG: the device's configuration space is to be read again.
const CONFIG_CHANGE: u32 = 2;

const FLAGS_VERSION: u32 = 0x1;
const FLAGS_REPLY: u32 = 1 << 2;
const FLAGS_NEED_REPLY: u32 = 1 << 3;

/// Our end of the channel.
#[derive(Debug)]
pub(super) struct News(Arc<UnixStream>);

impl News {
    /// A channel, and the end that the back-end gets.
    pub(super) fn open() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        // What a back-end says in part, or does not listen to, must hold up nobody.
        ours.set_nonblocking(true)?;
        Ok((Self(Arc::new(ours)), theirs))
    }

    /// To wait for news.
    pub(super) fn stream(&self) -> Arc<UnixStream> {
        Arc::clone(&self.0)
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// The back-end has closed its end, or speaks nonsense.
    pub(super) fn take(&self) -> io::Result<()> {
        for _ in 0..MAX_MESSAGES {
            match self.take_one() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                taken => taken?,
            }
        }
        Ok(())
    }

    fn take_one(&self) -> io::Result<()> {
        let mut header = [0; HEADER_LEN];
        // A message is sent, and comes, in one piece.
        if (&*self.0).read(&mut header)? != HEADER_LEN {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let (request, flags, size) = (word(0), word(4), word(8));
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MAX_BODY || flags & 3 != FLAGS_VERSION {
            return Err(ErrorKind::InvalidData.into());
        }
        (&*self.0).read_exact(&mut vec![0; size])?;
        if flags & FLAGS_NEED_REPLY != 0 {
            self.answer(request)?;
        }
        Ok(())
    }

    fn answer(&self, request: u32) -> io::Result<()> {
        let refused = u64::from(request != CONFIG_CHANGE);
        let header = [request, FLAGS_VERSION | FLAGS_REPLY, 8].map(u32::to_ne_bytes);
        let reply = [&header.concat()[..], &refused.to_ne_bytes()].concat();
        (&*self.0).write_all(&reply)
    }
}
