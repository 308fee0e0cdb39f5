//! `--serial stdio|null|file=PATH`

use std::{fmt, path::PathBuf, str::FromStr};

/// Where the serial console is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SerialConfig {
    /// Standard input and output.
    #[default]
    Stdio,
    /// Output to a file, no input.
    File(PathBuf),
    /// Nowhere.
    Null,
}

impl fmt::Display for SerialConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio => f.write_str("standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Null => f.write_str("nowhere"),
        }
    }
}

impl FromStr for SerialConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "stdio" => Ok(Self::Stdio),
            None if text == "null" => Ok(Self::Null),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(format!("`{text}`: use stdio, null or file=PATH")),
        }
    }
}
