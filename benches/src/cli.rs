//! The command line of `vu-gen`.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use benches::{Format, FrameKind};
use clap::{Args, Parser, Subcommand, value_parser};

/// Drives vhost-user back-ends: a traffic generator, and guests that do nothing.
#[derive(Debug, Parser)]
#[command(name = "vu-gen", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends frames between pairs of ports and says how many came through.
    #[command(alias = "one-way")]
    Throughput(Throughput),
    /// Says how long frames take: back and forth, or out of an idle back-end.
    Latency(Latency),
    /// Is a guest of a NAT network that sends over TCP, in frames of up to 64 KiB to be segmented, and says how fast it was acknowledged.
    Stream(Stream),
    /// Copies as many bytes as frames have between two guests' memories, and does nothing else.
    Copying(Copying),
    /// Says how many nanoseconds a cache line takes from one CPU to another.
    Distance(Distance),
    /// Attaches to ports, gives them receive buffers and stays silent until standard input ends.
    Attach(Attach),
}

#[derive(Debug, Args)]
pub(crate) struct Throughput {
    #[command(flatten)]
    pub(crate) sockets: Sockets,
    #[command(flatten)]
    pub(crate) rings: Rings,
    #[command(flatten)]
    pub(crate) placement: Placement,
    /// Bytes of a frame without FCS, or `gso` for TCP segments of 64 KiB. Repeatable.
    #[arg(long, value_name = "BYTES", default_values = ["64", "256", "512", "1518", "gso"])]
    pub(crate) size: Vec<FrameKind>,
    /// Frames in a burst.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u16).range(1..))]
    pub(crate) burst: u16,
    /// Send from `--to` to `--from` as well.
    #[arg(long)]
    pub(crate) both_ways: bool,
    /// Source ports of each direction, which take turns.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub(crate) flows: u16,
    /// MAC addresses behind each port, which take turns.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub(crate) stations: u32,
    /// Hold frames back when so many are on their way in one direction; 0: only a full ring holds them back.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) window: u16,
    /// Leave the CPU to others while there is nothing to do: for a back-end on the same one.
    #[arg(long = "yield")]
    pub(crate) yields: bool,
    /// Number of the first pair, which its addresses are made from: of two generators on one network each has its own.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u8).range(..64))]
    pub(crate) first_pair: u8,
    /// Seconds that are measured for each size.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// Compare every byte that comes out, and its order.
    #[arg(long)]
    pub(crate) verify: bool,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) sockets: Sockets,
    #[command(flatten)]
    pub(crate) rings: Rings,
    #[command(flatten)]
    pub(crate) placement: Placement,
    /// Instead of sockets two taps, sender and receiver.
    #[arg(long, value_name = "INTERFACE", num_args = 2, conflicts_with_all = ["from", "to"])]
    pub(crate) tap: Vec<String>,
    /// Bytes of a frame without FCS. Repeatable.
    #[arg(long, value_name = "BYTES", default_values = ["64"])]
    pub(crate) size: Vec<FrameKind>,
    /// One way, after pauses in which the back-end and the receiver go to sleep; otherwise there and back, and everybody polls.
    #[arg(long)]
    pub(crate) idle: bool,
    /// Length of such a pause in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0.001", value_parser = seconds)]
    pub(crate) gap: Duration,
    /// How many frames are sent after pauses.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) count: u32,
    /// Seconds of going back and forth.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Stream {
    /// Where the stream goes, through the gateway; what listens there reads and throws away (`sock-load serve` at port 7102).
    #[arg(value_name = "ADDRESS:PORT")]
    pub(crate) server: SocketAddrV4,
    /// Socket of the guest's port.
    #[arg(long, value_name = "PATH")]
    pub(crate) port: PathBuf,
    /// Make the socket and wait for the back-end to connect.
    #[arg(long)]
    pub(crate) listen: bool,
    /// The guest's address, which it takes without asking.
    #[arg(long, default_value = "10.0.2.15")]
    pub(crate) address: Ipv4Addr,
    /// The guest's MAC address.
    #[arg(long, default_value = "52:54:00:00:00:0f", value_parser = mac)]
    pub(crate) mac: [u8; 6],
    /// Address of the gateway, which is asked for its MAC address by ARP.
    #[arg(long, value_name = "ADDRESS", default_value = "10.0.2.2")]
    pub(crate) gateway: Ipv4Addr,
    #[command(flatten)]
    pub(crate) queues: Queues,
    #[command(flatten)]
    pub(crate) placement: Placement,
    /// Seconds that are measured.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Copying {
    #[command(flatten)]
    pub(crate) placement: Placement,
    /// Bytes of a frame without FCS, or `gso` for TCP segments of 64 KiB. Repeatable.
    #[arg(long, value_name = "BYTES", default_values = ["64", "256", "512", "1518", "gso"])]
    pub(crate) size: Vec<FrameKind>,
    /// Seconds that are measured for each size.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Guest memory in huge pages of 2 MiB.
    #[arg(long)]
    pub(crate) huge_pages: bool,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Distance {
    /// The two CPUs.
    #[arg(required = true, num_args = 2, value_name = "CPU")]
    pub(crate) cpus: Vec<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Sockets of the ports.
    #[arg(required = true, value_name = "SOCKET")]
    pub(crate) sockets: Vec<PathBuf>,
    /// Entries of each ring.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) queue_size: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Sockets {
    /// Socket of the sending port. Repeatable: pairs share the generator's CPU.
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Vec<PathBuf>,
    /// Socket of the receiving port. Repeatable, as often as `--from`.
    #[arg(long, value_name = "PATH")]
    pub(crate) to: Vec<PathBuf>,
    /// Make the sockets and wait for the back-end to connect.
    #[arg(long)]
    pub(crate) listen: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rings {
    #[command(flatten)]
    pub(crate) queues: Queues,
    /// Mergeable receive buffers: 2 KiB each, and a frame takes as many as it needs, in both directions.
    #[arg(long)]
    pub(crate) mergeable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Queues {
    /// Entries of each ring.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) queue_size: u16,
    /// Packed rings that complete in order, instead of split ones.
    #[arg(long)]
    pub(crate) packed: bool,
    /// Guest memory in huge pages of 2 MiB.
    #[arg(long)]
    pub(crate) huge_pages: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Placement {
    /// CPU that the generator is pinned to.
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<usize>,
    /// Process of the back-end, with `--backend-cpu`.
    #[arg(long, value_name = "PID", requires = "backend_cpu")]
    pub(crate) backend_pid: Option<u32>,
    /// CPU that the back-end, its threads and children are pinned to.
    #[arg(long, value_name = "CPU", requires = "backend_pid")]
    pub(crate) backend_cpu: Option<usize>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let wrong = || "not a MAC address such as 52:54:00:00:00:0f".to_owned();
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    let bytes: [u8; 6] = bytes.try_into().map_err(|_| wrong())?;
    match bytes {
        [first, ..] if first & 1 == 0 => Ok(bytes),
        _ => Err("that is a group's MAC address".to_owned()),
    }
}
