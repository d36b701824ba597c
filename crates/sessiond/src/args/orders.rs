//! The flags of the commands that order something of the chain, or look at the node.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use session_protocol::chain::Amount;
use session_rpc::address::HostPort;
use session_runtime::failure::Result;
use session_runtime::program::bad_flag;

use super::{HTTP, LISTEN, OnChain, Task, on_chain, socket};

/// Epochs that a node may announce to be away at once.
const DRAIN_EPOCHS_MAX: u8 = 24;

/// A checked command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Register the node.
    Register {
        /// Its key file.
        identity: PathBuf,
        /// Its data directory, which gets the genesis.
        data_dir: PathBuf,
        /// The chain.
        chain: OnChain,
        /// Where the node will be reached.
        address: HostPort,
        /// Who pays.
        operator: PathBuf,
        /// What is staked; the least that is possible without it.
        stake: Option<Amount>,
    },
    /// Decommission the node.
    Decommission {
        /// Its key file.
        identity: PathBuf,
        /// The chain.
        chain: OnChain,
        /// Who registered it.
        operator: PathBuf,
    },
    /// Tell how the node is.
    Status {
        /// Its key file.
        identity: PathBuf,
        /// Where it is asked.
        http: SocketAddr,
        /// The chain, if the node does not run.
        chain: Option<OnChain>,
        /// Whether programs read it.
        json: bool,
    },
    /// Announce that it will be away, or is back (0).
    Drain {
        /// Its key file.
        identity: PathBuf,
        /// The chain.
        chain: OnChain,
        /// Where it is asked.
        http: SocketAddr,
        /// How many epochs.
        epochs: u8,
    },
    /// Check the node.
    Doctor(Checkup),
}

/// What is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkup {
    /// The node's key file.
    pub identity: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its UDP address.
    pub listen: SocketAddr,
    /// Its TCP address, if it has one.
    pub http: Option<SocketAddr>,
    /// The chain.
    pub chain: Option<OnChain>,
    /// Whether programs read it.
    pub json: bool,
}

/// Whose node.
#[derive(Debug, Args)]
struct Own {
    /// Where the node keeps its data; its keys are node.key in there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The key file, if not DIR/node.key.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The chain's genesis, if not DIR/genesis.json.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

impl Own {
    fn identity(&self) -> PathBuf {
        self.identity.clone().unwrap_or_else(|| self.data_dir.join("node.key"))
    }

    fn chain(&self, urls: &str) -> Result<OnChain> {
        on_chain(urls, self.genesis.clone(), Some(&self.data_dir))
    }
}

#[derive(Debug, Args)]
pub(super) struct Register {
    #[command(flatten)]
    own: Own,
    /// Where the chain is.
    #[arg(long, value_name = "URL,...")]
    chain: String,
    /// Where other nodes and clients reach this node.
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The keys of the account that stakes, pays, and gets the stake back.
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
    /// How much it stakes, if not the least that the chain takes.
    #[arg(long, value_name = "LUX")]
    stake: Option<String>,
}

impl Register {
    pub(super) fn check(self) -> Result<Task> {
        let address = self.address.parse().map_err(|error| bad_flag("address", &error))?;
        let stake = self.stake.map(|stake| stake.parse()).transpose();
        let stake = stake.map_err(|error| bad_flag("stake", &error))?;
        Ok(Task::Order(Order::Register {
            identity: self.own.identity(),
            chain: self.own.chain(&self.chain)?,
            data_dir: self.own.data_dir,
            address,
            operator: self.operator_key,
            stake,
        }))
    }
}

#[derive(Debug, Args)]
pub(super) struct Decommission {
    #[command(flatten)]
    own: Own,
    /// Where the chain is.
    #[arg(long, value_name = "URL,...")]
    chain: String,
    /// The keys of the account that registered the node.
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
}

impl Decommission {
    pub(super) fn check(self) -> Result<Task> {
        let (identity, chain) = (self.own.identity(), self.own.chain(&self.chain)?);
        Ok(Task::Order(Order::Decommission { identity, chain, operator: self.operator_key }))
    }
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    own: Own,
    /// Where the node answers HTTP [default: 127.0.0.1:9653]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Where the chain is; asked if the node does not run.
    #[arg(long, value_name = "URL,...")]
    chain: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn check(self) -> Result<Task> {
        let http = socket("http", self.http.as_deref().unwrap_or(HTTP))?;
        let chain = self.chain.as_deref().map(|urls| self.own.chain(urls)).transpose()?;
        let identity = self.own.identity();
        Ok(Task::Order(Order::Status { identity, http, chain, json: self.json }))
    }
}

#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    own: Own,
    /// Where the chain is.
    #[arg(long, value_name = "URL,...")]
    chain: String,
    /// Where the node answers HTTP [default: 127.0.0.1:9653]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Epochs that it will be away; the rest of the current one is the first.
    #[arg(long, value_name = "N", default_value = "1")]
    epochs: u8,
    /// Say that it is back.
    #[arg(long, conflicts_with = "epochs")]
    resume: bool,
}

impl Drain {
    pub(super) fn check(self) -> Result<Task> {
        let epochs = if self.resume { 0 } else { self.epochs };
        if !self.resume && !(1..=DRAIN_EPOCHS_MAX).contains(&epochs) {
            let why = format!("it must be 1 to {DRAIN_EPOCHS_MAX}");
            return Err(bad_flag("epochs", &why));
        }
        let http = socket("http", self.http.as_deref().unwrap_or(HTTP))?;
        let (identity, chain) = (self.own.identity(), self.own.chain(&self.chain)?);
        Ok(Task::Order(Order::Drain { identity, chain, http, epochs }))
    }
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    own: Own,
    /// The node's UDP address [default: 127.0.0.1:9651]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The node's TCP address; "" for none [default: 127.0.0.1:9653]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Where the chain is.
    #[arg(long, value_name = "URL,...")]
    chain: Option<String>,
    /// Print JSON, a list of checks.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn check(self) -> Result<Task> {
        let http = match self.http.as_deref().unwrap_or(HTTP) {
            "" => None,
            http => Some(socket("http", http)?),
        };
        Ok(Task::Order(Order::Doctor(Checkup {
            identity: self.own.identity(),
            listen: socket("listen", self.listen.as_deref().unwrap_or(LISTEN))?,
            http,
            chain: self.chain.as_deref().map(|urls| self.own.chain(urls)).transpose()?,
            data_dir: self.own.data_dir,
            json: self.json,
        })))
    }
}
