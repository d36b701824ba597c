//! Steps of a session, and the roots that its end commits to.

use session_core::merkle::Tree;
use session_core::{Digest, Domain, Encode, RequestId, Time, TxId, choice, digest, record};

use super::oracle::RequestKind;

choice! {
    /// What a step does. The tags are the seed's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum StepKind {
        /// The program computes.
        0 => Compute,
        /// The world is changed.
        1 => WriteExternal,
        /// The world is read.
        2 => ReadExternal,
    }

    /// Where a step is. The tags are the seed's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum StepState {
        /// It has not begun.
        0 => Pending,
        /// The program runs.
        1 => Executing,
        /// The world is asked.
        2 => Waiting,
        /// It ended well.
        3 => Completed,
        /// It ended badly.
        4 => Failed,
    }
}

record! {
    /// A step, with the seed's fields.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Step {
        /// Its place, from 0. Compute steps and requests take turns.
        pub index: u32,
        /// What it does.
        pub kind: StepKind,
        /// The attempt that was decided; of a compute step zeros.
        pub request: RequestId,
        /// How often it was tried before; of a compute step 0.
        pub retry: u32,
        /// The transaction that created the session.
        pub tx: TxId,
        /// Of a request the [`input_hash`](super::OracleCall::input_hash) of the call; of a compute
        /// step the hash of what it was given ([`compute_input`]).
        pub input_hash: Digest,
        /// Of a request the hash of its result's encoding; of a compute step
        /// [`compute_output`].
        pub output_hash: Digest,
        /// The root of the commit; of a compute step zeros.
        pub commit_root: Digest,
        /// The id of what the committee attested; of a compute step zeros.
        pub attestation: Digest,
        /// Where it is.
        pub state: StepState,
        /// When it began here.
        pub started: Time,
        /// When it ended here.
        pub completed: Option<Time>,
    }

    /// What every member has the same of a step: the leaf of the tree of steps.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StepLeaf {
        /// Its place.
        pub index: u32,
        /// What it does.
        pub kind: StepKind,
        /// The attempt that was decided.
        pub retry: u32,
        /// As in [`Step`].
        pub input_hash: Digest,
        /// As in [`Step`].
        pub output_hash: Digest,
        /// As in [`Step`].
        pub commit_root: Digest,
    }
}

impl StepKind {
    /// Returns whether the committee must attest it.
    #[must_use]
    pub const fn requires_oracle(self) -> bool {
        matches!(self, Self::WriteExternal | Self::ReadExternal)
    }
}

impl From<RequestKind> for StepKind {
    fn from(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Write => Self::WriteExternal,
            RequestKind::Read => Self::ReadExternal,
        }
    }
}

impl Step {
    /// Returns what every member has the same.
    #[must_use]
    pub const fn leaf(&self) -> StepLeaf {
        StepLeaf {
            index: self.index,
            kind: self.kind,
            retry: self.retry,
            input_hash: self.input_hash,
            output_hash: self.output_hash,
            commit_root: self.commit_root,
        }
    }
}

/// Returns the oracle root of a session: over all its steps in order, so that it binds every commit,
/// every request, and what the program did in between.
#[must_use]
pub fn oracle_root(steps: &[StepLeaf]) -> Digest {
    Tree::new(steps.iter().map(Encode::to_bytes)).root()
}

/// Returns the hash of what a compute step was given: `given` is the input of the session, or the
/// result that it waited for, encoded.
#[must_use]
pub fn compute_input(given: &[u8]) -> Digest {
    digest(Domain::ComputeInput, &[given])
}

/// Returns the hash of what a compute step did: the fuel used since the start or the last
/// checkpoint, and the digests of state, receipts and logs, and of what it ended with (a call, a
/// checkpoint, an output, a failure).
#[must_use]
pub fn compute_output(
    fuel: u64,
    state: &Digest,
    receipts: &Digest,
    logs: &Digest,
    end: &Digest,
) -> Digest {
    let fuel = fuel.to_be_bytes();
    let parts: [&[u8]; 5] =
        [&fuel, state.as_bytes(), receipts.as_bytes(), logs.as_bytes(), end.as_bytes()];
    digest(Domain::ComputeOutput, &parts)
}
