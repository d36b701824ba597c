//! How members of a committee come to agree on one commit for a step.
//!
//! One step is one agreement in attempts, each with one leader, in the manner of PBFT: a quorum of
//! *prepare* votes locks a commit, and only a locked commit is attested. Who moves on to the next
//! attempt says what it is locked to; a leader shows a quorum of such statements and proposes the
//! latest locked commit again. So two commits of one step are never both attested by quorums, as
//! long as less than a third of the members lie.

use session_core::committee::MEMBERS_MAX;
use session_core::{
    Blob, ChainId, Digest, Domain, Encode, Entropy, List, NodeId, RequestId, SessionId, Workers,
    choice, record,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

use super::message::Decision;
use super::oracle::{Commit, RequestKind};
use super::step::StepLeaf;
use crate::attestation::{BadCertificate, check_quorum, committee_root, lowest_quorum};

choice! {
    /// What a vote inside an attempt is for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Phase {
        /// The program wants this written; the root is the
        /// [`input_hash`](super::OracleCall::input_hash).
        1 => Intent,
        /// The member would attest this commit; the root is the commit's.
        2 => Prepare,
    }
}

record! {
    /// What is voted for inside an attempt. One for each phase: two are evidence.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ballot {
        /// The chain.
        pub chain: ChainId,
        /// The committee.
        pub committee: Digest,
        /// The attempt; of intents the first one of the step.
        pub request: RequestId,
        /// What for.
        pub phase: Phase,
        /// For what.
        pub root: Digest,
    }

    /// One member's vote inside an attempt.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RoundVote {
        /// What for.
        pub ballot: Ballot,
        /// Who.
        pub node: NodeId,
        /// Over the ballot.
        pub signature: Signature,
    }

    /// A quorum's votes for one ballot, in the form of a quorum certificate.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Prepared {
        /// What for.
        pub ballot: Ballot,
        /// Bit i of byte i / 8, from the lowest: member i signed.
        pub signers: Blob<{ MEMBERS_MAX.div_ceil(8) }>,
        /// Their signatures, in the order of members.
        pub signatures: List<Signature, MEMBERS_MAX>,
    }

    /// What a member is locked to: it saw a quorum prepare it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Lock {
        /// The attempt in which it was prepared.
        pub retry: u32,
        /// The commit.
        pub commit: Commit,
        /// Who prepared it.
        pub prepared: Prepared,
    }

    /// What a member signs when it moves on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AdvanceHead {
        /// The chain.
        pub chain: ChainId,
        /// The committee.
        pub committee: Digest,
        /// The session.
        pub session: SessionId,
        /// The step.
        pub step: u32,
        /// The attempt to which it moves on.
        pub retry: u32,
        /// What it is locked to, if it is.
        pub locked: Option<LockedTo>,
    }

    /// What a member says that it is locked to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct LockedTo {
        /// The attempt in which it was prepared.
        pub retry: u32,
        /// The root of the commit.
        pub root: Digest,
    }

    /// A member moves on to another attempt.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Advance {
        /// What is signed.
        pub head: AdvanceHead,
        /// Who.
        pub node: NodeId,
        /// Over the head.
        pub signature: Signature,
    }

    /// What the leader of an attempt proposes: the frame `OracleCommit`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Proposal {
        /// The session.
        pub session: SessionId,
        /// The step.
        pub step: u32,
        /// The attempt.
        pub retry: u32,
        /// The commit.
        pub commit: Commit,
        /// In attempts after the first: a quorum that moved on.
        pub advances: List<Advance, MEMBERS_MAX>,
        /// The latest lock among them, if there is one: the commit must be its.
        pub lock: Option<Prepared>,
        /// Of a write: a quorum that intends it.
        pub intent: Option<Prepared>,
    }
}

impl Ballot {
    /// Votes for it as one member.
    pub fn sign(&self, member: &dyn Signer, rng: &mut dyn Entropy) -> RoundVote {
        let signature = member.sign(Domain::RoundVote, &self.to_bytes(), rng);
        RoundVote { ballot: *self, node: member.public().node_id(), signature }
    }
}

impl RoundVote {
    /// Checks the signature.
    #[must_use]
    pub fn verify(&self, key: &DsaPublicKey, verifier: &dyn Verifier) -> bool {
        verifier.verify(key, Domain::RoundVote, &self.ballot.to_bytes(), &self.signature).is_ok()
    }

    /// Returns whether both are of one node for one ballot and name different roots.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let ballot = |it: &Ballot| (it.chain, it.committee, it.request, it.phase);
        self.node == other.node
            && ballot(&self.ballot) == ballot(&other.ballot)
            && self.ballot.root != other.ballot.root
    }
}

impl Prepared {
    /// Makes it out of checked votes for one ballot; nothing below a quorum.
    #[must_use]
    pub fn assemble<'a>(
        ballot: &Ballot,
        committee: &[(NodeId, DsaPublicKey)],
        votes: impl IntoIterator<Item = &'a RoundVote>,
    ) -> Option<Self> {
        let votes = votes.into_iter().filter(|vote| vote.ballot == *ballot);
        let (bits, signatures) =
            lowest_quorum(committee, votes.map(|vote| (vote.node, &vote.signature)))?;
        Some(Self {
            ballot: *ballot,
            signers: Blob::new(bits).ok()?,
            signatures: List::new(signatures).ok()?,
        })
    }

    /// Checks that a quorum of the committee, given in order, voted for this ballot and no other;
    /// signatures side by side.
    ///
    /// # Errors
    /// When it is for something else or another committee, is not the one encoding of a quorum, or a
    /// signature does not verify.
    pub fn verify(
        &self,
        expected: &Ballot,
        committee: &[(NodeId, DsaPublicKey)],
        verifier: &dyn Verifier,
        workers: &dyn Workers,
    ) -> Result<(), BadCertificate> {
        let root = committee_root(committee);
        if self.ballot.committee != root {
            let got = self.ballot.committee;
            return Err(BadCertificate::Committee { got, expected: root });
        }
        if self.ballot != *expected {
            return Err(BadCertificate::Statement);
        }
        let bytes = self.ballot.to_bytes();
        check_quorum(committee, (&self.signers, &self.signatures), workers, &|key, signature| {
            verifier.verify(key, Domain::RoundVote, &bytes, signature).is_ok()
        })
    }
}

impl Decision {
    /// Returns the leaf of its step; `input_hash` is the call's.
    ///
    /// The attempt in the leaf is the commit's. Members may have decided one commit in different
    /// attempts: [`Decision::retry`] is not the same everywhere.
    #[must_use]
    pub fn leaf(&self, index: u32, kind: RequestKind, input_hash: Digest) -> StepLeaf {
        StepLeaf {
            index,
            kind: kind.into(),
            retry: self.commit.retry,
            input_hash,
            output_hash: session_core::sha256(&self.commit.result.to_bytes()).into(),
            commit_root: self.certificate.statement.root,
        }
    }
}

impl AdvanceHead {
    /// Signs it.
    pub fn sign(&self, member: &dyn Signer, rng: &mut dyn Entropy) -> Advance {
        let signature = member.sign(Domain::RoundAdvance, &self.to_bytes(), rng);
        Advance { head: *self, node: member.public().node_id(), signature }
    }
}

impl Advance {
    /// Checks the signature.
    #[must_use]
    pub fn verify(&self, key: &DsaPublicKey, verifier: &dyn Verifier) -> bool {
        verifier.verify(key, Domain::RoundAdvance, &self.head.to_bytes(), &self.signature).is_ok()
    }
}
