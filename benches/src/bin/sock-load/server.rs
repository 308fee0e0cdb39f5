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
    service: Service,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// One answer, and its end.
    Once,
    /// Answers.
    Lasting,
    /// Nothing: what comes is thrown away.
    Sink,
}

/// Answers until it is killed.
pub(crate) fn serve(once: SocketAddr, lasting: SocketAddr, sink: SocketAddr) -> anyhow::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut listeners = HashMap::new();
    for (at, service) in [
        (once, Service::Once),
        (lasting, Service::Lasting),
        (sink, Service::Sink),
    ] {
        let listener = TcpListener::bind(at).with_context(|| format!("listen at {at}"))?;
        listener.set_nonblocking(true)?;
        let key = key(&listener);
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
        listeners.insert(key, (listener, service));
    }
    println!("listening");
    let mut connections = Connections::new();
    let mut bytes = vec![0; 128 << 10];
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(count) {
            if let Some((listener, service)) = listeners.get(&event.data()) {
                accept(&epoll, listener, *service, &mut connections)?;
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
    service: Service,
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
        connections.insert(key, Connection { stream, service });
    }
}

impl Connection {
    /// Sends back what came; false: the connection is over.
    fn answer(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read(bytes) {
            Ok(0) => false,
            Ok(_) if self.service == Service::Sink => true,
            // A question is much shorter than a socket's buffer: there is room for its answer.
            Ok(len) => {
                self.stream.write_all(&bytes[..len]).is_ok() && self.service == Service::Lasting
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}
