//! First contact, messages both ways, receipts, groups.

use session_core::Span;

use super::world::World;
use crate::group::Role;
use crate::messenger::api::{Answer, Command, Error};
use crate::say::{Peer, Standing};

#[test]
fn two_people_meet_and_talk() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello bob").unwrap();
    world.pass(Span::from_secs(5));
    assert_eq!(world.texts(1, &alice), ["hello bob"], "{:?}", world.warnings(1));
    assert_eq!(world.threads(1)[0].standing, Standing::Stranger, "a request");
    world.text(1, alice, "hello alice").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(0, &bob), ["hello bob", "hello alice"]);
    assert_eq!(world.threads(1)[0].standing, Standing::Accepted, "whoever answers accepts");
    for who in 0..2 {
        assert_eq!(world.warnings(who), Vec::<String>::new());
        assert_eq!(world.devices[who].messenger.waiting(), 0);
    }
    let said = &world.messages(1, &alice)[1];
    assert!(said.status.stored.is_some());
    assert_eq!((said.status.delivered, said.status.audience), (1, 1));
}

#[test]
fn first_words_wait_for_whoever_has_published_nothing_yet() {
    let mut world = World::new(1);
    let bob = world.join(2);
    world.devices[bob].offline = true;
    let (alice, peer) = (world.peer(0), world.peer(bob));
    world.text(0, peer, "hello bob").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.warnings(0).len(), 1, "said once: {:?}", world.warnings(0));
    world.devices[bob].offline = false;
    // Looked up again a while after the last time, without anybody's doing.
    world.pass(Span::from_secs(90));
    assert_eq!(world.texts(bob, &alice), ["hello bob"], "{:?}", world.warnings(0));
}

#[test]
fn many_messages_and_restarts_lose_nothing() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    let mut said = Vec::new();
    for round in 0..30 {
        let (from, to) = if round % 3 == 0 { (1, alice) } else { (0, bob) };
        let text = format!("message {round}");
        world.text(from, to, &text).unwrap();
        said.push(text);
        if round % 7 == 0 {
            world.restart(round % 2);
        }
        world.pass(Span::from_secs(20));
    }
    let mut seen = (world.texts(0, &bob), world.texts(1, &alice));
    seen.0.sort();
    seen.1.sort();
    said.sort();
    assert_eq!(seen, (said.clone(), said));
}

#[test]
fn both_begin_at_once_and_end_in_one_thread() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.devices[1].offline = true;
    world.text(0, bob, "from alice").unwrap();
    world.devices[0].offline = true;
    world.devices[1].offline = false;
    world.text(1, alice, "from bob").unwrap();
    world.devices[0].offline = false;
    world.pass(Span::from_secs(60));
    world.text(0, bob, "second").unwrap();
    world.text(1, alice, "third").unwrap();
    world.pass(Span::from_secs(60));
    for (who, peer) in [(0, bob), (1, alice)] {
        let mut texts = world.texts(who, &peer);
        texts.sort();
        assert_eq!(texts, ["from alice", "from bob", "second", "third"]);
        assert_eq!(world.threads(who).len(), 1);
    }
}

#[test]
fn a_group_of_four_with_roles_and_leaving() {
    let mut world = World::new(4);
    let members = vec![world.account(1), world.account(2)];
    let create = Command::CreateGroup { name: "friends".into(), members, history: 10 };
    let Ok(Answer::Group { group, missing, .. }) = world.order(0, create) else { panic!() };
    assert_eq!(missing, []);
    let peer = Peer::Group { group };
    world.pass(Span::from_secs(10));
    world.text(0, peer, "welcome").unwrap();
    world.text(2, peer, "thanks").unwrap();
    world.pass(Span::from_secs(60));
    for who in 0..3 {
        assert_eq!(
            world.texts(who, &peer),
            ["welcome", "thanks"],
            "{who}: {:?}",
            world.warnings(who)
        );
    }
    let invite = |world: &World| Command::Invite { group, accounts: vec![world.account(3)] };
    let refused = world.order(1, invite(&world));
    assert_eq!(refused, Err(Error::NotAdmin));
    let seat = Some((world.account(1), Role::Admin));
    let change =
        Command::ChangeGroup { group, name: Some("kin".into()), role: seat, disappear: None };
    assert_eq!(world.order(0, change), Ok(Answer::Done));
    world.pass(Span::from_secs(10));
    assert_eq!(world.order(1, invite(&world)), Ok(Answer::Done));
    world.pass(Span::from_secs(10));
    assert!(world.threads(3).iter().any(|it| it.name == "kin"), "{:?}", world.warnings(3));
    assert_eq!(world.texts(3, &peer), ["welcome", "thanks"], "what was said before");
    let remove = Command::Remove { group, account: world.account(2) };
    assert_eq!(world.order(1, remove), Ok(Answer::Done));
    world.pass(Span::from_secs(10));
    world.text(3, peer, "without two").unwrap();
    world.pass(Span::from_secs(60));
    for who in [0, 1, 3] {
        assert!(world.texts(who, &peer).contains(&"without two".to_owned()), "{who}");
    }
    assert!(!world.texts(2, &peer).contains(&"without two".to_owned()));
    assert!(world.text(2, peer, "still here?").is_err());
    let leave = Command::Remove { group, account: world.account(3) };
    assert_eq!(world.order(3, leave), Ok(Answer::Done));
    world.pass(Span::from_secs(120));
    assert!(world.text(3, peer, "gone").is_err());
    world.text(0, peer, "two of us").unwrap();
    world.pass(Span::from_secs(60));
    assert!(world.texts(1, &peer).contains(&"two of us".to_owned()));
}

#[test]
fn a_blocked_stranger_is_not_heard() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "buy this").unwrap();
    world.pass(Span::from_secs(5));
    let account = world.account(0);
    let (standing, name, verified) = (Standing::Blocked, None, None);
    world.order(1, Command::SetContact { account, standing, name, verified }).unwrap();
    world.text(0, bob, "and this").unwrap();
    world.pass(Span::from_secs(60));
    assert_eq!(world.texts(1, &alice), ["buy this"]);
    assert_eq!(world.messages(0, &bob)[0].status.delivered, 0, "strangers are told nothing");
    assert_eq!(world.text(1, alice, "no"), Err(Error::Blocked(account)));
}
