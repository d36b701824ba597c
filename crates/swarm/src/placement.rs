//! Which swarm keeps which inbox.
//!
//! Both functions look at the first eight bytes of a BLAKE3 digest. [`nearest`] is the network's
//! default: swarm ids are points on a ring of 2^64 places, and an inbox belongs to the nearest, so
//! a new swarm takes inboxes from its two neighbours only. [`seed_v1`] is the first function of
//! the seeds; it moves almost every inbox whenever a swarm is added.

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
    if swarms.contains(&added) {
        return 0;
    }
    let forward = swarms.iter().map(|swarm| swarm.0.wrapping_sub(added.0)).min();
    let backward = swarms.iter().map(|swarm| added.0.wrapping_sub(swarm.0)).min();
    let (Some(forward), Some(backward)) = (forward, backward) else { return 1_000_000 };
    // Half of the way to either neighbour becomes the new swarm's.
    let arc = u128::from(forward / 2) + u128::from(backward / 2);
    u64::try_from((arc * 1_000_000) >> 64).expect("an arc is shorter than the ring")
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
