//! `vu-gen`: frames through a vhost-user switch, from one socket to another.

use std::{path::PathBuf, time::Duration};

use benches::{FrontEnd, Load, one_way};
use clap::Parser;

/// Sends frames from one vhost-user port to another and says how many came through.
#[derive(Debug, Parser)]
#[command(name = "vu-gen", version)]
struct Cli {
    /// Socket of the sending port.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// Socket of the receiving port.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Bytes of a frame without FCS. Repeatable.
    #[arg(long, value_name = "BYTES", default_values_t = [64, 512, 1518])]
    size: Vec<u32>,
    /// Frames in a burst.
    #[arg(long, default_value_t = 32)]
    burst: u16,
    /// Entries of each ring.
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue_size: u16,
    /// Seconds for each size.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Check that no frame comes twice or out of order.
    #[arg(long)]
    verify: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    println!(
        "{:>6}  {:>8}  {:>8}  {:>12}  {:>10}",
        "bytes", "Mpps", "Gb/s", "received", "dropped"
    );
    for frame in cli.size {
        let mut from = FrontEnd::attach(&cli.from, cli.queue_size, frame)?;
        let mut to = FrontEnd::attach(&cli.to, cli.queue_size, frame)?;
        let load = Load {
            frame,
            burst: cli.burst,
            time: Duration::from_secs(cli.seconds),
            verify: cli.verify,
        };
        let sum = one_way(&mut from, &mut to, &load)?;
        let dropped = sum.sent.saturating_sub(sum.received);
        println!(
            "{frame:>6}  {:>8.3}  {:>8.2}  {:>12}  {dropped:>10}",
            sum.mpps(),
            sum.gbps(),
            sum.received,
        );
    }
    Ok(())
}
