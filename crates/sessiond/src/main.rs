//! The service node.

use std::process::ExitCode;

fn main() -> ExitCode {
    sessiond::main(std::env::args_os())
}
