//! `netbackend leases`: addresses that DHCP gave away.
use super::{Failure, print_json, table::Table};
use control::Client;
use std::io;

pub(super) fn run(client: &Client, network: &str, json: bool) -> Result<(), Failure> {
    let mut leases = client.leases(network).map_err(Failure::at_run_time)?;
    leases.sort_by_key(|lease| lease.address);
    let mut out = io::stdout().lock();
    if json {
        return Ok(print_json(&mut out, &leases)?);
    }
    let mut table = Table::new(&["address", "mac", "host name", "expires in", "reserved"]);
    for lease in leases {
        table.row(vec![
            lease.address.to_string(),
            lease.mac.unwrap_or_else(|| "-".into()),
            lease.hostname.unwrap_or_else(|| "-".into()),
            format!("{} s", lease.expires_in_seconds),
            if lease.reserved { "yes" } else { "no" }.into(),
        ]);
    }
    Ok(table.print(&mut out, "")?)
}
