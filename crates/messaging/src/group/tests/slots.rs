//! Slots: rubbish in them, halves of commits, and commits that come too late to count.

use session_core::testing::check_codec;
use session_core::{Blob, Decode as _, Span, Time};
use session_protocol::inbox::COMMITS;

use super::super::open::{Found, collect};
use super::super::seal::kind;
use super::super::state::{Aside, Ask, Part, Stamp, State};
use super::super::{Heard, Kind, Phase, Wish, phase};
use super::world::{World, account, early};
use crate::boxes::{Piece, cut};
use crate::mls::Change;

fn lost(world: &World) -> usize {
    let lost = |it: &Heard| matches!(it, Heard::Lost { .. } | Heard::Removed { .. });
    (0..world.devices.len()).map(|device| world.count(device, lost)).sum()
}

fn done(world: &World, device: usize, ticket: u64) -> usize {
    let done =
        |it: &Heard| matches!(it, Heard::Done { ticket: of, result: Ok(()) } if *of == ticket);
    world.count(device, done)
}

/// Somebody fills slots with rubbish: the group goes on behind them, however many there are.
#[test]
fn rubbish_in_any_number_of_slots_stops_nobody() {
    for count in [16, 17, 40] {
        let mut world = World::new(300 + u64::from(count));
        let (devices, group) = world.many(3);
        let start = world.agree(&devices, group);
        let state = world.state(devices[0], group);
        world.fill_slots(group, &state, 0..count);
        world.run(Span::from_secs(600));
        assert_eq!(lost(&world), 0, "{count} slots");
        let ticket = world.change(devices[1], group, Vec::new()).unwrap();
        world.run(Span::from_secs(600));
        assert_eq!(done(&world, devices[1], ticket), 1, "{count} slots");
        assert_eq!(world.agree(&devices, group), start + 1);
        world.say(devices[2], group, "still here");
        world.settle();
        assert_eq!(world.texts(devices[0]), ["still here"]);
        assert_eq!(lost(&world), 0);
    }
}

/// The same where nobody watched while the slots were filled.
#[test]
fn rubbish_is_passed_by_those_who_come_later() {
    let mut world = World::new(304);
    let (devices, group) = world.many(3);
    world.devices[devices[2]].offline = true;
    let state = world.state(devices[0], group);
    world.fill_slots(group, &state, 0..50);
    world.change(devices[0], group, Vec::new()).unwrap();
    world.run(Span::from_secs(600));
    world.devices[devices[2]].offline = false;
    world.run(Span::from_secs(600));
    assert_eq!(world.agree(&devices, group), state.epoch + 1);
    assert_eq!(lost(&world), 0);
}

/// Half a commit in a slot is waited for, a while, without asking all the time; then the next slot
/// counts.
#[test]
fn half_a_commit_holds_nobody_up() {
    let mut world = World::new(310);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    world.publish_in(devices[2], group, 0, &[7; 70_000]);
    let before = world.swarm.reads;
    world.run(Span::from_secs(60));
    assert!(world.swarm.reads < before + 30, "{} reads", world.swarm.reads - before);
    let ticket = world.change(devices[1], group, Vec::new()).unwrap();
    world.run(Span::from_secs(600));
    assert_eq!(done(&world, devices[1], ticket), 1);
    assert_eq!(world.agree(&devices, group), start + 1);
    assert_eq!(lost(&world), 0);
}

