//! Names and addresses of what we make: the same at every start, and nobody else's.
use std::{fs, path::Path};
use switch::MacAddr;

/// How the aliases of our interfaces start.
const MARK: &str = "netbackend:";
/// Between the rest of an alias and the network namespace of who has made the interface.
const HOME: &str = " from ";
/// `IFALIASZ` of linux/if.h, without its final NUL.
const LONGEST_ALIAS: usize = 255;

/// Whose an interface is: a port of a network of the daemon of a runtime directory (which only one daemon at a time may use).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What names and addresses are made of: the same wherever the daemon runs.
    text: String,
    hash: u64,
    /// The text, and the network namespace of who has made it: daemons of different ones share named namespaces.
    alias: String,
}

impl Identity {
    pub(crate) fn new(runtime_dir: &Path, network: &str, part: &str) -> Self {
        let named = |owner: &str| format!("{MARK}{owner}:{network}/{part}");
        let short = named(&short(runtime_dir));
        let long = named(&runtime_dir.display().to_string());
        // Names are ASCII and at most 65 bytes together; a runtime directory may be longer.
        let fits = |text: &str| text.len() <= LONGEST_ALIAS;
        let text = if fits(&long) { long } else { short.clone() };
        let home = home();
        let tagged = [format!("{text}{home}"), format!("{short}{home}")];
        let alias = tagged.into_iter().find(|alias| fits(alias));
        let hash = fnv1a(text.as_bytes());
        Self {
            alias: alias.unwrap_or(short),
            text,
            hash,
        }
    }

    /// The runtime directory in an alias. It may have colons, and so may the part (a MAC address), but no slash is in the latter.
    pub(crate) fn owner(alias: &str) -> Option<&str> {
        let (text, _) = split(alias);
        let (owner_and_network, _) = text.strip_prefix(MARK)?.rsplit_once('/')?;
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
        let hash = fnv1a(&[machine, self.text.as_bytes()].concat());
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

/// Whether an interface with this alias was made by a daemon of this runtime directory, in this network namespace.
pub(crate) fn is_ours(runtime_dir: &Path, alias: &str) -> bool {
    let owner = Identity::owner(alias);
    let is_named =
        |owner: &str| owner == runtime_dir.display().to_string() || owner == short(runtime_dir);
    // Former versions did not tell the namespace.
    owner.is_some_and(is_named) && split(alias).1.is_none_or(|of| of == home())
}

/// Stands for a directory whose path is too long.
fn short(runtime_dir: &Path) -> String {
    let hash = fnv1a(runtime_dir.as_os_str().as_encoded_bytes());
    format!("{hash:016x}")
}

/// How an alias tells the daemon's network namespace: as /proc/PID/ns/net does.
fn home() -> String {
    // The process's, not that of a thread which has entered another.
    let namespace = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("{HOME}{}", namespace.display())
}

/// An alias without and with the daemon's network namespace.
fn split(alias: &str) -> (&str, Option<&str>) {
    match alias.rfind(HOME) {
        Some(at) if alias.ends_with(']') => {
            let (text, home) = alias.split_at(at);
            (text, Some(home))
        }
        _ => (alias, None),
    }
}

/// FNV-1a: must give the same with every build of the daemon.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
#[path = "identity_test.rs"]
mod tests;
