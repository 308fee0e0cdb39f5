//! Huge pages for one test.
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const COUNT: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// A hugetlbfs of 2 MiB pages. When dropped it is unmounted, and the machine has as many huge pages
/// as before.
#[derive(Debug)]
pub struct Hugepages {
    mount: TempDir,
    added: u64,
}

impl Hugepages {
    /// Takes `count` pages from the machine.
    #[track_caller]
    pub fn new(count: u64) -> Self {
        let mount_point = tempfile::tempdir().expect("a temporary directory");
        let before = read();
        // Others may use some: ours come on top.
        write(before + count);
        let hugepages = Self {
            mount: mount_point,
            added: read().saturating_sub(before),
        };
        assert_eq!(
            hugepages.added, count,
            "the machine's memory is too fragmented for {count} huge pages"
        );
        let none: Option<&str> = None;
        mount(
            none,
            hugepages.directory(),
            Some("hugetlbfs"),
            MsFlags::empty(),
            Some("pagesize=2M"),
        )
        .expect("hugetlbfs can be mounted");
        hugepages
    }

    /// Where it is mounted.
    pub fn directory(&self) -> &Path {
        self.mount.path()
    }

    /// The same, owned.
    pub fn path(&self) -> PathBuf {
        self.directory().to_owned()
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        // Not mounted: then there was nothing to undo.
        let _ = umount2(self.directory(), MntFlags::MNT_DETACH);
        write(read().saturating_sub(self.added));
    }
}

fn read() -> u64 {
    let text = fs::read_to_string(COUNT).expect("the kernel has huge pages");
    text.trim().parse().expect("a number")
}

fn write(count: u64) {
    fs::write(COUNT, count.to_string()).expect("root may change the number of huge pages");
}
