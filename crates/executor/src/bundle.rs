//! The file that proves a session to anybody, offline.
//!
//! A [`Bundle`] holds all that a session was made of, what its committee attested, and what its
//! members saw. [`verify`] runs the program again, step by step, and checks every hash, record,
//! vote, certificate, receipt and root on the way; a failure names the step and what is wrong
//! there. Sessions that failed for a reason in their program are proven in the same way; those
//! whose time ran out have no certificate, so nothing to prove.
//!
//! *Provided:* if a bundle verifies, a quorum of the committee named in it attests these steps,
//! these answers of the world and this end, and this program makes exactly them out of its input.
//! *Not provided:* that the chain has this program under the session's id, and chose this committee
//! with this randomness at this time: [`Ground::known`] takes that from an anchor, and
//! [`Verdict::trusted`] says in words which of both it was. With it, one altered byte is refused;
//! without it, bytes that nobody signs are taken as they stand: what of the manifest the program
//! does not touch, the randomness if it draws none, and the times. The text form binds them to what
//! people read.

use session_core::committee::MEMBERS_MAX;
use session_core::{
    Blob, ChainId, Digest, Encode as _, Epoch, List, NodeId, ServiceId, SessionId, Text, Time,
    TxId, Workers, choice, record, sha256,
};
use session_crypto::{DsaPublicKey, Verifier};
use session_protocol::attestation::{
    BadCertificate, QuorumCertificate, failure_root, outcome_root,
};
use session_protocol::chain::transaction::REASON_BYTES_MAX;
use session_protocol::workload::check::BadManifest;
use session_protocol::workload::message::Decision;
use session_protocol::workload::step::StepLeaf;
use session_protocol::workload::{
    INPUT_BYTES_MAX, MODULE_BYTES_MAX, OUTPUT_BYTES_MAX, Receipt, Workload, blob_id,
};

mod decision;
mod text;
mod verify;

pub use text::{BadText, from_json, to_json};
pub use verify::verify;

/// The version of every bundle.
pub const BUNDLE_VERSION: u8 = 1;
/// Most steps.
pub const STEPS_MAX: usize = 65_536;
/// Most receipts.
pub const RECEIPTS_MAX: usize = 65_536;
/// The longest anchor.
pub const ANCHOR_BYTES_MAX: usize = 256 * 1024;

record! {
    /// All of a session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Bundle {
        /// [`BUNDLE_VERSION`].
        pub version: u8,
        /// The chain.
        pub chain: ChainId,
        /// The session.
        pub session: SessionId,
        /// The service.
        pub service: ServiceId,
        /// The epoch in which it was created.
        pub epoch: Epoch,
        /// The transaction that created it.
        pub tx: TxId,
        /// The randomness of that epoch.
        pub randomness: Digest,
        /// When it was created.
        pub created: Time,
        /// When it must have ended.
        pub deadline: Time,
        /// The committee, in the order of the chain.
        pub members: List<Member, MEMBERS_MAX>,
        /// What was run.
        pub workload: Workload,
        /// The module.
        pub module: Blob<MODULE_BYTES_MAX>,
        /// The input.
        pub input: Blob<INPUT_BYTES_MAX>,
        /// The steps, in order.
        pub steps: List<ShownStep, STEPS_MAX>,
        /// What the session delivered, in order.
        pub receipts: List<Receipt, RECEIPTS_MAX>,
        /// What it ended with.
        pub outcome: Outcome,
        /// Who attests that.
        pub certificate: QuorumCertificate,
        /// What ties it to the chain, for whoever can check that; may be empty.
        pub anchor: Blob<ANCHOR_BYTES_MAX>,
    }

    /// A member of a committee.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Member {
        /// Who.
        pub node: NodeId,
        /// The key with which it signs.
        pub key: DsaPublicKey,
    }

    /// A step, and of a request what was decided.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ShownStep {
        /// What every member has the same.
        pub leaf: StepLeaf,
        /// What was decided, with records and certificate.
        pub decision: Option<Box<Decision>>,
    }
}

choice! {
    /// What a session ended with.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Outcome {
        /// The program ended well.
        1 => Finished {
            /// Its output.
            output: Blob<OUTPUT_BYTES_MAX>,
            /// The root over its steps.
            oracle_root: Digest,
            /// The root over its receipts.
            receipts_root: Digest,
        },
        /// The program ended badly.
        2 => Failed {
            /// Why.
            reason: Text<REASON_BYTES_MAX>,
        },
    }
}

impl Outcome {
    /// Returns SHA-256 of the output, if there is one.
    pub(crate) fn output_hash(&self) -> Option<Digest> {
        match self {
            Self::Finished { output, .. } => Some(sha256(output).into()),
            Self::Failed { .. } => None,
        }
    }

