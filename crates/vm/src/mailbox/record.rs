//! What is kept in the store. See docs/wire/conversation.md.

use session_core::{
    Blob, ChannelId, ConversationId, Domain, Encode, InboxAddress, List, MessageId, Text, Time,
    choice, digest, record,
};
use session_crypto::{DsaPublicKey, KemPublicKey};

use super::config::{
    CIPHERTEXT_BYTES_MAX, COMPAT_BYTES_MAX, METADATA_ENTRIES_MAX, METADATA_VALUE_BYTES_MAX,
    NAME_BYTES_MAX, PARTICIPANTS_MAX,
};

/// The version of every record here.
pub(super) const VERSION: u8 = 1;

choice! {
    /// The key that secrets for a participant are encapsulated to.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum ParticipantKey {
        /// Bytes of the compatibility profile, unchecked.
        1 => Raw {
            /// The bytes.
            bytes: Blob<COMPAT_BYTES_MAX>,
        },
        /// An ML-KEM-768 key.
        2 => Kem {
            /// The key.
            key: KemPublicKey,
        },
    }
}

impl ParticipantKey {
    /// Returns the key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Raw { bytes } => bytes,
            Self::Kem { key } => key.as_bytes(),
        }
    }
}

record! {
    /// An account and the key under which a conversation or channel knows it.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) struct PersonRecord {
        pub account: session_core::AccountId,
        pub key: ParticipantKey,
    }

    /// The signing key of a person, written when it is first shown.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct SigningRecord {
        pub key: DsaPublicKey,
    }

    /// A reference to a person. The first bytes of its account tell when a number was given anew.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct PersonRef {
        pub number: u32,
        pub account_head: [u8; 4],
    }

    /// A participant, as the conversation began.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct MemberRecord {
        pub person: PersonRef,
        pub proved: bool,
    }

    /// One entry of a conversation's metadata.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct MetadataEntry {
        pub key: Text<NAME_BYTES_MAX>,
        pub value: Text<METADATA_VALUE_BYTES_MAX>,
    }

    /// What of a conversation never changes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct ConversationRecord {
        pub version: u8,
        pub compat: bool,
        pub created: Time,
        pub expires: Time,
        pub keep_until: Time,
        pub members: List<MemberRecord, PARTICIPANTS_MAX>,
        pub channel: Option<ChannelId>,
        pub metadata: List<MetadataEntry, METADATA_ENTRIES_MAX>,
    }

    /// Who has accepted a conversation, by index, and whether it was closed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct StandingRecord {
        pub version: u8,
        pub closed: Option<Time>,
        pub accepted: List<u16, PARTICIPANTS_MAX>,
    }

    /// The next counter of one participant that has sent something.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct CounterRecord {
        pub member: u16,
        pub next: u64,
    }

    /// How far a conversation has come.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(super) struct Tally {
        pub next: u64,
        pub expiry: Time,
        pub counters: List<CounterRecord, PARTICIPANTS_MAX>,
    }

    /// How far a conversation has come, and had come at the checkpoint before, to which one goes
    /// back when messages between the two were lost in a crash.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct CheckpointRecord {
        pub version: u8,
        pub reached: Tally,
        pub before: Tally,
        /// When the first message between the two expires.
        pub since: Time,
    }

    /// A message, as an item of the conversation's inbox.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct MessageRecord {
        pub version: u8,
        pub member: u16,
        pub counter: u64,
        pub received: Time,
        pub signature: Blob<COMPAT_BYTES_MAX>,
        pub ciphertext: Blob<CIPHERTEXT_BYTES_MAX>,
    }

    /// A channel.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct ChannelRecord {
        pub version: u8,
        pub name: Text<NAME_BYTES_MAX>,
        pub created: Time,
        pub revision: u64,
        pub owner: session_core::AccountId,
        pub members: List<PersonRef, PARTICIPANTS_MAX>,
    }
}

/// Returns the bytes of a [`MessageRecord`] without building one: the parts are copied once.
pub(super) fn message_record(
    member: u16,
    counter: u64,
    received: Time,
    signature: &[u8],
    ciphertext: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(27 + signature.len() + ciphertext.len());
    VERSION.encode(&mut out);
    member.encode(&mut out);
    counter.encode(&mut out);
    received.encode(&mut out);
    for bytes in [signature, ciphertext] {
        let length = u32::try_from(bytes.len()).expect("both are bounded far below 4 GiB");
        length.encode(&mut out);
        out.extend_from_slice(bytes);
    }
    out
}

/// Returns where a conversation's messages lie.
pub(super) fn inbox_of(conversation: &ConversationId) -> InboxAddress {
    InboxAddress::from(*conversation.as_bytes())
}

/// Returns the id of the message with a sequence number.
#[must_use]
pub fn message_id(conversation: &ConversationId, sequence: u64) -> MessageId {
    let id =
        digest(Domain::ConversationMessageId, &[conversation.as_bytes(), &sequence.to_be_bytes()]);
    MessageId::from(*id.as_bytes())
}

/// Returns the keys of the records.
pub(super) mod key {
    use session_core::ConversationId;

    pub(in crate::mailbox) const PERSON: u8 = b'p';
    pub(in crate::mailbox) const SIGNING: u8 = b's';
    pub(in crate::mailbox) const CONVERSATION: u8 = b'c';
    pub(in crate::mailbox) const CHANNEL: u8 = b'g';

    pub(in crate::mailbox) fn tagged(tag: u8, id: &[u8; 32]) -> [u8; 33] {
        let mut key = [tag; 33];
        key[1..].copy_from_slice(id);
        key
    }

    pub(in crate::mailbox) fn numbered(tag: u8, number: u32) -> [u8; 5] {
        let [a, b, c, d] = number.to_be_bytes();
        [tag, a, b, c, d]
    }

    pub(in crate::mailbox) fn standing(id: &ConversationId) -> [u8; 33] {
        tagged(b'a', id.as_bytes())
    }

    pub(in crate::mailbox) fn checkpoint(id: &ConversationId) -> [u8; 33] {
        tagged(b'n', id.as_bytes())
    }
}
