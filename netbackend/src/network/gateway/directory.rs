//! The directory that the TFTP server offers.
use nat::services::tftp::{Directory, File, OpenError};
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
};

/// An open directory. Nothing outside of it is ever opened, whatever names and symbolic links say (`openat2(2)`, RESOLVE_BENEATH).
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::File::open(path)?.into()))
    }
}

impl Directory for Root {
    fn open(&mut self, path: &str) -> Result<Box<dyn File>, OpenError> {
        // Without waiting for the other end of a pipe.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let how = OpenHow::new()
            .flags(flags)
            .mode(Mode::empty())
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = openat2(&self.0, path, how).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => OpenError::NotFound,
            Errno::EACCES | Errno::EPERM | Errno::EXDEV | Errno::ELOOP => OpenError::Denied,
            _ => OpenError::Failed,
        })?;
        let file = fs::File::from(file);
        let about = file.metadata().map_err(|_| OpenError::Failed)?;
        if !about.is_file() {
            return Err(OpenError::Denied);
        }
        let len = about.len();
        Ok(Box::new(Regular { file, len }))
    }
}

#[derive(Debug)]
struct Regular {
    file: fs::File,
    len: u64,
}

impl File for Regular {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..)
            && !rest.is_empty()
        {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_read_and_nothing_outside_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(root.join("sub/kernel"), "kernel").unwrap();
        symlink("sub/kernel", root.join("inside")).unwrap();
        symlink("../secret", root.join("outside")).unwrap();
        symlink("/etc/passwd", root.join("absolute")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::S_IRWXU).unwrap();
        let mut root = Root::open(&root).unwrap();
        for name in ["sub/kernel", "inside"] {
            let file = root.open(name).unwrap();
            let mut bytes = [0; 16];
            assert_eq!(file.read_at(1, &mut bytes).unwrap(), 5);
            assert_eq!((&bytes[..5], file.len()), (&b"ernel"[..], 6));
        }
        for (name, error) in [
            ("none", OpenError::NotFound),
            ("sub", OpenError::Denied),
            ("pipe", OpenError::Denied),
            ("outside", OpenError::Denied),
            ("absolute", OpenError::Denied),
            ("loop", OpenError::Denied),
        ] {
            assert_eq!(root.open(name).err(), Some(error), "{name}");
        }
    }
}
