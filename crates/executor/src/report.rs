//! How a session is, for people: the seed's `Session` with all its fields.

use session_core::committee::MEMBERS_MAX;
use session_core::{
    Blob, Digest, Epoch, List, NodeId, ServiceId, SessionId, Text, Time, TxId, choice, record,
};
use session_protocol::workload::OUTPUT_BYTES_MAX;
use session_protocol::workload::step::Step;

/// Most steps in a report, so that it fits an answer; of longer sessions the latest ones are shown.
pub const STEPS_SHOWN_MAX: usize = 2_000;

choice! {
    /// Where a session is. The tags are the seed's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum SessionState {
        /// It has not begun.
        0 => Pending,
        /// Its program runs, or has ended and is being attested.
        1 => Running,
        /// The world is asked.
        2 => WaitingIo,
        /// It ended well, and a quorum attests it.
        3 => Finalized,
        /// It ended badly.
        4 => Failed,
    }
}

impl SessionState {
    /// Returns the seed's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::WaitingIo => "waiting_io",
            Self::Finalized => "finalized",
            Self::Failed => "failed",
        }
    }
}

record! {
    /// A session as one member sees it: what an answer to `GetSession` carries.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Report {
        /// Its id.
        pub session: SessionId,
        /// The service.
        pub service: ServiceId,
        /// The epoch in which it was created.
        pub epoch: Epoch,
        /// The transaction that created it.
        pub tx: TxId,
        /// The workload.
        pub program: Digest,
        /// The input.
        pub input: Digest,
        /// Who runs it, in the order of the chain.
        pub committee: List<NodeId, MEMBERS_MAX>,
        /// Where it is.
        pub state: SessionState,
        /// The step that it is at.
        pub current_step: u32,
        /// Steps before the first one that is shown.
        pub steps_left_out: u32,
        /// Its steps, at most the last [`STEPS_SHOWN_MAX`].
        pub steps: List<Step, STEPS_SHOWN_MAX>,
        /// SHA-256 of the output, once there is one.
        pub output_hash: Option<Digest>,
        /// The output.
        pub output: Option<Blob<OUTPUT_BYTES_MAX>>,
        /// The root over all steps, once the program ended well.
        pub oracle_root: Option<Digest>,
        /// The root over all delivery receipts, once the program ended well.
        pub receipts_root: Option<Digest>,
        /// When it was created.
        pub created: Time,
        /// When it must have ended.
        pub deadline: Time,
        /// When it ended here, well or badly.
        pub finalized: Option<Time>,
        /// Why it failed, or cannot begin.
        pub error: Option<Text<1024>>,
        /// Fuel that the program used, all segments together.
        pub fuel: u64,
        /// Attempts at its requests after the first ones, all steps together.
        pub retries: u32,
        /// How often the program went on as new.
        pub checkpoints: u32,
        /// Delivery receipts.
        pub receipts: u32,
        /// Lines that the program logged.
        pub log_lines: u32,
    }
}
