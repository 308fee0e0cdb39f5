//! Networks on a NIC of the host: a veth in a namespace, whose other end is the wire.
mod absent;
mod attach;
mod bad_inputs;
mod filter;
mod lifecycle;
mod packet;
mod reload;
mod stations;

use control::PortRequest;
use std::fmt::Write as _;
use std::process::Output;
use std::time::Duration;
use tests::{Namespace, say, wait_until};

const PATIENCE: Duration = Duration::from_mins(1);
/// The NIC.
const NIC: &str = "nic0";
/// Address of the host at the other end of the wire.
const OUTSIDE: &str = "10.7.0.1";

/// A NIC and what it is plugged into.
struct Wire {
    /// The NIC is here.
    host: Namespace,
    /// `eth0` is the other end.
    outside: Namespace,
}

impl Wire {
    fn new() -> Self {
        let wire = Self {
            host: Namespace::quiet("nic"),
            outside: Namespace::quiet("outside"),
        };
        wire.plug_in();
        wire
    }

    /// Makes the NIC.
    fn plug_in(&self) {
        self.plug_in_with_mtu(1500);
    }

    fn plug_in_with_mtu(&self, mtu: u16) {
        let outside = self.outside.name();
        self.host.script(&format!(
            "ip link add {NIC} mtu {mtu} type veth peer name eth0 address 52:54:00:07:00:01 netns {outside}
             ip link set {NIC} up"
        ));
        self.outside.configure("eth0", &format!("{OUTSIDE}/24"));
    }

    /// The NIC vanishes.
    fn pull_out(&self) {
        self.host.run(&format!("ip link del {NIC}"));
    }

    /// What `ip link` shows of all interfaces on the NIC's side.
    fn links(&self) -> String {
        text(&self.host.run("ip -d -o link show"))
    }

    /// Interfaces besides the NIC and `lo`.
    fn more_links(&self) -> Vec<String> {
        let links = self.links();
        let more = links.lines().filter(|line| {
            let name = line
                .split([' ', ':', '@'])
                .find(|word| word.parse::<u32>().is_err() && !word.is_empty());
            !matches!(name, Some("lo" | NIC))
        });
        more.map(str::to_owned).collect()
    }

    /// The section `uplink`, on this NIC.
    fn section(&self, network: &str, more: &str) -> String {
        let netns = self.host.name();
        format!("[networks.{network}.uplink]\nnic = \"{NIC}\"\nnetns = \"{netns}\"\n{more}\n")
    }
}

/// A namespace that is a guest by tap `eth0`, with address 10.7.0.`last`.
struct Guest {
    namespace: Namespace,
    last: u8,
}

impl Guest {
    fn new(last: u8) -> Self {
        let namespace = Namespace::quiet("guest");
        Self { namespace, last }
    }

    fn mac(&self) -> String {
        format!("52:54:00:07:00:{:02x}", self.last)
    }

    /// Its section in the configuration.
    fn section(&self, network: &str) -> String {
        let mut text = String::new();
        let (last, netns, mac) = (self.last, self.namespace.name(), self.mac());
        writeln!(text, "[networks.{network}.ports.g{last}]\nkind = \"tap\"").unwrap();
        writeln!(
            text,
            "interface = \"eth0\"\nnetns = \"{netns}\"\nmac = \"{mac}\""
        )
        .unwrap();
        text
    }

    /// When its tap is there.
    fn configure(&self) {
        let address = format!("10.7.0.{}/24", self.last);
        self.namespace.configure("eth0", &address);
    }

    fn reaches(&self, address: &str) -> bool {
        let ping = format!("-c 1 -W 1 {address}");
        let mut ping = ping
            .split(' ')
            .fold(self.namespace.command("ping"), |mut ping, word| {
                ping.arg(word);
                ping
            });
        ping.output().unwrap().status.success()
    }

    #[track_caller]
    fn wait_reaches(&self, address: &str) {
        wait_until(&format!("an echo from {address}"), PATIENCE, || {
            self.reaches(address).then_some(())
        });
    }
}

/// A port whose process is this one.
fn leased() -> PortRequest {
    PortRequest {
        name: Some("vm".to_owned()),
        lease: true,
        ..PortRequest::default()
    }
}

/// Whether this kernel has 802.1Q interfaces; if not, says what is not tested. (The lab's has, for scenarios `uplink` and `vlans`.)
fn needs_vlans(what: &str) -> bool {
    let namespace = Namespace::quiet("vlans");
    let mut add = namespace.command("sh");
    let script =
        "ip link add v0 up type veth peer name v1 && ip link add link v0 name v0.5 type vlan id 5";
    let has = add.args(["-c", script]).output().unwrap().status.success();
    if !has {
        say(&format!(
            "SKIPPED {what}: this kernel has no 802.1Q interfaces (module 8021q)"
        ));
    }
    has
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
