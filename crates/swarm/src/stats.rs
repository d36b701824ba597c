//! What a swarm machine has done since it started.

/// Counters; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches from clients.
    pub requests: u64,
    /// Operations in them that were refused, timeouts included.
    pub refused: u64,
    /// New items, whoever brought them.
    pub items_stored: u64,
    /// Items that were there already.
    pub items_duplicate: u64,
    /// Items handed to clients.
    pub items_served: u64,
    /// Items pushed to subscribers.
    pub items_pushed: u64,
    /// Owner operations applied.
    pub operations_applied: u64,
    /// Items and records forgotten after their expiry.
    pub purged: u64,
    /// Stores and operations that did not reach a quorum.
    pub quorum_missed: u64,
    /// Replication messages sent, each counted once however many members it went to.
    pub replications_sent: u64,
    /// Reconciliations that found a difference.
    pub repairs: u64,
    /// Reconciliations that found none.
    pub in_sync: u64,
    /// Buckets that moved here and were filled from fewer of their former keepers than is safe,
    /// because the others were gone for good.
    pub filled_short: u64,
    /// Faults of other members.
    pub misbehaved: u64,
    /// Failures of the store.
    pub store_errors: u64,
}
