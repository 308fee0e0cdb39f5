//! Arguments of the command line.
use crate::config::Overrides;
use clap::{Parser, Subcommand};
use std::{io, path, path::PathBuf};

/// Carries the network traffic of this host's KVM guests.
///
/// Without a command it runs the daemon in the foreground, until SIGTERM or Ctrl-C. Without a
/// configuration there is one network, `default`, in mode nat; guests get ports on request, as
/// from `vmm run --net network=default`.
///
/// Exit codes: 0 done, 1 failed (`health`: there are problems), 2 wrong command line or
/// configuration.
#[derive(Debug, Parser)]
#[command(name = "netbackend", version)]
pub struct Args {
    /// Configuration file (TOML; see docs/config.md); commands find the daemon's socket in it
    #[arg(long, value_name = "FILE", env = "NETBACKEND_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,

    /// Directory for sockets [default: /run/netbackend for root, else $XDG_RUNTIME_DIR/netbackend]
    #[arg(
        long,
        value_name = "DIR",
        env = "NETBACKEND_RUNTIME_DIR",
        global = true
    )]
    pub(super) runtime_dir: Option<PathBuf>,

    /// Socket of the control API [default: control.sock in the runtime directory]
    #[arg(
        long,
        value_name = "PATH",
        env = "NETBACKEND_CONTROL_SOCKET",
        global = true
    )]
    pub(super) control_socket: Option<PathBuf>,

    /// What the daemon logs to standard error: error, warn, info, debug, trace, or a filter of the
    /// `tracing` crate like `info,netbackend::network=debug`
    #[arg(
        long,
        value_name = "LEVEL",
        env = "NETBACKEND_LOG",
        default_value = "info",
        global = true
    )]
    pub(super) log: String,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Shows networks, ports and counters of the running daemon
    Status {
        /// As JSON, like GET /v1/status
        #[arg(long)]
        json: bool,
    },
    /// Tells whether everything works; exit code 1 if not
    Health {
        /// As JSON, like GET /v1/health
        #[arg(long)]
        json: bool,
    },
    /// Has the daemon read its configuration again; networks that stay the same are not touched
    Reload {
        /// As JSON, like POST /v1/reload
        #[arg(long)]
        json: bool,
    },
    /// Adds, removes and shows networks of the running daemon
    Network {
        #[command(subcommand)]
        command: NetworkCommand,
    },
    /// Checks a configuration file and explains what it means
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Adds, removes and shows ports of the running daemon
    Port {
        #[command(subcommand)]
        command: PortCommand,
    },
    /// Adds, removes and lists ports of the host that lead to guests of a network in mode nat
    Forward {
        #[command(subcommand)]
        command: ForwardCommand,
    },
    /// Shows what flows through the gateway of a network in mode nat, the fastest first
    Flows {
        /// Network with the gateway
        #[arg(default_value = "default")]
        network: String,
        /// Show it again and again, every so many seconds
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
        watch: Option<f64>,
        /// As JSON, like GET /v1/networks/NETWORK/flows
        #[arg(long, conflicts_with = "watch")]
        json: bool,
    },
    /// Shows the addresses that the DHCP servers of a network in mode nat gave away
    Leases {
        /// Network with the gateway
        #[arg(default_value = "default")]
        network: String,
        /// As JSON, like GET /v1/networks/NETWORK/leases
        #[arg(long)]
        json: bool,
    },
    /// One network's process; started by the daemon
    #[command(hide = true)]
    Worker {
        /// Name of the network
        network: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// Adds a network; it stays until it is removed, also over a restart of the daemon
    Add {
        /// Name of the network
        network: String,
        /// bridge, private, vepa, passthrough or nat [default: bridge]
        #[arg(long)]
        mode: Option<String>,
        /// MTU offered to guests [default: 1500, or that of the uplink's NIC]
        #[arg(long)]
        mtu: Option<u16>,
        /// Datapath threads [default: 1, or as many as --cpus]
        #[arg(long)]
        workers: Option<u16>,
        /// The CPU of each datapath thread, like 2,3
        #[arg(long, value_name = "CPUS", value_delimiter = ',')]
        cpus: Vec<u16>,
        /// Another key of the configuration, like ageing="60s" or
        /// ports.up='{kind="tap", interface="up0", uplink=true}'; can be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Print the whole network as JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes a network with all its ports; its guests lose the connection
    Remove {
        /// Name of the network
        network: String,
    },
    /// Lists all networks
    List {
        /// As JSON, like GET /v1/networks
        #[arg(long)]
        json: bool,
    },
    /// Shows one network and its ports
    Show {
        /// Name of the network
        network: String,
        /// As JSON, like GET /v1/networks/NETWORK
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PortCommand {
    /// Adds a port and prints its socket; it stays until it is removed, also over a restart of the
    /// daemon
    Add {
        /// Network that gets the port
        network: String,
        /// Name of the port [default: the first of p0, p1, ... that is free]
        #[arg(long)]
        name: Option<String>,
        /// Fixed MAC address of the guest
        #[arg(long)]
        mac: Option<String>,
        /// Queue pairs at most [default: 8; 1 for a tap]
        #[arg(long, value_name = "N")]
        queue_pairs: Option<u16>,
        /// Another key of the configuration, like socket_mode="0666", or kind="tap" with
        /// interface="NAME"; can be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Print the whole port as JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes a port; its guest loses the connection
    Remove {
        /// Network that has the port
        network: String,
        /// Name of the port
        port: String,
    },
    /// Lists the ports of a network
    List {
        /// Network that has the ports
        network: String,
        /// As JSON, like GET /v1/networks/NETWORK/ports
        #[arg(long)]
        json: bool,
    },
    /// Shows one port with all counters of its queues
    Show {
        /// Network that has the port
        network: String,
        /// Name of the port
        port: String,
        /// As JSON, like GET /v1/networks/NETWORK/ports/PORT
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ForwardCommand {
    /// Adds a forward; it stays until it is removed, also over a restart of the daemon
    Add {
        /// Like tcp:8080=web:80 or udp:127.0.0.1%lo:5000-5010=10.0.2.15:5000; a guest without a name is the first
        /// that gets an address. QEMU's hostfwd (tcp::2222-:22) and passt's -t and -u are understood
        #[arg(allow_hyphen_values = true)]
        forward: String,
        /// Network with the guest
        #[arg(long, default_value = "default")]
        network: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes a forward; connections through it go on
    Remove {
        /// As it was added, or as it is listed
        #[arg(allow_hyphen_values = true)]
        forward: String,
        /// Network with the guest
        #[arg(long, default_value = "default")]
        network: String,
    },
    /// Lists the forwards of a network
    List {
        /// Network with the guests
        #[arg(long, default_value = "default")]
        network: String,
        /// As JSON, like GET /v1/networks/NETWORK/forwards
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    /// The paths of the command line, made absolute: they are shown to others.
    pub(super) fn overrides(&self) -> io::Result<Overrides> {
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(path::absolute).transpose();
        Ok(Overrides {
            runtime_dir: absolute(&self.runtime_dir)?,
            control_socket: absolute(&self.control_socket)?,
        })
    }
}
