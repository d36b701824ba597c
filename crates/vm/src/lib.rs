//! What the coordination chain agrees on.
//!
//! | module | holds |
//! |---|---|
//! | [`bundle`] | certificates in files, for somebody without a network |
//! | [`chain`] | building, verifying and accepting blocks, over a database |
//! | [`genesis`] | where a chain begins |
//! | [`genesis_file`] | from the file that people write to the genesis of the rules |
//! | [`ledger`] | what blocks do to the state: epochs, transactions, every rule |
//! | [`mailbox`] | conversations of one node, over a store: not agreed on |
//! | [`mempool`] | transactions that wait for a block |
//! | [`query`] | reading the state |
//! | [`records`] | what the state holds: tables, keys, records |
//! | [`solo`] | a chain without a host: seals, and what a follower takes |
//! | [`state`] | the state: ordered tables under one root, proofs of inclusion and absence |
//! | [`view`] | what nodes need to know of the state for their duties |
pub mod bundle;
pub mod chain;
pub mod genesis;
pub mod genesis_file;
pub mod ledger;
pub mod mailbox;
pub mod mempool;
pub mod query;
pub mod records;
pub mod solo;
pub mod state;
pub mod view;
