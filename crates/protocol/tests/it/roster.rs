//! Who does what: the same for everybody, equal work for all, and nobody forgotten.

use std::collections::BTreeSet;

use session_core::{Digest, Entropy as _, Epoch, NodeId, SeededEntropy, Span, SwarmId, Time};
use session_protocol::roster::{
    AUDIT_LEAVES, BEACON_MEMBERS_MAX, Duty, EXAMINERS_MAX, Roster, TARGETS_MAX, Target,
    audit_leaves,
};
use session_protocol::schedule::{Phase, Schedule};

use crate::codec::check;
use crate::values::time;

fn seats(nodes: usize, swarms: u64, seed: u64) -> Vec<(SwarmId, NodeId)> {
    let rng = &mut SeededEntropy::new(seed);
    (0..nodes).map(|n| (SwarmId(n as u64 % swarms), NodeId::from(rng.bytes32()))).collect()
}

fn roster(nodes: usize, swarms: u64, examiners: usize) -> Roster {
    Roster::new(&[7; 32].into(), Epoch(3), &seats(nodes, swarms, 1), examiners)
}

#[test]
fn everybody_has_as_many_examiners() {
    for (nodes, swarms, examiners, expected) in [
        (1, 1, 10, 0),
        (2, 1, 10, 1),
        (10, 1, 10, 9),
        (11, 2, 10, 10),
        (60, 6, 10, 10),
        (80, 8, 99, EXAMINERS_MAX),
    ] {
        let roster = roster(nodes, swarms, examiners);
        assert_eq!(roster.nodes().len(), nodes);
        for node in roster.nodes() {
            for found in [roster.examiners(node), roster.reaches(node)] {
                let different: BTreeSet<_> = found.iter().collect();
                assert_eq!((found.len(), different.len()), (expected, expected), "{nodes} nodes");
                assert!(!found.contains(node), "nobody examines itself");
            }
        }
    }
}

#[test]
fn examiners_and_the_examined_agree() {
    let roster = roster(45, 4, 10);
    for node in roster.nodes() {
        for other in roster.nodes() {
            assert_eq!(
                roster.reaches(node).contains(other),
                roster.examiners(other).contains(node)
            );
            assert_eq!(roster.mates(node).contains(other), roster.mates(other).contains(node));
        }
        let swarm = roster.swarm_of(node).unwrap();
        let mut members = roster.mates(node);
        members.push(*node);
        members.sort_unstable();
        assert_eq!(members, roster.swarms()[&swarm]);
    }
}

#[test]
fn voters_and_targets_agree() {
    let roster = roster(45, 4, 10);
    for node in roster.nodes() {
        for duty in [Duty::Reach, Duty::Keep] {
            let target = Target { node: *node, duty };
            let voters: BTreeSet<NodeId> = roster.voters(&target).into_iter().collect();
            let having: BTreeSet<NodeId> = roster
                .nodes()
                .iter()
                .filter(|voter| roster.targets(voter).contains(&target))
                .copied()
                .collect();
            assert_eq!(voters, having);
        }
        let targets = roster.targets(node);
        assert_eq!(targets.len(), targets.iter().collect::<BTreeSet<_>>().len(), "none twice");
        assert!(targets.is_sorted_by_key(|target| target.duty), "first whom it reaches");
    }
}

#[test]
fn it_depends_on_randomness_and_seats_alone() {
    let mut seats = seats(30, 3, 1);
    let before = Roster::new(&[7; 32].into(), Epoch(3), &seats, 10);
    seats.reverse();
    assert_eq!(Roster::new(&[7; 32].into(), Epoch(3), &seats, 10), before, "in any order");
    let other = Roster::new(&[8; 32].into(), Epoch(3), &seats, 10);
    assert_ne!(other.nodes(), before.nodes());
    assert_ne!(other.attesters(), before.attesters());
}

#[test]
fn strangers_have_no_duties() {
    let roster = roster(10, 1, 5);
    let stranger = NodeId::from([0xee; 32]);
    assert!(roster.reaches(&stranger).is_empty() && roster.examiners(&stranger).is_empty());
    assert!(roster.targets(&stranger).is_empty() && roster.mates(&stranger).is_empty());
    assert_eq!(roster.swarm_of(&stranger), None);
    let nobody = Roster::new(&[7; 32].into(), Epoch(0), &[], 5);
    assert!(nobody.dealers().is_empty() && nobody.attesters().is_empty());
}

/// More members than a swarm may have must not make a ballot that does not fit.
#[test]
fn ballots_are_bounded() {
    let roster = roster(120, 1, EXAMINERS_MAX);
    assert!(roster.nodes().iter().all(|node| roster.targets(node).len() == TARGETS_MAX));
}

