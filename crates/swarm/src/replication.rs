//! Copies to the other members: what is queued for them, what they have not answered yet, and
//! which stores and operations wait for a quorum.

use std::collections::{BTreeMap, BTreeSet};

use session_core::merkle::Proof;
use session_core::{InboxAddress, List, MessageId, NodeId, Span, Time};
use session_protocol::limits::{REPLICA_BYTES_TARGET, REPLICA_ITEMS_MAX};
use session_protocol::owner::OwnerOperation;
use session_protocol::peer::{
    ItemKey, Operations, Receipts, ReplicaItem, ReplicaOutcome, Replicate,
};
use session_protocol::receipt::{SignedRoot, StorageReceipt};
use session_protocol::request::{Outcome, Refusal};

use crate::batches::{Done, Held, Slot};
use crate::coordinator::Promise;
use crate::machine::{Cx, Effect, PeerMessageOut};
use crate::stats::Stats;
use crate::view::View;

/// Stores and operations that may wait for their quorum at once: at 1,000 members' answers a
/// second and 5 s to wait there is room to spare; beyond it clients are told to come back.
const PENDING_MAX: usize = 16_384;

/// Messages that one member may leave unanswered before it is skipped.
const FLIGHTS_MAX: usize = 64;

/// Bytes that one member may leave unanswered before it is skipped: 16 full messages.
const FLIGHT_BYTES_MAX: usize = 16 * REPLICA_BYTES_TARGET;

/// How long a message may stay unanswered before it no longer counts.
const FLIGHT_TIMEOUT: Span = Span::from_secs(10);

/// Operations in one message: 15 KB each at most, so half a frame.
const OPERATIONS_PER_MESSAGE: usize = 32;

/// From one receipt of a member that is kept to the next.
const SAMPLE_EVERY: Span = Span::from_secs(1);

/// Messages of one member whose receipts the shell has not signed yet.
const UNSIGNED_PER_PEER_MAX: usize = 4 * FLIGHTS_MAX;

/// A store or operation that has its outcome.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) slot: Slot,
    pub(crate) done: Done,
}

/// What a step of replication led to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) settled: Vec<Settled>,
    /// Members that now lack something, and in which bucket.
    pub(crate) behind: Vec<(NodeId, u8)>,
}

/// What the answer of a member led to.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) settled: Vec<Settled>,
    /// Buckets in which the member differs.
    pub(crate) behind: Vec<u8>,
    /// Buckets of what the member did not take, perhaps only for now.
    pub(crate) refused: Vec<u8>,
    /// The receipt that was to be kept, if it is one.
    pub(crate) promise: Option<Box<Promise>>,
}

/// An answer that breaks the protocol.
#[derive(Debug)]
pub(crate) struct PeerFault {
    pub(crate) why: &'static str,
    pub(crate) settled: Vec<Settled>,
}

#[derive(Debug)]
enum Goal {
    Store {
        key: ItemKey,
        expiry: Time,
        duplicate: bool,
        held: BTreeMap<NodeId, Held>,
        /// Members for which another item has the slot, and which.
        rivals: BTreeMap<NodeId, MessageId>,
    },
    Operation {
        address: InboxAddress,
        outcome: Outcome,
        applied: BTreeSet<NodeId>,
    },
}

#[derive(Debug)]
struct Pending {
    slot: Slot,
    deadline: Time,
    /// Members whose answer may still come; this node until its receipt is signed.
    awaiting: BTreeSet<NodeId>,
    /// Not sent to the members yet.
    queued: bool,
    /// Members that must have committed: as many as when it began.
    needed: usize,
    /// Members that are not needed.
    spare: usize,
    goal: Goal,
}

impl Pending {
    const fn address(&self) -> &InboxAddress {
        match &self.goal {
            Goal::Store { key, .. } => &key.address,
            Goal::Operation { address, .. } => address,
        }
    }

    fn committed(&self) -> usize {
        match &self.goal {
            Goal::Store { held, .. } => held.len(),
            Goal::Operation { applied, .. } => applied.len(),
        }
    }
}

/// An item or operation inside a message that a member has not answered.
#[derive(Clone, Copy, Debug)]
struct Flown {
    pending: u64,
    bucket: u8,
}

#[derive(Debug)]
struct Flight {
    sent: Time,
    bytes: usize,
    of_items: bool,
    flown: Vec<Flown>,
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<(u64, ReplicaItem)>,
    bytes: usize,
    operations: Vec<(u64, OwnerOperation)>,
}

