//! Requests from clients: what each operation does, and what it is refused for.

use session_core::{InboxAddress, List, Namespace, NodeId, Span, Text, Time};
use session_protocol::inbound::{CheckedOperation, CheckedRequest, Deposit, check_clock};
use session_protocol::inbox::{self, Policy};
use session_protocol::limits::{CLOCK_TOLERANCE, PAGE_ITEMS_MAX, TTL_MAX, TTL_MIN, TTL_OWNER_MAX};
use session_protocol::peer::{ItemKey, ReplicaItem, ReplicaOutcome, Replicate};
use session_protocol::puzzle::WINDOW;
use session_protocol::receipt::StorageReceipt;
use session_protocol::request::{Cursor, Info, Item, Operation, Outcome, Refusal, Select};
use session_storage::PageLimit;

use crate::batches::{Done, PageBudget, Slot};
use crate::handover::reads::Asked;
use crate::items::{self, Kept};
use crate::machine::{Cx, Requester, Swarm};

/// When to come back while too many stores wait for their quorum.
const BUSY_RETRY: Span = Span::from_secs(1);

/// What is older, and comes from members only now, says nothing of how many write now.
const LATELY: Span = Span::from_secs(3600);

/// A batch being worked through.
pub(crate) struct Work {
    pub(crate) from: Requester,
    pub(crate) slot: Slot,
    pub(crate) budget: PageBudget,
    /// This node's receipts for the stores of the batch.
    own: Vec<(u64, StorageReceipt)>,
}

impl Work {
    /// Goes on with a read that had to wait.
    pub(crate) const fn resumed(from: Requester, slot: Slot, budget: PageBudget) -> Self {
        Self { from, slot, budget, own: Vec::new() }
    }
}

impl Swarm {
    /// Works through a batch; the reply follows when its last operation has an outcome.
    pub(crate) fn request(&mut self, cx: &mut Cx<'_>, from: Requester, request: CheckedRequest) {
        self.stats.requests += 1;
        let stores = request
            .operations
            .iter()
            .filter(|operation| {
                matches!(
                    operation,
                    Ok(CheckedOperation::Open(Operation::Store { .. })
                        | CheckedOperation::Deposit(_))
                )
            })
            .count();
        let slot = Slot { batch: self.batches.open(), index: 0 };
        let budget = PageBudget::beside(stores, self.view.size());
        let mut work = Work { from, slot, budget, own: Vec::new() };
        let mut outcomes = Vec::with_capacity(request.operations.len());
        for (index, operation) in request.operations.into_iter().enumerate() {
            work.slot.index = index;
            let done = match operation {
                _ if self.draining => Err(Refusal::not_ready("the node is stopping")),
                Ok(operation) => self.operate(cx, &mut work, operation),
                Err(refusal) => Err(refusal),
            };
            outcomes.push(done.unwrap_or_else(|refusal| {
                self.stats.refused += 1;
                Some(Done::refused(refusal))
            }));
        }
        self.keep_budget(slot.batch, work.budget);
        self.batches.begin(cx, slot.batch, from, request.id, outcomes);
        self.replication.sign_own(cx, work.own);
        if self.replication.is_full() {
            self.flush(cx);
        }
    }

