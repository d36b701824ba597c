//! Accusations: evidence opens a case, and unless somebody answers it in time, the accused pays.
//!
//! *Provided:* a case needs two things that the accused signed and no honest node signs together;
//! the same deed makes one case, whoever reports it. *Not provided:* punishment of a node that
//! left its seat before anybody noticed that it lost items: it is no longer known then which
//! inboxes it had promised to keep.

use session_core::{Digest, Epoch, NodeId, Time};
use session_protocol::commitment::{Window, removes};
use session_protocol::evidence::{Evidence, Finding, Ground};
use session_protocol::membership::network_id;
use session_protocol::owner::OwnerOperation;
use session_protocol::receipt::StorageReceipt;
use session_protocol::schedule::Schedule;

use super::draft::Draft;
use super::penalties::{lose, put_out};
use super::{Execution, Rejection};
use crate::query::{self, entries};
use crate::records::{
    Authority, Case, CaseKind, CaseStatus, Cases, NodeKeys, NodeStatus, Nodes, Only, Params, SeatOf,
};

/// Most cases against one node that wait: accusations cost their senders nothing.
pub const OPEN_CASES_MAX: usize = 16;

impl Execution<'_> {
    /// Opens a case, if the evidence shows what it says.
    pub(super) fn accuse(&mut self, evidence: &Evidence) -> Result<(), Rejection> {
        let accused = evidence.accused();
        let keys = self.draft.get::<NodeKeys>(&accused);
        let keys = keys.ok_or(Rejection::UnknownNode { node: accused })?;
        let chain = query::chain(self.draft.base());
        let ground = Ground {
            chain: self.context.chain,
            network: network_id(&chain.name),
            genesis: chain.genesis,
            epoch: self.params.epoch,
            settle: self.params.duties.settle,
            verifier: self.verifier,
        };
        let finding = evidence.verify(&keys, &ground)?;
        if let Some(known) = self.draft.get::<Cases>(&finding.case) {
            let (case, status) = (finding.case, known.status.name());
            return Err(Rejection::CaseKnown { case, status });
        }
        if let Some(receipt) = &finding.receipt {
            self.check_promise(receipt, chain.genesis)?;
        }
        if open_cases(&self.draft, &accused).count() >= OPEN_CASES_MAX {
            return Err(Rejection::TooManyCases { node: accused });
        }
        self.open_case(evidence, &finding);
        Ok(())
    }

    fn open_case(&mut self, evidence: &Evidence, finding: &Finding) {
        let kind = match evidence {
            Evidence::Equivocation { .. } => CaseKind::Equivocation,
            Evidence::BadOpening { .. } => CaseKind::BadOpening,
            Evidence::FalseReceipt { .. } => CaseKind::FalseReceipt,
            Evidence::Records { .. } => CaseKind::Records,
            Evidence::RoundVotes { .. } => CaseKind::RoundVotes,
        };
        let opened = self.context.time;
        let case = Case {
            accused: finding.accused,
            kind,
            epoch: finding.epoch.unwrap_or(self.epoch.number),
            accuser: self.sender(),
            tx: self.tx.id,
            opened,
            until: opened + self.params.veto_window,
            missing: finding.missing,
            status: CaseStatus::Open,
        };
        self.draft.put::<Cases>(&finding.case, &case);
    }

    /// Checks that a receipt is a promise that the accused's seat still binds it to: inboxes move
    /// between swarms, and whoever handed one over must not keep its items.
    fn check_promise(&self, receipt: &StorageReceipt, genesis: Time) -> Result<(), Rejection> {
        let moved = |why| Rejection::InboxMoved { why };
        let began = |epoch: Epoch| Schedule::of(genesis, self.params.epoch, epoch).start;
        let (_, node) = query::node(self.draft.base(), &receipt.node)
            .ok_or(Rejection::UnknownNode { node: receipt.node })?;
        let SeatOf { swarm, since } =
            node.status.seat().ok_or(moved("the node has no seat any more"))?;
        if receipt.swarm != swarm {
            return Err(moved("the node serves another swarm now"));
        }
        if receipt.stored_at <= began(since) {
            return Err(moved("the node took its seat later"));
        }
        if receipt.stored_at < began(self.epoch.swarms_since) {
            return Err(moved("the swarms changed since"));
        }
        Ok(())
    }

    /// Closes a case about an item that its owner removed.
    pub(super) fn refute(
        &mut self,
        id: &Digest,
        operation: &OwnerOperation,
    ) -> Result<(), Rejection> {
        let case = self.open(id)?;
        let kind = case.kind.name();
        let leaf = case.missing.ok_or(Rejection::NotAboutItem { kind })?;
        let chain = query::chain(self.draft.base());
        let schedule = Schedule::of(chain.genesis, self.params.epoch, case.epoch);
        let until = Window::of(&schedule, self.params.duties.settle).expire_after;
        removes(operation, &leaf, until, network_id(&chain.name), self.verifier)
            .map_err(Rejection::Order)?;
        let status = CaseStatus::Refuted { at: self.context.time };
        self.draft.put::<Cases>(id, &Case { status, ..case });
        Ok(())
    }

    /// Drops a case.
    pub(super) fn veto(&mut self, id: &Digest) -> Result<(), Rejection> {
        if self.draft.get::<Authority>(&Only {}) != Some(self.sender()) {
            return Err(Rejection::NotAuthority);
        }
        let case = self.open(id)?;
        let status = CaseStatus::Vetoed { at: self.context.time };
        self.draft.put::<Cases>(id, &Case { status, ..case });
        Ok(())
    }

    fn open(&self, id: &Digest) -> Result<Case, Rejection> {
        let case = self.draft.get::<Cases>(id).ok_or(Rejection::UnknownCase { case: *id })?;
        match case.status {
            CaseStatus::Open => Ok(case),
            status => Err(Rejection::CaseClosed { status: status.name() }),
        }
    }
}

