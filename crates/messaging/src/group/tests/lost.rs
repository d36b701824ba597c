//! Who was away for too long, who is let in again, and what stays with a device that is out.

use session_core::Span;

use super::super::state::{Part, Roster, Snapshot};
use super::super::{HORIZON, Heard, Kind, Phase, Rotation, Wish, phase};
use super::world::{DAY, World, account};
use crate::vault::Table;

fn lost(world: &World, device: usize) -> usize {
    world.count(device, |it| matches!(it, Heard::Lost { .. }))
}

fn gone(world: &World, device: usize) -> usize {
    world.count(device, |it| matches!(it, Heard::Removed { .. }))
}

/// Lets the others talk every day, and so renew their keys.
fn days(world: &mut World, group: crate::say::GroupId, devices: &[usize], count: u64) {
    for day in 0..count {
        for device in devices {
            world.say(*device, group, &format!("day {day} of {device}"));
        }
        world.run(DAY);
    }
}

/// Away for longer than anything is kept: the device cannot follow, notices that, and comes back.
#[test]
fn who_was_away_for_too_long_is_let_in_again() {
    for removal in [false, true] {
        let mut world = World::new(400);
        let (devices, group) = world.many(4);
        let away = devices[2];
        world.devices[away].offline = true;
        if removal {
            // Mailboxes are others from then on: nothing shows that anything was said.
            let wish = Wish::RemoveAccount { account: account(4) };
            world.change(devices[0], group, vec![wish]).unwrap();
            world.settle();
        }
        days(&mut world, group, &devices[..2], 20);
        world.readds = true;
        world.devices[away].offline = false;
        days(&mut world, group, &devices[..2], 4);
        assert_eq!(lost(&world, away), 1, "removal: {removal}");
        world.agree(&devices[..3], group);
        world.say(away, group, "back");
        world.say(devices[0], group, "welcome");
        world.settle();
        assert!(world.texts(devices[1]).contains(&"back"));
        assert!(world.texts(away).contains(&"welcome"));
    }
}

#[test]
fn who_was_away_for_too_long_notices_it_in_a_conversation_of_two() {
    let mut world = World::new(401);
    let (phone, tablet, peer) = (world.device(1), world.device(1), world.device(2));
    let kind = Kind::Direct { creator: account(1), other: account(2) };
    let group = world.group(kind, &[phone, tablet, peer]);
    world.devices[peer].offline = true;
    // Nobody sends again the commits that expire unseen.
    let resend = Span::from_days(60);
    world.rotate_by(Rotation { resend, resend_messages: 1000, ..Rotation::default() });
    for _ in 0..10 {
        world.change(phone, group, Vec::new()).unwrap();
        world.say(phone, group, "are you there?");
        world.run(DAY + DAY);
    }
    world.devices[peer].offline = false;
    world.run(DAY);
    assert_eq!(lost(&world, peer), 1);
    assert_eq!(phase(&world.devices[peer].vault, &group), Some(Phase::Lost));
}

/// A vault was put back to before a commit that others have followed: the device cannot follow it, and
/// makes no branch of its own.
#[test]
fn who_forgot_a_commit_of_its_own_is_let_in_again() {
    let mut world = World::new(404);
    let (devices, group) = world.many(3);
    let forgets = devices[2];
    // Nobody is let in twice within an hour.
    world.run(Span::from_secs(4000));
    let image = world.devices[forgets].vault.clone();
    world.change(forgets, group, Vec::new()).unwrap();
    world.settle();
    let head = world.agree(&devices, group);
    world.devices[forgets].vault = image;
    world.restart(forgets);
    world.readds = true;
    world.change(forgets, group, Vec::new()).unwrap();
    world.run(Span::from_secs(3600));
    assert_eq!(lost(&world, forgets), 1);
    assert!(world.agree(&devices, group) > head);
    world.say(forgets, group, "back");
    world.settle();
    assert!(world.texts(devices[0]).contains(&"back"));
}