    // `None` is an outcome that waits for other members.
    fn operate(
        &mut self,
        cx: &mut Cx<'_>,
        work: &mut Work,
        operation: CheckedOperation,
    ) -> Result<Option<Done>, Refusal> {
        let operation = match operation {
            CheckedOperation::Owner(operation) => {
                return self.owner_asked(cx, work, operation.into_inner());
            }
            CheckedOperation::Deposit(deposit) => {
                let Deposit { address, namespace, timestamp, ttl, data, solved } =
                    deposit.into_inner();
                let expiry = timestamp + ttl;
                let item = ReplicaItem { address, namespace, timestamp, expiry, data };
                self.check_price(cx, &item, solved)?;
                return self.store(cx, work, item, ttl).map(|()| None);
            }
            CheckedOperation::Open(operation) => operation,
        };
        let outcome = match operation {
            Operation::Store { address, namespace, timestamp, ttl, data } => {
                // Where a proof is asked for, one that was checked comes as a deposit.
                if !matches!(known(namespace)?, Policy::Deposit | Policy::Card) {
                    return Err(Refusal::Unauthorized { namespace });
                }
                let expiry = timestamp + ttl;
                let item = ReplicaItem { address, namespace, timestamp, expiry, data };
                return self.store(cx, work, item, ttl).map(|()| None);
            }
            Operation::RetrievePublic { address, namespace, select, bytes_max } => {
                if !known(namespace)?.is_public() {
                    return Err(Refusal::Unauthorized { namespace });
                }
                return self.read(cx, work, address, Asked::Page { namespace, select, bytes_max });
            }
            Operation::GetSwarm { address } => {
                let swarm = self.view.swarm_of(&address);
                Outcome::Swarm { swarm, members: self.view.membership().member_list(swarm) }
            }
            Operation::Info => Outcome::Info { info: self.info(cx) },
            Operation::Unsubscribe { address } => {
                self.subscriptions.remove(work.from, &address);
                Outcome::Unsubscribed
            }
            _ => return Err(Refusal::bad_request("operation", "not known to this node")),
        };
        Ok(Some(Done::Plain(outcome)))
    }

    /// Refuses a stranger's item that is worth less than what came lately asks for; what is here
    /// already costs nothing.
    fn check_price(&self, cx: &Cx<'_>, item: &ReplicaItem, solved: u8) -> Result<(), Refusal> {
        if known(item.namespace)? != Policy::Strangers {
            return Ok(());
        }
        let bits = self.strangers.bits(&item.address, cx.now);
        let message = || inbox::message_id(&item.address, item.namespace, &item.data);
        if solved >= bits || cx.store.meta(&item.address, &message()).is_some() {
            return Ok(());
        }
        Err(Refusal::PuzzleNeeded { bits, window: WINDOW })
    }

    fn store(
        &mut self,
        cx: &mut Cx<'_>,
        work: &mut Work,
        mut item: ReplicaItem,
        ttl: Span,
    ) -> Result<(), Refusal> {
        // The clock first: everything that is wrong with a wrong clock follows from it.
        check_clock(item.timestamp, cx.now, CLOCK_TOLERANCE)?;
        check_ttl(&item, ttl, cx.now)?;
        self.view.check_keeps(&item.address)?;
        items::check_namespace(&item)?;
        if !self.replication.has_room() {
            return Err(Refusal::RateLimited { retry_after: BUSY_RETRY });
        }
        let message = inbox::message_id(&item.address, item.namespace, &item.data);
        let key = ItemKey { address: item.address, message };
        self.check_slot(cx, &item, &message)?;
        let (expiry, duplicate) = match self.keep(cx, &item, &key)? {
            Kept::Stored { expiry, .. } => (expiry, false),
            Kept::Duplicate { expiry } => (expiry, true),
            Kept::Deleted => return Err(Refusal::Deleted),
        };
        self.claim_slot(cx, &item, &message)?;
        // What the members are asked to keep is what is kept here.
        item.expiry = expiry;
        let receipt = self.view.receipt_of(self.view.node, &key, expiry, cx.now);
        let deadline = cx.now + self.config.quorum_timeout;
        let pending =
            self.replication.store(&self.view, work.slot, deadline, item, (key, duplicate));
        work.own.push((pending, receipt));
        Ok(())
    }