#[test]
fn dealers_and_attesters() {
    for nodes in [1, 2, 3, 21, 64, 65, 200] {
        let roster = roster(nodes, 1 + nodes as u64 / 10, 10);
        let dealers = roster.dealers();
        assert_eq!(dealers.len(), nodes.min(BEACON_MEMBERS_MAX));
        assert!(dealers.is_sorted_by(|a, b| a < b), "in the order of ids, none twice");
        let attesters = roster.attesters();
        let different: BTreeSet<_> = attesters.iter().collect();
        assert_eq!((attesters.len(), different.len()), (nodes.min(21), nodes.min(21)));
        assert!(attesters.iter().all(|node| roster.nodes().contains(node)));
    }
}

#[test]
fn audited_leaves_are_different_and_in_range() {
    let node = NodeId::from([1; 32]);
    for count in [0, 1, 31, 32, 33, 34, 1_000, u64::MAX] {
        let leaves = audit_leaves(&[7; 32].into(), &node, count);
        assert_eq!(leaves.len() as u64, count.min(AUDIT_LEAVES as u64), "of {count}");
        assert!(leaves.is_sorted_by(|a, b| a < b) && leaves.iter().all(|leaf| *leaf < count));
    }
    let of = |randomness: [u8; 32], node: [u8; 32]| {
        audit_leaves(&Digest::from(randomness), &node.into(), 100_000)
    };
    assert_eq!(of([7; 32], [1; 32]), of([7; 32], [1; 32]));
    assert_ne!(of([7; 32], [1; 32]), of([8; 32], [1; 32]));
    assert_ne!(of([7; 32], [1; 32]), of([7; 32], [2; 32]));
}

/// Drawn leaves are spread over the whole range.
#[test]
fn every_leaf_is_audited_some_time() {
    let mut seen = BTreeSet::new();
    for epoch in 0..40_u8 {
        seen.extend(audit_leaves(&[epoch; 32].into(), &[1; 32].into(), 100));
    }
    assert_eq!(seen.len(), 100);
}

/// Of 10,000 items a node dropped a share and committed to all of them.
fn caught(share: u64, epochs: u64, tries: u64) -> f64 {
    let rng = &mut SeededEntropy::new(share);
    let is_dropped: Vec<bool> = (0..10_000).map(|item| item % (100 / share) == 0).collect();
    let mut seen = 0;
    for _ in 0..tries {
        let node = NodeId::from(rng.bytes32());
        let audited = |_| audit_leaves(&rng.bytes32().into(), &node, 10_000);
        let mut audits = (0..epochs).map(audited);
        let is_caught = audits.any(|leaves| leaves.iter().any(|leaf| is_dropped[*leaf as usize]));
        seen += u64::from(is_caught);
    }
    seen as f64 / tries as f64
}

/// 1 - 0.9^32 = 0.966 of a draw with repetition; without it a little more. Of one in a hundred a
/// day of hourly epochs leaves 1 in 2,250.
#[test]
fn who_drops_a_tenth_is_caught_in_an_epoch_and_who_drops_a_hundredth_in_a_day() {
    let (tenth, hundredth) = (caught(10, 1, 4_000), caught(1, 24, 8_000));
    assert!(tenth > 0.958, "{tenth}");
    assert!(hundredth > 0.999, "{hundredth}");
}

#[test]
fn an_epoch_has_four_quarters() {
    let schedule = Schedule::of(time(1_000), Span::from_millis(401), Epoch(2));
    assert_eq!(schedule.start, time(1_802));
    assert_eq!(schedule.end(), Schedule::of(time(1_000), schedule.length, Epoch(3)).start);
    let begins: Vec<Time> = Phase::ALL.into_iter().map(|phase| schedule.begin(phase)).collect();
    assert_eq!(begins, [time(1_802), time(1_902), time(2_002), time(2_102)]);
    for (at, phase) in [
        (0, Phase::Deal),
        (1_901, Phase::Deal),
        (1_902, Phase::Ack),
        (2_002, Phase::Reveal),
        (2_101, Phase::Reveal),
        (2_102, Phase::Recover),
        (9_999, Phase::Recover),
    ] {
        assert_eq!(schedule.phase(time(at)), phase, "{at}");
    }
    // An enemy's epoch saturates.
    assert_eq!(Schedule::of(time(1), Span::from_secs(3600), Epoch(u64::MAX)).end(), Time::MAX);
    check(&schedule, "000000000000070a 0000000000000191");
}
