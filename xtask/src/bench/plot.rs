//! Bars as an SVG file: groups of bars, each with its least and most.
use super::statistics::Summary;
use crate::repo;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// What is drawn.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    pub(super) title: String,
    /// Names of the bars in each group.
    pub(super) series: Vec<String>,
    /// Name of each group and the height of its bars; `None`: there is none.
    pub(super) groups: Vec<(String, Vec<Option<Summary>>)>,
}

/// Of a palette that people with any colour vision tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#e69f00", "#f0c987", "#009e73", "#8fd0ba", "#999999",
];
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 370.0;
/// Share of a group's width that its bars take.
const FILL: f64 = 0.84;

/// Draws `bars` to benches/plots/`name`.svg; returns where that is.
pub(super) fn write(name: &str, bars: &Bars) -> Result<PathBuf> {
    let directory = repo::root().join("benches/plots");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{name}.svg"));
    fs::write(&path, svg(bars)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn svg(bars: &Bars) -> String {
    let values = bars
        .groups
        .iter()
        .flat_map(|(_, bars)| bars.iter().flatten());
    let most = values.map(|bar| bar.max).fold(1.0, f64::max) * 1.05;
    let y = |value: f64| BOTTOM - value / most * (BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escape(&bars.title)
    );
    legend(&mut out, &bars.series);
    scale(&mut out, most, y);
    let group_width = (WIDTH - LEFT - 20.0) / count(bars.groups.len());
    let bar_width = group_width * FILL / count(bars.series.len());
    for (index, (name, heights)) in bars.groups.iter().enumerate() {
        let start = LEFT + group_width * (count(index) + (1.0 - FILL) / 2.0);
        for (place, bar) in heights.iter().enumerate() {
            if let Some(bar) = bar {
                let x = start + bar_width * count(place);
                draw(&mut out, (x, bar_width), bar, y, colour(place));
            }
        }
        text(
            &mut out,
            start + group_width * FILL / 2.0,
            BOTTOM + 20.0,
            "middle",
            name,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn draw(
    out: &mut String,
    (x, width): (f64, f64),
    bar: &Summary,
    y: impl Fn(f64) -> f64,
    colour: &str,
) {
    let (top, middle) = (y(bar.median), x + width / 2.0);
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n\
         <path d=\"M{middle:.1} {:.1}V{:.1}\" stroke=\"#333\"/>",
        x + 1.0,
        width - 2.0,
        BOTTOM - top,
        y(bar.min),
        y(bar.max),
    );
    let label = format!("{:.2}", bar.median);
    text(out, middle, y(bar.max) - 4.0, "middle", &label);
}

fn legend(out: &mut String, series: &[String]) {
    for (index, name) in series.iter().enumerate() {
        let x = LEFT + 140.0 * count(index);
        let colour = colour(index);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
        );
        text(out, x + 18.0, 46.0, "start", name);
    }
}

/// Lines across, half a unit apart or as far as leaves them readable.
fn scale(out: &mut String, most: f64, y: impl Fn(f64) -> f64) {
    let step = if most > 6.0 { 2.0 } else { 0.5 };
    let mut value = 0.0;
    while value <= most {
        let at = y(value);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>",
            WIDTH - 20.0
        );
        text(out, LEFT - 6.0, at + 4.0, "end", &format!("{value:.1}"));
        value += step;
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escape(words);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

fn colour(index: usize) -> &'static str {
    COLOURS
        .get(index % COLOURS.len())
        .copied()
        .unwrap_or("#000")
}

#[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
#[path = "plot_test.rs"]
mod tests;
