//! How a session ends: votes, their certificate, and what contradicts them.

use std::collections::BTreeMap;

use session_core::{Digest, Inline, NodeId, Time};
use session_protocol::attestation::{Kind, QuorumCertificate, Statement, Vote};
use session_protocol::evidence::Evidence;
use session_protocol::workload::Message;
use session_protocol::workload::message::VoteOf;

use super::{ASK_EVERY, Cx, Ending, Entry, Outcome, Session, Work, send};
use crate::executor::{Effect, Note};

/// What members attest of the end of a session.
#[derive(Default)]
pub(super) struct Tally {
    votes: BTreeMap<NodeId, Vote>,
    /// Members against whom there is evidence already.
    accused: Vec<NodeId>,
    /// What a quorum attests, if it was shown.
    certificate: Option<Box<QuorumCertificate>>,
}

impl Tally {
    /// Takes a vote; returns the one that it contradicts, the first time.
    pub(super) fn add(&mut self, vote: Vote) -> Option<Evidence> {
        let Some(first) = self.votes.get(&vote.node) else {
            self.votes.insert(vote.node, vote);
            return None;
        };
        if !first.contradicts(&vote) || self.accused.contains(&vote.node) {
            return None;
        }
        self.accused.push(vote.node);
        Some(Evidence::Equivocation { first: Box::new(first.clone()), second: Box::new(vote) })
    }
}

impl Session {
    /// Returns what is attested of an outcome.
    fn statement(&self, root: Digest) -> Statement {
        Statement {
            chain: self.facts.chain,
            committee: self.facts.committee,
            kind: Kind::SessionComplete,
            subject: Digest::from(*self.facts.session.as_bytes()),
            root,
            epoch: self.facts.epoch,
        }
    }

    /// The program ended: the member attests it, unless the time is over.
    pub(super) fn complete(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        let in_time = cx.now < self.facts.deadline;
        let statement = self.statement(outcome.root());
        let vote = in_time.then(|| statement.sign(&*self.config.keys, cx.rng));
        let written = vote.clone().map(Box::new);
        self.write(cx, Entry::Completed { at: cx.now, outcome, vote: written });
        self.work = Work::Attesting;
        self.next_at = cx.now + ASK_EVERY;
        if let Some(vote) = vote {
            self.tally.add(vote);
            self.send_vote(cx, self.others());
        }
        self.attest(cx);
    }

    /// Sends the own vote.
    pub(super) fn send_vote(&self, cx: &mut Cx<'_>, nodes: Vec<NodeId>) {
        if let Some((_, Some(vote))) = &self.history.outcome {
            let (session, step) = (self.facts.session, self.history.steps());
            let vote = VoteOf { session, step, retry: 0, vote: (**vote).clone() };
            send(cx, nodes, Message::Attestation(Box::new(vote)));
        }
    }

    /// A member attests the end.
    pub(super) fn voted(&mut self, cx: &mut Cx<'_>, vote: Vote) {
        if vote.statement != self.statement(vote.statement.root) {
            let (node, why) = (vote.node, "a vote about the end of a session is for another one");
            return cx.effects.push(Effect::Misbehaved { node, why });
        }
        if let Some(evidence) = self.tally.add(vote) {
            Self::accuse(cx, evidence);
        }
        self.attest(cx);
    }

    /// Somebody shows what a quorum attests.
    pub(super) fn shown(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        certificate: Box<QuorumCertificate>,
    ) {
        if self.tally.certificate.is_some() {
            return;
        }
        let statement = self.statement(certificate.statement.root);
        let good = certificate.check_statement(&statement).is_ok()
            && certificate.verify(&self.facts.members, &*self.config.verifier, &Inline).is_ok();
        if !good {
            let why = "a certificate of the end of a session does not hold";
            return cx.effects.push(Effect::Misbehaved { node: from, why });
        }
        self.tally.certificate = Some(certificate);
        self.attest(cx);
    }

    /// Ends the session once a quorum attests its end, and this member knows what it was.
    pub(super) fn attest(&mut self, cx: &mut Cx<'_>) {
        let Some((outcome, _)) = &self.history.outcome else { return };
        if !matches!(self.work, Work::Attesting) {
            return;
        }
        let root = outcome.root();
        if self.tally.certificate.is_none() {
            self.tally.certificate = self.assemble();
        }
        let Some(certificate) = self.tally.certificate.take() else { return };
        if certificate.statement.root == root {
            return self.end(cx, Ending::Attested { certificate });
        }
        cx.effects.push(Effect::Note(Note::Diverged { session: self.facts.session }));
        self.end(cx, Ending::Diverged { certificate: Some(certificate) });
    }

    /// Makes a certificate out of the votes, for whatever root a quorum attests.
    fn assemble(&self) -> Option<Box<QuorumCertificate>> {
        let roots: std::collections::BTreeSet<Digest> =
            self.tally.votes.values().map(|vote| vote.statement.root).collect();
        let of = |root| {
            let votes = self.tally.votes.values();
            QuorumCertificate::assemble(&self.statement(root), &self.facts.members, votes)
        };
        roots.into_iter().find_map(of).map(Box::new)
    }

    /// Returns whether a quorum attests an end that this member has not come to yet.
    pub(super) const fn knows_end(&self) -> bool {
        self.tally.certificate.is_some()
    }

    /// Returns until when it may still come to its end.
    pub(super) fn last_moment(&self) -> Time {
        let catching_up = if self.knows_end() { super::CATCH_UP } else { super::GRACE };
        self.facts.deadline + catching_up
    }
}
