//! The messages between members of a committee, and between them and whoever brought the session.

use session_core::{Blob, Digest, Encode, List, NodeId, SessionId, Text, choice, record};

use super::PART_BYTES_MAX;
use super::oracle::{Commit, Pin, SignedRecord};
use super::round::{Advance, Prepared, Proposal, RoundVote};
use crate::attestation::{QuorumCertificate, Vote};
use crate::frame::Kind;

/// Most sessions in one list.
pub const LIST_MAX: usize = 256;
/// The longest answer to a question about sessions: JSON or bytes.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;

record! {
    /// The sender has program and input of a session: the frame `SessionCreate`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SessionCreate {
        /// The session.
        pub session: SessionId,
        /// The workload.
        pub program: Digest,
        /// The input.
        pub input: Digest,
    }

    /// The session is to begin: the frame `SessionStart`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SessionStart {
        /// The session.
        pub session: SessionId,
    }

    /// The leader of an attempt says what is looked at: the frame `OracleRequest`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OpenRequest {
        /// The session.
        pub session: SessionId,
        /// The step.
        pub step: u32,
        /// The attempt.
        pub retry: u32,
        /// What is asked, as the leader has it: a member that has something else is told at once
        /// that one of them is wrong.
        pub input_hash: Digest,
        /// The block, where one must be fixed.
        pub pin: Option<Pin>,
    }

    /// A record, and what it is of: the frame `OracleRecord`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RecordOf {
        /// The session.
        pub session: SessionId,
        /// The step.
        pub step: u32,
        /// The attempt.
        pub retry: u32,
        /// The committee.
        pub committee: Digest,
        /// The attempt's id.
        pub request: session_core::RequestId,
        /// The record.
        pub record: SignedRecord,
    }

    /// A vote, and what it is of: the frame `Attestation`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct VoteOf {
        /// The session.
        pub session: SessionId,
        /// The step; of `session/complete` the number of steps.
        pub step: u32,
        /// The attempt; of `session/complete` 0.
        pub retry: u32,
        /// The vote.
        pub vote: Vote,
    }

    /// What came of a step.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Decision {
        /// The attempt in which it was decided.
        pub retry: u32,
        /// The commit.
        pub commit: Commit,
        /// Who attests it.
        pub certificate: QuorumCertificate,
        /// Of a write: who intended it.
        pub intent: Option<Prepared>,
    }
}

