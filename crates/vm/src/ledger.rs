//! What blocks do to the state: the turn of epochs and the execution of transactions.
//!
//! *Provided*: the same parent state, block context and transactions give the same state and the
//! same verdict everywhere; a rejected transaction changes nothing; no transaction creates or
//! destroys LUX ([`invariants::supply_is_conserved`]); randomness that nobody chose while fewer
//! than a third of the dealers are bad (`docs/adr/022-beacon.md`). *Not provided*: the same where a
//! sequencer alone decides which transactions it takes: it can keep out what dealers post.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use session_core::{AccountId, BlockId, ChainId, Span, Time};
use session_crypto::Verifier;
use session_protocol::Verified;
use session_protocol::chain::transaction::TRANSACTION_VERSION;
use session_protocol::chain::{Action, Amount, ReceivedTransaction};
use session_protocol::roster::Roster;

use crate::query;
use crate::records::{
    AccountKeys, Accounts, Endpoints, EpochRecord, NetworkChanged, Only, Params, SwarmMembers,
    Table, Treasury,
};
use crate::state::State;

mod beacon;
mod cases;
mod conversations;
mod draft;
mod duties;
mod epochs;
pub mod invariants;
mod nodes;
mod penalties;
mod rejection;
mod sessions;
mod swarms;

pub use cases::OPEN_CASES_MAX;
pub use conversations::{
    CHANNEL_MEMBERS_MAX, CONVERSATION_TTL_MAX, CONVERSATION_TTL_MIN, PARTICIPANTS_MAX,
};
pub use nodes::is_endpoint;
pub use rejection::Rejection;

pub(crate) use duties::{check_due, is_free};
pub(crate) use epochs::{first_epoch, genesis as genesis_epoch};

use draft::Draft;

/// The longest that a transaction can wait for its block; bounds what a mempool keeps.
pub const LIFE_MAX: Span = Span::from_days(1);

/// What a block tells the transactions in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// The chain.
    pub chain: ChainId,
    /// The block below.
    pub parent: BlockId,
    /// Blocks below.
    pub height: u64,
    /// The block's time: the only clock there is.
    pub time: Time,
}

/// Entries that a block set (`Some`) or removed, by their keys.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A block in execution, on a copy of its parent's state. A clone keeps a point to return to.
#[derive(Clone, Debug)]
pub struct Ledger {
    state: State,
    changes: Changes,
    context: BlockContext,
    params: Params,
    epoch: EpochRecord,
    turned: bool,
    fees: Amount,
    /// Who does what in the epoch, once somebody asked.
    roster: OnceLock<Arc<Roster>>,
}

impl Ledger {
    /// Begins a block above `parent`. If it is the first one of an epoch, the epoch turns.
    ///
    /// # Panics
    /// When the state does not come from a [`Genesis`](crate::genesis::Genesis).
    #[must_use]
    pub fn begin(parent: &State, context: BlockContext) -> Self {
        let mut ledger = Self {
            state: parent.clone(),
            changes: Changes::new(),
            context,
            params: query::params(parent),
            epoch: query::epoch(parent),
            turned: false,
            fees: Amount::ZERO,
            roster: OnceLock::new(),
        };
        let genesis = query::chain(parent).genesis;
        let number = epochs::epoch_at(genesis, ledger.params.epoch, context.time);
        if number > ledger.epoch.number {
            let mut draft = Draft::new(&ledger.state);
            let epoch = epochs::turn(&mut draft, &ledger.params, &ledger.epoch, number, genesis);
            let writes = draft.into_writes();
            ledger.epoch = epoch;
            ledger.turned = true;
            ledger.apply(writes);
        }
        ledger
    }

