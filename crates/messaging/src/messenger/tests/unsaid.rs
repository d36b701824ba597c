//! What waits and is not to be said any more; names that nobody may give himself.

use session_core::{Span, Text};

use super::world::World;
use crate::account;
use crate::messenger::api::{Answer, Command};
use crate::say::{Disappear, Peer, Say, SayId};
use crate::vault::Table;

fn said(world: &mut World, to: Peer, say: Say) -> SayId {
    match world.order(0, Command::Say { to, say }) {
        Ok(Answer::Said { id, .. }) => id,
        other => panic!("not said: {other:?}"),
    }
}

fn text(body: &str) -> Say {
    Say::Text { body: Text::new(body).unwrap(), reply_to: None }
}

/// Messages and changes that wait for a conversation.
fn waiting(world: &World) -> usize {
    let vault = &world.devices[0].vault;
    vault.entries().filter(|(key, _)| key.starts_with(&Table::Pending.key(&[b"w"]))).count()
}

#[test]
fn what_is_forgotten_taken_back_or_over_while_it_waits_is_never_said() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    // Nobody finds anybody for a while.
    let boxes = std::mem::take(&mut world.post.boxes);
    let forgotten = said(&mut world, bob, text("a secret to forget"));
    let unsent = said(&mut world, bob, text("a secret to take back"));
    said(&mut world, bob, Say::Edit { of: unsent, body: Text::new("a secret edit").unwrap() });
    let minute = Disappear::AfterSend { span: Span::from_secs(60) };
    for disappear in [minute, Disappear::Never] {
        said(&mut world, bob, Say::Timer { disappear });
        world.pass(Span::from_secs(1));
        if disappear == minute {
            said(&mut world, bob, text("a secret for a minute"));
            world.pass(Span::from_secs(1));
        }
    }
    said(&mut world, bob, text("hello"));
    assert_eq!(waiting(&world), 7);

    let thread = world.thread(0, &bob);
    world.order(0, Command::Forget { thread, ids: vec![forgotten] }).unwrap();
    said(&mut world, bob, Say::Unsend { of: unsent });
    assert_eq!(waiting(&world), 4);
    world.pass(Span::from_secs(120));
    assert_eq!(waiting(&world), 3);
    let secret = |(_, value): (&[u8], &[u8])| value.windows(8).any(|it| it == b"a secret");
    assert!(!world.devices[0].vault.entries().any(secret));

    world.post.boxes.extend(boxes);
    world.text(0, bob, "are you there?").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(waiting(&world), 0);
    assert_eq!(world.texts(1, &alice), ["hello", "are you there?"], "{:?}", world.warnings(0));
    assert!(world.messages(1, &alice).iter().all(|it| !it.unsent()));
}

#[test]
fn what_was_said_is_taken_back_also_where_an_edit_waits() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    let id = said(&mut world, bob, text("oops"));
    world.pass(Span::from_secs(5));
    said(&mut world, bob, Say::Unsend { of: id });
    world.pass(Span::from_secs(5));
    assert!(world.messages(1, &alice)[0].unsent());
}

#[test]
fn nobody_gives_himself_a_name_that_misleads() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello").unwrap();
    world.text(1, alice, "hello").unwrap();
    world.pass(Span::from_secs(5));
    let named = |world: &World| {
        let contact = account::contact(&world.devices[1].vault, &world.account(0)).unwrap();
        contact.name.to_string()
    };
    for (name, expected) in [("you", ""), ("Bob\n  yes", ""), ("Alice", "Alice"), ("Eve", "Alice")]
    {
        said(&mut world, bob, Say::Profile { name: Text::new(name).unwrap() });
        world.pass(Span::from_secs(5));
        assert_eq!(named(&world), expected, "{name:?}");
    }
}
