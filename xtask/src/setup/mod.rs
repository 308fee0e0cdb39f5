//! What the lab needs on this machine: programs from packages, stock kernels.
pub mod apt;
pub mod cargo_fuzz;
pub mod emulator;
pub mod kernels;
pub mod openvswitch;

use crate::exec::{self, find_program};
use crate::machine;
use crate::ui::Ui;
use anyhow::{Result, bail};
use std::process::Command;

/// A program and the Debian package it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Name of the program.
    pub program: &'static str,
    /// Name of the package; or several, as apt-get takes them, patterns included.
    pub package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// Everything that the lab and the end-to-end tests call.
pub const TOOLS: &[Tool] = &[
    tool("qemu-system-x86_64", "qemu-system-x86"),
    tool("c++", "g++"),
    tool("busybox", "busybox-static"),
    tool("dash", "dash"),
    tool("iperf3", "iperf3"),
    tool("slirp4netns", "slirp4netns"),
    tool("ip", "iproute2"),
    tool("ping", "iputils-ping"),
    tool("ethtool", "ethtool"),
    tool("tcpdump", "tcpdump"),
    tool("tshark", "tshark"),
    tool("dnsmasq", "dnsmasq-base"),
    tool("dhclient", "isc-dhcp-client"),
    tool("depmod", "kmod"),
    tool("openssl", "openssl"),
    tool("ldd", "libc-bin"),
    tool("tar", "tar"),
    tool("unshare", "util-linux"),
    tool("valgrind", "valgrind"),
    // Its drivers are plugins in packages of their own, named after the version of their interface.
    tool(
        "dpdk-testpmd",
        "dpdk-dev ^librte-net-virtio[0-9]+$ ^librte-net-vhost[0-9]+$ ^librte-net-af-packet[0-9]+$ ^librte-net-af-xdp[0-9]+$ \
         ^librte-mempool-ring[0-9]+$",
    ),
];

/// The tools that are not installed.
pub fn missing() -> Vec<Tool> {
    let absent = |tool: &&Tool| match tool.program {
        // Debian's package `busybox` has a smaller one without a web server.
        "busybox" => !busybox_serves_http(),
        "dpdk-testpmd" => find_program("dpdk-testpmd").is_none() || !has_dpdk_drivers(),
        program => find_program(program).is_none(),
    };
    TOOLS.iter().filter(absent).copied().collect()
}

fn busybox_serves_http() -> bool {
    exec::stdout(Command::new("busybox").arg("--list"))
        .is_ok_and(|list| list.lines().any(|applet| applet == "httpd"))
}

/// Whether testpmd can be a virtio-user front-end, and forward between interfaces: `/usr/lib/TRIPLE/dpdk/pmds-VERSION/…`.
fn has_dpdk_drivers() -> bool {
    let find = "ls /usr/lib/*/dpdk/pmds-*/librte_net_virtio.so* \
                && ls /usr/lib/*/dpdk/pmds-*/librte_net_af_packet.so* \
                && ls /usr/lib/*/dpdk/pmds-*/librte_net_af_xdp.so* \
                && ls /usr/lib/*/dpdk/pmds-*/librte_mempool_ring.so*";
    exec::stdout(Command::new("sh").args(["-c", find])).is_ok()
}

/// Installs what is missing, or says what to install where we cannot.
pub fn install_tools(ui: Ui) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if !machine::is_debian() {
        let names: Vec<_> = missing.iter().map(|tool| tool.program).collect();
        bail!(
            "these programs are missing: {}; this is not a Debian system, so install them with its own package manager",
            names.join(", ")
        );
    }
    let packages: Vec<_> = missing
        .iter()
        .flat_map(|tool| tool.package.split(' '))
        .collect();
    let title = format!("install {}", packages.join(" "));
    ui.step(&title, |step| apt::install(step, &packages))
}
