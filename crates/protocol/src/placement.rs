//! Which swarm keeps which inbox.
//!
//! Both functions look at the first eight bytes of a BLAKE3 digest. [`nearest`] is the network's
//! default: swarm ids are points on a ring of 2^64 places, and an inbox belongs to the nearest, so
//! a new swarm takes inboxes from its two neighbours only. [`seed_v1`] is the first function of
//! the seeds; it moves almost every inbox whenever a swarm is added.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{InboxAddress, SwarmId};
use session_crypto::hash::blake3;

/// Returns the place of a key on the ring: the first eight bytes of its BLAKE3 digest, big-endian.
#[must_use]
pub fn position(key: &[u8]) -> u64 {
    let digest = blake3(key);
    let (first, _) = digest.split_first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first)
}

/// Returns the swarm nearest to an inbox on the ring; the lower id where two are equally near.
///
/// Returns `None` when there are no swarms.
#[must_use]
pub fn nearest(address: &InboxAddress, swarms: &[SwarmId]) -> Option<SwarmId> {
    nearest_to(position(address.as_ref()), swarms)
}

/// Returns the index of the swarm that the seed's first function chooses for an account key.
///
/// Returns `None` when there are no swarms.
#[must_use]
pub fn seed_v1(key: &[u8], swarms: u64) -> Option<u64> {
    position(key).checked_rem(swarms)
}

/// Returns how many of a million inboxes move to `added` when it joins `swarms`.
///
/// No other inbox moves. With [`seed_v1`] it would be `n / (n + 1)` of all of them.
#[must_use]
pub fn moved_per_million(swarms: &[SwarmId], added: SwarmId) -> u64 {
    let after: Vec<SwarmId> = swarms.iter().copied().chain([added]).collect();
    moved_between(swarms, &after)
}

/// Returns how many of a million inboxes get another swarm by [`nearest`] when the swarms are
/// `after` instead of `before`. Arcs of the ring are added, no inboxes are sampled: the result is
/// rounded, not estimated.
#[must_use]
pub fn moved_between(before: &[SwarmId], after: &[SwarmId]) -> u64 {
    let borders: BTreeSet<u64> = arcs(before).into_iter().chain(arcs(after)).collect();
    let Some(first) = borders.first() else { return million(before.len() != after.len()) };
    let ends = borders.iter().skip(1).chain([first]);
    let moved = borders.iter().zip(ends).filter_map(|(begin, end)| {
        // The first place of an arc stands for all of it: no border is inside.
        let stays = nearest_to(*begin, before) == nearest_to(*begin, after);
        (!stays).then(|| end.wrapping_sub(*begin))
    });
    // A lone arc is the whole ring, whose length no u64 holds.
    if borders.len() == 1 {
        return million(moved.count() > 0);
    }
    let moved: u128 = moved.map(u128::from).sum();
    u64::try_from((moved * 1_000_000 + (1 << 63)) >> 64).expect("arcs do not overlap")
}

/// Returns how many of a million inboxes get another swarm by [`seed_v1`], which counts swarms in
/// the order of ids, when they are `after` instead of `before`.
///
/// An inbox is the i-th swarm's before and the j-th one's after if its place is i modulo the
/// number before and j modulo the number after. Such places exist if i and j are the same modulo
/// the greatest common divisor, and then they are one in the least common multiple.
#[must_use]
pub fn moved_by_modulo(before: &[SwarmId], after: &[SwarmId]) -> u64 {
    let sorted = |swarms: &[SwarmId]| swarms.iter().copied().collect::<BTreeSet<_>>();
    let (before, after) = (sorted(before), sorted(after));
    let (old, new) = (before.len() as u128, after.len() as u128);
    if old == 0 || new == 0 {
        return million(old != new);
    }
    let divisor = common_divisor(old, new);
    let places: BTreeMap<SwarmId, u128> = after.into_iter().zip(0..).collect();
    let stays = before.iter().zip(0_u128..).filter(|(swarm, old_place)| {
        places.get(swarm).is_some_and(|place| place % divisor == old_place % divisor)
    });
    let multiple = old * new / divisor;
    let moved = multiple - stays.count() as u128;
    u64::try_from(moved * 1_000_000 / multiple).expect("a share of a million")
}

const fn million(all: bool) -> u64 {
    if all { 1_000_000 } else { 0 }
}

const fn common_divisor(mut left: u128, mut right: u128) -> u128 {
    while right > 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Returns where on the ring the arc of each swarm begins.
fn arcs(swarms: &[SwarmId]) -> Vec<u64> {
    let sorted: BTreeSet<SwarmId> = swarms.iter().copied().collect();
    let Some(mut below) = sorted.last().copied() else { return Vec::new() };
    let mut begins = Vec::with_capacity(sorted.len());
    for swarm in sorted {
        let gap = swarm.0.wrapping_sub(below.0);
        // Where two are equally near, the place is the lower id's.
        let tie = gap.is_multiple_of(2) && swarm < below;
        begins.push(below.0.wrapping_add(gap / 2).wrapping_add(u64::from(!tie)));
        below = swarm;
    }
    begins
}

fn nearest_to(place: u64, swarms: &[SwarmId]) -> Option<SwarmId> {
    swarms.iter().copied().min_by_key(|swarm| (distance(place, swarm.0), *swarm))
}

/// Returns the shorter way around the ring.
const fn distance(left: u64, right: u64) -> u64 {
    let (forward, backward) = (left.wrapping_sub(right), right.wrapping_sub(left));
    if forward < backward { forward } else { backward }
}

#[cfg(test)]
mod tests;
