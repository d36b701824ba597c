//! What is shown: plain values, filled from the database of the messenger.

use session_core::Time;
use session_messaging::say::SayId;
use session_messaging::thread::{Status, ThreadId};

/// A row of the list on the left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) id: ThreadId,
    pub(crate) title: String,
    pub(crate) group: bool,
    pub(crate) unread: u64,
    /// A stranger wrote, and nobody has decided yet.
    pub(crate) request: bool,
    pub(crate) blocked: bool,
    pub(crate) verified: bool,
    /// The last thing that was said.
    pub(crate) preview: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) place: u64,
    pub(crate) id: SayId,
    pub(crate) mine: bool,
    pub(crate) author: String,
    pub(crate) at: Time,
    pub(crate) body: Body,
    /// What it answers.
    pub(crate) quote: Option<String>,
    pub(crate) edited: bool,
    pub(crate) reactions: Vec<Reaction>,
    /// Of own messages only.
    pub(crate) status: Option<Status>,
    /// When it disappears.
    pub(crate) vanishes: bool,
}

/// An emoji below a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reaction {
    pub(crate) emoji: String,
    pub(crate) count: usize,
    pub(crate) mine: bool,
}

/// What a message consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Text(String),
    File {
        name: String,
        bytes: u64,
        caption: String,
    },
    /// Its author took it back.
    Unsent,
    /// Something that happened, said by nobody.
    Note(String),
}

impl Letter {
    /// Returns the message as one line of text.
    pub(crate) fn summary(&self) -> String {
        match &self.body {
            Body::Text(text) | Body::Note(text) => text.replace('\n', " "),
            Body::File { name, .. } => format!("[{name}]"),
            Body::Unsent => "[unsent]".to_owned(),
        }
    }
}

/// How far a file has come on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) name: String,
    pub(crate) sending: bool,
    pub(crate) done: u64,
    pub(crate) of: u64,
}

/// A message that has the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) thread: ThreadId,
    pub(crate) place: u64,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// Says how far a message has come, and no more than is known.
pub(crate) fn progress(status: &Status) -> String {
    if status.failed {
        return "✗ not sent".to_owned();
    }
    let share = |count: u16| {
        if status.audience > 1 { format!(" {count}/{}", status.audience) } else { String::new() }
    };
    if status.read > 0 {
        format!("✓✓ read{}", share(status.read))
    } else if status.delivered > 0 {
        format!("✓✓ delivered{}", share(status.delivered))
    } else if status.stored.is_some() {
        format!("✓ stored {}/{}", status.good, status.of)
    } else {
        "… sending".to_owned()
    }
}