choice! {
    /// What has no kind of its own in the seed: the frame `Session`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Talk {
        /// A vote inside an attempt.
        1 => RoundVote {
            /// The session.
            session: SessionId,
            /// The step.
            step: u32,
            /// The attempt.
            retry: u32,
            /// The vote.
            vote: RoundVote,
        },
        /// A member moves on.
        2 => Advance {
            /// How, and whose session it is.
            advance: Advance,
            /// What it is locked to, with its proof.
            lock: Option<Box<super::round::Lock>>,
        },
        /// The sender is at this step and waits.
        3 => At {
            /// The session.
            session: SessionId,
            /// The step.
            step: u32,
        },
        /// What came of a step, for whoever is behind.
        4 => Decided {
            /// The session.
            session: SessionId,
            /// The step.
            step: u32,
            /// What.
            decision: Box<Decision>,
        },
        /// What the session ended with.
        5 => Ended {
            /// The session.
            session: SessionId,
            /// Of `session/complete`.
            certificate: Box<QuorumCertificate>,
        },
        /// The sender needs a blob from this byte on.
        6 => Want {
            /// Which.
            blob: Digest,
            /// From where.
            offset: u32,
        },
        /// A piece of a blob.
        7 => Part {
            /// Which.
            blob: Digest,
            /// Its length.
            total: u32,
            /// Where the piece begins.
            offset: u32,
            /// The piece.
            bytes: Blob<PART_BYTES_MAX>,
        },
        /// The sender does not have a blob.
        8 => Lacks {
            /// Which.
            blob: Digest,
        },
        /// A node that serves somebody asks a member.
        9 => Ask {
            /// Repeated in the answer.
            id: u64,
            /// What.
            question: Question,
        },
        /// A member answers.
        10 => Answer {
            /// The question's.
            id: u64,
            /// What.
            answer: Answer,
        },
    }

    /// What can be asked about sessions.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Question {
        /// The seed's `GetSession`.
        1 => Session {
            /// Which.
            session: SessionId,
        },
        /// What the program logged, from this line on.
        2 => Logs {
            /// Of which.
            session: SessionId,
            /// From which line.
            from: u32,
        },
        /// A piece of the bundle that proves the session.
        3 => Bundle {
            /// Of which.
            session: SessionId,
            /// From which byte.
            offset: u32,
        },
        /// The seed's `StartSession`.
        4 => Start {
            /// Which.
            session: SessionId,
        },
        /// The seed's `FinalizeSession`: give the chain the outcome again.
        5 => Finalize {
            /// Which.
            session: SessionId,
        },
    }

    /// The answer.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Answer {
        /// A session, in the canonical encoding of `session-executor`'s report.
        1 => Session {
            /// It.
            report: Blob<ANSWER_BYTES_MAX>,
        },
        /// Lines of the log.
        2 => Logs {
            /// They.
            lines: List<Text<1024>, 1024>,
            /// The number of the line after them.
            next: u32,
        },
        /// A piece of a bundle.
        3 => Bundle {
            /// The bundle's length.
            total: u32,
            /// Its [`blob_id`](super::blob_id).
            id: Digest,
            /// The piece.
            bytes: Blob<PART_BYTES_MAX>,
        },
        /// It was done.
        4 => Done,
        /// It was not done.
        5 => Refused {
            /// Why: one of the seed's texts where there is one.
            refusal: SessionRefusal,
        },
    }

    /// Why something about a session is refused. The texts are the seed's where it has one.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum SessionRefusal {
        /// Nobody here knows it.
        #[error("session not found")]
        1 => NotFound,
        /// It has begun already, or ended.
        #[error("session not in pending state")]
        2 => NotPending,
        /// It has not begun, or ended.
        #[error("session not running")]
        3 => NotRunning,
        /// A step has no result yet.
        #[error("step {step} not completed")]
        4 => StepNotCompleted {
            /// Which.
            step: u32,
        },
        /// There is no such step.
        #[error("step index out of range")]
        5 => StepOutOfRange,
        /// There is no such request.
        #[error("oracle request not found")]
        6 => RequestNotFound,
        /// Too many run.
        #[error("maximum sessions reached")]
        7 => Full,
        /// It exists already.
        #[error("session already exists")]
        8 => Exists,
        /// The node is of no chain.
        #[error("this node follows no chain: it runs no workload sessions")]
        9 => NoChain,
        /// The program or the input is not here.
        #[error("blob {blob} is not here: upload it first")]
        10 => BlobMissing {
            /// Which.
            blob: Digest,
        },
        /// The workload cannot be run.
        #[error("the workload cannot be run: {why}")]
        11 => BadWorkload {
            /// Why.
            why: Text<1024>,
        },
        /// Something else.
        #[error("{why}")]
        12 => Other {
            /// Why.
            why: Text<1024>,
        },
    }
}

/// A message about workload sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// [`Kind::SessionCreate`].
    Create(SessionCreate),
    /// [`Kind::SessionStart`].
    Start(SessionStart),
    /// [`Kind::OracleRequest`].
    Request(OpenRequest),
    /// [`Kind::OracleRecord`].
    Record(Box<RecordOf>),
    /// [`Kind::OracleCommit`].
    Commit(Box<Proposal>),
    /// [`Kind::Attestation`].
    Attestation(Box<VoteOf>),
    /// [`Kind::Session`].
    Talk(Box<Talk>),
}

impl Message {
    /// Returns the kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Create(_) => Kind::SessionCreate,
            Self::Start(_) => Kind::SessionStart,
            Self::Request(_) => Kind::OracleRequest,
            Self::Record(_) => Kind::OracleRecord,
            Self::Commit(_) => Kind::OracleCommit,
            Self::Attestation(_) => Kind::Attestation,
            Self::Talk(_) => Kind::Session,
        }
    }

    /// Returns how many signatures are checked before it enters a machine, at least 1: what it
    /// costs whoever gets it.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Commit(proposal) => 1 + proposal.commit.records.len() + proposal.advances.len(),
            _ => 1,
        }
    }

    /// Returns whether it may wait behind what clients wait for.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        matches!(self, Self::Talk(talk) if matches!(**talk, Talk::Part { .. }))
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create(message) => message.encode(out),
            Self::Start(message) => message.encode(out),
            Self::Request(message) => message.encode(out),
            Self::Record(message) => message.encode(out),
            Self::Commit(message) => message.encode(out),
            Self::Attestation(message) => message.encode(out),
            Self::Talk(message) => message.encode(out),
        }
    }
}

/// Who leads an attempt: members in the order in which they would, best first.
#[must_use]
pub fn leaders(
    randomness: &Digest,
    request: &session_core::RequestId,
    members: impl IntoIterator<Item = NodeId>,
) -> Vec<NodeId> {
    let score = |node: NodeId| {
        let parts: [&[u8]; 3] = [randomness.as_bytes(), request.as_bytes(), node.as_bytes()];
        (session_core::digest(session_core::Domain::OracleLeader, &parts), node)
    };
    let mut scored: Vec<_> = members.into_iter().map(score).collect();
    scored.sort_unstable();
    scored.into_iter().map(|(_, node)| node).collect()
}
