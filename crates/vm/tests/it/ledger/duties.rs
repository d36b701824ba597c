use session_core::{Epoch, Span, SwarmId};
use session_crypto::Signer as _;
use session_protocol::chain::transaction::bitmap;
use session_protocol::chain::{Action, Amount};
use session_protocol::commitment::Commitment;
use session_protocol::schedule::Phase;
use session_vm::ledger::Rejection;
use session_vm::query;
use session_vm::records::{Ballots, NodeStatus, StorageCommitments};

use super::network::ROOT;
use super::world::{HOUR, World, checked};

const NODES: usize = 12;

fn vote(epoch: u64, bits: usize, passed: &[usize], failed: &[usize]) -> Action {
    let set = |places: &[usize]| bitmap(bits, places.iter().copied());
    Action::UptimeVote { epoch: Epoch(epoch), passed: set(passed), failed: set(failed) }
}

#[test]
fn a_vote_is_due_once_and_at_the_end_of_its_epoch() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    // Ten of the ring, eleven mates.
    let bits = world.roster().targets(&node).len();
    assert_eq!(bits, 21);
    let fine = vote(0, bits, &[0, 20], &[1]);

    for phase in [Phase::Deal, Phase::Ack, Phase::Reveal] {
        world.until(phase);
        assert_eq!(world.duty(&node, fine.clone()), Err(Rejection::WrongPhase { phase }));
    }
    world.until(Phase::Recover);
    let (got, due) = (Epoch(1), Epoch(0));
    let early = world.duty(&node, vote(1, bits, &[], &[]));
    assert_eq!(early, Err(Rejection::WrongEpoch { got, due }));
    let both = world.duty(&node, vote(0, bits, &[3, 4], &[4]));
    assert_eq!(both, Err(Rejection::VoteBoth { target: 4 }));
    for bad in [
        vote(0, 8, &[], &[]),    // a byte short
        vote(0, 32, &[], &[]),   // a byte too long
        vote(0, 24, &[21], &[]), // a bit behind the end
        vote(0, 24, &[], &[23]),
    ] {
        assert_eq!(world.duty(&node, bad), Err(Rejection::Bitmap { bits }));
    }
    let tx = world.duty(&node, fine.clone()).unwrap();
    let ballot = query::get::<Ballots>(&world.state, &node).unwrap();
    assert_eq!((ballot.epoch, ballot.tx), (Epoch(0), tx));
    // Replayed, or changed.
    assert_eq!(world.duty(&node, fine.clone()), Err(Rejection::DutyDone));
    assert_eq!(world.duty(&node, vote(0, bits, &[1], &[])), Err(Rejection::DutyDone));
    world.next_epoch();
    assert_eq!(query::get::<Ballots>(&world.state, &node), None);
    world.until(Phase::Recover);
    let late = world.duty(&node, fine);
    assert_eq!(late, Err(Rejection::WrongEpoch { got: Epoch(0), due: Epoch(1) }));
}

#[test]
fn duties_are_for_nodes_with_a_seat_and_free() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    // A person, whatever it offers.
    let sender = world.id(1);
    assert_eq!(world.run(1, Action::Drain { epochs: 1 }), Err(Rejection::NotANode { sender }));
    // The operator is not the node.
    let sender = world.id(0);
    let (_, commit) = world.commit(&node);
    assert_eq!(world.run(0, commit.clone()), Err(Rejection::NotANode { sender }));

    world.duty(&node, commit).unwrap();
    let account = query::account(&world.state, &world.nodes[&node].public().account_id());
    assert_eq!((account.balance, account.nonce), (Amount::ZERO, 1));
    assert_eq!(query::treasury(&world.state), Amount::ZERO);

    // A node that waits for its seat.
    world.next_epoch();
    let waiting = world.make_node();
    let action = world.register(1, &waiting, "new:1");
    world.run(1, action).unwrap();
    let commitment = Commitment {
        epoch: world.epoch(),
        swarm: SwarmId(7),
        count: 0,
        bytes: 0,
        root: ROOT.into(),
    };
    let refused = world.duty(&waiting, Action::StorageCommitment { commitment });
    assert_eq!(refused, Err(Rejection::NodeNotActive { status: "registered" }));
    assert_eq!(refused.unwrap_err().to_string(), "node not active");
    // Its keys are known from its registration: nothing but them signs for it.
    let keys = query::keys(&world.state, &world.nodes[&waiting].public().account_id());
    assert_eq!(keys.as_ref(), Some(world.nodes[&waiting].public()));
    let tx = world.duty_of(&waiting, 0, Action::Drain { epochs: 1 });
    let forged = tx.sign(&world.people[2], false, &mut world.rng);
    let bytes = session_core::Encode::to_bytes(&forged);
    let received = session_protocol::chain::ReceivedTransaction::parse(&bytes).unwrap();
    let verifier = session_crypto::fake::FakeVerifier;
    assert!(received.check(&world.chain, keys.as_ref(), &verifier).is_err());
}