/// The slot is filled when all other pieces of a commit are stored: who dies in between leaves it
/// free.
#[test]
fn a_slot_is_filled_last() {
    let mut world = World::new(311);
    let (devices, group) = world.many(2);
    let start = world.agree(&devices, group);
    let more: Vec<usize> = (10..15).map(|number| world.device(number)).collect();
    for device in &more {
        world.confirm(devices[0], world.devices[*device].credential.account);
    }
    let packages = more.iter().map(|device| world.package(*device)).collect();
    let slots = |world: &World| {
        world.swarm.stored.iter().filter(|(_, item)| item.namespace == COMMITS).count()
    };
    let before = slots(&world);
    world.swarm.boxes_down = true;
    let ticket = world.change(devices[0], group, super::super::adds(packages)).unwrap();
    world.run(Span::from_secs(60));
    assert_eq!(slots(&world), before);
    // Its device is away now, and the others go on.
    world.devices[devices[0]].offline = true;
    world.change(devices[1], group, Vec::new()).unwrap();
    world.settle();
    assert_eq!(world.authenticator(devices[1], group).unwrap().0, start + 1);
    // It comes back from its vault, follows them, and does what was wanted.
    world.swarm.boxes_down = false;
    world.devices[devices[0]].offline = false;
    world.restart(devices[0]);
    world.run(Span::from_secs(600));
    assert_eq!(done(&world, devices[0], ticket), 1);
    let everybody: Vec<usize> = devices.iter().chain(&more).copied().collect();
    assert_eq!(world.agree(&everybody, group), start + 2);
    assert_eq!(world.devices[devices[0]].outbox.len(), 0);
}

/// A restart between the last of the pieces and the slot.
#[test]
fn a_slot_is_filled_after_a_restart() {
    let mut world = World::new(312);
    let (devices, group) = world.many(2);
    let start = world.agree(&devices, group);
    let more: Vec<usize> = (10..15).map(|number| world.device(number)).collect();
    let packages = more.iter().map(|device| world.package(*device)).collect();
    for device in &more {
        world.confirm(devices[0], world.devices[*device].credential.account);
    }
    world.swarm.boxes_down = true;
    world.change(devices[0], group, super::super::adds(packages)).unwrap();
    world.tick(devices[0]);
    world.restart(devices[0]);
    world.swarm.boxes_down = false;
    world.run(Span::from_secs(60));
    let everybody: Vec<usize> = devices.iter().chain(&more).copied().collect();
    assert_eq!(world.agree(&everybody, group), start + 1);
}

/// Of messages in pieces the oldest give way, never the one that is about to be whole; and none of
/// what is said crowds out a commit.
#[test]
fn halves_give_way_by_age() {
    let mut world = World::new(313);
    let (devices, group) = world.many(2);
    let whole = vec![3; 100_000];
    let pieces = cut(kind::COMMIT, &whole).unwrap();
    let junk = |number: u8, of: u8| Piece {
        id: [number; 16],
        index: 0,
        count: 2,
        kind: of,
        data: Blob::new(vec![number]).unwrap(),
    };
    world.call(devices[0], |_, cx, _, _| {
        for number in 0..20 {
            collect(cx, &group, junk(number, kind::SIGNED));
        }
        // High names, which an order by name would prefer.
        for number in 240..255 {
            cx.now = cx.now + Span::from_millis(1);
            collect(cx, &group, junk(number, kind::COMMIT));
        }
        cx.now = cx.now + Span::from_millis(1);
        collect(cx, &group, pieces[0].clone());
        for number in 100..107 {
            cx.now = cx.now + Span::from_millis(1);
            collect(cx, &group, junk(number, kind::SIGNED));
            collect(cx, &group, junk(number, kind::COMMIT));
        }
        let found = collect(cx, &group, pieces[1].clone());
        assert!(matches!(found, Found::Whole(bytes) if bytes == whole));
    });
    let vault = &world.devices[devices[0]].vault;
    for part in [Part::Half, Part::Fragment] {
        assert!(part.list::<super::super::state::Partial>(vault, &group).len() <= 8);
    }
    assert!(Piece::decode_exact(&[]).is_err());
}

