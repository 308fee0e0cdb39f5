//! `benches/RESULTS.md`: each command rewrites its own section and leaves the rest as it is.
use crate::repo;
use crate::ui::Ui;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Prints `body`, and writes it as section `name` of the results unless that is not wanted.
pub(super) fn tell(ui: Ui, name: &str, body: &str, dry: bool) -> Result<()> {
    println!("{body}");
    if !dry {
        write(name, body)?;
        ui.note(&format!("written to {}", repo::display(&path())));
    }
    Ok(())
}

/// Where the results are.
fn path() -> PathBuf {
    repo::root().join("benches/RESULTS.md")
}

/// Writes section `name` of the results.
fn write(name: &str, body: &str) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path).unwrap_or_else(|_| "# Results\n".to_owned());
    let display = repo::display(&path);
    fs::write(&path, replace(&text, name, body)).with_context(|| format!("cannot write {display}"))
}

/// Puts `body` between the marks of section `name`, or at the end if there is none yet.
fn replace(text: &str, name: &str, body: &str) -> String {
    let begin = format!("<!-- begin {name}: written by cargo xtask bench -->");
    let end = format!("<!-- end {name} -->");
    let section = format!("{begin}\n{}\n{end}", body.trim());
    let found = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    match found {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{}\n\n{section}\n", text.trim_end()),
    }
}

#[cfg(test)]
#[path = "results_test.rs"]
mod tests;