#[test]
fn a_commitment_is_due_in_the_first_half_and_twice_at_most() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    let of = |commitment| Action::StorageCommitment { commitment };
    let fine = world.commitment(&node, ROOT);
    let elsewhere = Commitment { swarm: SwarmId(8), ..fine };
    let refused = world.duty(&node, of(elsewhere));
    assert_eq!(refused, Err(Rejection::WrongSwarm { got: SwarmId(8), swarm: SwarmId(7) }));
    let later = Commitment { epoch: Epoch(1), ..fine };
    let refused = world.duty(&node, of(later));
    assert_eq!(refused, Err(Rejection::WrongEpoch { got: Epoch(1), due: Epoch(0) }));

    world.duty(&node, of(fine)).unwrap();
    assert_eq!(world.duty(&node, of(fine)), Err(Rejection::DutyDone));
    world.until(Phase::Ack);
    let second = world.commitment(&node, [1; 32]);
    world.duty(&node, of(second)).unwrap();
    assert_eq!(world.duty(&node, of(fine)), Err(Rejection::DutyDone));
    let current = query::get::<StorageCommitments>(&world.state, &node).unwrap().current;
    assert_eq!(current, Some(second));

    let other = world.roster().nodes()[1];
    for phase in [Phase::Reveal, Phase::Recover] {
        world.until(phase);
        assert_eq!(world.duty(&other, of(fine)), Err(Rejection::WrongPhase { phase }));
    }
    // What was committed to is audited in the next epoch, and then forgotten.
    world.next_epoch();
    let record = query::get::<StorageCommitments>(&world.state, &node).unwrap();
    assert_eq!((record.current, record.previous), (None, Some(second)));
    world.duty(&node, of(world.commitment(&node, [2; 32]))).unwrap();
    world.next_epoch();
    world.next_epoch();
    let record = query::get::<StorageCommitments>(&world.state, &node).unwrap();
    assert_eq!((record.current, record.previous), (None, None));
}

#[test]
fn a_node_is_away_for_as_long_as_it_said_and_may() {
    let mut world = World::new(NODES);
    world.next_epoch();
    let node = world.roster().nodes()[0];
    let (swarm, since) = (SwarmId(7), Epoch(0));
    let active = NodeStatus::Active { swarm, since };
    let refused = world.duty(&node, Action::Drain { epochs: 0 }).unwrap_err();
    assert_eq!(refused, Rejection::NotSuspended { status: "active" });
    assert_eq!(refused.to_string(), "node cannot be activated from current status");
    let refused = world.duty(&node, Action::Drain { epochs: 3 });
    assert_eq!(refused, Err(Rejection::DrainBudget { got: 3, within: 24, max: 2 }));

    world.duty(&node, Action::Drain { epochs: 2 }).unwrap();
    let suspended = NodeStatus::Suspended { swarm, since, until: Epoch(3) };
    assert_eq!(world.node(&node).status, suspended);
    assert_eq!(query::active_nodes(&world.state).count(), NODES, "it keeps its seat");
    // Back at once: what lay ahead is given back, this epoch is used up.
    world.duty(&node, Action::Drain { epochs: 0 }).unwrap();
    assert_eq!(world.node(&node).status, active);
    assert_eq!(*world.node(&node).drained, [Epoch(1)]);
    // Away again, for the same epoch and another one.
    world.duty(&node, Action::Drain { epochs: 2 }).unwrap();
    assert_eq!(*world.node(&node).drained, [Epoch(1), Epoch(2)]);
    // It costs nothing, so there is an end to it.
    world.duty(&node, Action::Drain { epochs: 2 }).unwrap();
    assert_eq!(world.duty(&node, Action::Drain { epochs: 0 }), Err(Rejection::DutyDone));
    world.next_epoch();
    assert_eq!(world.node(&node).status, suspended);
    world.next_epoch();
    assert_eq!(world.node(&node).status, active, "it is back by itself");

    // Epochs 1 and 2 count until epoch 25 begins.
    while world.epoch() < Epoch(24) {
        let refused = world.duty(&node, Action::Drain { epochs: 1 });
        assert_eq!(refused, Err(Rejection::DrainBudget { got: 3, within: 24, max: 2 }));
        world.next_epoch();
    }
    let refused = world.duty(&node, Action::Drain { epochs: 1 });
    assert_eq!(refused, Err(Rejection::DrainBudget { got: 3, within: 24, max: 2 }));
    world.next_epoch();
    world.duty(&node, Action::Drain { epochs: 2 }).unwrap();
}

