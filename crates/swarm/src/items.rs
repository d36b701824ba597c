//! The rules by which an item is taken, and how its expiry is found.
//!
//! An expiry must come out the same whatever order deposits and owner operations arrive in. So
//! three values are kept that each only move one way: the latest expiry any depositor asked for
//! (`base`), the latest extension (`floor`), the earliest shortening (`cap`). The item expires at
//! `min(cap, max(base, floor))`. The three are written down only for items that an owner touched.

use session_core::{Decode as _, Encode as _, InboxAddress, MessageId, Span, Time, record};
use session_protocol::inbox::{self, Policy};
use session_protocol::limits::{
    FORWARDED_CLOCK_TOLERANCE, INBOX_BYTES_MAX, INBOX_ITEMS_MAX, TTL_OWNER_MAX,
};
use session_protocol::peer::ReplicaItem;
use session_protocol::request::{Item, ItemBytes, Refusal};
use session_storage::{NewItem, Put, Store, StoreError, StoredItem, Table};

/// Starts the keys of [`Bounds`] in the table of single records.
const BOUNDS_PREFIX: u8 = b'e';

record! {
    /// What decides the expiry of an item that its owner touched.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Bounds {
        base: Time,
        floor: Time,
        cap: Time,
        /// How long to remember these bounds.
        until: Time,
    }
}

impl Bounds {
    const UNTOUCHED: Self =
        Self { base: Time::ZERO, floor: Time::ZERO, cap: Time::MAX, until: Time::ZERO };

    fn expiry(&self) -> Time {
        self.base.max(self.floor).min(self.cap)
    }

    fn key(address: &InboxAddress, id: &MessageId) -> Vec<u8> {
        [&[BOUNDS_PREFIX], address.as_ref(), id.as_ref()].concat()
    }

    fn read(
        store: &dyn Store,
        address: &InboxAddress,
        id: &MessageId,
    ) -> Result<Option<Self>, StoreError> {
        let value = store.record(Table::Meta, &Self::key(address, id))?;
        Ok(value.and_then(|value| Self::decode_exact(&value).ok()))
    }

    fn write(
        &self,
        store: &mut dyn Store,
        address: &InboxAddress,
        id: &MessageId,
    ) -> Result<(), StoreError> {
        store.put_record(Table::Meta, &Self::key(address, id), &self.to_bytes(), self.until)
    }
}

/// Returns how the keys of the bounds begin whose inbox is in a bucket.
pub(crate) fn bounds_of(bucket: u8) -> Vec<u8> {
    vec![BOUNDS_PREFIX, bucket]
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// New here.
    Stored { arrival: u64, expiry: Time },
    /// Here before.
    Duplicate { expiry: Time },
    /// The owner deleted it, or shortened its life to nothing.
    Deleted,
}

/// Translates a failure of the store.
pub(crate) fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full { .. } => Refusal::DiskFull,
        StoreError::TooLarge { field, got, limit } => {
            Refusal::too_large(field, *got as u64, *limit as u64)
        }
        other => Refusal::internal(&other.to_string()),
    }
}

/// Refuses an item that its namespace does not allow.
pub(crate) fn check_namespace(item: &ReplicaItem) -> Result<Policy, Refusal> {
    let namespace = item.namespace;
    let policy = inbox::policy(namespace).ok_or(Refusal::UnknownNamespace { namespace })?;
    if policy == Policy::Card && !inbox::is_card_of(&item.address, &item.data) {
        return Err(Refusal::bad_request("data", "not the identity card of the inbox's owner"));
    }
    if policy == Policy::Slot && inbox::slot_of(&item.data).is_none() {
        return Err(Refusal::bad_request("data", "shorter than the slot it starts with"));
    }
    Ok(policy)
}

/// Refuses a copy from another member that no client could have stored.
pub(crate) fn check_forwarded(item: &ReplicaItem, now: Time) -> Result<(), Refusal> {
    check_namespace(item)?;
    if item.timestamp > now + FORWARDED_CLOCK_TOLERANCE {
        return Err(Refusal::Clock {
            signed: item.timestamp,
            server_time: now,
            tolerance: FORWARDED_CLOCK_TOLERANCE,
        });
    }
    let max = TTL_OWNER_MAX + FORWARDED_CLOCK_TOLERANCE;
    if item.expiry <= now || item.expiry > now + max {
        return Err(Refusal::TtlOutOfRange {
            got: item.expiry.since(now),
            min: Span::from_millis(1),
            max,
        });
    }
    Ok(())
}

