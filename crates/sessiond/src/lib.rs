//! A service node: the daemon machine on the runtime.
//!
//! What it is: the command line, the node's files, the loop that drives the machine
//! ([`shell`]), and the HTTP side.
//!
//! What it does not do: it takes no decision about messages, inboxes or peers. Those are the
//! machine's.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | flags and configuration, down to checked settings |
//! | `network` | which network the node is of |
//! | `chain` | following the chain that says who is a node |
//! | `commands` | orders for the chain, and how the node is |
//! | `doctor` | checks of a node before others make them |
//! | [`node`] | start, run, stop |
//! | [`shell`] | the thread that owns machine and store |
//! | [`workload`] | threads that run programs, and tasks that ask the world |
//! | [`api`] | between JSON-RPC and the binary protocol |
//! | `http` | health, metrics, JSON-RPC |

pub mod api;
pub mod args;
mod chain;
mod commands;
mod doctor;
mod http;
mod network;
pub mod node;
pub mod shell;
pub mod workload;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Task;
use session_runtime::failure::{Failure, Result};
use session_runtime::key_file;
use session_runtime::program::say;

/// Runs the program with a command line, program name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sessiond: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<()> {
    session_crypto::cpu_supported().map_err(|missing| Failure::runtime(missing.to_string()))?;
    match args::parse(args)? {
        Task::Print(text) => say(text.trim_end()),
        Task::Keygen { identity, address, swarm } => {
            if let Some(dir) = identity.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                session_runtime::files::create_private_directory(dir)
                    .map_err(|error| Failure::usage(error.to_string()))?;
            }
            let passphrase = key_file::passphrase();
            let (keys, _) = key_file::load_or_make(&identity, passphrase.as_deref())?;
            let entry = session_protocol::network_file::entry(keys.public(), address, swarm);
            say(&entry.to_toml())
        }
        Task::Order(order) => commands::perform(order),
        Task::Run(settings) => node::run(settings),
    }
}
