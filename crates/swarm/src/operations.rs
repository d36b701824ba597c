//! What owners sign: reads, subscriptions, deletions and expiries.
//!
//! Deletions and expiries are kept as records with their signature until no copy of the items can
//! be left, so that a member that was away is shown them, and cannot be lied to.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Encode as _, InboxAddress, List, MessageId, Namespace, NodeId, Span, Time};
use session_protocol::inbound::check_clock;
use session_protocol::limits::{
    CLOCK_TOLERANCE, FORWARDED_CLOCK_TOLERANCE, INBOX_OPERATIONS_MAX, TOMBSTONE_TTL, TTL_OWNER_MAX,
};
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::peer::{Operations, ReplicaOutcome};
use session_protocol::request::{Cursor, Expiring, Outcome, Refusal};
use session_storage::{Store, StoreError, Table};

use crate::batches::Done;
use crate::items::{self, Move};
use crate::machine::{Cx, Swarm};
use crate::service::{Work, known};

/// Signatures remembered: a second's worth of 500 requests for two minutes.
const REUSE_MAX: usize = 65_536;

/// Signatures that were used, for as long as their timestamp is fresh.
#[derive(Debug, Default)]
pub(crate) struct Reuse {
    used: BTreeSet<[u8; 32]>,
    until: BTreeMap<Time, Vec<[u8; 32]>>,
}

impl Reuse {
    /// Notes a signature, or refuses it when it was used before.
    fn note(&mut self, id: [u8; 32], until: Time) -> Result<(), Refusal> {
        if self.used.contains(&id) {
            return Err(Refusal::SignatureReused);
        }
        if self.used.len() >= REUSE_MAX {
            // Forgetting one would let it be used again.
            return Err(Refusal::RateLimited { retry_after: Span::from_secs(1) });
        }
        self.used.insert(id);
        self.until.entry(until).or_default().push(id);
        Ok(())
    }

    /// Forgets signatures that are refused by their age.
    pub(crate) fn purge(&mut self, now: Time) {
        while let Some(entry) = self.until.first_entry()
            && *entry.key() < now
        {
            for id in entry.remove() {
                self.used.remove(&id);
            }
        }
    }
}

/// What an operation did here.
#[derive(Debug, Default)]
struct Changed {
    removed: Vec<MessageId>,
    expiries: Vec<Expiring>,
}

impl Swarm {
    /// Does what an owner asked; `None` is an outcome that waits for other members.
    pub(crate) fn owner_asked(
        &mut self,
        cx: &mut Cx<'_>,
        work: &mut Work,
        operation: OwnerOperation,
    ) -> Result<Option<Done>, Refusal> {
        let timestamp = operation.authorization.timestamp;
        check_clock(timestamp, cx.now, CLOCK_TOLERANCE)?;
        let address = operation.rule.address();
        self.view.check_keeps(&address)?;
        let id = operation.signed_bytes(self.view.network);
        let outcome = match &operation.action {
            OwnerAction::Retrieve { namespace, select, bytes_max, audience } => {
                self.check_audience(*audience)?;
                self.reuse.note(id, timestamp + CLOCK_TOLERANCE)?;
                self.page(cx, work, &address, *namespace, select, *bytes_max)?
            }
            OwnerAction::Subscribe { namespaces, audience } => {
                self.check_audience(*audience)?;
                self.reuse.note(id, timestamp + CLOCK_TOLERANCE)?;
                self.subscribe(cx, work, address, namespaces)?
            }
            OwnerAction::Delete { .. } | OwnerAction::Expire { .. } => {
                self.change(cx, work, operation, &id)?;
                return Ok(None);
            }
            _ => return Err(Refusal::bad_request("action", "not known to this node")),
        };
        Ok(Some(Done::Plain(outcome)))
    }

    fn check_audience(&self, audience: NodeId) -> Result<(), Refusal> {
        if audience == self.view.node { Ok(()) } else { Err(Refusal::WrongNode { audience }) }
    }

    fn subscribe(
        &mut self,
        cx: &Cx<'_>,
        work: &Work,
        address: InboxAddress,
        namespaces: &[Namespace],
    ) -> Result<Outcome, Refusal> {
        if namespaces.is_empty() {
            return Err(Refusal::bad_request("namespaces", "none are named"));
        }
        for namespace in namespaces {
            known(*namespace)?;
        }
        self.subscriptions.add(work.from, address, namespaces.to_vec())?;
        let mut arrival = 0;
        cx.store.scan(address..=address, &mut |_, meta| arrival = arrival.max(meta.arrival));
        let cursor = Cursor { incarnation: cx.store.incarnation(), arrival };
        Ok(Outcome::Subscribed { cursor })
    }

