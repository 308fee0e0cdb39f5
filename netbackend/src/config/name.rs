//! Names of networks and ports.
use super::value::Wrong;

const LONGEST: usize = 32;

/// Checks a name of a network or a port: it becomes part of paths, URLs and log lines.
pub(crate) fn check(name: &str) -> Result<(), Wrong> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= LONGEST && name.bytes().all(good) {
        return Ok(());
    }
    let shown: String = name.chars().take(LONGEST + 1).collect();
    Err(Wrong::new(
        format!("{shown:?} is not a name"),
        format!(
            "write 1 to {LONGEST} letters, digits, '-' or '_', starting with a letter or a digit"
        ),
    ))
}
