//! Strangers: what they are told before and after somebody has decided.

use session_core::Span;

use super::world::World;
use crate::messenger::api::{Answer, Command, Error};
use crate::say::{Peer, Standing};

fn decide(world: &World, standing: Standing) -> Command {
    Command::SetContact { account: world.account(0), standing, name: None, verified: None }
}

#[test]
fn what_a_stranger_said_is_delivered_once_it_is_accepted() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello").unwrap();
    world.text(0, bob, "are you there?").unwrap();
    world.pass(Span::from_secs(600));
    assert_eq!(world.texts(1, &alice).len(), 2);
    let delivered = |world: &World| -> Vec<u16> {
        world.messages(0, &bob).iter().map(|it| it.status.delivered).collect()
    };
    assert_eq!(delivered(&world), [0, 0], "a stranger is told nothing");

    world.restart(1);
    let accept = decide(&world, Standing::Accepted);
    world.order(1, accept).unwrap();
    world.pass(Span::from_secs(600));
    assert_eq!(delivered(&world), [1, 1]);
    assert!(world.messages(0, &bob).iter().all(|it| it.status.read == 0));
}

#[test]
fn a_strangers_group_is_accepted_or_declined() {
    let mut world = World::new(3);
    let members = vec![world.account(1), world.account(2)];
    let create = Command::CreateGroup { name: "friends".into(), members, history: 0 };
    let Ok(Answer::Group { group, .. }) = world.order(0, create) else { panic!() };
    let peer = Peer::Group { group };
    world.pass(Span::from_secs(10));
    world.text(0, peer, "welcome").unwrap();
    world.pass(Span::from_secs(600));
    for who in [1, 2] {
        assert_eq!(world.threads(who)[0].standing, Standing::Stranger);
        assert_eq!(world.texts(who, &peer), ["welcome"]);
    }
    let status = |world: &World| world.messages(0, &peer).last().unwrap().status;
    assert_eq!((status(&world).delivered, status(&world).audience), (0, 2));

    let decide = |standing| Command::SetGroup { group, standing };
    let undecided = world.order(1, decide(Standing::Stranger));
    assert!(matches!(undecided, Err(Error::Invalid { field: "standing", .. })), "{undecided:?}");
    assert_eq!(world.order(1, decide(Standing::Accepted)), Ok(Answer::Done));
    assert_eq!(world.order(2, decide(Standing::Blocked)), Ok(Answer::Done));
    world.pass(Span::from_secs(600));
    assert_eq!(world.threads(1)[0].standing, Standing::Accepted);
    assert_eq!(world.threads(2)[0].standing, Standing::Blocked);
    // The first message is delivered to one of both, and whoever declined is gone.
    let first = world.messages(0, &peer).into_iter().find(|it| it.own).unwrap();
    assert_eq!((first.status.delivered, first.status.audience), (1, 2));
    world.text(0, peer, "the two of us").unwrap();
    world.pass(Span::from_secs(600));
    assert_eq!((status(&world).delivered, status(&world).audience), (1, 1));
    assert_eq!(world.texts(1, &peer), ["welcome", "the two of us"]);
    assert_eq!(world.texts(2, &peer), ["welcome"]);
    assert!(world.order(2, decide(Standing::Accepted)).is_err(), "there is no way back alone");
    let nobody = Command::SetGroup { group: Default::default(), standing: Standing::Accepted };
    assert!(matches!(world.order(1, nobody), Err(Error::NoConversation(_))));
}

#[test]
fn a_decision_reaches_the_own_other_devices() {
    let mut world = World::new(2);
    let phone = world.link(1);
    world.pass(Span::from_secs(120));
    let members = vec![world.account(1)];
    let create = Command::CreateGroup { name: "friends".into(), members, history: 0 };
    let Ok(Answer::Group { group, .. }) = world.order(0, create) else { panic!() };
    world.pass(Span::from_secs(120));
    let peer = Peer::Group { group };
    let standing = |world: &World, who: usize| {
        world.threads(who).into_iter().find(|it| it.peer == peer).map(|it| it.standing)
    };
    assert_eq!(standing(&world, phone), Some(Standing::Stranger), "{:?}", world.warnings(phone));
    world.order(1, Command::SetGroup { group, standing: Standing::Accepted }).unwrap();
    world.pass(Span::from_secs(120));
    assert_eq!(standing(&world, phone), Some(Standing::Accepted));
}
