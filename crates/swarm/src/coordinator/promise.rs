//! Promises of mates: a few of the receipts that they signed for items which they took from here.
//!
//! What a mate commits to later must hold those items, or their owners removed them. Audits ask for
//! them: see [`Audits`](super::audit::Audits).

use std::collections::BTreeMap;

use session_core::merkle::Proof;
use session_core::{Decode as _, Encode as _, Epoch, NodeId, Span, record};
use session_protocol::chain::view::ChainView;
use session_protocol::commitment::{Commitment, Leaf};
use session_protocol::limits::FORWARDED_CLOCK_TOLERANCE;
use session_protocol::membership::Membership;
use session_protocol::placement;
use session_protocol::receipt::{SignedRoot, StorageReceipt};
use session_protocol::schedule::Schedule;
use session_storage::{Store, Table};

use super::note::Note;
use super::scene::Scene;
use super::{Cx, Effect};

/// Receipts of one mate that are kept of each epoch.
const SAMPLE: u64 = 4;

/// Epochs for which a receipt is kept once a commitment must hold its item.
const EPOCHS_KEPT: u64 = 4;

/// Items of one mate that are asked for in an epoch.
pub(super) const ASKED_MAX: usize = 4;

/// Where receipts are stored.
const PREFIX: &[u8] = b"duty/promise/";

record! {
    /// A receipt, and how it is signed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Promise {
        /// The receipt.
        pub receipt: StorageReceipt,
        /// Who signed it.
        pub root: SignedRoot,
        /// From the receipt to the signed root.
        pub path: Proof,
    }
}

impl Promise {
    pub(super) const fn leaf(&self) -> Leaf {
        Leaf { address: self.receipt.address, message: self.receipt.message }
    }

    /// Returns whether a commitment must hold the item, unless its owner removed it: this node's
    /// view of who keeps which inbox must not have changed for it meanwhile.
    fn binds(&self, scene: &Scene<'_>, commitment: &Commitment) -> bool {
        let (view, receipt) = (scene.view, &self.receipt);
        let Some(seat) = view.seats.get(&receipt.node) else { return false };
        let schedule = Schedule::of(view.genesis, scene.schedule().length, seat.since);
        scene.ground().must_hold(receipt, commitment).is_ok()
            && receipt.swarm == commitment.swarm
            && schedule.start < receipt.stored_at
            && is_kept_by(view, receipt)
    }
}

fn is_kept_by(view: &ChainView, receipt: &StorageReceipt) -> bool {
    let keeps =
        |swarms: Vec<_>| placement::nearest(&receipt.address, &swarms) == Some(receipt.swarm);
    keeps(view.membership.swarms()) && keeps(view.former.swarms())
}

/// A sample of what mates promised.
#[derive(Default)]
pub(super) struct Promises {
    epoch: Option<Epoch>,
    /// Receipts of this epoch that were seen of each mate.
    seen: BTreeMap<NodeId, u64>,
}

impl Promises {
    /// Takes a receipt: each of an epoch has the same chance to be kept.
    pub(super) fn came(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, promise: &Promise) {
        let epoch = scene.epoch();
        if self.epoch.replace(epoch) != Some(epoch) {
            self.seen.clear();
        }
        let (node, receipt) = (promise.receipt.node, &promise.receipt);
        let roster = &scene.view.roster;
        let swarm = roster.swarm_of(&scene.me());
        if swarm != Some(receipt.swarm) || swarm != roster.swarm_of(&node) {
            return;
        }
        let seen = self.seen.entry(node).or_default();
        let slot = if *seen < SAMPLE { *seen } else { cx.rng.below(*seen + 1) };
        *seen += 1;
        if slot >= SAMPLE {
            return;
        }
        let epochs = scene.schedule().length.as_millis().saturating_mul(EPOCHS_KEPT);
        let settled = receipt.stored_at + FORWARDED_CLOCK_TOLERANCE + scene.view.params.settle;
        let until = settled + Span::from_millis(epochs);
        let slot = [epoch.0.to_be_bytes(), slot.to_be_bytes()].concat();
        let key = [PREFIX, node.as_bytes(), &slot].concat();
        if cx.store.put_record(Table::Receipt, &key, &promise.to_bytes(), until).is_err() {
            cx.effects.push(Effect::Note(Note::StoreFailed { doing: "keeping a receipt" }));
        }
    }
}

/// Returns what a mate promised that its commitment must hold; the newest promises first.
pub(super) fn bound(
    store: &dyn Store,
    scene: &Scene<'_>,
    mate: &NodeId,
    commitment: &Commitment,
) -> Vec<Promise> {
    let keys = store.records(Table::Receipt, &[PREFIX, mate.as_bytes()].concat());
    let promise = |(key, _)| Promise::decode_exact(&store.record(Table::Receipt, key).ok()??).ok();
    let all = keys.iter().rev().filter_map(|(key, until)| promise((key, until)));
    all.filter(|promise| promise.binds(scene, commitment)).take(ASKED_MAX).collect()
}