    /// Keeps an item, whoever brought it, and pushes it to subscribers when it is new.
    pub(crate) fn keep(
        &mut self,
        cx: &mut Cx<'_>,
        item: &ReplicaItem,
        key: &ItemKey,
    ) -> Result<Kept, Refusal> {
        self.replay(cx, item.address.as_bytes()[0])?;
        let kept = items::keep(cx.store, item, &key.message, cx.now).inspect_err(|refusal| {
            self.writable &= !matches!(refusal, Refusal::DiskFull);
            self.stats.store_errors += u64::from(matches!(refusal, Refusal::Internal { .. }));
        })?;
        match kept {
            Kept::Stored { arrival, expiry } => {
                self.writable = true;
                self.stats.items_stored += 1;
                if item.namespace == inbox::INTRODUCTIONS && item.timestamp + LATELY > cx.now {
                    self.strangers.came(&item.address, cx.now);
                }
                self.push(cx, item, key, arrival, expiry);
            }
            Kept::Duplicate { .. } => self.stats.items_duplicate += 1,
            Kept::Deleted => {}
        }
        Ok(kept)
    }

    /// Keeps the items of another member, and answers with receipts.
    pub(crate) fn replicated(&mut self, cx: &mut Cx<'_>, node: NodeId, replicate: Replicate) {
        if !self.replication.takes_from(&node) {
            // Its earlier ones wait for this node's signature, which may be late for reasons of
            // its own: nobody is to blame. The sender compares the bucket later.
            let code = Refusal::RateLimited { retry_after: BUSY_RETRY }.code();
            let outcomes = vec![ReplicaOutcome::Refused { code }; replicate.items.len()];
            return self.replication.answer(cx, node, replicate.id, outcomes, Vec::new());
        }
        let (mut outcomes, mut signed) = (Vec::new(), Vec::new());
        for (index, item) in replicate.items.iter().enumerate() {
            let kept = self.view.check_keeps(&item.address);
            outcomes.push(match kept.and_then(|()| self.keep_replica(cx, item)) {
                Ok((_, Kept::Deleted)) => ReplicaOutcome::Deleted,
                Ok((key, Kept::Stored { expiry, .. } | Kept::Duplicate { expiry })) => {
                    let receipt = self.view.receipt_of(self.view.node, &key, expiry, cx.now);
                    signed.push((index, receipt));
                    // Replaced by the receipt as soon as it is signed; code 18 is never sent.
                    ReplicaOutcome::Refused { code: Refusal::internal("unsigned").code() }
                }
                Err(Refusal::SlotTaken { holder }) => ReplicaOutcome::SlotTaken { holder },
                Err(refusal) => ReplicaOutcome::Refused { code: refusal.code() },
            });
        }
        self.replication.answer(cx, node, replicate.id, outcomes, signed);
    }

    /// Keeps a copy for which a receipt is asked; it stays even where its slot is another's.
    fn keep_replica(
        &mut self,
        cx: &mut Cx<'_>,
        item: &ReplicaItem,
    ) -> Result<(ItemKey, Kept), Refusal> {
        let (key, kept) = self.keep_forwarded(cx, item)?;
        if kept != Kept::Deleted {
            self.claim_slot(cx, item, &key.message)?;
        }
        Ok((key, kept))
    }

    /// Keeps a copy that another member sent, under the rules for clients.
    ///
    /// That this node is to keep it, the caller has checked.
    pub(crate) fn keep_forwarded(
        &mut self,
        cx: &mut Cx<'_>,
        item: &ReplicaItem,
    ) -> Result<(ItemKey, Kept), Refusal> {
        items::check_forwarded(item, cx.now)?;
        let message = inbox::message_id(&item.address, item.namespace, &item.data);
        let key = ItemKey { address: item.address, message };
        Ok((key, self.keep(cx, item, &key)?))
    }

