//! Names and addresses of what we make: the same at every start, and nobody else's.
use std::{fs, path::Path};
use switch::MacAddr;

/// How the aliases of our interfaces start.
const MARK: &str = "netbackend:";
/// `IFALIASZ` of linux/if.h, without its final NUL.
const LONGEST_ALIAS: usize = 255;

/// Whose an interface is: a port of a network of the daemon of a runtime directory (which only one daemon at a time may use).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    alias: String,
    hash: u64,
}

impl Identity {
    pub(crate) fn new(runtime_dir: &Path, network: &str, part: &str) -> Self {
        let mut alias = format!("{}{network}/{part}", mark(runtime_dir));
        // Names are ASCII and at most 65 bytes together; a runtime directory may be longer.
        if alias.len() > LONGEST_ALIAS {
            alias = format!("{}{network}/{part}", short_mark(runtime_dir));
        }
        let hash = fnv1a(alias.as_bytes());
        Self { alias, hash }
    }

    /// The runtime directory in an alias. It may have colons, and so may the part (a MAC address), but no slash is in the latter.
    pub(crate) fn owner(alias: &str) -> Option<&str> {
        let (owner_and_network, _) = alias.strip_prefix(MARK)?.rsplit_once('/')?;
        let (owner, _) = owner_and_network.rsplit_once(':')?;
        Some(owner)
    }

    /// 14 of the 15 bytes that the kernel allows.
    pub(crate) fn interface(&self) -> String {
        format!("nb{:012x}", self.hash & 0xffff_ffff_ffff)
    }

    /// A locally administered address; another one on every host, as hosts with the same configuration may share a wire.
    pub(crate) fn mac(&self) -> MacAddr {
        let machine = fs::read("/etc/machine-id").unwrap_or_default();
        let machine = machine.trim_ascii();
        let hash = fnv1a(&[machine, self.alias.as_bytes()].concat());
        let [_, _, own @ ..] = hash.to_be_bytes();
        let mut mac = MacAddr(own);
        mac.0[0] = 0x02;
        mac
    }

    /// What marks it as ours.
    pub(crate) fn alias(&self) -> &str {
        &self.alias
    }
}

/// Whether an interface with this alias was made by a daemon of this runtime directory.
pub(crate) fn is_ours(runtime_dir: &Path, alias: &str) -> bool {
    alias.starts_with(&mark(runtime_dir)) || alias.starts_with(&short_mark(runtime_dir))
}

fn mark(runtime_dir: &Path) -> String {
    format!("{MARK}{}:", runtime_dir.display())
}

fn short_mark(runtime_dir: &Path) -> String {
    let hash = fnv1a(runtime_dir.as_os_str().as_encoded_bytes());
    format!("{MARK}{hash:016x}:")
}

/// FNV-1a: must give the same with every build of the daemon.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
#[path = "identity_test.rs"]
mod tests;
