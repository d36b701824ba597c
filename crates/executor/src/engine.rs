//! The WASM engine: what a program may be, what it may import, and how far it may run.

use std::sync::Arc;

use session_core::{Digest, SessionId};
use session_protocol::workload::{OracleCall, oracle::RequestKind};

use crate::facts::{Answer, Facts, State};

/// A stretch of a program: from its start, or from a checkpoint, with all answers since.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is run.
    pub facts: Arc<Facts>,
    /// How many checkpoints came before.
    pub segment: u32,
    /// What the program kept at the checkpoint; empty at the start.
    pub state: Arc<State>,
    /// The agreed time at the start of the segment.
    pub began: session_core::Time,
    /// The step at which the segment began.
    pub first_step: u32,
    /// What the world answered since.
    pub answers: Arc<Vec<Answer>>,
}

/// Where a program stopped, and what it did since it was last answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The session.
    pub session: SessionId,
    /// How many checkpoints came before.
    pub segment: u32,
    /// How many answers it had.
    pub answers: u32,
    /// Fuel used since the segment began.
    pub fuel: u64,
    /// The digest of what it keeps.
    pub state: Digest,
    /// What it emitted in this compute step.
    pub emitted: Vec<Emitted>,
    /// What it logged in this compute step.
    pub logs: Vec<String>,
    /// Why it stopped.
    pub stop: Stop,
}

/// A message that a program says it delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The 32-byte id of who gets it.
    pub receiver: [u8; 32],
    /// SHA-256 of the message.
    pub message_hash: Digest,
}

/// Why a program stopped. All of it is the same on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It asks the world.
    Asks {
        /// Whether it reads or writes.
        kind: RequestKind,
        /// What.
        call: OracleCall,
    },
    /// It goes on as new.
    Checkpoint {
        /// With this.
        state: Arc<State>,
    },
    /// It ended well.
    Finished {
        /// With this.
        output: Vec<u8>,
    },
    /// It ended badly: a trap, a limit, an abort, a bad request.
    Failed {
        /// Why, at most 256 bytes.
        reason: String,
    },
}
