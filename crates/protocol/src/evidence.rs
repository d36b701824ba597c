//! Evidence: what a node signed that no honest node signs, checkable by anybody, offline.
//!
//! | kind | what it shows |
//! |---|---|
//! | equivocation | two votes of one node for one subject with different roots, or for two beacons of one epoch |
//! | bad opening | a node committed to a root, and signed an opening that does not fit it |
//! | false receipt | a node promised to keep an item, and committed to a set without it |
//! | conflicting records | two observations of one node for one request of a workload session |
//! | conflicting round votes | two votes of one node for one ballot of a workload session |
//!
//! A false receipt alone is no proof of a lie: the owner may have removed the item. So every
//! accusation waits before anybody pays, and whoever was accused of a false receipt can show the
//! owner's order. *Not provided:* evidence against a node that says nothing: that is what votes are
//! for.

use session_core::merkle::Proof;
use session_core::{Blob, ChainId, Digest, Domain, Encode, Epoch, NodeId, Span, choice, digest};
use session_crypto::{PublicIdentity, Verifier};

use crate::attestation::{Kind, Vote};
use crate::chain::transaction::TRANSACTION_BYTES_MAX;
use crate::chain::{Action, ReceivedTransaction};
use crate::commitment::{Absence, Commitment, Leaf, SignedOpening, Window};
use crate::limits::FORWARDED_CLOCK_TOLERANCE;
use crate::membership::NetworkId;
use crate::receipt::{SignedRoot, StorageReceipt};
use crate::schedule::Schedule;
use crate::workload::RoundVote;
use crate::workload::oracle::SignedHead;

choice! {
    /// What a node signed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Evidence {
        /// Two votes that contradict each other.
        1 => Equivocation {
            /// One.
            first: Box<Vote>,
            /// The other.
            second: Box<Vote>,
        },
        /// A commitment and an opening that does not fit it.
        2 => BadOpening {
            /// The signed transaction with the commitment.
            commitment: Blob<TRANSACTION_BYTES_MAX>,
            /// The opening.
            opening: Box<SignedOpening>,
        },
        /// A receipt, and a commitment that does not hold the item.
        3 => FalseReceipt {
            /// The receipt.
            receipt: StorageReceipt,
            /// Who signed it.
            root: Box<SignedRoot>,
            /// From the receipt to the signed root.
            path: Proof,
            /// The signed transaction with the commitment.
            commitment: Blob<TRANSACTION_BYTES_MAX>,
            /// Shows that the item is not in it.
            absence: Box<Absence>,
        },
        /// Two records of one request.
        4 => Records {
            /// One.
            first: Box<SignedHead>,
            /// The other.
            second: Box<SignedHead>,
        },
        /// Two votes inside one attempt.
        5 => RoundVotes {
            /// One.
            first: Box<RoundVote>,
            /// The other.
            second: Box<RoundVote>,
        },
    }
}

/// What evidence is checked against.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The chain.
    pub chain: ChainId,
    /// The network of its nodes.
    pub network: NetworkId,
    /// When the chain began.
    pub genesis: session_core::Time,
    /// How long its epochs are.
    pub epoch: Span,
    /// How old items of a commitment are at least.
    pub settle: Span,
    /// Checks signatures.
    pub verifier: &'a dyn Verifier,
}

/// What evidence shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who.
    pub accused: NodeId,
    /// The id of the case: the same for the same deed, whoever reports it.
    pub case: Digest,
    /// The epoch of what was signed, if it says one: what is signed inside a workload session does
    /// not.
    pub epoch: Option<Epoch>,
    /// The commitment that it is about, if it is about one.
    pub commitment: Option<Commitment>,
    /// The item that is said to be missing, if one is: the accused may show why.
    pub missing: Option<Leaf>,
    /// The receipt that is said to be false, if one is.
    pub receipt: Option<StorageReceipt>,
}

