//! Medians and spread.

/// What a few measurements of the same thing say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Median (least–most), with so many digits behind the point.
pub(super) fn show(summary: Summary, digits: usize) -> String {
    let Summary { median, min, max } = summary;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

/// `None`: there is nothing to summarize.
pub(super) fn summarize(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let median = if values.len().is_multiple_of(2) {
        f64::midpoint(*values.get(middle - 1)?, upper)
    } else {
        upper
    };
    Some(Summary { median, min, max })
}

#[cfg(test)]
#[path = "statistics_test.rs"]
mod tests;
