//! Cryptographic groups: who may read what is said, and how boxes are sealed and opened.
//!
//! A conversation of two accounts, a group of many and the devices of one account are the same
//! here; they differ in [`Kind`].

use session_core::{choice, List, record, AccountId, Text};

use crate::say::{Disappear, NAME_BYTES_MAX};

/// Most accounts in a group; see `docs/performance.md` for what larger ones would cost.
pub const MEMBERS_MAX: usize = 250;

choice! {
    /// What a group is for. Agreed by all members, fixed when it is made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        /// Two accounts: content under symmetric chains, deniable.
        1 => Direct {
            /// Who made it.
            creator: AccountId,
            /// The other one.
            other: AccountId,
        },
        /// Many accounts: content signed by its author.
        2 => Group,
        /// The devices of one account: content signed by its author.
        3 => Devices {
            /// The account.
            account: AccountId,
        },
    }

    /// What an account may do in a group.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Role {
        /// Talk.
        #[default]
        1 => Member,
        /// Also add, remove, and change the group.
        2 => Admin,
    }
}

record! {
    /// What all members agree on beside keys. Part of the group's context, so that every epoch
    /// authenticates it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Agreed {
        /// The version of this record and of everything below: 1.
        pub version: u16,
        /// What the group is for.
        pub kind: Kind,
        /// Its name; empty for two.
        pub name: Text<NAME_BYTES_MAX>,
        /// Accounts that are admins; everyone else is a member.
        pub admins: List<AccountId, 32>,
        /// How messages disappear.
        pub disappear: Disappear,
        /// Messages that those who join later are shown, at most.
        pub history: u16,
    }
}
