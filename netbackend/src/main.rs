//! The `netbackend` command.
fn main() -> std::process::ExitCode {
    netbackend::cli::main()
}
