//! The coordination chain as a program: alone, or inside luxd (ZAP) and avalanchego (gRPC).
//!
//! What it is: the command line, the drivers, and the shell around `session_vm`: clock, disk,
//! threads, HTTP.
//!
//! What it does not do: it takes no decision about transactions, blocks or conversations. Those are
//! the rules', and which block is next is the driver's.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | flags and environment, down to what is to be done |
//! | [`install`] | copying the program into a plugin directory |
//! | [`hosted`] | a chain as a host drives it |
//! | [`plugin`] | the chain behind that |
//! | [`zap`] | the driver for luxd |
//! | [`grpc`](mod@grpc) | the driver for avalanchego (feature `avalanche`) |
//! | [`life`] | how a plugin's life ends |
//! | [`standalone`] | a chain alone: `sequence` makes blocks, `follow` follows them |
//! | [`engine`] | the one core behind every driver |
//! | [`post`] | the thread that owns conversations |
//! | [`http`] | what is served: `api`, `socket`, `page`, `metrics` |

mod api;
pub mod args;
pub mod engine;
mod follow;
#[cfg(feature = "avalanche")]
pub mod grpc;
pub mod hosted;
pub mod http;
pub mod install;
pub mod life;
mod metrics;
mod overview;
mod page;
pub mod plugin;
pub mod post;
mod sequence;
mod socket;
pub mod standalone;
pub mod zap;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use session_rpc::vm::VMID;
use session_runtime::failure::{Failure, Result, chain};
use session_runtime::logging;
use session_runtime::program::say;

use args::Task;
use plugin::Plugin;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the program with a command line, program name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sessionvm: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<()> {
    session_crypto::cpu_supported().map_err(|missing| Failure::runtime(missing.to_string()))?;
    match args::parse(args, |name| std::env::var(name).ok().filter(|text| !text.is_empty()))? {
        Task::Print(text) => say(text.trim_end()),
        Task::Install(dir) => {
            let program = std::env::current_exe()
                .map_err(|error| Failure::runtime(format!("cannot find this program: {error}")))?;
            let (at, warnings) = install::install(&program, &dir)?;
            say(&format!("installed {}", at.display()))?;
            for warning in warnings {
                eprintln!("sessionvm: warning: {warning}");
            }
            Ok(())
        }
        Task::Luxd(address) => hosted(async move |vm| {
            zap::serve(&address, vm).await.map_err(|error| Failure::runtime(chain(&error)))
        }),
        #[cfg(feature = "avalanche")]
        Task::Avalanche(address, protocol) => hosted(async move |vm| {
            let served = grpc::serve(&address, protocol, vm).await;
            served.map_err(|error| Failure::runtime(chain(&error)))
        }),
        #[cfg(not(feature = "avalanche"))]
        Task::Avalanche(..) => Err(Failure::usage(
            "this program was built without its driver for avalanchego (feature avalanche)",
        )),
        Task::Alone(settings) => standalone::run(settings),
    }
}

fn hosted(serve: impl AsyncFnOnce(Arc<Plugin>) -> Result<()>) -> Result<()> {
    logging::init(None).map_err(|error| Failure::usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(serve(Arc::new(Plugin::default())));
    // Nothing that still runs is worth waiting for.
    runtime.shutdown_background();
    result
}

/// Returns the version as `version` prints it.
#[must_use]
pub fn version() -> String {
    format!("sessionvm {VERSION}")
}

/// Returns what avalanchego's tools ask of a plugin.
#[must_use]
pub fn version_json(protocol: u32) -> String {
    format!(
        r#"{{"name":"sessionvm","vmid":"{VMID}","version":"{VERSION}","rpcchainvm":{protocol}}}"#
    )
}
