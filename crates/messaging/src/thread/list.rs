//! Threads and their settings.

use core::cmp::Reverse;

use session_core::{Text, Time};

use super::change::Scene;
use super::record::{self, Kept, Thread, Version};
use super::{Preview, Summary, ThreadId, apply};
use crate::say::{Disappear, NAME_BYTES_MAX, Peer, SayId, Standing};
use crate::vault::{self, Table, Vault};

/// Returns the ids of all threads.
pub(crate) fn ids(vault: &dyn Vault) -> Vec<ThreadId> {
    let mut ids = Vec::new();
    vault.scan(&Table::Thread.key(&[b"t"]), &[], false, &mut |key, _| {
        ids.extend(record::thread_of_key(key));
        true
    });
    ids
}

/// Returns all threads, those with the latest activity first.
#[must_use]
pub fn threads(vault: &dyn Vault) -> Vec<Summary> {
    let all = vault::list::<Thread>(vault, &Table::Thread.key(&[b"t"]), &[], false, usize::MAX);
    let mut shown: Vec<_> = all
        .into_iter()
        .filter_map(|(key, thread)| Some(show(vault, record::thread_of_key(&key)?, thread)))
        .collect();
    shown.sort_by_key(|summary| (Reverse(summary.active), summary.id));
    shown
}

/// Returns the thread with a peer, if there is one.
#[must_use]
pub fn thread_of(vault: &dyn Vault, peer: &Peer) -> Option<ThreadId> {
    vault::load(vault, &record::peer_key(peer))
}

/// Returns the thread with a peer, made now if there was none. A new one is a request until
/// [`set_standing`] says otherwise.
pub fn open_thread(vault: &mut dyn Vault, peer: &Peer, now: Time) -> ThreadId {
    if let Some(thread) = thread_of(vault, peer) {
        return thread;
    }
    let number = u32::try_from(crate::counter(vault, b"thread"))
        .expect("a device does not live to see four thousand million threads");
    let thread = ThreadId { number };
    record::save_thread(vault, thread, &Thread::new(*peer, now));
    vault::save(vault, &record::peer_key(peer), &thread);
    thread
}

/// Returns what a list shows of a thread.
#[must_use]
pub fn summary(vault: &dyn Vault, thread: ThreadId) -> Option<Summary> {
    record::load_thread(vault, thread).map(|it| show(vault, thread, it))
}

/// Names a thread. A name over the limit is cut.
pub fn set_name(vault: &mut dyn Vault, thread: ThreadId, name: &str) {
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    let name = Text::new(&name[..end]).expect("cut to the limit above");
    update(vault, thread, |it| it.name = name);
}

/// Sets how a thread is treated.
pub fn set_standing(vault: &mut dyn Vault, thread: ThreadId, standing: Standing) {
    update(vault, thread, |it| it.standing = standing);
}

/// Sets whether new messages make no sound.
pub fn set_muted(vault: &mut dyn Vault, thread: ThreadId, muted: bool) {
    update(vault, thread, |it| it.muted = muted);
}

/// Sets how many accounts are in it.
pub fn set_members(vault: &mut dyn Vault, thread: ThreadId, members: u32) {
    update(vault, thread, |it| it.members = members);
}

/// Sets how messages that arrive from now on disappear. For direct conversations,
/// [`Say::Timer`](crate::say::Say::Timer) does it; groups agree on it elsewhere. Returns whether it
/// was different before.
pub fn set_disappear(vault: &mut dyn Vault, now: Time, thread: ThreadId, to: Disappear) -> bool {
    let Some(mut scene) = Scene::open(vault, now, thread) else { return false };
    let to = apply::bounded(to);
    let different = scene.thread.disappear() != to;
    if different {
        scene.set_timer(Version { at: now, by: SayId([0xFF; 16]) }, to, true);
        scene.close();
    }
    different
}

fn update(vault: &mut dyn Vault, thread: ThreadId, change: impl FnOnce(&mut Thread)) {
    let Some(before) = record::load_thread(vault, thread) else { return };
    let mut after = before.clone();
    change(&mut after);
    if after != before {
        record::save_thread(vault, thread, &after);
    }
}

fn show(vault: &dyn Vault, id: ThreadId, thread: Thread) -> Summary {
    let newest = vault::list::<Kept>(vault, &record::messages_prefix(id), &[], true, 1).pop();
    let last = newest.and_then(|(key, kept)| {
        let (_, place) = record::place_of(&key)?;
        let Kept { body, author, own, received_at: at, .. } = kept;
        Some(Preview { at, place, author, own, body })
    });
    Summary {
        id,
        peer: thread.peer,
        name: thread.name.to_string(),
        standing: thread.standing,
        unread: thread.unread,
        last,
        active: thread.active,
        disappear: thread.disappear(),
        muted: thread.muted,
        members: thread.members,
    }
}
