//! `sock-load`: many connections over sockets, and what they cost, through whatever lies between two hosts.

mod client;
mod paced;
mod relay;
mod server;

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Bytes of a request, and of its answer.
const MESSAGE: usize = 64;
/// The port after it is for connections that last, the one after that for what is thrown away.
const PORT: u16 = 7100;

/// Connections from here to a server there.
#[derive(Debug, Parser)]
#[command(name = "sock-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers at port 7100 once, and ends the connection; at port 7101 as often as it is asked; at port 7102 throws away
    /// what comes.
    Serve {
        /// Address to listen at.
        address: IpAddr,
    },
    /// Passes on what comes to another server, and what that answers; no more.
    Relay {
        /// Where to listen.
        listen: SocketAddr,
        /// Whom to connect to.
        server: SocketAddr,
    },
    /// Connects, asks, is answered, closes; over and over. Prints how often, in how many seconds, the median and the 99th percentile
    /// in microseconds, and how often it failed.
    Connect(Connect),
    /// Sends on one connection as fast as it goes, to port 7102. Prints how many bytes its socket took, and in how many seconds.
    Send(Send),
    /// Opens connections that say one thing and then nothing, until standard input ends.
    Hold(Hold),
    /// Keeps one question under way on each of many connections. Says so when all are open, and begins when a line comes
    /// on standard input. Prints how many were answered, and in how many seconds.
    Talk(Talk),
    /// Sends datagrams without being answered, as often per second as the last line of standard input says, until that ends.
    PacedDatagrams {
        /// Where they go.
        to: SocketAddr,
        /// Bytes of each.
        bytes: usize,
    },
    /// The same with TCP frames of nearly 64 KiB that somebody on their way cuts. No connection is behind them.
    PacedSegments {
        /// The interface that they leave by.
        interface: String,
    },
}

#[derive(Debug, Args)]
struct Connect {
    /// Address of the server.
    server: IpAddr,
    /// How many at once.
    #[arg(long, default_value = "8")]
    concurrency: NonZeroUsize,
    /// For so long.
    #[arg(long, default_value = "1", value_parser = seconds)]
    seconds: Duration,
}

#[derive(Debug, Args)]
struct Send {
    /// Address of the server.
    server: IpAddr,
    /// Seconds that are measured.
    #[arg(long, default_value = "1", value_parser = seconds)]
    seconds: Duration,
    /// Seconds before that.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    warm_up: Duration,
}

#[derive(Debug, Args)]
struct Hold {
    /// Address of the server.
    server: IpAddr,
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
}

#[derive(Debug, Args)]
struct Talk {
    /// Address of the server.
    server: IpAddr,
    /// How many connections.
    #[arg(long, default_value_t = 100)]
    flows: usize,
    /// Bytes of a question, and of its answer.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// For so long.
    #[arg(long, default_value = "1", value_parser = seconds)]
    seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let once = |server| SocketAddr::new(server, PORT);
    let lasting = |server| SocketAddr::new(server, PORT + 1);
    let sink = |server| SocketAddr::new(server, PORT + 2);
    match Cli::parse().command {
        Command::Serve { address } => server::serve(once(address), lasting(address), sink(address)),
        Command::Relay { listen, server } => relay::relay(listen, server),
        Command::Connect(args) => {
            client::connect(once(args.server), args.concurrency.get(), args.seconds)
        }
        Command::Send(args) => client::send(sink(args.server), args.warm_up, args.seconds),
        Command::Hold(args) => client::hold(lasting(args.server), args.count),
        Command::Talk(args) => {
            client::talk(lasting(args.server), args.flows, args.size, args.seconds)
        }
        Command::PacedDatagrams { to, bytes } => paced::datagrams(to, bytes),
        Command::PacedSegments { interface } => paced::segments(&interface),
    }
}
