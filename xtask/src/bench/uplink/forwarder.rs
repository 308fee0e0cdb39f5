//! Programs of others between a veth of the guest's and the NIC. They poll, so they stop while others are measured.
use super::super::{
    machine_report as report,
    namespace::Namespace,
    openvswitch::{Driver, Forwarding, Ports, Setup, Switch},
    process::Process,
    testpmd,
};
use super::ways::{GUEST_MAC, Kind, Programs};
use crate::exec;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The host's ends.
const GUEST_PORT: &str = "guest0";
const NIC: &str = "nic0";

#[derive(Debug)]
pub(super) enum Forwarder {
    OpenVSwitch(Switch),
    Testpmd(Process),
}

impl Forwarder {
    /// Starts that of `kind` in the host's namespace; `None`: no such program is on that way.
    pub(super) fn start(
        kind: Kind,
        programs: &Programs,
        directory: &Path,
        (guest, host, outside): (&Namespace, &Namespace, &Namespace),
    ) -> Result<Option<Self>> {
        let driver = match kind {
            Kind::Ovs | Kind::OvsJumbo => None,
            Kind::DpdkPacket => Some("net_af_packet"),
            Kind::Xdp => Some("net_af_xdp"),
            _ => return Ok(None),
        };
        connect(kind, guest, host)?;
        // Such ports know no large frames and no checksums that are not finished.
        for namespace in [guest, outside] {
            namespace.run("ethtool -K eth0 tx off tso off gso off")?;
        }
        let (_, cpu) = report::two_cpus()?;
        let Some(driver) = driver else {
            let driver = match kind {
                Kind::OvsJumbo => Driver::OpenVSwitch,
                _ => Driver::Dpdk,
            };
            return start_switch(programs, directory, host, (cpu, driver)).map(Some);
        };
        let devices = [(0, GUEST_PORT), (1, NIC)];
        let devices =
            devices.map(|(number, interface)| format!("{driver}{number},iface={interface}"));
        let io = ["--forward-mode=io"];
        let testpmd = testpmd::start_in(host, &directory.join("testpmd"), cpu, &devices, &io)?;
        if kind == Kind::Xdp {
            check_mode(host)?;
        }
        Ok(Some(Self::Testpmd(testpmd)))
    }

    pub(super) fn pause(&self, paused: bool) -> Result<()> {
        match self {
            Self::OpenVSwitch(switch) => switch.pause(paused),
            Self::Testpmd(process) => process.pause(paused),
        }
    }
}

/// The guest's interface and its other end at the host.
fn connect(kind: Kind, guest: &Namespace, host: &Namespace) -> Result<()> {
    let mtu = kind.nic_mtu();
    host.run(&format!(
        "ip link add {GUEST_PORT} up mtu {mtu} type veth peer name eth0 address {GUEST_MAC} mtu {mtu} netns {}",
        guest.name()
    ))
}

/// A driver that knows XDP runs the program before a frame becomes a socket buffer; for others the kernel does after that, and whoever
/// asks for XDP may not be told.
fn check_mode(host: &Namespace) -> Result<()> {
    let said = exec::stdout(&mut host.command(&format!("ip -details link show dev {NIC}")))?;
    let native = said.contains("prog/xdp") && !said.contains("xdpgeneric");
    ensure!(native, "{NIC} has no XDP program in its driver: {said}");
    Ok(())
}

fn start_switch(
    programs: &Programs,
    directory: &Path,
    host: &Namespace,
    (cpu, driver): (usize, Driver),
) -> Result<Forwarder> {
    let setup = Setup {
        ports: Ports::Interfaces([GUEST_PORT, NIC], driver),
        cpu,
        forwarding: Forwarding::Normal,
        gso: false,
        namespace: Some(host.name()),
    };
    let open_vswitch = programs.open_vswitch.as_ref();
    let open_vswitch = open_vswitch.context("Open vSwitch is not to be run here")?;
    Switch::start(open_vswitch, &directory.join("switch"), setup).map(Forwarder::OpenVSwitch)
}
