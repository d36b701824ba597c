//! Messages of another time or device, put where they belong.

use session_core::{AccountId, Time};

use super::change::Scene;
use super::record::{self, Found, Kept};
use super::{Body, ThreadId};
use crate::say::SayId;
use crate::vault::Vault;

/// What became of a message that was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    /// It is there now.
    New,
    /// It was there.
    Known,
    /// It was deleted, or its time is over.
    Gone,
}

/// Adds a message with everything that is known of it, unless it is known or deleted here.
pub(crate) fn import(
    vault: &mut dyn Vault,
    now: Time,
    thread: ThreadId,
    place: u64,
    mut kept: Kept,
) -> Imported {
    let Some(mut scene) = Scene::open(vault, now, thread) else { return Imported::Gone };
    if kept.id == SayId::default() {
        // Only lines have no name.
        let is_line = matches!(kept.body, Body::Line { .. });
        return if is_line { line(scene, place, &kept) } else { Imported::Gone };
    }
    match record::find(scene.vault, thread, kept.id, kept.author) {
        Some(Found::At { .. }) => return Imported::Known,
        Some(Found::Gone { .. }) => return Imported::Gone,
        None => {}
    }
    if place <= scene.thread.seen && kept.may_be_read() {
        kept.read_at = Some(now);
    }
    let arrived = scene.arrive(kept, Some(place));
    scene.close();
    if arrived.is_some() { Imported::New } else { Imported::Gone }
}

/// A line has no name: it is known by its place and words.
fn line(mut scene: Scene<'_>, mut place: u64, kept: &Kept) -> Imported {
    if record::lines_gone(scene.vault, scene.id).is_some_and(|gone| place <= gone) {
        return Imported::Gone;
    }
    while let Some(there) = record::load_message(scene.vault, scene.id, place) {
        if matches!(there.body, Body::Line { .. }) && there == *kept {
            return Imported::Known;
        }
        place = place.saturating_add(1);
    }
    record::save_message(scene.vault, scene.id, place, kept);
    scene.thread.last = scene.thread.last.max(place);
    scene.thread.active = scene.thread.active.max(kept.received_at);
    scene.close();
    Imported::New
}

/// Returns the number that an audience has here.
pub(crate) fn import_audience(
    vault: &mut dyn Vault,
    id: ThreadId,
    author: AccountId,
    accounts: &[AccountId],
) -> u32 {
    let Some(mut thread) = record::load_thread(vault, id) else { return 0 };
    let (number, _) = record::keep_audience(vault, id, &mut thread, author, accounts);
    record::save_thread(vault, id, &thread);
    number
}
