//! `netbackend port`: ports of the running daemon.
use super::{Failure, args::PortCommand, print_json, queues, set, status};
use control::{Client, PortKind, PortRequest};
use std::io::{self, Write};

pub(super) fn run(client: &Client, command: PortCommand) -> Result<(), Failure> {
    match command {
        PortCommand::Add {
            network,
            name,
            mac,
            queue_pairs,
            set,
            json,
        } => {
            let request = PortRequest {
                name,
                mac,
                queue_pairs,
                // This process ends at once; the port is to stay.
                lease: false,
                settings: set::read(&set)?,
            };
            let port = client
                .add_port(&network, &request)
                .map_err(Failure::at_run_time)?;
            let mut out = io::stdout().lock();
            match &port.kind {
                PortKind::VhostUser { socket, .. } if !json => {
                    writeln!(out, "{} {}", port.name, socket.display())?;
                }
                PortKind::Tap { interface, .. } if !json => {
                    writeln!(out, "{} {interface}", port.name)?;
                }
                _ => print_json(&mut out, &port)?,
            }
            Ok(())
        }
        PortCommand::Remove { network, port } => client
            .remove_port(&network, &port)
            .map_err(Failure::at_run_time),
        PortCommand::List { network, json } => {
            let network = client.network(&network).map_err(Failure::at_run_time)?;
            let mut out = io::stdout().lock();
            if json {
                print_json(&mut out, &network.ports)?;
            } else {
                status::show_ports(&mut out, &network.ports)?;
            }
            Ok(())
        }
        PortCommand::Show {
            network,
            port,
            json,
        } => {
            let detail = client.port(&network, &port).map_err(Failure::at_run_time)?;
            let mut out = io::stdout().lock();
            if json {
                print_json(&mut out, &detail)?;
            } else {
                queues::show(&mut out, &network, &detail)?;
            }
            Ok(())
        }
    }
}
