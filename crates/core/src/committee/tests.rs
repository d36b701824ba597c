use super::{Committee, CommitteeError, MEMBERS_MAX, MEMBERS_MIN, quorum};
use crate::{Digest, Epoch, NodeId, ServiceId, sha256};

fn nodes(count: usize) -> Vec<NodeId> {
    (0..count).map(|number| sha256(format!("node-{number}").as_bytes()).into()).collect()
}

fn assign(epoch: u64, nodes: &[NodeId]) -> Result<Committee, CommitteeError> {
    Committee::assign(&Digest::from([1; 32]), &ServiceId::from([2; 32]), Epoch(epoch), nodes)
}

#[test]
fn the_quorum_is_more_than_two_thirds() {
    assert_eq!(quorum(0), Err(CommitteeError::Empty));
    let table = [(1, 1), (2, 2), (3, 3), (4, 3), (7, 5), (10, 7), (21, 15), (64, 43), (100, 67)];
    for (members, needed) in table {
        assert_eq!(quorum(members), Ok(needed), "{members}");
    }
    for members in 1..=10_000 {
        assert_eq!(quorum(members), Ok(2 * members / 3 + 1));
    }
    assert!(quorum(usize::MAX).is_ok_and(|needed| needed < usize::MAX));
}

/// The integer formula and the reference's `int(n * 0.67) + 1` agree for every committee size.
#[test]
fn the_quorum_is_that_of_the_reference_up_to_99_members() {
    for members in 1..100 {
        assert_eq!(quorum(members), Ok(members * 67 / 100 + 1), "{members}");
    }
    assert_ne!(quorum(100), Ok(100 * 67 / 100 + 1));
}

#[test]
fn a_committee_has_three_to_twenty_one_members() {
    for count in 0..MEMBERS_MIN {
        let too_few = CommitteeError::TooFew { got: count, min: MEMBERS_MIN };
        assert_eq!(assign(1, &nodes(count)), Err(too_few));
    }
    for count in MEMBERS_MIN..40 {
        let committee = assign(1, &nodes(count)).unwrap();
        assert_eq!(committee.members().len(), count.min(MEMBERS_MAX));
        assert_eq!(Ok(committee.quorum()), quorum(committee.members().len()));
        assert_eq!(committee.silent_max() + committee.quorum(), committee.members().len());
    }
    assert_eq!(assign(1, &nodes(3)).unwrap().silent_max(), 0);
    assert_eq!(assign(1, &nodes(4)).unwrap().silent_max(), 1);
}

#[test]
fn order_and_repetitions_do_not_matter() {
    let nodes = nodes(30);
    let committee = assign(1, &nodes).unwrap();
    let mut shuffled: Vec<_> = nodes.iter().rev().copied().collect();
    shuffled.extend_from_slice(&nodes[..10]);
    assert_eq!(assign(1, &shuffled).unwrap(), committee);
    let one_node = [nodes[0]; 5];
    assert_eq!(assign(1, &one_node), Err(CommitteeError::TooFew { got: 1, min: MEMBERS_MIN }));
}

#[test]
fn every_input_changes_the_choice() {
    let nodes = nodes(40);
    let choose = |randomness, service, epoch| {
        let (randomness, service) =
            (Digest::from([randomness; 32]), ServiceId::from([service; 32]));
        Committee::assign(&randomness, &service, Epoch(epoch), &nodes).unwrap()
    };
    let committee = choose(1, 2, 3);
    assert_eq!(choose(1, 2, 3), committee);
    assert_ne!(choose(9, 2, 3), committee);
    assert_ne!(choose(1, 9, 3), committee);
    assert_ne!(choose(1, 2, 9), committee);
}

/// Every node gets its turn: none is favoured by its id.
#[test]
fn seats_are_spread_evenly() {
    let nodes = nodes(42);
    let mut seats = std::collections::BTreeMap::<NodeId, u32>::new();
    for epoch in 0..1000 {
        for member in assign(epoch, &nodes).unwrap().members() {
            *seats.entry(*member).or_default() += 1;
        }
    }
    // 500 expected; 6 standard deviations are 95.
    assert_eq!(seats.len(), 42);
    assert!(seats.values().all(|seats| (405..=595).contains(seats)), "{seats:?}");
}
