//! Probes and ballots.

use session_core::{Epoch, Span};
use session_protocol::chain::Action;
use session_protocol::roster::{Duty as Examined, Target};
use session_protocol::schedule::Phase;

use super::world::World;
use crate::coordinator::{Fault, Input, Lie, Verdict};

fn reach(world: &World, index: usize) -> Target {
    Target { node: world.nodes[index].id, duty: Examined::Reach }
}

#[test]
fn nodes_that_are_there_pass() {
    let mut world = World::new(6, 40);
    world.run_to_end(2);
    for epoch in 0..=2 {
        for index in 0..6 {
            assert_eq!(world.votes(epoch, &reach(&world, index)), [Some(true); 3], "epoch {epoch}");
        }
    }
    assert_eq!(world.sent["probe"], 3 * 6 * 3, "each is asked once by each examiner");
    let is_vote = |action: &Action| matches!(action, Action::UptimeVote { .. });
    assert!((0..6).all(|index| world.submissions(index, is_vote) == 3));
}

#[test]
fn a_node_that_is_gone_fails_for_everybody_who_looks() {
    let mut world = World::new(6, 41);
    world.run_to_end(0);
    world.stop(2);
    world.run_to_end(1);
    assert_eq!(world.votes(1, &reach(&world, 2)), [Some(false); 3]);
    for index in [0, 1, 3, 4, 5] {
        let votes = world.votes(1, &reach(&world, index));
        assert!(votes.iter().all(|vote| *vote == Some(true)) && !votes.is_empty());
    }
    world.start(2);
    world.run_to_end(2);
    assert_eq!(world.votes(2, &reach(&world, 2)), [Some(true); 3]);
}

#[test]
fn a_node_that_comes_back_in_time_passes() {
    let mut world = World::new(6, 42);
    world.stop(2);
    world.run_until(world.now + Span::from_secs(20));
    world.start(2);
    world.run_to_end(0);
    assert_eq!(world.votes(0, &reach(&world, 2)), [Some(true); 3], "they tried again");
}

#[test]
fn a_node_without_room_or_with_a_wrong_clock_fails() {
    let mut world = World::new(6, 43);
    world.give(1, Input::FreeBytes(999));
    world.nodes[2].ahead = Span::from_secs(61);
    world.run_to_end(0);
    for index in [1, 2] {
        // Node 2 thinks that the epoch is over, and votes on nobody.
        let votes = world.votes(0, &reach(&world, index));
        assert!(votes.len() >= 2 && votes.iter().all(|vote| *vote == Some(false)), "{votes:?}");
    }
    let fault = |index: usize| {
        let mut all = (0..6).flat_map(|of| world.verdicts(of));
        let target = reach(&world, index);
        all.find_map(|(of, verdict)| match verdict {
            Verdict::Failed(fault) if of == target => Some(fault),
            _ => None,
        })
    };
    assert_eq!(fault(1), Some(Fault::NoRoom));
    assert_eq!(fault(2), Some(Fault::Clock));
}

#[test]
fn who_reaches_nobody_judges_nobody() {
    let mut world = World::new(4, 44);
    for index in 1..4 {
        world.stop(index);
    }
    world.run_to_end(0);
    let alone = (Epoch(0), world.nodes[0].id);
    let ballot = &world.chain.ballots[&alone];
    assert!(ballot.values().all(Option::is_none), "{ballot:?}");
}

#[test]
fn a_node_that_announced_to_be_away_is_not_judged() {
    let mut world = World::new(6, 45);
    world.call(2, |coordinator, cx| coordinator.drain(cx, 2));
    world.run_to(0, Phase::Ack);
    assert!(world.chain.draining.contains(&world.nodes[2].id));
    let is_drain = |action: &Action| matches!(action, Action::Drain { .. });
    assert_eq!(world.submissions(2, is_drain), 1);
    world.run_to(1, Phase::Deal);
    world.stop(2);
    world.run_to_end(1);
    assert_eq!(world.votes(1, &reach(&world, 2)), [None; 3]);
    world.start(2);
    world.call(2, |coordinator, cx| coordinator.drain(cx, 0));
    world.run_to_end(2);
    assert!(world.chain.draining.is_empty());
    assert_eq!(world.votes(2, &reach(&world, 2)), [Some(true); 3]);
}

#[test]
fn an_examiner_that_fails_everybody_is_alone_with_it() {
    let mut world = World::with_lies(6, 46, &[(0, Lie::FalseFail)]);
    world.run_to_end(0);
    let liar = (Epoch(0), world.nodes[0].id);
    assert!(world.chain.ballots[&liar].values().all(|vote| *vote == Some(false)));
    for index in 1..6 {
        let votes = world.votes(0, &reach(&world, index));
        assert!(votes.iter().filter(|vote| **vote == Some(true)).count() >= 2);
    }
}

#[test]
fn bad_links_fail_nobody() {
    let mut world = World::new(6, 47);
    world.loss = 150;
    world.run_to_end(3);
    let failed = world.chain.ballots.values().flatten();
    let failed =
        failed.filter(|(target, vote)| target.duty == Examined::Reach && **vote == Some(false));
    // Three tries, of which each fails in 28 of 100 cases; a majority never does.
    assert!(failed.count() <= 6);
}

#[test]
fn probes_come_at_times_that_nobody_can_tell() {
    let (mut one, mut other) = (World::new(6, 48), World::new(6, 49));
    for world in [&mut one, &mut other] {
        world.run_to(0, Phase::Ack);
    }
    let some = |world: &World| {
        let early = (0..6).flat_map(|index| world.verdicts(index));
        early
            .filter(|(target, verdict)| {
                target.duty == Examined::Reach && *verdict == Verdict::Passed
            })
            .count()
    };
    // A quarter of the epoch has seen about two fifths of them.
    for world in [&one, &other] {
        assert!((2..16).contains(&some(world)), "{} of 18", some(world));
    }
}
