//! The elements of a bucket, and their names inside one session.
//!
//! A name is a keyed BLAKE3 hash whose first byte is 0 for an operation and 1 for an item, so in
//! the order of the names operations come first. The key mixes random halves of both sides: nobody
//! can prepare elements whose additive fingerprints collide, as negentropy's could.

use std::collections::{BTreeMap, BTreeSet};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use session_core::{Decode as _, Digest, Domain, Encode as _, InboxAddress, Time};
use session_crypto::hash::{StreamHash, SymmetricKey, kdf, mac};
use session_protocol::inbox;
use session_protocol::limits::{REPLICA_BYTES_TARGET, REPLICA_ITEMS_MAX};
use session_protocol::membership::NetworkId;
use session_protocol::owner::OwnerOperation;
use session_protocol::peer::{Element, ItemKey, ReplicaItem, RingRange};
use session_protocol::request::ItemBytes;
use session_storage::{Store, Table};

use crate::operations::record_key;
use crate::view::place_of;

/// The name of an element in one session.
pub(super) type Name = [u8; 32];

/// Bytes of a comparison message: two of them and everything else fit any queue.
const COMPARISON_BYTES: u64 = 128 * 1024;

const OPERATION: u8 = 0;
const ITEM: u8 = 1;

/// Bytes that an operation is counted with: keys and signature make up most of it.
const OPERATION_BYTES: usize = 8 * 1024;

/// Where an element is found.
#[derive(Clone, Debug)]
enum Place {
    /// The key of the operation's record.
    Operation(Vec<u8>),
    /// The item, and when it expires.
    Item(ItemKey, Time),
}

impl Place {
    fn name(&self, key: &SymmetricKey) -> Name {
        let (tag, mut name) = match self {
            Self::Operation(record) => (OPERATION, name(key, OPERATION, record, Time::ZERO)),
            Self::Item(item, expiry) => (ITEM, name(key, ITEM, &item.to_bytes(), *expiry)),
        };
        name[0] = tag;
        name
    }
}

fn name(key: &SymmetricKey, tag: u8, element: &[u8], expiry: Time) -> Name {
    mac(Domain::SyncElement, key, &[&[tag], element, &expiry.to_bytes()])
}

/// The inboxes that a session compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// First byte of their addresses.
    pub(super) bucket: u8,
    /// Where they lie on the ring.
    pub(super) range: RingRange,
}

impl Scope {
    pub(super) fn holds(&self, address: &InboxAddress) -> bool {
        address.as_bytes()[0] == self.bucket
            && (self.range == RingRange::ALL || self.range.contains(place_of(address)))
    }
}

fn gather(store: &dyn Store, scope: Scope, now: Time) -> Vec<Place> {
    let bucket = scope.bucket;
    // Those of one inbox follow each other, and its place costs a hash.
    let mut last_seen: Option<(InboxAddress, bool)> = None;
    let mut holds = |address: &InboxAddress| match last_seen {
        Some((seen, holds)) if seen == *address => holds,
        _ => {
            let holds = scope.holds(address);
            last_seen = Some((*address, holds));
            holds
        }
    };
    let mut places: Vec<Place> = store
        .records(Table::Operation, &[bucket])
        .into_iter()
        .filter(|(key, expiry)| {
            let address = key.first_chunk::<32>().map(|it| InboxAddress::from(*it));
            *expiry > now && address.is_some_and(|address| holds(&address))
        })
        .map(|(key, _)| Place::Operation(key))
        .collect();
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    (first[0], last[0]) = (bucket, bucket);
    let range = InboxAddress::from(first)..=InboxAddress::from(last);
    store.scan(range, &mut |address, meta| {
        if meta.expiry > now && holds(address) {
            let key = ItemKey { address: *address, message: meta.id };
            places.push(Place::Item(key, meta.expiry));
        }
    });
    places
}