/// Returns the open cases against the node of an id, whichever of its ids they name.
fn open_cases(draft: &Draft<'_>, id: &NodeId) -> impl Iterator<Item = Digest> {
    let state = draft.base();
    let node = query::current_id(state, id);
    entries::<Cases>(state)
        .filter(|(_, case)| case.status == CaseStatus::Open)
        .filter(move |(_, case)| query::current_id(state, &case.accused) == node)
        .map(|(case, _)| case)
}

/// Returns an open case against a node: its stake is what it would pay with.
pub(super) fn open_case_of(draft: &Draft<'_>, id: &NodeId) -> Option<Digest> {
    open_cases(draft, id).next()
}

/// Lets the accused of every case that was due before the epoch ended pay and go. While the chain
/// stands still no epoch ends: whoever could not answer then can answer afterwards.
///
/// A node pays once: whoever lost a disk broke many promises with one deed.
pub(super) fn settle(draft: &mut Draft<'_>, params: &Params, end: Time) {
    let due = |case: &Case| case.status == CaseStatus::Open && case.until <= end;
    let cases = draft.entries::<Cases>();
    let mut paid: Vec<NodeId> = cases
        .iter()
        .filter(|(_, case)| matches!(case.status, CaseStatus::Paid { .. }))
        .filter_map(|(_, case)| query::current_id(draft.base(), &case.accused))
        .collect();
    for (id, case) in cases.into_iter().filter(|(_, case)| due(case)) {
        let node = query::current_id(draft.base(), &case.accused)
            .and_then(|id| draft.get::<Nodes>(&id).map(|node| (id, node)));
        let (node_id, mut node) = node.expect("evidence is about keys of the registry");
        let mut amount = Default::default();
        if !paid.contains(&node_id) && !matches!(node.status, NodeStatus::Retired { .. }) {
            amount = lose(draft, &mut node, params.slash_bps);
            put_out(&mut node, end + params.unbonding);
            draft.put::<Nodes>(&node_id, &node);
            paid.push(node_id);
        }
        let status = CaseStatus::Paid { at: end, amount };
        draft.put::<Cases>(&id, &Case { status, ..case });
    }
}
