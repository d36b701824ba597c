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
