//! Workload sessions: what a committee runs, what its members say to each other about the outside
//! world, and what everybody can check afterwards.
//!
//! A step that asks the world is decided in *attempts* (the seed's retry index). Each attempt has an
//! id of its own ([`request_id`](session_core::seed_ids::request_id)) and a leader: the member with
//! the lowest hash over randomness, request and node. Members observe, sign what they saw
//! ([`SignedRecord`]), the leader proposes ([`Proposal`]), members prepare ([`RoundVote`]) and, once
//! a quorum prepared, attest ([`Vote`]). Who waited too long, moves on ([`Advance`]) and takes along what it is
//! locked to: an attempt never decides other than what an earlier one may have decided.
//!
//! | module | holds |
//! |---|---|
//! | [`manifest`] | what is run: module, sources, limits |
//! | [`check`] | what a manifest must be like to work |
//! | [`mod@file`] | from the file of a manifest to the manifest |
//! | [`template`] | texts with parameters in them |
//! | [`oracle`] | requests, observations, records, commits |
//! | [`round`] | votes, locks and proposals of an attempt |
//! | [`step`] | steps of a session, and what its roots are made of |
//! | [`receipt`] | delivery receipts of messages that a session relays |
//! | [`message`] | the messages between members |
//!
//! *Provided:* every record, vote and lock is signed, for one chain and one committee. *Not
//! provided:* secrecy towards members: they see programs, inputs and results.

use session_core::{Digest, Domain, digest};

pub mod check;
pub mod file;
pub mod manifest;
pub mod message;
pub mod oracle;
pub mod receipt;
pub mod round;
pub mod step;
pub mod template;

pub use manifest::{Manifest, Source, Workload};
pub use message::Message;
pub use oracle::{Commit, Observation, OracleCall, OracleRequest, OracleResult, SignedRecord};
pub use receipt::{Receipt, ReceiptCommit, SignedReceipt};
pub use round::{Advance, Prepared, Proposal, RoundVote};
pub use step::{Step, StepKind, StepState};

pub use crate::attestation::Vote;

/// The longest WASM module.
pub const MODULE_BYTES_MAX: usize = 1024 * 1024;
/// The longest input of a session.
pub const INPUT_BYTES_MAX: usize = 256 * 1024;
/// The longest output of a session.
pub const OUTPUT_BYTES_MAX: usize = 32 * 1024;
/// The longest body of a request to the world.
pub const BODY_BYTES_MAX: usize = 32 * 1024;
/// The longest observation: 21 of them, signed, fit a frame.
pub const OBSERVATION_BYTES_MAX: usize = 32 * 1024;
/// The longest piece of a blob in one message.
pub const PART_BYTES_MAX: usize = 256 * 1024;
/// The largest blob: a module, a workload, an input, a bundle.
pub const BLOB_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Returns the name of a module, a workload or an input: whoever has the bytes can check it.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> Digest {
    digest(Domain::WorkloadBlob, &[bytes])
}

#[cfg(test)]
mod tests;
