//! The groups that were used last, as the library holds them in memory.
//!
//! To read a group of 250 devices from the vault takes a tenth of a second, so those used last stay
//! here. The vault alone counts: a group serves only while the vault shows the
//! [stamp](super::store::stamp) with which it was put away. After a transaction that was dropped,
//! with a vault that was put back, or with another vault, the stamps differ, and the group is read
//! anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openmls::group::{MlsGroup, StagedCommit};
use session_core::Digest;

use super::Summary;
use super::store::Changes;
use crate::say::GroupId;

/// Groups that stay at most.
const GROUPS_MAX: usize = 64;

/// Leaves that these groups have together at most, if there are several. In memory a leaf takes
/// about 17 KB, those of past epochs included.
const LEAVES_MAX: usize = 1024;

/// A group in memory.
pub(super) struct Loaded {
    pub(super) group: MlsGroup,
    /// Present if a commit was processed: the group then is ahead of the vault, and serves only to
    /// accept that commit.
    pub(super) ahead: Option<Ahead>,
}

/// A commit that was processed, and may be accepted.
pub(super) struct Ahead {
    pub(super) message: Vec<u8>,
    pub(super) summary: Summary,
    pub(super) staged: Box<StagedCommit>,
    /// What processing it changed, to be written with what accepting it changes.
    pub(super) changes: Changes,
}

struct Entry {
    id: GroupId,
    stamp: Digest,
    leaves: usize,
    loaded: Loaded,
}

/// The groups, the one used last at the end.
#[derive(Default)]
pub(super) struct Cache {
    entries: Mutex<Vec<Entry>>,
}

impl Cache {
    pub(super) const fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()) }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Entries are added and removed whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a group out, if it is what the vault holds. Whatever it is, it is here no longer.
    pub(super) fn take(&self, id: &GroupId, stamp: Option<&Digest>) -> Option<Loaded> {
        let mut entries = self.entries();
        let at = entries.iter().position(|it| it.id == *id)?;
        let entry = entries.remove(at);
        (Some(&entry.stamp) == stamp).then_some(entry.loaded)
    }

    /// Puts a group away, which the vault holds under a stamp.
    pub(super) fn put(&self, id: &GroupId, stamp: Digest, loaded: Loaded) {
        let leaves = loaded.group.treesync().full_leaves().count();
        let mut entries = self.entries();
        entries.retain(|it| it.id != *id);
        entries.push(Entry { id: *id, stamp, leaves, loaded });
        let many = |entries: &[Entry]| {
            let leaves: usize = entries.iter().map(|it| it.leaves).sum();
            entries.len() > GROUPS_MAX || leaves > LEAVES_MAX
        };
        while entries.len() > 1 && many(&entries) {
            entries.remove(0);
        }
    }

    /// Drops a group.
    pub(super) fn drop(&self, id: &GroupId) {
        self.entries().retain(|it| it.id != *id);
    }
}

#[cfg(test)]
mod tests;
