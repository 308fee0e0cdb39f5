//! Disk images: raw files, opened and locked for one user.
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom},
    ops::Deref,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Bytes per sector: the unit of all positions in virtio-blk.
pub const SECTOR: u64 = 512;

/// Why a disk cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no such file.
    #[error(
        "disk image {} does not exist (check the path, or make one: truncate -s 1G {})",
        .0.display(), .0.display()
    )]
    Missing(PathBuf),
    /// The file may not be written.
    #[error(
        "disk image {} is not writable (add readonly=on, or change its permissions)",
        .0.display()
    )]
    NotWritable(PathBuf),
    /// Somebody else has it.
    #[error(
        "disk image {} is in use by another process (stop it, or open the image readonly=on everywhere)",
        .0.display()
    )]
    Busy(PathBuf),
    /// It holds not even one sector.
    #[error("disk image {} is smaller than one sector of 512 bytes", .0.display())]
    Empty(PathBuf),
    /// Opening, locking or measuring failed.
    #[error("disk image {}: {error}", path.display())]
    Io {
        /// The image.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

/// An open image, locked until dropped.
#[derive(Debug)]
pub struct Image {
    file: Flock<File>,
    sectors: u64,
    readonly: bool,
    name: String,
}

impl Image {
    /// Opens and locks: exclusively for writing, shared for reading.
    pub fn open(path: &Path, readonly: bool) -> Result<Self, DiskError> {
        let io_error = |error| DiskError::Io {
            path: path.into(),
            error,
        };
        let file = OpenOptions::new().read(true).write(!readonly).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DiskError::Missing(path.into()),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if !readonly => {
                DiskError::NotWritable(path.into())
            }
            _ => io_error(error),
        })?;
        if file.metadata().map_err(io_error)?.is_dir() {
            return Err(io_error(io::ErrorKind::IsADirectory.into()));
        }
        let lock = if readonly {
            FlockArg::LockSharedNonblock
        } else {
            FlockArg::LockExclusiveNonblock
        };
        let mut file = Flock::lock(file, lock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => DiskError::Busy(path.into()),
            errno => io_error(errno.into()),
        })?;
        // Seeking, unlike metadata, knows the size of a block device too.
        let len = file.seek(SeekFrom::End(0)).map_err(io_error)?;
        if len < SECTOR {
            return Err(DiskError::Empty(path.into()));
        }
        if !len.is_multiple_of(SECTOR) {
            tracing::warn!(
                path = %path.display(),
                "image is no multiple of 512 bytes: its last {} bytes are out of the guest's reach",
                len % SECTOR
            );
        }
        Ok(Self {
            file,
            sectors: len / SECTOR,
            readonly,
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        })
    }

    /// The guest must not write.
    pub fn readonly(&self) -> bool {
        self.readonly
    }

    /// File name, without its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// A descriptor for the worker; shares the lock.
    pub fn try_clone(&self) -> io::Result<File> {
        self.file.deref().try_clone()
    }
}
