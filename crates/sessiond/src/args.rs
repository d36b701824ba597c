//! The command line and the configuration file, down to checked settings.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use session_core::SwarmId;
use session_network::limits::CLIENT_ONIONS;
use session_rpc::address::{HostPort, Listen};
use session_rpc::config::{self, Config};
use session_rpc::network_file;
use session_swarm::coordinator::Lie;

use session_runtime::failure::{Failure, Result};
use session_runtime::http::client::Endpoint;
use session_runtime::program::{bad_flag, refused_arguments, resolve, with_two_dashes};

use crate::chain::genesis;
use crate::chain::source::Source;

mod lie;
pub mod orders;

/// Workload sessions at once; the reference's default.
const MAX_SESSIONS: u64 = 100;
/// Requests a second from one client address: far more than a person makes.
const CLIENT_RATE: u32 = 500;
/// Onion packets a second from one client connection: what a person's reading, sending and cover
/// take, several times over.
const ONION_RATE: u32 = CLIENT_ONIONS.per_second as u32;
/// Onion packets taken in an epoch: 291 a second for an hour.
const ONION_PACKETS: u64 = session_network::onion::TAGS_MAX as u64;
/// Loopback unless asked otherwise: a node is not exposed by accident.
const LISTEN: &str = "127.0.0.1:9651";
const HTTP: &str = "127.0.0.1:9653";

#[derive(Debug, Parser)]
#[command(
    name = "sessiond",
    version,
    about = "A service node: keeps sealed messages for people, together with the other nodes of its swarm.",
    args_conflicts_with_subcommands = true,
    after_help = "Flags may be written with one dash or two.\n\n\
        Examples:\n  \
        sessiond --data-dir /var/lib/session --network network.toml --listen :9651\n  \
        sessiond -listen 127.0.0.1:9651 -data-dir \"\"      in memory, a network of its own\n  \
        sessiond keygen --data-dir node-1 --address 192.0.2.1:9651 --swarm 0 >> network.toml\n  \
        sessiond register --data-dir node-1 --chain http://192.0.2.9:9652 --genesis genesis.json \
        --address 192.0.2.1:9651 --operator-key operator.key\n  \
        sessiond --data-dir node-1 --chain http://192.0.2.9:9652 --listen :9651\n\n\
        SESSION_PASSPHRASE    passphrase of the node's key file\n\
        SESSION_LOG           what is logged: error, warn, info, debug, trace (default info)\n\n\
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
    /// Make a node's keys, unless they are there, and print its entry for the network file.
    Keygen(Keygen),
    /// Make a service node of this node: stake LUX of the operator's for it.
    Register(orders::Register),
    /// Take this node out of service; its stake comes back after the unbonding time.
    Decommission(orders::Decommission),
    /// Tell how this node is, as the chain says.
    Status(orders::Status),
    /// Announce that this node will be away, so that it is not punished, and wait until it may stop.
    Drain(orders::Drain),
    /// Check this node before others do: ports, clock, disk, reachability, keys, chain.
    Doctor(orders::Doctor),
}

#[derive(Debug, Args)]
struct Keygen {
    /// Where the node keeps its data; its keys are node.key in there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where other nodes and clients reach this node.
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The swarm it serves: up to 16 hex digits.
    #[arg(long, value_name = "HEX", default_value = "0")]
    swarm: String,
    /// The key file, if not DIR/node.key.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    /// UDP address for nodes and clients; ":9651" listens on all IPv4 interfaces
    /// [default: 127.0.0.1:9651]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// TCP address for /health, /metrics and JSON-RPC; "" for none [default: 127.0.0.1:9653]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Where data is kept; "" or ":memory:" keeps it in memory, and forgets it at the end
    /// [default: ""]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Bytes that the data directory may take; the disk sets the limit without it
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    data_bytes_max: Option<String>,
    /// The network file; without one this node is a network of its own
    /// [default: DIR/network.toml if it is there]
    #[arg(long, value_name = "FILE")]
    network: Option<String>,
    /// Where the network's chain is: URLs of its sequencer or of followers, separated by commas.
    /// The chain says who is a node; the network file is not used then
    #[arg(long, value_name = "URL,...")]
    chain: Option<String>,
    /// The chain's genesis; get it from somebody you trust [default: DIR/genesis.json]
    #[arg(long, value_name = "FILE")]
    genesis: Option<String>,
    /// The node's key file, made at the first start [default: DIR/node.key]
    #[arg(long, value_name = "FILE")]
    identity: Option<String>,
    /// Addresses of other nodes, separated by commas. Checked against the network file, which
    /// alone says who is a node: an address that is not in it only causes a warning
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap: Option<String>,
    /// Most workload sessions that run at once; more wait. Needs --chain [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_sessions: Option<String>,
    /// What workload sessions may reach besides public hosts: databases, object stores, secrets.
    /// Without it they reach public hosts only
    #[arg(long, value_name = "FILE")]
    connectors: Option<String>,
    /// Requests a second from one client address, after a burst of four times as many; 0 for no
    /// limit [default: 500]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    client_rate: Option<String>,
    /// Whether this node passes on onion packets of others and answers those that end here: on or
    /// off [default: on]
    #[arg(long, value_name = "on|off")]
    onion: Option<String>,
    /// Onion packets a second from one client connection, after a burst of eight times as many; 0
    /// for no limit [default: 50]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    onion_rate: Option<String>,
    /// Onion packets that are taken in an epoch; each takes 50 bytes of memory until the epoch is
    /// over [default: 1048576]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    onion_packets: Option<String>,
    /// A file with these flags in TOML; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop when standard input ends, so that a node does not outlive the program that started it
    #[arg(long)]
    stop_with_stdin: bool,
    /// Lie, for demonstrations
    #[arg(long, value_name = "KIND", hide = true)]
    lie: Option<String>,
    /// Say what --lie can be
    #[arg(long, hide = true)]
    help_hidden: bool,
}