    fn change(
        &mut self,
        cx: &mut Cx<'_>,
        work: &Work,
        operation: OwnerOperation,
        id: &[u8; 32],
    ) -> Result<(), Refusal> {
        let (OwnerAction::Delete { ids } | OwnerAction::Expire { ids, .. }) = &operation.action
        else {
            return Err(Refusal::bad_request("action", "changes nothing"));
        };
        if ids.is_empty() {
            return Err(Refusal::bad_request("ids", "none are named"));
        }
        if !self.replication.has_room() {
            return Err(Refusal::RateLimited { retry_after: Span::from_secs(1) });
        }
        self.reuse.note(*id, operation.authorization.timestamp + CLOCK_TOLERANCE)?;
        let is_delete = matches!(operation.action, OwnerAction::Delete { .. });
        let changed = self.apply(cx, &operation, id)?;
        let full = "no more than the ids that were named";
        let outcome = if is_delete {
            Outcome::Deleted { ids: List::new(changed.removed).expect(full), nodes: 0 }
        } else {
            Outcome::Expiring { expiries: List::new(changed.expiries).expect(full), nodes: 0 }
        };
        let deadline = cx.now + self.config.quorum_timeout;
        self.replication.operate(&self.view, work.slot, deadline, operation, outcome);
        Ok(())
    }

    /// Applies the operations of another member, and answers.
    pub(crate) fn operations_received(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        operations: Operations,
    ) {
        let outcomes = operations
            .operations
            .iter()
            .map(|operation| match self.apply_forwarded(cx, operation) {
                Ok(()) => ReplicaOutcome::Applied,
                Err(refusal) => ReplicaOutcome::Refused { code: refusal.code() },
            })
            .collect();
        self.replication.answer(cx, node, operations.id, outcomes, Vec::new());
    }

    /// Applies an operation that another member handed on.
    pub(crate) fn apply_forwarded(
        &mut self,
        cx: &mut Cx<'_>,
        operation: &OwnerOperation,
    ) -> Result<(), Refusal> {
        let signed = operation.authorization.timestamp;
        if signed > cx.now + FORWARDED_CLOCK_TOLERANCE {
            let (server_time, tolerance) = (cx.now, FORWARDED_CLOCK_TOLERANCE);
            return Err(Refusal::Clock { signed, server_time, tolerance });
        }
        if signed + TOMBSTONE_TTL <= cx.now {
            return Err(Refusal::bad_request("timestamp", "every copy has expired since"));
        }
        self.view.check_keeps(&operation.rule.address())?;
        let id = operation.signed_bytes(self.view.network);
        self.apply(cx, operation, &id).map(drop)
    }

    // Applying twice changes nothing, so a write that failed half-way is repaired by a retry.
    fn apply(
        &mut self,
        cx: &mut Cx<'_>,
        operation: &OwnerOperation,
        id: &[u8; 32],
    ) -> Result<Changed, Refusal> {
        check_extension(operation)?;
        let address = operation.rule.address();
        let key = record_key(&address, id);
        let failed = |error: StoreError| items::refusal(&error);
        let until = operation.authorization.timestamp + TOMBSTONE_TTL;
        let known = cx.store.record(Table::Operation, &key).map_err(failed)?.is_some();
        if !known
            && cx.store.records(Table::Operation, address.as_ref()).len() >= INBOX_OPERATIONS_MAX
        {
            return Err(Refusal::InboxFull {
                field: session_core::Text::new("operations").unwrap_or_default(),
                limit: INBOX_OPERATIONS_MAX as u64,
            });
        }
        // Before its record: on a full disk a deletion makes the room that its record needs.
        let changed = perform(cx.store, &address, &operation.action, until).map_err(failed)?;
        if !known {
            let value = operation.to_bytes();
            cx.store.put_record(Table::Operation, &key, &value, until).map_err(failed)?;
            self.stats.operations_applied += 1;
        }
        Ok(changed)
    }
}

/// Returns the key of an operation in its table: inbox, then id.
pub(crate) fn record_key(address: &InboxAddress, id: &[u8; 32]) -> Vec<u8> {
    [address.as_ref(), id].concat()
}

fn check_extension(operation: &OwnerOperation) -> Result<(), Refusal> {
    let signed = operation.authorization.timestamp;
    match operation.action {
        OwnerAction::Expire { expiry, mode: ExpireMode::Extend, .. }
            if expiry > signed + TTL_OWNER_MAX =>
        {
            Err(Refusal::TtlOutOfRange {
                got: expiry.since(signed),
                min: Span::ZERO,
                max: TTL_OWNER_MAX,
            })
        }
        _ => Ok(()),
    }
}

fn perform(
    store: &mut dyn Store,
    address: &InboxAddress,
    action: &OwnerAction,
    until: Time,
) -> Result<Changed, StoreError> {
    let mut changed = Changed::default();
    match action {
        OwnerAction::Delete { ids } => {
            for id in ids {
                if store.remove_item(address, id, until)? {
                    changed.removed.push(*id);
                }
            }
        }
        OwnerAction::Expire { ids, expiry, mode } => {
            let by = match mode {
                ExpireMode::Shorten => Move::Cap(*expiry),
                ExpireMode::Extend => Move::Floor(*expiry),
            };
            for &id in ids {
                if let Some(expiry) = items::move_expiry(store, address, &id, by, until)? {
                    changed.expiries.push(Expiring { id, expiry });
                }
            }
        }
        _ => {}
    }
    Ok(changed)
}
