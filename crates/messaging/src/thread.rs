//! Threads: what a person sees. Messages with their edits, reactions and receipts.
//!
//! What it is: functions over the [`Vault`](crate::vault::Vault). A thread outlives the
//! cryptographic groups behind it.
//!
//! What it does not do: it knows nothing of keys and sends nothing.

use session_core::{record, Time};

record! {
    /// A thread of this device; numbers say nothing outside of it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct ThreadId {
        /// Its number.
        pub number: u32,
    }

    /// How far a message of ours has come. Every part is a separate fact, and none is assumed.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status {
        /// When a quorum of the swarm had signed that every part of it is on disk.
        pub stored: Option<Time>,
        /// The fewest members that signed for one part.
        pub good: u16,
        /// Members that make a quorum.
        pub needed: u16,
        /// Members of the swarm.
        pub of: u16,
        /// Accounts whose devices said that they have it.
        pub delivered: u16,
        /// Accounts that said that they read it.
        pub read: u16,
        /// Accounts that it was said to.
        pub audience: u16,
        /// Whether it was given up: the conversation was lost before it was stored.
        pub failed: bool,
    }
}
