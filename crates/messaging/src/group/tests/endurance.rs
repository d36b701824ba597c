//! What goes on for long: commits that nobody follows, boxes that nobody opens, many epochs at
//! once.

use session_core::{Span, Time};
use session_protocol::request::ItemBytes;

use super::super::{Heard, routes};
use super::world::{DAY, TTL, World, account};

/// Who talks every day while nobody follows does not pile up commits, sends the one again that is
/// missing, and is told.
#[test]
fn a_commit_that_nobody_follows_is_not_buried() {
    let mut world = World::new(500);
    let (a, b, group) = world.direct();
    let start = world.agree(&[a, b], group);
    world.devices[b].offline = true;
    for day in 0..9 {
        world.say(a, group, &format!("day {day}"));
        world.run(DAY);
    }
    let state = world.state(a, group);
    assert_eq!(state.epoch, start + 1);
    let unheard = state.unheard.expect("nobody has followed");
    assert!(unheard.told && unheard.sent >= unheard.since + Span::from_days(3));
    let told = |it: &Heard| matches!(it, Heard::HealingBlocked { .. });
    assert_eq!(world.count(a, told), 1);
    // What somebody wants is done nevertheless; what was missing still counts as missing.
    let ticket = world.change(a, group, Vec::new()).unwrap();
    world.settle();
    let done =
        |it: &Heard| matches!(it, Heard::Done { ticket: of, result: Ok(()) } if *of == ticket);
    assert_eq!(world.count(a, done), 1);
    let after = world.state(a, group).unheard.expect("still nobody");
    assert_eq!((after.since, after.epoch, after.newest), (unheard.since, start + 1, start + 2));
    // The other one comes back and has missed nothing.
    world.devices[b].offline = false;
    world.run(Span::from_secs(120));
    assert_eq!(world.texts(b).len(), 9);
    world.say(b, group, "all of it");
    world.settle();
    assert_eq!(world.state(a, group).unheard.map(|it| it.epoch), None);
    world.agree(&[a, b], group);
}

/// Two commits that are withheld: both are sent again beside their slots, and both are followed.
#[test]
fn several_commits_that_are_withheld_are_sent_again() {
    let mut world = World::new(501);
    let (a, b, group) = world.direct();
    let resend = Span::from_secs(3600);
    world.rotate_by(super::super::Rotation { resend, ..Default::default() });
    let start = world.agree(&[a, b], group);
    world.devices[b].offline = true;
    for _ in 0..2 {
        world.change(a, group, Vec::new()).unwrap();
        world.settle();
    }
    let slots = world.swarm.stored.iter().rev();
    let slots: Vec<_> = slots
        .filter(|(_, item)| item.namespace == session_protocol::inbox::COMMITS)
        .take(2)
        .map(|(_, item)| item.id)
        .collect();
    world.swarm.withheld.extend(slots);
    world.devices[b].offline = false;
    world.settle();
    assert_eq!(world.authenticator(b, group).unwrap().0, start);
    world.run(Span::from_secs(3 * 3600));
    assert_eq!(world.agree(&[a, b], group), start + 2);
}

/// Commits are shown before what was said in the epochs that they end: nothing is lost of it.
#[test]
fn commits_that_come_first_close_nothing_unread() {
    for direct in [false, true] {
        let mut world = World::new(502);
        let (devices, group) = if direct {
            let (a, b, group) = world.direct();
            (vec![a, b], group)
        } else {
            world.many(2)
        };
        world.devices[devices[1]].offline = true;
        let mut expected = Vec::new();
        for number in 0..7 {
            world.say(devices[0], group, &format!("{number}"));
            expected.push(format!("{number}"));
            world.change(devices[0], group, Vec::new()).unwrap();
            world.settle();
        }
        world.swarm.boxes_late = true;
        world.devices[devices[1]].offline = false;
        world.run(Span::from_secs(15));
        world.swarm.boxes_late = false;
        world.run(Span::from_secs(300));
        let mut texts = world.texts(devices[1]);
        texts.sort_unstable();
        assert_eq!(texts, expected, "direct: {direct}");
        world.agree(&devices, group);
    }
}

/// Boxes that do not open are not tried over and over.
#[test]
fn what_does_not_open_costs_nothing_more() {
    let mut world = World::new(503);
    let (a, b, group) = world.direct();
    let state = world.state(a, group);
    let out = routes::outgoing(&group, &state, &account(1), world.now).unwrap();
    for byte in 1..9 {
        let mut data = vec![byte; 1024];
        data[0] = crate::boxes::VERSION;
        let target = out.1.clone();
        world.call(a, |_, cx, outbox, _| {
            let data = ItemBytes::new(data).unwrap();
            outbox.send(cx, crate::outbox::Purpose::Quiet, target, TTL, data);
        });
    }
    world.settle();
    let tried = world.state(b, group).care.tried;
    assert_eq!(Some(tried), world.authenticator(b, group).map(|it| it.1));
    // Its ticks become rare, and each passes over what was tried on this branch.
    let mut ticks = 0;
    let end = world.now + Span::from_secs(6 * 3600);
    while let Some(next) = world.devices[b].groups.deadline().filter(|next| *next < end) {
        world.now = next.max(world.now + Span::from_millis(1));
        world.round();
        ticks += 1;
    }
    assert!(ticks < 40, "{ticks} ticks in six hours");
    // Until another epoch begins.
    world.change(a, group, Vec::new()).unwrap();
    world.settle();
    assert_ne!(world.state(b, group).care.tried, tried);
    assert_ne!(world.now, Time::ZERO);
}
