//! Scenarios: the scripts `tests/lab/*.sh` and what their headers say.
use crate::repo;
use crate::setup::kernels::Flavour;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What scenarios share, and no scenarios themselves.
const LIBRARIES: [&str; 2] = ["lib", "beyond"];

/// A script that runs in the lab.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// File name without `.sh`.
    pub name: String,
    /// `# title:` of its header.
    pub title: String,
    /// `# timeout:` of its header: how long the script may take inside the host.
    pub timeout: Duration,
    /// `# kernel: generic` or `generic-32bit` in its header: guests run a kernel that has drivers for legacy NICs.
    pub kernel: Flavour,
    /// `# programs: NAME…` in its header: programs of this machine that the host has besides the usual ones.
    pub programs: Vec<String>,
    /// The script.
    pub path: PathBuf,
}

impl Scenario {
    /// The scenario called `name`.
    pub fn load(name: &str) -> Result<Self> {
        let path = repo::lab_sources().join(format!("{name}.sh"));
        if LIBRARIES.contains(&name) || !path.is_file() {
            let names: Vec<_> = Self::all()?.into_iter().map(|s| s.name).collect();
            bail!("no scenario `{name}`; there are: {}", names.join(", "));
        }
        let text = fs::read_to_string(&path)?;
        let header = |key: &str| header_value(&text, key);
        let title = header("title").with_context(|| format!("{name}.sh has no `# title:` line"))?;
        let timeout = header("timeout")
            .and_then(|seconds| seconds.parse().ok())
            .with_context(|| format!("{name}.sh has no `# timeout: SECONDS` line"))?;
        let kernel = match header("kernel").as_deref() {
            None => Flavour::Cloud,
            Some("generic") => Flavour::Generic,
            Some("generic-32bit") => Flavour::Generic32,
            Some(other) => {
                bail!("{name}.sh: `# kernel: {other}`: there are `generic` and `generic-32bit`")
            }
        };
        let programs = header("programs").unwrap_or_default();
        Ok(Self {
            kernel,
            programs: programs.split_whitespace().map(str::to_owned).collect(),
            name: name.to_owned(),
            title,
            timeout: Duration::from_secs(timeout),
            path,
        })
    }

    /// Every scenario, by name.
    pub fn all() -> Result<Vec<Self>> {
        let directory = repo::lab_sources();
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.strip_suffix(".sh").map(str::to_owned)
            })
            .filter(|name| !LIBRARIES.contains(&name.as_str()))
            .collect();
        names.sort();
        names.iter().map(|name| Self::load(name)).collect()
    }
}

fn header_value(text: &str, key: &str) -> Option<String> {
    let prefix = format!("# {key}:");
    text.lines()
        .take_while(|line| line.starts_with('#'))
        .find_map(|line| line.strip_prefix(&prefix))
        .map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Scenario;

    #[test]
    fn every_script_says_what_it_shows_and_how_long_it_may_take() {
        let all = Scenario::all().unwrap();
        assert!(all.iter().any(|scenario| scenario.name == "host-smoke"));
        assert!(all.iter().all(|scenario| !scenario.timeout.is_zero()));
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_exist() {
        let error = Scenario::load("no-such").unwrap_err().to_string();
        assert!(error.contains("host-smoke"), "{error}");
        assert!(Scenario::load("lib").is_err());
    }
}