    /// Reads a page of an inbox that is kept here.
    pub(crate) fn page(
        &mut self,
        cx: &mut Cx<'_>,
        work: &mut Work,
        address: &InboxAddress,
        namespace: Namespace,
        select: &Select,
        bytes_max: u32,
    ) -> Result<Outcome, Refusal> {
        known(namespace)?;
        self.replay(cx, address.as_bytes()[0])?;
        // Zero is kept for a reply that is full: whoever asks for less gets one item.
        let asked = usize::try_from(bytes_max).unwrap_or(usize::MAX).max(1);
        let bytes = work.budget.bytes.min(asked);
        let limit = PageLimit { items: work.budget.items, bytes };
        let (items, cursor, more) = match select {
            Select::After { cursor } => page_after(cx, address, namespace, *cursor, limit)?,
            Select::Ids { ids } => {
                let (items, more) = page_of(cx, address, namespace, ids, limit)?;
                (items, Cursor { incarnation: cx.store.incarnation(), arrival: 0 }, more)
            }
        };
        work.budget.items -= items.len().min(work.budget.items);
        let spent: usize = items.iter().map(|item| item.data.len()).sum();
        work.budget.bytes = work.budget.bytes.saturating_sub(spent);
        self.stats.items_served += items.len() as u64;
        let items = List::new(items).expect("no more than the budget of a reply");
        Ok(Outcome::Items { items, cursor, more })
    }

    fn info(&self, cx: &Cx<'_>) -> Info {
        let count = |members: usize| u16::try_from(members).unwrap_or(u16::MAX);
        Info {
            node: self.view.node,
            network: self.view.network,
            swarm: self.view.shown_swarm(),
            version: Text::new(self.config.version.clone()).unwrap_or_default(),
            time: cx.now,
            items: cx.store.stats().items,
            members_up: count(self.health().members_up),
            members: count(self.view.size()),
        }
    }
}

/// Returns the rules of a namespace, or refuses one that does not exist.
pub(crate) fn known(namespace: Namespace) -> Result<Policy, Refusal> {
    inbox::policy(namespace).ok_or(Refusal::UnknownNamespace { namespace })
}

fn check_ttl(item: &ReplicaItem, ttl: Span, now: Time) -> Result<(), Refusal> {
    let max = match known(item.namespace)? {
        Policy::Card | Policy::Manifest => TTL_OWNER_MAX,
        Policy::Deposit | Policy::Box | Policy::Slot | Policy::Strangers => TTL_MAX,
    };
    // What was sent a while ago must still be worth keeping.
    let min = if item.expiry <= now { now.since(item.timestamp) + TTL_MIN } else { TTL_MIN };
    if ttl < min || ttl > max {
        return Err(Refusal::TtlOutOfRange { got: ttl, min, max });
    }
    Ok(())
}

type Found = (Vec<Item>, Cursor, bool);

fn page_after(
    cx: &Cx<'_>,
    address: &InboxAddress,
    namespace: Namespace,
    cursor: Cursor,
    limit: PageLimit,
) -> Result<Found, Refusal> {
    let incarnation = cx.store.incarnation();
    // Another incarnation counted other arrivals: read from the beginning.
    let after = if cursor.incarnation == incarnation { cursor.arrival } else { 0 };
    if limit.items == 0 || limit.bytes == 0 {
        // Earlier pages filled the reply.
        return Ok((Vec::new(), Cursor { incarnation, arrival: after }, true));
    }
    let page = cx
        .store
        .items_after(address, namespace, after, limit, cx.now)
        .map_err(|error| items::refusal(&error))?;
    let arrival = page.items.last().map_or(after, |item| item.meta.arrival);
    let items = page.items.into_iter().filter_map(items::shown).collect();
    Ok((items, Cursor { incarnation, arrival }, page.more))
}

fn page_of(
    cx: &Cx<'_>,
    address: &InboxAddress,
    namespace: Namespace,
    ids: &[session_core::MessageId],
    limit: PageLimit,
) -> Result<(Vec<Item>, bool), Refusal> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    for id in ids {
        let Some(meta) = cx.store.meta(address, id) else { continue };
        if meta.namespace != namespace || meta.expiry <= cx.now {
            continue;
        }
        let size = meta.size as usize;
        let full = items.len() >= limit.items.min(PAGE_ITEMS_MAX) || limit.bytes == 0;
        if full || (!items.is_empty() && bytes + size > limit.bytes) {
            return Ok((items, true));
        }
        let stored = cx.store.item(address, id).map_err(|error| items::refusal(&error))?;
        if let Some(item) = stored.and_then(items::shown) {
            bytes += size;
            items.push(item);
        }
    }
    Ok((items, false))
}
