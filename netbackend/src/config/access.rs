//! Who may connect to a socket: the keys `socket_mode`, `socket_owner` and `socket_group`.
use super::{
    section::Section,
    value::{Reading, Wrong},
};
use nix::unistd::{Group, User};
use toml::de::DeValue;

/// Mode and owner of a listening socket's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permission bits.
    pub mode: u32,
    /// User that owns it; the daemon's own without.
    pub owner: Option<u32>,
    /// Group that owns it; the daemon's own without.
    pub group: Option<u32>,
}

impl SocketAccess {
    /// Owner and group may connect, both being the daemon's.
    pub const DEFAULT: Self = Self {
        mode: 0o660,
        owner: None,
        group: None,
    };
}

/// Keys of networks and ports.
pub(super) const KEYS: [&str; 3] = ["socket_mode", "socket_owner", "socket_group"];
/// Keys of the control socket.
pub(super) const CONTROL_KEYS: [&str; 3] = [
    "control_socket_mode",
    "control_socket_owner",
    "control_socket_group",
];

/// The settings of a section; what it does not say is as in `default`.
pub(super) fn read(
    section: &mut Section<'_, '_, '_>,
    [mode_key, owner_key, group_key]: [&str; 3],
    default: SocketAccess,
) -> SocketAccess {
    SocketAccess {
        mode: section.get(mode_key, mode).unwrap_or(default.mode),
        owner: section.get(owner_key, owner).or(default.owner),
        group: section.get(group_key, group).or(default.group),
    }
}

/// Octal digits in a string; connecting to a socket takes the write bit (unix(7)).
fn mode(reading: &Reading<'_, '_>) -> Result<u32, Wrong> {
    let mode = match reading.value {
        DeValue::String(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        // 660 would be a decimal number; nobody means that.
        _ => None,
    };
    mode.filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600)
        .ok_or_else(|| {
            Wrong::new(
                format!("{} is not the mode of a socket", reading.text),
                "write octal digits in quotes, with read and write for the owner, like \"0660\"",
            )
        })
}

fn owner(reading: &Reading<'_, '_>) -> Result<u32, Wrong> {
    id(reading, "user", |name| {
        let found = User::from_name(name).ok().flatten();
        found.map(|user| user.uid.as_raw())
    })
}

fn group(reading: &Reading<'_, '_>) -> Result<u32, Wrong> {
    id(reading, "group", |name| {
        let found = Group::from_name(name).ok().flatten();
        found.map(|group| group.gid.as_raw())
    })
}

/// A number, or a name that the host knows.
fn id(
    reading: &Reading<'_, '_>,
    what: &str,
    look_up: impl FnOnce(&str) -> Option<u32>,
) -> Result<u32, Wrong> {
    let found = match reading.value {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::String(name) if name.contains('\0') => None,
        DeValue::String(name) => name.parse().ok().or_else(|| look_up(name)),
        _ => None,
    };
    // -1 means "leave it as it is" to chown(2).
    found.filter(|id| *id != u32::MAX).ok_or_else(|| {
        Wrong::new(
            format!("{} is no {what} of this host", reading.text),
            format!(
                "write a name that `getent {} NAME` finds, or a number",
                match what {
                    "user" => "passwd",
                    _ => "group",
                }
            ),
        )
    })
}
