//! What is said arrives, once, whatever the swarm does.

use session_core::Span;
use session_protocol::inbox::BOXES;

use super::super::{Heard, Kind, Rotation, routes::Watch};
use super::world::{World, account};
use crate::messenger::api::Error;

#[test]
fn two_talk_both_ways() {
    let mut world = World::new(1);
    let (a, b, group) = world.direct();
    for turn in 0..5 {
        world.say(a, group, &format!("a{turn}"));
        world.say(b, group, &format!("b{turn}"));
        world.settle();
    }
    assert_eq!(world.texts(b), ["a0", "a1", "a2", "a3", "a4"]);
    assert_eq!(world.texts(a), ["b0", "b1", "b2", "b3", "b4"]);
    assert_eq!(world.devices[b].said[0].1, account(1));
    assert_eq!(world.refusals(a) + world.refusals(b), 0);
}

#[test]
fn many_talk_and_sign() {
    let mut world = World::new(2);
    let (devices, group) = world.many(3);
    for device in &devices {
        world.say(*device, group, &format!("from {device}"));
    }
    world.settle();
    assert_eq!(world.texts(0), ["from 1", "from 2"]);
    assert_eq!(world.devices[2].said[0].1, account(1));
}

#[test]
fn devices_of_one_account_talk_among_themselves() {
    let mut world = World::new(3);
    let (phone, laptop) = (world.device(1), world.device(1));
    let kind = Kind::Devices { account: account(1) };
    let group = world.group(kind, &[phone]);
    // Nobody is there to hear it.
    assert!(matches!(world.try_say(phone, group, "?"), Err(Error::Invalid { .. })));
    world.add(phone, group, &[laptop]);
    world.say(phone, group, "read");
    world.settle();
    assert_eq!(world.texts(laptop), ["read"]);
}

/// In a conversation of two, a device does not take the word of its own account's other devices:
/// the other side could forge it.
#[test]
fn a_peer_cannot_speak_as_my_other_device() {
    let mut world = World::new(4);
    let (phone, peer) = (world.device(1), world.device(2));
    let kind = Kind::Direct { creator: account(1), other: account(2) };
    let laptop = world.device(1);
    let group = world.group(kind, &[phone, peer, laptop]);
    world.say(laptop, group, "to the peer");
    world.say(peer, group, "to both");
    world.settle();
    assert_eq!(world.texts(peer), ["to the peer"]);
    assert_eq!(world.texts(phone), ["to both"]);
    assert_eq!(world.texts(laptop), ["to both"]);
}

#[test]
fn loss_disorder_and_repetition_change_nothing() {
    for seed in 0..6 {
        let mut world = World::new(100 + seed);
        let group;
        let devices: Vec<usize>;
        if seed % 2 == 0 {
            let (a, b, it) = world.direct();
            (devices, group) = (vec![a, b], it);
        } else {
            (devices, group) = world.many(3);
        }
        (world.swarm.lossy, world.swarm.twice, world.swarm.shuffled) = (3, 4, true);
        let mut expected = Vec::new();
        for number in 0..12 {
            let from = devices[number % devices.len()];
            world.say(from, group, &format!("{number:02}"));
            expected.push((from, format!("{number:02}")));
            if number == 6 {
                world.change(from, group, Vec::new()).unwrap();
            }
            world.run(Span::from_millis(300));
        }
        world.run(Span::from_secs(1200));
        for device in &devices {
            let mut texts = world.texts(*device);
            texts.sort_unstable();
            let others = expected.iter().filter(|(from, _)| from != device);
            let others: Vec<&str> = others.map(|(_, text)| text.as_str()).collect();
            assert_eq!(texts, others, "seed {seed}, device {device}");
        }
        world.agree(&devices, group);
    }
}

#[test]
fn a_box_opens_only_where_it_belongs() {
    let mut world = World::new(5);
    let (a, b, group) = world.direct();
    let kind = Kind::Direct { creator: account(1), other: account(2) };
    let other = world.group(kind, &[a, b]);
    world.devices[b].offline = true;
    world.say(a, group, "once");
    world.settle();
    let (address, item) = world.swarm.stored.last().cloned().unwrap();
    assert_eq!(item.namespace, BOXES);
    // Shown in every other mailbox that the device watches, before the true one.
    let now = world.now;
    let it = &mut world.devices[b];
    let own = it.credential.account;
    let sources = it.groups.sources(&it.vault, &own, now, now - Span::from_days(1));
    let before = (world.authenticator(b, group), world.authenticator(b, other));
    for wrong in sources.keys().filter(|it| **it != address) {
        let mut moved = item.clone();
        moved.id = session_protocol::inbox::message_id(wrong, BOXES, &item.data);
        world.arrive(b, *wrong, &moved);
    }
    assert!(world.texts(b).is_empty());
    assert_eq!((world.authenticator(b, group), world.authenticator(b, other)), before);
    // Altered in any part, it is refused or waits, and the true one still opens.
    for at in [0, 5, 20, 50, item.data.len() - 1] {
        let mut altered = item.data.to_vec();
        altered[at] ^= 1;
        let mut moved = item.clone();
        moved.data = session_protocol::request::ItemBytes::new(altered).unwrap();
        moved.id = session_protocol::inbox::message_id(&address, BOXES, &moved.data);
        world.arrive(b, address, &moved);
    }
    assert!(world.texts(b).is_empty());
    world.devices[b].offline = false;
    world.settle();
    assert_eq!(world.texts(b), ["once"]);
}

