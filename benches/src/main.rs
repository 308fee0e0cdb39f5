//! `vu-gen`: frames through a vhost-user switch, from one socket to another.

mod cli;

use std::io::{self, Read, Write};

use anyhow::{Context, ensure};
use benches::{
    Endpoint, FrameKind, FrontEnd, LatencyReport, Load, Options, Pages, Report, Role, StreamGuest,
    StreamLoad, StreamOptions, StreamReport, Tap, copying, distance, from_idle, pin_process,
    pin_thread, ping_pong, stream, tap_to_tap, throughput,
};
use clap::Parser;
use cli::{
    Attach, Cli, Command, Copying, Distance, Latency, Placement, Rings, Sockets, Stream, Throughput,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Throughput(args) => measure_throughput(&args),
        Command::Latency(args) => measure_latency(&args),
        Command::Stream(args) => measure_stream(&args),
        Command::Copying(args) => measure_copying(&args),
        Command::Distance(args) => measure_distance(&args),
        Command::Attach(args) => attach(&args),
    }
}

fn measure_throughput(args: &Throughput) -> anyhow::Result<()> {
    place(&args.placement)?;
    let sockets = open(&args.sockets)?;
    heading(Report::heading(args.format));
    each(&args.size, |frame| {
        // Attached anew for each size: what one size leaves in caches and rings is no help to the next.
        let mut ends = meet(&sockets, &args.rings, frame)?;
        let load = Load {
            frame,
            burst: args.burst,
            both_ways: args.both_ways,
            flows: args.flows,
            stations: args.stations,
            warm_up: args.warm_up,
            time: args.seconds,
            verify: args.verify,
            window: args.window,
            yields: args.yields,
            first_pair: args.first_pair,
        };
        let measured = throughput(&mut ends, &load)?;
        Ok(Report { frame, measured }.line(args.format))
    })
}

fn measure_latency(args: &Latency) -> anyhow::Result<()> {
    place(&args.placement)?;
    heading(LatencyReport::heading(args.format));
    let rhythm = (args.gap, args.count);
    if let [from, to] = args.tap.as_slice() {
        return each(&args.size, |frame| {
            let times = tap_to_tap(Tap::open(from)?, Tap::open(to)?, frame, rhythm)?;
            Ok(LatencyReport { frame, times }.line(args.format))
        });
    }
    let sockets = open(&args.sockets)?;
    each(&args.size, |frame| {
        let [first, second] = meet(&sockets, &args.rings, frame)?
            .try_into()
            .map_err(|_| anyhow::anyhow!("latency is measured between one --from and one --to"))?;
        let times = if args.idle {
            from_idle(first, second, frame, rhythm)?
        } else {
            ping_pong(first, second, frame, (args.warm_up, args.seconds))?
        };
        Ok(LatencyReport { frame, times }.line(args.format))
    })
}

fn measure_stream(args: &Stream) -> anyhow::Result<()> {
    place(&args.placement)?;
    let socket = Endpoint::open(&args.port, role(args.listen))?;
    let options = StreamOptions {
        queue_size: args.queues.queue_size,
        pages: pages(args.queues.huge_pages),
        packed: args.queues.packed,
    };
    let load = StreamLoad {
        server: args.server,
        address: args.address,
        mac: args.mac,
        gateway: args.gateway,
        warm_up: args.warm_up,
        time: args.seconds,
    };
    heading(StreamReport::heading(args.format));
    let streamed = stream(&mut StreamGuest::meet(&socket, options)?, &load)
        .with_context(|| format!("TCP to {}", args.server))?;
    println!("{}", StreamReport(streamed).line(args.format));
    Ok(())
}

fn measure_copying(args: &Copying) -> anyhow::Result<()> {
    place(&args.placement)?;
    heading(Report::heading(args.format));
    each(&args.size, |frame| {
        let measured = copying(frame, pages(args.huge_pages), args.seconds)?;
        Ok(Report { frame, measured }.line(args.format))
    })
}

fn measure_distance(args: &Distance) -> anyhow::Result<()> {
    let cpus = args.cpus.as_slice().try_into();
    println!(
        "{}",
        distance(cpus.context("two CPUs are needed")?)?.as_nanos()
    );
    Ok(())
}

fn attach(args: &Attach) -> anyhow::Result<()> {
    // A port has seven descriptors.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let options = Options {
        queue_size: args.queue_size,
        ..Options::new(FrameKind::Plain(1518))
    };
    let mut ports = Vec::new();
    for socket in &args.sockets {
        let mut port = FrontEnd::meet(&Endpoint::open(socket, Role::Connect)?, options)?;
        port.post_buffers();
        ports.push(port);
    }
    println!("{} ports attached", ports.len());
    io::stdout().flush()?;
    io::stdin()
        .read_to_end(&mut Vec::new())
        .context("waiting for the end of standard input")?;
    Ok(())
}

fn place(placement: &Placement) -> anyhow::Result<()> {
    if let Some(cpu) = placement.cpu {
        pin_thread(cpu)?;
    }
    if let (Some(pid), Some(cpu)) = (placement.backend_pid, placement.backend_cpu) {
        pin_process(pid, cpu)?;
    }
    Ok(())
}

/// The sockets, pair by pair.
fn open(sockets: &Sockets) -> anyhow::Result<Vec<Endpoint>> {
    ensure!(
        !sockets.from.is_empty() && sockets.from.len() == sockets.to.len(),
        "say --from and --to, each as often as there are pairs"
    );
    let role = role(sockets.listen);
    let pairs = sockets.from.iter().zip(&sockets.to);
    pairs
        .flat_map(|(from, to)| [from, to])
        .map(|path| Endpoint::open(path, role))
        .collect()
}

fn meet(sockets: &[Endpoint], rings: &Rings, frame: FrameKind) -> anyhow::Result<Vec<FrontEnd>> {
    let options = Options {
        queue_size: rings.queues.queue_size,
        frame,
        pages: pages(rings.queues.huge_pages),
        mergeable: rings.mergeable,
        packed: rings.queues.packed,
    };
    sockets
        .iter()
        .map(|socket| FrontEnd::meet(socket, options))
        .collect()
}

fn role(listen: bool) -> Role {
    if listen { Role::Listen } else { Role::Connect }
}

fn pages(huge: bool) -> Pages {
    if huge { Pages::Huge } else { Pages::Normal }
}

fn heading(text: Option<String>) {
    if let Some(text) = text {
        println!("{text}");
    }
}

/// Prints a line for each size. Where one fails the others may still go through: a back-end need not know GSO.
fn each(
    sizes: &[FrameKind],
    mut measure: impl FnMut(FrameKind) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let mut failed = None;
    for &frame in sizes {
        match measure(frame) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("vu-gen: frames of {frame} bytes: {error:#}");
                failed = Some(frame);
            }
        }
        io::stdout().flush()?;
    }
    match failed {
        Some(frame) => anyhow::bail!("no figure for {frame}: see above"),
        None => Ok(()),
    }
}
