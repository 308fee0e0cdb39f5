//! What files are served from.
use std::fmt::Debug;
use std::io;

/// Why a file cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// there is none of that name
    NotFound,
    /// it is not to be read, or no regular file
    Denied,
    /// the system failed
    Failed,
}

/// A tree of files that are there to be read.
pub trait Directory: Debug + Send {
    /// Opens a file by its path, which is relative, and has neither empty parts nor `.` or `..`. Symbolic links must not lead out
    /// of the tree.
    fn open(&mut self, path: &str) -> Result<Box<dyn File>, OpenError>;
}

/// An open file.
#[allow(
    clippy::len_without_is_empty,
    reason = "an empty file is no special case"
)]
pub trait File: Debug + Send {
    /// Its size.
    fn len(&self) -> u64;

    /// Reads from `offset` on; as many octets as there are and fit.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// The path as a [`Directory`] takes it. None: it leads out of it, or nowhere.
pub(crate) fn clean(path: &str) -> Option<String> {
    // Boot loaders of Windows write it their way.
    let path = path.replace('\\', "/");
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let legal = !parts.is_empty() && !parts.contains(&"..");
    legal.then(|| parts.join("/"))
}