#[test]
fn only_those_who_serve_can_say_that_they_are_away() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    world.run(0, Action::Decommission { node }).unwrap();
    let refused = world.duty(&node, Action::Drain { epochs: 1 });
    assert_eq!(refused, Err(Rejection::NodeNotActive { status: "leaving" }));
    world.next_epoch();
    let refused = world.duty(&node, Action::Drain { epochs: 1 });
    assert_eq!(refused, Err(Rejection::NodeNotActive { status: "decommissioning" }));
}

#[test]
fn new_keys_count_from_the_next_epoch_on() {
    let mut world = World::new(NODES);
    world.next_epoch();
    let old = world.roster().nodes()[0];
    let (_, commit) = world.commit(&old);
    world.duty(&old, commit.clone()).unwrap();
    let new = world.make_node();
    let action = world.rotate(0, old, &new);
    world.run(0, action).unwrap();
    // The epoch's duties are those of the old keys.
    assert_eq!(world.node(&old).next, Some(new));
    assert_eq!(query::current_id(&world.state, &new), Some(old));
    assert!(world.roster().nodes().contains(&old));
    let sender = world.nodes[&new].public().account_id();
    assert_eq!(world.duty(&new, commit), Err(Rejection::NotANode { sender }));
    let another = world.make_node();
    let action = world.rotate(0, old, &another);
    assert_eq!(world.run(0, action), Err(Rejection::RotationWaits { next: new }));
    let taken = world.register(1, &new, "other:1");
    assert_eq!(world.run(1, taken), Err(Rejection::NodeRegistered { node: new }));
    world.until(Phase::Recover);
    let roster = world.roster();
    let (_, ballot) = world.vote(&roster, &old, |_| Some(true));
    world.duty(&old, ballot).unwrap();

    world.next_epoch();
    assert_eq!(query::current_id(&world.state, &old), Some(new));
    assert_eq!(world.node(&new).next, None);
    assert!(world.roster().nodes().contains(&new) && !world.roster().nodes().contains(&old));
    assert_eq!(query::get::<StorageCommitments>(&world.state, &new), None);
    let sender = world.nodes[&old].public().account_id();
    let (_, commit) = world.commit(&new);
    assert_eq!(world.duty(&old, commit.clone()), Err(Rejection::NotANode { sender }));
    world.duty(&new, commit).unwrap();
}

#[test]
fn keys_of_a_node_that_leaves_are_not_changed_any_more() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    let (first, second) = (world.make_node(), world.make_node());
    let action = world.rotate(0, node, &first);
    world.run(0, action).unwrap();
    world.run(0, Action::Decommission { node: first }).unwrap();
    let action = world.rotate(0, node, &second);
    let refused = world.run(0, action);
    assert_eq!(refused, Err(Rejection::NodeNotActive { status: "leaving" }));
    world.next_epoch();
    assert_eq!(query::current_id(&world.state, &first), Some(node));
    assert_eq!(world.node(&node).next, None);
}

#[test]
fn a_duty_cannot_be_moved_to_another_chain_or_replayed() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    let (_, commit) = world.commit(&node);
    let mut tx = world.duty_of(&node, 0, commit.clone());
    tx.chain = [9; 32].into();
    let foreign = checked(tx, &world.nodes[&node], false, &mut world.rng);
    let mut ledger = session_vm::ledger::Ledger::begin(&world.state, world.context());
    let refused = ledger.execute(&foreign, &session_crypto::fake::FakeVerifier);
    assert!(matches!(refused, Err(Rejection::Chain { .. })), "{refused:?}");
    let tx = world.signed_duty(&node, commit);
    ledger.execute(&tx, &session_crypto::fake::FakeVerifier).unwrap();
    let again = ledger.execute(&tx, &session_crypto::fake::FakeVerifier);
    assert_eq!(again, Err(Rejection::Nonce { got: 0, expected: 1 }));
    world.pass(HOUR + Span::from_secs(1));
}
