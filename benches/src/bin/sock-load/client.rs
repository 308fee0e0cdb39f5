//! Who asks.
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::MESSAGE;

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer times count as this: one minute in nanoseconds.
const MOST: u64 = 60_000_000_000;

fn open(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0x5a; MESSAGE];
    stream.write_all(&bytes)?;
    stream.read_exact(&mut bytes)
}

/// A connection that was used once.
fn asked(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = open(server)?;
    ask(&mut stream)?;
    Ok(stream)
}

/// One connection from its beginning to its end, which is the server's doing.
fn once(server: SocketAddr) -> io::Result<()> {
    let mut stream = open(server)?;
    ask(&mut stream)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// One connection after the other, several at once.
pub(crate) fn connect(
    server: SocketAddr,
    concurrency: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let one = move || -> anyhow::Result<(Histogram<u64>, u64)> {
        let mut times = Histogram::new_with_bounds(1, MOST, 3)?;
        let mut failed = 0;
        while begun.elapsed() < time {
            let start = Instant::now();
            match once(server) {
                Ok(()) => {
                    times.saturating_record(
                        u64::try_from(start.elapsed().as_nanos()).unwrap_or(MOST),
                    );
                }
                Err(_) => failed += 1,
            }
        }
        Ok((times, failed))
    };
    let threads: Vec<_> = (0..concurrency).map(|_| thread::spawn(one)).collect();
    let mut times = Histogram::<u64>::new_with_bounds(1, MOST, 3)?;
    let mut failed = 0;
    for thread in threads {
        let Ok(done) = thread.join() else {
            bail!("a thread has ended badly");
        };
        let (more, refused) = done?;
        times.add(&more)?;
        failed += refused;
    }
    ensure!(!times.is_empty(), "all {failed} connections failed");
    let seconds = begun.elapsed().as_secs_f64();
    let micros = |quantile| times.value_at_quantile(quantile) / 1000;
    println!(
        "{}\t{seconds:.6}\t{}\t{}\t{failed}",
        times.len(),
        micros(0.5),
        micros(0.99)
    );
    Ok(())
}

/// Bytes written at once.
const PIECE: usize = 128 << 10;

/// One connection as fast as it goes, for `warm_up` and then for the `time` that is measured.
pub(crate) fn send(server: SocketAddr, warm_up: Duration, time: Duration) -> anyhow::Result<()> {
    let mut stream = open(server)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let bytes = vec![0x5a; PIECE];
    let mut write_for = |time| -> anyhow::Result<(u64, Duration)> {
        let (begun, mut written) = (Instant::now(), 0);
        while begun.elapsed() < time {
            stream.write_all(&bytes).context("writing")?;
            written += bytes.len() as u64;
        }
        Ok((written, begun.elapsed()))
    };
    write_for(warm_up)?;
    let (written, taken) = write_for(time)?;
    println!("{written}\t{:.6}", taken.as_secs_f64());
    Ok(())
}

/// Connections that do nothing.
pub(crate) fn hold(server: SocketAddr, count: usize) -> anyhow::Result<()> {
    let streams = (0..count)
        .map(|index| asked(server).with_context(|| format!("connection {index}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    println!("holding {}", streams.len());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// A connection with one question under way.
struct Flow {
    stream: TcpStream,
    /// Bytes of the answer that came.
    answered: usize,
}

impl Flow {
    /// Takes what came; true: the answer is complete.
    fn take(&mut self, bytes: &mut [u8]) -> anyhow::Result<bool> {
        let size = bytes.len();
        match self.stream.read(bytes) {
            Ok(0) => bail!("the server ended a connection"),
            Ok(len) => self.answered += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.answered >= size)
    }

    fn ask(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.answered = 0;
        // The socket's buffer is empty: what was sent before has been answered.
        self.stream.write_all(bytes)
    }
}

/// Questions on all connections, each as soon as the one before is answered.
pub(crate) fn talk(
    server: SocketAddr,
    count: usize,
    size: usize,
    time: Duration,
) -> anyhow::Result<()> {
    ensure!((1..=16 << 10).contains(&size), "1 to 16384 bytes");
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut flows = Vec::with_capacity(count);
    for index in 0..count {
        let stream = asked(server).with_context(|| format!("connection {index}"))?;
        stream.set_nonblocking(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        flows.push(Flow {
            stream,
            answered: 0,
        });
    }
    println!("open");
    io::stdin().read_line(&mut String::new())?;
    let mut bytes = vec![0x5a; size];
    let begun = Instant::now();
    for flow in &mut flows {
        flow.ask(&bytes)?;
    }
    let (mut exchanges, mut under_way) = (0_u64, count);
    let mut events = vec![EpollEvent::empty(); 256];
    let deadline = EpollTimeout::try_from(PATIENCE)?;
    while under_way > 0 {
        let found = epoll.wait(&mut events, deadline)?;
        ensure!(found > 0, "no answer for {PATIENCE:?}");
        for event in events.iter().take(found) {
            let index = usize::try_from(event.data())?;
            let flow = &mut flows[index];
            if !flow.take(&mut bytes)? {
                continue;
            }
            exchanges += 1;
            if begun.elapsed() < time {
                flow.ask(&bytes)?;
            } else {
                under_way -= 1;
            }
        }
    }
    println!("{exchanges}\t{:.6}", begun.elapsed().as_secs_f64());
    Ok(())
}
