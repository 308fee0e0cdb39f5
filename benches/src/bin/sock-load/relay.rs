//! Who passes on what connections bring, and no more: the least that a program between two hosts can do.
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Context;

/// Bytes moved at once.
const PIECE: usize = 128 << 10;

/// Connects each connection that comes to a server, until it is killed.
pub(crate) fn relay(listen: SocketAddr, server: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listen at {listen}"))?;
    println!("listening");
    for near in listener.incoming() {
        let near = near.context("accept")?;
        let Ok(far) = TcpStream::connect(server) else {
            // Who came sees an end of the connection, and may try again.
            continue;
        };
        let ways = [(near.try_clone()?, far.try_clone()?), (far, near)];
        for (from, to) in ways {
            thread::spawn(move || pass_on(&from, &to));
        }
    }
    Ok(())
}

/// Until the connection ends; an error ends it both ways.
fn pass_on(from: &TcpStream, to: &TcpStream) {
    if copy(from, to).is_err() {
        for end in [from, to] {
            // Fails if it has ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let len = from.read(&mut piece)?;
        if len == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&piece[..len])?;
    }
}
