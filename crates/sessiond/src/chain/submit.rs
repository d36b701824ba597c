//! The node's own transactions: signed with its own keys, which are an account of the chain.
//!
//! Duties are posted again by the machine that wants them done when the chain does not show them,
//! so nothing is retried here for long. What is kept is which nonces are used. A transaction that
//! the chain drops leaves a hole, and those behind it wait: then the last of them is signed once
//! more with the nonce that became free. Where it was is refused later, which harms nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use session_core::{AccountId, Encode as _, Span, TxId};
use session_crypto::Signer;
use session_protocol::chain::transaction::{TRANSACTION_VERSION, Transaction};
use session_protocol::chain::{Action, Amount};
use session_runtime::OsEntropy;
use session_vm::query;
use tokio::time::Instant;

use super::follow::Following;
use super::source::{Refused, Source, Trouble};

/// How long a transaction may wait for its block: half an epoch, within these. One that the chain
/// dropped is remembered by followers until then, and keeps its nonce there.
const EXPIRES_MIN: Span = Span::from_secs(2);
const EXPIRES_MAX: Span = Span::from_secs(60);
/// How long the first of the waiting ones may wait before a source is asked what became of it.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// How long it may wait before its nonce is tried again whatever the source says.
const RETRY_AFTER: Duration = Duration::from_secs(4);
/// Nonces that are tried for one transaction.
const ATTEMPTS: usize = 6;
/// How long to wait for the block that another nonce comes from.
const PAUSE: Duration = Duration::from_millis(250);

/// Signs and hands over the transactions of one account.
pub(crate) struct Submitter {
    following: Arc<Following>,
    keys: Arc<dyn Signer>,
    account: AccountId,
    /// By nonce: those handed over and not yet seen in a block.
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    /// What was handed over; nothing for one that was made before this program started.
    sent: Option<(TxId, Action)>,
    since: Instant,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// A source took it.
    Over(TxId),
    /// The chain does not want it.
    Refused(Refused),
    /// No source answered.
    Nowhere,
}

impl Submitter {
    pub(crate) fn new(following: Arc<Following>, keys: Arc<dyn Signer>) -> Self {
        let account = keys.public().account_id();
        Self { following, keys, account, waiting: BTreeMap::new() }
    }

    /// Signs a transaction that orders `action`, and hands it to a source. A duty costs nothing.
    pub(crate) async fn submit(&mut self, action: Action) -> Handed {
        let name = action.name();
        for _ in 0..ATTEMPTS {
            self.forget();
            let Some((nonce, id, bytes)) = self.sign(action.clone()) else {
                return Handed::Nowhere;
            };
            match hand_over(&self.following.useful(), &bytes).await {
                Ok(()) => {
                    tracing::debug!(action = name, %id, nonce, "handed a transaction over");
                    self.note(nonce, Some((id, action)));
                    return Handed::Over(id);
                }
                Err(Trouble::Refused(refused)) if refused.is_nonce_taken() => {
                    self.note(nonce, None);
                }
                // Its state is behind ours, or ours behind its.
                Err(Trouble::Refused(refused)) if refused.is_of_another_nonce() => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Trouble::Refused(refused)) => {
                    let code = refused.rejection.as_deref().unwrap_or("none");
                    tracing::warn!(
                        action = name,
                        code,
                        "the chain refused a transaction: {refused}"
                    );
                    return Handed::Refused(refused);
                }
                Err(trouble) => {
                    tracing::warn!(action = name, "no source takes a transaction: {trouble}");
                    return Handed::Nowhere;
                }
            }
        }
        tracing::warn!(action = name, "found no nonce for a transaction");
        Handed::Nowhere
    }

    fn note(&mut self, nonce: u64, sent: Option<(TxId, Action)>) {
        self.waiting.insert(nonce, Waiting { sent, since: Instant::now() });
    }

    fn sign(&self, action: Action) -> Option<(u64, TxId, Vec<u8>)> {
        let local = self.following.local();
        let tip = local.tip();
        let account = query::account(&tip.state, &self.account);
        let known = query::keys(&tip.state, &self.account).is_some();
        let nonce = (account.nonce..).find(|nonce| !self.waiting.contains_key(nonce))?;
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: *local.id(),
            sender: self.account,
            nonce,
            fee_max: Amount::ZERO,
            expires: local.now() + expires_after(query::params(&tip.state).epoch),
            action,
        };
        let id = transaction.id();
        let mut rng = OsEntropy::new().ok()?;
        let signed = transaction.sign(&*self.keys, !known, &mut rng);
        Some((nonce, id, signed.to_bytes()))
    }

    /// Returns whether something was handed over and is not in a block yet.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Looks whether the chain dropped the first of the waiting transactions, and fills the hole.
    pub(crate) async fn mend(&mut self) {
        let next = self.forget();
        let Some(first) = self.waiting.get(&next) else { return };
        let waited = first.since.elapsed();
        let gone = match &first.sent {
            _ if waited < DOUBT_AFTER => false,
            _ if waited > RETRY_AFTER => true,
            None => false,
            Some((id, _)) => match self.following.useful().first() {
                Some(source) => matches!(source.knows(id).await, Ok(false)),
                None => false,
            },
        };
        if !gone {
            return;
        }
        self.waiting.remove(&next);
        let last = self.waiting.last_key_value();
        if let Some((_, action)) = last.and_then(|(_, last)| last.sent.clone()) {
            drop(self.submit(action).await);
        }
    }

    /// Forgets transactions that are in a block. Returns the account's next nonce.
    fn forget(&mut self) -> u64 {
        let tip = self.following.local().tip();
        let next = query::account(&tip.state, &self.account).nonce;
        self.waiting = self.waiting.split_off(&next);
        next
    }
}

fn expires_after(epoch: Span) -> Span {
    Span::from_millis(epoch.as_millis() / 2).clamp(EXPIRES_MIN, EXPIRES_MAX)
}

/// Hands a transaction to the first source that answers.
async fn hand_over(sources: &[&Source], transaction: &[u8]) -> Result<(), Trouble> {
    let mut trouble = Trouble::Away("there is no source of use now".to_owned());
    for source in sources {
        match source.issue(transaction).await {
            Err(Trouble::Away(why)) => trouble = Trouble::Away(format!("{}: {why}", source.name())),
            answer => return answer,
        }
    }
    Err(trouble)
}
