//! What others say, checked: proposals, locks and decisions.
//!
//! Nothing here depends on what this member saw itself, or on its clock: what one honest member
//! takes, all take.

use std::collections::BTreeSet;

use session_core::{Digest, Inline, NodeId};
use session_protocol::workload::message::Decision;
use session_protocol::workload::oracle::{Commit, Observation};
use session_protocol::workload::round::{Advance, Lock, LockedTo, Phase, Prepared, Proposal};

use super::Scene;

/// Why something does not count. The text is for people.
pub(super) type Bad = &'static str;

impl Scene {
    /// Checks a commit for itself, and returns its root: that its result follows from its records,
    /// or that nothing follows and the world was asked often enough. Not the signatures.
    pub(super) fn check_commit(&self, commit: &Commit) -> Result<Digest, Bad> {
        let records = &commit.records;
        if records.is_empty() {
            let fits = self.gives_up(commit.retry)
                && commit.result == self.given_up()
                && commit.time == self.before;
            return if fits { Ok(self.root(commit)) } else { Err("a commit without records") };
        }
        if self.gives_up(commit.retry) {
            return Err("a commit with records after the last attempt");
        }
        let request = self.request(commit.retry);
        let ids: Vec<Digest> = records.iter().map(|record| record.id(&request)).collect();
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err("a commit with records out of order");
        }
        let submitters: BTreeSet<NodeId> = records.iter().map(|it| it.submitter).collect();
        if submitters.len() != records.len() || submitters.iter().any(|it| self.key(it).is_none()) {
            return Err("a commit with records of strangers, or with two of one member");
        }
        let pin = records.first().and_then(|record| record.pin);
        if pin.is_some() != self.pins() || records.iter().any(|record| record.pin != pin) {
            return Err("a commit with records of different blocks");
        }
        if self.writes() {
            let written = |it: &Observation| matches!(it, Observation::Value { .. });
            let by_writer = matches!(&**records, [record]
                if record.submitter == self.leader(commit.retry) && written(&record.observation));
            if !by_writer {
                return Err("a commit of a write that is not its writer's");
            }
        }
        if self.decide(records) != Some(commit.result.clone()) {
            return Err("a commit whose result does not follow from its records");
        }
        if commit.time != self.agreed_time(records) {
            return Err("a commit whose time does not follow from its records");
        }
        Ok(self.root(commit))
    }

    /// Checks the signatures of a commit's records: its root does not bind them.
    fn check_records(&self, commit: &Commit) -> Result<(), Bad> {
        let request = self.request(commit.retry);
        let signed = commit.records.iter().all(|record| {
            let head = record.head(self.facts.chain, self.facts.committee, request);
            self.key(&record.submitter).is_some_and(|key| head.verify(key, &*self.verifier))
        });
        if signed { Ok(()) } else { Err("a record whose signature does not verify") }
    }

    fn check_prepared(&self, prepared: &Prepared, locked: LockedTo) -> Result<(), Bad> {
        let ballot = self.ballot(locked.retry, Phase::Prepare, locked.root);
        let good = prepared.verify(&ballot, self.members(), &*self.verifier, &Inline);
        good.map_err(|_| "a lock that no quorum prepared")
    }

    /// Checks that a quorum wants this written, where something is written.
    pub(super) fn check_intent(
        &self,
        commit: &Commit,
        intent: Option<&Prepared>,
    ) -> Result<(), Bad> {
        if !self.writes() || commit.records.is_empty() {
            return Ok(());
        }
        let intent = intent.ok_or("a write that no quorum wants")?;
        let good = intent.verify(&self.intent(), self.members(), &*self.verifier, &Inline);
        good.map_err(|_| "a write that no quorum wants")
    }

    /// Checks a lock with all that is in it.
    pub(super) fn check_lock(&self, lock: &Lock, locked: LockedTo) -> Result<(), Bad> {
        if lock.retry != locked.retry || lock.commit.retry > lock.retry {
            return Err("a lock of another attempt");
        }
        if self.check_commit(&lock.commit)? != locked.root {
            return Err("a lock to another commit");
        }
        self.check_prepared(&lock.prepared, locked)?;
        self.check_records(&lock.commit)
    }

    /// Checks that an advance is a member's, about this step.
    pub(super) fn check_advance(&self, advance: &Advance) -> Result<(), Bad> {
        let head = advance.head;
        if head != self.advance_head(head.retry, head.locked) || head.retry == 0 {
            return Err("an advance of another step");
        }
        if head.locked.is_some_and(|locked| locked.retry >= head.retry) {
            return Err("an advance locked to what comes after it");
        }
        if self.key(&advance.node).is_none() {
            return Err("an advance of a stranger");
        }
        Ok(())
    }

    /// Checks a proposal, and returns the root of its commit. The signatures of its records and
    /// advances were checked.
    pub(super) fn check_proposal(&self, from: NodeId, proposal: &Proposal) -> Result<Digest, Bad> {
        let Proposal { session, step, retry, commit, advances, lock, intent } = proposal;
        if (*session, *step) != (self.facts.session, self.step) {
            return Err("a proposal for another step");
        }
        if from != self.leader(*retry) {
            return Err("a proposal of a member that does not lead");
        }
        let root = self.check_commit(commit)?;
        match self.check_advances(*retry, advances)? {
            Some(locked) => {
                if root != locked.root || commit.retry > locked.retry {
                    return Err("a proposal that passes over a lock");
                }
                let prepared = lock.as_ref().ok_or("a proposal without the lock that it names")?;
                self.check_prepared(prepared, locked)?;
            }
            None if commit.retry != *retry => return Err("a proposal of an earlier attempt's"),
            None if lock.is_some() => return Err("a proposal with a lock that nobody names"),
            None => {}
        }
        self.check_intent(commit, intent.as_ref())?;
        Ok(root)
    }

    /// Checks that a quorum moved on to an attempt, and returns its latest lock.
    fn check_advances(&self, retry: u32, advances: &[Advance]) -> Result<Option<LockedTo>, Bad> {
        if retry == 0 {
            let none = advances.is_empty();
            return if none { Ok(None) } else { Err("a first attempt that follows another") };
        }
        let nodes: BTreeSet<NodeId> = advances.iter().map(|advance| advance.node).collect();
        if nodes.len() != advances.len() || nodes.len() < self.quorum() {
            return Err("an attempt to which no quorum moved on");
        }
        for advance in advances {
            self.check_advance(advance)?;
            if advance.head.retry != retry {
                return Err("an advance to another attempt");
            }
        }
        Ok(advances.iter().filter_map(|advance| advance.head.locked).max())
    }

    /// Checks a decision with all that is in it, and returns the root of its commit.
    pub(super) fn check_decision(&self, decision: &Decision) -> Result<Digest, Bad> {
        let Decision { retry, commit, certificate, intent } = decision;
        if commit.retry > *retry {
            return Err("a decision of what was not proposed yet");
        }
        let root = self.check_commit(commit)?;
        let certified = certificate
            .check_statement(&self.statement(*retry, root))
            .and_then(|()| certificate.verify(self.members(), &*self.verifier, &Inline));
        certified.map_err(|_| "a decision that no quorum attests")?;
        self.check_intent(commit, intent.as_ref())?;
        self.check_records(commit)?;
        Ok(root)
    }
}
