//! The section of the results.
use super::super::machine_report as report;
use super::super::statistics::{Summary, show, summarize};
use super::super::table::markdown;
use super::guests::Cost;
use super::load::{self, Direction};
use super::scale::{self, IdleFlows};
use super::stream::{self, Guest};
use super::world::Way;
use super::{Figure, Figures, Measured, NatOptions, SHARE, STREAMS};

const NAT: Way = Way::Nat(1500);
const SLIRP: Way = Way::Slirp(1500);

pub(super) fn write_up(options: &NatOptions, measured: &Measured) -> String {
    let slirp = report::package_version("slirp4netns").unwrap_or_else(|| "unknown".into());
    let mut parts = vec![
        format!(
            "## Through the gateway of a NAT network\n\n\
             * When: {}. Command: `cargo xtask bench nat`, {} rounds in turns, {} s each, first round dropped.\n\
             * Where: {}.\n\
             {}\n\
             * What: guest and server are namespaces; between them the gateway, and a veth pair of MTU 1500. Guests use GSO as Linux does. Programs have {} KiB for datagrams, all that the kernel gives them, so that what is lost is lost between them. \
             `veth` is a program of the host itself, without any gateway; `relay` a program between two sockets that reads and writes and does no more (`sock-load relay`), behind a veth pair of its own: what any gateway in user space \
             costs at least where programs share the CPUs. Versions: netbackend {}, slirp4netns {slirp}.",
            report::date(),
            options.rounds,
            options.seconds,
            report::machine(),
            measured.neighbours,
            load::socket_size() >> 10,
            env!("CARGO_PKG_VERSION"),
        ),
        table(&measured.figures),
    ];
    let lines: Vec<String> = streams(&measured.figures)
        .into_iter()
        .chain(vhost_user(&measured.figures))
        .chain(measured.idle.as_ref().map(idle))
        .chain((!measured.guests.is_empty()).then(|| guests(&measured.guests)))
        .collect();
    parts.push(lines.join("\n"));
    parts.join("\n\n")
}

fn summary(figures: &Figures, figure: Figure, way: Way) -> Option<Summary> {
    summarize(figures.get(&(figure, way))?.iter().copied())
}

/// A row: its name, the figure, and by which ways.
type Row = (String, Figure, [Way; 2], usize);

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (mtu, nat, slirp) in [
        (1500, NAT, SLIRP),
        (65520, Way::Nat(65520), Way::Slirp(65520)),
    ] {
        for direction in Direction::BOTH {
            let name = format!("TCP, {}, MTU {mtu}, Gb/s", direction.words());
            rows.push((name, Figure::Tcp(direction), [nat, slirp], 2));
        }
    }
    let names = ["connect, ask, close: per second", "the same: p99, µs"];
    for (name, figure) in names.into_iter().zip([Figure::PerSecond, Figure::P99]) {
        rows.push((name.to_owned(), figure, [NAT, SLIRP], 0));
    }
    for direction in Direction::BOTH {
        let words = direction.words();
        let share = SHARE * 100.0;
        for (name, figure) in [
            (
                "as fast as it goes, Gb/s".to_owned(),
                Figure::Udp(direction),
            ),
            (
                format!("at {share:.0} % of that, Gb/s"),
                Figure::UdpShare(direction),
            ),
            ("the same: lost, %".to_owned(), Figure::Loss(direction)),
        ] {
            let name = format!("UDP 1400 B, {words}, {name}");
            rows.push((name, figure, [NAT, SLIRP], 2));
        }
    }
    rows
}

fn table(figures: &Figures) -> String {
    let heading = [
        "median (least–most)",
        "netbackend",
        "slirp4netns",
        "veth",
        "relay",
        "to slirp4netns",
        "to veth",
        "to relay",
    ];
    let rows = rows()
        .into_iter()
        .filter_map(|(name, figure, ways, digits)| {
            let [nat, slirp, veth, relay] =
                [ways[0], ways[1], Way::Veth, Way::Relay].map(|way| summary(figures, figure, way));
            let ours = nat?;
            let cell = |summary: Option<Summary>| {
                summary.map_or_else(|| "–".to_owned(), |summary| show(summary, digits))
            };
            let ratio = |other: Option<Summary>| match other {
                Some(other) if other.median > 0.0 && !matches!(figure, Figure::Loss(_)) => {
                    format!("{:.2}", ours.median / other.median)
                }
                _ => "–".to_owned(),
            };
            Some(vec![
                name,
                cell(Some(ours)),
                cell(slirp),
                cell(veth),
                cell(relay),
                ratio(slirp),
                ratio(veth),
                ratio(relay),
            ])
        });
    let rows: Vec<_> = rows.collect();
    markdown(&heading.map(str::to_owned), &rows)
}

fn streams(figures: &Figures) -> Vec<String> {
    let line = |direction: Direction| {
        let all = summary(figures, Figure::Streams(direction), NAT)?;
        let one = summary(figures, Figure::Tcp(direction), NAT)?;
        let spread = summary(figures, Figure::Spread(direction), NAT)?;
        Some(format!(
            "* {STREAMS} streams, {}, MTU 1500: {} Gb/s in all, {:.2} of one stream's; the fastest has {} times what the slowest has.",
            direction.words(),
            show(all, 2),
            all.median / one.median,
            show(spread, 2)
        ))
    };
    Direction::BOTH.into_iter().filter_map(line).collect()
}

fn vhost_user(figures: &Figures) -> Option<String> {
    let of = |figure| summary(figures, figure, stream::WAY);
    let ours = of(Figure::Stream(Guest::VhostUser))?;
    let tap = of(Figure::Stream(Guest::Tap))?;
    Some(format!(
        "* TCP through vhost-user, guest → host, MTU 1500, in GSO frames of the generator (`vu-gen stream`), which writes headers only: {} Gb/s, \
         {:.2} of a guest's on a tap to the same server (`sock-load send`: {} Gb/s); {} % of the frames were sent once more.",
        show(ours, 2),
        ours.median / tap.median,
        show(tap, 2),
        show(of(Figure::Again)?, 2)
    ))
}

fn idle(idle: &IdleFlows) -> String {
    let [to, from] = idle.beside;
    format!(
        "* {} TCP flows that do nothing: {:.1} MB more of the daemon's memory (PSS); a stream beside them has {to:.2} of its rate to \
         the world, {from:.2} of that from it.",
        scale::IDLE,
        kib_as_mb(idle.memory)
    )
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process fits")]
fn kib_as_mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

fn guests(costs: &[Cost]) -> String {
    let of_one_size = costs.chunk_by(|one, other| one.size == other.size);
    of_one_size.map(exchanges).collect::<Vec<_>>().join("\n")
}

fn exchanges(costs: &[Cost]) -> String {
    let each = costs.iter().map(|cost| {
        let Cost {
            guests, flows, ..
        } = cost;
        format!(
            "{guests} × {flows}: {:.2} µs of an exchange in {:.2} frames ({:.0} exchanges per second), {:.2} µs of a frame ({:.2} of them in the kernel)",
            cost.per_exchange, cost.frames, cost.exchanges_per_second, cost.per_frame, cost.kernel
        )
    });
    let each = each.collect::<Vec<_>>().join("; ");
    let (size, ratio) = match costs {
        [first, .., last] => (first.size, last.per_frame / first.per_frame),
        _ => return String::new(),
    };
    format!(
        "* A question of {size} KiB and an answer of as much, on busy flows; the daemon's CPU time, by guests × flows of each. {each}. The last costs {ratio:.2} times what the first costs per frame."
    )
}
