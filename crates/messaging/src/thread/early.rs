//! What is said of messages that have not arrived yet: kept, within bounds, until they do.

use session_core::{AccountId, Encode as _, List, record};

use super::ThreadId;
use super::change::{Change, Scene};
use crate::say::SayId;
use crate::vault::{self, Table};

/// Changes that wait for one message.
const AT_ONE_MAX: usize = 1024;

/// Messages that the changes of one account in one thread wait for; those of the own account, of
/// which every device tells the others what it read, may be more. The oldest give way.
const EACH_MAX: usize = 256;
const OWN_MAX: usize = 4096;

record! {
    /// A change that waits.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Waiting {
        by: AccountId,
        change: Change,
    }
}

impl Waiting {
    fn shares_queue(&self, other: &Self) -> bool {
        self.by == other.by && self.change.is_receipt() == other.change.is_receipt()
    }
}

type AtOne = List<Waiting, AT_ONE_MAX>;
type Queue = List<SayId, OWN_MAX>;

fn key(thread: ThreadId, of: SayId) -> Vec<u8> {
    Table::Thread.key(&[b"e", &thread.to_bytes(), &of.to_bytes()])
}

/// Receipts have a queue of their own: they name many messages, and must not displace the rest.
fn queue_key(thread: ThreadId, by: AccountId, receipts: bool) -> Vec<u8> {
    let class: &[u8] = if receipts { b"r" } else { b"c" };
    Table::Thread.key(&[b"q", &thread.to_bytes(), class, by.as_ref()])
}

/// Keeps a change until the messages arrive that it is about.
pub(super) fn keep(scene: &mut Scene<'_>, by: AccountId, of: &[SayId], change: &Change) {
    let own = matches!(change, Change::Seen { .. } | Change::Forget);
    let by = if own { AccountId::default() } else { by };
    let queue_key = queue_key(scene.id, by, change.is_receipt());
    let mut queue = load_queue(scene, &queue_key);
    for id in of {
        let key = key(scene.id, *id);
        let before = load(scene, &key);
        let mut all = before.clone();
        if !add(&mut all, Waiting { by, change: change.clone() }) {
            continue;
        }
        if !queue.contains(id) {
            queue.push(*id);
        }
        for void in before.iter().filter(|void| !all.iter().any(|it| it.shares_queue(void))) {
            unqueue(scene, void, *id);
        }
        let early = scene.thread.early.saturating_add(count(all.len()));
        scene.thread.early = early.saturating_sub(count(before.len()));
        let all = AtOne::new(all).expect("it grows only below its limit");
        vault::save(scene.vault, &key, &all);
    }
    let over = queue.len().saturating_sub(if own { OWN_MAX } else { EACH_MAX });
    for id in queue.drain(..over) {
        give_up(scene, by, id, change.is_receipt());
    }
    save_queue(scene, &queue_key, queue);
}

/// Adds a change to those that wait for the same message, unless another makes it void. Returns
/// whether anything is different.
fn add(all: &mut Vec<Waiting>, new: Waiting) -> bool {
    if all.iter().any(|it| it.change == Change::Forget || *it == new) {
        return false;
    }
    let by = new.by;
    match &new.change {
        Change::Forget => all.clear(),
        Change::Unsend => all.retain(|it| it.by != by || !it.change.of_author()),
        Change::Edit { version, .. } => {
            let newer = |it: &Waiting| match &it.change {
                Change::Edit { version: other, .. } => it.by == by && other >= version,
                other => it.by == by && *other == Change::Unsend,
            };
            if all.iter().any(newer) {
                return false;
            }
            all.retain(|it| it.by != by || !it.change.of_author());
        }
        Change::React { emoji, version, .. } => {
            let same = |it: &Waiting| match &it.change {
                Change::React { emoji: other, version, .. } if it.by == by && other == emoji => {
                    Some(*version)
                }
                _ => None,
            };
            if all.iter().filter_map(same).any(|other| other >= *version) {
                return false;
            }
            all.retain(|it| same(it).is_none());
        }
        Change::Seen { .. } => {
            if all.iter().any(|it| matches!(it.change, Change::Seen { .. })) {
                return false;
            }
        }
        Change::Delivered | Change::Read => {}
    }
    let room = all.len() < AT_ONE_MAX;
    if room {
        all.push(new);
    }
    room
}

/// Takes the changes of a message that arrives, and drops what can never apply to it. What other
/// authors say of messages of theirs with the same name stays.
pub(super) fn take(
    scene: &mut Scene<'_>,
    id: SayId,
    author: AccountId,
) -> Vec<(AccountId, Change)> {
    if scene.thread.early == 0 {
        return Vec::new();
    }
    let key = key(scene.id, id);
    let all = load(scene, &key);
    let (taken, left): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|it| it.by == author || !it.change.of_author());
    if taken.is_empty() {
        return Vec::new();
    }
    save_rest(scene, &key, taken.len(), left);
    taken.iter().for_each(|it| unqueue(scene, it, id));
    taken.into_iter().map(|it| (it.by, it.change)).collect()
}

/// Drops everything that waits in a thread.
pub(super) fn clear(scene: &mut Scene<'_>) {
    for table in [b"e", b"q"] {
        let prefix = Table::Thread.key(&[table, &scene.id.to_bytes()]);
        let mut keys = Vec::new();
        scene.vault.scan(&prefix, &[], false, &mut |key, _| {
            keys.push(key.to_vec());
            true
        });
        for key in keys {
            scene.vault.remove(&key);
        }
    }
    scene.thread.early = 0;
}

fn give_up(scene: &mut Scene<'_>, by: AccountId, id: SayId, receipts: bool) {
    let key = key(scene.id, id);
    let all = load(scene, &key);
    let (gone, left): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|it| it.by == by && it.change.is_receipt() == receipts);
    save_rest(scene, &key, gone.len(), left);
}

fn load(scene: &Scene<'_>, key: &[u8]) -> Vec<Waiting> {
    vault::load::<AtOne>(scene.vault, key).map(List::into_vec).unwrap_or_default()
}

fn save_rest(scene: &mut Scene<'_>, key: &[u8], taken: usize, left: Vec<Waiting>) {
    scene.thread.early = scene.thread.early.saturating_sub(count(taken));
    if left.is_empty() {
        scene.vault.remove(key);
    } else {
        let left = AtOne::new(left).expect("it is a part of what was within the limit");
        vault::save(scene.vault, key, &left);
    }
}

fn load_queue(scene: &Scene<'_>, key: &[u8]) -> Vec<SayId> {
    vault::load::<Queue>(scene.vault, key).unwrap_or_default().into_vec()
}

/// Strikes a message from the queue that a change of it was in.
fn unqueue(scene: &mut Scene<'_>, change: &Waiting, id: SayId) {
    let key = queue_key(scene.id, change.by, change.change.is_receipt());
    let mut queue = load_queue(scene, &key);
    queue.retain(|other| *other != id);
    save_queue(scene, &key, queue);
}

fn save_queue(scene: &mut Scene<'_>, key: &[u8], queue: Vec<SayId>) {
    if queue.is_empty() {
        scene.vault.remove(key);
    } else {
        let queue = Queue::new(queue).expect("it was drained to its limit");
        vault::save(scene.vault, key, &queue);
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
