//! The bytes that participants sign: what a client builds, and what the mailbox checks.

use session_core::{
    AccountId, ChannelId, ConversationId, Digest, Encode, Text, Time, choice, record,
};

use super::config::NAME_BYTES_MAX;

choice! {
    /// What a participant asks of a conversation.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Action {
        /// To take part in it.
        1 => Accept,
        /// To end it for everybody.
        2 => Close,
        /// To read it, until it is over.
        3 => Read,
    }
}

record! {
    /// Signed under `Domain::ConversationAction`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedAction {
        /// The network.
        pub scope: Digest,
        /// The conversation.
        pub conversation: ConversationId,
        /// What is asked.
        pub action: Action,
        /// Who asks.
        pub participant: AccountId,
        /// When the conversation ends, as its creation answered.
        pub expires: Time,
    }
}

/// Returns what is signed of a message under `Domain::ConversationMessage`: scope, conversation,
/// sender, counter, and the ciphertext behind its length.
#[must_use]
pub fn message_bytes(
    scope: &Digest,
    conversation: &ConversationId,
    sender: &AccountId,
    counter: u64,
    ciphertext: &[u8],
) -> Vec<u8> {
    let length = u32::try_from(ciphertext.len()).expect("a ciphertext is far below 4 GiB");
    let mut out = Vec::with_capacity(32 * 3 + 8 + 4 + ciphertext.len());
    scope.encode(&mut out);
    conversation.encode(&mut out);
    sender.encode(&mut out);
    counter.encode(&mut out);
    length.encode(&mut out);
    out.extend_from_slice(ciphertext);
    out
}

choice! {
    /// What somebody asks of a channel.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum ChannelAction {
        /// To make one; no two channels of an owner have the same name.
        1 => Create {
            /// Its name.
            name: Text<NAME_BYTES_MAX>,
        },
        /// To become a member. The revision is the channel's at that moment, so that nobody can
        /// say it again later.
        2 => Join {
            /// The channel.
            channel: ChannelId,
            /// How often its members have changed.
            revision: u64,
        },
        /// To be a member no longer.
        3 => Leave {
            /// The channel.
            channel: ChannelId,
            /// How often its members have changed.
            revision: u64,
        },
    }
}

record! {
    /// Signed under `Domain::ChannelAction`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedChannelAction {
        /// The network.
        pub scope: Digest,
        /// Who asks.
        pub member: AccountId,
        /// What is asked.
        pub action: ChannelAction,
    }
}
