//! Rules are broken on purpose: the checks must say so.

use session_core::{MessageId, Span};
use session_crypto::Signer;
use session_crypto::fake::FakeIdentity;
use session_sim::fault::Fault;
use session_sim::host::HostId;
use session_sim::invariants;
use session_sim::node::{Order, Shell};
use session_sim::note::Note;
use session_sim::person::Habits;
use session_sim::{Scenario, Story, World};

fn world(story: Story, seed: u64) -> World {
    Scenario::new(story).world(seed)
}

#[test]
fn a_node_that_answers_before_it_commits() {
    let mut world = world(Story::Calm, 1);
    let commit_after = Span::from_millis(50);
    world.set_shell(HostId(4), Shell { order: Order::AnswerFirst, commit_after });
    let violation = world.run_until(Span::from_secs(120)).expect_err("it must be noticed");
    assert_eq!(violation.invariant, "receipt_implies_durable_copy");
    let text = violation.to_string();
    assert!(text.contains("seed 1, ") && text.contains("Replicate of "), "{text}");
}

#[test]
fn members_that_do_not_keep_the_same() {
    let mut world = world(Story::Calm, 2);
    world.run_until(Span::from_secs(90)).unwrap_or_else(|violation| panic!("{violation}"));
    world.plan(Span::from_secs(91), Fault::Crash { node: HostId(3), disk_lost: true });
    world.run_until(Span::from_secs(100)).unwrap_or_else(|violation| panic!("{violation}"));
    let difference = world.disagreement().expect("one of them has nothing");
    assert!(difference.contains("HostId") || difference.contains("NodeId"), "{difference}");
    session_sim::run::settle(&mut world).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(world.disagreement(), None);
    assert!(world.nodes()[3].health().is_some_and(|health| health.store.items > 10));
}

#[test]
fn messages_that_are_lost_with_every_disk() {
    let rarely = Span::from_secs(300);
    let habits = Habits { read_every: rarely, subscribes: false, ..Habits::default() };
    let mut world = Scenario { habits, ..Scenario::new(Story::Calm) }.world(3);
    for node in (0..10).map(HostId) {
        world.plan(Span::from_secs(60), Fault::Crash { node, disk_lost: true });
    }
    world.run_until(Span::from_secs(90)).unwrap_or_else(|violation| panic!("{violation}"));
    // Nobody has read the messages of the last minute.
    let violation = session_sim::run::settle(&mut world).expect_err("messages are gone");
    assert_eq!(violation.invariant, "everything_comes_to_rest");
    assert!(violation.what.contains("messages were not read"), "{}", violation.what);
}

#[test]
fn disks_that_quietly_forget() {
    let mut world = world(Story::Calm, 4);
    for node in (0..10).map(HostId) {
        world.plan(Span::from_secs(60), Fault::Rot { node });
    }
    let violation = world.run_until(Span::from_secs(90)).expect_err("it must be noticed");
    assert_eq!(violation.invariant, "acknowledged_is_retrievable");
    assert!(violation.after.as_millis() <= 62_000, "noticed only after {}", violation.after);
}

#[test]
fn items_served_after_their_expiry() {
    let world = world(Story::Calm, 5);
    let served = |expiry| Note::Served {
        node: HostId(0),
        clock: Some(world.now()),
        address: None,
        items: vec![(MessageId::from([1; 32]), expiry)],
    };
    let millisecond = Span::from_millis(1);
    let in_time = served(world.now() + millisecond);
    assert_eq!(invariants::expired_is_never_served(&world, &in_time), Ok(()));
    assert!(invariants::expired_is_never_served(&world, &served(world.now())).is_err());
}

#[test]
fn punishment_of_the_innocent() {
    let world = world(Story::Calm, 6);
    let penalized = |peer| Note::Penalized { node: HostId(0), peer, why: "an accident".to_owned() };
    let stranger = penalized(FakeIdentity::new(&[1; 32]).public().node_id());
    assert_eq!(invariants::no_honest_node_is_penalized(&world, &stranger), Ok(()));
    let innocent = penalized(world.nodes()[1].id());
    assert!(invariants::no_honest_node_is_penalized(&world, &innocent).is_err());
}