/// A commit of an epoch that has ended is none if it was made for a later slot, or names another
/// than the one in which it lies, however early it says that it was made.
#[test]
fn a_later_slot_undoes_nothing() {
    let mut world = World::new(320);
    let (devices, group) = world.many(3);
    let rogue = devices[2];
    let before = world.devices[rogue].vault.clone();
    world.change(devices[1], group, Vec::new()).unwrap();
    world.settle();
    let head = world.authenticator(devices[0], group);
    let forged = [(1, 1), (5, 5), (6, 0)];
    let forged = forged.map(|(lies_in, names)| {
        (lies_in, world.forge(rogue, group, &before, early(names), Change::default()))
    });
    let now = core::mem::replace(&mut world.devices[rogue].vault, before);
    for (slot, message) in &forged {
        world.publish_in(rogue, group, *slot, message);
    }
    world.devices[rogue].vault = now;
    world.run(Span::from_secs(300));
    assert_eq!(world.authenticator(devices[0], group), head);
    world.agree(&devices, group);
}

/// A swarm that signs for two items of a slot: who is removed by one of them cannot undo that with
/// the other.
#[test]
fn who_is_removed_does_not_undo_it() {
    for seed in 0..2 {
        let mut world = World::new(330 + seed);
        let (phone, peer, stolen) = (world.device(1), world.device(2), world.device(1));
        let kind = Kind::Direct { creator: account(1), other: account(2) };
        let group = world.group(kind, &[phone, peer, stolen]);
        let before = world.devices[stolen].vault.clone();
        world.devices[stolen].offline = true;
        let key = world.key(stolen);
        let wish = Wish::RemoveDevice { account: account(1), key };
        world.change(phone, group, vec![wish]).unwrap();
        world.settle();
        let forged = world.forge(stolen, group, &before, early(0), Change::default());
        world.swarm.slots_ignored = true;
        world.devices[stolen].vault = before;
        world.publish(stolen, group, &forged);
        world.run(Span::from_secs(300));
        world.agree(&[phone, peer], group);
        let there = super::super::roster(&world.devices[peer].vault, &group);
        assert!(there.leaves.iter().all(|leaf| leaf.key != key), "seed {seed}");
    }
}

/// A branch that is tried and left again leaves what was wanted as it was: our own commit lies in
/// the slot, and an admin's, which counts.
#[test]
fn a_branch_that_is_tried_takes_no_wish_with_it() {
    let mut world = World::new(340);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    world.swarm.slots_ignored = true;
    // The member's commit is stored, and it does not hear of that.
    world.swarm.mute = true;
    world.devices[devices[1]].blind = true;
    world.devices[devices[0]].offline = true;
    world.devices[devices[2]].offline = true;
    let ticket = world.change(devices[1], group, Vec::new()).unwrap();
    world.round();
    world.swarm.mute = false;
    world.devices[devices[1]].offline = true;
    world.devices[devices[0]].offline = false;
    world.devices[devices[0]].blind = true;
    world.change(devices[0], group, Vec::new()).unwrap();
    world.settle();
    assert_eq!(world.authenticator(devices[0], group).unwrap().0, start + 1);
    for device in &devices {
        world.devices[*device].blind = false;
        world.devices[*device].offline = false;
    }
    world.run(Span::from_secs(300));
    assert_eq!(done(&world, devices[1], ticket), 1);
    assert_eq!(world.agree(&devices, group), start + 2);
}

/// Two commits in one slot, one of them in pieces.
#[test]
fn a_fork_with_a_large_commit_heals() {
    let mut world = World::new(341);
    let (devices, group) = world.many(3);
    let more: Vec<usize> = (10..15).map(|number| world.device(number)).collect();
    for device in &more {
        world.confirm(devices[0], world.devices[*device].credential.account);
    }
    let packages = more.iter().map(|device| world.package(*device)).collect();
    world.swarm.slots_ignored = true;
    world.devices[devices[0]].offline = true;
    world.change(devices[1], group, Vec::new()).unwrap();
    world.settle();
    world.devices[devices[1]].offline = true;
    world.devices[devices[2]].offline = true;
    world.devices[devices[0]].offline = false;
    world.devices[devices[0]].blind = true;
    world.change(devices[0], group, super::super::adds(packages)).unwrap();
    world.settle();
    for device in &devices {
        world.devices[*device].blind = false;
        world.devices[*device].offline = false;
    }
    assert_ne!(world.authenticator(devices[0], group), world.authenticator(devices[1], group));
    world.run(Span::from_secs(300));
    let everybody: Vec<usize> = devices.iter().chain(&more).copied().collect();
    world.agree(&everybody, group);
}