#[test]
fn a_long_message_travels_in_pieces() {
    let mut world = World::new(6);
    let (devices, group) = world.many(2);
    let text = "x".repeat(64_900);
    let items = world.call(devices[0], |groups, cx, outbox, me| {
        let purpose = crate::outbox::Purpose::Quiet;
        groups.say(cx, outbox, me, &group, purpose, text.as_bytes(), super::world::TTL)
    });
    assert_eq!(items.unwrap(), 2);
    world.swarm.shuffled = true;
    world.settle();
    assert_eq!(world.texts(devices[1]), [text.as_str()]);
}

#[test]
fn keys_are_renewed_without_anybody_asking() {
    let mut world = World::new(7);
    let (a, b, group) = world.direct();
    let start = world.agree(&[a, b], group);
    // By the number of messages.
    world.rotate_by(Rotation { messages: 3, ..Rotation::default() });
    for _ in 0..3 {
        world.say(a, group, "m");
    }
    world.settle();
    assert_eq!(world.agree(&[a, b], group), start + 1);
    // By age: both have used their keys.
    world.say(a, group, "m");
    world.run(Span::from_secs(30 * 3600));
    assert_eq!(world.agree(&[a, b], group), start + 3);
    // With the first message after a silence.
    world.say(b, group, "m");
    world.settle();
    let before = world.agree(&[a, b], group);
    world.run(Span::from_secs(7 * 3600));
    world.say(b, group, "m");
    world.settle();
    assert_eq!(world.agree(&[a, b], group), before + 1);
    // Who says and hears nothing does nothing.
    world.run(Span::from_secs(60 * 3600));
    let before = world.agree(&[a, b], group);
    world.run(Span::from_days(5));
    assert_eq!(world.agree(&[a, b], group), before);
}

#[test]
fn mailboxes_change_every_day_and_days_away_are_made_up_for() {
    let mut world = World::new(8);
    let (a, b, group) = world.direct();
    world.rotate_by(Rotation { resend: Span::from_days(30), ..Rotation::default() });
    world.devices[b].offline = true;
    for day in 0..4 {
        world.say(a, group, &format!("day {day}"));
        world.run(super::world::DAY);
    }
    let lanes: std::collections::BTreeSet<_> = world
        .swarm
        .stored
        .iter()
        .filter(|(_, item)| item.namespace == BOXES)
        .map(|(address, _)| *address)
        .collect();
    assert_eq!(lanes.len(), 4);
    world.devices[b].offline = false;
    world.settle();
    let mut texts = world.texts(b);
    texts.sort_unstable();
    assert_eq!(texts, ["day 0", "day 1", "day 2", "day 3"]);
    assert!(Watch::default().is_stale(world.now));
}

#[test]
fn what_an_unconfirmed_device_says_waits_and_an_impostors_goes() {
    let mut world = World::new(9);
    world.confirms = false;
    let (a, b, group) = world.direct();
    world.say(a, group, "hello");
    world.settle();
    assert!(world.texts(b).is_empty());
    assert!(world.count(b, |it| matches!(it, Heard::Check { .. })) > 0);
    world.confirm(b, account(1));
    assert_eq!(world.texts(b), ["hello"]);

    // The account does not list the device: what it says goes, and so does the device.
    world.say(b, group, "trust me");
    world.settle();
    let none = world.listing(vec![]);
    let heard = world.call(a, |groups, cx, _, me| groups.known(cx, me, &account(2), &none));
    let warned =
        |it: &&Heard| matches!(it, Heard::Warning(crate::messenger::api::Warning::Impostor { .. }));
    assert_eq!(heard.iter().filter(warned).count(), 1);
    world.run(Span::from_secs(120));
    assert!(world.texts(a).is_empty());
    assert_eq!(world.accounts(a, group), [account(1)]);
    assert_eq!(world.count(b, |it| matches!(it, Heard::Removed { .. })), 1);
}
