//! Leases, kept over a restart in a file that the supervisor has opened.
use nat::services::{Leases, Services};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::warn;

/// Between two writes at least: guests ask as often as they like.
const PAUSE: Duration = Duration::from_secs(1);
/// A file longer than this is not one of ours.
const LONGEST: u64 = 64 << 20;

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Seconds since 1970.
    written: u64,
    leases: Leases,
}

/// The file, and what of it is up to date.
#[derive(Debug, Default)]
pub(super) struct LeaseFile {
    file: Option<File>,
    /// Generation of the leases that are in the file.
    generation: u64,
    written: Option<Duration>,
}

impl LeaseFile {
    pub(super) fn new(file: Option<File>) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// Gives the services what was kept. A file that is not understood is none.
    pub(super) fn restore(&mut self, now: Duration, services: &mut Services) {
        let kept = self.file.as_ref().and_then(|file| match read(file) {
            Ok(kept) => kept,
            Err(error) => {
                warn!(%error, "leases of before are lost: their file is not understood");
                None
            }
        });
        if let Some(Kept { written, leases }) = kept {
            let elapsed = since_1970().saturating_sub(Duration::from_secs(written));
            services.restore_leases(now, &leases, elapsed);
        }
        self.generation = services.leases_generation();
    }

    /// Writes what has changed. Returns when it wants to be called again.
    pub(super) fn keep(&mut self, now: Duration, services: &Services) -> Option<Duration> {
        let generation = services.leases_generation();
        let file = self.file.as_ref()?;
        if generation == self.generation {
            return None;
        }
        if let Some(written) = self.written
            && now < written + PAUSE
        {
            return Some(written + PAUSE);
        }
        self.generation = generation;
        self.written = Some(now);
        let kept = Kept {
            written: since_1970().as_secs(),
            leases: services.leases(now),
        };
        if let Err(error) = write(file, &kept) {
            warn!(%error, "leases cannot be kept over a restart");
        }
        None
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn read(file: &File) -> io::Result<Option<Kept>> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(None);
    }
    if length > LONGEST {
        return Err(io::Error::other("it is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    // The first value alone: what follows is the end of a longer one, whose successor's writer was killed before it cut that off.
    let mut values = serde_json::Deserializer::from_slice(&bytes).into_iter();
    Ok(values.next().transpose()?)
}

/// In one write, and then without what was there before: [`read`] knows what a worker leaves that is killed between the two.
fn write(file: &File, kept: &Kept) -> io::Result<()> {
    let bytes = serde_json::to_vec(kept)?;
    file.write_all_at(&bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nat::{Config, MacAddr, services::LeaseRecord};

    fn services() -> Services {
        Services::new(&Config::new(MacAddr([0x52, 0x55, 10, 0, 2, 2])), 7)
    }

    fn lease() -> Leases {
        let record = LeaseRecord {
            address: "10.0.2.33".parse().unwrap(),
            client: vec![1, 2, 3],
            mac: [0x52, 0x54, 0, 0, 0, 1],
            hostname: Some("web".into()),
            remaining: 600,
            station_age: 0,
        };
        Leases {
            ipv4: vec![record],
            ipv6: Vec::new(),
        }
    }

    #[test]
    fn leases_are_there_again_and_have_aged() {
        let file = tempfile::tempfile().unwrap();
        let kept = Kept {
            written: since_1970().as_secs() - 100,
            leases: lease(),
        };
        write(&file, &kept).unwrap();
        let mut services = services();
        let mut leases = LeaseFile::new(Some(file));
        leases.restore(Duration::ZERO, &mut services);
        let back = services.leases(Duration::ZERO).ipv4;
        assert_eq!(back[0].address, lease().ipv4[0].address);
        assert!((495..=500).contains(&back[0].remaining), "{back:?}");
        // Nothing has changed since: nothing is written.
        assert_eq!(leases.keep(Duration::ZERO, &services), None);
    }

    #[test]
    fn a_broken_file_costs_the_leases_only() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"{\"written\": 1, \"leas", 0).unwrap();
        let mut services = services();
        LeaseFile::new(Some(file)).restore(Duration::ZERO, &mut services);
        assert_eq!(services.leases(Duration::ZERO), Leases::default());
    }

    #[test]
    fn what_a_longer_list_left_behind_the_new_one_is_passed_over() {
        let file = tempfile::tempfile().unwrap();
        let mut kept = Kept {
            written: since_1970().as_secs(),
            leases: lease(),
        };
        let more = vec![kept.leases.ipv4[0].clone(); 3];
        kept.leases.ipv4.extend(more);
        write(&file, &kept).unwrap();
        kept.leases = lease();
        // Killed before the rest was cut off.
        let bytes = serde_json::to_vec(&kept).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        assert_eq!(read(&file).unwrap().unwrap().leases, lease());
        write(&file, &kept).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
    }

    #[test]
    fn a_change_is_written_at_once_but_not_every_time() {
        let file = tempfile::tempfile().unwrap();
        let mut services = services();
        let mut leases = LeaseFile::new(Some(file.try_clone().unwrap()));
        leases.restore(Duration::ZERO, &mut services);
        services.restore_leases(Duration::ZERO, &lease(), Duration::ZERO);
        assert_eq!(leases.keep(Duration::from_secs(5), &services), None);
        let kept = read(&file).unwrap().unwrap();
        assert_eq!(kept.leases.ipv4.len(), 1);
    }
}
