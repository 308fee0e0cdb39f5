//! What this machine is and can do.
use std::fs;
use std::process::Command;

/// Whether a stock kernel can run as a guest here: the CPU has virtualization and KVM is open to us.
///
/// A `/dev/kvm` without `svm` or `vmx` runs guest kernels by emulation; stock Linux does not boot on it.
pub fn has_virtualization() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flagged = cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|f| f == "svm" || f == "vmx"));
    flagged
        && fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok()
}

/// Whether we are root.
pub fn is_root() -> bool {
    crate::exec::stdout(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// A value of `/etc/os-release`, without quotes.
pub fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name == key).then(|| value.trim_matches('"').to_owned())
    })
}

/// Whether Debian's package tools rule this machine.
pub fn is_debian() -> bool {
    let like = os_release("ID_LIKE").unwrap_or_default();
    let id = os_release("ID").unwrap_or_default();
    (id == "debian" || like.split_whitespace().any(|word| word == "debian"))
        && crate::exec::find_program("apt-get").is_some()
}

/// The major version of the installed QEMU.
pub fn qemu_major() -> Option<u32> {
    qemu_version(Command::new("qemu-system-x86_64")).map(|(major, _)| major)
}

/// Major and minor version of the QEMU that `command` starts.
pub fn qemu_version(mut command: Command) -> Option<(u32, u32)> {
    let text = crate::exec::stdout(command.arg("--version")).ok()?;
    let version = text.split("version ").nth(1)?;
    let mut parts = version.split(['.', ' ']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
