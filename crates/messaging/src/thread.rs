//! Threads: what a person sees. Messages with their edits, reactions and receipts.
//!
//! What it is: functions over the [`Vault`](crate::vault::Vault). A thread outlives the
//! cryptographic groups behind it.
//!
//! What it does not do: it knows nothing of keys and sends nothing.
//!
//! *Provided:* the same things said give the same thread, in whatever order they arrive, however
//! often; only the author of a message changes it; what is taken back, forgotten or expired leaves
//! no byte of its content in the vault, and does not come back.
//!
//! *Not provided:* an order that all devices share: a [place](Message::place) is when a message
//! arrived here.
//!
//! | module | holds |
//! |---|---|
//! | `apply` | what was said becomes messages and changes of messages |
//! | `change` | what happens to a message after it was said |
//! | `early` | what is said of messages that have not arrived yet |
//! | `expiry` | messages that disappear or are forgotten |
//! | `fold` | words as search compares them |
//! | `import` | messages of another time or device |
//! | `list` | threads and their settings |
//! | `reading` | pages of messages, and what has been read |
//! | `record` | what lies in the vault |
//! | `search` | messages by their words |
//! | `status` | how far own messages have come |

use session_core::{AccountId, Text, Time, choice, record};

use crate::attachment::Manifest;
use crate::content::TEXT_BYTES_MAX;
use crate::group::Role;
use crate::say::{DeviceId, Disappear, NAME_BYTES_MAX, Peer, Said, Say, SayId, Standing};
use crate::secret::Secret;

mod apply;
mod change;
mod early;
mod expiry;
mod fold;
mod import;
mod list;
mod reading;
pub(crate) mod record;
mod search;
mod status;

pub(crate) use apply::TYPING_FRESH;
pub use apply::{Applied, apply, note};
pub use expiry::{expire, forget, forget_all, next_expiry};
pub(crate) use import::{Imported, import, import_audience};
pub(crate) use list::ids;
pub use list::{
    open_thread, set_disappear, set_members, set_muted, set_name, set_standing, summary, thread_of,
    threads,
};
pub use reading::{by_id, mark_read, message, messages, read_elsewhere, unread};
pub use search::{Hit, search};
pub(crate) use status::is_said;
pub use status::{failed, proof, sealed_again, sent, stored};

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

choice! {
    /// What a message shows.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Body {
        /// A text.
        1 => Text {
            /// The text.
            body: Text<TEXT_BYTES_MAX>,
        },
        /// A file.
        2 => File {
            /// How to find and open the pieces.
            manifest: Manifest,
            /// The seed of their mailbox.
            route: Secret,
            /// Words beside it.
            caption: Text<4000>,
        },
        /// Its author took it back: nothing of it is left.
        3 => Unsent,
        /// A line that nobody wrote.
        4 => Line {
            /// What it says.
            line: SystemLine,
        },
    }

    /// What happened in a thread beside messages.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum SystemLine {
        /// The group was made.
        1 => Created {
            /// By whom.
            by: AccountId,
        },
        /// An account came.
        2 => Joined {
            /// Which.
            account: AccountId,
            /// Who added it.
            by: AccountId,
        },
        /// An account went; `by` is itself if it left.
        3 => Left {
            /// Which.
            account: AccountId,
            /// Who removed it.
            by: AccountId,
        },
        /// The group has another name.
        4 => Renamed {
            /// Whose doing.
            by: AccountId,
            /// The name.
            name: Text<NAME_BYTES_MAX>,
        },
        /// An account has another role.
        5 => Role {
            /// Whose doing.
            by: AccountId,
            /// The account.
            account: AccountId,
            /// Its role.
            role: Role,
        },
        /// Messages disappear differently from now on.
        6 => Timer {
            /// Whose doing.
            by: AccountId,
            /// How.
            disappear: Disappear,
        },
        /// Messages may be missing here: this device could not follow for a while.
        7 => Gap,
        /// An account has other devices than before.
        8 => Devices {
            /// The account.
            account: AccountId,
        },
        /// The safety number of an account is another one.
        9 => SafetyNumber {
            /// The account.
            account: AccountId,
        },
    }
}

/// A thread, as a list of conversations shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub id: ThreadId,
    /// With whom.
    pub peer: Peer,
    /// The name of the contact or group; empty if there is none.
    pub name: String,
    /// How it is treated; [`Standing::Stranger`] is a request.
    pub standing: Standing,
    /// Messages of others that have not been read.
    pub unread: u32,
    /// The newest message.
    pub last: Option<Preview>,
    /// When something was added last.
    pub active: Time,
    /// How messages disappear.
    pub disappear: Disappear,
    /// Whether new messages make no sound.
    pub muted: bool,
    /// Accounts in it, the own one included; 0 if nobody said.
    pub members: u32,
}

/// The newest message of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// When it arrived.
    pub at: Time,
    /// Where it is.
    pub place: u64,
    /// Who said it.
    pub author: AccountId,
    /// Whether that is the own account.
    pub own: bool,
    /// What it shows.
    pub body: Body,
}

/// A message of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place: larger is later. Roughly the milliseconds at which it arrived.
    pub place: u64,
    /// Its name; all zero for a [`SystemLine`] of this device.
    pub id: SayId,
    /// Who said it.
    pub author: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// Whether the own account said it.
    pub own: bool,
    /// When, says the author.
    pub sent_at: Time,
    /// When it arrived.
    pub received_at: Time,
    /// What it shows.
    pub body: Body,
    /// What it answers.
    pub reply_to: Option<SayId>,
    /// When its author changed it last, says the author.
    pub edited: Option<Time>,
    /// Who reacted how, in the order of accounts.
    pub reactions: Vec<(AccountId, String)>,
    /// When it disappears, if that is known already.
    pub expires: Option<Time>,
    /// How far it has come; all zero for what others said.
    pub status: Status,
    /// Whether it has been read here or on another own device; own messages are.
    pub read: bool,
}

impl Message {
    /// Returns whether its author took it back.
    #[must_use]
    pub const fn unsent(&self) -> bool {
        matches!(self.body, Body::Unsent)
    }

    /// Returns what its author would say to show it again as it is now; `None` for lines, and for what
    /// was taken back.
    pub(crate) fn said(&self) -> Option<Said> {
        let reply_to = self.reply_to;
        let say = match &self.body {
            Body::Text { body } => Say::Text { body: body.clone(), reply_to },
            Body::File { manifest, route, caption } => {
                let (manifest, route) = (manifest.clone(), route.clone());
                Say::File { manifest, route, caption: caption.clone(), reply_to }
            }
            Body::Unsent | Body::Line { .. } => return None,
        };
        Some(Said { id: self.id, sent_at: self.sent_at, say })
    }
}

#[cfg(test)]
mod tests;
