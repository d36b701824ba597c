//! Planned absence: announced on the chain, so that it is not punished.

use std::net::SocketAddr;
use std::time::Duration;

use session_crypto::Identity;
use session_protocol::chain::Action;
use session_runtime::failure::{Failure, Result};
use session_runtime::program::say;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::status;
use crate::args::OnChain;

/// How long the running node may take to become quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);
/// The node itself may have just used the nonce.
const ATTEMPTS: usize = 5;

/// Announces the absence, and waits until the node that runs here has nothing under way.
pub(super) async fn run(
    node: &Identity,
    chain: &OnChain,
    http: SocketAddr,
    epochs: u8,
) -> Result<()> {
    let ledger = Ledger::open(chain).await?;
    let height = announce(&ledger, node, epochs).await?;
    if epochs == 0 {
        return say(&format!("back in service since block {height}"));
    }
    say(&format!(
        "away for this epoch and {} more, announced in block {height}: what it misses until then \
         costs nothing",
        epochs - 1
    ))?;
    let late = Instant::now() + QUIET_WITHIN;
    loop {
        let Some(health) = status::health(http).await else {
            return say("the node does not run here: it is safe to leave it stopped");
        };
        if health["node"] != node.public().node_id().to_string() {
            return say(&format!("another node answers at {http}; this one may be stopped"));
        }
        let seen = health["chain"]["height"].as_u64().is_some_and(|seen| seen >= height);
        if seen && is_quiet(&health) {
            return say("nothing is under way: it is safe to stop the node now");
        }
        if Instant::now() > late {
            let why = "the node is still handing inboxes over; stopping it now only delays them";
            return Err(Failure::runtime(why));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn announce(ledger: &Ledger, node: &Identity, epochs: u8) -> Result<u64> {
    let mut refused = None;
    for _ in 0..ATTEMPTS {
        match ledger.order(node, Action::Drain { epochs }).await {
            Ok(height) => return Ok(height),
            Err(failure) if is_race(&failure.to_string()) => refused = Some(failure),
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(4 * POLL).await;
    }
    Err(refused.unwrap_or_else(|| Failure::runtime("the chain took no announcement")))
}

/// The node's own transactions use the same nonces as this one.
fn is_race(why: &str) -> bool {
    why.contains("waits with nonce")
        || why.contains("is not the sender's next one")
        || why.contains("could not be executed when its turn came")
}

fn is_quiet(health: &serde_json::Value) -> bool {
    health["chain"]["handing_over"].is_null() && health["stores_waiting"].as_u64() == Some(0)
}
