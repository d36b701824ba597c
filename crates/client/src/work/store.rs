use session_core::{InboxAddress, MessageId, Span, Time};
use session_protocol::inbox::{AccessRule, Capability, message_id};
use session_protocol::limits::CLOCK_TOLERANCE;
use session_protocol::puzzle::{Puzzle, WINDOW, window_of};
use session_protocol::receipt::SignedRoot;
use session_protocol::request::{Operation, Outcome, Refusal, Reply};

use super::{Asking, Judging, Room, Sent, Step, lie, refused};
use crate::command::{Answer, Error, NewItem};
use crate::receipts::{Asked, StoredProof, TooFew};

/// How long a node is left alone while its puzzle is being solved.
const SOLVING: Span = Span::from_secs(20);

/// Items on their way into one inbox.
pub(crate) struct Storing {
    address: InboxAddress,
    /// The rule of a mailbox, and what stores in it.
    key: Option<(AccessRule, Capability)>,
    items: Vec<NewItem>,
    ids: Vec<MessageId>,
    proofs: Vec<Option<StoredProof>>,
    /// The earliest timestamp that was sent, to recognise expiries that are too early.
    first_sent: Option<Time>,
}

impl Storing {
    pub(crate) fn new(address: InboxAddress, items: Vec<NewItem>) -> Self {
        Self::with(address, None, items)
    }

    pub(crate) fn deposit(rule: AccessRule, token: Capability, items: Vec<NewItem>) -> Self {
        Self::with(rule.address(), Some((rule, token)), items)
    }

    fn with(
        address: InboxAddress,
        key: Option<(AccessRule, Capability)>,
        items: Vec<NewItem>,
    ) -> Self {
        let ids =
            items.iter().map(|item| message_id(&address, item.namespace, &item.data)).collect();
        let proofs = vec![None; items.len()];
        Self { address, key, items, ids, proofs, first_sent: None }
    }

    pub(super) fn ask(&mut self, asking: &mut Asking<'_>) -> (Vec<Operation>, Sent) {
        let timestamp = asking.nodes.time_at(&asking.node, asking.now);
        self.first_sent = Some(self.first_sent.map_or(timestamp, |first| first.min(timestamp)));
        let indexes = self.next_batch(asking.room);
        let operations = indexes
            .iter()
            .map(|&index| {
                let NewItem { namespace, ttl, data } = self.items[index].clone();
                let solution = asking.puzzles.solution(&self.ids[index]);
                let solution = solution.filter(|it| it.is_current(timestamp));
                match (self.key.clone(), solution) {
                    (None, _) => {
                        let address = self.address;
                        Operation::Store { address, namespace, timestamp, ttl, data }
                    }
                    (Some((rule, token)), None) => {
                        Operation::Deposit { rule, token, namespace, timestamp, ttl, data }
                    }
                    (Some((rule, token)), Some(solution)) => {
                        Operation::Introduce { rule, token, solution, timestamp, ttl, data }
                    }
                }
            })
            .collect();
        (operations, Sent { timestamp, indexes, ..Sent::default() })
    }

    fn next_batch(&self, room: Room) -> Vec<usize> {
        let mut bytes = 0;
        let open = (0..self.items.len()).filter(|&index| self.proofs[index].is_none());
        open.take(room.store_items)
            .take_while(|&index| {
                let first = bytes == 0;
                bytes += self.items[index].data.len();
                first || bytes <= room.store_bytes
            })
            .collect()
    }

    pub(super) fn judge(&mut self, judging: &mut Judging<'_>, sent: &Sent, reply: Reply) -> Step {
        if reply.outcomes.len() != sent.indexes.len() {
            return lie(judging.node, "one outcome for each item was due");
        }
        let mut worst: Option<Step> = None;
        for (&index, outcome) in sent.indexes.iter().zip(reply.outcomes) {
            if let Some(step) = self.judge_one(judging, sent, index, outcome, &reply.roots)
                && worst.as_ref().is_none_or(|worst| weight(&step) > weight(worst))
            {
                worst = Some(step);
            }
        }
        match worst {
            Some(step) => step,
            None if self.proofs.iter().all(Option::is_some) => Step::Done,
            None => Step::More,
        }
    }

    fn judge_one(
        &mut self,
        judging: &mut Judging<'_>,
        sent: &Sent,
        index: usize,
        outcome: Outcome,
        roots: &[SignedRoot],
    ) -> Option<Step> {
        let (message, duplicate, receipts) = match outcome {
            Outcome::Stored { message, duplicate, receipts, .. } => (message, duplicate, receipts),
            Outcome::Refused { refusal } => {
                if matches!(refusal, Refusal::Clock { .. }) {
                    self.first_sent = None; // that timestamp reached nobody
                }
                if let Refusal::PuzzleNeeded { bits, .. } = refusal {
                    return Some(self.solve(judging, sent, index, bits));
                }
                return Some(refused(judging, refusal));
            }
            _ => return Some(lie(judging.node, "the outcome of another operation")),
        };
        if message != self.ids[index] {
            return Some(lie(judging.node, "the id of another item"));
        }
        let Some(swarm) = judging.swarm else {
            return Some(lie(judging.node, "a store was not asked for"));
        };
        let asked = Asked { swarm, address: self.address, message, timestamp: sent.timestamp };
        match judging.auditor.audit(&asked, roots, &receipts) {
            Ok(proof) if !duplicate && proof.expiry < self.earliest_expiry(index) => {
                Some(lie(judging.node, "the item is forgotten earlier than asked"))
            }
            Ok(proof) => {
                self.proofs[index] = Some(proof);
                None
            }
            Err(TooFew { good, needed }) => {
                let node = judging.node;
                Some(Step::Lie(Error::NotEnoughReceipts { node, good, needed }))
            }
        }
    }

    /// Has the shell solve what a node asks for; whoever brings the solution wakes the task.
    fn solve(&self, judging: &mut Judging<'_>, sent: &Sent, index: usize, bits: u8) -> Step {
        let network = judging.membership.network();
        let (address, message) = (self.address, self.ids[index]);
        let window = window_of(sent.timestamp);
        if !judging.puzzles.ask(Puzzle { network, address, message, window, bits }) {
            return lie(judging.node, "a puzzle that no honest node asks for");
        }
        let refusal = Refusal::PuzzleNeeded { bits, window: WINDOW };
        Step::After(SOLVING, Error::Refused { node: judging.node, refusal })
    }

    pub(crate) fn stores(&self, message: &MessageId) -> bool {
        self.ids.contains(message)
    }

    // The first attempt may have reached some members, who then keep its expiry.
    fn earliest_expiry(&self, index: usize) -> Time {
        self.first_sent.unwrap_or(Time::ZERO) + self.items[index].ttl - CLOCK_TOLERANCE
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let proofs = core::mem::take(&mut self.proofs).into_iter().collect::<Option<Vec<_>>>();
        proofs.map(Answer::Stored)
    }

    pub(super) fn progress(&self) -> (usize, usize) {
        (self.proofs.iter().flatten().count(), self.proofs.len())
    }
}

// Of several outcomes in one reply, the one that decides how to go on.
const fn weight(step: &Step) -> u8 {
    match step {
        Step::Lie(_) => 6,
        Step::Fatal(_) => 5,
        Step::Redirect(..) => 4,
        Step::Again(_) => 3,
        Step::After(..) => 2,
        Step::Other(_) | Step::Elsewhere(_) => 1,
        Step::Done | Step::More => 0,
    }
}
