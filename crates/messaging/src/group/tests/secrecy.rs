//! What a thief has: the whole store of a device, and everything that the swarm ever showed.

use session_core::{InboxAddress, Span};
use session_protocol::request::Item;

use super::super::{HORIZON, Kind, RETAIN, Wish};
use super::world::{World, account};
use crate::say::GroupId;
use crate::vault::MemoryVault;

/// Makes of a stolen store a device that is shown everything, and returns what it can read.
fn read_by_thief(
    world: &mut World,
    victim: usize,
    stolen: &MemoryVault,
    items: &[(InboxAddress, Item)],
) -> Vec<String> {
    let mut thief = World::new(999);
    thief.now = world.now;
    thief.swarm.stored = items.to_vec();
    for (address, item) in items {
        thief.swarm.items.entry(*address).or_default().push(item.clone());
    }
    let device = thief.device(200);
    let it = &mut thief.devices[device];
    it.vault = stolen.clone();
    it.key = world.clone_key(victim);
    it.credential = world.devices[victim].credential;
    // A thief asks no swarm for anything that would betray it, and believes every device.
    thief.restart(device);
    thief.trusts_everyone(world);
    thief.run(Span::from_secs(600));
    thief.texts(device).iter().map(|text| (*text).to_owned()).collect()
}

fn talk(world: &mut World, group: GroupId, devices: &[usize], what: &str) {
    for device in devices {
        world.say(*device, group, &format!("{what} {device}"));
    }
    world.settle();
}

fn earlier_and_later(mut world: World, devices: Vec<usize>, group: GroupId) {
    let victim = devices[1];
    talk(&mut world, group, &devices, "earlier");
    // The way back of ten minutes has to be over: it is the price of healing forks.
    world.run(HORIZON + Span::from_secs(60));
    let stolen = world.devices[victim].vault.clone();
    let before = world.swarm.stored.len();
    talk(&mut world, group, &devices, "now");
    for device in &devices {
        world.change(*device, group, Vec::new()).unwrap();
        world.settle();
    }
    world.agree(&devices, group);
    let healed = world.swarm.stored.len();
    talk(&mut world, group, &devices, "later");

    let all = world.swarm.stored.clone();
    let earlier = read_by_thief(&mut world, victim, &stolen, &all[..before]);
    assert!(earlier.is_empty(), "earlier messages open: {earlier:?}");
    // What the thief reads without doubt is what came right after the theft: the test would notice.
    let all = read_by_thief(&mut world, victim, &stolen, &all);
    assert!(all.iter().any(|text| text.starts_with("now")), "{all:?}");
    assert!(!all.iter().any(|text| text.starts_with("later")), "{all:?}");
    assert!(healed < world.swarm.stored.len());
}

#[test]
fn a_theft_opens_nothing_earlier_and_heals_in_a_conversation_of_two() {
    let mut world = World::new(80);
    let (a, b, group) = world.direct();
    earlier_and_later(world, vec![a, b], group);
}

#[test]
fn a_theft_opens_nothing_earlier_and_heals_in_a_group() {
    let mut world = World::new(81);
    let (devices, group) = world.many(3);
    earlier_and_later(world, devices, group);
}

/// A removed member has its whole store, and everything that is stored from then on.
#[test]
fn a_removed_member_opens_nothing_new() {
    let mut world = World::new(82);
    let (devices, group) = world.many(3);
    talk(&mut world, group, &devices, "together");
    let kept = world.devices[devices[2]].vault.clone();
    world.devices[devices[2]].offline = true;
    world.change(devices[0], group, vec![Wish::RemoveAccount { account: account(3) }]).unwrap();
    world.settle();
    talk(&mut world, group, &devices[..2], "without you");
    let all = world.swarm.stored.clone();
    let read = read_by_thief(&mut world, devices[2], &kept, &all);
    assert!(!read.iter().any(|text| text.starts_with("without")), "{read:?}");
    // Nor does it know where the others talk now.
    let addresses: std::collections::BTreeSet<_> =
        all.iter().rev().take(2).map(|(address, _)| *address).collect();
    let now = world.now;
    let it = &mut world.devices[devices[2]];
    let own = it.credential.account;
    let watched = it.groups.sources(&it.vault, &own, now, now - Span::from_days(1));
    assert!(addresses.iter().all(|address| !watched.contains_key(address)));
}

/// What a former member says in the epoch in which it was one is taken for two days.
#[test]
fn a_former_member_is_heard_for_two_days() {
    for (away, taken) in [(Span::from_secs(3600), true), (RETAIN + Span::from_secs(3600), false)] {
        let mut world = World::new(83);
        let (devices, group) = world.many(3);
        world.devices[devices[2]].offline = true;
        world.say(devices[2], group, "last words");
        world.change(devices[0], group, vec![Wish::RemoveAccount { account: account(3) }]).unwrap();
        world.settle();
        world.run(away);
        // Its box reaches the swarm only now.
        world.devices[devices[2]].offline = false;
        world.devices[devices[2]].blind = true;
        world.settle();
        assert_eq!(world.texts(devices[1]).contains(&"last words"), taken);
    }
}

#[test]
fn nothing_of_a_group_stays_when_it_is_forgotten() {
    let mut world = World::new(84);
    let a = world.device(1);
    let b = world.device(2);
    let kind = Kind::Direct { creator: account(1), other: account(2) };
    let group = world.group(kind, &[a, b]);
    talk(&mut world, group, &[a, b], "x");
    world.call(a, |groups, cx, _, _| groups.forget(cx, &group));
    let vault = &world.devices[a].vault;
    let left = vault.entries().filter(|(key, _)| key.windows(32).any(|it| it == group.bytes));
    assert_eq!(left.count(), 0);
}
