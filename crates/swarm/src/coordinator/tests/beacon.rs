//! The beacon with dealers that are honest, silent, late, bad, or copy.

use session_core::{Epoch, Span};
use session_protocol::chain::Action;
use session_protocol::chain::view::BeaconMode;
use session_protocol::schedule::Phase;

use super::world::World;
use crate::coordinator::Lie;

/// Keys registered in epoch 0 make the beacon of epoch 2, in epoch 1.
const FIRST: u64 = 1;

#[test]
fn every_honest_dealer_contributes() {
    let mut world = World::new(7, 1);
    world.run_to(FIRST, Phase::Reveal);
    assert_eq!(world.chain.dealings.len(), 7);
    assert_eq!(world.chain.acknowledged.len(), 7);
    assert!(world.chain.acknowledged.values().all(|held| held.len() == 7));
    assert!(world.chain.reveals.is_empty(), "nobody reveals before the shares are acknowledged");
    world.run_to(FIRST, Phase::Recover);
    assert_eq!(world.chain.reveals.len(), 7);
    world.run_to_end(FIRST);
    assert!(world.chain.shown.is_empty(), "nobody was silent");
    world.run_to(5, Phase::Ack);
    for epoch in 2..=5 {
        assert_eq!(world.chain.modes[&Epoch(epoch)], BeaconMode::Shared, "epoch {epoch}");
    }
    assert_eq!(world.chain.refused, vec![]);
    for index in 0..7 {
        let is_ack = |action: &Action| matches!(action, Action::BeaconAck { .. });
        assert_eq!(world.submissions(index, is_ack), 4, "one for each beacon");
        let is_key = |action: &Action| matches!(action, Action::RegisterBeaconKey { .. });
        assert_eq!(world.submissions(index, is_key), 1);
    }
}

#[test]
fn nobody_reveals_while_the_chain_takes_acknowledgements() {
    let mut world = World::new(4, 2);
    world.run_to_end(4);
    let reveals = world.submitted.iter().filter_map(|(_, time, action)| match action {
        Action::BeaconReveal { epoch, .. } => Some((*time, *epoch)),
        _ => None,
    });
    let mut count = 0;
    for (time, epoch) in reveals {
        let dealt_in = Epoch(epoch.0 - 1);
        let schedule = session_protocol::schedule::Schedule::of(
            super::chain::GENESIS,
            super::chain::LENGTH,
            dealt_in,
        );
        assert!(schedule.begin(Phase::Reveal) <= time && time < schedule.begin(Phase::Recover));
        count += 1;
    }
    assert_eq!(count, 4 * 4);
}

#[test]
fn a_clock_alone_makes_nobody_reveal() {
    let mut world = World::new(4, 7);
    world.run_to(FIRST, Phase::Ack);
    world.is_chain_lazy = true;
    world.run_to(FIRST, Phase::Recover);
    assert_eq!(world.chain.acknowledged.len(), 4);
    let is_reveal = |action: &Action| matches!(action, Action::BeaconReveal { .. });
    assert_eq!(world.submissions(0, is_reveal), 0, "acknowledgements could still come");
}

#[test]
fn shares_of_a_silent_dealer_are_shown_and_make_the_same_beacon() {
    for lie in [Lie::SilentDealer, Lie::LateReveal] {
        let mut honest = World::new(7, 3);
        let mut silent = World::with_lies(7, 3, &[(2, lie)]);
        for world in [&mut honest, &mut silent] {
            world.run_to_end(FIRST);
        }
        assert_eq!(silent.chain.reveals.len(), 6);
        let shown: Vec<u16> = silent.chain.shown.keys().map(|(dealer, _)| *dealer).collect();
        assert_eq!(shown, [2; 7], "all that hold a share of it, the dealer too");
        for world in [&mut honest, &mut silent] {
            world.run_to(FIRST + 1, Phase::Ack);
        }
        let next = Epoch(FIRST + 1);
        assert_eq!(silent.chain.randomnesses[&next], honest.chain.randomnesses[&next], "{lie:?}");
    }
}

