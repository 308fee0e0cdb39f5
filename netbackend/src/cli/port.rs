//! `netbackend port`: ports of the running daemon.
use super::{Failure, args::PortCommand, print_json};
use control::{Client, PortKind, PortRequest};
use std::io::{self, Write};

pub(super) fn run(client: &Client, command: PortCommand) -> Result<(), Failure> {
    match command {
        PortCommand::Add {
            network,
            name,
            mac,
            queue_pairs,
            json,
        } => {
            let request = PortRequest {
                name,
                mac,
                queue_pairs,
                // This process ends at once; the port is to stay.
                lease: false,
            };
            let port = client
                .add_port(&network, &request)
                .map_err(Failure::at_run_time)?;
            let mut out = io::stdout().lock();
            match &port.kind {
                PortKind::VhostUser { socket } if !json => {
                    writeln!(out, "{} {}", port.name, socket.display())?;
                }
                _ => print_json(&mut out, &port)?,
            }
            Ok(())
        }
        PortCommand::Remove { network, port } => client
            .remove_port(&network, &port)
            .map_err(Failure::at_run_time),
    }
}
