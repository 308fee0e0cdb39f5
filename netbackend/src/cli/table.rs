//! Plain tables and human units.
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// Rows of text, aligned to the left.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| heading.to_uppercase());
        Self {
            rows: vec![headings.collect()],
        }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn print(&self, out: &mut impl Write, indent: &str) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell: &String| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number with at most four digits and a decimal prefix: 999, 1.0k, 12.3M.
pub(super) fn human(number: u64) -> String {
    const PREFIXES: [char; 6] = ['k', 'M', 'G', 'T', 'P', 'E'];
    if number < 1000 {
        return number.to_string();
    }
    // Tenths, rounded down: a counter never shows more than there was.
    let mut unit = 1000;
    let mut prefixes = PREFIXES.iter();
    let mut prefix = prefixes.next();
    while number / unit >= 1000 {
        unit *= 1000;
        prefix = prefixes.next();
    }
    let tenths = u128::from(number) * 10 / u128::from(unit);
    format!(
        "{}.{}{}",
        tenths / 10,
        tenths % 10,
        prefix.copied().unwrap_or(' ')
    )
}

/// Seconds as days, hours, minutes: the two largest units that are not zero.
pub(super) fn human_time(seconds: u64) -> String {
    let units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, letter) in units {
        if rest >= unit {
            parts.push(format!("{}{letter}", rest / unit));
        }
        rest %= unit;
    }
    parts.truncate(2);
    if parts.is_empty() {
        "0s".into()
    } else {
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shortened_and_never_rounded_up() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1999, "1.9k"),
            (999_999, "999.9k"),
            (1_000_000, "1.0M"),
            (123_456_789_012, "123.4G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(human(number), text);
        }
    }

    #[test]
    fn times_show_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (3600, "1h"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(human_time(seconds), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["a", "b"]);
        table.row(vec!["long".into(), "x".into()]);
        table.row(vec!["é".into(), String::new()]);
        let mut out = Vec::new();
        table.print(&mut out, "  ").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "  A     B\n  long  x\n  é\n"
        );
    }
}
