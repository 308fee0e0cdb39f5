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
    str::FromStr,
};
use thiserror::Error;

/// Bytes per sector: the unit of all positions in virtio-blk.
pub const SECTOR: u64 = 512;

/// What `--disk` says: `path=FILE[,readonly=on|off][,serial=TEXT]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskOptions {
    /// The image.
    pub path: PathBuf,
    /// The guest must not write.
    pub readonly: bool,
    /// What the guest reads as serial number; the file's name by default.
    pub serial: Option<String>,
}

/// Why a disk cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The option's text makes no sense.
    #[error("--disk: {0} (write path=FILE[,readonly=on][,serial=TEXT])")]
    Option(String),
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

impl FromStr for DiskOptions {
    type Err = DiskError;

    fn from_str(text: &str) -> Result<Self, DiskError> {
        let mut options = Self::default();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, "on"));
            match (key, value) {
                ("path", path) => options.path = path.into(),
                ("readonly", "on" | "true") => options.readonly = true,
                ("readonly", "off" | "false") => options.readonly = false,
                ("serial", serial) => options.serial = Some(serial.into()),
                _ => return Err(DiskError::Option(format!("`{part}` is not understood"))),
            }
        }
        if options.path.as_os_str().is_empty() {
            return Err(DiskError::Option("path=FILE is missing".into()));
        }
        Ok(options)
    }
}

/// An open image, locked until dropped.
#[derive(Debug)]
pub(super) struct Image {
    file: Flock<File>,
    sectors: u64,
}

impl Image {
    /// Opens and locks: exclusively for writing, shared for reading.
    pub(super) fn open(path: &Path, readonly: bool) -> Result<Self, DiskError> {
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
        })
    }

    /// Size in sectors.
    pub(super) fn sectors(&self) -> u64 {
        self.sectors
    }

    /// A descriptor for the worker; shares the lock.
    pub(super) fn try_clone(&self) -> io::Result<File> {
        self.file.deref().try_clone()
    }
}
