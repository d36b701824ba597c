use session_core::{Entropy as _, SeededEntropy};

use super::*;

fn swarms(size: usize, of: &[(u64, usize)], rng: &mut SeededEntropy) -> Swarms {
    let members = of.iter().map(|(id, count)| {
        let nodes = (0..*count).map(|_| NodeId::from(rng.bytes32()));
        (SwarmId(*id), nodes.collect())
    });
    Swarms { size, randomness: [7; 32].into(), members: members.collect() }
}

fn sizes(swarms: &Swarms) -> Vec<usize> {
    let mut sizes: Vec<usize> = swarms.members.values().map(BTreeSet::len).collect();
    sizes.sort_unstable();
    sizes
}

fn check(swarms: &Swarms, what: &str) {
    let size = swarms.size;
    let sizes = sizes(swarms);
    let (Some(small), Some(large)) = (sizes.first(), sizes.last()) else { return };
    assert!(*large < swarms.split_size(), "{what}: {sizes:?} of {size}");
    assert!(*small > 0, "{what}: {sizes:?} of {size}");
    if sizes.len() > 1 {
        assert!(2 * small >= size, "{what}: {sizes:?} of {size}");
        assert!(10 * small >= 7 * size || *large <= size, "{what}: {sizes:?} of {size}");
    }
    assert!(!swarms.members.contains_key(&NO_SWARM));
}

#[test]
fn swarms_settle_within_their_bounds_and_stay_there() {
    let mut rng = SeededEntropy::new(1);
    for round in 0..2_000 {
        let size = 1 + rng.below(SWARM_MEMBERS_MAX as u64) as usize;
        let of: Vec<(u64, usize)> = (0..rng.below(9))
            .map(|_| (rng.below(u64::MAX), 1 + rng.below(SWARM_MEMBERS_MAX as u64) as usize))
            .collect();
        let mut swarms = swarms(size, &of, &mut rng);
        for _ in 0..rng.below(80) {
            swarms.seat(NodeId::from(rng.bytes32()));
        }
        let before: BTreeSet<NodeId> = swarms.seats().into_keys().collect();
        swarms.settle();
        check(&swarms, &format!("round {round}"));
        let settled = swarms.seats();
        assert_eq!(settled.keys().copied().collect::<BTreeSet<_>>(), before);
        assert_eq!(settled.len(), swarms.members.values().map(BTreeSet::len).sum::<usize>());
        swarms.settle();
        assert_eq!(swarms.seats(), settled, "nothing moves without a reason");
    }
}

#[test]
fn each_rule_has_its_bound() {
    let mut rng = SeededEntropy::new(2);
    for (before, after) in [
        // Full, and fuller than that.
        (vec![10, 10], vec![10, 10]),
        (vec![19, 19], vec![19, 19]),
        // At 70 % nothing is taken, below it is, but only from more than full ones.
        (vec![7, 11], vec![7, 11]),
        (vec![6, 11], vec![7, 10]),
        (vec![6, 10], vec![6, 10]),
        (vec![5, 12], vec![7, 10]),
        // Half is enough to stay, less is not.
        (vec![5, 10], vec![5, 10]),
        (vec![4, 10], vec![14]),
        (vec![4, 4], vec![8]),
        (vec![4], vec![4]),
        (vec![4, 8, 9], vec![10, 11]),
        // Twice as many split, and twice that twice.
        (vec![20], vec![10, 10]),
        (vec![21], vec![10, 11]),
        (vec![40], vec![10, 10, 10, 10]),
    ] {
        let of: Vec<(u64, usize)> = before.iter().map(|count| (rng.next_u64(), *count)).collect();
        let mut swarms = swarms(10, &of, &mut rng);
        swarms.settle();
        assert_eq!(sizes(&swarms), after, "{before:?}");
    }
}

#[test]
fn a_new_swarm_takes_the_middle_of_the_wider_gap() {
    let mut rng = SeededEntropy::new(3);
    for (ids, large, new) in [
        (vec![100_u64], 100_u64, 100 + (1 << 63)),
        (vec![0, 1_000, 1_400], 1_000, 500),
        (vec![0, 300, 1_400], 300, 850),
        (vec![0, 1_000], 0, (1 << 63) + 500),
        // Without room on either side it takes the widest gap there is.
        (vec![7, 8, 9, 1_009], 8, (1 << 63) + 508),
        // The id that stands for none is left out.
        (vec![u64::MAX - 1, 0], 0, (1 << 63) - 1),
    ] {
        let of: Vec<(u64, usize)> =
            ids.iter().map(|id| (*id, if *id == large { 20 } else { 10 })).collect();
        let mut swarms = swarms(10, &of, &mut rng);
        assert!(swarms.split());
        let added = swarms.members.keys().find(|id| !ids.contains(&id.0));
        assert_eq!(added, Some(&SwarmId(new)), "{ids:?}");
        assert_eq!(swarms.members[&SwarmId(large)].len(), 10);
        assert!(!swarms.split());
    }
}

#[test]
fn no_swarm_is_called_what_stands_for_none() {
    let mut rng = SeededEntropy::new(4);
    let swarms = swarms(10, &[(u64::MAX - 1, 20), (0, 10)], &mut rng);
    assert_eq!(swarms.place_beside(SwarmId(u64::MAX - 1)), Some(SwarmId((1 << 63) - 1)));
    assert_ne!(swarms.first(), NO_SWARM);
}

#[test]
fn who_moves_follows_from_the_randomness_alone() {
    let mut rng = SeededEntropy::new(5);
    let of = [(1 << 60, 35), (5 << 60, 3), (9 << 60, 12)];
    let first = swarms(10, &of, &mut rng);
    let again = |randomness: u8| {
        let randomness = [randomness; 32].into();
        let mut swarms = Swarms { size: 10, randomness, members: first.members.clone() };
        swarms.settle();
        swarms.seats()
    };
    assert_eq!(again(7), again(7));
    assert_ne!(again(7), again(8));
}
