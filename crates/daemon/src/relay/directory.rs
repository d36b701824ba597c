//! Everybody's hop keys.

use std::collections::BTreeMap;

use session_core::{Encode as _, Epoch, List, NodeId, Span, Time, sha256};
use session_network::onion::SignedHopKey;
use session_protocol::onion::{BUCKET_BITS_MAX, BUCKETS, HOP_KEYS_MAX};
use session_protocol::request::{Outcome, Refusal};

/// Epochs remembered of a node: the current one, and one to either side.
const EPOCHS_MAX: usize = 3;

/// A node that lost a key draws another one; this is how often others take notice.
const REPLACE_AFTER: Span = Span::from_secs(60);

/// How far the clock of whoever drew a key may be ahead.
const AHEAD_MAX: Span = Span::from_secs(300);

/// Hop keys whose signatures were checked, by node and epoch.
#[derive(Debug, Default)]
pub(crate) struct Directory(BTreeMap<NodeId, BTreeMap<Epoch, SignedHopKey>>);

impl Directory {
    /// Takes a key if it says something new. `epoch` is the current one.
    pub(super) fn insert(&mut self, key: &SignedHopKey, epoch: Epoch, now: Time) -> bool {
        let record = &key.record;
        let near = epoch.0.abs_diff(record.epoch.0) <= 1;
        if !near || record.until <= now || record.from > now + AHEAD_MAX {
            return false;
        }
        let keys = self.0.entry(record.node).or_default();
        let known = keys.get(&record.epoch);
        if known.is_some_and(|known| record.from < known.record.from + REPLACE_AFTER) {
            return false;
        }
        keys.insert(record.epoch, key.clone());
        while keys.len() > EPOCHS_MAX {
            keys.pop_first();
        }
        true
    }

    /// Forgets nodes that are none any more.
    pub(super) fn keep(&mut self, is_node: impl Fn(&NodeId) -> bool) {
        self.0.retain(|node, _| is_node(node));
    }

    /// Forgets keys whose time is over.
    pub(super) fn forget(&mut self, now: Time) {
        for keys in self.0.values_mut() {
            keys.retain(|_, key| now < key.record.until);
        }
        self.0.retain(|_, keys| !keys.is_empty());
    }

    pub(super) fn nodes_of(&self, epoch: Epoch) -> usize {
        self.0.values().filter(|keys| keys.contains_key(&epoch)).count()
    }

    /// Returns all keys of a bucket that still count.
    pub(super) fn of_bucket(&self, bucket: u8, now: Time) -> Vec<&SignedHopKey> {
        let mut first = [0; 32];
        first[0] = bucket;
        let nodes = self.0.range(NodeId::from(first)..);
        let nodes = nodes.take_while(|(node, _)| node.as_bytes()[0] == bucket);
        let keys = nodes.flat_map(|(_, keys)| keys.values());
        keys.filter(|key| now < key.record.until).collect()
    }

    /// Returns a sum of each bucket; 0 if nothing is in it.
    pub(super) fn sums(&self, now: Time) -> Vec<u64> {
        let sum = |bucket| {
            let keys = self.of_bucket(bucket, now);
            if keys.is_empty() {
                return 0;
            }
            let mut bytes = Vec::new();
            for key in keys {
                let record = &key.record;
                record.node.encode(&mut bytes);
                record.epoch.encode(&mut bytes);
                record.from.encode(&mut bytes);
            }
            let [a, b, c, d, e, f, g, h, ..] = sha256(&bytes);
            u64::from_be_bytes([a, b, c, d, e, f, g, h])
        };
        debug_assert_eq!(BUCKETS, 256);
        (0..=u8::MAX).map(sum).collect()
    }

    /// Answers a client: a page of the keys of all nodes whose ids begin alike.
    pub(crate) fn page(
        &self,
        (bits, bucket): (u8, u16),
        after: Option<NodeId>,
        bytes_max: u32,
        now: Time,
    ) -> Result<Outcome, Refusal> {
        if bits > BUCKET_BITS_MAX {
            return Err(Refusal::too_large("bits", bits.into(), BUCKET_BITS_MAX.into()));
        }
        if u32::from(bucket) >> bits != 0 {
            return Err(Refusal::bad_request("bucket", "it has more bits than are asked by"));
        }
        let shift = u32::from(BUCKET_BITS_MAX - bits);
        let first = (u32::from(bucket) << shift) as u16;
        let mut start = [0; 32];
        start[..2].copy_from_slice(&first.to_be_bytes());
        let begins = |node: &NodeId| {
            let id = node.as_bytes();
            u32::from(u16::from_be_bytes([id[0], id[1]])) >> shift == u32::from(bucket)
        };
        let nodes = self.0.range(NodeId::from(start)..).take_while(|(node, _)| begins(node));
        let nodes = nodes.filter(|(node, _)| after.is_none_or(|after| **node > after));
        let (mut page, mut bytes, mut more) = (Vec::new(), 0, false);
        for (_, keys) in nodes {
            let keys: Vec<_> = keys.values().filter(|key| now < key.record.until).collect();
            bytes += keys.iter().map(|key| key.to_bytes().len()).sum::<usize>();
            let fits = bytes <= bytes_max as usize && page.len() + keys.len() <= HOP_KEYS_MAX;
            if !page.is_empty() && !fits {
                more = true;
                break;
            }
            page.extend(keys.into_iter().cloned());
        }
        let keys = List::new(page).expect("not longer than the limit");
        Ok(Outcome::HopKeys { keys, more })
    }
}