#[test]
fn a_bad_dealer_is_acknowledged_and_left_out_whatever_it_reveals() {
    let mut world = World::with_lies(7, 4, &[(3, Lie::BadDealer)]);
    world.run_to_end(FIRST);
    assert!(world.chain.acknowledged.values().all(|held| held.contains(&3)), "its shares fit");
    assert_eq!(world.chain.reveals[&3], None, "what it reveals does not");
    assert_eq!(world.chain.shown.len(), 7, "others treat that as silence");
    world.run_to(FIRST + 1, Phase::Ack);
    assert_eq!(world.chain.modes[&Epoch(FIRST + 1)], BeaconMode::Shared);
}

#[test]
fn nobody_acknowledges_a_copied_dealing() {
    let mut world = World::with_lies(7, 5, &[(6, Lie::CopyDealer)]);
    world.run_to(FIRST, Phase::Reveal);
    assert_eq!(world.chain.dealings[&6], world.chain.dealings[&0]);
    assert_eq!(world.chain.acknowledged.len(), 7);
    assert!(world.chain.acknowledged.values().all(|held| !held.contains(&6)));
    world.run_to(FIRST + 1, Phase::Ack);
    assert_eq!(world.chain.modes[&Epoch(FIRST + 1)], BeaconMode::Shared);
}

#[test]
fn dealers_that_are_gone_stop_nothing_and_cost_little_time() {
    let mut world = World::new(7, 6);
    world.run_to(FIRST, Phase::Deal);
    world.stop(0);
    world.stop(1);
    world.run_to(FIRST, Phase::Reveal);
    assert_eq!(world.chain.acknowledged.len(), 5);
    world.run_to(FIRST + 1, Phase::Ack);
    assert_eq!(world.chain.modes[&Epoch(FIRST + 1)], BeaconMode::Shared);
}

#[test]
fn lost_messages_are_made_up_for() {
    for seed in 10..14 {
        let mut world = World::new(7, seed);
        world.loss = 250;
        world.run_to(4, Phase::Ack);
        for epoch in 3..=4 {
            assert_eq!(world.chain.modes[&Epoch(epoch)], BeaconMode::Shared, "seed {seed}");
        }
        assert!(world.sent["want share"] > 0, "something was lost");
    }
}

#[test]
fn a_dealer_that_restarts_goes_on_with_the_same_dealing_and_its_shares() {
    let mut world = World::new(4, 20);
    world.run_to(FIRST, Phase::Ack);
    world.run_until(world.now + Span::from_secs(2));
    assert_eq!(world.nodes[1].coordinator.status().shares, 4);
    world.stop(1);
    world.run_to(FIRST, Phase::Reveal);
    let asked = world.sent.get("want share").copied();
    world.start(1);
    assert_eq!(world.nodes[1].coordinator.status().shares, 4, "from its store");
    world.run_to(FIRST, Phase::Recover);
    assert_eq!(world.chain.reveals.len(), 4);
    assert!(world.chain.reveals.values().all(Option::is_some));
    assert_eq!(world.sent.get("want share").copied(), asked, "nothing was asked for again");
}

#[test]
fn secrets_are_renewed_before_they_run_out() {
    let mut world = World::new(3, 21);
    // 64 of them, from epoch 2 on.
    world.run_to(60, Phase::Deal);
    let is_key = |action: &Action| matches!(action, Action::RegisterBeaconKey { .. });
    assert_eq!(world.submissions(0, is_key), 2);
    world.run_to(70, Phase::Ack);
    for epoch in 2..=70 {
        assert_eq!(world.chain.modes[&Epoch(epoch)], BeaconMode::Shared, "epoch {epoch}");
    }
}

#[test]
fn a_large_network_with_a_third_of_bad_dealers_over_bad_links() {
    let lies = [Lie::SilentDealer, Lie::BadDealer, Lie::LateReveal, Lie::CopyDealer];
    let bad: Vec<(usize, Lie)> = (0..21).map(|index| (index * 3, lies[index % 4])).collect();
    let mut world = World::with_lies(64, 22, &bad);
    world.loss = 50;
    world.run_to(FIRST + 1, Phase::Ack);
    assert_eq!(world.chain.modes[&Epoch(FIRST + 1)], BeaconMode::Shared);
}
