//! Where the guest's serial output goes.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::config::SerialConfig;

/// Standard output, a file or nowhere. It stays open across resets of the guest, whose log goes on where it was.
#[derive(Debug, Clone, Default)]
pub struct SerialOutput(Option<Arc<File>>);

impl SerialOutput {
    /// Opens what `config` says; a file loses what was in it.
    pub fn open(config: &SerialConfig) -> io::Result<Self> {
        let file = match config {
            SerialConfig::Stdio => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            SerialConfig::Null => return Ok(Self(None)),
            SerialConfig::File(path) => File::create(path)?,
        };
        Ok(Self(Some(Arc::new(file))))
    }

    /// A writer for one machine. Once `stop` is set, a signal ends a write that nobody takes.
    pub fn writer(&self, stop: Arc<AtomicBool>) -> SerialWriter {
        SerialWriter {
            file: self.0.clone(),
            stop,
        }
    }
}

/// Writes without a buffer: a person wants to see each character when it is printed.
#[derive(Debug)]
pub struct SerialWriter {
    file: Option<Arc<File>>,
    stop: Arc<AtomicBool>,
}

impl Write for SerialWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &self.file else {
            return Ok(bytes.len());
        };
        match file.as_ref().write(bytes) {
            // The signal that stops vCPUs: what cannot be written now is lost.
            Err(error)
                if error.kind() == io::ErrorKind::Interrupted
                    && self.stop.load(Ordering::Acquire) =>
            {
                Ok(bytes.len())
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