/// Nothing happened while a device was away: it stays, and its keys are renewed as ever.
#[test]
fn who_missed_nothing_stays() {
    let mut world = World::new(402);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    world.devices[devices[2]].offline = true;
    world.run(Span::from_days(20));
    world.devices[devices[2]].offline = false;
    world.settle();
    assert!(world.state(devices[2], group).care.away.is_some());
    // It waits with commits until somebody is heard.
    let ticket = world.change(devices[2], group, Vec::new()).unwrap();
    world.settle();
    assert_eq!(world.agree(&devices, group), start);
    world.say(devices[0], group, "hello");
    world.settle();
    let done =
        |it: &Heard| matches!(it, Heard::Done { ticket: of, result: Ok(()) } if *of == ticket);
    assert_eq!(world.count(devices[2], done), 1);
    assert!(world.agree(&devices, group) > start);
    world.run(Span::from_days(5));
    assert_eq!(lost(&world, devices[2]), 0);
}

/// A device that was there all the time is not driven out by a box that nobody can open.
#[test]
fn rubbish_in_a_quiet_group_drives_nobody_out() {
    let mut world = World::new(403);
    let (devices, group) = world.many(2);
    world.run(Span::from_days(20));
    let state = world.state(devices[0], group);
    let out = super::super::routes::outgoing(&group, &state, &account(1), world.now).unwrap();
    let mut data = vec![9; 1024];
    data[0] = crate::boxes::VERSION;
    world.call(devices[0], |_, cx, outbox, _| {
        let data = session_protocol::request::ItemBytes::new(data).unwrap();
        outbox.send(cx, crate::outbox::Purpose::Quiet, out.1, super::world::TTL, data);
    });
    world.run(Span::from_days(4));
    assert_eq!(lost(&world, devices[1]), 0);
    world.agree(&devices, group);
}

/// Brings a device out of step, past all that would bring it back, and asks two members at once.
fn asks_two(world: &mut World, devices: &[usize], group: crate::say::GroupId, wanted: bool) {
    let (one, two, back) = (devices[0], devices[1], devices[2]);
    let (first, second) = (world.asks(back, group), world.asks(back, group));
    world.change(one, group, vec![Wish::Readd { package: first }]).unwrap();
    if wanted {
        world.change(two, group, vec![Wish::Readd { package: second }]).unwrap();
        return;
    }
    world.settle();
    world.change(two, group, vec![Wish::Readd { package: second }]).unwrap();
}

/// Two members are asked to let a device in again: the second one finds it done, whether it was
/// asked before the first one did it or after, and whenever it comes online.
#[test]
fn of_two_who_are_asked_one_lets_a_device_in() {
    for (seed, (at_once, late)) in
        [(true, false), (false, false), (true, true)].into_iter().enumerate()
    {
        let mut world = World::new(410 + seed as u64);
        let (devices, group) = world.many(3);
        let back = devices[2];
        // It was in for longer than what is taken for the same request.
        world.run(DAY);
        world.devices[back].offline = true;
        world.devices[devices[1]].offline = late;
        let key = world.key(back);
        let mut heard = Vec::new();
        world.call(back, |groups, cx, _, _| {
            let mut state = super::super::state::State::load(cx.store, &group).unwrap();
            groups.lose(cx, &group, &mut state, &mut heard);
            state.save(cx.store, &group);
        });
        asks_two(&mut world, &devices, group, at_once);
        world.settle();
        world.devices[back].offline = false;
        world.run(Span::from_secs(60));
        assert_eq!(phase(&world.devices[back].vault, &group), Some(Phase::Member));
        if late {
            world.run(Span::from_days(3));
            world.devices[devices[1]].offline = false;
        }
        world.run(Span::from_secs(600));
        assert_eq!((lost(&world, back), gone(&world, back)), (0, 0), "case {seed}");
        let epoch = world.agree(&devices, group);
        assert!(world.state(devices[1], group).epoch == epoch);
        let there = super::super::roster(&world.devices[devices[1]].vault, &group);
        assert_eq!(there.leaves.iter().filter(|leaf| leaf.key == key).count(), 1);
        world.say(back, group, "here");
        world.settle();
        assert!(world.texts(devices[1]).contains(&"here"));
    }
}

/// A device that is let in again without having asked is lost, not out: it comes back.
#[test]
fn who_is_let_in_unasked_comes_back() {
    let mut world = World::new(414);
    let (devices, group) = world.many(3);
    world.run(DAY);
    let victim = devices[2];
    let package = world.package(victim);
    let known = world.state(victim, group).epoch;
    world.devices[victim].offline = true;
    // Only an admin can do that.
    world.change(devices[0], group, vec![Wish::Readd { package }]).unwrap();
    // The welcome is never taken.
    while world.authenticator(devices[0], group).unwrap().0 == known {
        world.tick(devices[0]);
        world.step(devices[0]);
    }
    world.drop_welcomes();
    world.devices[victim].offline = false;
    world.run(Span::from_secs(60));
    assert_eq!((lost(&world, victim), gone(&world, victim)), (1, 0));
    world.run(Span::from_secs(2 * 3600));
    world.readd(victim, group);
    world.settle();
    world.agree(&devices, group);
}

