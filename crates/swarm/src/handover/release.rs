//! Inboxes that this node holds for the swarm that keeps them now, and how it drops them.

use std::collections::BTreeMap;

use session_core::{Epoch, InboxAddress, MessageId, NodeId, Span, SwarmId, Time};
use session_protocol::peer::RingRange;
use session_storage::{Store, StoreError, Table};

use super::Claim;
use crate::items;
use crate::layout::overlap;
use crate::machine::{Cx, Swarm};
use crate::view::{View, place_of};

/// How long what was lost is held in any case: whoever has not heard of the change yet still sends
/// clients here, and whoever restarts asks once more.
const HOLD: Span = Span::from_secs(60);

/// When to go on with the next bucket, so that other work has its turn.
const PAUSE: Span = Span::from_millis(1);

/// When to go on after the store failed.
const RETRY: Span = Span::from_secs(1);

/// What is held for one swarm.
#[derive(Debug)]
struct Holding {
    range: RingRange,
    lost: Time,
    /// The next bucket to drop, once it has begun.
    next: Option<u8>,
    dropped: bool,
}

/// What is held for others, and who said that it is whole with them.
#[derive(Debug, Default)]
pub(super) struct Release {
    holdings: BTreeMap<SwarmId, Holding>,
    /// The latest view in which each node had everything.
    taken: BTreeMap<NodeId, u64>,
    next: Option<Time>,
}

impl Release {
    pub(super) fn held_for(&self) -> usize {
        self.holdings.values().filter(|holding| !holding.dropped).count()
    }

    pub(super) fn swarms(&self) -> impl Iterator<Item = SwarmId> {
        let held = self.holdings.iter().filter(|(_, holding)| !holding.dropped);
        held.map(|(swarm, _)| *swarm)
    }

    pub(super) const fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Finds out for whom something is held in a new layout.
    pub(super) fn turn(&mut self, claims: &[Claim], view: &View) {
        self.holdings.clear();
        for (swarm, _) in view.layout.swarms().filter(|(swarm, _)| Some(*swarm) != view.swarm) {
            let Some(range) = view.layout.range(swarm) else { continue };
            let overlapping = claims.iter().filter(|it| !overlap(it.range, range).is_empty());
            if let Some(lost) = overlapping.filter_map(|claim| claim.lost).max() {
                let holding = Holding { range, lost, next: None, dropped: false };
                self.holdings.insert(swarm, holding);
            }
        }
        // Whoever is no member of those has said it for nothing.
        let layout = &view.layout;
        self.taken.retain(|node, _| layout.seat(node).is_some());
        self.next = self.holdings.values().map(|holding| holding.lost + HOLD).min();
    }

    /// Tells whether a quorum of a swarm has everything that it keeps now.
    fn is_taken(&self, view: &View, swarm: SwarmId) -> bool {
        let since = view.layout.since;
        let has = |node: &&NodeId| self.taken.get(*node).is_some_and(|height| *height >= since);
        let quorum = view.layout.quorum(swarm);
        quorum > 0 && view.layout.members(swarm).iter().filter(has).count() >= quorum
    }

    /// Tells whether a range is kept by others only, and whole with them.
    pub(super) fn is_elsewhere(&self, view: &View, range: RingRange) -> bool {
        let keepers = view.layout.swarms().filter(|(swarm, _)| {
            view.layout.range(*swarm).is_some_and(|kept| !overlap(kept, range).is_empty())
        });
        keepers.into_iter().all(|(swarm, _)| self.is_taken(view, swarm))
    }

    /// Returns a swarm whose part may be dropped now, and schedules the next look.
    fn next(&mut self, now: Time, view: &View) -> Option<SwarmId> {
        self.next = None;
        let mut due = None;
        for (swarm, holding) in &self.holdings {
            if holding.dropped || !self.is_taken(view, *swarm) {
                continue;
            }
            let at = holding.lost + HOLD;
            if at <= now {
                due = due.or(Some(*swarm));
            } else {
                self.next = Some(self.next.map_or(at, |next| next.min(at)));
            }
        }
        due
    }
}

impl Swarm {
    /// Notes that a node has everything that its swarm keeps.
    pub(crate) fn taken(&mut self, cx: &mut Cx<'_>, node: NodeId, epoch: Epoch) {
        if self.view.layout.seat(&node).is_none() && self.view.membership().node(&node).is_none() {
            return;
        }
        let release = &mut self.handover.release;
        let known = release.taken.entry(node).or_default();
        *known = epoch.0.max(*known);
        release.next = Some(cx.now);
    }

    /// Drops a bucket of what is whole with others.
    pub(super) fn tick_release(&mut self, cx: &mut Cx<'_>) {
        if self.handover.release.next.is_none_or(|at| at > cx.now) {
            return;
        }
        let Some(swarm) = self.handover.release.next(cx.now, &self.view) else { return };
        let Some(holding) = self.handover.release.holdings.get_mut(&swarm) else { return };
        let (range, begins) = (holding.range, holding.next.is_none());
        let bucket = *holding.next.get_or_insert(0);
        if begins {
            // From here on nobody is told that it is all here, not even after a crash.
            for claim in self.handover.claims.iter_mut().filter(|claim| claim.lost.is_some()) {
                claim.release(range);
            }
            self.save(cx);
        }
        let pause = match drop_bucket(cx.store, range, bucket, cx.now) {
            Ok(()) => {
                self.dropped(cx, swarm, bucket);
                PAUSE
            }
            Err(_) => {
                self.stats.store_errors += 1;
                RETRY
            }
        };
        self.handover.release.next = Some(cx.now + pause);
    }

    fn dropped(&mut self, cx: &mut Cx<'_>, swarm: SwarmId, bucket: u8) {
        let release = &mut self.handover.release;
        let Some(holding) = release.holdings.get_mut(&swarm) else { return };
        match bucket.checked_add(1) {
            Some(next) => holding.next = Some(next),
            None => {
                holding.dropped = true;
                let holds = |claim: &Claim| {
                    let for_others = release.holdings.values().filter(|holding| !holding.dropped);
                    for_others.into_iter().any(|it| !overlap(it.range, claim.range).is_empty())
                };
                self.handover.claims.retain(|claim| claim.lost.is_none() || holds(claim));
                self.save(cx);
            }
        }
    }
}

/// Forgets everything of a bucket and range without a trace that others could learn of.
fn drop_bucket(
    store: &mut dyn Store,
    range: RingRange,
    bucket: u8,
    now: Time,
) -> Result<(), StoreError> {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    (first[0], last[0]) = (bucket, bucket);
    let mut gone: Vec<(InboxAddress, MessageId)> = Vec::new();
    store.scan(InboxAddress::from(first)..=InboxAddress::from(last), &mut |address, meta| {
        if meta.expiry > now && range.contains(place_of(address)) {
            gone.push((*address, meta.id));
        }
    });
    for (address, id) in gone {
        store.set_expiry(&address, &id, now)?;
    }
    for (table, prefix) in
        [(Table::Operation, vec![bucket]), (Table::Meta, items::bounds_of(bucket))]
    {
        // The prefix ends with the first byte of an address.
        let start = prefix.len() - 1;
        for (key, _) in store.records(table, &prefix) {
            let address = key.get(start..start + 32).and_then(|it| <[u8; 32]>::try_from(it).ok());
            if address.is_some_and(|it| range.contains(place_of(&InboxAddress::from(it)))) {
                store.remove_record(table, &key)?;
            }
        }
    }
    Ok(())
}
