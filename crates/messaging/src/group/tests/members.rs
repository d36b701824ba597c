//! Who comes, who goes, and who may say so.

use session_core::{Span, Text};

use super::super::state::{Aside, Ask};
use super::super::{Heard, Kind, Phase, Role, Seat, Wish, adds, agreed, members, phase};
use super::world::{World, account, early};
use crate::messenger::api::Error;
use crate::mls::{Change, Doors, KeyAgreement as _, OpenMls};

fn done(world: &World, device: usize, ticket: u64) -> Option<Result<(), Error>> {
    world.devices[device].heard.iter().find_map(|it| match it {
        Heard::Done { ticket: of, result } if *of == ticket => Some(result.clone()),
        _ => None,
    })
}

#[test]
fn members_come_and_go() {
    let mut world = World::new(70);
    let (devices, group) = world.many(3);
    let late = world.device(4);
    world.add(devices[0], group, &[late]);
    world.say(late, group, "hello");
    world.settle();
    assert_eq!(world.texts(devices[2]), ["hello"]);

    let ticket =
        world.change(devices[0], group, vec![Wish::RemoveAccount { account: account(2) }]).unwrap();
    world.settle();
    assert_eq!(done(&world, devices[0], ticket), Some(Ok(())));
    assert_eq!(phase(&world.devices[devices[1]].vault, &group), Some(Phase::Removed));
    let gone = |it: &Heard| matches!(it, Heard::Removed { by: Some(by), .. } if *by == account(1));
    assert_eq!(world.count(devices[1], gone), 1);
    world.agree(&[devices[0], devices[2], late], group);
    assert_eq!(world.accounts(late, group), [account(1), account(3), account(4)]);
    assert!(matches!(world.try_say(devices[1], group, "?"), Err(Error::Lost)));

    // And may come back.
    world.add(devices[0], group, &[devices[1]]);
    world.say(devices[1], group, "back");
    world.settle();
    assert!(world.texts(late).contains(&"back"));
}

#[test]
fn several_devices_come_at_once_in_several_commits() {
    let mut world = World::new(71);
    let (devices, group) = world.many(1);
    let more: Vec<usize> = (2..9).map(|number| world.device(number)).collect();
    let packages = more.iter().map(|it| world.package(*it)).collect();
    let wishes = adds(packages);
    assert_eq!(wishes.len(), 2);
    let ticket = world.change(devices[0], group, wishes).unwrap();
    world.settle();
    let told = |it: &Heard| matches!(it, Heard::Done { ticket: of, .. } if *of == ticket);
    assert_eq!(world.count(devices[0], told), 1);
    assert_eq!(world.accounts(more[6], group).len(), 8);
}

#[test]
fn who_leaves_is_let_go_with_all_devices() {
    let mut world = World::new(72);
    let (phone, laptop) = (world.device(2), world.device(2));
    let (admin, other) = (world.device(1), world.device(3));
    let group = world.group(Kind::Group, &[admin, phone, laptop, other]);
    world.call(phone, |groups, cx, _, _| groups.leave(cx, &group)).unwrap();
    world.run(Span::from_secs(120));
    for device in [phone, laptop] {
        assert_eq!(phase(&world.devices[device].vault, &group), Some(Phase::Removed));
    }
    world.agree(&[admin, other], group);
    assert_eq!(world.accounts(admin, group), [account(1), account(3)]);
}

/// The only admin leaves: somebody else becomes one first, and commits the removal.
#[test]
fn a_group_is_never_without_an_admin() {
    let mut world = World::new(73);
    let (devices, group) = world.many(3);
    world.call(devices[0], |groups, cx, _, _| groups.leave(cx, &group)).unwrap();
    world.run(Span::from_secs(120));
    assert_eq!(phase(&world.devices[devices[0]].vault, &group), Some(Phase::Removed));
    let left = members(&world.devices[devices[1]].vault, &group);
    assert_eq!(left, [(account(2), Role::Admin), (account(3), Role::Member)]);
    world.agree(&devices[1..], group);
}

/// The admin is away: a member lets the one go who asks, and everybody takes that.
#[test]
fn a_member_lets_go_who_asks_when_no_admin_does() {
    let mut world = World::new(74);
    let (devices, group) = world.many(3);
    world.devices[devices[0]].offline = true;
    world.call(devices[2], |groups, cx, _, _| groups.leave(cx, &group)).unwrap();
    world.run(Span::from_secs(120));
    assert_eq!(phase(&world.devices[devices[2]].vault, &group), Some(Phase::Removed));
    world.devices[devices[0]].offline = false;
    world.run(Span::from_secs(120));
    world.agree(&devices[..2], group);
    assert_eq!(world.accounts(devices[0], group), [account(1), account(2)]);
}

