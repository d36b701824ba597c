use session_core::{ChannelId, Text};

use super::*;
use crate::mailbox::signed::{ChannelAction, SignedChannelAction};

fn request(world: &mut World, from: &FakeIdentity, action: ChannelAction) -> ChannelRequest {
    let scope = world.config.scope;
    let bytes = SignedChannelAction { scope, member: account(from), action: action.clone() };
    let signature = from.sign(Domain::ChannelAction, &bytes.to_bytes(), &mut world.rng);
    ChannelRequest { member: from.public().clone(), action, signature }
}

fn submit(world: &mut World, request: ChannelRequest) -> Result<ChannelId, Refusal> {
    world.call(|mailbox, cx| mailbox.change_channel(cx, &FakeVerifier, request))
}

fn change(
    world: &mut World,
    from: &FakeIdentity,
    action: ChannelAction,
) -> Result<ChannelId, Refusal> {
    let request = request(world, from, action);
    submit(world, request)
}

fn create(name: &str) -> ChannelAction {
    ChannelAction::Create { name: Text::new(name).expect("is short") }
}

fn join(channel: ChannelId, revision: u64) -> ChannelAction {
    ChannelAction::Join { channel, revision }
}

fn leave(channel: ChannelId, revision: u64) -> ChannelAction {
    ChannelAction::Leave { channel, revision }
}

#[test]
fn members_come_and_go() {
    let mut world = World::new();
    let (alice, bob, carol) = (person(1), person(2), person(3));
    let channel = change(&mut world, &alice, create("news")).expect("is made");
    assert_eq!(change(&mut world, &bob, join(channel, 0)), Ok(channel));
    assert_eq!(world.events, [Event::Channel { channel }; 2]);
    let stale = Err(Refusal::Revision { expected: 1, got: 0 });
    assert_eq!(change(&mut world, &carol, join(channel, 0)), stale);
    let twice = change(&mut world, &bob, join(channel, 1));
    assert!(matches!(twice, Err(Refusal::Invalid { field: "member", .. })));
    let stranger = change(&mut world, &carol, leave(channel, 1));
    assert_eq!(stranger, Err(Refusal::Unauthorized(Unauthorized::NotAMember)));

    let joining = request(&mut world, &carol, join(channel, 1));
    assert_eq!(submit(&mut world, joining.clone()), Ok(channel));
    assert_eq!(change(&mut world, &carol, leave(channel, 2)), Ok(channel));
    // Whoever overheard her joining cannot bring her back.
    let back = submit(&mut world, joining);
    assert_eq!(back, Err(Refusal::Revision { expected: 3, got: 1 }));

    let before = world.mailbox.channel(&channel).expect("is known").clone();
    assert_eq!((before.name(), before.owner(), before.revision()), ("news", account(&alice), 3));
    assert_eq!(before.members().len(), 2);
    let report = world.reload();
    assert_eq!((report.channels, report.damaged), (1, 0));
    assert_eq!(world.mailbox.channel(&channel), Ok(&before));

    change(&mut world, &alice, leave(channel, 3)).expect("the owner may leave");
    change(&mut world, &bob, leave(channel, 4)).expect("and the last member");
    assert_eq!(world.mailbox.channel(&channel), Err(Refusal::UnknownChannel));
    assert_eq!(world.mailbox.counts(), Counts::default());
    assert_eq!(session_storage::Store::stats(&world.store).records, 0);
}

#[test]
fn signatures_limits_and_names_are_checked() {
    let mut world = World::new();
    let (alice, mallory) = (person(1), person(2));
    let by_mallory = request(&mut world, &mallory, create("news"));
    let forged = ChannelRequest { member: alice.public().clone(), ..by_mallory };
    let refused = submit(&mut world, forged);
    assert_eq!(refused, Err(Refusal::Unauthorized(Unauthorized::Signature)));
    let invalid = |result| matches!(result, Err(Refusal::Invalid { field: "name", .. }));
    assert!(invalid(change(&mut world, &alice, create(""))));
    let news = change(&mut world, &alice, create("news")).expect("is made");
    assert!(invalid(change(&mut world, &alice, create("news"))), "she has one of this name");
    let other = change(&mut world, &mallory, create("news")).expect("names are each owner's own");
    let full = Err(Refusal::Limit { field: "channels", got: 3, limit: 2 });
    assert_eq!(change(&mut world, &alice, create("more")), full);
    let page: Vec<_> = world.mailbox.list_channels(None, 1).map(Channel::id).collect();
    assert_eq!(page, [news.min(other)]);
    let rest: Vec<_> = world.mailbox.list_channels(Some(page[0]), 10).map(Channel::id).collect();
    assert_eq!(rest, [news.max(other)]);
    let nowhere = ChannelId::from([1; 32]);
    assert_eq!(change(&mut world, &alice, join(nowhere, 0)), Err(Refusal::UnknownChannel));
}

#[test]
fn a_conversation_of_a_channel_is_among_its_members() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let channel = change(&mut world, &alice, create("news")).expect("is made");
    let new = NewConversation {
        participants: vec![introduce(&alice), introduce(&bob)],
        channel: Some(channel),
        ..NewConversation::default()
    };
    let refused = world.call(|mailbox, cx| mailbox.create(cx, new.clone()));
    assert_eq!(refused, Err(Refusal::Unauthorized(Unauthorized::NotAMember)));
    change(&mut world, &bob, join(channel, 0)).expect("joins");
    let made = world.call(|mailbox, cx| mailbox.create(cx, new)).expect("is made").conversation;
    assert_eq!(world.mailbox.get(&made, START).expect("is known").channel(), Some(channel));
    world.reload();
    assert_eq!(world.mailbox.get(&made, START).expect("is known").channel(), Some(channel));
}

#[test]
fn a_channel_holds_a_thousand_members() {
    let mut world = World::new();
    let channel = change(&mut world, &person(0), create("all")).expect("is made");
    for number in 1..1000 {
        change(&mut world, &person(number), join(channel, number - 1)).expect("has room");
    }
    let full = change(&mut world, &person(1000), join(channel, 999));
    assert_eq!(full, Err(Refusal::Limit { field: "members", got: 1001, limit: 1000 }));
    world.reload();
    assert_eq!(world.mailbox.channel(&channel).expect("survives").members().len(), 1000);
}
