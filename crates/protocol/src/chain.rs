//! The coordination chain's bytes: transactions, blocks, certificates, seals.
//!
//! *Provided:* one canonical encoding for each, bounds on every length, and the checks that need
//! no state. *Not provided:* what a transaction does, and whether a block follows from another:
//! that is `session-vm`.
//!
//! | module | holds |
//! |---|---|
//! | [`amount`] | [`Amount`], in base units of LUX |
//! | [`transaction`] | what people and nodes order the chain to do, signed |
//! | [`block`] | blocks, their ids, the seals of a sequencer |
//! | [`view`] | what a node needs to know of the chain |

pub mod amount;
pub mod block;
pub mod transaction;
pub mod view;

pub use amount::Amount;
pub use block::{Block, SealedBlock};
pub use transaction::{Action, ReceivedTransaction, SignedTransaction, Transaction};
pub use view::ChainView;