/// Who is lost asks again, later each time, until it is let in; not in conversations of two.
#[test]
fn who_is_lost_asks_again() {
    let mut world = World::new(415);
    let (devices, group) = world.many(2);
    let lose = |world: &mut World, device: usize| {
        let mut heard = Vec::new();
        world.call(device, |groups, cx, _, _| {
            let mut state = super::super::state::State::load(cx.store, &group).unwrap();
            groups.lose(cx, &group, &mut state, &mut heard);
            state.save(cx.store, &group);
        });
        heard
    };
    let heard = lose(&mut world, devices[1]);
    assert!(matches!(&heard[..], [Heard::Lost { .. }]));
    let asked = |world: &World| world.count(devices[1], |it| matches!(it, Heard::StillLost { .. }));
    world.run(Span::from_secs(3 * 3600));
    assert_eq!(asked(&world), 1);
    world.restart(devices[1]);
    world.run(Span::from_days(3));
    let then = asked(&world);
    assert!((4..8).contains(&then), "{then}");
    world.run(Span::from_days(21));
    assert!((then + 3..then + 6).contains(&asked(&world)));
    world.readd(devices[1], group);
    world.settle();
    world.agree(&devices, group);
    let then = asked(&world);
    world.run(Span::from_days(30));
    assert_eq!(asked(&world), then);
}

/// Whoever is lost keeps who was in the group, and nothing that opens anything or was said.
#[test]
fn nothing_secret_stays_with_who_is_lost() {
    let mut world = World::new(416);
    let (a, b, group) = world.direct();
    for turn in 0..3 {
        world.say(a, group, &format!("a{turn}"));
        world.say(b, group, &format!("b{turn}"));
        world.settle();
    }
    world.change(b, group, Vec::new()).unwrap();
    world.settle();
    assert!(Part::Snapshot.any(&world.devices[b].vault, &group));
    let ticket = world.change(b, group, Vec::new()).unwrap();
    let mut heard = Vec::new();
    world.call(b, |groups, cx, _, _| {
        let mut state = super::super::state::State::load(cx.store, &group).unwrap();
        groups.lose(cx, &group, &mut state, &mut heard);
        state.save(cx.store, &group);
    });
    assert!(
        heard
            .iter()
            .any(|it| matches!(it, Heard::Done { ticket: of, result: Err(_) } if *of == ticket))
    );
    let vault = &world.devices[b].vault;
    let state = Part::State.key(&group, &[]);
    let roster = Part::Roster.key(&group, &[]);
    let of_group = |key: &[u8]| key.windows(32).any(|it| it == group.bytes);
    for (key, _) in vault.entries().filter(|(key, _)| of_group(key)) {
        assert!(key == state || key.starts_with(&roster), "{key:?}");
        assert_ne!(key[0], Table::Chain as u8);
    }
    let state = world.state(b, group);
    assert!(state.routes.is_empty());
    assert!(state.epochs.iter().all(|keys| *keys.header.expose() == [0; 32]));
    let roster = Roster::load(vault, &group, &state.current().unwrap().authenticator);
    assert_eq!(roster.leaves.len(), 2);
}

/// A device that was switched off right after a commit erases the way back first when it is on
/// again.
#[test]
fn a_way_back_is_erased_after_a_restart() {
    let mut world = World::new(417);
    let (devices, group) = world.many(2);
    world.change(devices[0], group, Vec::new()).unwrap();
    world.settle();
    world.say(devices[0], group, "x");
    assert!(Part::Snapshot.any(&world.devices[devices[0]].vault, &group));
    assert!(Part::Recent.any(&world.devices[devices[0]].vault, &group));
    world.devices[devices[0]].offline = true;
    world.run(HORIZON + Span::from_secs(1));
    world.restart(devices[0]);
    world.tick(devices[0]);
    let vault = &world.devices[devices[0]].vault;
    assert!(Part::Snapshot.list::<Snapshot>(vault, &group).is_empty());
    assert!(!Part::Recent.any(vault, &group));
}
