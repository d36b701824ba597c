use session_core::{Entropy as _, SeededEntropy};

use super::*;

fn layout(ids: impl IntoIterator<Item = u64>) -> Layout {
    Layout::new(0, ids.into_iter().map(|id| (SwarmId(id), vec![NodeId::from([1; 32])])))
}

/// The nearest swarm as the definition says; the lower id where two are equally near.
fn nearest(place: u64, ids: &[SwarmId]) -> Option<SwarmId> {
    let distance = |id: u64| place.wrapping_sub(id).min(id.wrapping_sub(place));
    ids.iter().copied().min_by_key(|swarm| (distance(swarm.0), *swarm))
}

/// Places where something may change, and any others.
fn places(layout: &Layout, rng: &mut SeededEntropy) -> Vec<u64> {
    let mut places: Vec<u64> = (0..200).map(|_| rng.next_u64()).collect();
    for (swarm, _) in layout.swarms() {
        let range = layout.range(swarm).unwrap();
        for end in [range.first, range.last, swarm.0] {
            places.extend([end.wrapping_sub(1), end, end.wrapping_add(1)]);
        }
    }
    places
}

#[test]
fn ranges_are_what_is_nearest() {
    let mut rng = SeededEntropy::new(1);
    let mut layouts = vec![
        layout([5]),
        layout([0, 1]),
        layout([0, u64::MAX]),
        layout([10, 20, 30]),
        layout([0, 1 << 63]),
        layout([3, 10, u64::MAX - 5]),
        layout([0, 2, 4, 5, 6]),
    ];
    for count in 1..40 {
        layouts.push(layout((0..count).map(|_| rng.next_u64())));
        layouts.push(layout((0..count).map(|_| rng.below(100))));
    }
    for layout in layouts {
        let ids: Vec<SwarmId> = layout.swarms().map(|(swarm, _)| swarm).collect();
        for place in places(&layout, &mut rng) {
            let nearest = nearest(place, &ids).unwrap();
            for swarm in &ids {
                let range = layout.range(*swarm).unwrap();
                let (held, expected) = (range.contains(place), *swarm == nearest);
                assert_eq!(held, expected, "{place} of {swarm} in {ids:?}");
            }
        }
    }
}

#[test]
fn overlaps_hold_what_both_hold() {
    let mut rng = SeededEntropy::new(2);
    let near = |rng: &mut SeededEntropy| match rng.below(3) {
        0 => rng.below(20),
        1 => u64::MAX - rng.below(20),
        _ => (1 << 63) + rng.below(20),
    };
    for _ in 0..20_000 {
        let left = RingRange { first: near(&mut rng), last: near(&mut rng) };
        let right = RingRange { first: near(&mut rng), last: near(&mut rng) };
        let pieces = overlap(left, right);
        for _ in 0..20 {
            let place = near(&mut rng);
            let both = left.contains(place) && right.contains(place);
            let found = pieces.iter().filter(|piece| piece.contains(place)).count();
            assert_eq!(found > 0, both, "{place} in {left:?} and {right:?}: {pieces:?}");
        }
        for piece in pieces {
            assert!(covers(left, piece) && covers(right, piece), "{left:?} {right:?} {piece:?}");
        }
    }
    assert!(covers(RingRange::ALL, RingRange { first: 5, last: 4 }));
    assert!(!covers(RingRange { first: 5, last: 9 }, RingRange::ALL));
    assert!(!covers(RingRange { first: 5, last: 9 }, RingRange { first: 8, last: 10 }));
}
