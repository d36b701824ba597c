//! Messages that disappear or are forgotten.

use std::collections::BTreeMap;

use session_core::{AccountId, Time};

use super::change::{Change, Scene};
use super::record::{self, Found, Kept};
use super::{ThreadId, early, status};
use crate::say::SayId;
use crate::vault::{self, Table, Vault};

/// Messages that one call deletes, and proofs.
const AT_ONCE: usize = 256;

/// Deletes messages whose time has come, a bounded number at each call: ask [`next_expiry`]
/// afterwards. Returns what disappeared.
pub fn expire(vault: &mut dyn Vault, now: Time) -> Vec<(ThreadId, Vec<u64>)> {
    status::expire_proofs(vault, now, AT_ONCE);
    let mut due: BTreeMap<ThreadId, Vec<(Time, u64)>> = BTreeMap::new();
    for (at, thread, place) in timers(vault, AT_ONCE) {
        if at <= now {
            due.entry(thread).or_default().push((at, place));
        }
    }
    let mut gone = Vec::new();
    for (id, messages) in due {
        for (at, place) in &messages {
            vault.remove(&record::timer_key(*at, id, *place));
        }
        let Some(mut scene) = Scene::open(vault, now, id) else { continue };
        let mut places = Vec::new();
        for (at, place) in messages {
            let kept = record::load_message(scene.vault, id, place);
            if let Some(kept) = kept.filter(|kept| kept.expires == Some(at)) {
                delete(&mut scene, place, &kept);
                places.push(place);
            }
        }
        scene.close();
        places.sort_unstable();
        gone.push((id, places));
    }
    gone
}

/// Returns when [`expire`] has something to do next.
#[must_use]
pub fn next_expiry(vault: &dyn Vault) -> Option<Time> {
    let message = timers(vault, 1).first().map(|&(at, ..)| at);
    [message, status::next_proof_expiry(vault)].into_iter().flatten().min()
}

/// Returns the first messages that disappear.
fn timers(vault: &dyn Vault, limit: usize) -> Vec<(Time, ThreadId, u64)> {
    let mut found = Vec::new();
    vault.scan(&Table::Timer.key(&[b"x"]), &[], false, &mut |key, _| {
        found.extend(record::timer_of(key));
        found.len() < limit
    });
    found
}

/// Forgets messages, also those that have not arrived yet. Returns the places that became empty.
pub fn forget(vault: &mut dyn Vault, now: Time, thread: ThreadId, ids: &[SayId]) -> Vec<u64> {
    let Some(mut scene) = Scene::open(vault, now, thread) else { return Vec::new() };
    let applied = scene.alter(AccountId::default(), ids, &Change::Forget);
    scene.close();
    applied.places
}

/// Forgets everything in a thread. Returns the names of what was forgotten.
pub fn forget_all(vault: &mut dyn Vault, now: Time, thread: ThreadId) -> Vec<SayId> {
    let Some(mut scene) = Scene::open(vault, now, thread) else { return Vec::new() };
    let prefix = record::messages_prefix(thread);
    let mut forgotten = Vec::new();
    loop {
        let all = vault::list::<Kept>(scene.vault, &prefix, &[], false, AT_ONCE);
        if all.is_empty() {
            break;
        }
        for (key, kept) in all {
            let (_, place) = record::place_of(&key).expect("only messages have such keys");
            delete(&mut scene, place, &kept);
            if kept.id != SayId::default() {
                forgotten.push(kept.id);
            }
        }
    }
    record::forget_lines(scene.vault, thread, scene.thread.last);
    early::clear(&mut scene);
    scene.thread.unread = 0;
    scene.thread.seen = scene.thread.last;
    scene.close();
    forgotten
}

/// Deletes a message and everything about it, and remembers that it is gone.
pub(super) fn delete(scene: &mut Scene<'_>, place: u64, kept: &Kept) {
    let id = scene.id;
    scene.vault.remove(&record::message_key(id, place));
    if let Some(at) = kept.expires {
        scene.vault.remove(&record::timer_key(at, id, place));
    }
    if kept.id != SayId::default() {
        let gone = Found::Gone { at: scene.now };
        vault::save(scene.vault, &record::index_key(id, kept.id, kept.author), &gone);
    }
    if kept.own {
        status::forget_proofs(scene.vault, id, kept.id);
    }
    if kept.is_unread() {
        scene.thread.unread = scene.thread.unread.saturating_sub(1);
    }
}
