//! The front-end's end of a connection: sends anything, keeps what the daemon might use.
use crate::message::{Fd, Fds, MEMORY};
use nix::{
    fcntl::OFlag,
    sys::{
        eventfd::{EfdFlags, EventFd},
        memfd::{MFdFlags, memfd_create},
        socket::{ControlMessage, MsgFlags, recv, sendmsg},
    },
    unistd::pipe2,
};
use std::{
    fs::File,
    io::{IoSlice, Read},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// One connection, its guest memory and its kick.
pub(crate) struct Session {
    stream: UnixStream,
    memory: OwnedFd,
    file: File,
    kick: EventFd,
    call: EventFd,
}

fn memfd(size: u64) -> File {
    let file = File::from(memfd_create(c"fuzz", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.set_len(size).unwrap();
    file
}

impl Session {
    pub(crate) fn connect(socket: &Path) -> Self {
        let file = memfd(MEMORY);
        Self {
            stream: UnixStream::connect(socket).unwrap(),
            memory: file.try_clone().unwrap().into(),
            file,
            kick: EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap(),
            call: EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap(),
        }
    }

    fn open(&self, fd: Fd) -> OwnedFd {
        let duplicate = |fd: &dyn AsFd| fd.as_fd().try_clone_to_owned().unwrap();
        match fd {
            Fd::Memory => duplicate(&self.memory),
            Fd::Kick => duplicate(&self.kick.as_fd()),
            Fd::Call => duplicate(&self.call.as_fd()),
            Fd::ShortMemory => memfd(4096).into(),
            Fd::ReadEnd => pipe2(OFlag::O_NONBLOCK).unwrap().0,
            Fd::WriteEnd => pipe2(OFlag::O_NONBLOCK).unwrap().1,
            Fd::Null => File::open("/dev/null").unwrap().into(),
            Fd::Socket => UnixStream::pair().unwrap().0.into(),
        }
    }

    /// Sends bytes with fds; false: the daemon has hung up.
    pub(crate) fn send(&mut self, bytes: &[u8], fds: &Fds) -> bool {
        let owned: Vec<_> = fds.0.iter().map(|fd| self.open(*fd)).collect();
        let raw: Vec<_> = owned.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let bytes = if bytes.is_empty() { &[0][..] } else { bytes };
        let sent = sendmsg::<()>(
            self.stream.as_raw_fd(),
            &[IoSlice::new(bytes)],
            control,
            flags,
            None,
        );
        self.drain();
        sent.is_ok()
    }

    /// Takes the replies that are there.
    pub(crate) fn drain(&mut self) {
        let mut replies = [0; 4096];
        while let Ok(1..) = recv(
            self.stream.as_raw_fd(),
            &mut replies,
            MsgFlags::MSG_DONTWAIT,
        ) {}
    }

    pub(crate) fn kick(&self) {
        let _ = self.kick.write(1);
    }

    /// Writes into guest memory.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset % MEMORY).unwrap();
    }

    /// Says that nothing follows, and waits until the daemon hangs up too.
    pub(crate) fn end(mut self, deadline: Duration) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let begun = Instant::now();
        let mut replies = [0; 4096];
        loop {
            match self.stream.read(&mut replies) {
                Ok(0) => return,
                Ok(_) => {}
                // It hung up with something of ours unread.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(_) => thread::yield_now(),
            }
            assert!(begun.elapsed() < deadline, "the daemon does not hang up");
        }
    }
}
