//! Pages of messages, and what has been read.

use session_core::{AccountId, Decode as _, Time};

use super::change::{Change, Scene};
use super::record::{self, Found, Kept};
use super::{Message, ThreadId};
use crate::say::SayId;
use crate::vault::{self, Vault};

/// Returns the last `limit` messages before a place (or the newest), oldest first.
#[must_use]
pub fn messages(
    vault: &dyn Vault,
    thread: ThreadId,
    before: Option<u64>,
    limit: usize,
) -> Vec<Message> {
    let from = match before {
        None => Vec::new(),
        Some(0) => return Vec::new(),
        Some(before) => record::message_key(thread, before - 1),
    };
    let prefix = record::messages_prefix(thread);
    let found = vault::list::<Kept>(vault, &prefix, &from, true, limit);
    let shown = found.into_iter().rev();
    shown.filter_map(|(key, kept)| Some(kept.show(record::place_of(&key)?.1))).collect()
}

/// Returns the message at a place.
#[must_use]
pub fn message(vault: &dyn Vault, thread: ThreadId, place: u64) -> Option<Message> {
    record::load_message(vault, thread, place).map(|kept| kept.show(place))
}

/// Returns the message with a name; one of them, if several authors chose the same.
#[must_use]
pub fn by_id(vault: &dyn Vault, thread: ThreadId, id: SayId) -> Option<Message> {
    record::find_all(vault, thread, id).into_iter().find_map(|(_, found)| match found {
        Found::At { place } => message(vault, thread, place),
        Found::Gone { .. } => None,
    })
}

/// Returns what others said behind a place and nobody has looked at, the oldest first, at most
/// `limit` messages. Whoever wants all of it goes on behind the last one.
#[must_use]
pub fn unread(vault: &dyn Vault, thread: ThreadId, after: u64, limit: usize) -> Vec<Message> {
    let Some(it) = record::load_thread(vault, thread).filter(|it| it.unread > 0) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let from = record::message_key(thread, it.seen.max(after).saturating_add(1));
    vault.scan(&record::messages_prefix(thread), &from, false, &mut |key, value| {
        if found.len() == limit {
            return false;
        }
        if let Some((_, place)) = record::place_of(key)
            && let Ok(kept) = Kept::decode_exact(value)
            && kept.is_unread()
        {
            found.push(kept.show(place));
        }
        true
    });
    found
}

/// Everything up to a place has been looked at. Returns what was not read before and who said it,
/// for read receipts.
pub fn mark_read(
    vault: &mut dyn Vault,
    now: Time,
    thread: ThreadId,
    up_to: u64,
) -> Vec<(SayId, AccountId)> {
    let Some(mut scene) = Scene::open(vault, now, thread) else { return Vec::new() };
    let up_to = up_to.min(scene.thread.last);
    if up_to <= scene.thread.seen {
        return Vec::new();
    }
    let mut read = Vec::new();
    if scene.thread.unread > 0 {
        for (place, mut kept) in unseen(scene.vault, thread, scene.thread.seen, up_to) {
            if kept.is_unread() {
                scene.thread.unread = scene.thread.unread.saturating_sub(1);
                read.push((kept.id, kept.author));
            }
            kept.read_at = Some(now);
            record::set_expiry(scene.vault, thread, place, &mut kept);
            record::save_message(scene.vault, thread, place, &kept);
        }
    }
    scene.thread.seen = up_to;
    scene.close();
    read
}

/// Returns what others said behind one place and up to another, and was never looked at.
fn unseen(vault: &dyn Vault, thread: ThreadId, seen: u64, up_to: u64) -> Vec<(u64, Kept)> {
    let mut found = Vec::new();
    let from = record::message_key(thread, seen.saturating_add(1));
    vault.scan(&record::messages_prefix(thread), &from, false, &mut |key, value| {
        let Some((_, place)) = record::place_of(key).filter(|(_, place)| *place <= up_to) else {
            return false;
        };
        if let Ok(kept) = Kept::decode_exact(value)
            && kept.may_be_read()
        {
            found.push((place, kept));
        }
        true
    });
    found
}

/// Another own device has read messages, also such as have not arrived here yet. Returns the
/// places that changed.
pub fn read_elsewhere(
    vault: &mut dyn Vault,
    now: Time,
    thread: ThreadId,
    ids: &[SayId],
) -> Vec<u64> {
    let Some(mut scene) = Scene::open(vault, now, thread) else { return Vec::new() };
    let applied = scene.alter(AccountId::default(), ids, &Change::Seen { at: now });
    scene.close();
    applied.places
}