/// Receipts that the shell was asked to sign.
#[derive(Debug)]
enum Ticket {
    /// For stores of ours.
    Own { stores: Vec<(u64, StorageReceipt)> },
    /// For items of a member; those with a place get the proofs in order.
    Peer {
        node: NodeId,
        id: u64,
        outcomes: Vec<ReplicaOutcome>,
        signed: Vec<(usize, StorageReceipt)>,
    },
}

/// The part of the swarm machine that talks to the other members.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    next_id: u64,
    pending: BTreeMap<u64, Pending>,
    queue: Queue,
    /// Members that are up, and what they have not answered.
    peers: BTreeMap<NodeId, BTreeMap<u64, Flight>>,
    /// Not later than the first flight is overdue: answers in between leave it as it is.
    next_overdue: Option<Time>,
    tickets: BTreeMap<u64, Ticket>,
    unsigned: BTreeMap<NodeId, usize>,
    /// When a receipt of each member may be kept again.
    samples: BTreeMap<NodeId, Time>,
}

impl Replication {
    pub(crate) fn peers_up(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Tells whether another store or operation may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.peers.contains_key(node)
    }

    const fn next(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Queues an item that is stored here, to wait for receipts; returns its number.
    pub(crate) fn store(
        &mut self,
        view: &View,
        slot: Slot,
        deadline: Time,
        item: ReplicaItem,
        stored: (ItemKey, bool),
    ) -> u64 {
        let (key, duplicate) = stored;
        let id = self.next();
        let (held, rivals) = (BTreeMap::new(), BTreeMap::new());
        let goal = Goal::Store { key, expiry: item.expiry, duplicate, held, rivals };
        let awaiting = BTreeSet::from([view.node]);
        let (needed, spare) = (view.quorum, view.size().saturating_sub(view.quorum));
        let pending = Pending { slot, deadline, awaiting, queued: true, needed, spare, goal };
        self.pending.insert(id, pending);
        self.queue.bytes += item.data.len();
        self.queue.items.push((id, item));
        id
    }

    /// Queues an operation that is applied here, to wait for the others.
    pub(crate) fn operate(
        &mut self,
        view: &View,
        slot: Slot,
        deadline: Time,
        operation: OwnerOperation,
        outcome: Outcome,
    ) {
        let id = self.next();
        let address = operation.rule.address();
        let goal = Goal::Operation { address, outcome, applied: BTreeSet::from([view.node]) };
        let awaiting = BTreeSet::new();
        let (needed, spare) = (view.quorum, view.size().saturating_sub(view.quorum));
        let pending = Pending { slot, deadline, awaiting, queued: true, needed, spare, goal };
        self.pending.insert(id, pending);
        self.queue.operations.push((id, operation));
    }

    /// Asks the shell to sign this node's receipts for the stores of a batch.
    pub(crate) fn sign_own(&mut self, cx: &mut Cx<'_>, stores: Vec<(u64, StorageReceipt)>) {
        if stores.is_empty() {
            return;
        }
        let ticket = self.next();
        let receipts = stores.iter().map(|(_, receipt)| *receipt).collect();
        self.tickets.insert(ticket, Ticket::Own { stores });
        cx.effects.push(Effect::SignReceipts { ticket, receipts });
    }

    /// Tells whether another message of a member is taken before its earlier ones are signed.
    pub(crate) fn takes_from(&self, node: &NodeId) -> bool {
        self.unsigned.get(node).is_none_or(|count| *count < UNSIGNED_PER_PEER_MAX)
    }

    /// Answers a member's items; receipts are signed first.
    pub(crate) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        id: u64,
        outcomes: Vec<ReplicaOutcome>,
        signed: Vec<(usize, StorageReceipt)>,
    ) {
        if signed.is_empty() {
            return send_receipts(cx, node, id, None, outcomes);
        }
        let ticket = self.next();
        let receipts = signed.iter().map(|(_, receipt)| *receipt).collect();
        *self.unsigned.entry(node).or_default() += 1;
        self.tickets.insert(ticket, Ticket::Peer { node, id, outcomes, signed });
        cx.effects.push(Effect::SignReceipts { ticket, receipts });
    }

