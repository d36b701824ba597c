use session_core::{Entropy as _, InboxAddress, SeededEntropy, SwarmId};

use super::*;

fn addresses(count: usize) -> Vec<InboxAddress> {
    let mut rng = SeededEntropy::new(1);
    (0..count).map(|_| InboxAddress::from(rng.bytes32())).collect()
}

#[test]
fn the_ring_wraps_and_ties_go_to_the_lower_id() {
    let swarms = [SwarmId(10), SwarmId(20), SwarmId(u64::MAX - 5)];
    for (place, expected) in
        [(0, u64::MAX - 5), (3, 10), (14, 10), (15, 10), (16, 20), (1 << 40, 20)]
    {
        assert_eq!(nearest_to(place, &swarms), Some(SwarmId(expected)), "place {place}");
    }
    assert_eq!(nearest_to(7, &[]), None);
    assert_eq!(nearest_to(7, &[SwarmId(1 << 63)]), Some(SwarmId(1 << 63)));
}

#[test]
fn the_order_of_the_swarms_does_not_matter() {
    let swarms: Vec<SwarmId> = (0..10).map(|n| SwarmId(n * 0x1999_9999_9999_9999)).collect();
    let mut reversed = swarms.clone();
    reversed.reverse();
    for address in addresses(1000) {
        assert_eq!(nearest(&address, &swarms), nearest(&address, &reversed));
    }
}

#[test]
fn the_position_is_the_start_of_the_blake3_digest() {
    // BLAKE3 of nothing starts af1349b9f5f9a1a6.
    assert_eq!(position(b""), 0xaf13_49b9_f5f9_a1a6);
    assert_eq!(seed_v1(b"", 10), Some(0xaf13_49b9_f5f9_a1a6 % 10));
    assert_eq!(seed_v1(b"", 0), None);
}

#[test]
fn a_new_swarm_moves_only_its_share() {
    let mut rng = SeededEntropy::new(2);
    let mut swarms: Vec<SwarmId> = (0..10).map(|_| SwarmId(rng.next_u64())).collect();
    let sample = addresses(20_000);
    let (ring_before, added) = (swarms.clone(), SwarmId(rng.next_u64()));
    swarms.push(added);
    let mut moved = 0;
    for address in &sample {
        let (before, after) = (nearest(address, &ring_before), nearest(address, &swarms));
        if before != after {
            assert_eq!(after, Some(added), "an inbox moved between two old swarms");
            moved += 1;
        }
    }
    let predicted = moved_per_million(&ring_before, added);
    let measured = moved * 1_000_000 / sample.len() as u64;
    assert!(measured.abs_diff(predicted) < 10_000, "{measured} moved, {predicted} predicted");

    let key = |address: &InboxAddress| *address.as_bytes();
    let by_modulo =
        sample.iter().filter(|a| seed_v1(&key(a), 10) != seed_v1(&key(a), 11)).count() as u64;
    let by_modulo = by_modulo * 1_000_000 / sample.len() as u64;
    assert!(by_modulo.abs_diff(909_090) < 10_000, "{by_modulo} of a million moved");
    assert!(measured < by_modulo / 2, "nearest moves {measured}, modulo {by_modulo}");
}

#[test]
fn the_share_of_a_lone_or_known_swarm() {
    assert_eq!(moved_per_million(&[], SwarmId(3)), 1_000_000);
    assert_eq!(moved_per_million(&[SwarmId(3)], SwarmId(3)), 0);
    assert_eq!(moved_per_million(&[SwarmId(0)], SwarmId(1 << 63)), 500_000);
}

fn ids(count: usize, rng: &mut SeededEntropy) -> Vec<SwarmId> {
    (0..count).map(|_| SwarmId(rng.next_u64())).collect()
}

#[test]
fn arcs_say_what_a_search_says() {
    let mut rng = SeededEntropy::new(3);
    for round in 0..200 {
        // Small ids make ties and gaps of one.
        let bound = if round % 2 == 0 { 40 } else { u64::MAX };
        let swarms: Vec<SwarmId> = (0..=rng.below(6)).map(|_| SwarmId(rng.below(bound))).collect();
        let distinct: BTreeSet<SwarmId> = swarms.iter().copied().collect();
        let begins = arcs(&swarms);
        for (begin, swarm) in begins.iter().zip(&distinct) {
            if distinct.len() > 1 {
                assert_eq!(nearest_to(*begin, &swarms), Some(*swarm), "{swarms:?}");
                let before = begin.wrapping_sub(1);
                assert_ne!(nearest_to(before, &swarms), Some(*swarm), "{swarms:?}");
            }
        }
    }
}

#[test]
fn the_share_that_moves_is_the_measured_one() {
    let mut rng = SeededEntropy::new(4);
    let sample = addresses(20_000);
    let base = ids(12, &mut rng);
    let grown = [base.clone(), ids(3, &mut rng)].concat();
    for (before, after) in [(&base[..], &grown[..]), (&grown, &base), (&base, &base[2..])] {
        let share = |moved: usize| (moved * 1_000_000 / sample.len()) as u64;
        let moved = sample.iter().filter(|a| nearest(a, before) != nearest(a, after)).count();
        let predicted = moved_between(before, after);
        assert!(share(moved).abs_diff(predicted) < 12_000, "{moved} moved, {predicted} predicted");
        assert!(predicted > 0);

        let by_place = |swarms: &[SwarmId], address: &InboxAddress| {
            let sorted: Vec<SwarmId> =
                BTreeSet::from_iter(swarms.iter().copied()).into_iter().collect();
            let place = seed_v1(address.as_ref(), sorted.len() as u64).unwrap();
            sorted[usize::try_from(place).unwrap()]
        };
        let moved = sample.iter().filter(|a| by_place(before, a) != by_place(after, a)).count();
        let predicted = moved_by_modulo(before, after);
        assert!(share(moved).abs_diff(predicted) < 12_000, "{moved} moved, {predicted} predicted");
    }
}

#[test]
fn nothing_moves_when_nothing_changes_and_all_when_all_does() {
    let mut rng = SeededEntropy::new(5);
    for count in [0, 1, 2, 9] {
        let swarms = ids(count, &mut rng);
        assert_eq!(moved_between(&swarms, &swarms), 0);
        assert_eq!(moved_by_modulo(&swarms, &swarms), 0);
        let others = ids(count.max(1), &mut rng);
        assert_eq!(moved_between(&swarms, &others), 1_000_000);
        assert_eq!(moved_by_modulo(&swarms, &others), 1_000_000);
    }
    let swarms = ids(5, &mut rng);
    assert_eq!(moved_between(&swarms, &[]), 1_000_000);
    // The seed's function keeps n / lcm(n, n + 1) in place when a swarm is added behind the others.
    let (base, grown) = ([1, 2, 3, 4].map(SwarmId), [1, 2, 3, 4, 5].map(SwarmId));
    assert_eq!(moved_by_modulo(&base, &grown), 800_000);
}
