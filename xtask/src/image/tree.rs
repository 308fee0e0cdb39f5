//! A tree of files that becomes an initramfs.
use super::cpio;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Images of one name that are kept: two worktrees' worth, and the one before.
const KEPT_IMAGES: usize = 4;

#[derive(Debug)]
enum Entry {
    Copy { source: PathBuf, mode: u32 },
    Text { content: Vec<u8>, mode: u32 },
    Symlink { target: String },
}

/// Files by their path in the image, without a leading slash; parents appear by themselves.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    directories: BTreeSet<String>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty directory.
    pub fn directory(&mut self, path: &str) {
        self.directories.insert(path.to_owned());
        self.parents(path);
    }

    /// A copy of a file of this machine.
    pub fn copy(&mut self, path: &str, source: &Path, mode: u32) {
        let source = source.to_owned();
        self.insert(path, Entry::Copy { source, mode });
    }

    /// A file with this content.
    pub fn text(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        let content = content.into();
        self.insert(path, Entry::Text { content, mode });
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        let target = target.to_owned();
        self.insert(path, Entry::Symlink { target });
    }

    /// A program of this machine with its shared libraries, as `usr/bin/NAME`.
    pub fn program(&mut self, source: &Path) -> Result<()> {
        let name = source
            .file_name()
            .with_context(|| format!("{} names no program", source.display()))?;
        self.copy(
            &format!("usr/bin/{}", name.to_string_lossy()),
            source,
            0o755,
        );
        for library in shared_libraries(source)? {
            let path = library.to_string_lossy().trim_start_matches('/').to_owned();
            self.copy(&path, &library, 0o755);
        }
        Ok(())
    }

    /// Every file below `directory`, with its mode 0755, below `path`.
    pub fn scripts(&mut self, path: &str, directory: &Path) -> Result<()> {
        let entries = fs::read_dir(directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.copy(&format!("{path}/{name}"), &entry.path(), 0o755);
            }
        }
        Ok(())
    }

    /// The archive of this tree in `directory`, written unless the same content is there already.
    pub fn write(&self, directory: &Path, name: &str) -> Result<PathBuf> {
        let digest = self.digest()?;
        let path = directory.join(format!("{name}-{digest}.cpio"));
        if path.is_file() {
            // The newest are kept: this one is in use.
            let _ = File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(path);
        }
        fs::create_dir_all(directory)?;
        let partial = directory.join(format!("{name}-{digest}.{}", std::process::id()));
        self.write_archive(&partial)
            .with_context(|| format!("writing {}", partial.display()))?;
        fs::rename(&partial, &path)?;
        prune(directory, name);
        Ok(path)
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        self.parents(path);
        self.entries.insert(path.to_owned(), entry);
    }

    fn parents(&mut self, path: &str) {
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            self.directories.insert(parent.to_owned());
            rest = parent;
        }
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for directory in &self.directories {
            hash.update(format!("d {directory}\n"));
        }
        for (path, entry) in &self.entries {
            match entry {
                Entry::Copy { source, mode } => {
                    let content = fs::read(source)
                        .with_context(|| format!("cannot read {}", source.display()))?;
                    hash.update(format!("f {path} {mode:o} {}\n", content.len()));
                    hash.update(content);
                }
                Entry::Text { content, mode } => {
                    hash.update(format!("f {path} {mode:o} {}\n", content.len()));
                    hash.update(content);
                }
                Entry::Symlink { target } => hash.update(format!("l {path} {target}\n")),
            }
        }
        let mut text = String::new();
        for byte in hash.finalize().iter().take(8) {
            write!(text, "{byte:02x}")?;
        }
        Ok(text)
    }

    fn write_archive(&self, path: &Path) -> Result<()> {
        let mut archive = cpio::Writer::new(BufWriter::new(File::create(path)?));
        for directory in &self.directories {
            archive.directory(directory)?;
        }
        for (name, entry) in &self.entries {
            match entry {
                Entry::Copy { source, mode } => {
                    let file = File::open(source)?;
                    let size = u32::try_from(file.metadata()?.len())?;
                    archive.file(name, *mode, size, file)?;
                }
                Entry::Text { content, mode } => {
                    let size = u32::try_from(content.len())?;
                    archive.file(name, *mode, size, content.as_slice())?;
                }
                Entry::Symlink { target } => archive.symlink(name, target)?,
            }
        }
        archive.finish()?;
        Ok(())
    }
}

/// What the dynamic loader would map for `program`; nothing for a static one.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("not found") {
        bail!("{} lacks a shared library:\n{text}", program.display());
    }
    // `libc.so.6 => /lib/…/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`
    let libraries = text.lines().filter_map(|line| {
        let target = line.split_once("=> ").map_or(line, |(_, target)| target);
        let path = target.split_whitespace().next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    Ok(libraries.collect())
}

fn prune(directory: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let prefix = format!("{name}-");
    let mut images: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    images.sort();
    let surplus = images.len().saturating_sub(KEPT_IMAGES);
    for (_, path) in images.iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