/// Returns the digest over all elements of a bucket, and how many there are.
pub(super) fn fingerprint(
    store: &dyn Store,
    scope: Scope,
    now: Time,
    nonce: &[u8; 32],
) -> (Digest, u64) {
    let key = kdf(Domain::SyncElement, nonce, &[b"fingerprint"]);
    let mut names: Vec<Name> =
        gather(store, scope, now).iter().map(|place| place.name(&key)).collect();
    names.sort_unstable();
    let mut hash = StreamHash::new(Domain::SyncElement);
    for name in &names {
        hash.update(name);
    }
    (hash.finish(), names.len() as u64)
}

/// The elements of a bucket at the start of a session, by name.
pub(super) struct Index {
    key: SymmetricKey,
    places: BTreeMap<Name, Place>,
}

impl Index {
    /// Names the elements under both halves of the key.
    pub(super) fn new(
        store: &dyn Store,
        scope: Scope,
        now: Time,
        initiator: &[u8; 32],
        acceptor: &[u8; 32],
    ) -> Self {
        let key = kdf(Domain::SyncElement, initiator, &[b"elements", acceptor]);
        let places =
            gather(store, scope, now).into_iter().map(|place| (place.name(&key), place)).collect();
        Self { key, places }
    }

    /// Prepares the comparison.
    pub(super) fn comparison(
        &self,
    ) -> Result<Negentropy<'static, NegentropyStorageVector>, negentropy::Error> {
        let mut names = NegentropyStorageVector::with_capacity(self.places.len());
        for name in self.places.keys() {
            // Names are random: a second sort key would only let two members disagree about it.
            names.insert(0, Id::from_byte_array(*name))?;
        }
        names.seal()?;
        Negentropy::owned(names, COMPARISON_BYTES)
    }

    /// Returns the name of an element that the other side gave.
    pub(super) fn name_of(&self, network: NetworkId, element: &Element) -> Name {
        let place = match element {
            Element::Operation { operation } => {
                let id = operation.signed_bytes(network);
                Place::Operation(record_key(&operation.rule.address(), &id))
            }
            Element::Item { item } => {
                let message = inbox::message_id(&item.address, item.namespace, &item.data);
                Place::Item(ItemKey { address: item.address, message }, item.expiry)
            }
        };
        place.name(&self.key)
    }

    /// Takes the elements of one message off the front of `names`; gone ones are left out.
    pub(super) fn take(
        &self,
        store: &dyn Store,
        now: Time,
        names: &mut BTreeSet<Name>,
    ) -> Vec<Element> {
        let (mut elements, mut bytes) = (Vec::new(), 0);
        while elements.len() < REPLICA_ITEMS_MAX
            && bytes < REPLICA_BYTES_TARGET
            && let Some(name) = names.pop_first()
        {
            let Some(place) = self.places.get(&name) else { continue };
            let element = match place {
                Place::Operation(key) => read_operation(store, key),
                Place::Item(key, _) => read_item(store, key, now),
            };
            if let Some(element) = element {
                bytes += match &element {
                    Element::Item { item } => item.data.len(),
                    Element::Operation { .. } => OPERATION_BYTES,
                };
                elements.push(element);
            }
        }
        elements
    }
}

// What cannot be read here the other side gets from somebody else.
fn read_operation(store: &dyn Store, key: &[u8]) -> Option<Element> {
    let value = store.record(Table::Operation, key).ok()??;
    let operation = OwnerOperation::decode_exact(&value).ok()?;
    Some(Element::Operation { operation: Box::new(operation) })
}

fn read_item(store: &dyn Store, key: &ItemKey, now: Time) -> Option<Element> {
    let stored = store.item(&key.address, &key.message).ok()??;
    if stored.meta.expiry <= now {
        return None;
    }
    Some(Element::Item {
        item: ReplicaItem {
            address: key.address,
            namespace: stored.meta.namespace,
            timestamp: stored.meta.timestamp,
            expiry: stored.meta.expiry,
            data: ItemBytes::new(stored.data).ok()?,
        },
    })
}

#[cfg(test)]
mod tests;