    /// Executes a transaction: all of it, or nothing.
    ///
    /// # Errors
    /// When a rule forbids it; the ledger is as before.
    pub fn execute(
        &mut self,
        tx: &Verified<ReceivedTransaction>,
        verifier: &dyn Verifier,
    ) -> Result<(), Rejection> {
        let mut execution = Execution {
            draft: Draft::new(&self.state),
            context: &self.context,
            params: &self.params,
            epoch: &self.epoch,
            roster: &self.roster,
            verifier,
            tx,
        };
        let fee = execution.fee();
        execution.admit(fee)?;
        execution.act()?;
        let writes = execution.draft.into_writes();
        self.apply(writes);
        self.fees = self.fees.checked_add(fee).expect("fees are part of the supply");
        Ok(())
    }

    /// Returns whether an epoch turned.
    #[must_use]
    pub const fn turned(&self) -> bool {
        self.turned
    }

    /// Ends the block: the state above it, and what it changed.
    #[must_use]
    pub fn finish(mut self) -> (State, Changes) {
        let mut draft = Draft::new(&self.state);
        if self.fees > Amount::ZERO {
            let treasury = query::treasury(&self.state).checked_add(self.fees);
            draft.put::<Treasury>(&Only {}, &treasury.expect("fees are part of the supply"));
        }
        // Who is a node and where it is reached is in the one, who serves which swarm in the other.
        let of_network = |key: &Vec<u8>| [Endpoints::TAG, SwarmMembers::TAG].contains(&key[0]);
        if self.changes.keys().any(of_network) {
            draft.put::<NetworkChanged>(&Only {}, &self.context.height);
        }
        let writes = draft.into_writes();
        self.apply(writes);
        (self.state, self.changes)
    }

    fn apply(&mut self, writes: Changes) {
        for (key, value) in writes {
            if key.first() == Some(&SwarmMembers::TAG) {
                self.roster = OnceLock::new();
            }
            match &value {
                Some(value) => self.state.put(&key, value.clone()),
                None => {
                    self.state.remove(&key);
                }
            }
            self.changes.insert(key, value);
        }
    }
}

/// One transaction in execution.
struct Execution<'a> {
    draft: Draft<'a>,
    context: &'a BlockContext,
    params: &'a Params,
    epoch: &'a EpochRecord,
    roster: &'a OnceLock<Arc<Roster>>,
    verifier: &'a dyn Verifier,
    tx: &'a ReceivedTransaction,
}

