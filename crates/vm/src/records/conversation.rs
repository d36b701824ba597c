use session_core::{AccountId, Digest, Text, Time, record};
use session_protocol::chain::transaction::CHANNEL_NAME_BYTES_MAX;

record! {
    /// The anchor of a conversation: that it exists, not who takes part.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Conversation {
        /// Root of the Merkle tree over the hidden participants.
        pub participants_root: Digest,
        /// How many participants there are.
        pub participants: u16,
        /// Who paid for it.
        pub opened_by: AccountId,
        /// When it was opened.
        pub created: Time,
        /// The first moment at which it is over.
        pub expires: Time,
        /// When a participant closed it.
        pub closed: Option<Time>,
    }

    /// A group channel.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Channel {
        /// Its name, which no other channel has.
        pub name: Text<CHANNEL_NAME_BYTES_MAX>,
        /// Who made it.
        pub owner: AccountId,
        /// How many members it has, always at least one.
        pub members: u16,
        /// When it was made.
        pub created: Time,
    }

    /// The newest manifest of an account, as the account itself anchored it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ManifestAnchor {
        /// Its number.
        pub seq: u64,
        /// Its digest.
        pub manifest: Digest,
        /// When it was anchored.
        pub anchored: Time,
    }
}
