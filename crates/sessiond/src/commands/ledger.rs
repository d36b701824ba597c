//! The chain, asked over HTTP by a command that runs once.
//!
//! Nothing that a source says is needed to be true: what is signed follows from the genesis, and a
//! wrong nonce only makes a transaction fail.

use std::time::Duration;

use serde_json::{Value, json};
use session_core::{ChainId, Encode as _, NodeId, Span, TxId};
use session_crypto::Identity;
use session_protocol::chain::transaction::{TRANSACTION_VERSION, Transaction};
use session_protocol::chain::{Action, Amount, ReceivedTransaction};
use session_runtime::failure::{Failure, Result};
use session_runtime::{OsEntropy, SystemClock};
use session_vm::query;
use session_vm::records::Params;
use tokio::time::Instant;

use crate::args::OnChain;
use crate::chain::genesis;
use crate::chain::source::{Source, Trouble};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a transaction may wait for its block.
const EXPIRES_AFTER: Span = Span::from_secs(60);
/// How long a command waits for that.
const WAIT: Duration = Duration::from_secs(75);
const POLL: Duration = Duration::from_millis(200);

/// A chain behind a source that answers.
pub(crate) struct Ledger {
    source: Source,
    id: ChainId,
    params: Params,
    genesis: Vec<u8>,
}

impl Ledger {
    /// Finds the first source that has the chain of the genesis.
    ///
    /// # Errors
    /// When the genesis is none, or no source has its chain.
    pub(crate) async fn open(chain: &OnChain) -> Result<Self> {
        let (genesis, text) = genesis::read(&chain.genesis)?;
        let id = genesis.chain_id();
        let mut troubles = Vec::new();
        for endpoint in &chain.sources {
            let source = Source::new(endpoint.clone(), PATIENCE);
            match source.meet(&id).await {
                Ok(_) => return Ok(Self { source, id, params: genesis.params, genesis: text }),
                Err(trouble) => troubles.push(format!("{}: {trouble}", source.name())),
            }
        }
        Err(Failure::runtime(format!("the chain is not reached: {}", troubles.join("; "))))
    }

    pub(crate) const fn id(&self) -> &ChainId {
        &self.id
    }

    pub(crate) const fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the genesis file.
    pub(crate) fn genesis(&self) -> &[u8] {
        &self.genesis
    }

    /// Returns what a source says of a node; nothing if it knows none of that id.
    pub(crate) async fn node(&self, id: &NodeId) -> Result<Option<Value>> {
        match self.source.call("GetNode", json!({ "nodeId": id.to_string() })).await {
            Ok(mut answer) => Ok(Some(answer["node"].take())),
            Err(Trouble::Refused(_)) => Ok(None),
            Err(trouble) => Err(self.failed(&trouble)),
        }
    }

    /// Signs a transaction, hands it over, and waits until it is in a block. Returns its height.
    ///
    /// # Errors
    /// When the chain refuses it, or does not execute it in time.
    pub(crate) async fn order(&self, keys: &Identity, action: Action) -> Result<u64> {
        let late = Instant::now() + WAIT;
        let id = loop {
            let (id, bytes) = self.sign(keys, action.clone()).await?;
            match self.source.issue(&bytes).await {
                Ok(()) => break id,
                // The node does its duties from the same account: its transaction goes first.
                Err(Trouble::Refused(refused))
                    if (refused.is_nonce_taken() || refused.is_of_another_nonce())
                        && Instant::now() < late =>
                {
                    tokio::time::sleep(POLL).await;
                }
                Err(trouble) => return Err(self.failed(&trouble)),
            }
        };
        while Instant::now() < late {
            match self.source.call("GetTx", json!({ "txId": id.to_string() })).await {
                Ok(answer) if answer["tx"]["status"] == "accepted" => {
                    return Ok(answer["tx"]["height"].as_u64().unwrap_or_default());
                }
                Err(Trouble::Refused(_)) => {
                    let why = "it could not be executed when its turn came";
                    return Err(Failure::runtime(format!(
                        "the chain dropped transaction {id}: {why}"
                    )));
                }
                // It was taken: a source that does not answer for a moment has not forgotten it.
                Ok(_) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
        Err(Failure::runtime(format!("transaction {id} is in no block after {} s", WAIT.as_secs())))
    }

    async fn sign(&self, keys: &Identity, action: Action) -> Result<(TxId, Vec<u8>)> {
        let account = keys.public().account_ref().to_string();
        let answer = self.source.call("GetAccount", json!({ "account": account })).await;
        let answer = answer.map_err(|trouble| self.failed(&trouble))?;
        let account = &answer["account"];
        let nonce = account["nonce"].as_u64();
        let nonce = nonce.ok_or_else(|| Failure::runtime("the source does not tell the nonce"))?;
        let with_keys = !account["hasKeys"].as_bool().unwrap_or_default();
        let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
        let free = action.is_duty();
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: self.id,
            sender: keys.public().account_id(),
            nonce,
            fee_max: Amount::ZERO,
            expires: SystemClock::new().now() + EXPIRES_AFTER,
            action,
        };
        // Signed once to see what it costs: all its parts have fixed sizes.
        let draft = transaction.clone().sign(keys, with_keys, &mut rng).to_bytes();
        let draft = ReceivedTransaction::parse(&draft)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let fee_max = match free {
            true => Amount::ZERO,
            false => query::required_fee(&self.params, draft.charged()),
        };
        let signed = Transaction { fee_max, ..transaction }.sign(keys, with_keys, &mut rng);
        Ok((signed.transaction.id(), signed.to_bytes()))
    }

    fn failed(&self, trouble: &Trouble) -> Failure {
        match trouble {
            Trouble::Refused(refused) => Failure::runtime(format!("the chain refused: {refused}")),
            other => Failure::runtime(format!("{}: {other}", self.source.name())),
        }
    }
}
