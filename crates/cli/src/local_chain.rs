//! The chain of a local network: its genesis, its operator, and the process that runs it.
//!
//! ```text
//! DIR/genesis.json      how the chain began
//! DIR/chain/            its blocks and state, and the sequencer's key
//! DIR/chain.log         what it says
//! DIR/chain.url         where it is asked; 'session chain' finds it beside the network file
//! DIR/operator/         a home: the account that owns the nodes, and LUX to give away
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use session_core::{BlockId, Encode, Span};
use session_crypto::Identity;
use session_protocol::chain::Amount;
use session_rpc::vm::genesis::{Duties, Genesis, GenesisAccount};
use session_runtime::files::{self, Existing};
use session_runtime::http::client::Endpoint;
use session_runtime::key_file;
use tokio::time::Instant;

use crate::args::Common;
use crate::chain::rpc::{Answer, Rpc};
use crate::exit::{Doing, Failure, Result};
use crate::home::Home;
use crate::process::Process;

/// How long the chain may take from its start to its first answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What each node stakes: the least that is possible.
pub(crate) const STAKE: Amount = Amount::lux(100);

/// What the operator has to give away.
const FAUCET: Amount = Amount::lux(1_000_000);

/// Short enough that people see epochs turn.
const EPOCH: Span = Span::from_secs(30);

/// The rules' own price of a miss.
const PENALTY_BPS: u16 = 50;

/// A price of a miss that puts a node out after four.
const PENALTY_BPS_DEAR: u16 = 1250;

/// Nodes on one machine share its disk.
const FREE_BYTES_MIN: u64 = 1024 * 1024;

/// A block each 50th of an epoch, so that no step of a duty waits long, but not more often than
/// this.
const BLOCK_TIME_MIN: Duration = Duration::from_millis(100);
const BLOCK_TIME_MAX: Duration = Duration::from_secs(1);
const BLOCKS_IN_EPOCH: u32 = 50;

/// Short enough that a stake can be withdrawn while its owner is still looking.
const UNBONDING: Span = Span::from_secs(120);

/// Where the chain keeps its blocks, in its folder.
const DATABASE: &str = "chain.redb";

/// Where the chain is asked; a new place at each start.
const URL_FILE: &str = "chain.url";

/// Names another chain than that of the network file.
const URL_VARIABLE: &str = "SESSION_CHAIN";

/// A URL is shorter.
const URL_BYTES_MAX: usize = 4096;

/// The genesis is public.
const MODE: u32 = 0o644;

/// The chain of the network in a directory.
pub(crate) struct LocalChain {
    dir: PathBuf,
    http: SocketAddr,
    process: Process,
}

/// What the chain says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) height: u64,
    pub(crate) block: BlockId,
}

