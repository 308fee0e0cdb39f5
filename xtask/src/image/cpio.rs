//! The `newc` cpio format that Linux unpacks as its initramfs
//! (kernel: `Documentation/driver-api/early-userspace/buffer-format.rst`).
use std::io::{self, Read, Write};

/// File type bits of `c_mode`.
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;
const TRAILER: &str = "TRAILER!!!";

/// Writes members one after another.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Writer<W> {
    /// An empty archive on `out`.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// A directory; parents must come first.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.member(name, S_IFDIR | 0o755, 0, io::empty())
    }

    /// A regular file of exactly `size` bytes.
    pub fn file(&mut self, name: &str, mode: u32, size: u32, data: impl Read) -> io::Result<()> {
        self.member(name, S_IFREG | mode, size, data)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        let size = u32::try_from(target.len()).map_err(io::Error::other)?;
        self.member(name, S_IFLNK | 0o777, size, target.as_bytes())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.member(TRAILER, 0, 0, io::empty())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn member(&mut self, name: &str, mode: u32, size: u32, data: impl Read) -> io::Result<()> {
        self.inode += 1;
        let name_size = name.len() + 1;
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        write!(
            self.out,
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}",
            self.inode, 0, 0, 1, 0, 0, 0, 0, 0, 0
        )?;
        self.out.write_all(name.as_bytes())?;
        // The header has 110 bytes; name (with its NUL) and data are padded to multiples of four.
        self.out.write_all(&[0])?;
        self.pad(110 + name_size as u64)?;
        let copied = io::copy(&mut data.take(u64::from(size)), &mut self.out)?;
        if copied != u64::from(size) {
            let text = format!("{name} has {copied} bytes instead of {size}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.pad(copied)
    }

    fn pad(&mut self, written: u64) -> io::Result<()> {
        let padding = written.next_multiple_of(4) - written;
        io::copy(&mut io::repeat(0).take(padding), &mut self.out)?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "cpio_test.rs"]
mod tests;
