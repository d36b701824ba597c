//! What a coordinator has to tell to people, and how it is.

use session_core::{Digest, Epoch, NodeId};
use session_protocol::roster::Target;
use session_protocol::schedule::Phase;

use super::{Cx, Effect};

/// How one thing that was examined turned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Not examined to the end yet.
    #[default]
    Open,
    /// It did its duty.
    Passed,
    /// It did not.
    Failed(Fault),
    /// This node cannot say: its own network may be at fault.
    Unsure,
}

/// Why something that was examined failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// No connection came about.
    Unreachable,
    /// It did not answer in time.
    Silent,
    /// It has less room than every node must have.
    NoRoom,
    /// Its clock is too far off.
    Clock,
    /// It committed to nothing, though it had a seat.
    NoCommitment,
    /// It did not show a leaf.
    Missing,
    /// It showed something that does not fit its commitment.
    Wrong,
}

impl Fault {
    /// Returns what people and tools call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::NoRoom => "no room",
            Self::Clock => "clock",
            Self::NoCommitment => "no commitment",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
        }
    }
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// An epoch began, as the chain says.
    EpochBegan {
        /// Which.
        epoch: Epoch,
    },
    /// A node was examined.
    Examined {
        /// In which epoch.
        epoch: Epoch,
        /// Who, and what of it.
        target: Target,
        /// How it turned out.
        verdict: Verdict,
    },
    /// This node committed to what it keeps.
    Committed {
        /// In which epoch.
        epoch: Epoch,
        /// Items.
        count: u64,
        /// The root over them.
        root: Digest,
    },
    /// Two thirds of the swarm committed to another root than this node.
    Differs {
        /// In which epoch.
        epoch: Epoch,
        /// The root of the others.
        root: Digest,
    },
    /// A dealer's share did not come, or was bad.
    ShareMissing {
        /// The epoch whose beacon is made.
        epoch: Epoch,
        /// The dealer.
        dealer: NodeId,
    },
    /// The beacon of an epoch has its certificate.
    Certified {
        /// The epoch.
        epoch: Epoch,
    },
    /// A node signed what no honest node signs; it is accused.
    Accused {
        /// Who.
        node: NodeId,
        /// Of what.
        kind: &'static str,
    },
    /// A node is accused of having lost an item that its owner removed: the order is shown.
    Refuted {
        /// The case.
        case: Digest,
        /// Who is accused.
        node: NodeId,
    },
    /// This node refused to attest a root: it has attested another one for the same beacon.
    VoteRefused {
        /// The epoch.
        epoch: Epoch,
    },
    /// A node sent something that is not its to send, or is wrong.
    PeerFault {
        /// Who.
        node: NodeId,
        /// What is wrong.
        why: &'static str,
    },
    /// The own store failed.
    StoreFailed {
        /// While doing what.
        doing: &'static str,
    },
}

/// How a coordinator is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The epoch that the chain is in; none before the first view of it.
    pub epoch: Option<Epoch>,
    /// The quarter of it.
    pub phase: Option<Phase>,
    /// Blocks of the chain that this node has seen.
    pub height: u64,
    /// Whether it has a seat.
    pub seated: bool,
    /// Whether it deals the next beacon.
    pub dealer: bool,
    /// What of its duties the chain shows as done in this epoch.
    pub done: Done,
    /// Good shares that it holds of the next beacon.
    pub shares: usize,
    /// What it examined in this epoch, and how that turned out.
    pub examined: Vec<(Target, Verdict)>,
    /// What it examined in the epoch before.
    pub examined_before: Vec<(Target, Verdict)>,
    /// The last epoch whose beacon has a certificate here.
    pub certified: Option<Epoch>,
    /// Epochs in a row that ended with another root than that of two thirds of the swarm.
    pub deviant: u8,
}

/// Which duties of an epoch the chain shows as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// One-time secrets for the coming epochs are registered.
    pub registered: bool,
    /// The dealing is posted.
    pub dealt: bool,
    /// The shares are acknowledged.
    pub acknowledged: bool,
    /// The one-time secret is revealed.
    pub revealed: bool,
    /// The storage commitment is posted.
    pub committed: bool,
    /// The vote is posted.
    pub voted: bool,
}

/// Tells of a node that broke the rules.
pub(super) fn fault(cx: &mut Cx<'_>, node: NodeId, why: &'static str) {
    cx.effects.push(Effect::Note(Note::PeerFault { node, why }));
}
