//! Who is taken for an impostor, by which manifest.

use session_core::{Digest, Span};

use super::super::{Heard, Listing};
use super::world::{World, account};
use crate::messenger::api::Warning;
use crate::say::GroupId;

/// A group of an admin and somebody whose leaf names a manifest that the admin has not seen.
fn unseen() -> (World, usize, GroupId) {
    let mut world = World::new(90);
    world.confirms = false;
    let (devices, group) = world.many(2);
    (world, devices[0], group)
}

/// Tells the admin a manifest; returns how many devices are still there a while later, and whether
/// it was warned.
fn told(world: &mut World, admin: usize, group: GroupId, listing: &Listing) -> (usize, bool) {
    let heard = world.call(admin, |groups, cx, _, me| groups.known(cx, me, &account(2), listing));
    world.run(Span::from_secs(120));
    let there = super::super::roster(&world.devices[admin].vault, &group).leaves.len();
    (there, heard.iter().any(|it| matches!(it, Heard::Warning(Warning::Impostor { .. }))))
}

fn other(world: &World) -> Listing {
    Listing { keys: vec![], made: world.now, seen: vec![Digest::from([9; 32])] }
}

#[test]
fn a_manifest_that_may_be_older_refutes_nobody() {
    let (mut world, admin, group) = unseen();
    world.say(1, group, "it is me");
    world.settle();
    let old = other(&world);
    for _ in 0..3 {
        assert_eq!(told(&mut world, admin, group, &old), (2, false));
        world.run(Span::from_days(1));
    }
    assert!(world.texts(admin).is_empty());
    let listing = Listing { keys: vec![world.key(1)], ..old };
    let heard = world.call(admin, |groups, cx, _, me| groups.known(cx, me, &account(2), &listing));
    assert!(matches!(&heard[..], [Heard::Said { .. }]), "{heard:?}");
}

#[test]
fn a_manifest_that_is_made_later_refutes_whoever_is_not_in_it() {
    let (mut world, admin, group) = unseen();
    world.say(1, group, "trust me");
    world.settle();
    let old = other(&world);
    assert_eq!(told(&mut world, admin, group, &old), (2, false));
    world.run(Span::from_days(7));
    let late = other(&world);
    assert_eq!(told(&mut world, admin, group, &late), (1, true));
}

#[test]
fn who_was_listed_once_is_refuted_by_the_next_manifest() {
    let (mut world, admin, group) = unseen();
    let old = Listing { keys: vec![world.key(1)], ..other(&world) };
    assert_eq!(told(&mut world, admin, group, &old), (2, false));
    let next = other(&world);
    assert_eq!(told(&mut world, admin, group, &next), (1, false));
}
