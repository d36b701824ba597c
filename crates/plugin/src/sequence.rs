//! The sequencer: builds, seals and accepts, at a cadence.

use std::sync::Arc;
use std::time::Duration;

use session_crypto::Identity;
use session_runtime::OsEntropy;
use session_vm::chain::{AcceptError, BuildError};
use session_vm::solo;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::engine::Engine;

/// Why the sequencer cannot go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("cannot build a block: {0}")]
    Build(BuildError),
    #[error("cannot accept an own block: {0}")]
    Accept(#[from] AcceptError),
    #[error("no randomness: {0}")]
    Entropy(String),
}

/// Makes blocks until the chain fails; then says why through `fault`.
pub(crate) async fn run(
    engine: Arc<Engine>,
    keys: Arc<Identity>,
    block_time: Duration,
    fault: watch::Sender<Option<String>>,
) {
    let mut next = Instant::now();
    loop {
        engine.wait_pending().await;
        sleep_until(next).await;
        next = Instant::now() + block_time;
        let (engine, keys) = (Arc::clone(&engine), Arc::clone(&keys));
        let made = tokio::task::spawn_blocking(move || make(&engine, &keys)).await;
        let stopped = match made {
            Ok(Ok(())) => continue,
            Ok(Err(stopped)) => stopped.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        // The program ends with it; nobody listening means that it ends already.
        let _ = fault.send(Some(stopped));
        return;
    }
}

fn make(engine: &Engine, keys: &Identity) -> Result<(), Stopped> {
    let block = match engine.chain().build(engine.now()) {
        Ok(block) => block,
        // What was pending has expired meanwhile.
        Err(BuildError::NothingToBuild) => return Ok(()),
        // A clock that was set back comes to that time again; what spoils a block is left out of
        // the next one.
        Err(error @ BuildError::Invalid(_)) => {
            tracing::warn!("no block was made: {error}");
            return Ok(());
        }
        Err(error) => return Err(Stopped::Build(error)),
    };
    let mut rng = OsEntropy::new().map_err(|error| Stopped::Entropy(error.to_string()))?;
    let seal = solo::seal(engine.chain_id(), &block, keys, &mut rng);
    let accepted = engine.accept(&block.id, solo::seal_entry(block.height, &seal))?;
    tracing::debug!(height = block.height, transactions = accepted.transactions.len(), "block");
    Ok(())
}
