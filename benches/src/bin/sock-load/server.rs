//! Who answers.
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
};

use anyhow::Context;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Connections that lasted, by their descriptor.
type Connections = HashMap<u64, Connection>;

struct Connection {
    stream: TcpStream,
    /// It ends with its first answer.
    once: bool,
}

/// Answers until it is killed.
pub(crate) fn serve(once: SocketAddr, lasting: SocketAddr) -> anyhow::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut listeners = HashMap::new();
    for (at, once) in [(once, true), (lasting, false)] {
        let listener = TcpListener::bind(at).with_context(|| format!("listen at {at}"))?;
        listener.set_nonblocking(true)?;
        let key = key(&listener);
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
        listeners.insert(key, (listener, once));
    }
    println!("listening");
    let mut connections = Connections::new();
    let mut bytes = vec![0; 64 << 10];
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(count) {
            if let Some((listener, once)) = listeners.get(&event.data()) {
                accept(&epoll, listener, *once, &mut connections)?;
            } else if let Some(connection) = connections.get_mut(&event.data())
                && !connection.answer(&mut bytes)
            {
                // Its descriptor leaves the epoll set by being closed.
                connections.remove(&event.data());
            }
        }
    }
}

fn key(file: &impl AsRawFd) -> u64 {
    u64::try_from(file.as_raw_fd()).unwrap_or(u64::MAX)
}

fn accept(
    epoll: &Epoll,
    listener: &TcpListener,
    once: bool,
    connections: &mut Connections,
) -> anyhow::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error).context("accept"),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = key(&stream);
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
        connections.insert(key, Connection { stream, once });
    }
}

impl Connection {
    /// Sends back what came; false: the connection is over.
    fn answer(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read(bytes) {
            Ok(0) => false,
            // A question is much shorter than a socket's buffer: there is room for its answer.
            Ok(len) => self.stream.write_all(&bytes[..len]).is_ok() && !self.once,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}
