//! Proof that what must not happen to people who talk is noticed.

use std::collections::BTreeSet;

use session_core::{AccountId, SeededEntropy, Span, Text};
use session_messaging::account;
use session_messaging::messenger::api::Command;
use session_messaging::say::{Peer, Say};

use super::people::People;
use crate::host::BEGINNING;
use crate::scenario::{Scenario, Story};
use crate::world::World;

/// Three people, after a while.
fn world() -> (World, People) {
    let scenario = Scenario { persons: 3, minutes: 1, ..Scenario::new(Story::Messaging) };
    let mut world = scenario.world(3);
    // Nothing goes wrong but what a test does.
    world.heal();
    let mut people = People::new(3, false, SeededEntropy::new(3));
    people.move_in(&mut world).unwrap();
    people.live(&mut world, Span::from_secs(20)).unwrap();
    (world, people)
}

fn account(world: &World, device: usize) -> AccountId {
    account::account(world.devices()[device].vault()).unwrap()
}

fn run(world: &mut World, people: &mut People, seconds: u64) -> &'static str {
    let until = world.now().since(BEGINNING) + Span::from_secs(seconds);
    people.live(world, until).map_or_else(|violation| violation.invariant, |()| "everything holds")
}

#[test]
fn a_text_that_nobody_said_is_noticed() {
    let (mut world, mut people) = world();
    let to = Peer::Account { account: account(&world, 1) };
    let say = Say::Text { body: Text::new("forged").unwrap(), reply_to: None };
    let command = Command::Say { to, say };
    world.with_device(0, |it, now, out| it.order(now, command, out)).unwrap();
    assert_eq!(run(&mut world, &mut people, 30), "what_is_shown_was_said");
}

#[test]
fn a_device_that_forgets_is_noticed() {
    let (mut world, mut people) = world();
    let image = world.devices()[1].image();
    people.live(&mut world, Span::from_secs(60)).unwrap();
    people.fall_silent(&mut world);
    world.heal();
    let mut seconds = 60;
    while people.unrest(&world).is_some() {
        seconds += 30;
        assert!(seconds < 1_200, "{:?}", people.unrest(&world));
        people.live(&mut world, Span::from_secs(seconds)).unwrap();
    }
    people.witness.forget_what_was_shown();
    world.restore(1, image);
    people.at_rest(&mut world).unwrap_or_default();
    let missing = people.unrest(&world).expect("it has not read anything again");
    assert!(missing.contains("device 1 does not show"), "{missing}");
}

#[test]
fn somebody_who_should_be_out_is_noticed() {
    let (mut world, mut people) = world();
    people.make_group(&mut world, 0, 0).unwrap();
    people.live(&mut world, Span::from_secs(60)).unwrap();
    let group = *people.groups.first().expect("it was made above");
    people.say(&mut world, 0, 0, Peer::Group { group }).unwrap();
    people.live(&mut world, Span::from_secs(61)).unwrap();
    // As if everybody but the author had been out of it.
    for said in people.witness.said.values_mut() {
        said.audience = BTreeSet::from([said.author]);
    }
    people.witness.invited.clear();
    assert_eq!(run(&mut world, &mut people, 60), "whoever_is_out_hears_nothing");
}
