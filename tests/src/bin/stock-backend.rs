//! `stock-backend SOCKET SOCKET`: a vhost-user back-end of stock crates that joins two front-ends.
use anyhow::{Result, bail};
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [first, second] = arguments.as_slice() else {
        bail!("usage: stock-backend SOCKET SOCKET");
    };
    tests::stock_backend::serve(Path::new(first), Path::new(second))
}
