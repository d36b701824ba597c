//! What happens to a message after it was said. Changes commute: in whatever order they come, also
//! before the message itself, the same message results.

use session_core::{AccountId, Text, Time, choice};

use super::record::{self, Found, Kept, Progress, Reaction, Thread, Version};
use super::{Applied, Body, Status, ThreadId, early, expiry};
use crate::content::TEXT_BYTES_MAX;
use crate::say::{REACTION_BYTES_MAX, SayId};
use crate::vault::Vault;

choice! {
    /// A change of a message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Change {
        /// Its author has another text.
        1 => Edit {
            body: Text<TEXT_BYTES_MAX>,
            version: Version,
        },
        /// Its author takes it back.
        2 => Unsend,
        /// Somebody reacts, or no longer.
        3 => React {
            emoji: Text<REACTION_BYTES_MAX>,
            on: bool,
            version: Version,
        },
        /// Somebody has it.
        4 => Delivered,
        /// Somebody has read it.
        5 => Read,
        /// It was read on an own device.
        6 => Seen {
            at: Time,
        },
        /// It was forgotten on an own device.
        7 => Forget,
    }
}

impl Change {
    /// Returns whether `by` may change a message of `author` so.
    pub(super) fn allowed(&self, by: AccountId, author: AccountId, own: bool) -> bool {
        match self {
            Self::Edit { .. } | Self::Unsend => by == author,
            Self::Delivered | Self::Read => own && by != author,
            Self::React { .. } | Self::Seen { .. } | Self::Forget => true,
        }
    }

    /// Returns whether it only ever concerns messages of whoever makes it.
    pub(super) const fn of_author(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Unsend)
    }

    pub(super) const fn is_receipt(&self) -> bool {
        matches!(self, Self::Delivered | Self::Read)
    }
}

/// Where a change happens: the thread is written back by whoever loaded it.
pub(super) struct Scene<'a> {
    pub(super) vault: &'a mut dyn Vault,
    pub(super) now: Time,
    pub(super) id: ThreadId,
    pub(super) thread: Thread,
}

impl<'a> Scene<'a> {
    pub(super) fn open(vault: &'a mut dyn Vault, now: Time, id: ThreadId) -> Option<Self> {
        let thread = record::load_thread(vault, id)?;
        Some(Self { vault, now, id, thread })
    }

    /// Writes the thread back.
    pub(super) fn close(self) {
        record::save_thread(self.vault, self.id, &self.thread);
    }

    /// Makes a change of the messages named `of`, or keeps it until one arrives.
    pub(super) fn alter(&mut self, by: AccountId, of: &[SayId], change: &Change) -> Applied {
        let mut applied = Applied::default();
        let mut absent = Vec::new();
        for id in of {
            let found = if change.of_author() {
                record::find(self.vault, self.id, *id, by).map(|found| vec![(by, found)])
            } else {
                Some(record::find_all(self.vault, self.id, *id)).filter(|all| !all.is_empty())
            };
            let Some(found) = found else {
                absent.push(*id);
                continue;
            };
            for (_, found) in found {
                if let Found::At { place } = found {
                    self.alter_at(by, place, change, &mut applied);
                }
            }
        }
        if !absent.is_empty() {
            early::keep(self, by, &absent, change);
        }
        applied
    }

    fn alter_at(&mut self, by: AccountId, place: u64, change: &Change, applied: &mut Applied) {
        let Some(mut kept) = record::load_message(self.vault, self.id, place) else { return };
        if *change == Change::Forget {
            expiry::delete(self, place, &kept);
            applied.places.push(place);
            return;
        }
        let unread = kept.is_unread();
        let status = status(&kept);
        if !self.make(&mut kept, by, change) {
            return;
        }
        if unread && !kept.is_unread() {
            self.thread.unread = self.thread.unread.saturating_sub(1);
        }
        record::set_expiry(self.vault, self.id, place, &mut kept);
        record::save_message(self.vault, self.id, place, &kept);
        if change.is_receipt() {
            let after = self::status(&kept);
            applied.status.extend((after != status).then_some((place, after)));
        } else {
            applied.places.push(place);
        }
    }

    /// Makes a change of a message in memory. Returns whether anything is different.
    pub(super) fn make(&self, kept: &mut Kept, by: AccountId, change: &Change) -> bool {
        if !change.allowed(by, kept.author, kept.own) || matches!(kept.body, Body::Line { .. }) {
            return false;
        }
        let unsent = matches!(kept.body, Body::Unsent);
        match change {
            Change::Edit { body, version } => !unsent && edit(kept, body, *version),
            Change::Unsend if unsent => false,
            Change::Unsend => {
                kept.body = Body::Unsent;
                kept.reply_to = None;
                kept.edited = None;
                kept.reactions = Default::default();
                true
            }
            Change::React { emoji, on, version } => {
                let reaction =
                    Reaction { author: by, emoji: emoji.clone(), on: *on, version: *version };
                !unsent && kept.react(reaction)
            }
            Change::Delivered | Change::Read => {
                let Some(progress) = &mut kept.progress else { return false };
                let audience = record::audience(self.vault, self.id, progress.audience);
                count(progress, &audience, by, *change == Change::Read)
            }
            Change::Seen { .. } if kept.own || kept.read_at.is_some() => false,
            Change::Seen { at } => {
                kept.read_at = Some(*at);
                true
            }
            // The caller deletes it.
            Change::Forget => false,
        }
    }
}

fn edit(kept: &mut Kept, text: &Text<TEXT_BYTES_MAX>, version: Version) -> bool {
    if kept.edited.is_some_and(|before| before >= version) {
        return false;
    }
    match &mut kept.body {
        Body::Text { body } => *body = text.clone(),
        Body::File { caption, .. } => match Text::new(text.to_string()) {
            Ok(text) => *caption = text,
            Err(_) => return false,
        },
        Body::Unsent | Body::Line { .. } => return false,
    }
    kept.edited = Some(version);
    true
}

fn count(progress: &mut Progress, audience: &[AccountId], by: AccountId, read: bool) -> bool {
    let Ok(index) = audience.binary_search(&by) else { return false };
    if read { progress.read.add(index) } else { progress.delivered.add(index) }
}

pub(super) fn status(kept: &Kept) -> Status {
    kept.progress.as_ref().map(|progress| progress.status()).unwrap_or_default()
}
