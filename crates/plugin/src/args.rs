//! The command line and the environment, down to what is to be done.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use session_rpc::address::Listen;
use session_runtime::failure::{Failure, Result};
use session_runtime::http::client::Endpoint;
use session_runtime::program::{bad_flag, refused_arguments, resolve, with_two_dashes};

/// Loopback unless asked otherwise: a chain is not exposed by accident.
const LISTEN: &str = "127.0.0.1:9652";
/// The number that avalanchego's stable releases want.
const RPCCHAINVM: u32 = 45;
/// Where hosts say that they wait for a plugin.
const LUXD_ADDRESSES: [&str; 2] = ["VM_RUNTIME_ENGINE_ADDR", "LUX_VM_RUNTIME_ENGINE_ADDR"];
const LUXD_TRANSPORT: &str = "VM_TRANSPORT";
const AVALANCHE_ADDRESS: &str = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR";
/// avalanchego passes on only variables that start with this prefix.
const RPCCHAINVM_VARIABLE: &str = "GRPC_SESSIONVM_PROTOCOL";

#[derive(Debug, Parser)]
#[command(
    name = "sessionvm",
    version,
    about = "The coordination chain: runs alone, or as a plugin inside luxd and avalanchego.",
    args_conflicts_with_subcommands = true,
    after_help = "Started by luxd (VM_TRANSPORT, VM_RUNTIME_ENGINE_ADDR) or avalanchego\n\
        (AVALANCHE_VM_RUNTIME_ENGINE_ADDR) it is their plugin; otherwise it runs a chain alone.\n\n\
        Examples:\n  \
        sessionvm                                          a chain of its own, in memory\n  \
        sessionvm --data-dir chain --genesis genesis.json  a sequencer: makes and seals blocks\n  \
        sessionvm --data-dir copy --genesis genesis.json --follow http://192.0.2.1:9652\n  \
        sessionvm install ~/.lux/plugins                   copies itself there under its VM id\n\n\
        SESSION_PASSPHRASE     passphrase of the sequencer's key file\n\
        SESSION_LOG            what is logged: error, warn, info, debug, trace (default info)\n\
        GRPC_SESSIONVM_PROTOCOL  protocol number for avalanchego (default 45)\n\n\
        Exit codes: 0 stopped when asked to, 1 failed while running, 2 wrong flags or files."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy this program into a plugin directory, under its VM id.
    Install {
        /// The plugin directory, such as ~/.lux/plugins or ~/.avalanchego/plugins.
        dir: PathBuf,
    },
    /// Print the version.
    Version,
    /// Print name, VM id, version and protocol as JSON, as avalanchego's tools ask for it.
    VersionJson,
}

#[derive(Debug, Args)]
struct Run {
    /// TCP address for JSON-RPC, WebSocket, /health, /metrics; ":9652" listens on all interfaces
    /// [default: 127.0.0.1:9652]
    #[arg(long, alias = "http", value_name = "HOST:PORT", env = "SESSIONVM_ADDR")]
    listen: Option<String>,
    /// Where the chain is kept; "" keeps it in memory, and forgets it at the end [default: ""]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The genesis, JSON; without one this is a chain of its own with this sequencer
    /// [default: DIR/genesis.json if it is there]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Limits of conversations and of the API, JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The sequencer's key file [default: DIR/sequencer.key]
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    sequencer_key: Option<PathBuf>,
    /// Follow the sequencer there instead: fetch its blocks, execute them, refuse forks
    #[arg(long, value_name = "URL")]
    follow: Option<String>,
    /// Milliseconds between two blocks; none is made when there is nothing to put into it
    /// [default: blockTimeMs of the configuration, or 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    block_time: Option<u64>,
    /// Accept what the reference's own calls send: no or short signatures, keys of any size
    #[arg(long, value_name = "PROFILE")]
    compat: Option<Compat>,
    /// Requests a second from one client address; 0 for no limit [default: 500]
    #[arg(long, value_name = "N")]
    client_rate: Option<u32>,
    /// Protocol number for avalanchego
    #[arg(long, value_name = "N")]
    rpcchainvm: Option<u32>,
    /// Stop when standard input ends, so that a chain does not outlive the program that started it
    #[arg(long)]
    stop_with_stdin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Compat {
    /// The Go reference.
    Go,
}

/// What the program is to do.
#[derive(Debug, PartialEq)]
pub enum Task {
    /// Print a text and end well.
    Print(String),
    /// Copy this program into a plugin directory.
    Install(PathBuf),
    /// Be luxd's plugin: its address.
    Luxd(String),
    /// Be avalanchego's plugin: its address, and the protocol number.
    Avalanche(String, u32),
    /// Run a chain alone.
    Alone(Settings),
}

/// The settings of a chain that runs alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// TCP address.
    pub listen: SocketAddr,
    /// Where the chain is kept; `None` for memory.
    pub data_dir: Option<PathBuf>,
    /// The genesis file that was asked for.
    pub genesis: Option<PathBuf>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The sequencer's key file that was asked for.
    pub sequencer_key: Option<PathBuf>,
    /// Whom to follow; `None` for a sequencer.
    pub follow: Option<Endpoint>,
    /// Time between two blocks; `None` for the configuration's.
    pub block_time: Option<Duration>,
    /// Whether the reference's own calls are accepted.
    pub compat: bool,
    /// Requests a second from one client; 0 for no limit.
    pub client_rate: Option<u32>,
    /// Whether the end of standard input stops the program.
    pub stop_with_stdin: bool,
}

