//! Commits: races, crashes, forks, what is missing, what is forged.

use session_core::{Span, Time};
use session_protocol::inbox::COMMITS;
use session_protocol::request::{Item, ItemBytes};

use super::super::{Heard, Phase, Rotation, Wish, phase, routes, state::State};
use super::world::{TTL, World, account};
use crate::messenger::api::NetFailure;

#[test]
fn of_two_commits_at_once_one_counts_and_the_other_is_made_again() {
    for seed in 0..3 {
        let mut world = World::new(20 + seed);
        let (devices, group) = world.many(3);
        let start = world.agree(&devices, group);
        let first = world.change(devices[1], group, Vec::new()).unwrap();
        let second = world.change(devices[2], group, Vec::new()).unwrap();
        world.settle();
        // Both wishes came true, one after the other.
        assert_eq!(world.agree(&devices, group), start + 2);
        for (device, ticket) in [(devices[1], first), (devices[2], second)] {
            let done = |it: &Heard| matches!(it, Heard::Done { ticket: of, result: Ok(()) } if *of == ticket);
            assert_eq!(world.count(device, done), 1);
        }
        for device in &devices {
            world.say(*device, group, "still here");
        }
        world.settle();
        assert_eq!(world.texts(devices[0]).len(), 2);
    }
}

/// The commit is in the slot, and the device did not live to see the answer.
#[test]
fn a_crash_after_the_slot_was_won_loses_nothing() {
    let mut world = World::new(30);
    let (devices, group) = world.many(2);
    let start = world.agree(&devices, group);
    world.change(devices[0], group, Vec::new()).unwrap();
    world.tick(devices[0]);
    let saved = world.devices[devices[0]].vault.clone();
    world.settle();
    assert_eq!(world.agree(&devices, group), start + 1);
    // Back to the moment between publishing and merging.
    world.devices[devices[0]].vault = saved;
    world.restart(devices[0]);
    assert_eq!(world.authenticator(devices[0], group).unwrap().0, start);
    world.settle();
    assert_eq!(world.agree(&devices, group), start + 1);
    world.say(devices[0], group, "merged");
    world.settle();
    assert_eq!(world.texts(devices[1]), ["merged"]);
}

/// The commit never reached the swarm, and meanwhile somebody else took the slot.
#[test]
fn a_crash_before_the_slot_was_reached_follows_the_winner() {
    let mut world = World::new(31);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    world.devices[devices[0]].offline = true;
    world.change(devices[0], group, Vec::new()).unwrap();
    world.tick(devices[0]);
    world.restart(devices[0]);
    world.change(devices[1], group, Vec::new()).unwrap();
    world.settle();
    assert_eq!(world.agree(&devices[1..], group), start + 1);
    world.devices[devices[0]].offline = false;
    world.settle();
    assert_eq!(world.agree(&devices, group), start + 2);
}

#[test]
fn nothing_is_merged_before_a_quorum_has_it() {
    let mut world = World::new(32);
    let (devices, group) = world.many(2);
    let start = world.agree(&devices, group);
    world.swarm.down = true;
    world.change(devices[0], group, Vec::new()).unwrap();
    world.settle();
    assert_eq!(world.agree(&devices, group), start);
    // In the meantime, both keep talking.
    world.swarm.down = false;
    world.say(devices[0], group, "before");
    world.run(Span::from_secs(60));
    assert_eq!(world.agree(&devices, group), start + 1);
    assert_eq!(world.texts(devices[1]), ["before"]);
}

#[test]
fn a_refused_commit_is_reported_and_nothing_has_changed() {
    let mut world = World::new(33);
    let (devices, group) = world.many(2);
    let start = world.agree(&devices, group);
    let ticket = world.change(devices[0], group, Vec::new()).unwrap();
    let heard = world.call(devices[0], |groups, cx, outbox, me| {
        groups.tick(cx, outbox, me);
        let why = NetFailure::Refused("too large".to_owned());
        groups.commit_stored(cx, me, &group, start, Err(&why))
    });
    assert!(matches!(&heard[..], [Heard::Done { ticket: of, result: Err(_) }] if *of == ticket));
    assert_eq!(world.authenticator(devices[0], group).unwrap().0, start);
}

