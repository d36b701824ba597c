use core::fmt;

use session_core::committee::MEMBERS_MAX;
use session_core::{
    AccountId, Digest, Epoch, List, NodeId, ServiceId, Text, Time, TxId, choice, record,
};
use session_protocol::chain::transaction::REASON_BYTES_MAX;

choice! {
    /// Where a workload session is in its life. The tags are the reference's codes; 2, waiting for
    /// an oracle, happens off the chain.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum SessionState {
        /// The committee has not begun.
        0 => Pending,
        /// The committee works.
        1 => Running {
            /// Since when.
            started: Time,
        },
        /// It ended well.
        3 => Finalized {
            /// When the committee began.
            started: Time,
            /// When it ended.
            ended: Time,
            /// Hash of the output.
            output: Digest,
            /// Root over the oracle commits.
            oracle_root: Digest,
            /// Root over the delivery receipts.
            receipts_root: Digest,
            /// Id of what the committee attested.
            attestation: Digest,
        },
        /// It ended badly.
        4 => Failed {
            /// When the committee began, if it did.
            started: Option<Time>,
            /// When it ended.
            ended: Time,
            /// Why.
            reason: Text<REASON_BYTES_MAX>,
        },
    }
}

record! {
    /// The anchor of a workload session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct WorkloadSession {
        /// The service that it belongs to.
        pub service: ServiceId,
        /// The epoch in which it was created, part of its id.
        pub epoch: Epoch,
        /// The transaction that created it, part of its id.
        pub tx: TxId,
        /// Who created it.
        pub creator: AccountId,
        /// Hash of the program.
        pub program: Digest,
        /// Hash of the input.
        pub input: Digest,
        /// The nodes chosen, by the ids they had then.
        pub committee: List<NodeId, MEMBERS_MAX>,
        /// When it was created.
        pub created: Time,
        /// The first moment at which it is too late to finish.
        pub deadline: Time,
        /// Where it is in its life.
        pub state: SessionState,
    }
}

record! {
    /// What changes of a workload session until it ends, and what its members need at once.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenAnchor {
        /// The randomness of the epoch in which it was created.
        pub randomness: Digest,
        /// Since when it runs, if it does.
        pub started: Option<Time>,
    }
}

/// What can happen to a workload session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The committee began.
    Started {
        /// When.
        at: Time,
    },
    /// The committee attested the outcome.
    Finalized {
        /// When.
        at: Time,
        /// Hash of the output.
        output: Digest,
        /// Root over the oracle commits.
        oracle_root: Digest,
        /// Root over the delivery receipts.
        receipts_root: Digest,
        /// Id of what the committee attested.
        attestation: Digest,
    },
    /// The committee gave up, or the time is over.
    Failed {
        /// When.
        at: Time,
        /// Why.
        reason: Text<REASON_BYTES_MAX>,
    },
}

/// The name of a [`SessionState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPhase {
    /// [`SessionState::Pending`].
    Pending,
    /// [`SessionState::Running`].
    Running,
    /// [`SessionState::Finalized`].
    Finalized,
    /// [`SessionState::Failed`].
    Failed,
}

/// A workload session is not in a phase in which this can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {phase} session cannot be {event}")]
pub struct NotAllowed {
    /// The phase that it is in.
    pub phase: SessionPhase,
    /// What was to happen.
    pub event: &'static str,
}

impl SessionState {
    /// Returns the phase.
    #[must_use]
    pub const fn phase(&self) -> SessionPhase {
        match self {
            Self::Pending => SessionPhase::Pending,
            Self::Running { .. } => SessionPhase::Running,
            Self::Finalized { .. } => SessionPhase::Finalized,
            Self::Failed { .. } => SessionPhase::Failed,
        }
    }

    /// Takes the step that an event makes. What ended never begins again.
    ///
    /// # Errors
    /// When the event cannot happen in this phase.
    pub fn after(self, event: SessionEvent) -> Result<Self, NotAllowed> {
        match (self, event) {
            (Self::Pending, SessionEvent::Started { at }) => Ok(Self::Running { started: at }),
            (
                Self::Running { started },
                SessionEvent::Finalized { at, output, oracle_root, receipts_root, attestation },
            ) => Ok(Self::Finalized {
                started,
                ended: at,
                output,
                oracle_root,
                receipts_root,
                attestation,
            }),
            (Self::Pending, SessionEvent::Failed { at, reason }) => {
                Ok(Self::Failed { started: None, ended: at, reason })
            }
            (Self::Running { started }, SessionEvent::Failed { at, reason }) => {
                Ok(Self::Failed { started: Some(started), ended: at, reason })
            }
            (state, event) => Err(NotAllowed { phase: state.phase(), event: event.name() }),
        }
    }
}

impl SessionEvent {
    /// Returns the name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Finalized { .. } => "finalized",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for SessionPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Finalized => "finalized",
            Self::Failed => "failed",
        })
    }
}
