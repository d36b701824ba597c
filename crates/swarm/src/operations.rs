//! What owners sign, or show a capability for: reads, subscriptions, deletions and expiries.
//!
//! Deletions and expiries are kept as records with their proof until no copy of the items can
//! be left, so that a member that was away is shown them, and cannot be lied to.

use std::collections::BTreeMap;

use session_core::{Encode as _, InboxAddress, List, MessageId, Namespace, NodeId, Span, Time};
use session_protocol::inbound::check_clock;
use session_protocol::limits::{
    CLOCK_TOLERANCE, FORWARDED_CLOCK_TOLERANCE, INBOX_OPERATIONS_MAX, TOMBSTONE_TTL, TTL_OWNER_MAX,
};
use session_protocol::owner::{Authorization, ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::peer::{Operations, ReplicaOutcome};
use session_protocol::request::{Cursor, Expiring, Outcome, Refusal};
use session_storage::{Store, StoreError, Table};

use crate::batches::Done;
use crate::handover::reads::Asked;
use crate::items::{self, Move};
use crate::machine::{Cx, Swarm};
use crate::service::{Work, known};

/// Inboxes whose operations are counted in memory: about 1 MB. Others are counted when needed.
const COUNTED_MAX: usize = 16_384;

/// How long a full inbox counts as full before its operations are counted again.
const RECOUNT: Span = Span::from_secs(60);

/// How many operations inboxes have, so that not every one lists all before it.
///
/// What is purged is not subtracted: a count may be too high, and is taken anew when it matters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    inboxes: BTreeMap<InboxAddress, Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    operations: usize,
    taken: Time,
}

impl Counts {
    fn has_room(&mut self, store: &dyn Store, address: &InboxAddress, now: Time) -> bool {
        let stale = |count: &Count| {
            count.operations >= INBOX_OPERATIONS_MAX && count.taken + RECOUNT <= now
        };
        let known = self.inboxes.get(address).copied().filter(|count| !stale(count));
        let count = known.unwrap_or_else(|| {
            if self.inboxes.len() >= COUNTED_MAX {
                self.inboxes.clear();
            }
            let operations = store.records(Table::Operation, address.as_ref()).len();
            let count = Count { operations, taken: now };
            self.inboxes.insert(*address, count);
            count
        });
        count.operations < INBOX_OPERATIONS_MAX
    }

    fn note(&mut self, address: &InboxAddress) {
        if let Some(count) = self.inboxes.get_mut(address) {
            count.operations += 1;
        }
    }
}

/// What an operation did here.
#[derive(Debug, Default)]
pub(crate) struct Changed {
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
        let timestamp = operation.authorization.timestamp();
        check_clock(timestamp, cx.now, CLOCK_TOLERANCE)?;
        let address = operation.rule.address();
        self.view.check_keeps(&address)?;
        let id = operation.signed_bytes(self.view.network);
        let asked = match &operation.action {
            OwnerAction::Retrieve { namespace, select, bytes_max, audience } => {
                self.check_audience(*audience)?;
                self.note_use(&operation, address, id, cx.now)?;
                let select = select.clone();
                let (namespace, bytes_max) = (*namespace, *bytes_max);
                Asked::Page { namespace, select, bytes_max }
            }
            OwnerAction::Subscribe { namespaces, audience } => {
                self.check_audience(*audience)?;
                self.note_use(&operation, address, id, cx.now)?;
                Asked::Subscription { namespaces: namespaces.to_vec() }
            }
            OwnerAction::Delete { .. } | OwnerAction::Expire { .. } => {
                self.change(cx, work, operation, &id)?;
                return Ok(None);
            }
            _ => return Err(Refusal::bad_request("action", "not known to this node")),
        };
        self.read(cx, work, address, asked)
    }

    // A signature is good once. Who has seen a capability needs no old message to use it again, so
    // repeating one is neither worse nor remembered: the table is for those who sign.
    fn note_use(
        &mut self,
        operation: &OwnerOperation,
        address: InboxAddress,
        id: [u8; 32],
        now: Time,
    ) -> Result<(), Refusal> {
        match operation.authorization {
            Authorization::Signed { timestamp, .. } => self.reuse.note(address, id, timestamp, now),
            _ => Ok(()),
        }
    }

    fn check_audience(&self, audience: NodeId) -> Result<(), Refusal> {
        if audience == self.view.node { Ok(()) } else { Err(Refusal::WrongNode { audience }) }
    }

    pub(crate) fn subscribe(
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
        // Numbers are counted over all inboxes: whatever arrives here later has a higher one.
        let arrival = cx.store.latest_arrival();
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
        let address = operation.rule.address();
        self.note_use(&operation, address, *id, cx.now)?;
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
            .map(|operation| {
                let kept = self.view.check_keeps(&operation.rule.address());
                match kept.and_then(|()| self.apply_forwarded(cx, operation)) {
                    Ok(()) => ReplicaOutcome::Applied,
                    Err(refusal) => ReplicaOutcome::Refused { code: refusal.code() },
                }
            })
            .collect();
        self.replication.answer(cx, node, operations.id, outcomes, Vec::new());
    }

    /// Applies an operation that another member handed on, of an inbox that is kept here.
    pub(crate) fn apply_forwarded(
        &mut self,
        cx: &mut Cx<'_>,
        operation: &OwnerOperation,
    ) -> Result<(), Refusal> {
        let signed = operation.authorization.timestamp();
        if signed > cx.now + FORWARDED_CLOCK_TOLERANCE {
            let (server_time, tolerance) = (cx.now, FORWARDED_CLOCK_TOLERANCE);
            return Err(Refusal::Clock { signed, server_time, tolerance });
        }
        if signed + TOMBSTONE_TTL <= cx.now {
            return Err(Refusal::bad_request("timestamp", "every copy has expired since"));
        }
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
        self.replay(cx, address.as_bytes()[0])?;
        let key = record_key(&address, id);
        let failed = |error: StoreError| items::refusal(&error);
        let until = operation.authorization.timestamp() + TOMBSTONE_TTL;
        let known = cx.store.record(Table::Operation, &key).map_err(failed)?.is_some();
        if !known && !self.counts.has_room(cx.store, &address, cx.now) {
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
            self.counts.note(&address);
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
    let signed = operation.authorization.timestamp();
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

/// Carries out a deletion or expiry; a second time it writes nothing.
pub(crate) fn perform(
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

#[cfg(test)]
mod tests;
