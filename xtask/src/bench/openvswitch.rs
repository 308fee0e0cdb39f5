//! Open vSwitch with its DPDK datapath: a learning switch (action NORMAL), or one told where frames go, with a packet buffer in
//! between.
//!
//! It runs from the cache, without being installed, with a database, sockets and a network namespace of its own: the host's Open
//! vSwitch, if there is one, never hears of it.
use super::process::Process;
use crate::exec;
use crate::setup::openvswitch::OpenVSwitch;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds that the switch may take to do what it is told.
const TIMEOUT: &str = "--timeout=60";
const BRIDGE: &str = "bench";

/// Where its frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// To where their addresses were learned.
    Normal,
    /// From each port to the other one.
    PortToPort,
}

/// What its two ports are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ports<'a> {
    /// Vhost-user clients that connect to these sockets.
    Sockets(&'a [PathBuf; 2]),
    /// Packet sockets at these interfaces of its namespace, by this driver.
    Interfaces([&'a str; 2], Driver),
}

/// Whose packet sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// DPDK's (`net_af_packet`), for frames of 1518 bytes: it refuses a larger MTU.
    Dpdk,
    /// Its own (type `system`), for frames of the interface's MTU.
    OpenVSwitch,
}

/// What it is to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) ports: Ports<'a>,
    pub(super) cpu: usize,
    pub(super) forwarding: Forwarding,
    pub(super) gso: bool,
    /// Namespace that it runs in; one of its own without.
    pub(super) namespace: Option<&'a str>,
}

/// A running switch. The daemon ends before its database.
#[derive(Debug)]
pub(super) struct Switch {
    daemon: Process,
    _database: Process,
}

impl Switch {
    /// Starts it, with one bridge.
    pub(super) fn start(
        programs: &OpenVSwitch,
        directory: &Path,
        setup: Setup<'_>,
    ) -> Result<Self> {
        // A database of an earlier run has its settings and ports.
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)?;
        let instance = Instance {
            programs,
            directory,
        };
        let database = instance.start_database()?;
        instance.configure(setup.cpu, setup.gso)?;
        let mut daemon = instance.start_daemon(setup)?;
        let ready = || daemon_is_ready(&instance);
        daemon.wait_until("DPDK datapath", ready)?;
        instance.add_ports(setup.ports)?;
        if setup.forwarding == Forwarding::PortToPort {
            instance.add_flows()?;
        }
        Ok(Self {
            daemon,
            _database: database,
        })
    }

    /// Its polling threads take all of their CPU: not while others are measured.
    pub(super) fn pause(&self, paused: bool) -> Result<()> {
        self.daemon.pause(paused)
    }
}

fn daemon_is_ready(instance: &Instance<'_>) -> bool {
    let query = ["get", "Open_vSwitch", ".", "dpdk_initialized"];
    let mut vsctl = instance.vsctl();
    exec::stdout(vsctl.args(query)).is_ok_and(|text| text.trim() == "true")
}

struct Instance<'a> {
    programs: &'a OpenVSwitch,
    directory: &'a Path,
}