/// Why evidence shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEvidence {
    /// Nobody knows the accused's keys.
    #[error("node {0} is not known")]
    UnknownNode(NodeId),
    /// Both agree, or are of different subjects or nodes.
    #[error("the two votes or records do not contradict each other")]
    NoContradiction,
    /// It is for another chain.
    #[error("it is of another chain")]
    Chain,
    /// A signature is not the accused's.
    #[error("the signature of node {0} does not verify")]
    Signature(NodeId),
    /// The transaction is no storage commitment.
    #[error("the transaction holds no storage commitment: {0}")]
    NoCommitment(String),
    /// Commitment and opening, or receipt, are of different nodes, epochs or swarms.
    #[error("{0} and the commitment are not of the same node, epoch and swarm")]
    Unrelated(&'static str),
    /// The opening is a good one.
    #[error("the opening fits the commitment")]
    GoodOpening,
    /// The receipt is not signed.
    #[error("the receipt is not signed: {0}")]
    Receipt(String),
    /// The item need not be in the commitment.
    #[error("the commitment need not hold the item: {0}")]
    OutsideWindow(&'static str),
    /// The item may be in the commitment.
    #[error("the item is not shown to be absent: {0}")]
    NotAbsent(String),
}

impl Ground<'_> {
    /// Returns which items a commitment must hold.
    #[must_use]
    pub fn window(&self, commitment: &Commitment) -> Window {
        Window::of(&Schedule::of(self.genesis, self.epoch, commitment.epoch), self.settle)
    }

    /// Checks that a commitment must hold what was promised: what was stored long enough before it,
    /// and lives long enough after it.
    ///
    /// # Errors
    /// When it need not.
    pub fn must_hold(
        &self,
        receipt: &StorageReceipt,
        commitment: &Commitment,
    ) -> Result<(), BadEvidence> {
        let window = self.window(commitment);
        // The sender's time is at most this much later than the node's.
        let sent = receipt.stored_at + FORWARDED_CLOCK_TOLERANCE;
        if sent > window.sent_until {
            return Err(BadEvidence::OutsideWindow("it was stored too late"));
        }
        if receipt.expiry <= window.expire_after {
            return Err(BadEvidence::OutsideWindow("it expires too early"));
        }
        Ok(())
    }
}

