//! Transactions that wait for a block.
//!
//! *Provided:* at most one transaction per sender and nonce; bounds on the memory of all and of each
//! sender's; an end for each. A transaction stays until the block that holds it is accepted.
//! *Not provided:* any judgement of a transaction. Whoever admits one has checked its signature and
//! that its sender can pay ([`Chain::submit`](crate::chain::Chain::submit)).
//!
//! When the pool is full, a transaction gets in only at the cost of transactions of other senders
//! that offer less per byte. For each of them its sender loses its *last* transaction, so that
//! nobody's queue gets a hole.
//!
//! What nodes must do they do for free ([`Class::Free`]), so it has room of its own: it never takes
//! the place of who pays, and nobody who pays takes its place. A node has few such transactions
//! waiting, and they leave the pool when what they do is not due any more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{AccountId, BlockId, Span, Time, TxId};
use session_crypto::PublicIdentity;
use session_protocol::Verified;
use session_protocol::chain::ReceivedTransaction;

use crate::ledger;

/// A transaction whose signatures were checked, shared between the pool and blocks.
pub type Pooled = Arc<Verified<ReceivedTransaction>>;

/// What an entry costs beside the transaction: four places in the indices.
const ENTRY_BYTES: usize = 512;

/// How much waits, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all transactions, not their wire bytes: keys and signatures take their full
    /// size in memory even where a transaction leaves them out.
    pub bytes_max: usize,
    /// Transactions of one sender.
    pub sender_transactions_max: usize,
    /// Memory of one sender's transactions.
    pub sender_bytes_max: usize,
    /// Memory of all free transactions, beside that of those that pay.
    pub free_bytes_max: usize,
    /// Free transactions of one sender.
    pub sender_free_max: usize,
    /// How long a transaction waits, if it does not expire before.
    pub wait_max: Span,
}

impl Default for Limits {
    fn default() -> Self {
        let bytes_max = 64 * 1024 * 1024;
        // One sender cannot hold more than a sixty-fourth, whatever it pays.
        let sender_bytes_max = bytes_max / 64;
        // Three duties of each of 1,000 nodes, and of each some accusations.
        let free_bytes_max = bytes_max / 2;
        Self {
            bytes_max,
            sender_transactions_max: 64,
            sender_bytes_max,
            free_bytes_max,
            // An epoch has six steps; the rest is for workload sessions that begin or end: a node
            // leads a part of them only.
            sender_free_max: 24,
            wait_max: Span::from_secs(600),
        }
    }
}

/// Whose room a transaction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// That of who pays: the better offer gets it.
    Paying,
    /// That of what nodes must do: whoever comes first gets it.
    Free,
}

/// Why the pool does not take a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is there already.
    #[error("transaction {id} waits already")]
    Known {
        /// Its id.
        id: TxId,
    },
    /// Another transaction of the sender waits with the same nonce.
    #[error("transaction {by} of the same sender waits with nonce {nonce}")]
    NonceTaken {
        /// The nonce.
        nonce: u64,
        /// The other transaction.
        by: TxId,
    },
    /// Too many of the sender's wait.
    #[error("{limit} transactions of the sender wait, that is the limit")]
    SenderTransactions {
        /// How many may wait.
        limit: usize,
    },
    /// The sender's would take too much memory.
    #[error("the sender's transactions would take {got} bytes of memory, the limit is {limit}")]
    SenderBytes {
        /// With this one.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// All memory is taken by transactions that offer as much or more.
    #[error(
        "the pool is full: {rate} units per KiB are offered, too few others offer less than that"
    )]
    Full {
        /// What this one offers, in base units per KiB.
        rate: u64,
    },
    /// All memory for free transactions is taken.
    #[error("free transactions may take {limit} bytes of memory, this one finds no room")]
    FreeFull {
        /// The limit.
        limit: usize,
    },
    /// Its time is over.
    #[error("the transaction expired at {expires}, it is {now}")]
    Expired {
        /// The last time of a block for it.
        expires: Time,
        /// The time.
        now: Time,
    },
}

/// Figures of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that wait.
    pub transactions: usize,
    /// Senders that have one waiting.
    pub senders: usize,
    /// Memory that they take.
    pub bytes: usize,
    /// How many of them are free.
    pub free: usize,
    /// Pushed out by others since the start.
    pub evicted: u64,
    /// Removed at their end since the start.
    pub expired: u64,
}

/// Transactions that wait for a block.
#[derive(Debug)]
pub struct Mempool {
    limits: Limits,
    entries: BTreeMap<TxId, Entry>,
    senders: BTreeMap<AccountId, Queue>,
    /// The one that offers least comes first; of equals the newest.
    by_rate: BTreeSet<(u64, Reverse<u64>, TxId)>,
    by_end: BTreeSet<(Time, TxId)>,
    /// Those that pay nothing; they are not in `by_rate`, and their memory is not in `bytes`.
    free: BTreeSet<TxId>,
    bytes: usize,
    free_bytes: usize,
    arrivals: u64,
    evicted: u64,
    expired: u64,
}

