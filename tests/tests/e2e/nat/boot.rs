//! A machine without a disk boots from the network: iPXE, the firmware of QEMU's network cards, is a DHCP and TFTP client
//! that is none of ours.
use super::world::output;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::{Daemon, KERNEL_PARAMETERS, Nic, QemuGuest, heavy, kernel_and_initrd, needs_root};

/// Firmware, 33 MB over TFTP, and a kernel, all under an emulated CPU.
const BOOT: Duration = Duration::from_mins(4);
/// Many blocks, the last of them short.
const PAYLOAD: u64 = 3_000_001;

/// Random bytes.
fn random(len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = fs::File::open("/dev/urandom").unwrap();
    source.take(len).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What TFTP offers: a script for iPXE, and what it names.
fn fill(root: &Path, word: &str) {
    let (kernel, initrd) = kernel_and_initrd();
    fs::copy(kernel, root.join("vmlinuz")).unwrap();
    fs::create_dir(root.join("lab")).unwrap();
    fs::copy(initrd, root.join("lab/initrd")).unwrap();
    fs::write(root.join("payload"), random(PAYLOAD)).unwrap();
    // With a name behind it iPXE puts a file into the initramfs.
    let script = format!(
        "#!ipxe\n\
         echo script {word} at ${{net0/ip}} by ${{net0/gateway}}\n\
         kernel vmlinuz {KERNEL_PARAMETERS} job=netboot word={word}\n\
         initrd lab/initrd\n\
         initrd payload /payload\n\
         boot\n"
    );
    fs::write(root.join("boot.ipxe"), script).unwrap();
}

#[test]
fn nat_a_guest_boots_from_the_network() {
    if !needs_root("nat_a_guest_boots_from_the_network") {
        return;
    }
    let _turn = heavy();
    let root = tempfile::tempdir().unwrap();
    let word = u64::from_ne_bytes(random(8).try_into().unwrap());
    let word = format!("{word:016x}");
    fill(root.path(), &word);
    let daemon = Daemon::start(&format!(
        "[networks.n]\nmode = \"nat\"\ntftp_root = \"{}\"\nboot_file = \"boot.ipxe\"\n[networks.n.ports.g]\n",
        root.path().display()
    ));
    let nic = Nic::new(daemon.socket("n", "g"), "52:54:00:00:00:01");
    let mut guest = QemuGuest::boot_from_network("netboot", daemon.directory(), &nic);
    let process = &mut guest.process;
    process.wait_for(&format!("script {word} at 10.0.2.15 by 10.0.2.2"), BOOT);
    process.wait_for("RESULT netboot", BOOT);
    let hashed = output(Command::new("sha256sum").arg(root.path().join("payload")));
    let hash = hashed.split_whitespace().next().unwrap();
    process.wait_for(&format!("word={word} sha256={hash}"), BOOT);
}
