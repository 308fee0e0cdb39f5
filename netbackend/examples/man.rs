//! Writes the man pages of `netbackend` into a directory (default `target/man`), from the same source as `--help`.

use std::{env, fs, io, path::PathBuf};

use clap::CommandFactory;

fn main() -> io::Result<()> {
    let dir = env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("target/man"), PathBuf::from);
    fs::create_dir_all(&dir)?;
    clap_mangen::generate_to(netbackend::cli::Args::command(), &dir)?;
    println!("man pages of netbackend are in {}", dir.display());
    Ok(())
}
