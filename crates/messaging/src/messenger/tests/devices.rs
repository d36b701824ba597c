//! A second device of an account: linked, told what was said, excluded.

use session_core::Span;

use super::world::World;
use crate::account;
use crate::messenger::api::Command;
use crate::say::Peer;

#[test]
fn a_second_device_takes_part_and_is_excluded() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "from the laptop").unwrap();
    world.text(1, alice, "to whatever you have").unwrap();
    world.pass(Span::from_secs(60));

    let phone = world.link(0);
    world.pass(Span::from_secs(120));
    assert_eq!(account::devices(&world.devices[0].vault).len(), 2);
    let known = |who: usize| account::contact(&world.devices[who].vault, &world.account(1));
    assert!(known(phone).is_some());
    assert_eq!(known(phone), known(0));
    world.text(1, alice, "to both").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(phone, &bob), ["to both"], "{:?}", world.warnings(phone));
    world.text(phone, bob, "from the phone").unwrap();
    world.text(0, bob, "from the laptop again").unwrap();
    world.pass(Span::from_secs(60));
    for who in [0, phone] {
        let texts = world.texts(who, &bob);
        assert!(texts.contains(&"from the phone".to_owned()), "{who}: {texts:?}");
        assert!(texts.contains(&"from the laptop again".to_owned()), "{who}: {texts:?}");
    }
    assert!(world.texts(1, &alice).contains(&"from the phone".to_owned()));

    let device = world.devices[phone].messenger.device();
    world.order(0, Command::RevokeDevice { device }).unwrap();
    world.pass(Span::from_secs(120));
    world.text(1, alice, "only to the laptop").unwrap();
    world.pass(Span::from_secs(60));
    assert!(world.texts(0, &bob).contains(&"only to the laptop".to_owned()));
    assert!(!world.texts(phone, &bob).contains(&"only to the laptop".to_owned()));
}

#[test]
fn what_was_said_before_its_author_knew_of_a_device_reaches_it() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "from the laptop").unwrap();
    world.text(1, alice, "to the laptop").unwrap();
    world.pass(Span::from_secs(60));

    world.devices[1].offline = true;
    let phone = world.link(0);
    world.pass(Span::from_secs(120));
    // His device says it before it reads what happened meanwhile.
    world.devices[1].offline = false;
    world.text(1, alice, "to all that I knew of").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(0, &bob).last().unwrap(), "to all that I knew of");
    assert_eq!(world.texts(phone, &bob), ["to all that I knew of"]);
    assert_eq!(world.messages(phone, &bob)[0].author, world.account(1));
    world.text(1, alice, "to all").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(phone, &bob), ["to all that I knew of", "to all"]);
}

#[test]
fn a_device_that_is_excluded_is_told_no_new_keys() {
    let mut world = World::new(1);
    let phone = world.link(0);
    world.pass(Span::from_secs(120));
    let keys = |world: &World, who: usize| account::export_keys(&world.devices[who].vault);
    assert_eq!(keys(&world, 0), keys(&world, phone));
    let device = world.devices[phone].messenger.device();
    world.order(0, Command::RevokeDevice { device }).unwrap();
    world.pass(Span::from_secs(300));
    assert_ne!(keys(&world, 0), keys(&world, phone), "drawn anew, and told to nobody else");
}

/// A swarm shows an old manifest: the new device is none of the account's in it, and no impostor.
#[test]
fn an_old_manifest_drives_no_new_device_out() {
    let mut world = World::new(2);
    let members = vec![world.account(1)];
    let group = world.group(0, "friends", members);
    world.text(1, group, "hello").unwrap();
    world.pass(Span::from_secs(60));
    let place = account::find_source(&world.account(1)).rule.address();
    let old = world.post.boxes[&place].clone();

    world.devices[0].offline = true;
    let phone = world.link(1);
    world.pass(Span::from_secs(120));
    world.text(phone, group, "from the phone").unwrap();
    let new = world.post.boxes.insert(place, old).unwrap();
    world.devices[0].offline = false;
    // The other devices of the account hear nothing of all this.
    world.devices[1].offline = true;
    world.devices[phone].offline = true;
    world.pass(Span::from_secs(3600));
    let Peer::Group { group: id } = group else { unreachable!() };
    let device = world.devices[phone].messenger.device();
    let there = |world: &World| {
        let roster = crate::group::roster(&world.devices[0].vault, &id);
        roster.leaves.iter().any(|leaf| leaf.device == device)
    };
    assert!(there(&world), "{:?}", world.warnings(0));
    assert!(!world.texts(0, &group).contains(&"from the phone".to_owned()), "kept back");

    world.post.boxes.insert(place, new);
    world.pass(Span::from_secs(3600));
    assert!(there(&world));
    assert!(world.texts(0, &group).contains(&"from the phone".to_owned()));
    assert_eq!(world.warnings(0), Vec::<String>::new());
}
