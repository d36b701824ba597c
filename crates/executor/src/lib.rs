//! Workload sessions: programs run by a committee, every outside fact attested.
//!
//! What it is: one machine, [`Executor`], that runs the sessions for which the chain chose this node.
//! A program is a pure function of its module, its input and a *journal* of what the world answered;
//! the journal is written before anybody hears of it, so that a node that was killed goes on where
//! it was.
//!
//! What it does not do: it opens no connection and reaches no outside world; it asks for both with
//! effects. It runs no program itself: [`engine::Runner`] does, on a thread of the shell.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the WASM engine, its imports and limits, and the [`engine::Runner`] |
//! | [`call`] | what programs ask, in JSON, against the manifest |
//! | [`transform`] | from an answer to an observation |
//! | [`aggregate`] | from observations to one result |
//! | [`facts`] | what a session is made of, the same for all members |
//! | `round` | how one step is agreed on |
//! | `journal` | what is written down, in order |
//! | `session` | one session |
//! | `executor` | all sessions of a node |
//! | `blobs` | programs and inputs, by their names |
//! | [`report`] | how a session is, for people |
//! | [`bundle`] | the file that proves a session |

pub mod aggregate;
mod blobs;
pub mod bundle;
pub mod call;
pub mod engine;
mod executor;
pub mod facts;
mod journal;
pub mod report;
mod round;
mod session;
pub mod transform;

pub use executor::{Config, Effect, Executor, Input, Note, Outcome};
