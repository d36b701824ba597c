//! The conversations in memory: a slab, an index by id, and the orders in which they are found.

use std::collections::BTreeSet;
use std::ops::Bound;

use session_core::{AccountId, ChannelId, ConversationId, Time};

use super::people::PersonNumber;

/// The place of a conversation in memory; given anew once it is forgotten.
pub(super) type Slot = u32;

const EMPTY: Slot = Slot::MAX;
/// The index is at most three quarters full: probes stay short.
const LOAD: (usize, usize) = (3, 4);
const INDEX_MIN: usize = 16;

/// How far a participant has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Only its ML-KEM key is known.
    Invited,
    /// Whoever made the conversation gave the signing key, and it belongs to the account.
    Proved,
    /// It has signed something in this conversation.
    Accepted,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) person: PersonNumber,
    pub(super) standing: Standing,
    /// The counter of its next message.
    pub(super) counter: u64,
}

/// What few conversations have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) channel: Option<ChannelId>,
    pub(super) metadata: Vec<(Box<str>, Box<str>)>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: ConversationId,
    pub(super) created: Time,
    pub(super) expires: Time,
    /// When it is forgotten.
    pub(super) keep_until: Time,
    pub(super) closed: Option<Time>,
    /// The sequence number of the next message.
    pub(super) next: u64,
    /// No message before this one is held.
    pub(super) first: u64,
    /// When the latest message expires; none expires later than the one after it.
    pub(super) last_expiry: Time,
    pub(super) members: Box<[Member]>,
    pub(super) extras: Option<Box<Extras>>,
    /// Participants that are only invited.
    pub(super) invited: u16,
    pub(super) compat: bool,
    /// Whether a checkpoint is due.
    pub(super) dirty: bool,
    /// Whether its expiry was told.
    pub(super) told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    slab: Vec<Option<Entry>>,
    free: Vec<Slot>,
    /// Open addressing by the first bytes of the id. Ids are digests over our own entropy:
    /// nobody can choose them to collide.
    index: Vec<Slot>,
    /// By the first bytes of the participant's id; who it really is, the entry tells.
    by_account: BTreeSet<(u64, Slot)>,
    /// When something of a conversation is due: its expiry, then its end.
    due: BTreeSet<(Time, Slot)>,
    used: usize,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn slot(&self, id: &ConversationId) -> Option<Slot> {
        self.index.get(self.position(id)?).copied()
    }

    pub(super) fn at(&self, slot: Slot) -> Option<&Entry> {
        self.slab.get(slot as usize)?.as_ref()
    }

    pub(super) fn entry(&self, slot: Slot) -> &Entry {
        self.at(slot).expect("slots come from the index, which has only living ones")
    }

    pub(super) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.slab[slot as usize]
            .as_mut()
            .expect("slots come from the index, which has only living ones")
    }

    /// Adds a conversation that is not there yet.
    pub(super) fn insert(
        &mut self,
        entry: Entry,
        due: Time,
        accounts: impl Iterator<Item = AccountId>,
    ) -> Slot {
        if (self.used + 1) * LOAD.1 > self.index.len() * LOAD.0 {
            self.grow();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            Slot::try_from(self.slab.len() - 1).expect("the limit of conversations is below 2^32")
        });
        place(&mut self.index, &entry.id, slot);
        self.due.insert((due, slot));
        self.by_account.extend(accounts.map(|account| (head(account.as_bytes()), slot)));
        self.slab[slot as usize] = Some(entry);
        self.used += 1;
        slot
    }

    /// Takes a conversation out; `due` is what it waited for.
    pub(super) fn remove(
        &mut self,
        slot: Slot,
        due: Time,
        accounts: impl Iterator<Item = AccountId>,
    ) -> Option<Entry> {
        let position = self.position(&self.at(slot)?.id)?;
        self.vacate(position);
        let entry = self.slab[slot as usize].take()?;
        self.due.remove(&(due, slot));
        for account in accounts {
            self.by_account.remove(&(head(account.as_bytes()), slot));
        }
        self.free.push(slot);
        self.used -= 1;
        Some(entry)
    }

    pub(super) fn first_due(&self) -> Option<(Time, Slot)> {
        self.due.first().copied()
    }

    pub(super) fn postpone(&mut self, slot: Slot, from: Time, to: Time) {
        self.due.remove(&(from, slot));
        self.due.insert((to, slot));
    }

    /// Visits conversations after a slot in their order, of one account if given.
    pub(super) fn after(
        &self,
        after: Option<Slot>,
        account: Option<&AccountId>,
    ) -> Box<dyn Iterator<Item = Slot> + '_> {
        let Some(account) = account else {
            let start = after.map_or(0, |slot| slot as usize + 1);
            let last = Slot::try_from(self.slab.len()).unwrap_or(EMPTY);
            let start = Slot::try_from(start).unwrap_or(last);
            return Box::new((start..last).filter(|slot| self.at(*slot).is_some()));
        };
        let head = head(account.as_bytes());
        let start = match after {
            Some(slot) => Bound::Excluded((head, slot)),
            None => Bound::Included((head, 0)),
        };
        let range = self.by_account.range((start, Bound::Included((head, Slot::MAX))));
        Box::new(range.map(|(_, slot)| *slot))
    }

    fn position(&self, id: &ConversationId) -> Option<usize> {
        let mask = self.index.len().checked_sub(1)?;
        let mut at = home(id, mask);
        loop {
            match self.index[at] {
                EMPTY => return None,
                slot if self.slab[slot as usize].as_ref().is_some_and(|entry| entry.id == *id) => {
                    return Some(at);
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let mut index = vec![EMPTY; (self.index.len() * 2).max(INDEX_MIN)];
        for (slot, entry) in (0..).zip(&self.slab) {
            if let Some(entry) = entry {
                place(&mut index, &entry.id, slot);
            }
        }
        self.index = index;
    }

    /// Empties a position and moves later ones of the same run up, so that no probe stops early.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.index.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.index[at];
            let Some(entry) = (slot != EMPTY).then(|| self.slab[slot as usize].as_ref()).flatten()
            else {
                break;
            };
            // One that lies between its home and here, with the hole in between, may move.
            let distance = at.wrapping_sub(home(&entry.id, mask)) & mask;
            if distance >= (at.wrapping_sub(hole) & mask) {
                self.index[hole] = slot;
                hole = at;
            }
        }
        self.index[hole] = EMPTY;
    }
}

fn place(index: &mut [Slot], id: &ConversationId, slot: Slot) {
    let mask = index.len() - 1;
    let mut at = home(id, mask);
    while index[at] != EMPTY {
        at = (at + 1) & mask;
    }
    index[at] = slot;
}

fn home(id: &ConversationId, mask: usize) -> usize {
    // Only the low bits count: cutting the number on a 32-bit machine loses nothing.
    head(id.as_bytes()) as usize & mask
}

fn head(id: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
