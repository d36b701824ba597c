//! Receipts that wait for company: they tell when somebody looked, so they go late and together.

use session_core::{AccountId, Encode as _, List, Time, record};

use crate::say::{GroupId, RECEIPT_IDS_MAX, Say, SayId};
use crate::vault::{self, Table, Vault};

/// Receipts that wait at once; more are not sent at all.
const WAITING_MAX: usize = 10_000;

record! {
    /// A receipt that waits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Due {
        /// Where the message came from.
        group: GroupId,
        /// Who said it.
        author: AccountId,
        id: SayId,
        /// Whether it says that the message was read, and not only that it arrived.
        read: bool,
    }
}

fn prefix() -> Vec<u8> {
    Table::Pending.key(&[b"r"])
}

fn due_key() -> Vec<u8> {
    Table::Timer.key(&[b"m/receipts"])
}

/// Notes that receipts are due, at `at` unless some are due earlier.
pub(super) fn note(
    vault: &mut dyn Vault,
    at: Time,
    group: GroupId,
    ids: &[(SayId, AccountId)],
    read: bool,
) {
    let mut count = 0;
    vault.scan(&prefix(), &[], false, &mut |_, _| {
        count += 1;
        count < WAITING_MAX
    });
    for (id, author) in ids.iter().take(WAITING_MAX.saturating_sub(count)) {
        let due = Due { group, author: *author, id: *id, read };
        let key = [prefix(), group.bytes.to_vec(), id.to_bytes(), vec![u8::from(read)]].concat();
        vault::save(vault, &key, &due);
    }
    if !ids.is_empty() && deadline(vault).is_none_or(|due| at < due) {
        vault::save(vault, &due_key(), &at);
    }
}

/// Returns when receipts are due.
pub(super) fn deadline(vault: &dyn Vault) -> Option<Time> {
    vault::load(vault, &due_key())
}

/// Takes what waits: what is to be said in which group.
pub(super) fn take(vault: &mut dyn Vault) -> Vec<(GroupId, Say)> {
    let found = vault::list::<Due>(vault, &prefix(), &[], false, WAITING_MAX);
    vault.remove(&due_key());
    let mut out: Vec<(GroupId, bool, Vec<SayId>)> = Vec::new();
    for (key, due) in found {
        vault.remove(&key);
        let same = out.iter_mut().find(|(group, read, ids)| {
            *group == due.group && *read == due.read && ids.len() < RECEIPT_IDS_MAX
        });
        match same {
            Some((_, _, ids)) => ids.push(due.id),
            None => out.push((due.group, due.read, vec![due.id])),
        }
    }
    let say = |read: bool, ids: Vec<SayId>| {
        let ids = List::new(ids).expect("no more than a receipt holds were collected");
        if read { Say::Read { ids } } else { Say::Delivered { ids } }
    };
    out.into_iter().map(|(group, read, ids)| (group, say(read, ids))).collect()
}