/// Stores an item, or prolongs the one that is there.
pub(crate) fn keep(
    store: &mut dyn Store,
    item: &ReplicaItem,
    id: &MessageId,
    now: Time,
) -> Result<Kept, Refusal> {
    let address = &item.address;
    if let Some(meta) = store.meta(address, id) {
        let expiry = prolong(store, item, id, meta.expiry).map_err(|error| refusal(&error))?;
        // Shortened into the past, but not purged yet.
        return Ok(if expiry <= now { Kept::Deleted } else { Kept::Duplicate { expiry } });
    }
    if store.tombstone(address, id).is_some() {
        return Ok(Kept::Deleted);
    }
    check_room(store, item)?;
    let mut expiry = item.expiry;
    if let Some(mut bounds) = Bounds::read(store, address, id).map_err(|error| refusal(&error))? {
        bounds.base = bounds.base.max(item.expiry);
        expiry = bounds.expiry();
        if expiry <= now {
            return Ok(Kept::Deleted);
        }
        bounds.write(store, address, id).map_err(|error| refusal(&error))?;
    }
    let new = NewItem {
        namespace: item.namespace,
        id: *id,
        timestamp: item.timestamp,
        expiry,
        data: &item.data,
    };
    match store.put_item(address, new).map_err(|error| refusal(&error))? {
        Put::Stored { arrival } => Ok(Kept::Stored { arrival, expiry }),
        Put::Duplicate { expiry, .. } => Ok(Kept::Duplicate { expiry }),
        Put::Deleted => Ok(Kept::Deleted),
    }
}

fn check_room(store: &dyn Store, item: &ReplicaItem) -> Result<(), Refusal> {
    let namespace = item.namespace;
    let policy = inbox::policy(namespace).ok_or(Refusal::UnknownNamespace { namespace })?;
    let (mut items, mut bytes) = (0, item.data.len() as u64);
    for namespace in inbox::room_of(policy) {
        let usage = store.inbox_usage(&item.address, *namespace);
        items += usage.items;
        bytes += usage.bytes;
    }
    let full = |field: &str, limit| Refusal::InboxFull {
        field: session_core::Text::new(field).unwrap_or_default(),
        limit,
    };
    if items >= INBOX_ITEMS_MAX {
        return Err(full("items", INBOX_ITEMS_MAX));
    }
    if bytes > INBOX_BYTES_MAX {
        return Err(full("bytes", INBOX_BYTES_MAX));
    }
    Ok(())
}

/// Raises the base of an item that is there; returns when it expires now.
fn prolong(
    store: &mut dyn Store,
    item: &ReplicaItem,
    id: &MessageId,
    held: Time,
) -> Result<Time, StoreError> {
    let address = &item.address;
    if item.expiry <= held {
        return Ok(held);
    }
    let expiry = match Bounds::read(store, address, id)? {
        None => item.expiry,
        Some(mut bounds) => {
            if item.expiry > bounds.base {
                bounds.base = item.expiry;
                bounds.write(store, address, id)?;
            }
            // Even with known bounds: a crash may have kept them and lost the expiry.
            bounds.expiry()
        }
    };
    if expiry != held {
        store.set_expiry(address, id, expiry)?;
    }
    Ok(expiry)
}

/// Which way an owner moves an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Not later than this.
    Cap(Time),
    /// Not earlier than this, unless capped.
    Floor(Time),
}

/// Moves the expiry of an item, there or yet to come; returns when it expires now, if it is there.
pub(crate) fn move_expiry(
    store: &mut dyn Store,
    address: &InboxAddress,
    id: &MessageId,
    by: Move,
    until: Time,
) -> Result<Option<Time>, StoreError> {
    let held = store.meta(address, id).map(|meta| meta.expiry);
    let known = Bounds::read(store, address, id)?;
    let mut bounds =
        known.unwrap_or(Bounds { base: held.unwrap_or(Time::ZERO), ..Bounds::UNTOUCHED });
    match by {
        Move::Cap(cap) => bounds.cap = bounds.cap.min(cap),
        Move::Floor(floor) => bounds.floor = bounds.floor.max(floor),
    }
    bounds.until = bounds.until.max(until);
    if known != Some(bounds) {
        bounds.write(store, address, id)?;
    }
    let Some(held) = held else { return Ok(None) };
    let expiry = bounds.expiry();
    if expiry != held {
        store.set_expiry(address, id, expiry)?;
    }
    Ok(Some(expiry))
}

/// Returns a stored item as clients see it; `None` for bytes that no client may store.
pub(crate) fn shown(stored: StoredItem) -> Option<Item> {
    let meta = stored.meta;
    Some(Item {
        id: meta.id,
        namespace: meta.namespace,
        timestamp: meta.timestamp,
        expiry: meta.expiry,
        arrival: meta.arrival,
        data: ItemBytes::new(stored.data).ok()?,
    })
}

#[cfg(test)]
mod tests;
