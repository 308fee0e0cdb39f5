//! Huge pages of 2 MiB for as long as something is measured.
use anyhow::{Context, Result, bail};
use std::fs;

const DIRECTORY: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Pages on top of those that the machine had; given back when dropped.
#[derive(Debug)]
pub(super) struct Hugepages {
    added: u64,
}

impl Hugepages {
    /// Sees to it that `count` pages are free.
    pub(super) fn reserve(count: u64) -> Result<Self> {
        let free = read("free_hugepages")?.saturating_sub(read("resv_hugepages")?);
        let before = read("nr_hugepages")?;
        let wanted = before + count.saturating_sub(free);
        let reserved = Self {
            added: write(wanted)?.saturating_sub(before),
        };
        if before + reserved.added < wanted {
            bail!(
                "the kernel finds no {count} huge pages of 2 MiB (memory is short or fragmented); \
                 free some memory and try again"
            );
        }
        Ok(reserved)
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        // Others may have changed the number meanwhile: take back only what was ours.
        if let Ok(now) = read("nr_hugepages") {
            let _ = write(now.saturating_sub(self.added));
        }
    }
}

fn read(name: &str) -> Result<u64> {
    let path = format!("{DIRECTORY}/{name}");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("this kernel has no huge pages of 2 MiB ({path})"))?;
    text.trim()
        .parse()
        .with_context(|| format!("reading {path}"))
}

/// Returns how many there are then: the kernel takes what it finds.
fn write(count: u64) -> Result<u64> {
    let path = format!("{DIRECTORY}/nr_hugepages");
    fs::write(&path, count.to_string())
        .with_context(|| format!("cannot write {path}: reserving huge pages needs root"))?;
    read("nr_hugepages")
}