/// A transaction that waits.
#[derive(Debug)]
pub struct Entry {
    /// The transaction.
    pub transaction: Pooled,
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// When it stops to wait.
    pub end: Time,
    /// The undecided block on which it could not be executed; it may be possible on another.
    pub impossible_on: Option<BlockId>,
}

#[derive(Debug, Default)]
struct Queue {
    by_nonce: BTreeMap<u64, TxId>,
    bytes: usize,
}

/// Returns the most that a transaction pays, in base units per KiB.
#[must_use]
pub fn rate(transaction: &ReceivedTransaction) -> u64 {
    let fee_max = transaction.signed.transaction.fee_max.0;
    fee_max.saturating_mul(1024) / (transaction.charged() as u64).max(1)
}

/// Returns whose room a transaction takes.
#[must_use]
pub fn class(transaction: &ReceivedTransaction) -> Class {
    if ledger::is_free(transaction) { Class::Free } else { Class::Paying }
}

fn cost(transaction: &ReceivedTransaction) -> usize {
    ENTRY_BYTES + size_of::<Verified<ReceivedTransaction>>() + transaction.size
}

impl Mempool {
    /// Makes an empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            senders: BTreeMap::new(),
            by_rate: BTreeSet::new(),
            by_end: BTreeSet::new(),
            free: BTreeSet::new(),
            bytes: 0,
            free_bytes: 0,
            arrivals: 0,
            evicted: 0,
            expired: 0,
        }
    }

    /// Returns figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            transactions: self.entries.len(),
            senders: self.senders.len(),
            bytes: self.bytes + self.free_bytes,
            free: self.free.len(),
            evicted: self.evicted,
            expired: self.expired,
        }
    }

    /// Returns a transaction.
    #[must_use]
    pub fn get(&self, id: &TxId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Returns the transaction of a sender with a nonce.
    #[must_use]
    pub fn at(&self, sender: &AccountId, nonce: u64) -> Option<&Entry> {
        self.entries.get(self.senders.get(sender)?.by_nonce.get(&nonce)?)
    }

    /// Returns the senders that have transactions waiting.
    pub fn senders(&self) -> impl Iterator<Item = &AccountId> {
        self.senders.keys()
    }

    /// Returns a sender's transactions in the order of their nonces.
    pub fn of(&self, sender: &AccountId) -> impl Iterator<Item = &Entry> {
        let queue = self.senders.get(sender);
        queue.into_iter().flat_map(|queue| queue.by_nonce.values().map(|id| &self.entries[id]))
    }

    /// Returns the sender's keys out of its transactions with a lower nonce: those are in a block
    /// before it.
    #[must_use]
    pub fn keys_below(&self, sender: &AccountId, nonce: u64) -> Option<&PublicIdentity> {
        self.of(sender)
            .map(|entry| &entry.transaction.signed)
            .take_while(|signed| signed.transaction.nonce < nonce)
            .find_map(|signed| signed.keys.as_ref())
    }

    /// Returns whether a transaction would be taken; looks at everything but its signature.
    ///
    /// # Errors
    /// When it would not.
    pub fn check(&self, transaction: &ReceivedTransaction, now: Time) -> Result<(), Refused> {
        self.room(transaction, now).map(drop)
    }

    /// Takes a transaction, and returns those that had to go for it.
    ///
    /// # Errors
    /// When it is not taken; nothing changed.
    pub fn admit(&mut self, transaction: Pooled, now: Time) -> Result<Vec<TxId>, Refused> {
        let victims = self.room(&transaction, now)?;
        for victim in &victims {
            self.remove(victim);
        }
        self.evicted += victims.len() as u64;
        self.insert(transaction, now);
        Ok(victims)
    }

    fn room(&self, transaction: &ReceivedTransaction, now: Time) -> Result<Vec<TxId>, Refused> {
        let (id, sender) = (transaction.id, transaction.sender());
        let body = &transaction.signed.transaction;
        if self.entries.contains_key(&id) {
            return Err(Refused::Known { id });
        }
        if body.expires < now {
            return Err(Refused::Expired { expires: body.expires, now });
        }
        let cost = cost(transaction);
        if let Some(queue) = self.senders.get(&sender) {
            if let Some(&by) = queue.by_nonce.get(&body.nonce) {
                return Err(Refused::NonceTaken { nonce: body.nonce, by });
            }
            let limit = self.limits.sender_transactions_max;
            if queue.by_nonce.len() >= limit {
                return Err(Refused::SenderTransactions { limit });
            }
        }
        let got = cost + self.senders.get(&sender).map_or(0, |queue| queue.bytes);
        if got > self.limits.sender_bytes_max {
            return Err(Refused::SenderBytes { got, limit: self.limits.sender_bytes_max });
        }
        match class(transaction) {
            Class::Paying => self.victims(sender, rate(transaction), cost),
            Class::Free => self.free_room(&sender, cost).map(|()| Vec::new()),
        }
    }

    fn free_room(&self, sender: &AccountId, cost: usize) -> Result<(), Refused> {
        let limit = self.limits.sender_free_max;
        let waiting = self.of(sender).filter(|entry| self.free.contains(&entry.transaction.id));
        if waiting.count() >= limit {
            return Err(Refused::SenderTransactions { limit });
        }
        let limit = self.limits.free_bytes_max;
        if self.free_bytes + cost > limit { Err(Refused::FreeFull { limit }) } else { Ok(()) }
    }

    /// Chooses whom to push out.
    fn victims(&self, sender: AccountId, rate: u64, cost: usize) -> Result<Vec<TxId>, Refused> {
        let free = self.limits.bytes_max.saturating_sub(self.bytes);
        let mut missing = cost.saturating_sub(free);
        let mut victims = Vec::new();
        let mut taken: BTreeMap<AccountId, usize> = BTreeMap::new();
        for (_, _, cheap) in self.by_rate.iter().take_while(|(offered, ..)| *offered < rate) {
            if missing == 0 {
                break;
            }
            let owner = self.entries[cheap].transaction.sender();
            if owner == sender {
                continue;
            }
            let taken = taken.entry(owner).or_default();
            // A sender has at least as many transactions as cheap ones were met. Free ones among
            // them are not in anybody's way.
            let paying = |id: &&TxId| !self.free.contains(*id);
            let last = self.senders[&owner].by_nonce.values().rev().filter(paying).nth(*taken);
            *taken += 1;
            if let Some(last) = last {
                missing = missing.saturating_sub(self::cost(&self.entries[last].transaction));
                victims.push(*last);
            }
        }
        if missing == 0 { Ok(victims) } else { Err(Refused::Full { rate }) }
    }

    fn insert(&mut self, transaction: Pooled, now: Time) {
        let (id, cost, sender) = (transaction.id, cost(&transaction), transaction.sender());
        let body = &transaction.signed.transaction;
        let end = body.expires.min(now + self.limits.wait_max);
        let arrival = self.arrivals;
        self.arrivals += 1;
        let free = class(&transaction) == Class::Free;
        *self.bytes_of(free) += cost;
        let queue = self.senders.entry(sender).or_default();
        queue.bytes += cost;
        queue.by_nonce.insert(body.nonce, id);
        if free {
            self.free.insert(id);
        } else {
            self.by_rate.insert((rate(&transaction), Reverse(arrival), id));
        }
        self.by_end.insert((end, id));
        self.entries.insert(id, Entry { transaction, arrival, end, impossible_on: None });
    }

    const fn bytes_of(&mut self, free: bool) -> &mut usize {
        if free { &mut self.free_bytes } else { &mut self.bytes }
    }

    /// Removes a transaction.
    pub fn remove(&mut self, id: &TxId) -> Option<Pooled> {
        let Entry { transaction, arrival, end, .. } = self.entries.remove(id)?;
        let (cost, sender) = (cost(&transaction), transaction.sender());
        let free = self.free.remove(id);
        *self.bytes_of(free) -= cost;
        self.by_rate.remove(&(rate(&transaction), Reverse(arrival), *id));
        self.by_end.remove(&(end, *id));
        if let Some(queue) = self.senders.get_mut(&sender) {
            queue.bytes -= cost;
            queue.by_nonce.remove(&transaction.signed.transaction.nonce);
            if queue.by_nonce.is_empty() {
                self.senders.remove(&sender);
            }
        }
        Some(transaction)
    }

    /// Removes a sender's transactions whose nonces are used up.
    pub fn remove_below(&mut self, sender: &AccountId, nonce: u64) {
        let Some(queue) = self.senders.get(sender) else { return };
        let stale: Vec<_> = queue.by_nonce.range(..nonce).map(|(_, id)| *id).collect();
        for id in &stale {
            self.remove(id);
        }
    }

    /// Removes the free transactions that are not due any more, and what waits behind them: a
    /// sender that looks at its queue finds no hole in it.
    pub fn remove_undue(&mut self, is_due: impl Fn(&ReceivedTransaction) -> bool) {
        let undue = |id: &&TxId| !is_due(&self.entries[*id].transaction);
        let undue: Vec<TxId> = self.free.iter().filter(undue).copied().collect();
        for id in undue {
            self.remove_from(&id);
            self.expired += 1;
        }
    }

    /// Removes a transaction and those of its sender that come behind it.
    pub fn remove_from(&mut self, id: &TxId) {
        let Some(entry) = self.entries.get(id) else { return };
        let (sender, nonce) = {
            let body = &entry.transaction.signed.transaction;
            (body.sender, body.nonce)
        };
        let Some(queue) = self.senders.get(&sender) else { return };
        let behind: Vec<_> = queue.by_nonce.range(nonce..).map(|(_, id)| *id).collect();
        for id in &behind {
            self.remove(id);
        }
    }

    /// Removes the transactions whose end has passed.
    pub fn sweep(&mut self, now: Time) {
        while let Some(&(_, id)) = self.by_end.first().filter(|(end, _)| *end < now) {
            self.remove(&id);
            self.expired += 1;
        }
    }

    /// Remembers that a transaction cannot be executed on an undecided block.
    pub fn set_impossible(&mut self, id: &TxId, on: BlockId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.impossible_on = Some(on);
        }
    }
}

#[cfg(test)]
mod tests;