    /// Takes the shell's signature over the receipts of a ticket.
    pub(crate) fn signed(
        &mut self,
        cx: &mut Cx<'_>,
        view: &View,
        ticket: u64,
        root: &SignedRoot,
        proofs: Vec<Proof>,
    ) -> Vec<Settled> {
        match self.tickets.remove(&ticket) {
            None => Vec::new(),
            Some(Ticket::Own { stores }) => {
                let mut settled = Vec::new();
                for ((id, receipt), proof) in stores.into_iter().zip(proofs) {
                    let Some(pending) = self.pending.get_mut(&id) else { continue };
                    pending.awaiting.remove(&view.node);
                    if let Goal::Store { held, .. } = &mut pending.goal {
                        let StorageReceipt { expiry, stored_at, .. } = receipt;
                        let promise = Held { root: root.clone(), expiry, stored_at, proof };
                        held.insert(view.node, promise);
                    }
                    settled.extend(self.settle(id));
                }
                settled
            }
            Some(Ticket::Peer { node, id, mut outcomes, signed }) => {
                if let Some(count) = self.unsigned.get_mut(&node) {
                    *count = count.saturating_sub(1);
                }
                for ((index, receipt), proof) in signed.into_iter().zip(proofs) {
                    if let Some(outcome) = outcomes.get_mut(index) {
                        let StorageReceipt { expiry, stored_at, .. } = receipt;
                        *outcome = ReplicaOutcome::Stored { expiry, stored_at, proof };
                    }
                }
                if self.is_up(&node) {
                    send_receipts(cx, node, id, Some(root.clone()), outcomes);
                }
                Vec::new()
            }
        }
    }

    pub(crate) fn peer_up(&mut self, node: NodeId) {
        self.peers.entry(node).or_default();
    }

    pub(crate) fn peer_down(&mut self, node: NodeId) -> Vec<Settled> {
        let Some(flights) = self.peers.remove(&node) else { return Vec::new() };
        let lost = flights.into_values().flat_map(|flight| flight.flown);
        self.give_up(node, lost)
    }

    /// Ends what waits for an inbox that is not kept here any more: its promise would count members
    /// that no longer ask each other.
    pub(crate) fn turn(&mut self, keeps: impl Fn(&InboxAddress) -> bool) -> Vec<Settled> {
        let lost = |pending: &Pending| !keeps(pending.address());
        let gone = self.pending.iter().filter(|(_, pending)| lost(pending)).map(|(id, _)| *id);
        let gone: Vec<u64> = gone.collect();
        gone.into_iter().filter_map(|id| self.pending.remove(&id)).map(Pending::missed).collect()
    }

