//! Whether every frame comes out once, in order and unaltered, at the rate that the machine allows.
use super::PORTS;
use super::backend::{Bench, Peer};
use super::generator::{Generator, Sample};
use super::machine_report as report;
use super::netbackend::Setup;
use super::results;
use super::table::markdown;
use crate::ui::Ui;
use anyhow::{Context, Result, ensure};

/// Frame sizes, in bytes or as the generator calls them, and how many frames are on their way: half of what the receiver has room
/// for in mergeable buffers, so that whatever is missing was lost by the switch.
const SIZES: [(&str, u32); 4] = [("64", 128), ("1518", 128), ("9000", 25), ("gso", 3)];
/// Rings, as the generator calls what is unusual about them.
const RINGS: [(&str, &[&str]); 4] = [
    ("split", &[]),
    ("packed", &["--packed"]),
    ("split, mergeable", &["--mergeable"]),
    ("packed, mergeable", &["--packed", "--mergeable"]),
];

/// Arguments of `bench verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyOptions {
    /// Seconds for each case
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Do not write benches/RESULTS.md
    #[arg(long)]
    dry: bool,
}

/// One kind of ring.
struct Row {
    rings: &'static str,
    ways: &'static str,
    samples: Vec<Sample>,
}

/// Sends and compares frames of all kinds through the release build; fails if one is lost, repeated, altered or out of order.
pub fn verify(ui: Ui, options: &VerifyOptions) -> Result<()> {
    let bench = Bench::new(ui, &[Peer::Netbackend])?;
    let daemon = bench.daemon(&Setup::default())?;
    let sockets = PORTS.map(|port| daemon.socket(port));
    let generator = Generator {
        program: bench.programs.generator.clone(),
        cpu: Some(bench.generator_cpu),
    };
    let mut rows = Vec::new();
    for (rings, arguments) in RINGS {
        for (ways, both) in [("one", None), ("both", Some("--both-ways"))] {
            let samples = ui.step(&format!("{rings}, {ways} way"), |step| {
                let case = |(size, window): &(&str, u32)| {
                    let arguments = arguments.iter().copied().chain(both);
                    let arguments: Vec<String> = arguments
                        .map(str::to_owned)
                        .chain([
                            "--verify".to_owned(),
                            "--flows=7".to_owned(),
                            format!("--size={size}"),
                            format!("--window={window}"),
                            format!("--seconds={}", options.seconds),
                        ])
                        .collect();
                    let sample = generator
                        .throughput(&sockets, false, &arguments)
                        .with_context(|| format!("{rings}, {ways} way, {size}"))?;
                    step.progress(&format!("{size}: {:.2} million frames", millions(&sample)));
                    ensure!(
                        sample.dropped <= 0.0,
                        "{rings}, {ways} way, {size}: {} of all frames were lost",
                        sample.dropped
                    );
                    Ok(sample)
                };
                SIZES.iter().map(case).collect::<Result<Vec<Sample>>>()
            })?;
            rows.push(Row {
                rings,
                ways,
                samples,
            });
        }
    }
    let body = write_up(options, &rows);
    results::tell(ui, "verify", &body, options.dry)
}

/// Frames that were sent in a case.
fn millions(sample: &Sample) -> f64 {
    sample.sent / 1e6
}

fn write_up(options: &VerifyOptions, rows: &[Row]) -> String {
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let cell = |sample: &Sample| format!("{:.2} ({:.2})", millions(sample), sample.mpps);
            let cells = row.samples.iter().map(cell);
            let names = [row.rings.to_owned(), row.ways.to_owned()];
            names.into_iter().chain(cells).collect()
        })
        .collect();
    let heading: Vec<String> = ["rings", "ways"]
        .into_iter()
        .chain(SIZES.map(|(size, _)| size))
        .map(str::to_owned)
        .collect();
    [
        format!(
            "## Every byte compared\n\n\
             * When: {}. Command: `cargo xtask bench verify`, {} s for each case. It fails if a frame is lost, repeated, out of \
             order or altered: none was.\n\
             * Where: {}. Daemon with all its threads on one CPU, generator on another.\n\
             * What: millions of frames sent, and millions per second in brackets. Payloads are written anew for each frame and every \
             received byte is compared, so it is the generator that bounds the rate; seven flows, and at most as many frames on their way as \
             the receiver has room for.",
            report::date(),
            options.seconds,
            report::machine(),
        ),
        markdown(&heading, &table),
    ]
    .join("\n\n")
}
