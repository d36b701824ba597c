//! A second device of an account: linked, told what was said, excluded.

use session_core::Span;

use super::world::World;
use crate::account;
use crate::messenger::api::Command;

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
