//! What a node keeps, for comparison with another one.

use std::collections::BTreeSet;

use session_core::{InboxAddress, MessageId, Time};
use session_storage::{Store, Table};

use crate::disk::Disk;

/// Live items with their expiries, and the operations of owners.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    items: BTreeSet<(InboxAddress, MessageId, Time)>,
    operations: BTreeSet<Vec<u8>>,
}

impl Set {
    /// Says how another set differs.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let items = |one: &Self, other: &Self| one.items.difference(&other.items).count();
        let operations =
            |one: &Self, other: &Self| one.operations.difference(&other.operations).count();
        let example = self.items.symmetric_difference(&other.items).next();
        format!(
            "{} items and {} operations more, {} items and {} operations less; for example {example:?}",
            items(self, other),
            operations(self, other),
            items(other, self),
            operations(other, self),
        )
    }
}

/// Returns what a disk keeps at a time.
pub(crate) fn of(disk: &Disk, now: Time) -> Set {
    let mut set = Set::default();
    let all = InboxAddress::from([0; 32])..=InboxAddress::from([0xff; 32]);
    disk.scan(all, &mut |address, meta| {
        if meta.expiry > now {
            set.items.insert((*address, meta.id, meta.expiry));
        }
    });
    set.operations.extend(disk.records(Table::Operation, &[]).into_iter().map(|(key, _)| key));
    set
}
