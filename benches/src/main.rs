//! `vu-gen`: frames through a vhost-user switch, from one socket to another.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use benches::{
    Endpoint, Format, FrameKind, FrontEnd, Load, Options, Pages, Report, Role, one_way,
    pin_process, pin_thread,
};
use clap::{Parser, Subcommand};

/// Drives vhost-user back-ends: a traffic generator, and guests that do nothing.
#[derive(Debug, Parser)]
#[command(name = "vu-gen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends frames from one port to another and says how many came through.
    OneWay(OneWay),
    /// Attaches to ports, gives them receive buffers and stays silent until standard input ends.
    Attach(Attach),
}

#[derive(Debug, clap::Args)]
struct OneWay {
    /// Socket of the sending port.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// Socket of the receiving port.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Make the sockets and wait for the back-end to connect.
    #[arg(long)]
    listen: bool,
    /// Bytes of a frame without FCS, or `gso` for TCP segments of 64 KiB. Repeatable.
    #[arg(long, value_name = "BYTES", default_values = ["64", "256", "512", "1518", "gso"])]
    size: Vec<FrameKind>,
    /// Frames in a burst.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    burst: u16,
    /// Entries of each ring.
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue_size: u16,
    /// Seconds that are measured for each size.
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Seconds before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    warm_up: Duration,
    /// Compare every byte that comes out, and its order.
    #[arg(long)]
    verify: bool,
    /// Guest memory in huge pages of 2 MiB.
    #[arg(long)]
    huge_pages: bool,
    /// CPU that the generator is pinned to.
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    /// Process of the back-end, with `--backend-cpu`.
    #[arg(long, value_name = "PID", requires = "backend_cpu")]
    backend_pid: Option<u32>,
    /// CPU that the back-end, its threads and children are pinned to.
    #[arg(long, value_name = "CPU", requires = "backend_pid")]
    backend_cpu: Option<usize>,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Attach {
    /// Sockets of the ports.
    #[arg(required = true, value_name = "SOCKET")]
    sockets: Vec<PathBuf>,
    /// Entries of each ring.
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue_size: u16,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::OneWay(args) => measure(&args),
        Command::Attach(args) => attach(&args),
    }
}

fn measure(args: &OneWay) -> anyhow::Result<()> {
    if let Some(cpu) = args.cpu {
        pin_thread(cpu)?;
    }
    if let (Some(pid), Some(cpu)) = (args.backend_pid, args.backend_cpu) {
        pin_process(pid, cpu)?;
    }
    let role = if args.listen {
        Role::Listen
    } else {
        Role::Connect
    };
    let from = Endpoint::open(&args.from, role)?;
    let to = Endpoint::open(&args.to, role)?;
    if let Some(heading) = Report::heading(args.format) {
        println!("{heading}");
    }
    let mut failed = None;
    for &frame in &args.size {
        match measure_size(args, frame, &from, &to) {
            Ok(report) => println!("{}", report.line(args.format)),
            Err(error) => {
                // The other sizes may still go through: a back-end need not know GSO.
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

fn measure_size(
    args: &OneWay,
    frame: FrameKind,
    from: &Endpoint,
    to: &Endpoint,
) -> anyhow::Result<Report> {
    let pages = if args.huge_pages {
        Pages::Huge
    } else {
        Pages::Normal
    };
    let options = Options {
        queue_size: args.queue_size,
        frame,
        pages,
    };
    // Attached anew for each size: what one size leaves in caches and rings is no help to the next.
    let mut sender = FrontEnd::meet(from, options)?;
    let mut receiver = FrontEnd::meet(to, options)?;
    let load = Load {
        frame,
        burst: args.burst,
        warm_up: args.warm_up,
        time: args.seconds,
        verify: args.verify,
    };
    let measured = one_way(&mut sender, &mut receiver, &load)?;
    Ok(Report { frame, measured })
}

fn attach(args: &Attach) -> anyhow::Result<()> {
    let options = Options {
        queue_size: args.queue_size,
        frame: FrameKind::Plain(1518),
        pages: Pages::Normal,
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
