//! What is known of one attempt: at most one of everything of each member.

use std::collections::BTreeMap;

use session_core::{Digest, NodeId};
use session_protocol::attestation::{QuorumCertificate, Statement, Vote};
use session_protocol::workload::oracle::{Commit, Pin, SignedRecord};
use session_protocol::workload::round::{Ballot, Prepared, Proposal, RoundVote};

use super::Scene;

/// What the world was asked and has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Pin,
    Observation,
    Write,
    Confirmation,
}

/// An attempt. What this member signed is in it like what the others did, under its own name.
#[derive(Default)]
pub(super) struct Attempt {
    /// How its leader opened it.
    pub(super) opened: Option<Option<Pin>>,
    pub(super) records: BTreeMap<NodeId, SignedRecord>,
    pub(super) prepares: BTreeMap<NodeId, RoundVote>,
    pub(super) votes: BTreeMap<NodeId, Vote>,
    /// What its leader proposed, checked, with its root.
    pub(super) commit: Option<(Digest, Commit)>,
    /// What this member proposed as its leader.
    pub(super) proposed: Option<Box<Proposal>>,
    pub(super) asked: Option<Asked>,
    /// What was written could be read back.
    pub(super) confirmed: bool,
}

impl Attempt {
    /// Returns the proof that a quorum prepared this.
    pub(super) fn prepared(&self, scene: &Scene, ballot: &Ballot) -> Option<Prepared> {
        let votes = self.prepares.values();
        if votes.clone().filter(|vote| vote.ballot == *ballot).count() < scene.quorum() {
            return None;
        }
        Prepared::assemble(ballot, scene.members(), votes)
    }

    /// Returns the proof that a quorum attests this.
    pub(super) fn certificate(
        &self,
        scene: &Scene,
        statement: &Statement,
    ) -> Option<QuorumCertificate> {
        let votes = self.votes.values();
        if votes.clone().filter(|vote| vote.statement == *statement).count() < scene.quorum() {
            return None;
        }
        QuorumCertificate::assemble(statement, scene.members(), votes)
    }
}
