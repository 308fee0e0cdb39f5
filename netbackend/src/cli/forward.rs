//! `netbackend forward`: ports of the host that lead to guests.
use super::{Failure, args::ForwardCommand, print_json, table::Table};
use control::{Client, ForwardRequest};
use nat::forward::Forward;
use std::io::{self, Write};

pub(super) fn run(client: &Client, command: ForwardCommand) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match command {
        ForwardCommand::Add {
            forward,
            network,
            json,
        } => {
            for forward in read(&forward)? {
                let request = ForwardRequest {
                    forward: forward.to_string(),
                };
                let added = client
                    .add_forward(&network, &request)
                    .map_err(Failure::at_run_time)?;
                if json {
                    print_json(&mut out, &added)?;
                } else {
                    writeln!(out, "{}", added.forward)?;
                }
            }
        }
        ForwardCommand::Remove { forward, network } => {
            for forward in read(&forward)? {
                client
                    .remove_forward(&network, &forward.to_string())
                    .map_err(Failure::at_run_time)?;
            }
        }
        ForwardCommand::List { network, json } => {
            let forwards = client.forwards(&network).map_err(Failure::at_run_time)?;
            if json {
                print_json(&mut out, &forwards)?;
            } else {
                let mut table = Table::new(&["forward", "fault"]);
                for forward in forwards {
                    let fault = forward.fault.unwrap_or_else(|| "-".into());
                    table.row(vec![forward.forward, fault]);
                }
                table.print(&mut out, "")?;
            }
        }
    }
    Ok(())
}

/// In any spelling; passt's may be several.
fn read(text: &str) -> Result<Vec<Forward>, Failure> {
    Forward::parse_all(text).map_err(|wrong| {
        Failure::usage(format_args!("forward {text:?} is not understood: {wrong}"))
    })
}
