//! Signs receipts for items that it does not store, and sometimes for other items.
//!
//! A lie of the first kind counts towards a quorum: that is why a quorum is more than the bad
//! nodes a swarm may have plus the honest ones it needs. One of the second kind must count for
//! nothing, and is found out by whoever checks the path of a receipt.

use session_core::{Entropy, MessageId};
use session_protocol::receipt::StorageReceipt;

use super::Misbehaviour;

pub(crate) struct Liar;

impl Misbehaviour for Liar {
    fn signing(&mut self, receipts: &mut [StorageReceipt], rng: &mut dyn Entropy) {
        // One commit in eight: found out too often, it would never be connected.
        if rng.below(8) == 0 {
            for receipt in receipts {
                receipt.message = MessageId::from(rng.bytes32());
            }
        }
    }

    fn keeps(&self) -> bool {
        false
    }
}