impl Instance<'_> {
    fn remote(&self) -> String {
        format!("unix:{}", self.directory.join("db.sock").display())
    }

    fn command(&self, program: &str) -> Command {
        self.in_private(self.programs.command(program))
    }

    /// Whatever is not said on the command line goes into the private directory.
    fn in_private(&self, mut command: Command) -> Command {
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.directory);
        }
        command
    }

    fn vsctl(&self) -> Command {
        let mut command = self.command("ovs-vsctl");
        command.arg(format!("--db={}", self.remote())).arg(TIMEOUT);
        command
    }

    fn start_database(&self) -> Result<Process> {
        let database = self.directory.join("conf.db");
        let mut create = self.command("ovsdb-tool");
        create.arg("create").arg(&database);
        exec::run(create.arg(self.programs.schema()))?;
        let mut server = self.command("ovsdb-server");
        let socket = self.directory.join("db.sock");
        server.arg(format!("--remote=punix:{}", socket.display()));
        server.arg(format!(
            "--pidfile={}",
            self.directory.join("ovsdb-server.pid").display()
        ));
        let mut process = Process::start("ovsdb-server", self.directory, server.arg(&database))?;
        process.wait_until("socket", || socket.exists())?;
        Ok(process)
    }

    fn configure(&self, cpu: usize, gso: bool) -> Result<()> {
        let mask = 1_u64
            .checked_shl(u32::try_from(cpu)?)
            .context("the CPU's number is too high for a mask")?;
        exec::run(self.vsctl().args(["--no-wait", "init"]))?;
        let mut set = self.vsctl();
        set.args(["--no-wait", "set", "Open_vSwitch", "."]);
        set.arg("other_config:dpdk-init=true");
        set.arg(format!("other_config:pmd-cpu-mask={mask:#x}"));
        set.arg(format!("other_config:dpdk-lcore-mask={mask:#x}"));
        set.arg("other_config:dpdk-socket-mem=512");
        set.arg("other_config:dpdk-extra=--in-memory --no-pci --iova-mode=va --no-telemetry");
        set.arg(format!("other_config:userspace-tso-enable={gso}"));
        exec::run(&mut set)?;
        Ok(())
    }

    fn start_daemon(&self, setup: Setup<'_>) -> Result<Process> {
        // Its bridge has a tap device of its own: not in our namespace. All exec, so the pid stays ours.
        let mut wrapped = if let Some(name) = setup.namespace {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", name]);
            ip
        } else {
            let mut unshare = Command::new("unshare");
            unshare.arg("--net");
            unshare
        };
        wrapped.args(["taskset", "--cpu-list", &setup.cpu.to_string()]);
        let mut command = self.in_private(self.programs.wrapped(wrapped, "ovs-vswitchd"));
        command.arg(self.remote());
        command.arg(format!(
            "--pidfile={}",
            self.directory.join("ovs-vswitchd.pid").display()
        ));
        Process::start("ovs-vswitchd", self.directory, &mut command)
    }

    fn add_ports(&self, ports: Ports<'_>) -> Result<()> {
        let mut add = self.vsctl();
        add.args(["add-br", BRIDGE, "--", "set", "bridge", BRIDGE]);
        add.args(["datapath_type=netdev", "fail_mode=standalone"]);
        for index in 0..2 {
            let port = match ports {
                Ports::Interfaces(names, Driver::OpenVSwitch) => names[index].to_owned(),
                Ports::Interfaces(_, Driver::Dpdk) | Ports::Sockets(_) => format!("port{index}"),
            };
            add.args(["--", "add-port", BRIDGE, &port]);
            add.args(["--", "set", "Interface", &port]);
            match ports {
                Ports::Sockets(sockets) => {
                    let socket = sockets[index].display();
                    add.arg("type=dpdkvhostuserclient");
                    add.arg(format!("options:vhost-server-path={socket}"));
                }
                Ports::Interfaces(names, Driver::Dpdk) => {
                    let name = names[index];
                    add.arg("type=dpdk");
                    add.arg(format!(
                        "options:dpdk-devargs=\"net_af_packet{index},iface={name}\""
                    ));
                }
                Ports::Interfaces(_, Driver::OpenVSwitch) => {
                    add.arg("type=system");
                }
            }
        }
        exec::run(&mut add)?;
        Ok(())
    }

    /// In place of NORMAL: each port's frames leave by the other one.
    fn add_flows(&self) -> Result<()> {
        exec::run(self.command("ovs-ofctl").args(["del-flows", BRIDGE]))?;
        for flow in [
            "in_port=port0,actions=output:port1",
            "in_port=port1,actions=output:port0",
        ] {
            exec::run(self.command("ovs-ofctl").args(["add-flow", BRIDGE, flow]))?;
        }
        Ok(())
    }
}
