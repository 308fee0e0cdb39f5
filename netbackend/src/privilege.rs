//! What it takes to make interfaces of the host, and how a daemon that is not root gets it: told in one place, because `setcap`
//! replaces what a program has. Who follows one remedy must not undo another.
use std::fmt;

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Device {
    Tap,
    /// Its device node is root's, in a /dev that is root's.
    #[default]
    Macvtap,
    PacketSocket,
}

/// The privileges that something of this kind takes, all of them; shown as the way to grant them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Privileges {
    device: Device,
    /// In a network namespace with a name.
    elsewhere: bool,
}

impl Privileges {
    pub(crate) fn new(device: Device, netns: Option<&str>) -> Self {
        Self {
            device,
            elsewhere: netns.is_some(),
        }
    }

    fn capabilities(self) -> impl Iterator<Item = &'static str> {
        let own: &[_] = match self.device {
            Device::Tap => &["cap_net_admin"],
            Device::Macvtap => &["cap_net_admin", "cap_mknod", "cap_dac_override"],
            Device::PacketSocket => &["cap_net_admin", "cap_net_raw"],
        };
        let elsewhere = self.elsewhere.then_some("cap_sys_admin");
        own.iter().copied().chain(elsewhere)
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.capabilities().collect();
        let (file, unit) = (all.join(","), all.join(" ").to_uppercase());
        write!(
            f,
            "run it as root, `setcap {file}+ep` on its binary, which replaces what that has, or AmbientCapabilities={unit} in its systemd unit"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_names_all_that_is_needed() {
        for (device, netns, expected) in [
            (Device::Tap, None, "cap_net_admin"),
            (
                Device::Macvtap,
                None,
                "cap_net_admin,cap_mknod,cap_dac_override",
            ),
            (
                Device::PacketSocket,
                Some("blue"),
                "cap_net_admin,cap_net_raw,cap_sys_admin",
            ),
        ] {
            let text = Privileges::new(device, netns).to_string();
            assert!(text.contains(&format!("`setcap {expected}+ep`")), "{text}");
            let unit = expected.replace(',', " ").to_uppercase();
            assert!(
                text.contains(&format!("AmbientCapabilities={unit} ")),
                "{text}"
            );
        }
    }
}
