//! The turn of an epoch: new randomness, and swarms for the nodes that waited for it.

use std::collections::BTreeMap;

use session_core::seed_ids::beacon_id;
use session_core::{Digest, Domain, Epoch, NodeId, Span, SwarmId, Time, digest};

use super::BlockContext;
use super::draft::Draft;
use crate::query;
use crate::records::{
    CurrentEpoch, EpochRecord, NodeStatus, Nodes, Only, Params, Seat, SwarmMembers,
};

/// Returns the epoch that a time is in.
pub(super) fn epoch_at(genesis: Time, length: Span, time: Time) -> Epoch {
    let passed = time.since(genesis).as_millis();
    Epoch(passed.checked_div(length.as_millis()).expect("genesis refuses empty epochs"))
}

/// Returns the record of epoch 0; `origin` stands for the block that it does not have below.
pub(crate) fn genesis_epoch(genesis: Time, origin: &Digest) -> EpochRecord {
    record(&Digest::default(), &Digest::default(), Epoch(0), genesis, origin.as_bytes())
}

fn record(
    randomness: &Digest,
    previous_beacon: &Digest,
    number: Epoch,
    start: Time,
    origin: &[u8; 32],
) -> EpochRecord {
    let parts: [&[u8]; 3] = [randomness.as_bytes(), &number.0.to_be_bytes(), origin];
    let randomness = digest(Domain::EpochRandomness, &parts);
    let beacon = beacon_id(number, &randomness, previous_beacon);
    EpochRecord { number, start, randomness, beacon, previous_beacon: *previous_beacon }
}

/// Begins the epoch `number`; those between the last one and it had no blocks and never were.
pub(super) fn turn(
    draft: &mut Draft<'_>,
    params: &Params,
    last: &EpochRecord,
    number: Epoch,
    genesis: Time,
    context: &BlockContext,
) -> EpochRecord {
    let start = genesis + Span::from_millis(params.epoch.as_millis().saturating_mul(number.0));
    let parent = context.parent.as_bytes();
    let epoch = record(&last.randomness, &last.beacon, number, start, parent);
    draft.put::<CurrentEpoch>(&Only {}, &epoch);
    activate(draft, params, &epoch);
    epoch
}

/// Gives every node that waited a swarm.
fn activate(draft: &mut Draft<'_>, params: &Params, epoch: &EpochRecord) {
    let state = draft.base();
    let mut swarms: BTreeMap<SwarmId, usize> = BTreeMap::new();
    for (swarm, _) in query::active_nodes(state) {
        *swarms.entry(swarm).or_default() += 1;
    }
    let waiting = query::entries::<Nodes>(state)
        .filter(|(_, node)| matches!(node.status, NodeStatus::Registered));
    for (id, mut node) in waiting {
        let swarm = choose(&swarms, usize::from(params.swarm_size), &epoch.randomness, &id);
        *swarms.entry(swarm).or_default() += 1;
        node.status = NodeStatus::Active { swarm, since: epoch.number };
        draft.put::<Nodes>(&id, &node);
        draft.put::<SwarmMembers>(&Seat { swarm, node: id }, &epoch.number);
    }
}

/// Chooses the swarm with the fewest members that is not full, or a new one.
fn choose(
    swarms: &BTreeMap<SwarmId, usize>,
    full: usize,
    randomness: &Digest,
    node: &NodeId,
) -> SwarmId {
    let draw = |swarm: &[u8]| {
        digest(Domain::SwarmChoice, &[randomness.as_bytes(), node.as_bytes(), swarm])
    };
    swarms
        .iter()
        .filter(|(_, members)| **members < full)
        .min_by_key(|(swarm, members)| (**members, draw(&swarm.0.to_be_bytes())))
        .map(|(swarm, _)| *swarm)
        .unwrap_or_else(|| {
            // A place on the ring that is taken is as unlikely as a hash of 64 zero bits.
            let drawn = draw(&[]);
            let (place, _) = drawn.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
            SwarmId(u64::from_be_bytes(*place))
        })
}
