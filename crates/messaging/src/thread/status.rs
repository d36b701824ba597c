//! How far own messages have come.

use session_core::{Blob, Decode as _, Encode as _, Reader, Time, record};

use super::change;
use super::record::{self, Found, Kept};
use super::{Body, Status, ThreadId};
use crate::messenger::api::Stored;
use crate::say::SayId;
use crate::vault::{self, Table, Vault};

/// Longest proof of one item: a swarm of the largest size, every member's signature and path.
const PROOF_BYTES_MAX: usize = 1024 * 1024;

record! {
    /// What a swarm promised of one item.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Promise {
        good: u16,
        needed: u16,
        of: u16,
        expiry: Time,
    }

    struct Proven {
        promise: Promise,
        proof: Blob<PROOF_BYTES_MAX>,
    }
}

/// An own message was handed to the outbox as so many items (more, if it was before).
pub fn sent(vault: &mut dyn Vault, thread: ThreadId, id: SayId, items: u32) {
    let Some((place, mut kept)) = own(vault, thread, id) else { return };
    if let Some(progress) = &mut kept.progress {
        progress.items = progress.items.saturating_add(items);
        record::save_message(vault, thread, place, &kept);
    }
}

/// An own message is sealed anew: what was promised of its items before says nothing any more.
pub fn sealed_again(vault: &mut dyn Vault, thread: ThreadId, id: SayId) {
    let Some((place, mut kept)) = own(vault, thread, id) else { return };
    if let Some(progress) = &mut kept.progress {
        progress.items = 0;
        progress.stored = None;
        forget_proofs(vault, thread, id);
        record::save_message(vault, thread, place, &kept);
    }
}

/// A swarm stored an item of an own message; the item's id tells which. Returns place and status
/// if `id` is a message of ours and its status changed.
pub fn stored(
    vault: &mut dyn Vault,
    now: Time,
    thread: ThreadId,
    id: SayId,
    outcome: &Stored,
) -> Option<(u64, Status)> {
    let (place, mut kept) = own(vault, thread, id)?;
    let before = change::status(&kept);
    keep_proof(vault, thread, id, outcome);
    let promises = promises(vault, thread, id);
    let progress = kept.progress.as_mut()?;
    let whole = promises.len() >= progress.items.max(1) as usize;
    let weakest = promises.into_iter().min_by_key(|it| (it.good, u16::MAX - it.needed));
    if let Some(weakest) = weakest.filter(|_| whole) {
        (progress.good, progress.needed, progress.of) = (weakest.good, weakest.needed, weakest.of);
        if weakest.good >= weakest.needed {
            progress.stored.get_or_insert(now);
            progress.failed = false;
        }
    }
    let after = change::status(&kept);
    record::save_message(vault, thread, place, &kept);
    (after != before).then_some((place, after))
}

/// An own message was given up before all of it was stored.
pub fn failed(vault: &mut dyn Vault, thread: ThreadId, id: SayId) -> Option<(u64, Status)> {
    let (place, mut kept) = own(vault, thread, id)?;
    let progress = kept.progress.as_mut()?;
    if progress.failed || progress.stored.is_some() {
        return None;
    }
    progress.failed = true;
    record::save_message(vault, thread, place, &kept);
    Some((place, change::status(&kept)))
}

/// Returns whether an own message is still to be read by others: it is here, was not taken back, and
/// its time is not over.
pub(crate) fn is_said(vault: &dyn Vault, now: Time, thread: ThreadId, id: SayId) -> bool {
    own(vault, thread, id).is_some_and(|(_, kept)| {
        !matches!(kept.body, Body::Unsent) && kept.expires.is_none_or(|at| at > now)
    })
}

/// Returns the proofs that the items of an own message are stored, until they expire.
#[must_use]
pub fn proof(vault: &dyn Vault, thread: ThreadId, id: SayId) -> Vec<Vec<u8>> {
    let all = vault::list::<Proven>(vault, &prefix(thread, id), &[], false, usize::MAX);
    all.into_iter().map(|(_, proven)| proven.proof.into_vec()).collect()
}

/// Returns a message of the own account.
fn own(vault: &dyn Vault, thread: ThreadId, id: SayId) -> Option<(u64, Kept)> {
    record::find_all(vault, thread, id).into_iter().find_map(|(_, found)| match found {
        Found::At { place } => {
            let kept = record::load_message(vault, thread, place)?;
            kept.own.then_some((place, kept))
        }
        Found::Gone { .. } => None,
    })
}

fn prefix(thread: ThreadId, id: SayId) -> Vec<u8> {
    Table::Proof.key(&[&thread.to_bytes(), &id.to_bytes()])
}

fn timer_key(at: Time, proof: &[u8]) -> Vec<u8> {
    Table::Timer.key(&[b"y", &at.to_bytes(), proof])
}

fn keep_proof(vault: &mut dyn Vault, thread: ThreadId, id: SayId, outcome: &Stored) {
    let Stored { item, expiry, good, needed, of, proof } = outcome;
    let mut key = prefix(thread, id);
    key.extend_from_slice(item.as_ref());
    let promise = Promise { good: *good, needed: *needed, of: *of, expiry: *expiry };
    if let Some(before) = vault.get(&key).and_then(|value| head(&value)) {
        if before.good >= promise.good {
            return;
        }
        vault.remove(&timer_key(before.expiry, &key));
    }
    // Larger than any swarm's: the fact is kept, not the bytes.
    let proof = Blob::new(proof.clone()).unwrap_or_default();
    vault::save(vault, &key, &Proven { promise, proof });
    vault.put(&timer_key(promise.expiry, &key), &[]);
}

fn head(value: &[u8]) -> Option<Promise> {
    Promise::decode(&mut Reader::new(value)).ok()
}

fn promises(vault: &dyn Vault, thread: ThreadId, id: SayId) -> Vec<Promise> {
    let mut found = Vec::new();
    vault.scan(&prefix(thread, id), &[], false, &mut |_, value| {
        found.extend(head(value));
        true
    });
    found
}

/// Removes the proofs of a message.
pub(super) fn forget_proofs(vault: &mut dyn Vault, thread: ThreadId, id: SayId) {
    let mut found = Vec::new();
    vault.scan(&prefix(thread, id), &[], false, &mut |key, value| {
        found.push((key.to_vec(), head(value)));
        true
    });
    for (key, promise) in found {
        vault.remove(&key);
        if let Some(promise) = promise {
            vault.remove(&timer_key(promise.expiry, &key));
        }
    }
}

/// Removes proofs of what no swarm keeps any more.
pub(super) fn expire_proofs(vault: &mut dyn Vault, now: Time, limit: usize) {
    let mut due = Vec::new();
    vault.scan(&Table::Timer.key(&[b"y"]), &[], false, &mut |key, _| {
        let at = proof_time(key);
        if at.is_some_and(|at| at <= now) {
            due.push(key.to_vec());
        }
        at.is_none_or(|at| at <= now) && due.len() < limit
    });
    for key in due {
        vault.remove(&key[10..]);
        vault.remove(&key);
    }
}

pub(super) fn next_proof_expiry(vault: &dyn Vault) -> Option<Time> {
    let mut first = None;
    vault.scan(&Table::Timer.key(&[b"y"]), &[], false, &mut |key, _| {
        first = proof_time(key);
        false
    });
    first
}

/// Returns the time from the key of a timer: table, kind, time, and the key of the proof.
fn proof_time(key: &[u8]) -> Option<Time> {
    let at = key.get(2..)?.first_chunk::<8>()?;
    (key.len() > 10).then_some(Time::from_millis(u64::from_be_bytes(*at)))
}
