//! The turn of an epoch: the beacon's end, judgement of the nodes, new seats and duties.

use session_core::seed_ids::beacon_id;
use session_core::{Digest, Domain, Epoch, List, NodeId, Span, SwarmId, Time, digest};
use session_protocol::attestation::committee_root;
use session_protocol::chain::view::BeaconMode;
use session_protocol::roster::Roster;
use session_protocol::schedule::Schedule;

use super::draft::Draft;
use super::{beacon, penalties, swarms};
use crate::records::{
    CurrentEpoch, DealerList, Dealers, EpochRecord, NodeKeys, Only, Params, PastEpochs,
    StorageCommitments, SwarmMembers,
};
use crate::state::State;

/// Epochs of the past that the state keeps: at an hour each, those of six weeks.
const PAST_EPOCHS: u64 = 1024;

/// Returns the epoch that a time is in.
pub(super) fn epoch_at(genesis: Time, length: Span, time: Time) -> Epoch {
    let passed = time.since(genesis).as_millis();
    Epoch(passed.checked_div(length.as_millis()).expect("genesis refuses empty epochs"))
}

/// Returns the first epoch in which a node that was registered at a time can have a seat.
pub(crate) fn first_epoch(genesis: Time, params: &Params, registered: Time) -> Epoch {
    let registered = epoch_at(genesis, params.epoch, registered);
    Epoch(registered.0.saturating_add(params.activation_epochs.into()))
}

/// Writes epoch 0 into the state of the beginning, whose nodes have their seats already; `origin`
/// stands for the randomness before.
pub(crate) fn genesis(state: &mut State, params: &Params, start: Time, origin: &Digest) {
    let number = Epoch(0);
    let parts: [&[u8]; 3] = [&[0; 32], &number.0.to_be_bytes(), origin.as_bytes()];
    let randomness = digest(Domain::EpochRandomness, &parts);
    let previous_beacon = Digest::default();
    let epoch = EpochRecord {
        number,
        start,
        randomness,
        beacon: beacon_id(number, &randomness, &previous_beacon),
        previous_beacon,
        mode: BeaconMode::Genesis,
        attesters: Digest::default(),
        swarms_since: number,
    };
    let mut draft = Draft::new(state);
    appoint(&mut draft, params, epoch);
    for (key, value) in draft.into_writes() {
        state.put(&key, value.expect("nothing is removed from an empty state"));
    }
}

/// Begins the epoch `number`, and judges the nodes for the last one. In those between the chain
/// stood still: nobody is judged for them, nor for a beacon that it may not have taken.
pub(super) fn turn(
    draft: &mut Draft<'_>,
    params: &Params,
    last: &EpochRecord,
    number: Epoch,
    genesis: Time,
) -> EpochRecord {
    let beacon::Outcome { randomness, mode, mut failings } = beacon::finish(draft, last, number);
    let whole = number.0 == last.number.0 + 1;
    if !whole {
        failings.clear();
    }
    let end = Schedule::of(genesis, params.epoch, last.number).end();
    penalties::tally(draft, params, last, failings, end);
    if !whole {
        drop_commitments(draft);
    }
    let moved = swarms::rebalance(draft, params, &randomness, number, genesis);
    keep(draft, last, number);
    let epoch = EpochRecord {
        number,
        start: Schedule::of(genesis, params.epoch, number).start,
        randomness,
        beacon: beacon_id(number, &randomness, &last.beacon),
        previous_beacon: last.beacon,
        mode,
        attesters: Digest::default(),
        swarms_since: if moved { number } else { last.swarms_since },
    };
    appoint(draft, params, epoch)
}

/// Lets nobody audit what was committed to before the chain stood still: items had to live for one
/// epoch more, not for several.
fn drop_commitments(draft: &mut Draft<'_>) {
    for (node, mut commitments) in draft.entries::<StorageCommitments>() {
        commitments.previous = None;
        draft.put::<StorageCommitments>(&node, &commitments);
    }
}

/// Keeps the last epoch for proofs, and forgets the oldest.
fn keep(draft: &mut Draft<'_>, last: &EpochRecord, number: Epoch) {
    draft.put::<PastEpochs>(&last.number, last);
    for (past, _) in draft.entries::<PastEpochs>() {
        if number.0.saturating_sub(past.0) > PAST_EPOCHS {
            draft.remove::<PastEpochs>(&past);
        }
    }
}

/// Writes the epoch that begins, with its dealers and attesters.
fn appoint(draft: &mut Draft<'_>, params: &Params, mut epoch: EpochRecord) -> EpochRecord {
    let seats: Vec<(SwarmId, NodeId)> = draft
        .entries::<SwarmMembers>()
        .into_iter()
        .map(|(seat, _)| (seat.swarm, seat.node))
        .collect();
    let examiners = usize::from(params.duties.examiners);
    let roster = Roster::new(&epoch.randomness, epoch.number, &seats, examiners);
    let dealers = List::new(roster.dealers()).expect("the roster chooses no more");
    draft.put::<Dealers>(&Only {}, &DealerList { dealers });
    let member = |node: NodeId| {
        let keys = draft.get::<NodeKeys>(&node).expect("every node has keys");
        (node, keys.dsa().clone())
    };
    let attesters: Vec<_> = roster.attesters().into_iter().map(member).collect();
    epoch.attesters = committee_root(&attesters);
    draft.put::<CurrentEpoch>(&Only {}, &epoch);
    epoch
}
