//! The WASM engine: what a program may be, what it may import, and how far it may run.
//!
//! A program is a pure function of its module, its input and the answers of the world. It runs until
//! it asks for an answer that is not there yet; then it is kept as it is (the fast path), or run
//! again from the start of its segment with all answers (after a restart, or when too many wait).
//! Both ways give the same [`Ran`], fuel included.
//!
//! ```
//! use session_executor::engine::{IMPORTS, profile};
//! assert_eq!(IMPORTS.len(), 12);
//! assert_eq!(profile(), profile());
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `bounds` | limits, the engine's set-up, and its [`profile`] |
//! | `program` | a module that was checked: [`Program`] |
//! | `host` | what a running program has, apart from its memory |
//! | `imports` | the functions of `lux_session_v1` |
//! | `guest` | one program that runs |
//! | `runner` | all that run in this process: [`Runner`] |
//!
//! *Provided:* the same result, fuel and text of failure on every machine; a bound on everything
//! that a program can make the machine do. *Not provided:* floats in other than the canonical form
//! of NaN; a clock, files, threads, or any import but ours.

use std::sync::Arc;

use session_core::codec::{DecodeError, Reader};
use session_core::{Decode as _, Digest, Domain, Encode as _, SessionId, digest};
use session_protocol::workload::blob_id;
use session_protocol::workload::step::{StepLeaf, compute_input, compute_output};
use session_protocol::workload::{OracleCall, StepKind, oracle::RequestKind};

use crate::facts::{Answer, Facts, State};

mod bounds;
mod guest;
mod host;
mod imports;
mod program;
mod runner;
#[cfg(test)]
mod tests;

pub use bounds::{
    FUEL_MAX, KEY_BYTES_MAX, LOG_BYTES_MAX, MEMORY_PAGES_MAX, REASON_BYTES_MAX, STATE_BYTES_MAX,
    profile,
};
pub use imports::{IMPORTS, Import, MODULE, NumberType};
pub use program::{BadModule, Program, check};
pub use runner::Runner;

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

impl Ran {
    /// Returns the leaf of the compute step that this ended. `job` is what was run; `index` is the
    /// place of the step.
    #[must_use]
    pub fn leaf(&self, job: &Job, index: u32) -> StepLeaf {
        StepLeaf {
            index,
            kind: StepKind::Compute,
            retry: 0,
            input_hash: compute_input(&job.given(self.answers)),
            output_hash: self.output_hash(),
            commit_root: Digest::default(),
        }
    }

    /// Returns the hash of what the compute step did.
    #[must_use]
    pub fn output_hash(&self) -> Digest {
        let emitted = emitted_digest(&self.emitted);
        compute_output(self.fuel, &self.state, &emitted, &log_digest(&self.logs), &self.stop.id())
    }
}

impl Job {
    /// Returns what the compute step behind so many answers of the segment is given: the program and
    /// its surroundings with the input, what was kept at the checkpoint, or an answer, encoded. So the
    /// first step binds everything that a program can depend on.
    #[must_use]
    pub fn given(&self, answers: u32) -> Vec<u8> {
        let last = (answers as usize).checked_sub(1).and_then(|last| self.answers.get(last));
        match last {
            Some(Answer { result, time }) => [result.to_bytes(), time.to_bytes()].concat(),
            None if self.segment == 0 => {
                let Facts { workload, randomness, created, deadline, input, .. } = &*self.facts;
                let program = blob_id(&workload.to_bytes());
                let times = [created.to_bytes(), deadline.to_bytes()].concat();
                [program.as_bytes(), randomness.as_bytes(), &times[..], input].concat()
            }
            None => encode_state(&self.state),
        }
    }
}

impl Stop {
    /// Returns the digest of what a compute step ended with.
    #[must_use]
    pub fn id(&self) -> Digest {
        let (tag, bytes) = match self {
            Self::Asks { kind, call } => (1, [kind.to_bytes(), call.to_bytes()].concat()),
            Self::Checkpoint { state } => (2, encode_state(state)),
            Self::Finished { output } => (3, output.clone()),
            Self::Failed { reason } => (4, reason.clone().into_bytes()),
        };
        digest(Domain::ComputeEnd, &[&[tag], &bytes])
    }
}

/// Returns the digest of what a program keeps.
#[must_use]
pub fn state_digest(state: &State) -> Digest {
    digest(Domain::SessionState, &[&encode_state(state)])
}

/// Returns the digest of what a compute step emitted.
#[must_use]
pub fn emitted_digest(emitted: &[Emitted]) -> Digest {
    let parts = emitted.iter().flat_map(|one| [&one.receiver[..], one.message_hash.as_bytes()]);
    digest(Domain::SessionEmitted, &parts.collect::<Vec<_>>())
}

/// Returns the digest of what a compute step logged.
#[must_use]
pub fn log_digest(lines: &[String]) -> Digest {
    digest(Domain::SessionLog, &lines.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// Returns the encoding of what a program keeps: a `u32` count, then keys in ascending order, each
/// with its value, each behind its length.
#[must_use]
pub fn encode_state(state: &State) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).expect("kept bytes are few").to_be_bytes();
    let mut out = length(state.len()).to_vec();
    for bytes in state.iter().flat_map(|(key, value)| [key, value]) {
        out.extend_from_slice(&length(bytes.len()));
        out.extend_from_slice(bytes);
    }
    out
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// When the bytes are not what it writes, or hold more than a program may keep.
pub fn decode_state(bytes: &[u8]) -> Result<State, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut state = State::new();
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..u32::decode(&mut reader)? {
        let length = reader.length("key", KEY_BYTES_MAX)?;
        let key = reader.take(length)?.to_vec();
        let length = reader.length("value", STATE_BYTES_MAX as usize)?;
        let value = reader.take(length)?.to_vec();
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(DecodeError::Invalid { field: "state", why: "keys do not ascend" });
        }
        last = Some(key.clone());
        state.insert(key, value);
    }
    reader.finish()?;
    Ok(state)
}
