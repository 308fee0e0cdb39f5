//! Figures for people and for programs.

use crate::{FrameKind, Measured, Streamed, Times};

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// One line per size, fields separated by tabs: size, frames, bytes, seconds, busy seconds, sent, dropped. Or of latencies:
    /// size, how many, least, median, 99th percentile, 99.9th, most, in nanoseconds. Or of a TCP stream: bytes acknowledged, seconds,
    /// frames, frames sent again.
    Tsv,
}

/// The figures of one size.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// What was sent.
    pub frame: FrameKind,
    /// What came of it.
    pub measured: Measured,
}

impl Report {
    /// The line above all others, if there is one.
    pub fn heading(format: Format) -> Option<String> {
        (format == Format::Table).then(|| {
            format!(
                "{:>6}  {:>8}  {:>8}  {:>12}  {:>10}  {:>6}",
                "bytes", "Mpps", "Gb/s", "received", "dropped", "busy"
            )
        })
    }

    /// One line.
    pub fn line(&self, format: Format) -> String {
        let Self { frame, measured } = self;
        let seconds = measured.time.as_secs_f64();
        let busy = measured.busy.as_secs_f64();
        match format {
            Format::Table => format!(
                "{frame:>6}  {:>8.3}  {:>8.2}  {:>12}  {:>10}  {:>5.0}%",
                as_float(measured.received) / seconds / 1e6,
                as_float(measured.bytes) * 8.0 / seconds / 1e9,
                measured.received,
                measured.dropped,
                busy / seconds * 100.0
            ),
            Format::Tsv => format!(
                "{frame}\t{}\t{}\t{seconds:.6}\t{busy:.6}\t{}\t{}",
                measured.received, measured.bytes, measured.sent, measured.dropped
            ),
        }
    }
}

/// How long frames of one size took.
#[derive(Debug)]
pub struct LatencyReport {
    /// What was sent.
    pub frame: FrameKind,
    /// How long it took.
    pub times: Times,
}

impl LatencyReport {
    /// The line above all others, if there is one.
    pub fn heading(format: Format) -> Option<String> {
        (format == Format::Table).then(|| {
            format!(
                "{:>6}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}",
                "bytes", "times", "least us", "p50 us", "p99 us", "p99.9 us", "most us"
            )
        })
    }

    /// One line.
    pub fn line(&self, format: Format) -> String {
        let Self { frame, times } = self;
        let at = |quantile| times.value_at_quantile(quantile);
        let figures = [times.min(), at(0.5), at(0.99), at(0.999), times.max()];
        let count = times.len();
        match format {
            Format::Table => {
                let figures = figures.map(|time| format!("{:>9.2}", as_float(time) / 1e3));
                format!("{frame:>6}  {count:>9}  {}", figures.join("  "))
            }
            Format::Tsv => {
                let figures = figures.map(|time| time.to_string());
                format!("{frame}\t{count}\t{}", figures.join("\t"))
            }
        }
    }
}

/// The figures of a TCP stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamReport(
    /// What came of it.
    pub Streamed,
);

impl StreamReport {
    /// The line above the figures, if there is one.
    pub fn heading(format: Format) -> Option<String> {
        (format == Format::Table).then(|| {
            format!(
                "{:>8}  {:>14}  {:>13}  {:>18}",
                "Gb/s", "acknowledged", "frames in all", "of them sent again"
            )
        })
    }

    /// One line.
    pub fn line(&self, format: Format) -> String {
        let Self(streamed) = self;
        let (bytes, frames, again) = (streamed.bytes, streamed.frames, streamed.again);
        let seconds = streamed.time.as_secs_f64();
        match format {
            Format::Table => format!(
                "{:>8.2}  {bytes:>14}  {frames:>13}  {again:>18}",
                as_float(bytes) * 8.0 / seconds / 1e9
            ),
            Format::Tsv => format!("{bytes}\t{seconds:.6}\t{frames}\t{again}"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
fn as_float(count: u64) -> f64 {
    count as f64
}
