//! Hop keys: each comes from every peer, and its signature is checked once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use session_core::{Encode as _, List, sha256};

use super::Checker;
use crate::onion::{BadHopKey, HopKeys, SignedHopKey};
use crate::verified::Verified;

/// Hop keys remembered as checked, 32 bytes each: two epochs of as many nodes.
const SEEN_MAX: usize = 16_384;

/// Hop keys whose signatures were checked.
#[derive(Default)]
pub(super) struct Seen(Mutex<BTreeSet<[u8; 32]>>);

impl Seen {
    fn contains(&self, key: &[u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn insert(&self, key: [u8; 32]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full table forgets everything: keys are checked again, at the cost of time.
        if seen.len() >= SEEN_MAX {
            seen.clear();
        }
        seen.insert(key);
    }
}

impl Checker {
    /// Leaves out keys of nodes that this view does not show: the sender's may be newer.
    pub(super) fn check_hop_keys(&self, sent: HopKeys) -> Result<Verified<HopKeys>, BadHopKey> {
        let HopKeys::Keys { keys: sent } = sent else { return Ok(Verified::new(sent)) };
        let mut keys = Vec::with_capacity(sent.len());
        for key in sent {
            if self.check_hop_key(&key)? {
                keys.push(key);
            }
        }
        let keys = List::new(keys).expect("no more than were sent");
        Ok(Verified::new(HopKeys::Keys { keys }))
    }

    fn check_hop_key(&self, signed: &SignedHopKey) -> Result<bool, BadHopKey> {
        let membership = self.membership();
        let Some(node) = membership.node(&signed.record.node) else { return Ok(false) };
        // Whoever registered other keys since is another node: ids are digests of keys.
        let digest = sha256(&signed.to_bytes());
        if !self.hop_keys.contains(&digest) {
            signed.clone().verify(&membership.network(), &node.keys, &*self.verifier)?;
            self.hop_keys.insert(digest);
        }
        Ok(true)
    }
}