/// Messages come from an epoch whose commit is not here yet: they wait.
#[test]
fn what_comes_before_its_commit_waits_for_it() {
    let mut world = World::new(34);
    let (a, b, group) = world.direct();
    let start = world.agree(&[a, b], group);
    world.devices[b].offline = true;
    for number in 0..3 {
        world.change(a, group, Vec::new()).unwrap();
        world.settle();
        world.say(a, group, &format!("{number}"));
        world.settle();
    }
    assert_eq!(world.authenticator(a, group).unwrap().0, start + 3);
    // The boxes are shown first, newest first; the slots are found by reading them one by one.
    let boxes: Vec<(session_core::InboxAddress, Item)> =
        world.swarm.stored.iter().filter(|(_, item)| item.namespace != COMMITS).cloned().collect();
    world.devices[b].offline = false;
    let now = world.now;
    let it = &mut world.devices[b];
    let own = it.credential.account;
    it.groups.sources(&it.vault, &own, now, now - Span::from_days(1));
    for (address, item) in boxes.iter().rev() {
        world.arrive(b, *address, item);
    }
    assert!(world.texts(b).is_empty());
    world.settle();
    let mut texts = world.texts(b);
    texts.sort_unstable();
    assert_eq!(texts, ["0", "1", "2"]);
    world.agree(&[a, b], group);
}

/// The swarm shows no commit at all: after a day the device gives up and is let in again.
#[test]
fn a_device_that_cannot_follow_is_let_in_again() {
    let mut world = World::new(35);
    let (devices, group) = world.many(3);
    let lost = devices[2];
    world.devices[lost].offline = true;
    world.change(devices[0], group, Vec::new()).unwrap();
    world.settle();
    let slot = world.swarm.stored.iter().rfind(|(_, item)| item.namespace == COMMITS);
    world.swarm.withheld.insert(slot.unwrap().1.id);
    world.say(devices[0], group, "not for you");
    world.settle();
    world.devices[lost].offline = false;
    world.settle();
    assert_eq!(phase(&world.devices[lost].vault, &group), Some(Phase::Member));
    world.readds = true;
    world.run(Span::from_days(2));
    assert_eq!(world.count(lost, |it| matches!(it, Heard::Lost { .. })), 1);
    world.agree(&devices, group);
    world.say(devices[1], group, "welcome back");
    world.say(lost, group, "thanks");
    world.settle();
    assert_eq!(world.texts(lost), ["welcome back"]);
    assert!(world.texts(devices[0]).contains(&"thanks"));
}

/// Boxes that nobody can open, because they are old or rubbish, drive nobody out of a group.
#[test]
fn rubbish_drives_nobody_out() {
    let mut world = World::new(36);
    let (devices, group) = world.many(3);
    world.devices[devices[2]].offline = true;
    for _ in 0..5 {
        world.change(devices[0], group, Vec::new()).unwrap();
        world.settle();
    }
    let state = State::load(&world.devices[devices[2]].vault, &group).unwrap();
    let out = routes::outgoing(&group, &state, &account(3), world.now).unwrap();
    for byte in 1..9 {
        let (target, mut data) = (out.1.clone(), vec![byte; 1024]);
        data[0] = crate::boxes::VERSION;
        world.call(devices[2], |_, cx, outbox, _| {
            let purpose = crate::outbox::Purpose::Quiet;
            outbox.send(cx, purpose, target, TTL, ItemBytes::new(data).unwrap());
        });
    }
    // Its own message is five epochs old when it arrives.
    world.say(devices[2], group, "too late");
    world.devices[devices[2]].offline = false;
    world.run(Span::from_days(4));
    for device in &devices {
        assert_eq!(world.count(*device, |it| matches!(it, Heard::Lost { .. })), 0);
    }
    world.say(devices[2], group, "here");
    world.settle();
    assert!(world.texts(devices[0]).contains(&"here"));
    world.agree(&devices, group);
}

/// A swarm that signs for two items of a slot: three members on two branches end on one, and
/// nothing that was said is lost.
#[test]
fn a_fork_heals() {
    for seed in 0..4 {
        let mut world = World::new(40 + seed);
        let (devices, group) = world.many(3);
        let start = world.agree(&devices, group);
        world.swarm.slots_ignored = true;
        for device in &devices[1..] {
            world.change(*device, group, Vec::new()).unwrap();
            world.tick(*device);
        }
        // Each of both believes that it has won; the third one follows either.
        for device in &devices[1..] {
            deliver_stores(&mut world, *device);
        }
        let heads: Vec<_> =
            devices[1..].iter().map(|it| world.authenticator(*it, group).unwrap()).collect();
        assert_eq!((heads[0].0, heads[1].0), (start + 1, start + 1));
        assert_ne!(heads[0].1, heads[1].1);
        for device in &devices[1..] {
            world.say(*device, group, &format!("from branch {device}"));
            deliver_stores(&mut world, *device);
        }
        world.swarm.slots_ignored = false;
        world.run(Span::from_secs(300));
        world.agree(&devices, group);
        for device in &devices[1..] {
            let text = format!("from branch {device}");
            for other in devices.iter().filter(|other| *other != device) {
                assert!(world.texts(*other).contains(&text.as_str()), "seed {seed}: {other}");
            }
        }
    }
}