impl Execution<'_> {
    /// Returns what the transaction costs. What a node must do costs nothing, and it is refused
    /// when it is not due. Nor does it cost a node anything to accuse another, to answer, or to
    /// begin and end the workload sessions for which the chain chose it.
    fn fee(&self) -> Amount {
        let action = &self.tx.signed.transaction.action;
        let dispute = matches!(action, Action::Accuse { .. } | Action::Refute { .. });
        let chosen = action.begins_or_ends().is_some_and(|session| self.is_chosen(session));
        if action.is_duty() || (dispute || chosen) && self.seat().is_ok() {
            return Amount::ZERO;
        }
        query::required_fee(self.params, self.tx.charged())
    }

    /// Checks what every transaction must fulfil, takes its fee and counts it.
    fn admit(&mut self, fee: Amount) -> Result<(), Rejection> {
        let signed = &self.tx.signed;
        let tx = &signed.transaction;
        if tx.version != TRANSACTION_VERSION {
            return Err(Rejection::Version { got: tx.version });
        }
        let chain = self.context.chain;
        if tx.chain != chain {
            return Err(Rejection::Chain { got: tx.chain, chain });
        }
        let time = self.context.time;
        if tx.expires < time {
            return Err(Rejection::Expired { expires: tx.expires, time });
        }
        let latest = time + LIFE_MAX;
        if tx.expires > latest {
            return Err(Rejection::Distant { expires: tx.expires, latest });
        }
        let mut account = self.draft.get::<Accounts>(&tx.sender).unwrap_or_default();
        if tx.nonce != account.nonce {
            return Err(Rejection::Nonce { got: tx.nonce, expected: account.nonce });
        }
        if tx.fee_max < fee {
            return Err(Rejection::Fee { max: tx.fee_max, needed: fee });
        }
        if !self.draft.has::<AccountKeys>(&tx.sender) {
            let keys = signed.keys.as_ref().ok_or(Rejection::KeysMissing { sender: tx.sender })?;
            self.draft.put::<AccountKeys>(&tx.sender, keys);
        }
        let balance = account.balance;
        account.balance =
            balance.checked_sub(fee).ok_or(Rejection::Funds { balance, needed: fee })?;
        account.nonce = account.nonce.checked_add(1).expect("nobody makes 2^64 transactions");
        self.draft.put::<Accounts>(&tx.sender, &account);
        Ok(())
    }

    fn act(&mut self) -> Result<(), Rejection> {
        match &self.tx.signed.transaction.action {
            Action::Transfer { to, amount } => self.transfer(to, *amount),
            Action::RegisterServiceNode { keys, endpoint, stake, possession: _ } => {
                self.register_node(keys, endpoint, *stake)
            }
            Action::RotateNodeKeys { node, keys, possession: _ } => self.rotate_keys(node, keys),
            Action::Decommission { node } => self.decommission(node),
            Action::Withdraw { node } => self.withdraw(node),
            Action::CreateSession { service, program, input, time_max } => {
                self.create_session(service, program, input, *time_max)
            }
            Action::StartSession { session } => self.start_session(session),
            Action::FinalizeSession {
                session,
                output,
                oracle_root,
                receipts_root,
                certificate,
            } => self.finalize_session(session, [output, oracle_root, receipts_root], certificate),
            Action::FailSession { session, reason, certificate } => {
                self.fail_session(session, reason, certificate.as_ref())
            }
            Action::OpenConversation { participants_root, participants, ttl } => {
                self.open_conversation(participants_root, *participants, *ttl)
            }
            Action::CloseConversation { conversation, salt, proof } => {
                self.close_conversation(conversation, salt, proof)
            }
            Action::CreateChannel { name } => self.create_channel(name),
            Action::JoinChannel { channel } => self.join_channel(channel),
            Action::LeaveChannel { channel } => self.leave_channel(channel),
            Action::AnchorManifest { seq, manifest } => self.anchor_manifest(*seq, manifest),
            Action::UptimeVote { epoch, passed, failed } => {
                self.uptime_vote(*epoch, passed, failed)
            }
            Action::StorageCommitment { commitment } => self.storage_commitment(commitment),
            Action::Accuse { evidence } => self.accuse(evidence),
            Action::BeaconShares { epoch, shares } => self.beacon_shares(*epoch, shares),
            Action::RegisterBeaconKey { key } => self.register_beacon_key(key),
            Action::BeaconDeal { epoch, dealing } => self.beacon_deal(*epoch, dealing),
            Action::BeaconAck { epoch, dealings } => self.beacon_ack(*epoch, dealings),
            Action::BeaconReveal { epoch, reveal } => self.beacon_reveal(*epoch, reveal),
            Action::Drain { epochs } => self.drain(*epochs),
            Action::Refute { case, operation } => self.refute(case, operation),
            Action::Veto { case } => self.veto(case),
        }
    }

    fn transfer(&mut self, to: &AccountId, amount: Amount) -> Result<(), Rejection> {
        if amount == Amount::ZERO {
            return Err(Rejection::NothingToTransfer);
        }
        self.take(amount)?;
        self.give(to, amount);
        Ok(())
    }

    fn sender(&self) -> AccountId {
        self.tx.sender()
    }

    /// Takes an amount out of the sender's balance.
    fn take(&mut self, amount: Amount) -> Result<(), Rejection> {
        let sender = self.sender();
        let mut account = self.draft.get::<Accounts>(&sender).unwrap_or_default();
        let balance = account.balance;
        account.balance =
            balance.checked_sub(amount).ok_or(Rejection::Funds { balance, needed: amount })?;
        self.draft.put::<Accounts>(&sender, &account);
        Ok(())
    }

    fn give(&mut self, to: &AccountId, amount: Amount) {
        let mut account = self.draft.get::<Accounts>(to).unwrap_or_default();
        let balance = account.balance.checked_add(amount);
        account.balance = balance.expect("no balance exceeds the supply");
        self.draft.put::<Accounts>(to, &account);
    }
}