impl LocalChain {
    /// Opens the chain in `dir`, whose genesis is there.
    pub(crate) fn open(dir: &Path, sessionvm: PathBuf, http: SocketAddr) -> Self {
        let process = Process::new("the chain".to_owned(), sessionvm, dir.join("chain.log"));
        Self { dir: dir.to_owned(), http, process }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Writes where the chain is, for those who have the network file.
    pub(crate) fn write_url(&self) -> Result<()> {
        let text = format!("{}\n", self.url());
        files::write_atomic(&self.dir.join(URL_FILE), text.as_bytes(), MODE, Existing::Replace)
            .map_err(Failure::failed)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    pub(crate) fn rpc(&self) -> Result<Rpc> {
        self.url().parse().map(Rpc::new).doing(|| "the chain's address".to_owned())
    }

    /// Starts the sequencer, and waits until it answers.
    pub(crate) async fn start(&mut self) -> Result<Duration> {
        let epoch: Duration = epoch_length(&self.dir)?.into();
        let block_time = (epoch / BLOCKS_IN_EPOCH).clamp(BLOCK_TIME_MIN, BLOCK_TIME_MAX);
        let args = [
            "--block-time".into(),
            block_time.as_millis().to_string().into(),
            "--listen".into(),
            self.http.to_string().into(),
            "--data-dir".into(),
            chain_dir(&self.dir).into_os_string(),
            "--genesis".into(),
            genesis_file(&self.dir).into_os_string(),
        ];
        self.process.start(&args)?;
        self.write_url()?;
        let started = Instant::now();
        let rpc = self.rpc()?;
        loop {
            self.process.check_alive()?;
            match tip(&rpc).await {
                Ok(_) => return Ok(started.elapsed()),
                Err(_) if started.elapsed() < START_TIMEOUT => {}
                Err(failure) => {
                    return Err(Failure::failed(format!(
                        "the chain does not answer after {} s ({failure}); see {}",
                        START_TIMEOUT.as_secs(),
                        self.process.log().display()
                    )));
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells, once, how the chain ended if it ended by itself.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.ended()
    }

    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    pub(crate) async fn wait_stopped(&mut self, deadline: Instant) -> bool {
        self.process.wait_stopped(deadline).await
    }

    pub(crate) async fn tip(&self) -> Result<Tip> {
        tip(&self.rpc()?).await
    }

    /// Asks the chain how it is.
    pub(crate) async fn health(&self) -> Result<Answer> {
        self.rpc()?.call("Health", json!({})).await
    }

    /// Returns the operator's keys.
    pub(crate) fn operator(&self) -> Result<Identity> {
        Home::find(&Common {
            home: Some(operator_home(&self.dir)),
            network: None,
            json: false,
            passphrase_file: None,
            profile: None,
            mode: None,
            read_receipts: false,
        })?
        .identity()
    }
}

async fn tip(rpc: &Rpc) -> Result<Tip> {
    let last = rpc.call("GetHeight", json!({})).await?;
    Ok(Tip { height: last.number("height")?, block: last.parsed("blockId")? })
}

/// Where the genesis of a local network is.
pub(crate) fn genesis_file(dir: &Path) -> PathBuf {
    dir.join("genesis.json")
}

/// Where the operator's identity is: a home of its own.
pub(crate) fn operator_home(dir: &Path) -> PathBuf {
    dir.join("operator")
}

/// Returns where the chain is whose network has this file; nothing if nobody wrote it down.
pub(crate) fn url_beside(network: &Path) -> Result<Option<Endpoint>> {
    let path = network.with_file_name(URL_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, URL_BYTES_MAX).map_err(Failure::usage)?;
    let url = String::from_utf8_lossy(&bytes);
    url.trim().parse().map(Some).map_err(|error| {
        Failure::usage(format!("{}: {error}; name the chain with --url", path.display()))
    })
}

/// Returns the chain that whoever has this home knows: the one that the environment names, or that
/// of the network file; nothing if there is none.
pub(crate) fn known(home: &Home) -> Result<Option<Endpoint>> {
    match std::env::var(URL_VARIABLE) {
        Ok(url) => url.parse().map(Some).doing(|| URL_VARIABLE.to_owned()),
        Err(_) => url_beside(home.network_file()),
    }
}

fn chain_dir(dir: &Path) -> PathBuf {
    dir.join("chain")
}

/// The rules of a new chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) epoch: Span,
    /// What a miss costs, in ten-thousandths of the stake.
    pub(crate) penalty_bps: u16,
}

impl Rules {
    /// Those of a network that people look at; where misses are `dear`, one need not wait long to see
    /// who misses pay.
    pub(crate) fn new(epoch: Option<Span>, dear: bool) -> Self {
        let epoch = epoch.unwrap_or(EPOCH);
        Self { epoch, penalty_bps: if dear { PENALTY_BPS_DEAR } else { PENALTY_BPS } }
    }
}

/// Makes the genesis of a chain without nodes; keys first, so that a genesis that is there is
/// complete.
pub(crate) fn make_genesis(dir: &Path, network: &str, rules: Rules) -> Result<()> {
    let blocks = chain_dir(dir).join(DATABASE);
    if blocks.exists() {
        return Err(Failure::usage(format!(
            "{} is there without its genesis, {}: put it back, or remove the folder of the chain to \
             begin a new one",
            blocks.display(),
            genesis_file(dir).display()
        )));
    }
    let sequencer = make_keys(&chain_dir(dir).join("sequencer.key"))?;
    let operator = make_keys(&operator_home(dir).join("identity.key"))?;
    let mut genesis = Genesis::new(network.to_owned(), crate::person::now());
    genesis.epoch = rules.epoch;
    genesis.unbonding = UNBONDING;
    genesis.stake_min = STAKE.0;
    genesis.sequencer = Some(sequencer.public().to_bytes());
    genesis.authority = Some(operator.public().account_id());
    genesis.accounts = vec![GenesisAccount {
        account: operator.public().account_id(),
        balance: FAUCET.0,
        keys: Some(operator.public().to_bytes()),
    }];
    genesis.duties = Duties {
        settle: Span::from_secs((rules.epoch.as_millis() / 1500).max(1)),
        free_bytes_min: FREE_BYTES_MIN,
        activation_epochs: 1,
        penalty_bps: rules.penalty_bps,
        veto_window: rules.epoch,
        ..Duties::default()
    };
    genesis.supply = genesis.sum().doing(|| "the genesis".to_owned())?;
    let path = genesis_file(dir);
    files::write_atomic(&path, genesis.to_json().as_bytes(), MODE, Existing::Keep)
        .map_err(Failure::failed)
}

/// Returns how long the chain's epochs are.
pub(crate) fn epoch_length(dir: &Path) -> Result<Span> {
    crate::chain::genesis::read(&genesis_file(dir)).map(|genesis| genesis.params.epoch)
}

/// Keys that are there already are kept: they may be all that is left of a chain.
fn make_keys(path: &Path) -> Result<Identity> {
    if let Some(dir) = path.parent() {
        files::create_private_directory(dir).map_err(Failure::failed)?;
    }
    key_file::load_or_make(path, None).map(|(keys, _)| keys).map_err(Failure::failed)
}