    /// Returns what the committee attests of it.
    #[must_use]
    pub fn root(&self) -> Digest {
        match self {
            Self::Finished { output, oracle_root, receipts_root } => {
                outcome_root(&sha256(output).into(), oracle_root, receipts_root)
            }
            Self::Failed { reason } => failure_root(reason),
        }
    }
}

impl Bundle {
    /// Returns the chain's name of the program.
    #[must_use]
    pub fn program(&self) -> Digest {
        blob_id(&self.workload.to_bytes())
    }

    /// Returns the committee as certificates are checked with it.
    #[must_use]
    pub fn committee(&self) -> Vec<(NodeId, DsaPublicKey)> {
        self.members.iter().map(|member| (member.node, member.key.clone())).collect()
    }

    /// Returns what was decided, with the places of the steps.
    pub fn decisions(&self) -> impl Iterator<Item = (u32, &Decision)> {
        self.steps.iter().filter_map(|step| Some((step.leaf.index, step.decision.as_deref()?)))
    }
}

/// What a bundle is checked against.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Checks signatures.
    pub verifier: &'a dyn Verifier,
    /// Who checks those of a certificate side by side.
    pub workers: &'a dyn Workers,
    /// What is known of the session besides the bundle.
    pub known: Option<&'a Known>,
}

/// What a chain shows of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The chain.
    pub chain: ChainId,
    /// The service.
    pub service: ServiceId,
    /// The epoch.
    pub epoch: Epoch,
    /// The transaction that created it.
    pub tx: TxId,
    /// The program.
    pub program: Digest,
    /// The input.
    pub input: Digest,
    /// When it was created.
    pub created: Time,
    /// When it must have ended.
    pub deadline: Time,
    /// The randomness of the epoch.
    pub randomness: Digest,
    /// The committee in its order, with keys that are shown to be its members'.
    pub members: Vec<(NodeId, DsaPublicKey)>,
    /// How that is known, in words: "block 17 of the chain, sealed by its sequencer".
    pub shown_by: String,
}

/// A bundle does not prove what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{wrong}", step.map(|step| format!("step {step}: ")).unwrap_or_default())]
pub struct BadBundle {
    /// The step, if it is in one.
    pub step: Option<u32>,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A version that nobody defined.
    #[error("version {got} of bundles is unknown, this is {BUNDLE_VERSION}")]
    Version {
        /// The version.
        got: u8,
    },
    /// Something is not what follows from the rest, or what the chain has.
    #[error("{what} is {got}, {says} {expected}")]
    Differs {
        /// What.
        what: &'static str,
        /// Whose word is against it.
        says: &'static str,
        /// What the bundle has.
        got: String,
        /// What it must be.
        expected: String,
    },
    /// The workload cannot be run.
    #[error("the workload cannot be run: {0}")]
    Workload(#[from] BadManifest),
    /// Other members than those that the chain shows.
    #[error("member {index} of the committee is not the one that the chain shows")]
    Member {
        /// Which.
        index: usize,
    },
    /// A member is there twice, or there are too few.
    #[error("the committee is none: {0}")]
    Committee(&'static str),
    /// The program went on where the bundle ends, or ended where it goes on.
    #[error("the program {did}, but the bundle has {has}")]
    Course {
        /// What it did.
        did: &'static str,
        /// What the bundle has instead.
        has: &'static str,
    },
    /// A record is not its member's.
    #[error("the signature of the record of node {submitter} does not verify")]
    Record {
        /// Whose it is said to be.
        submitter: NodeId,
    },
    /// A commit breaks a rule of commits.
    #[error("the commit is none: {0}")]
    Commit(&'static str),
    /// The result does not follow from the records.
    #[error("the result does not follow from the records")]
    Result,
    /// No quorum intended a write.
    #[error("no quorum intended the write: {0}")]
    Intent(BadCertificate),
    /// Who attests proves nothing.
    #[error("the certificate proves nothing: {0}")]
    Certificate(BadCertificate),
}

/// What a bundle proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The session.
    pub session: SessionId,
    /// What it ended with.
    pub outcome: Outcome,
    /// Steps that were run or checked again.
    pub steps: u32,
    /// Requests among them.
    pub requests: u32,
    /// Attempts at requests before the ones that were decided.
    pub retries: u32,
    /// Records that were checked.
    pub records: u32,
    /// Signatures that were checked.
    pub signatures: u32,
    /// Fuel that the program used.
    pub fuel: u64,
    /// What the program logged.
    pub logs: Vec<String>,
    /// What was delivered, and whether the writer's signature on it verifies; what a program emits
    /// is attested by the committee and signed by nobody else.
    pub receipts: Vec<(Receipt, Option<bool>)>,
    /// What was checked, in words.
    pub checked: Vec<String>,
    /// What was believed without a proof, in words.
    pub trusted: Vec<String>,
}

#[cfg(test)]
mod tests;
