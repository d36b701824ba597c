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
//! | 04 | [`Treasury`] | | amount: fees and penalties so far |
//! | 05 | [`Sequencer`] | | keys of the sequencer |
//! | 06 | [`PastEpochs`] | epoch | [`EpochRecord`], of the last 1,024 |
//! | 07 | [`Authority`] | | account that may drop accusations |
//! | 08 | [`NetworkChanged`] | | height of the last block that changed nodes' places or seats |
//! | 10 | [`Accounts`] | account | [`Account`] |
//! | 11 | [`AccountKeys`] | account | its keys, since its first transaction; of a node, since it has them |
//! | 20 | [`Nodes`] | node | [`ServiceNode`] |
//! | 21 | [`NodeKeys`] | node, also a former id | its keys |
//! | 22 | [`NodeAliases`] | former id of a node | where to look on, see there |
//! | 23 | [`Endpoints`] | [`endpoint_digest`] | the node that is reached there |
//! | 24 | [`SigningKeys`] | [`signing_key_digest`] | the node id that was made with it |
//! | 25 | [`SwarmMembers`] | [`Seat`] | the epoch in which the node took it |
//! | 26 | [`FormerSeats`] | node | its swarm until the last epoch turned, if it has another or none now |
//! | 30 | [`Sessions`] | workload session | [`WorkloadSession`] |
//! | 31 | [`OpenSessions`] | workload session that has not ended | [`OpenAnchor`] |
//! | 40 | [`Conversations`] | conversation | [`Conversation`] |
//! | 50 | [`Channels`] | channel | [`Channel`] |
//! | 51 | [`ChannelNames`] | [`channel_name_digest`] | the channel of that name |
//! | 52 | [`ChannelMembers`] | [`Membership`] | when the account joined |
//! | 60 | [`BeaconKeys`] | node | [`RegisteredKeys`] |
//! | 61 | [`Dealers`] | | [`DealerList`] |
//! | 62 | [`Dealings`] | dealer's place u16 | [`Dealing`] |
//! | 63 | [`Acknowledgements`] | dealer's place u16 | bitmap of dealings |
//! | 64 | [`Reveals`] | dealer's place u16 | [`Revealed`] |
//! | 65 | [`ShownShares`] | [`ShownAt`] | 32 bytes |
//! | 70 | [`Ballots`] | node | [`Ballot`] |
//! | 71 | [`StorageCommitments`] | node | [`Commitments`] |
//! | 72 | [`Marks`] | [`MarkAt`] | [`Mark`], of the last 24 epochs |
//! | 73 | [`Cases`] | case | [`Case`] |

use session_core::{
    AccountId, ChannelId, ConversationId, Decode, Digest, Domain, Encode, Epoch, NodeId, SessionId,
    SwarmId, Time, digest, record,
};
use session_crypto::{DsaPublicKey, PublicIdentity};
use session_protocol::beacon::Dealing;
use session_protocol::chain::Amount;
use session_protocol::chain::transaction::Bitmap;

mod account;
mod beacon;
mod chain;
mod conversation;
mod duty;
mod node;
mod session;

pub use account::Account;
pub use beacon::{DealerList, Revealed, ShownAt};
pub use chain::{BadParams, ChainRecord, EpochRecord, Params};
pub use conversation::{Channel, Conversation, ManifestAnchor};
pub use duty::{Ballot, Case, CaseKind, CaseStatus, Count, Failing, Mark, MarkAt, VoteAgainst};
pub use node::{EPOCHS_KEPT, LpStatus, NodeStatus, SeatOf, SeedStatus, ServiceNode};
pub use session::{
    NotAllowed, OpenAnchor, SessionEvent, SessionPhase, SessionState, WorkloadSession,
};
pub use session_protocol::chain::view::{Commitments, RegisteredKeys};

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
    /// Fees and penalties so far.
    0x04 => Treasury: Only => Amount,
    /// Who seals blocks while the chain runs alone.
    0x05 => Sequencer: Only => PublicIdentity,
    /// Epochs of the past, for proofs about them.
    0x06 => PastEpochs: Epoch => EpochRecord,
    /// Who may drop accusations.
    0x07 => Authority: Only => AccountId,
    /// The height of the last block that changed who is a node, where it is reached, or which swarm
    /// it serves. Nodes that speak about a change mean it by this, wherever they began to read.
    0x08 => NetworkChanged: Only => u64,
    /// Accounts with a balance or a transaction.
    0x10 => Accounts: AccountId => Account,
    /// Keys of accounts, in a table of their own: only signatures need them.
    0x11 => AccountKeys: AccountId => PublicIdentity,
    /// The newest manifests of accounts, for those who want to know that they see the same one as
    /// everybody else.
    0x12 => Manifests: AccountId => ManifestAnchor,
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
    /// The members of every swarm: active, suspended and leaving nodes.
    0x25 => SwarmMembers: Seat => Epoch,
    /// What is handed over: seats that the last turn of an epoch changed.
    0x26 => FormerSeats: NodeId => SwarmId,
    /// Anchors of workload sessions.
    0x30 => Sessions: SessionId => WorkloadSession,
    /// Which of them have not ended: nobody goes through all to find them.
    0x31 => OpenSessions: SessionId => OpenAnchor,
    /// Anchors of conversations.
    0x40 => Conversations: ConversationId => Conversation,
    /// Group channels.
    0x50 => Channels: ChannelId => Channel,
    /// One channel per name.
    0x51 => ChannelNames: Digest => ChannelId,
    /// Who is in which channel.
    0x52 => ChannelMembers: Membership => Time,
    /// One-time secrets that nodes registered for the beacon.
    0x60 => BeaconKeys: NodeId => RegisteredKeys,
    /// Who deals the next beacon.
    0x61 => Dealers: Only => DealerList,
    /// What was dealt for it.
    0x62 => Dealings: u16 => Dealing,
    /// Who holds good shares of which dealings.
    0x63 => Acknowledgements: u16 => Bitmap,
    /// What was revealed.
    0x64 => Reveals: u16 => Revealed,
    /// Shares of dealers that did not reveal.
    0x65 => ShownShares: ShownAt => [u8; 32],
    /// The votes of this epoch.
    0x70 => Ballots: NodeId => Ballot,
    /// What nodes say they keep.
    0x71 => StorageCommitments: NodeId => Commitments,
    /// How nodes did.
    0x72 => Marks: MarkAt => Mark,
    /// Accusations.
    0x73 => Cases: Digest => Case,
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