/// What the program is to do.
#[derive(Debug)]
pub enum Task {
    /// Be a node.
    Run(Settings),
    /// Make keys and print a node's entry.
    Keygen {
        /// The key file.
        identity: PathBuf,
        /// Where the node will be reached.
        address: HostPort,
        /// The swarm it will serve.
        swarm: SwarmId,
    },
    /// Order something of the chain, or look at the node.
    Order(orders::Order),
    /// Print a text and end well: help or version.
    Print(String),
}

/// Where the chain is, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChain {
    /// Whom to ask.
    pub sources: Vec<Endpoint>,
    /// The genesis file.
    pub genesis: PathBuf,
}

/// A node's checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// UDP address.
    pub listen: SocketAddr,
    /// TCP address, if HTTP is wanted.
    pub http: Option<SocketAddr>,
    /// Where data is kept; `None` for memory.
    pub data_dir: Option<PathBuf>,
    /// Bytes that the store may take.
    pub data_bytes_max: Option<u64>,
    /// The network file that was asked for.
    pub network: Option<PathBuf>,
    /// The chain that says who is a node, instead of a network file.
    pub chain: Option<OnChain>,
    /// How the node lies, in a demonstration.
    pub lie: Option<Lie>,
    /// The key file that was asked for.
    pub identity: Option<PathBuf>,
    /// Other nodes' addresses.
    pub bootstrap: Vec<HostPort>,
    /// Most workload sessions that run at once.
    pub max_sessions: u64,
    /// The file that says what workload sessions may reach.
    pub connectors: Option<PathBuf>,
    /// Requests a second from one client address; `None` for no limit.
    pub client_rate: Option<u32>,
    /// Whether the node is a hop and exit of onion packets.
    pub onion: bool,
    /// Onion packets a second from one client connection; `None` for no limit.
    pub onion_rate: Option<u32>,
    /// Onion packets taken in an epoch.
    pub onion_packets: usize,
    /// Whether the end of standard input stops the node.
    pub stop_with_stdin: bool,
    /// What an operator should know about the configuration.
    pub warnings: Vec<String>,
}

/// Reads the command line, program name first, and the files it names.
///
/// # Errors
/// When a flag is unknown or a value wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task> {
    let cli = match Cli::try_parse_from(with_two_dashes(args)) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => return Ok(Task::Print(error.to_string())),
        Err(error) => return Err(refused_arguments(&error.to_string())),
    };
    match cli.command {
        Some(Command::Keygen(keygen)) => keygen.check(),
        Some(Command::Register(register)) => register.check(),
        Some(Command::Decommission(decommission)) => decommission.check(),
        Some(Command::Status(status)) => status.check(),
        Some(Command::Drain(drain)) => drain.check(),
        Some(Command::Doctor(doctor)) => doctor.check(),
        None if cli.run.help_hidden => Ok(Task::Print(lie::HELP.to_owned())),
        None => cli.run.check().map(Task::Run),
    }
}

impl Keygen {
    fn check(self) -> Result<Task> {
        let address = self.address.parse().map_err(|error| bad_flag("address", &error))?;
        let swarm = network_file::swarm_id(&self.swarm)
            .ok_or_else(|| bad_flag("swarm", &"it must be 1 to 16 hex digits"))?;
        let identity = self.identity.unwrap_or_else(|| self.data_dir.join("node.key"));
        Ok(Task::Keygen { identity, address, swarm })
    }
}