/// The commit carries the wish of who leaves: whoever did not see that wish takes it all the same.
#[test]
fn who_lets_somebody_go_shows_why() {
    let mut world = World::new(79);
    let (devices, group) = world.many(4);
    let (committer, leaver, late) = (devices[1], devices[3], devices[2]);
    for away in [devices[0], late] {
        world.devices[away].offline = true;
    }
    world.call(leaver, |groups, cx, _, _| groups.leave(cx, &group)).unwrap();
    world.settle();
    let boxes: Vec<_> = world.swarm.stored.iter().map(|(_, item)| item.id).collect();
    world.run(Span::from_secs(120));
    assert_eq!(phase(&world.devices[leaver].vault, &group), Some(Phase::Removed));
    world.swarm.withheld.extend(boxes);
    for back in [devices[0], late] {
        world.devices[back].offline = false;
    }
    world.settle();
    world.agree(&[devices[0], committer, late], group);
    assert_eq!(world.accounts(late, group).len(), 3);
}

/// Somebody's message, shown as a wish to leave, removes nobody, and is read when it comes.
#[test]
fn a_message_is_not_taken_for_a_wish_to_leave() {
    let mut world = World::new(80);
    let (devices, group) = world.many(3);
    let (rogue, author) = (devices[1], devices[2]);
    let before = world.agree(&devices, group);
    // As the author will say it: under the same key.
    let mut vault = world.devices[author].vault.clone();
    let mut rng = session_core::SeededEntropy::new(1);
    let mut doors = Doors { vault: &mut vault, rng: &mut rng };
    let key = &world.devices[author].key;
    let said = OpenMls::default().encrypt(&mut doors, key, &group, b"anything").unwrap();
    let leaves = super::super::roster(&vault, &group);
    let victim = leaves.of(&account(3)).next().unwrap().leaf;
    let change = Change { remove: vec![victim], ..Change::default() };
    let aside = Aside { asked: Ask::new(said).ok(), ..early(0) };
    let vault = world.devices[rogue].vault.clone();
    let message = world.forge(rogue, group, &vault, aside, change);
    world.publish(rogue, group, &message);
    world.run(Span::from_secs(60));
    assert_eq!(world.agree(&devices, group), before);
    world.say(author, group, "still read");
    world.run(Span::from_secs(30));
    assert_eq!(world.texts(devices[0]), ["still read"]);
}

#[test]
fn only_admins_change_the_group() {
    let mut world = World::new(75);
    let (devices, group) = world.many(3);
    let stranger = world.device(9);
    let package = world.package(stranger);
    let renamed = Wish::Agree { name: Some(Text::new("x").unwrap()), seat: None, disappear: None };
    let wishes = [
        Wish::RemoveAccount { account: account(3) },
        adds(vec![package]).remove(0),
        renamed.clone(),
    ];
    for wish in wishes {
        assert_eq!(world.change(devices[1], group, vec![wish]), Err(Error::NotAdmin));
    }
    world.change(devices[0], group, vec![renamed]).unwrap();
    let seat = Seat { account: account(2), role: Role::Admin };
    let promote = Wish::Agree { name: None, seat: Some(seat), disappear: None };
    world.change(devices[0], group, vec![promote]).unwrap();
    world.settle();
    assert_eq!(&*agreed(&world.devices[devices[2]].vault, &group).unwrap().name, "x");
    world.change(devices[1], group, vec![Wish::RemoveAccount { account: account(3) }]).unwrap();
    world.settle();
    assert_eq!(world.accounts(devices[0], group), [account(1), account(2)]);
}

/// A member whose software does not ask is refused by everyone else.
#[test]
fn what_a_member_may_not_do_nobody_takes() {
    let mut world = World::new(76);
    let (devices, group) = world.many(3);
    let before = world.authenticator(devices[0], group);
    let key = world.key(devices[2]);
    let vault = world.devices[devices[1]].vault.clone();
    let leaves = super::super::roster(&vault, &group);
    let victim = leaves.leaves.iter().find(|leaf| leaf.key == key).unwrap().leaf;
    let change = Change { remove: vec![victim], ..Change::default() };
    let message = world.forge(devices[1], group, &vault, early(0), change);
    world.publish(devices[1], group, &message);
    world.devices[devices[1]].offline = true;
    world.run(Span::from_secs(30));
    assert_eq!(world.authenticator(devices[0], group), before);
    assert_eq!(phase(&world.devices[devices[2]].vault, &group), Some(Phase::Member));
    // The group goes on beside it.
    world.change(devices[0], group, Vec::new()).unwrap();
    world.run(Span::from_secs(600));
    let after = world.agree(&[devices[0], devices[2]], group);
    assert_eq!(after, before.unwrap().0 + 1);
    assert_eq!(world.accounts(devices[0], group), [account(1), account(2), account(3)]);
}

