//! The `jam` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    jam_client::run()
}
