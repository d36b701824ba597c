//! Those who were away, and those who were put back.

use session_core::Span;

use super::world::World;
use crate::messenger::api::{Command, Warning};
use crate::messenger::links;
use crate::outbox::Batch;
use crate::say::Peer;
use crate::thread;
use crate::vault::{self, Table};

const DAY: Span = Span::from_days(1);

#[test]
fn the_first_words_wait_for_whoever_is_away_over_midnight() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.pass(Span::from_secs(60));
    world.devices[1].offline = true;
    world.text(0, bob, "hello bob").unwrap();
    world.pass(DAY + DAY + DAY);
    world.devices[1].offline = false;
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(1, &alice), ["hello bob"], "{:?}", world.warnings(1));
}

#[test]
fn what_could_not_be_stored_on_its_day_is_read_on_another() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello bob").unwrap();
    world.text(1, alice, "hello alice").unwrap();
    world.pass(Span::from_secs(60));

    world.post.broken = true;
    world.text(0, bob, "written on a train").unwrap();
    world.pass(DAY + DAY);
    // Bob is up to date, says his device, and looks no further back.
    world.restart(1);
    world.pass(Span::from_secs(120));
    world.post.broken = false;
    world.pass(Span::from_secs(3600));
    assert_eq!(world.texts(1, &alice), ["hello bob", "hello alice", "written on a train"]);
    let said = world.messages(0, &bob).pop().unwrap();
    assert!(said.status.stored.is_some());
    assert_eq!(world.devices[0].messenger.waiting(), 0);
}

#[test]
fn a_device_that_was_put_back_begins_anew_and_loses_nothing() {
    let mut world = World::new(3);
    let (alice, bob) = (world.peer(0), world.peer(1));
    let members = vec![world.account(1), world.account(2)];
    let group = world.group(0, "friends", members);
    world.text(0, bob, "before").unwrap();
    world.text(1, alice, "heard").unwrap();
    world.pass(Span::from_secs(60));
    let then = world.devices[0].vault.clone();
    world.restart(0);
    world.text(0, bob, "after").unwrap();
    world.text(0, group, "all of you").unwrap();
    world.text(1, alice, "answer").unwrap();
    world.pass(Span::from_secs(60));
    let before = links::primary(&world.devices[0].vault, &world.account(1));
    assert!(!world.warnings(0).contains(&Warning::RolledBack.to_string()));

    world.put_back(0, &then);
    world.text(0, bob, "once more").unwrap();
    world.text(0, group, "and you").unwrap();
    world.pass(Span::from_secs(300));
    let told = world.warnings(0);
    assert!(told.contains(&Warning::RolledBack.to_string()), "{told:?}");
    assert_ne!(links::primary(&world.devices[0].vault, &world.account(1)), before, "new keys");
    let texts = world.texts(1, &alice);
    for text in ["before", "heard", "after", "answer", "once more"] {
        assert_eq!(texts.iter().filter(|it| *it == text).count(), 1, "{text}: {texts:?}");
    }
    assert!(world.texts(0, &bob).contains(&"answer".to_owned()), "it was read a second time");
    for who in [1, 2] {
        assert_eq!(world.texts(who, &group), ["all of you", "and you"], "{who}");
    }
    // And it goes on.
    world.text(1, alice, "welcome back").unwrap();
    world.text(2, group, "hello again").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(0, &bob).last().unwrap(), "welcome back");
    assert_eq!(world.texts(0, &group).last().unwrap(), "hello again");
}

#[test]
fn of_two_copies_of_a_device_one_notices() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello").unwrap();
    world.text(1, alice, "hello").unwrap();
    world.pass(Span::from_secs(60));
    let copy = world.enter(world.devices[0].vault.clone());
    world.restart(0);
    world.text(0, bob, "from the one").unwrap();
    world.pass(Span::from_secs(60));
    world.text(copy, bob, "from the other").unwrap();
    world.pass(Span::from_secs(300));
    let told = world.warnings(copy);
    assert!(told.contains(&Warning::RolledBack.to_string()), "{told:?}");
    let texts = world.texts(1, &alice);
    assert!(texts.contains(&"from the one".to_owned()), "{texts:?}");
    assert!(texts.contains(&"from the other".to_owned()), "{texts:?}");
}

#[test]
fn what_cannot_be_said_any_more_is_shown_as_failed() {
    let mut world = World::new(2);
    let members = vec![world.account(1)];
    let group = world.group(0, "friends", members);
    world.post.broken = true;
    world.text(1, group, "too late").unwrap();
    world.post.broken = false;
    let account = world.account(1);
    let Peer::Group { group: id } = group else { unreachable!() };
    let state = world.devices[1].vault.clone();
    world.order(0, Command::Remove { group: id, account }).unwrap();
    let phase = crate::group::phase(&world.devices[1].vault, &id);
    assert_eq!(phase, Some(crate::group::Phase::Removed));
    // What is sealed waits for longer than its keys are good.
    let thread = world.thread(1, &group);
    let said = world.messages(1, &group).into_iter().find(|it| it.own).unwrap();
    assert!(!said.status.failed);
    let batch = vault::list::<Batch>(&state, &Table::Pending.key(&[b"s"]), &[], false, 1);
    let batch = batch.into_iter().next().expect("it waits").1;
    world.call(1, |messenger, cx| messenger.say_batch(cx, &batch));
    let said = thread::by_id(&world.devices[1].vault, thread, said.id).unwrap();
    assert!(said.status.failed);
    let waiting = links::take_waiting(&mut world.devices[1].vault, &group);
    assert!(waiting.is_empty(), "nobody waits for it");
}