/// Removing a device and adding it again would drive it out for as long as it takes to ask: only with
/// a key package that it made for that, in this group, after it came in.
#[test]
fn a_member_lets_nobody_in_again_who_did_not_ask() {
    let mut world = World::new(80);
    let (devices, group) = world.many(6);
    let (rogue, victim) = (devices[1], devices[5]);
    let elsewhere = crate::say::GroupId { bytes: [5; 32] };
    let asked = world.asks(victim, group);
    world.run(Span::from_secs(1));
    let later = world.asks(victim, group);
    world.run(Span::from_secs(3600));
    world.change(rogue, group, vec![Wish::Readd { package: later.clone() }]).unwrap();
    world.settle();
    let before = world.agree(&devices, group);

    let unasked = [world.package(victim), world.asks(victim, elsewhere), asked, later];
    // Whoever finds a commit of its own that its software did not make is out of step itself.
    for (number, package) in unasked.into_iter().enumerate() {
        let rogue = devices[1 + number];
        world.run(Span::from_secs(3600));
        let vault = world.devices[rogue].vault.clone();
        let leaves = super::super::roster(&vault, &group);
        let leaf = leaves.of(&account(6)).next().unwrap().leaf;
        // Its own software does not do it.
        let wish = Wish::Readd { package: package.clone() };
        let ticket = world.change(rogue, group, vec![wish]).unwrap();
        world.settle();
        assert_eq!(done(&world, rogue, ticket), Some(Ok(())));
        assert_eq!(world.agree(&devices, group), before, "{number}");
        let (add, number) = (vec![package.bytes.to_vec()], number as u32);
        let change = Change { add, remove: vec![leaf], ..Change::default() };
        let message = world.forge(rogue, group, &vault, early(number), change);
        world.publish_in(rogue, group, number, &message);
        world.run(Span::from_secs(30));
        assert_eq!(world.agree(&devices, group), before, "{number}");
        assert_eq!(phase(&world.devices[victim].vault, &group), Some(Phase::Member));
    }
    assert_eq!(world.count(victim, |it| matches!(it, Heard::Lost { .. })), 1);
}

#[test]
fn a_conversation_of_two_stays_one() {
    let mut world = World::new(77);
    let (a, _, group) = world.direct();
    let third = world.device(3);
    let wish = adds(vec![world.package(third)]).remove(0);
    assert!(matches!(world.change(a, group, vec![wish]), Err(Error::Invalid { .. })));
    // Another device of one of both may come, whoever brings it in.
    let tablet = world.device(2);
    world.add(a, group, &[tablet]);
    world.say(a, group, "to both devices");
    world.settle();
    assert_eq!(world.texts(tablet), ["to both devices"]);
}

#[test]
fn a_welcome_is_taken_once_and_only_where_it_belongs() {
    let mut world = World::new(78);
    let (devices, group) = world.many(2);
    let welcome = world.devices[devices[0]].heard.iter().find_map(|it| match it {
        Heard::Welcome(welcome) => Some((**welcome).clone()),
        _ => None,
    });
    let welcome = welcome.unwrap();
    let before = world.authenticator(devices[1], group);
    let from = world.inviter(devices[0]);
    assert!(world.join(devices[1], from, &welcome).is_err());
    let stranger = world.device(7);
    assert!(world.join(stranger, from, &welcome).is_err());
    assert_eq!(phase(&world.devices[stranger].vault, &group), None);
    assert_eq!(world.devices[stranger].vault.entries().count(), 0);
    // After this device was let out, the old welcome leads nowhere either.
    world.change(devices[0], group, vec![Wish::RemoveAccount { account: account(2) }]).unwrap();
    world.settle();
    assert!(world.join(devices[1], from, &welcome).is_err());
    assert_eq!(phase(&world.devices[devices[1]].vault, &group), Some(Phase::Removed));
    assert_ne!(world.authenticator(devices[0], group), before);
}

#[test]
fn a_key_package_that_is_not_listed_is_not_let_in() {
    let mut world = World::new(79);
    let (devices, group) = world.many(1);
    let other = world.device(2);
    let none = world.listing(vec![]);
    world.call(devices[0], |groups, cx, _, me| groups.known(cx, me, &account(2), &none));
    let wish = adds(vec![world.package(other)]).remove(0);
    let ticket = world.change(devices[0], group, vec![wish]).unwrap();
    world.settle();
    assert!(matches!(done(&world, devices[0], ticket), Some(Err(Error::Invalid { .. }))));
}
