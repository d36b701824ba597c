//! The way into the mempool: everything cheap is checked before the signature, and everything is
//! checked before the pool.

use session_core::{Time, TxId};
use session_protocol::Verified;
use session_protocol::chain::transaction::BadTransaction;
use session_protocol::chain::{Action, Amount, ReceivedTransaction};
use session_storage::kv::Database;

use std::sync::Arc;

use super::{Chain, NONCE_AHEAD_MAX, SubmitError};
use crate::ledger::{self, Ledger, Rejection};
use crate::mempool::Pooled;
use crate::query;
use crate::state::State;

impl<D: Database> Chain<D> {
    /// Takes a signed transaction into the mempool.
    ///
    /// # Errors
    /// When it is no transaction, is not signed, cannot be paid or executed, or finds no room.
    pub fn submit(&mut self, bytes: &[u8], now: Time) -> Result<TxId, SubmitError> {
        self.check_open()?;
        let transaction = ReceivedTransaction::parse(bytes)?;
        self.screen(&transaction, now)?;
        let nonce = transaction.signed.transaction.nonce;
        let known = self.keys_for(&transaction.sender(), nonce);
        let verifier = &*self.config.verifier;
        let transaction = transaction.check(&self.id, known.as_ref(), verifier)?;
        self.admit(transaction, now)
    }

    /// Takes a transaction whose signature was checked elsewhere, with the keys that
    /// [`keys_for`](Self::keys_for) gave.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_checked(
        &mut self,
        transaction: Verified<ReceivedTransaction>,
        now: Time,
    ) -> Result<TxId, SubmitError> {
        self.check_open()?;
        self.screen(&transaction, now)?;
        self.admit(transaction, now)
    }

    /// Says whether a transaction is worth the check of its signature.
    ///
    /// # Errors
    /// When it would not be taken even if its signature verifies.
    pub fn screen(&self, transaction: &ReceivedTransaction, now: Time) -> Result<(), SubmitError> {
        let (id, sender) = (transaction.id, transaction.sender());
        let body = &transaction.signed.transaction;
        if body.chain != self.id {
            return Err(BadTransaction::Chain { got: body.chain, chain: self.id }.into());
        }
        let account = query::account(&self.state, &sender);
        if body.nonce < account.nonce {
            if let Some(place) = self.place(&id)? {
                return Err(SubmitError::Included { id, height: place.height });
            }
            let (got, expected) = (body.nonce, account.nonce);
            return Err(Rejection::Nonce { got, expected }.into());
        }
        if body.nonce - account.nonce > NONCE_AHEAD_MAX {
            return Err(SubmitError::NonceAhead { got: body.nonce, account: account.nonce });
        }
        self.pool.check(transaction, now)?;
        if ledger::is_free(transaction) {
            ledger::check_due(&self.state, transaction, now.max(self.last.time))?;
            self.check_once(transaction)?;
        }
        let params = query::params(&self.state);
        let price = |transaction: &ReceivedTransaction| {
            let free = ledger::is_free(transaction);
            if free { Amount::ZERO } else { query::required_fee(&params, transaction.charged()) }
        };
        let fee = price(transaction);
        if body.fee_max < fee {
            return Err(Rejection::Fee { max: body.fee_max, needed: fee }.into());
        }
        // A sender occupies as much of the pool as it can pay for, whatever comes first.
        let fees = self.pool.of(&sender).map(|entry| price(&entry.transaction).0);
        let needed = fees.fold(fee.0.saturating_add(moved(&body.action).0), u64::saturating_add);
        if account.balance < Amount(needed) {
            let (balance, needed) = (account.balance, Amount(needed));
            return Err(Rejection::Funds { balance, needed }.into());
        }
        if transaction.signed.keys.is_none() && self.keys_for(&sender, body.nonce).is_none() {
            return Err(BadTransaction::KeysMissing { sender }.into());
        }
        Ok(())
    }

    /// Checks that the sender does not do for free again what waits already.
    fn check_once(&self, transaction: &ReceivedTransaction) -> Result<(), SubmitError> {
        let of = |transaction: &ReceivedTransaction| {
            let action = &transaction.signed.transaction.action;
            action.begins_or_ends().map(|session| (*session, action.name()))
        };
        let Some((session, action)) = of(transaction) else { return Ok(()) };
        let sender = transaction.sender();
        let mut waiting = self.pool.of(&sender).map(|entry| &**entry.transaction);
        match waiting.find(|it| ledger::is_free(it) && of(it) == Some((session, action))) {
            Some(by) => Err(SubmitError::SessionWaits { session, action, by: by.id }),
            None => Ok(()),
        }
    }

    /// Tries the transaction if it is its sender's next one, and takes it.
    fn admit(
        &mut self,
        transaction: Verified<ReceivedTransaction>,
        now: Time,
    ) -> Result<TxId, SubmitError> {
        let (id, sender) = (transaction.id, transaction.sender());
        if transaction.signed.transaction.nonce == query::account(&self.state, &sender).nonce {
            let time = now.max(self.last.time);
            let context = self.context(&self.last, time);
            self.turn_trial(time);
            let mut ledger = Ledger::begin(self.trial.as_ref().unwrap_or(&self.state), context);
            ledger.execute(&transaction, &*self.config.verifier)?;
        }
        self.pool.sweep(now);
        self.pool.admit(Arc::new(transaction), now)?;
        Ok(id)
    }

    /// Turns the epoch for trials once per accepted block, not once per transaction: the turn goes
    /// through all nodes.
    fn turn_trial(&mut self, time: Time) {
        let base: &State = self.trial.as_ref().unwrap_or(&self.state);
        if query::next_turn(base) <= time {
            let context = self.context(&self.last, time);
            let (turned, _) = Ledger::begin(&self.state, context).finish();
            self.trial = Some(turned);
        }
    }

    /// Puts the transactions of a block that was decided against back into the pool. Those that
    /// were used up meanwhile, have expired, are there, or find no room are left out.
    pub(super) fn give_back(&mut self, transactions: Vec<Pooled>, now: Time) {
        for transaction in transactions {
            let nonce = query::account(&self.state, &transaction.sender()).nonce;
            if transaction.signed.transaction.nonce >= nonce {
                // A refusal leaves the transaction out; its sender may submit it again.
                let _ = self.pool.admit(transaction, now);
            }
        }
    }
}

/// Returns what an action takes out of the sender's balance beside the fee.
fn moved(action: &Action) -> Amount {
    match action {
        Action::Transfer { amount, .. } => *amount,
        Action::RegisterServiceNode { stake, .. } => *stake,
        _ => Amount::ZERO,
    }
}
