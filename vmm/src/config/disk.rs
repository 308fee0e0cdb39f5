//! `--disk path=FILE[,readonly=on]`

use std::{path::PathBuf, str::FromStr};

use super::{pairs, switch, value};

/// One virtio disk on a raw file or block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// Raw image or block device.
    pub path: PathBuf,
    /// The guest cannot write to it.
    pub readonly: bool,
}

impl FromStr for DiskConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut path, mut readonly) = (None, false);
        for (key, given) in pairs(text) {
            match key {
                "path" => path = Some(PathBuf::from(value(key, given)?)),
                "readonly" => readonly = switch(key, given)?,
                other => {
                    return Err(format!(
                        "unknown key `{other}`: --disk knows path and readonly"
                    ));
                }
            }
        }
        let path = path.ok_or("`path` is missing: --disk path=root.img")?;
        Ok(Self { path, readonly })
    }
}
