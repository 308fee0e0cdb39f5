//! A guest behind the gateway of a NAT network, beside slirp4netns and beside the kernel without any gateway.
//!
//! Guests and server are network namespaces, so both ends are Linux's TCP/IP at native speed. The ways between them take turns, round
//! after round; the first round is dropped.
mod guests;
mod load;
mod scale;
mod stream;
mod world;
mod write_up;

use super::{build, results};
use crate::ui::Ui;
use anyhow::Result;
use guests::Cost;
use load::{Direction, Streams};
use scale::IdleFlows;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use stream::Guest;
use world::{Way, World};

/// Arguments of `bench nat`.
#[derive(Debug, Clone, clap::Args)]
pub struct NatOptions {
    /// Rounds that count; one more comes first and is dropped
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// Only these
    #[arg(long, value_enum, default_values_t = [Group::Tcp, Group::Stream, Group::Connect, Group::Udp, Group::Idle, Group::Guests], value_delimiter = ',')]
    only: Vec<Group>,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// Measurements that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Group {
    /// TCP in one stream and in eight
    Tcp,
    /// TCP of a vhost-user guest's large frames, beside that of a tap's guest
    Stream,
    /// Connections that ask once
    Connect,
    /// UDP at its best rate, and at 80 % of it
    Udp,
    /// 10 000 flows that do nothing
    Idle,
    /// Many guests of one network
    Guests,
}

/// Streams that are measured at once, beside a single one.
const STREAMS: u32 = 8;
/// Of the best rate of datagrams: none may be lost there.
const SHARE: f64 = 0.8;
/// Pairs of rounds with and without idle flows.
const IDLE_ROUNDS: u32 = 5;
const GUEST_ROUNDS: u32 = 5;

/// A figure of each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    /// Gb/s
    Tcp(Direction),
    /// Gb/s of all
    Streams(Direction),
    /// fastest stream by slowest
    Spread(Direction),
    /// Gb/s, from a guest of this kind to a server that throws it away
    Stream(Guest),
    /// percent of the frames that were sent once more
    Again,
    PerSecond,
    /// microseconds
    P99,
    /// Gb/s, as fast as it goes
    Udp(Direction),
    /// Gb/s at a share of that
    UdpShare(Direction),
    /// percent, at that share
    Loss(Direction),
}

/// Measurements by figure and way.
type Figures = BTreeMap<(Figure, Way), Vec<f64>>;

/// All that was measured.
#[derive(Debug, Default)]
struct Measured {
    figures: Figures,
    idle: Option<IdleFlows>,
    guests: Vec<Cost>,
    /// In what times.
    neighbours: String,
}

/// Measures all ways in turns, and writes the section of the results.
pub fn nat(ui: Ui, options: &NatOptions) -> Result<()> {
    let programs = build(ui)?;
    let name = format!("xtask-nat-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let measured = measure(ui, options, &programs, &directory);
    // Nothing in it is wanted any more.
    let _ = fs::remove_dir_all(&directory);
    let body = write_up::write_up(options, &measured?);
    results::tell(ui, "nat", &body, options.dry)
}

fn measure(
    ui: Ui,
    options: &NatOptions,
    programs: &super::Programs,
    directory: &Path,
) -> Result<Measured> {
    let world = World::new(programs, directory)?;
    let mut measured = Measured::default();
    let has = |group: Group| options.only.contains(&group);
    for round in 0..=options.rounds {
        let title = format!("round {round} of {}", options.rounds);
        ui.step(&title, |_| {
            let mut figures = Figures::new();
            if has(Group::Tcp) {
                tcp(&world, options.seconds, &mut figures)?;
            }
            if has(Group::Stream) {
                stream::stream(&world, options.seconds, &mut figures)?;
            }
            if has(Group::Connect) {
                connect(&world, options.seconds, &mut figures)?;
            }
            if has(Group::Udp) {
                udp(&world, options.seconds, &mut figures)?;
            }
            if round > 0 {
                for (key, values) in figures {
                    measured.figures.entry(key).or_default().extend(values);
                }
            }
            Ok(())
        })?;
    }
    if has(Group::Idle) {
        let title = format!("{} flows that do nothing", scale::IDLE);
        let idle = ui.step(&title, |_| {
            scale::idle_flows(&world, IDLE_ROUNDS, options.seconds)
        });
        measured.idle = Some(idle?);
    }
    if has(Group::Guests) {
        let rounds = (GUEST_ROUNDS, options.seconds);
        measured.guests = ui.step("many guests", |_| guests::guests(&world, programs, rounds))?;
    }
    measured.neighbours = world.neighbours.note();
    Ok(measured)
}

fn tcp(world: &World, seconds: u32, figures: &mut Figures) -> Result<()> {
    let ways = [
        Way::Nat(1500),
        Way::Slirp(1500),
        Way::Veth,
        Way::Relay,
        Way::Nat(65520),
        Way::Slirp(65520),
    ];
    for direction in Direction::BOTH {
        for way in ways {
            let Streams { total, .. } = world.tcp(way, direction, (1, seconds))?;
            figures
                .entry((Figure::Tcp(direction), way))
                .or_default()
                .push(total);
        }
        let way = Way::Nat(1500);
        let Streams { total, spread } = world.tcp(way, direction, (STREAMS, seconds))?;
        for (figure, value) in [
            (Figure::Streams(direction), total),
            (Figure::Spread(direction), spread),
        ] {
            figures.entry((figure, way)).or_default().push(value);
        }
    }
    Ok(())
}

fn connect(world: &World, seconds: u32, figures: &mut Figures) -> Result<()> {
    for way in [Way::Nat(1500), Way::Slirp(1500), Way::Veth] {
        let done = world.connect(way, seconds)?;
        let values = [
            (Figure::PerSecond, done.per_second),
            (Figure::P99, done.p99),
        ];
        for (figure, value) in values {
            figures.entry((figure, way)).or_default().push(value);
        }
    }
    Ok(())
}

fn udp(world: &World, seconds: u32, figures: &mut Figures) -> Result<()> {
    for direction in Direction::BOTH {
        for way in [Way::Nat(1500), Way::Slirp(1500), Way::Veth] {
            let best = world.udp(way, direction, (None, seconds))?;
            let share = world.udp(way, direction, (Some(best.rate * SHARE), seconds))?;
            for (figure, value) in [
                (Figure::Udp(direction), best.rate),
                (Figure::UdpShare(direction), share.rate),
                (Figure::Loss(direction), share.loss),
            ] {
                figures.entry((figure, way)).or_default().push(value);
            }
        }
    }
    Ok(())
}
