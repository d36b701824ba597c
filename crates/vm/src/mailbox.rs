//! Conversations of this node: what JSON-RPC calls sessions.
//!
//! What it is: a machine over a [`Store`] that makes conversations, lets participants accept, send
//! to and close them, numbers their messages without gaps, and forgets them in time. Each sender's
//! messages carry a counter inside the signed bytes: a message is taken once.
//!
//! What it does not do: it is not agreed on by anybody; it knows no sockets and no JSON; it cannot
//! read a message. It hides neither who talks to whom nor how much.
//!
//! Signatures are checked outside: [`Mailbox::prepare_send`] returns a [`Check`], whose
//! [`Check::verify`] may run on any thread, and only the [`Proved`] that it returns is applied.
//! Apply in the order of preparing: a sender's next message is refused before the one before it.
//!
//! A message is one item in the store and nothing else. How far a conversation has come is written
//! down some seconds later by [`Mailbox::tick`]; [`Mailbox::load`] adopts what came after.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | [`Config`], the limits |
//! | [`error`] | [`Refusal`], with the seed's texts |
//! | [`signed`] | the bytes that participants sign |
//! | `conversation` | creating, accepting, closing, finding |
//! | `message` | sending and reading |
//! | `channel` | channels |
//! | `compat` | the unproved calls of the Go reference |
//! | `load`, `tick` | restart and the passing of time |
//! | `people`, `table`, `record` | memory and store |

mod channel;
mod check;
mod compat;
pub mod config;
mod conversation;
pub mod error;
mod load;
mod message;
mod people;
mod record;
pub mod signed;
mod table;
mod tick;

use std::collections::VecDeque;

use session_core::{ChannelId, Context, ConversationId, Time};
use session_storage::Store;

pub use channel::{Channel, ChannelIntent, ChannelRequest};
pub use check::{Check, Proved};
pub use compat::CompatConversation;
pub use config::{Config, ConfigError};
pub use conversation::{
    ActionIntent, ActionRequest, Created, Invitation, ListPage, ListRequest, NewConversation,
    Participant, View,
};
pub use error::{Refusal, Unauthorized};
pub use load::{LoadError, LoadReport};
pub use message::{Message, MessageIntent, MessagePage, SendRequest, Sent};
pub use record::{ParticipantKey, message_id};
pub use table::Standing;

use channel::Channels;
use people::People;
use table::{Entries, Slot};

/// The doors of a call that changes something.
pub type Cx<'a> = Context<'a, dyn Store, Event>;

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Some participants have neither accepted nor proved their key. Messages are taken
    /// nevertheless and wait for them.
    Pending,
    /// All participants are in.
    Active,
    /// Its time is over.
    Expired,
    /// A participant has ended it.
    Closed,
}

impl Status {
    /// Returns the seed's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }
}

/// What subscribers are told, once the call's writes are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Event {
    /// A message is there; [`Mailbox::message`] reads it.
    Message {
        /// The conversation.
        conversation: ConversationId,
        /// Its number.
        sequence: u64,
    },
    /// A conversation is new or has another status.
    Status {
        /// The conversation.
        conversation: ConversationId,
        /// The status.
        status: Status,
    },
    /// A conversation and its messages are no longer known.
    Forgotten {
        /// The conversation.
        conversation: ConversationId,
    },
    /// A channel is new, has other members, or is gone with its last one.
    Channel {
        /// The channel.
        channel: ChannelId,
    },
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Conversations known, those included that are over.
    pub conversations: u64,
    /// Conversations that were neither closed nor, at the last tick, expired.
    pub open: u64,
    /// Channels.
    pub channels: u64,
    /// Pairs of an account and its key.
    pub people: u64,
    /// Messages taken since the start.
    pub messages: u64,
}

/// The conversations and channels of one node.
#[derive(Debug)]
pub struct Mailbox {
    config: Config,
    people: People,
    entries: Entries,
    channels: Channels,
    /// Conversations whose checkpoint is due, and since when, in that order.
    dirty: VecDeque<(Time, Slot)>,
    purge_at: Time,
    open: u64,
    messages: u64,
}

impl Mailbox {
    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            conversations: self.entries.len() as u64,
            open: self.open,
            channels: self.channels.len() as u64,
            people: self.people.len() as u64,
            messages: self.messages,
        }
    }
}

#[cfg(test)]
mod tests;
