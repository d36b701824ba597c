//! Reads that wait until their bucket is filled.

use std::collections::BTreeMap;

use session_core::{InboxAddress, Namespace, Span, Time};
use session_protocol::request::{Outcome, Refusal, Select};

use super::buckets::Buckets;
use crate::batches::{Done, PageBudget, Slot};
use crate::machine::{Cx, Requester, Swarm};
use crate::service::Work;

/// How long a read waits: a client that asks the next node has its answer soon enough.
const WAIT: Span = Span::from_secs(4);

/// Reads that wait at once.
const WAITING_MAX: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Page { namespace: Namespace, select: Select, bytes_max: u32 },
    Subscription { namespaces: Vec<Namespace> },
}

#[derive(Debug)]
struct Read {
    from: Requester,
    slot: Slot,
    address: InboxAddress,
    deadline: Time,
    asked: Asked,
}

/// The reads that wait, first come first.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<Read>,
    /// What is left of the replies that they belong to.
    budgets: BTreeMap<u64, PageBudget>,
}

impl Reads {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.first().map(|read| read.deadline)
    }

    /// Buckets that somebody waits for.
    pub(super) fn buckets(&self) -> Buckets {
        self.waiting.iter().map(|read| read.address.as_bytes()[0]).collect()
    }

    pub(super) fn forget(&mut self, requester: Requester) {
        self.waiting.retain(|read| read.from != requester);
        self.forget_budgets();
    }

    fn forget_budgets(&mut self) {
        let waiting = &self.waiting;
        self.budgets.retain(|batch, _| waiting.iter().any(|read| read.slot.batch == *batch));
    }
}

impl Swarm {
    /// Reads, now or as soon as everything of the inbox is here: `None` until then.
    pub(crate) fn read(
        &mut self,
        cx: &mut Cx<'_>,
        work: &mut Work,
        address: InboxAddress,
        asked: Asked,
    ) -> Result<Option<Done>, Refusal> {
        self.view.check_keeps(&address)?;
        if !self.handover.is_blocked(&address) {
            return self.read_now(cx, work, &address, asked).map(|it| Some(Done::Plain(it)));
        }
        if self.handover.reads.waiting.len() >= WAITING_MAX {
            return Err(not_filled());
        }
        let (from, slot, deadline) = (work.from, work.slot, cx.now + WAIT);
        self.handover.reads.waiting.push(Read { from, slot, address, deadline, asked });
        self.pump_sync(cx);
        Ok(None)
    }

    fn read_now(
        &mut self,
        cx: &mut Cx<'_>,
        work: &mut Work,
        address: &InboxAddress,
        asked: Asked,
    ) -> Result<Outcome, Refusal> {
        match asked {
            Asked::Page { namespace, select, bytes_max } => {
                self.page(cx, work, address, namespace, &select, bytes_max)
            }
            Asked::Subscription { namespaces } => self.subscribe(cx, work, *address, &namespaces),
        }
    }

    /// Notes what is left of a reply some of whose reads wait.
    pub(crate) fn keep_budget(&mut self, batch: u64, budget: PageBudget) {
        let reads = &mut self.handover.reads;
        if reads.waiting.iter().rev().any(|read| read.slot.batch == batch) {
            reads.budgets.insert(batch, budget);
        }
    }

    /// Answers reads whose bucket is filled or whose time is up.
    pub(super) fn answer_reads(&mut self, cx: &mut Cx<'_>) {
        if self.handover.reads.waiting.is_empty() {
            return;
        }
        for read in core::mem::take(&mut self.handover.reads.waiting) {
            let done = if !self.handover.is_blocked(&read.address) {
                self.resume(cx, &read).unwrap_or_else(Done::refused)
            } else if let Err(refusal) = self.view.check_keeps(&read.address) {
                Done::refused(refusal)
            } else if read.deadline <= cx.now {
                Done::refused(not_filled())
            } else {
                self.handover.reads.waiting.push(read);
                continue;
            };
            self.batches.finish(cx, &mut self.stats, read.slot, done);
        }
        self.handover.reads.forget_budgets();
    }

    fn resume(&mut self, cx: &mut Cx<'_>, read: &Read) -> Result<Done, Refusal> {
        let batch = read.slot.batch;
        let budget = self.handover.reads.budgets.get(&batch).copied();
        let mut work = Work::resumed(read.from, read.slot, budget.ok_or_else(not_filled)?);
        let outcome = self.read_now(cx, &mut work, &read.address, read.asked.clone());
        self.handover.reads.budgets.insert(batch, work.budget);
        outcome.map(Done::Plain)
    }
}

fn not_filled() -> Refusal {
    Refusal::not_ready("the inbox has just moved here and is not complete yet")
}
