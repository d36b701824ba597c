//! What the state holds: tables of records.
//!
//! The key of an entry is the tag byte of its table and then key parts of fixed width, so no key
//! is the beginning of another. Whoever wants a proof of an entry makes its key with
//! [`Table::key`]:
//!
//! ```
//! use session_core::AccountId;
//! use session_vm::records::{Accounts, Table};
//! assert_eq!(Accounts::key(&AccountId::from([7; 32]))[..2], [0x10, 7]);
//! ```
//!
//! | tag | table | key | value |
//! |---|---|---|---|
//! | 01 | [`Chain`] | | [`ChainRecord`] |
//! | 02 | [`Parameters`] | | [`Params`] |
//! | 03 | [`CurrentEpoch`] | | [`EpochRecord`] |
//! | 04 | [`Treasury`] | | amount: fees taken so far |
//! | 05 | [`Sequencer`] | | keys of the sequencer |
//! | 10 | [`Accounts`] | account | [`Account`] |
//! | 11 | [`AccountKeys`] | account | its keys, since its first transaction |
//! | 20 | [`Nodes`] | node | [`ServiceNode`] |
//! | 21 | [`NodeKeys`] | node, also a former id | its keys |
//! | 22 | [`NodeAliases`] | former id of a node | where to look on, see there |
//! | 23 | [`Endpoints`] | [`endpoint_digest`] | the node that is reached there |
//! | 24 | [`SigningKeys`] | [`signing_key_digest`] | the node id that was made with it |
//! | 25 | [`SwarmMembers`] | [`Seat`] | the epoch in which the node took it |
//! | 30 | [`Sessions`] | workload session | [`WorkloadSession`] |
//! | 40 | [`Conversations`] | conversation | [`Conversation`] |
//! | 50 | [`Channels`] | channel | [`Channel`] |
//! | 51 | [`ChannelNames`] | [`channel_name_digest`] | the channel of that name |
//! | 52 | [`ChannelMembers`] | [`Membership`] | when the account joined |

use session_core::{
    AccountId, ChannelId, ConversationId, Decode, Digest, Domain, Encode, Epoch, NodeId, SessionId,
    SwarmId, Time, digest, record,
};
use session_crypto::{DsaPublicKey, PublicIdentity};
use session_protocol::chain::Amount;

mod account;
mod chain;
mod conversation;
mod node;
mod session;

pub use account::Account;
pub use chain::{BadParams, ChainRecord, EpochRecord, Params};
pub use conversation::{Channel, Conversation};
pub use node::{LpStatus, NodeStatus, SeedStatus, ServiceNode};
pub use session::{NotAllowed, SessionEvent, SessionPhase, SessionState, WorkloadSession};

/// A table of the state.
pub trait Table {
    /// The first byte of every key.
    const TAG: u8;
    /// What finds an entry; its encoding has one width.
    type Key: Encode + Decode;
    /// What an entry holds.
    type Value: Encode + Decode;

    /// Returns the key of an entry in the state.
    fn key(key: &Self::Key) -> Vec<u8> {
        let mut out = vec![Self::TAG];
        key.encode(&mut out);
        out
    }

    /// Returns what an entry of the state holds.
    ///
    /// # Panics
    /// When the state was not written by the ledger; its root is checked when it is loaded.
    #[must_use]
    fn value(bytes: &[u8]) -> Self::Value {
        Self::Value::decode_exact(bytes).expect("the ledger wrote every entry")
    }
}

macro_rules! tables {
    ($($(#[$meta:meta])* $tag:literal => $name:ident: $key:ty => $value:ty,)*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}

            impl Table for $name {
                const TAG: u8 = $tag;
                type Key = $key;
                type Value = $value;
            }
        )*

        /// The tag and the name of every table.
        pub const TABLES: &[(u8, &str)] = &[$(($tag, stringify!($name)),)*];
    };
}

tables! {
    /// What never changes.
    0x01 => Chain: Only => ChainRecord,
    /// The numbers that the rules use.
    0x02 => Parameters: Only => Params,
    /// The epoch that the last block was in.
    0x03 => CurrentEpoch: Only => EpochRecord,
    /// Fees taken so far.
    0x04 => Treasury: Only => Amount,
    /// Who seals blocks while the chain runs alone.
    0x05 => Sequencer: Only => PublicIdentity,
    /// Accounts with a balance or a transaction.
    0x10 => Accounts: AccountId => Account,
    /// Keys of accounts, in a table of their own: only signatures need them.
    0x11 => AccountKeys: AccountId => PublicIdentity,
    /// The registry.
    0x20 => Nodes: NodeId => ServiceNode,
    /// Keys of nodes, also those they gave up: evidence may be about them.
    0x21 => NodeKeys: NodeId => PublicIdentity,
    /// Where to look on for a node by an id that it gave up: from the first one to the current
    /// one, and from every other to the first. So no path is longer than two steps.
    0x22 => NodeAliases: NodeId => NodeId,
    /// One node per endpoint.
    0x23 => Endpoints: Digest => NodeId,
    /// One node id per signing key, for ever.
    0x24 => SigningKeys: Digest => NodeId,
    /// The members of every swarm: all active nodes.
    0x25 => SwarmMembers: Seat => Epoch,
    /// Anchors of workload sessions.
    0x30 => Sessions: SessionId => WorkloadSession,
    /// Anchors of conversations.
    0x40 => Conversations: ConversationId => Conversation,
    /// Group channels.
    0x50 => Channels: ChannelId => Channel,
    /// One channel per name.
    0x51 => ChannelNames: Digest => ChannelId,
    /// Who is in which channel.
    0x52 => ChannelMembers: Membership => Time,
}

record! {
    /// The key of a table with one entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Only {}

    /// A node's place in a swarm.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Seat {
        /// The swarm.
        pub swarm: SwarmId,
        /// The node.
        pub node: NodeId,
    }

    /// An account's place in a channel.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Membership {
        /// The channel.
        pub channel: ChannelId,
        /// The account.
        pub account: AccountId,
    }
}

/// Returns what stands for an endpoint in [`Endpoints`]; capitals make no difference.
#[must_use]
pub fn endpoint_digest(endpoint: &str) -> Digest {
    digest(Domain::Endpoint, &[endpoint.to_ascii_lowercase().as_bytes()])
}

/// Returns what stands for a node's signing key in [`SigningKeys`].
#[must_use]
pub fn signing_key_digest(key: &DsaPublicKey) -> Digest {
    digest(Domain::NodeSigningKey, &[key.as_bytes()])
}

/// Returns what stands for a channel's name in [`ChannelNames`].
#[must_use]
pub fn channel_name_digest(name: &str) -> Digest {
    digest(Domain::ChannelName, &[name.as_bytes()])
}

#[cfg(test)]
mod tests;