    /// Sends what is queued to every member that keeps up.
    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>, stats: &mut Stats) -> Progress {
        let mut progress = Progress::default();
        let mut items = core::mem::take(&mut self.queue.items).into_iter().peekable();
        self.queue.bytes = 0;
        while items.peek().is_some() {
            let (mut flown, mut list, mut bytes) = (Vec::new(), Vec::new(), 0);
            while list.len() < REPLICA_ITEMS_MAX
                && let Some((pending, item)) = items.next_if(|(_, item)| {
                    bytes == 0 || bytes + item.data.len() <= REPLICA_BYTES_TARGET
                })
            {
                // Empty items have a size too: their other fields.
                bytes += item.data.len().max(1);
                flown.push(Flown { pending, bucket: item.address.as_bytes()[0] });
                list.push(item);
            }
            let id = self.next();
            let items = List::new(list).expect("gathered up to the limit");
            let message = PeerMessageOut::Replicate(Replicate { id, items });
            let flight = Flight { sent: cx.now, bytes, of_items: true, flown };
            self.launch(cx, id, flight, message, &mut progress);
            stats.replications_sent += 1;
        }
        let queued = core::mem::take(&mut self.queue.operations);
        for chunk in queued.chunks(OPERATIONS_PER_MESSAGE) {
            let flown = chunk
                .iter()
                .map(|(pending, operation)| Flown {
                    pending: *pending,
                    bucket: operation.rule.address().as_bytes()[0],
                })
                .collect();
            let id = self.next();
            let list: Vec<_> = chunk.iter().map(|(_, operation)| operation.clone()).collect();
            let operations = List::new(list).expect("chunked below the limit");
            let message = PeerMessageOut::Operations(Operations { id, operations });
            let flight = Flight { sent: cx.now, bytes: 0, of_items: false, flown };
            self.launch(cx, id, flight, message, &mut progress);
            stats.replications_sent += 1;
        }
        progress
    }

    /// Tells whether what is queued fills a message.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.bytes >= REPLICA_BYTES_TARGET
            || self.queue.items.len() >= REPLICA_ITEMS_MAX
            || self.queue.operations.len() >= OPERATIONS_PER_MESSAGE
    }

    fn launch(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        flight: Flight,
        message: PeerMessageOut,
        progress: &mut Progress,
    ) {
        let mut nodes = Vec::with_capacity(self.peers.len());
        for (node, flights) in &mut self.peers {
            let unanswered: usize = flights.values().map(|flight| flight.bytes).sum();
            if flights.len() >= FLIGHTS_MAX || unanswered >= FLIGHT_BYTES_MAX {
                progress.behind.extend(flight.flown.iter().map(|flown| (*node, flown.bucket)));
                continue;
            }
            let flown = flight.flown.clone();
            flights.insert(id, Flight { flown, ..flight });
            nodes.push(*node);
        }
        for flown in &flight.flown {
            if let Some(pending) = self.pending.get_mut(&flown.pending) {
                pending.queued = false;
                pending.awaiting.extend(&nodes);
            }
            progress.settled.extend(self.settle(flown.pending));
        }
        if !nodes.is_empty() {
            // Later flights are overdue later.
            self.next_overdue.get_or_insert(cx.now + FLIGHT_TIMEOUT);
            cx.effects.push(Effect::ToPeers { nodes, bulk: false, message });
        }
    }

    /// Tells whether it is time to keep a receipt of a member.
    pub(crate) fn may_sample(&mut self, node: NodeId, now: Time) -> bool {
        let next = self.samples.entry(node).or_default();
        let is_due = *next <= now;
        if is_due {
            *next = now + SAMPLE_EVERY;
        }
        is_due
    }

    /// Takes a member's answer to items or operations of ours; the receipt at the place `sample` is
    /// handed back.
    pub(crate) fn answered(
        &mut self,
        view: &View,
        node: NodeId,
        receipts: &Receipts,
        sample: Option<usize>,
    ) -> Result<Answer, PeerFault> {
        let mut answer = Answer::default();
        // Answers that come too late have no flight any more.
        let Some(flight) =
            self.peers.get_mut(&node).and_then(|flights| flights.remove(&receipts.id))
        else {
            return Ok(answer);
        };
        if let Err(why) = self.check_answer(view, node, receipts, &flight) {
            let settled = self.give_up(node, flight.flown.into_iter());
            return Err(PeerFault { why, settled });
        }
        for (place, (flown, outcome)) in flight.flown.iter().zip(&receipts.outcomes).enumerate() {
            match outcome {
                ReplicaOutcome::Deleted => answer.behind.push(flown.bucket),
                ReplicaOutcome::Refused { .. } => answer.refused.push(flown.bucket),
                _ => {}
            }
            let Some(pending) = self.pending.get_mut(&flown.pending) else { continue };
            pending.awaiting.remove(&node);
            match (&mut pending.goal, outcome, &receipts.root) {
                (
                    Goal::Store { key, held, expiry: promised, .. },
                    ReplicaOutcome::Stored { expiry, stored_at, proof },
                    Some(root),
                ) => {
                    // A shorter promise is not what the client asked for; a shortening that is
                    // not known here yet will explain it.
                    if expiry >= promised {
                        let (expiry, stored_at) = (*expiry, *stored_at);
                        let (root, proof) = (root.clone(), proof.clone());
                        if sample == Some(place) {
                            let receipt = view.receipt_of(node, key, expiry, stored_at);
                            let (root, path) = (root.clone(), proof.clone());
                            answer.promise = Some(Box::new(Promise { receipt, root, path }));
                        }
                        held.insert(node, Held { root, expiry, stored_at, proof });
                    } else {
                        answer.behind.push(flown.bucket);
                    }
                }
                (Goal::Store { rivals, .. }, ReplicaOutcome::SlotTaken { holder }, _) => {
                    rivals.insert(node, *holder);
                }
                (Goal::Operation { applied, .. }, ReplicaOutcome::Applied, _) => {
                    applied.insert(node);
                }
                _ => {}
            }
            answer.settled.extend(self.settle(flown.pending));
        }
        Ok(answer)
    }

    fn check_answer(
        &self,
        view: &View,
        node: NodeId,
        receipts: &Receipts,
        flight: &Flight,
    ) -> Result<(), &'static str> {
        if receipts.outcomes.len() != flight.flown.len() {
            return Err("receipts that are not as many as the items");
        }
        if receipts.root.as_ref().is_some_and(|root| root.node != node) {
            return Err("receipts signed by another node");
        }
        for (flown, outcome) in flight.flown.iter().zip(&receipts.outcomes) {
            match outcome {
                ReplicaOutcome::Stored { .. } if !flight.of_items => {
                    return Err("a receipt in answer to an operation");
                }
                ReplicaOutcome::SlotTaken { .. } if !flight.of_items => {
                    return Err("a slot in answer to an operation");
                }
                ReplicaOutcome::Applied if flight.of_items => {
                    return Err("an item answered as an operation");
                }
                ReplicaOutcome::Stored { expiry, stored_at, proof } => {
                    let root = receipts.root.as_ref().ok_or("a receipt without a signature")?;
                    // What nobody waits for any more is not worth the hashing.
                    let Some(Pending { goal: Goal::Store { key, .. }, .. }) =
                        self.pending.get(&flown.pending)
                    else {
                        continue;
                    };
                    let receipt = view.receipt_of(node, key, *expiry, *stored_at);
                    root.covers(view.network, &receipt, proof)
                        .map_err(|_| "a receipt that is not under its signed root")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn give_up(&mut self, node: NodeId, lost: impl Iterator<Item = Flown>) -> Vec<Settled> {
        let mut settled = Vec::new();
        for flown in lost {
            if let Some(pending) = self.pending.get_mut(&flown.pending) {
                pending.awaiting.remove(&node);
                settled.extend(self.settle(flown.pending));
            }
        }
        settled
    }

    /// Ends a store or operation that has its quorum, or can no longer get it.
    fn settle(&mut self, id: u64) -> Option<Settled> {
        let pending = self.pending.get(&id)?;
        let enough = pending.committed() >= pending.needed;
        if !enough && (pending.queued || !pending.awaiting.is_empty()) {
            return None;
        }
        let pending = self.pending.remove(&id)?;
        Some(if enough { pending.done() } else { pending.missed() })
    }

    /// Ends what has waited too long, and forgets messages that were never answered.
    pub(crate) fn overdue(&mut self, now: Time) -> Progress {
        let mut progress = Progress::default();
        // All wait equally long, so the first are due first.
        while let Some(entry) = self.pending.first_entry()
            && entry.get().deadline <= now
        {
            progress.settled.push(entry.remove().missed());
        }
        if self.next_overdue.is_none_or(|at| at > now) {
            return progress;
        }
        self.next_overdue = None;
        for (node, flights) in &mut self.peers {
            while let Some(entry) = flights.first_entry() {
                let due = entry.get().sent + FLIGHT_TIMEOUT;
                if due > now {
                    self.next_overdue = Some(self.next_overdue.map_or(due, |at| at.min(due)));
                    break;
                }
                let flown = entry.remove().flown;
                progress.behind.extend(flown.into_iter().map(|flown| (*node, flown.bucket)));
            }
        }
        progress
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let pending = self.pending.first_key_value().map(|(_, pending)| pending.deadline);
        let queued = self.pending.last_key_value().filter(|(_, pending)| pending.queued);
        // A queue that no flush follows is sent by the next tick.
        let queued = queued.map(|_| Time::ZERO);
        [pending, queued, self.next_overdue].into_iter().flatten().min()
    }
}

impl Pending {
    fn done(self) -> Settled {
        let done = match self.goal {
            Goal::Store { key, expiry, duplicate, held, .. } => Done::Stored {
                message: key.message,
                expiry,
                duplicate,
                held: held.into_values().collect(),
            },
            Goal::Operation { mut outcome, applied, .. } => {
                if let Outcome::Deleted { nodes, .. } | Outcome::Expiring { nodes, .. } =
                    &mut outcome
                {
                    *nodes = count(applied.len());
                }
                Done::Plain(outcome)
            }
        };
        Settled { slot: self.slot, done }
    }

    fn missed(self) -> Settled {
        let (stored, needed) = (count(self.committed()), count(self.needed));
        let refusal = match &self.goal {
            // So many signed for other items of the slot that trying again is of no use.
            Goal::Store { rivals, .. }
                if rivals.len() > self.spare
                    && let Some((_, holder)) = rivals.first_key_value() =>
            {
                Refusal::SlotTaken { holder: *holder }
            }
            _ => Refusal::NotEnoughReplicas { stored, needed },
        };
        Settled { slot: self.slot, done: Done::refused(refusal) }
    }
}

fn count(members: usize) -> u16 {
    u16::try_from(members).unwrap_or(u16::MAX)
}

fn send_receipts(
    cx: &mut Cx<'_>,
    node: NodeId,
    id: u64,
    root: Option<SignedRoot>,
    outcomes: Vec<ReplicaOutcome>,
) {
    let outcomes = List::new(outcomes).expect("as many as the items of a message");
    let message = PeerMessageOut::Receipts(Receipts { id, root, outcomes });
    cx.effects.push(Effect::ToPeers { nodes: vec![node], bulk: false, message });
}
