//! What one device says to the others of a conversation.
//!
//! The bytes travel inside the encryption of [`group`](crate::group); who says it, and on which
//! device, is known from there.

use core::fmt;

use session_core::{
    AccountId, Blob, Decode, DecodeError, Encode, Entropy, List, Reader, Span, Text, Time,
};
use session_core::{choice, record};

use crate::account::Contact;
use crate::attachment::Manifest;
use crate::content::TEXT_BYTES_MAX;
use crate::secret::Secret;

/// Longest encoding of [`Said`] that fits into the largest box.
pub const SAID_BYTES_MAX: usize = 65_000;

/// Longest text of a reaction: one emoji with all its modifiers.
pub const REACTION_BYTES_MAX: usize = 64;

/// Most messages that one receipt names.
pub const RECEIPT_IDS_MAX: usize = 256;

/// Most contacts of which own devices tell each other at once.
pub const CONTACTS_COPIED_MAX: usize = 128;

/// Longest name of a person, group or device.
pub const NAME_BYTES_MAX: usize = 128;

macro_rules! short_ids {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Draws a new one.
            pub fn generate(rng: &mut dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                rng.fill(&mut bytes);
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x})"),
                       self.0[0], self.0[1], self.0[2], self.0[3])
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
        }
    )*};
}

short_ids! {
    /// A message, drawn by its author.
    SayId,
    /// A device: the beginning of the digest of its signing key.
    DeviceId,
}

choice! {
    /// When messages disappear.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Disappear {
        /// They stay.
        #[default]
        1 => Never,
        /// So long after they were sent.
        2 => AfterSend {
            /// How long.
            span: Span,
        },
        /// So long after they were read; for the author, after they were sent.
        3 => AfterRead {
            /// How long.
            span: Span,
        },
    }

    /// Something that is said.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Say {
        /// A text.
        1 => Text {
            /// The text.
            body: Text<TEXT_BYTES_MAX>,
            /// What it answers.
            reply_to: Option<SayId>,
        },
        /// A file, whose pieces lie in a mailbox of their own.
        2 => File {
            /// How to find and open the pieces.
            manifest: Manifest,
            /// The seed of their mailbox: [`crate::mailbox::of_file`].
            route: Secret,
            /// Words beside it.
            caption: Text<4000>,
            /// What it answers.
            reply_to: Option<SayId>,
        },
        /// The author has another text for a message.
        3 => Edit {
            /// The message.
            of: SayId,
            /// The new text.
            body: Text<TEXT_BYTES_MAX>,
        },
        /// The author takes a message back.
        4 => Unsend {
            /// The message.
            of: SayId,
        },
        /// A reaction, or its end. One of each author and emoji for each message.
        5 => React {
            /// The message.
            to: SayId,
            /// The reaction.
            emoji: Text<REACTION_BYTES_MAX>,
            /// Whether it is there from now on.
            on: bool,
        },
        /// These messages have arrived on the device that says so.
        6 => Delivered {
            /// The messages.
            ids: List<SayId, RECEIPT_IDS_MAX>,
        },
        /// These messages have been read.
        7 => Read {
            /// The messages.
            ids: List<SayId, RECEIPT_IDS_MAX>,
        },
        /// The author begins or ceases to type. Never kept.
        8 => Typing {
            /// Which of both.
            on: bool,
        },
        /// Messages disappear differently from now on.
        9 => Timer {
            /// How.
            disappear: Disappear,
        },
        /// How the author wants to be called.
        10 => Profile {
            /// The name.
            name: Text<NAME_BYTES_MAX>,
        },
        /// Nothing to show: the author has seen the epoch that it says this in.
        11 => Seen,
        /// To the own other devices: what this device said, read or decided elsewhere.
        12 => Copy {
            /// What happened.
            copy: Box<Copied>,
        },
    }

    /// Who is talked to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Peer {
        /// One account.
        1 => Account {
            /// The account.
            account: AccountId,
        },
        /// A group, by the id that it was made under.
        2 => Group {
            /// Its id.
            group: GroupId,
        },
    }

    /// What own devices tell each other.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Copied {
        /// Said in a conversation.
        1 => Said {
            /// Where.
            to: Peer,
            /// What: a [`Said`], kept as bytes so that copies of copies cost no stack.
            said: Blob<SAID_BYTES_MAX>,
        },
        /// Read in a conversation.
        2 => Read {
            /// Where.
            to: Peer,
            /// The messages.
            ids: List<SayId, RECEIPT_IDS_MAX>,
        },
        /// Decided about an account.
        3 => Contact {
            /// The account.
            account: AccountId,
            /// What was decided.
            standing: Standing,
            /// The name under which it is shown.
            name: Text<NAME_BYTES_MAX>,
        },
        /// Forgotten on this device.
        4 => Forgotten {
            /// Where.
            to: Peer,
            /// The messages.
            ids: List<SayId, RECEIPT_IDS_MAX>,
        },
        /// The secrets with which the account is reached now.
        5 => Keys {
            /// They; see [`crate::account`].
            sealed: Blob<8192>,
        },
        /// Heard in a conversation, from somebody who did not know of all own devices yet.
        6 => Heard {
            /// Where.
            from: Peer,
            /// Who said it.
            author: AccountId,
            /// On which device.
            device: DeviceId,
            /// What: a [`Said`].
            said: Blob<SAID_BYTES_MAX>,
        },
        /// Whom the account knows: for a device that has just come in.
        8 => Contacts {
            /// They.
            contacts: List<Contact, CONTACTS_COPIED_MAX>,
        },
        /// Decided about a group into which a stranger brought the account.
        7 => Group {
            /// The group.
            group: GroupId,
            /// What was decided.
            standing: Standing,
        },
    }

    /// How an account is treated.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Standing {
        /// A stranger: shown among the requests, told nothing.
        #[default]
        1 => Stranger,
        /// Accepted.
        2 => Accepted,
        /// Blocked: nothing of it is shown or answered.
        3 => Blocked,
    }
}

record! {
    /// Something said, with what is needed to place it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Said {
        /// Its name.
        pub id: SayId,
        /// When, says the author.
        pub sent_at: Time,
        /// What.
        pub say: Say,
    }

    /// The id of a group: drawn when it is made.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct GroupId {
        /// The bytes.
        pub bytes: [u8; 32],
    }
}
