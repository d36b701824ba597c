//! Replies under way: each waits until every operation of its batch has an outcome.

use std::collections::BTreeMap;

use session_core::merkle::Proof;
use session_core::{Digest, List, MessageId, NodeId, Time};
use session_protocol::limits::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX, SWARM_MEMBERS_MAX};
use session_protocol::receipt::{ReceiptPath, SignedRoot};
use session_protocol::request::{Outcome, ROOTS_MAX, Refusal, Reply};

use crate::machine::{Cx, Effect, Requester};
use crate::stats::Stats;

/// Bytes of a signed root: node, digest, signature.
const ROOT_BYTES: usize = 32 + 32 + 3309;

/// Bytes of a receipt path under a commit of 2^16 receipts.
const PATH_BYTES: usize = 2 + 8 + 8 + 8 + 8 + 4 + 16 * 32;

/// Where in which reply an outcome belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) batch: u64,
    pub(crate) index: usize,
}

/// A member's promise, checked.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) root: SignedRoot,
    pub(crate) expiry: Time,
    pub(crate) stored_at: Time,
    pub(crate) proof: Proof,
}

/// An outcome whose receipts are not yet numbered.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Plain(Outcome),
    Stored { message: MessageId, expiry: Time, duplicate: bool, held: Vec<Held> },
}

impl Done {
    pub(crate) const fn refused(refusal: Refusal) -> Self {
        Self::Plain(Outcome::Refused { refusal })
    }

    pub(crate) const fn is_missed(&self) -> bool {
        matches!(self, Self::Plain(Outcome::Refused { refusal: Refusal::NotEnoughReplicas { .. } }))
    }
}

/// What is left of a reply for the pages of its reads, so that it fits a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageBudget {
    pub(crate) bytes: usize,
    pub(crate) items: usize,
}

impl PageBudget {
    /// Sets room for the receipts of `stores` aside.
    pub(crate) fn beside(stores: usize, members: usize) -> Self {
        let receipts = stores * members;
        let reserved = receipts * PATH_BYTES + receipts.min(ROOTS_MAX) * ROOT_BYTES;
        Self { bytes: PAGE_BYTES_MAX.saturating_sub(reserved), items: PAGE_ITEMS_MAX }
    }
}

#[derive(Debug)]
struct Batch {
    to: Requester,
    request: u64,
    outcomes: Vec<Option<Done>>,
}

/// The replies under way. As many as there are pending operations, which are bounded.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    next: u64,
    waiting: BTreeMap<u64, Batch>,
}

impl Batches {
    /// Numbers a new batch.
    pub(crate) const fn open(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Answers a batch, or keeps it until its missing outcomes have come.
    pub(crate) fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        batch: u64,
        to: Requester,
        request: u64,
        outcomes: Vec<Option<Done>>,
    ) {
        let batch_state = Batch { to, request, outcomes };
        if batch_state.outcomes.iter().all(Option::is_some) {
            batch_state.answer(cx);
        } else {
            self.waiting.insert(batch, batch_state);
        }
    }

    /// Fills in an outcome; the last one sends the reply.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>, stats: &mut Stats, slot: Slot, done: Done) {
        // A requester that went away has no batch any more.
        let Some(batch) = self.waiting.get_mut(&slot.batch) else { return };
        stats.refused += u64::from(matches!(done, Done::Plain(Outcome::Refused { .. })));
        if let Some(outcome) = batch.outcomes.get_mut(slot.index) {
            *outcome = Some(done);
        }
        if batch.outcomes.iter().all(Option::is_some)
            && let Some(batch) = self.waiting.remove(&slot.batch)
        {
            batch.answer(cx);
        }
    }

    /// Drops the replies for a requester that is gone.
    pub(crate) fn forget(&mut self, requester: Requester) {
        self.waiting.retain(|_, batch| batch.to != requester);
    }
}

impl Batch {
    fn answer(self, cx: &mut Cx<'_>) {
        let mut roots = Roots::default();
        let outcomes: Vec<Outcome> =
            self.outcomes.into_iter().flatten().map(|done| roots.number(done)).collect();
        let reply = Reply {
            id: self.request,
            server_time: cx.now,
            roots: List::new(roots.list).expect("numbered up to the limit"),
            outcomes: List::new(outcomes).expect("as many as the operations of a request"),
        };
        cx.effects.push(Effect::Reply { to: self.to, reply });
    }
}

/// The signed roots of a reply, each once.
#[derive(Default)]
struct Roots {
    list: Vec<SignedRoot>,
    numbers: BTreeMap<(NodeId, Digest), u16>,
}

impl Roots {
    fn number(&mut self, done: Done) -> Outcome {
        match done {
            Done::Plain(outcome) => outcome,
            Done::Stored { message, expiry, duplicate, held } => {
                let receipts: Vec<ReceiptPath> = held
                    .into_iter()
                    .filter_map(|held| self.path(held))
                    .take(SWARM_MEMBERS_MAX)
                    .collect();
                let receipts = List::new(receipts).expect("taken up to the limit");
                Outcome::Stored { message, expiry, duplicate, receipts }
            }
        }
    }

    // A reply that is out of roots leaves receipts out; storing again brings them.
    fn path(&mut self, held: Held) -> Option<ReceiptPath> {
        let Held { root, expiry, stored_at, proof } = held;
        let key = (root.node, root.root);
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = u16::try_from(self.list.len()).ok()?;
                if self.list.len() >= ROOTS_MAX {
                    return None;
                }
                self.list.push(root);
                self.numbers.insert(key, number);
                number
            }
        };
        Some(ReceiptPath { root: number, expiry, stored_at, proof })
    }
}
