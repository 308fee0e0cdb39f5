//! How a front-end and a back-end meet: either side may be the one that listens.

use std::{
    fs,
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

/// How long a back-end may take to listen or to connect.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The back-end does.
    Connect,
    /// We do.
    Listen,
}

/// One end of a vhost-user socket, before and between sessions.
#[derive(Debug)]
pub struct Endpoint {
    path: PathBuf,
    listener: Option<UnixListener>,
}

impl Endpoint {
    /// The socket at `path`; to listen, it is made now and removed at the end.
    pub fn open(path: &Path, role: Role) -> anyhow::Result<Self> {
        let listener = match role {
            Role::Connect => None,
            Role::Listen => Some(listen(path)?),
        };
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Meets the back-end.
    pub(crate) fn meet(&self) -> anyhow::Result<UnixStream> {
        let start = Instant::now();
        loop {
            let tried = match &self.listener {
                None => UnixStream::connect(&self.path),
                Some(listener) => listener.accept().map(|(stream, _)| stream),
            };
            match tried {
                Ok(stream) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(_) if start.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(error) => {
                    let path = self.path.display();
                    return Err(error).context(match self.listener {
                        None => format!("connecting to {path}"),
                        Some(_) => format!("no back-end has connected to {path}"),
                    });
                }
            }
        }
    }
}

fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    // One that an earlier run has left behind; nothing but a socket is removed.
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.listener.is_some() {
            // Gone already: then somebody else tidied up.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