impl Run {
    fn check(self) -> Result<Settings> {
        let mut warnings = Vec::new();
        let file = match &self.config {
            None => Config::default(),
            Some(path) => read_config(path, &mut warnings)?,
        };
        let max_sessions = match self.max_sessions {
            None => file.max_sessions.unwrap_or(MAX_SESSIONS),
            Some(text) => {
                let number =
                    text.parse().map_err(|_| bad_flag("max-sessions", &"it must be a number"))?;
                config::max_sessions(number)
                    .map_err(|error| bad_flag("max-sessions", &error.why))?
            }
        };
        let client_rate = match self.client_rate {
            None => file.client_rate.unwrap_or(CLIENT_RATE),
            Some(text) => text
                .parse()
                .map_err(|_| bad_flag("client-rate", &"it must be a number below 2^32"))?,
        };
        let onion = match self.onion.or(file.onion).as_deref() {
            None | Some("on") => true,
            Some("off") => false,
            Some(_) => return Err(bad_flag("onion", &"it must be on or off")),
        };
        let onion_rate = match self.onion_rate {
            None => file.onion_rate.unwrap_or(ONION_RATE),
            Some(text) => text
                .parse()
                .map_err(|_| bad_flag("onion-rate", &"it must be a number below 2^32"))?,
        };
        let onion_packets = match self.onion_packets {
            None => file.onion_packets.unwrap_or(ONION_PACKETS),
            Some(text) => {
                let number =
                    text.parse().map_err(|_| bad_flag("onion-packets", &"it must be a number"))?;
                config::onion_packets(number)
                    .map_err(|error| bad_flag("onion-packets", &error.why))?
            }
        };
        let data_bytes_max = match self.data_bytes_max {
            None => file.data_bytes_max,
            Some(text) => {
                let why = &"it must be a number of bytes";
                let bytes = text.parse().map_err(|_| bad_flag("data-bytes-max", why))?;
                let checked = config::data_bytes_max(bytes);
                Some(checked.map_err(|error| bad_flag("data-bytes-max", &error.why))?)
            }
        };
        let http = self.http.or(file.http).unwrap_or_else(|| HTTP.to_owned());
        let data_dir = self.data_dir.or(file.data_dir).unwrap_or_default();
        let bootstrap = self.bootstrap.or(file.bootstrap).unwrap_or_default();
        let data_dir = match data_dir.as_str() {
            "" | ":memory:" => None,
            dir => Some(PathBuf::from(dir)),
        };
        let network = path("network", self.network.or(file.network))?;
        let genesis = path("genesis", self.genesis.or(file.genesis))?;
        let chain = match self.chain.or(file.chain) {
            None => None,
            Some(_) if network.is_some() => {
                let why = "the chain says who is a node: take only one of --chain and --network";
                return Err(bad_flag("chain", &why));
            }
            Some(urls) => Some(on_chain(&urls, genesis, data_dir.as_deref())?),
        };
        let lie = self.lie.map(|kind| lie::parse(&kind)).transpose()?;
        Ok(Settings {
            listen: socket("listen", self.listen.or(file.listen).as_deref().unwrap_or(LISTEN))?,
            http: if http.is_empty() { None } else { Some(socket("http", &http)?) },
            data_dir,
            data_bytes_max,
            network,
            chain,
            lie,
            identity: path("identity", self.identity.or(file.identity))?,
            bootstrap: addresses(&bootstrap)?,
            max_sessions,
            connectors: path("connectors", self.connectors.or(file.connectors))?,
            client_rate: Some(client_rate).filter(|rate| *rate > 0),
            onion,
            onion_rate: Some(onion_rate).filter(|rate| *rate > 0),
            onion_packets: usize::try_from(onion_packets).unwrap_or(usize::MAX),
            stop_with_stdin: self.stop_with_stdin,
            warnings,
        })
    }
}

/// Checks where the chain is. Its genesis is in the data directory if it was not named.
fn on_chain(urls: &str, genesis: Option<PathBuf>, data_dir: Option<&Path>) -> Result<OnChain> {
    let sources = Source::endpoints(urls).map_err(|error| bad_flag("chain", &error))?;
    if sources.is_empty() {
        return Err(bad_flag("chain", &"it names no URL"));
    }
    let beside = || data_dir.map(|dir| dir.join(genesis::FILE));
    let genesis = genesis.or_else(beside).ok_or_else(|| {
        let why = "--chain needs the chain's genesis (sources serve it at /genesis; check it with \
                   somebody you trust)";
        bad_flag("genesis", &why)
    })?;
    Ok(OnChain { sources, genesis })
}

fn read_config(path: &Path, warnings: &mut Vec<String>) -> Result<Config> {
    let at = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the configuration {at}: {error}")))?;
    let (config, unknown) = Config::parse(&text)
        .map_err(|error| Failure::usage(format!("the configuration {at}: {error}")))?;
    warnings
        .extend(unknown.iter().map(|key| format!("the configuration {at}: {key} is not known")));
    Ok(config)
}

fn socket(flag: &str, text: &str) -> Result<SocketAddr> {
    let listen: Listen = text.parse().map_err(|error| bad_flag(flag, &error))?;
    resolve(flag, text, &listen.to_string())
}

fn path(flag: &str, text: Option<String>) -> Result<Option<PathBuf>> {
    match text {
        Some(text) if text.is_empty() => Err(bad_flag(flag, &"it is empty")),
        text => Ok(text.map(PathBuf::from)),
    }
}

fn addresses(list: &str) -> Result<Vec<HostPort>> {
    let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| text.parse().map_err(|error| bad_flag("bootstrap", &error))).collect()
}

#[cfg(test)]
mod tests;