/// What decides between branches is known of their first commits alone, so that all decide alike
/// however far they have gone. What was done on the branch that is left is done again.
#[test]
fn branches_are_chosen_by_their_first_commits() {
    for seed in 0..4 {
        let mut world = World::new(50 + seed);
        let (devices, group) = world.many(3);
        let start = world.agree(&devices, group);
        world.swarm.slots_ignored = true;
        for device in &devices[1..] {
            world.change(*device, group, Vec::new()).unwrap();
            world.tick(*device);
            deliver_stores(&mut world, *device);
        }
        let first =
            |world: &World, device: usize| world.state(device, group).epochs.last().cloned();
        let heads = devices[1..].iter().map(|it| first(&world, *it).unwrap());
        let better = heads.min_by_key(|keys| keys.commit).unwrap();
        // One of them goes two steps further, with a name for the group: no admin may be ahead.
        let ahead = devices[1 + (seed as usize % 2)];
        for _ in 0..2 {
            world.change(ahead, group, Vec::new()).unwrap();
            world.tick(ahead);
            deliver_stores(&mut world, ahead);
        }
        assert_eq!(world.authenticator(ahead, group).unwrap().0, start + 3);
        world.swarm.slots_ignored = false;
        world.swarm.drops_losers = seed >= 2;
        world.run(Span::from_secs(300));
        world.agree(&devices, group);
        for device in &devices {
            let state = world.state(*device, group);
            let kept = state.epochs.iter().any(|it| it.authenticator == better.authenticator);
            assert!(kept, "seed {seed}: device {device} is on the other branch");
        }
    }
}

/// Whoever comes back with a commit that is no longer waited for follows the others, whatever its
/// digest: they could not come back.
#[test]
fn a_commit_that_comes_too_late_undoes_nothing() {
    for seed in 0..4 {
        let mut world = World::new(54 + seed);
        let (devices, group) = world.many(3);
        let start = world.agree(&devices, group);
        let late = devices[2];
        world.devices[late].offline = true;
        let ticket = world.change(late, group, Vec::new()).unwrap();
        world.tick(late);
        world.change(devices[1], group, Vec::new()).unwrap();
        world.settle();
        world.run(Span::from_secs(1200));
        assert_eq!(world.agree(&devices[..2], group), start + 1);
        let head = world.authenticator(devices[0], group).unwrap();
        world.devices[late].offline = false;
        world.run(Span::from_secs(300));
        assert_eq!(world.agree(&devices, group), start + 2, "seed {seed}");
        let kept = world.state(late, group).epochs.iter().any(|it| it.authenticator == head.1);
        assert!(kept, "seed {seed}");
        let done =
            |it: &Heard| matches!(it, Heard::Done { ticket: of, result: Ok(()) } if *of == ticket);
        assert_eq!(world.count(late, done), 1);
    }
}

/// Whoever a branch removes cannot walk it, and knows all the same that it counts.
#[test]
fn who_is_removed_on_the_better_branch_leaves() {
    for seed in 0..4 {
        let mut world = World::new(58 + seed);
        let (devices, group) = world.many(3);
        world.swarm.slots_ignored = true;
        let account = world.devices[devices[2]].credential.account;
        world.change(devices[0], group, vec![Wish::RemoveAccount { account }]).unwrap();
        world.change(devices[1], group, Vec::new()).unwrap();
        // The one that is removed follows the other branch first.
        world.devices[devices[0]].offline = true;
        world.settle();
        world.devices[devices[0]].offline = false;
        world.swarm.slots_ignored = false;
        world.run(Span::from_secs(300));
        world.agree(&devices[..2], group);
        assert_eq!(phase(&world.devices[devices[2]].vault, &group), Some(Phase::Removed));
    }
}

/// Whoever was let in on a branch that loses comes over, though it has heard others there.
#[test]
fn who_came_in_on_the_branch_that_loses_comes_over() {
    let mut world = World::new(65);
    let (mut devices, group) = world.many(3);
    world.swarm.slots_ignored = true;
    world.change(devices[1], group, Vec::new()).unwrap();
    world.tick(devices[1]);
    deliver_stores(&mut world, devices[1]);
    // Nobody sees that for a while, and somebody comes in.
    world.devices[devices[1]].offline = true;
    for device in [devices[0], devices[2]] {
        world.devices[device].blind = true;
    }
    world.run(Span::from_secs(400));
    let late = world.device(9);
    world.add(devices[0], group, &[late]);
    world.say(devices[0], group, "welcome");
    world.say(late, group, "thanks");
    world.settle();
    assert_eq!(world.texts(late), ["welcome"]);
    for device in &devices {
        world.devices[*device].blind = false;
        world.devices[*device].offline = false;
    }
    world.swarm.slots_ignored = false;
    world.run(Span::from_secs(300));
    devices.push(late);
    world.agree(&devices, group);
    for device in &devices[..3] {
        assert_eq!(world.texts(*device).iter().filter(|text| **text == "thanks").count(), 1);
    }
}