impl Evidence {
    /// Returns the name that people and tools use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Equivocation { .. } => "equivocation",
            Self::BadOpening { .. } => "bad opening",
            Self::FalseReceipt { .. } => "false receipt",
            Self::Records { .. } => "conflicting records",
            Self::RoundVotes { .. } => "conflicting round votes",
        }
    }

    /// Returns who is accused, before anything is checked.
    #[must_use]
    pub fn accused(&self) -> NodeId {
        match self {
            Self::Equivocation { first, .. } => first.node,
            Self::BadOpening { opening, .. } => opening.node,
            Self::FalseReceipt { receipt, .. } => receipt.node,
            Self::Records { first, .. } => first.head.submitter,
            Self::RoundVotes { first, .. } => first.node,
        }
    }

    /// Checks it with the keys of the accused.
    ///
    /// # Errors
    /// When it shows nothing; the first thing that is wrong is named.
    pub fn verify(
        &self,
        keys: &PublicIdentity,
        ground: &Ground<'_>,
    ) -> Result<Finding, BadEvidence> {
        let accused = self.accused();
        if keys.node_id() != accused {
            return Err(BadEvidence::UnknownNode(accused));
        }
        let deed = |parts: &[&[u8]]| {
            let mut all: Vec<&[u8]> = vec![self.name().as_bytes(), accused.as_bytes()];
            all.extend_from_slice(parts);
            digest(Domain::Case, &all)
        };
        let case = |epoch: Epoch, parts: &[&[u8]]| {
            let epoch = epoch.0.to_be_bytes();
            let mut all: Vec<&[u8]> = vec![&epoch];
            all.extend_from_slice(parts);
            deed(&all)
        };
        let signed = |case: Digest, epoch: Option<Epoch>| Finding {
            accused,
            case,
            epoch,
            commitment: None,
            missing: None,
            receipt: None,
        };
        match self {
            Self::Equivocation { first, second } => {
                let (both, statement) = ([first, second], &first.statement);
                contradiction(first.contradicts(second), statement.chain, ground)?;
                signatures(both.map(|it| it.verify(keys.dsa(), ground.verifier)), accused)?;
                let case = match statement.kind {
                    Kind::EpochBeacon => case(statement.epoch, &[]),
                    _ => case(statement.epoch, &[statement.subject.as_bytes()]),
                };
                Ok(signed(case, Some(statement.epoch)))
            }
            Self::BadOpening { commitment, opening } => {
                let commitment = committed(commitment, keys, ground)?;
                opening
                    .verify_signature(&ground.chain, &commitment, keys.dsa(), ground.verifier)
                    .map_err(|_| BadEvidence::Signature(accused))?;
                let window = ground.window(&commitment);
                let checked = opening.verify(&commitment, &window, ground.network, ground.verifier);
                if checked.is_ok() {
                    return Err(BadEvidence::GoodOpening);
                }
                let epoch = commitment.epoch;
                let found = signed(case(epoch, &[]), Some(epoch));
                Ok(Finding { commitment: Some(commitment), ..found })
            }
            Self::FalseReceipt { receipt, root, path, commitment, absence } => {
                let commitment = committed(commitment, keys, ground)?;
                if receipt.swarm != commitment.swarm {
                    return Err(BadEvidence::Unrelated("the receipt"));
                }
                let bad =
                    |error: crate::receipt::BadReceipt| BadEvidence::Receipt(error.to_string());
                root.verify(ground.network, keys.dsa(), ground.verifier).map_err(bad)?;
                root.covers(ground.network, receipt, path).map_err(bad)?;
                let leaf = Leaf { address: receipt.address, message: receipt.message };
                ground.must_hold(receipt, &commitment)?;
                absence
                    .verify(&leaf, &commitment.root)
                    .map_err(|error| BadEvidence::NotAbsent(error.to_string()))?;
                let epoch = commitment.epoch;
                let case = case(epoch, &[&leaf.to_bytes()]);
                let (commitment, missing) = (Some(commitment), Some(leaf));
                let found = signed(case, Some(epoch));
                Ok(Finding { commitment, missing, receipt: Some(*receipt), ..found })
            }
            Self::Records { first, second } => {
                let both = [first, second];
                contradiction(first.contradicts(second), first.head.chain, ground)?;
                signatures(both.map(|it| it.verify(keys.dsa(), ground.verifier)), accused)?;
                Ok(signed(deed(&[first.head.request.as_bytes()]), None))
            }
            Self::RoundVotes { first, second } => {
                let (both, ballot) = ([first, second], &first.ballot);
                contradiction(first.contradicts(second), ballot.chain, ground)?;
                signatures(both.map(|it| it.verify(keys.dsa(), ground.verifier)), accused)?;
                let phase = ballot.phase.to_bytes();
                Ok(signed(deed(&[ballot.request.as_bytes(), &phase]), None))
            }
        }
    }
}

fn contradiction(holds: bool, chain: ChainId, ground: &Ground<'_>) -> Result<(), BadEvidence> {
    match (holds, chain == ground.chain) {
        (false, _) => Err(BadEvidence::NoContradiction),
        (true, false) => Err(BadEvidence::Chain),
        (true, true) => Ok(()),
    }
}

fn signatures(verified: [bool; 2], accused: NodeId) -> Result<(), BadEvidence> {
    if verified == [true; 2] { Ok(()) } else { Err(BadEvidence::Signature(accused)) }
}

/// Returns the commitment of a transaction that the node itself signed.
fn committed(
    bytes: &[u8],
    keys: &PublicIdentity,
    ground: &Ground<'_>,
) -> Result<Commitment, BadEvidence> {
    let bad = |why: String| BadEvidence::NoCommitment(why);
    let received = ReceivedTransaction::parse(bytes).map_err(|error| bad(error.to_string()))?;
    if received.sender() != keys.account_id() {
        return Err(BadEvidence::Unrelated("the accused"));
    }
    let checked = received
        .check(&ground.chain, Some(keys), ground.verifier)
        .map_err(|error| bad(error.to_string()))?;
    match &checked.signed.transaction.action {
        Action::StorageCommitment { commitment } => Ok(*commitment),
        other => Err(bad(format!("it is a {}", other.name()))),
    }
}
