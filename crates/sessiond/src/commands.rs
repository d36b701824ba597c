//! What `sessiond` does beside being a node: it orders something of the chain for its operator, or
//! says how the node is.
//!
//! | module | holds |
//! |---|---|
//! | [`ledger`] | the chain, asked over HTTP by a command that runs once |
//! | [`status`] | how the node is, for people |
//! | [`drain`] | planned absence |

use std::path::Path;
use std::time::Duration;

use session_core::Text;
use session_crypto::Identity;
use session_protocol::chain::transaction::Possession;
use session_protocol::chain::{Action, Amount};
use session_rpc::address::HostPort;
use session_runtime::failure::{Failure, Result};
use session_runtime::files::{self, Existing};
use session_runtime::program::say;
use session_runtime::{OsEntropy, key_file};

use crate::args::OnChain;
use crate::args::orders::Order;
use crate::chain::genesis;
use crate::doctor;

mod drain;
mod ledger;
pub(crate) mod status;

use ledger::Ledger;

/// The genesis is public.
const GENESIS_MODE: u32 = 0o644;

/// Performs a command.
pub(crate) fn perform(order: Order) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(async {
        match order {
            Order::Register { identity, data_dir, chain, address, operator, stake } => {
                let node = node_keys(&identity)?;
                register(&node, &data_dir, &chain, &address, &operator, stake).await
            }
            Order::Decommission { identity, chain, operator } => {
                decommission(&existing(&identity)?, &chain, &existing(&operator)?).await
            }
            Order::Status { identity, http, chain, json } => {
                status::run(&existing(&identity)?, http, chain.as_ref(), json).await
            }
            Order::Drain { identity, chain, http, epochs } => {
                drain::run(&existing(&identity)?, &chain, http, epochs).await
            }
            Order::Doctor(checkup) => doctor::run(&checkup).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Reads keys that must be there.
pub(crate) fn existing(path: &Path) -> Result<Identity> {
    if !path.exists() {
        return Err(Failure::usage(format!("there is no key file {}", path.display())));
    }
    let passphrase = key_file::passphrase();
    key_file::load_or_make(path, passphrase.as_deref()).map(|(keys, _)| keys)
}

/// Reads the node's keys, or makes them.
fn node_keys(path: &Path) -> Result<Identity> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        files::create_private_directory(dir).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let passphrase = key_file::passphrase();
    let (keys, made) = key_file::load_or_make(path, passphrase.as_deref())?;
    if made {
        say(&format!("made the node's keys: {}", path.display()))?;
    }
    Ok(keys)
}

async fn register(
    node: &Identity,
    data_dir: &Path,
    chain: &OnChain,
    address: &HostPort,
    operator: &Path,
    stake: Option<Amount>,
) -> Result<()> {
    let operator = existing(operator)?;
    let ledger = Ledger::open(chain).await?;
    let stake = stake.unwrap_or(ledger.params().stake_min);
    let endpoint = Text::new(address.to_string())
        .map_err(|error| Failure::usage(format!("--address: {error}")))?;
    let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
    let possession = Possession {
        chain: *ledger.id(),
        operator: operator.public().account_id(),
        node: node.public().node_id(),
        endpoint: endpoint.clone(),
    };
    let possession = possession.sign(node, &mut rng);
    let keys = node.public().clone();
    let action = Action::RegisterServiceNode { keys, endpoint, stake, possession };
    let height = ledger.order(&operator, action).await?;
    keep_genesis(data_dir, &ledger)?;
    let id = node.public().node_id();
    say(&format!("registered node {id} with {stake} LUX in block {height}"))?;
    let epochs = ledger.params().activation_epochs;
    say(&format!("it gets a seat {epochs} epochs after this one; start it before"))
}

/// The node finds the genesis there when it starts.
fn keep_genesis(data_dir: &Path, ledger: &Ledger) -> Result<()> {
    let path = data_dir.join(genesis::FILE);
    if path.exists() {
        return Ok(());
    }
    files::create_private_directory(data_dir)
        .and_then(|()| files::write_atomic(&path, ledger.genesis(), GENESIS_MODE, Existing::Keep))
        .map_err(|error| Failure::usage(format!("the genesis: {error}")))
}

async fn decommission(node: &Identity, chain: &OnChain, operator: &Identity) -> Result<()> {
    let ledger = Ledger::open(chain).await?;
    let id = node.public().node_id();
    let height = ledger.order(operator, Action::Decommission { node: id }).await?;
    say(&format!("node {id} gives up its seat at the end of the epoch (block {height})"))?;
    say("let it run until its status is decommissioning and it has handed its inboxes over \
         (sessiond status); then it may stop")
}