/// Lets the swarm take what a device sends, and nothing else happen.
fn deliver_stores(world: &mut World, device: usize) {
    let others: Vec<usize> = (0..world.devices.len()).filter(|it| *it != device).collect();
    let before: Vec<bool> = others.iter().map(|it| world.devices[*it].offline).collect();
    others.iter().for_each(|it| world.devices[*it].offline = true);
    world.devices[device].blind = true;
    for _ in 0..20 {
        if !world.round() {
            break;
        }
    }
    world.devices[device].blind = false;
    others.iter().zip(before).for_each(|(it, was)| world.devices[*it].offline = was);
}

/// Somebody puts something into the slot that no member takes: the next slot counts.
#[test]
fn a_slot_with_rubbish_does_not_stop_a_group() {
    let mut world = World::new(60);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    let state = State::load(&world.devices[devices[0]].vault, &group).unwrap();
    let commits = routes::CommitBox::of(&group, &state, start).unwrap();
    let mut data = routes::slot(&group, start, 0).as_bytes().to_vec();
    data.extend_from_slice(&[1; 1024]);
    world.call(devices[2], |_, cx, outbox, _| {
        let purpose = crate::outbox::Purpose::Quiet;
        let data = ItemBytes::new(data).unwrap();
        outbox.send(cx, purpose, commits.slot_target(), TTL, data);
    });
    world.settle();
    let ticket = world.change(devices[1], group, Vec::new()).unwrap();
    world.run(Span::from_secs(300));
    let done =
        |it: &Heard| matches!(it, Heard::Done { ticket: of, result: Ok(()) } if *of == ticket);
    assert_eq!(world.count(devices[1], done), 1);
    assert_eq!(world.agree(&devices, group), start + 1);
}

/// A commit that nobody is seen to follow is sent again by another way, and its owner is told.
#[test]
fn a_commit_that_is_withheld_is_sent_again() {
    let mut world = World::new(61);
    let (a, b, group) = world.direct();
    world.rotate_by(Rotation { resend: Span::from_secs(3600), ..Rotation::default() });
    let start = world.agree(&[a, b], group);
    world.devices[b].offline = true;
    world.change(a, group, Vec::new()).unwrap();
    world.settle();
    let slot = world.swarm.stored.iter().rfind(|(_, item)| item.namespace == COMMITS);
    world.swarm.withheld.insert(slot.unwrap().1.id);
    world.devices[b].offline = false;
    world.settle();
    assert_eq!(world.authenticator(b, group).unwrap().0, start);
    // Both still understand each other.
    world.say(b, group, "old keys");
    world.settle();
    assert_eq!(world.texts(a), ["old keys"]);
    world.run(Span::from_secs(3700));
    assert_eq!(world.agree(&[a, b], group), start + 1);
    assert_eq!(world.count(a, |it| matches!(it, Heard::HealingBlocked { .. })), 0);
}

#[test]
fn healing_that_is_blocked_is_told() {
    let mut world = World::new(62);
    let (a, b, group) = world.direct();
    world.devices[b].offline = true;
    world.change(a, group, Vec::new()).unwrap();
    world.settle();
    let since = world.now;
    world.run(Span::from_days(8));
    let told = world.devices[a].heard.iter().find_map(|it| match it {
        Heard::HealingBlocked { since, .. } => Some(*since),
        _ => None,
    });
    assert!(told.is_some_and(|told| told <= since && told != Time::ZERO));
}

/// A large change takes more than one box; its pieces may come in any order.
#[test]
fn a_large_commit_travels_in_pieces() {
    let mut world = World::new(63);
    let (mut devices, group) = world.many(2);
    let more: Vec<usize> = (10..18).map(|number| world.device(number)).collect();
    world.swarm.shuffled = true;
    world.add(devices[0], group, &more);
    let pieces = world.swarm.stored.iter().filter(|(_, item)| item.namespace != COMMITS).count();
    assert!(pieces > 0, "the commit fitted into one box");
    devices.extend(more);
    world.agree(&devices, group);
    assert_eq!(world.accounts(devices[0], group).len(), 10);
    assert_eq!(world.accounts(devices[0], group)[0], account(1));
}

/// Reads are ordered once at a time, and answers to nobody's reads are not taken.
#[test]
fn reads_belong_to_those_who_ordered_them() {
    let mut world = World::new(64);
    let (a, _, _) = world.direct();
    let heard =
        world.call(a, |groups, cx, _, me| groups.read(cx, me, 12_345, &Err(NetFailure::Missing)));
    assert!(heard.is_none());
}