/// Reads the command line, program name first, and the environment through `variable`.
///
/// # Errors
/// When a flag is unknown or a value wrong.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Task> {
    let cli = match Cli::try_parse_from(with_two_dashes(args)) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => return Ok(Task::Print(error.to_string())),
        Err(error) => return Err(refused_arguments(&error.to_string())),
    };
    let protocol = protocol(cli.run.rpcchainvm, &variable)?;
    match cli.command {
        Some(Command::Version) => return Ok(Task::Print(crate::version())),
        Some(Command::VersionJson) => return Ok(Task::Print(crate::version_json(protocol))),
        Some(Command::Install { dir }) => return Ok(Task::Install(dir)),
        None => {}
    }
    // luxd hands its whole environment down, avalanchego only its own key: luxd's keys come first.
    let luxd = LUXD_ADDRESSES.into_iter().find_map(&variable);
    if luxd.is_some() || variable(LUXD_TRANSPORT).as_deref() == Some("zap") {
        let address = luxd.ok_or_else(|| {
            let [key, _] = LUXD_ADDRESSES;
            Failure::usage(format!("{LUXD_TRANSPORT}=zap is set, but {key} is not"))
        })?;
        return Ok(Task::Luxd(address));
    }
    if let Some(address) = variable(AVALANCHE_ADDRESS) {
        return Ok(Task::Avalanche(address, protocol));
    }
    cli.run.check().map(Task::Alone)
}

fn protocol(flag: Option<u32>, variable: &impl Fn(&str) -> Option<String>) -> Result<u32> {
    if let Some(number) = flag {
        return Ok(number);
    }
    match variable(RPCCHAINVM_VARIABLE) {
        None => Ok(RPCCHAINVM),
        Some(text) => text.parse().map_err(|_| {
            Failure::usage(format!("{RPCCHAINVM_VARIABLE}: {text:?} is not a protocol number"))
        }),
    }
}

impl Run {
    fn check(self) -> Result<Settings> {
        let follow = match &self.follow {
            None => None,
            Some(url) => Some(url.parse().map_err(|error| bad_flag("follow", &error))?),
        };
        let data_dir = self.data_dir.filter(|dir| !dir.is_empty() && dir != ":memory:");
        Ok(Settings {
            // A variable that is set to nothing is not set.
            listen: socket(self.listen.as_deref().filter(|at| !at.is_empty()).unwrap_or(LISTEN))?,
            data_dir: data_dir.map(PathBuf::from),
            genesis: self.genesis,
            config: self.config,
            sequencer_key: self.sequencer_key,
            follow,
            block_time: self.block_time.map(Duration::from_millis),
            compat: self.compat == Some(Compat::Go),
            client_rate: self.client_rate,
            stop_with_stdin: self.stop_with_stdin,
        })
    }
}

fn socket(text: &str) -> Result<SocketAddr> {
    let listen: Listen = text.parse().map_err(|error| bad_flag("listen", &error))?;
    resolve("listen", text, &listen.to_string())
}

#[cfg(test)]
mod tests;