/// A swarm that does not answer tells nothing: no commit is taken back, and nobody is lost.
#[test]
fn silence_of_the_swarm_tells_nothing() {
    let mut world = World::new(350);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    // Something waits for a commit, and a commit of ours is on its way.
    world.devices[devices[2]].offline = true;
    world.change(devices[1], group, Vec::new()).unwrap();
    world.say(devices[1], group, "before");
    world.settle();
    world.say(devices[1], group, "after");
    world.settle();
    world.swarm.unreadable = true;
    let slots = world.swarm.stored.clone();
    for (_, item) in slots.iter().filter(|(_, item)| item.namespace == COMMITS) {
        world.swarm.withheld.insert(item.id);
    }
    world.devices[devices[2]].offline = false;
    world.run(Span::from_days(2));
    let behind = world.state(devices[2], group).behind.expect("it waits");
    assert_eq!((behind.answers, behind.ahead), (0, false));
    assert!(behind.tries > 8);
    world.swarm.unreadable = false;
    world.swarm.withheld.clear();
    world.run(Span::from_secs(2 * 3600));
    assert!(world.agree(&devices, group) > start);
    assert_eq!(lost(&world), 0);
}

/// Rubbish came into the slot first: what was on its way there counts all the same, for all.
#[test]
fn a_commit_beside_rubbish_counts() {
    let mut world = World::new(352);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    world.swarm.down = true;
    let ticket = world.change(devices[1], group, Vec::new()).unwrap();
    world.settle();
    world.swarm.down = false;
    let state = world.state(devices[0], group);
    world.fill_slots(group, &state, 0..1);
    world.run(Span::from_secs(600));
    assert_eq!(done(&world, devices[1], ticket), 1);
    assert_eq!(world.agree(&devices, group), start + 1);
    assert_eq!(lost(&world), 0);
}

/// The commit that a device gave up is not stored later.
#[test]
fn what_is_given_up_is_not_stored_later() {
    let mut world = World::new(351);
    let (devices, group) = world.many(3);
    let start = world.agree(&devices, group);
    world.swarm.down = true;
    let ticket = world.change(devices[1], group, Vec::new()).unwrap();
    world.settle();
    let flight = world.state(devices[1], group).flight.expect("it is on its way");
    assert_eq!(world.devices[devices[1]].outbox.len(), 1);
    // Before it is tried again, somebody else's commit is there.
    world.swarm.down = false;
    world.change(devices[0], group, Vec::new()).unwrap();
    world.settle();
    world.swarm.slots_ignored = true;
    world.run(Span::from_secs(600));
    let twice = world.swarm.stored.iter().filter(|(_, item)| item.id == flight.item).count();
    assert_eq!(twice, 0);
    assert_eq!(done(&world, devices[1], ticket), 1);
    assert_eq!(world.agree(&devices, group), start + 2);
    let vault = &world.devices[devices[1]].vault;
    assert!(State::load(vault, &group).unwrap().care.stale.is_empty());
    assert_eq!(phase(vault, &group), Some(Phase::Member));
}

#[test]
fn golden_bytes_of_what_stands_beside_a_commit() {
    let stamp = Stamp { slot: 3, made: Time::from_millis(0x0102) };
    check_codec(
        &Aside { stamp, asked: None },
        "00000003          # slot
         0000000000000102  # made
         00                # nobody asked",
    );
    check_codec(
        &Aside { stamp, asked: Ask::new([7, 8]).ok() },
        "00000003          # slot
         0000000000000102  # made
         01 00000002 0708  # a wish",
    );
    assert!(Ask::new(vec![0; 16_385]).is_err());
}
