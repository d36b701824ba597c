use session_core::ChannelId;

use super::*;

fn unauthorized<T>(why: Unauthorized) -> Result<T, Refusal> {
    Err(Refusal::Unauthorized(why))
}

#[test]
fn it_is_pending_until_all_are_in() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let made = world.create(vec![invite(&alice), invite(&bob)]).expect("is made");
    assert_eq!((made.status, made.expires), (Status::Pending, START + TTL));
    assert_eq!(world.act(made.conversation, &alice, Action::Accept), Ok(Status::Pending));
    assert_eq!(world.act(made.conversation, &alice, Action::Accept), Ok(Status::Pending), "again");
    assert_eq!(world.act(made.conversation, &bob, Action::Accept), Ok(Status::Active));
    let conversation = made.conversation;
    let status = |status| Event::Status { conversation, status };
    assert_eq!(world.events, [status(Status::Pending), status(Status::Active)]);
    let view = world.mailbox.get(&conversation, world.now).expect("is known");
    let standings: Vec<_> = view.participants().map(|of| (of.account, of.standing)).collect();
    let expected = [(account(&alice), Standing::Accepted), (account(&bob), Standing::Accepted)];
    assert_eq!(standings, expected);
    assert!(view.participants().all(|participant| participant.signing.is_some()));
}

#[test]
fn it_is_active_at_once_when_all_keys_are_given() {
    let mut world = World::new();
    let made = world.create(vec![introduce(&person(1)), introduce(&person(2))]).expect("is made");
    assert_eq!(made.status, Status::Active);
    let half = world.create(vec![introduce(&person(1)), invite(&person(2))]).expect("is made");
    assert_eq!(half.status, Status::Pending);
    assert_ne!(made.conversation, half.conversation);
}

#[test]
fn a_key_of_somebody_else_is_refused() {
    let mut world = World::new();
    let (alice, mallory) = (person(1), person(2));
    let forged = Invitation { signing: Some(mallory.public().dsa().clone()), ..invite(&alice) };
    let result = world.create(vec![forged]);
    assert_eq!(result, unauthorized(Unauthorized::WrongKey));
    let forged = Invitation { kem: mallory.public().kem().clone(), ..introduce(&alice) };
    assert_eq!(world.create(vec![forged]), unauthorized(Unauthorized::WrongKey));
    assert_eq!(world.mailbox.counts(), Counts::default());
    assert_eq!(session_storage::Store::stats(&world.store).records, 0, "nothing is left over");
}

#[test]
fn participants_are_between_one_and_a_thousand_and_distinct() {
    let mut world = World::new();
    let none = world.create(Vec::new()).expect_err("is refused").to_string();
    assert_eq!(none, "participants is not valid: there are none");
    let twice =
        world.create(vec![invite(&person(1)), introduce(&person(2)), introduce(&person(1))]);
    let twice = twice.expect_err("is refused").to_string();
    assert_eq!(twice, "participants is not valid: one is named twice");
    let kem = invite(&person(1)).kem;
    let many = |count: u64| {
        let accounts = (0..count).map(|number| account(&person(number)));
        let one = |account| Invitation { account, kem: kem.clone(), signing: None };
        accounts.map(one).collect::<Vec<_>>()
    };
    let refused = world.create(many(1001));
    let expected = Refusal::Limit { field: "participants", got: 1001, limit: 1000 };
    assert_eq!(refused, Err(expected));
    let made = world.create(many(1000)).expect("a thousand are allowed");
    world.reload();
    let view = world.mailbox.get(&made.conversation, world.now).expect("survives");
    assert_eq!(view.participants().len(), 1000);
    let lists = Invitation::pair(vec![account(&person(1))], Vec::new());
    assert!(matches!(lists, Err(Refusal::Invalid { field: "publicKeys", .. })));
}

#[test]
fn metadata_is_bounded() {
    let mut world = World::new();
    let mut create = |metadata: BTreeMap<String, String>| {
        let participants = vec![invite(&person(1))];
        let new = NewConversation { participants, channel: None, metadata };
        world.call(|mailbox, cx| mailbox.create(cx, new))
    };
    let pair = |key: usize, value: usize| BTreeMap::from([("k".repeat(key), "v".repeat(value))]);
    let limit = |field, got, limit| Err(Refusal::Limit { field, got, limit });
    assert_eq!(create(pair(65, 1)), limit("metadata key", 65, 64));
    assert_eq!(create(pair(64, 257)), limit("metadata value", 257, 256));
    let many = |count: u32| (0..count).map(|key| (key.to_string(), String::new())).collect();
    assert_eq!(create(many(17)), limit("metadata", 17, 16));
    assert!(create(many(16)).is_ok());
    let made = create(pair(64, 256)).expect("is made").conversation;
    world.reload();
    let view = world.mailbox.get(&made, world.now).expect("survives");
    let metadata: Vec<_> = view.metadata().collect();
    assert_eq!(metadata, [("k".repeat(64).as_str(), "v".repeat(256).as_str())]);
}

#[test]
fn nobody_acts_for_another() {
    let mut world = World::new();
    let (alice, bob, mallory) = (person(1), person(2), person(3));
    let made = world.create(vec![invite(&alice), invite(&bob)]).expect("is made").conversation;
    assert_eq!(
        world.act(made, &mallory, Action::Close),
        unauthorized(Unauthorized::NotAParticipant)
    );
    // Mallory signs, and shows her own key, in the name of Alice.
    let forged = ActionRequest {
        participant: account(&alice),
        ..world.action(made, &mallory, Action::Close)
    };
    let result = world.call(|mailbox, cx| mailbox.act(cx, &FakeVerifier, forged.clone()));
    assert_eq!(result, unauthorized(Unauthorized::WrongKey));
    let forged = ActionRequest { key: Some(alice.public().dsa().clone()), ..forged };
    let result = world.call(|mailbox, cx| mailbox.act(cx, &FakeVerifier, forged.clone()));
    assert_eq!(result, unauthorized(Unauthorized::Signature));
    let keyless = ActionRequest { key: None, ..forged };
    let result = world.call(|mailbox, cx| mailbox.act(cx, &FakeVerifier, keyless));
    assert_eq!(result, Err(Refusal::KeyNeeded));
    // A signature over one action, conversation or network is none over another.
    let accept = world.action(made, &alice, Action::Accept);
    let close = ActionRequest { action: Action::Close, ..accept };
    let result = world.call(|mailbox, cx| mailbox.act(cx, &FakeVerifier, close));
    assert_eq!(result, unauthorized(Unauthorized::Signature));
    let elsewhere = world.conversation(&[&alice, &bob]);
    let close = world.action(elsewhere, &alice, Action::Close);
    let moved = ActionRequest { conversation: made, ..close.clone() };
    let result = world.call(|mailbox, cx| mailbox.act(cx, &FakeVerifier, moved));
    assert_eq!(result, unauthorized(Unauthorized::Signature));
    assert_eq!(world.status(made), Status::Pending);
    world.config.scope = Digest::from([8; 32]); // what they sign for, not what is checked
    assert_eq!(world.act(made, &alice, Action::Close), unauthorized(Unauthorized::Signature));
    assert_eq!(world.send(elsewhere, &alice, 0, b"x"), unauthorized(Unauthorized::Signature));
}

#[test]
fn unknown_closed_and_expired_are_told_apart_each_time() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let nowhere = ConversationId::from([9; 32]);
    assert_eq!(world.act(nowhere, &alice, Action::Close), Err(Refusal::UnknownConversation));
    assert_eq!(world.send(nowhere, &alice, 0, b"x"), Err(Refusal::UnknownConversation));
    assert!(world.mailbox.get(&nowhere, START).is_err());
    assert!(world.mailbox.messages(&world.store, START, &nowhere, None, 1).is_err());

    let closed = world.conversation(&[&alice, &bob]);
    let expiring = world.conversation(&[&alice, &bob]);
    assert_eq!(world.act(closed, &bob, Action::Close), Ok(Status::Closed));
    assert_eq!(world.mailbox.counts().open, 1);
    for restarted in [false, true] {
        if restarted {
            world.reload();
        }
        for _ in 0..2 {
            assert_eq!(world.send(closed, &alice, 0, b"x"), Err(Refusal::Closed));
            assert_eq!(world.act(closed, &alice, Action::Accept), Err(Refusal::Closed));
            assert_eq!(world.act(closed, &alice, Action::Close), Err(Refusal::Closed));
        }
    }
    assert_eq!(world.status(expiring), Status::Active);
    world.now = START + TTL;
    for ticked in [false, true] {
        if ticked {
            world.tick();
        }
        for _ in 0..2 {
            assert_eq!(world.send(expiring, &alice, 0, b"x"), Err(Refusal::Expired));
            assert_eq!(world.act(expiring, &alice, Action::Close), Err(Refusal::Expired));
            assert_eq!(world.status(expiring), Status::Expired);
            assert_eq!(world.act(expiring, &alice, Action::Read), Ok(Status::Expired));
        }
    }
    let told = Event::Status { conversation: expiring, status: Status::Expired };
    assert_eq!(world.events.iter().filter(|event| **event == told).count(), 1);
    assert_eq!(world.mailbox.counts().open, 0);
}

#[test]
fn all_is_forgotten_after_retention() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let conversation = world.conversation(&[&alice, &bob]);
    world.send(conversation, &alice, 0, b"hello").expect("is taken");
    world.act(conversation, &bob, Action::Accept).expect("accepts");
    world.now = START + TTL + RETENTION;
    assert!(world.mailbox.deadline() <= world.now);
    world.tick();
    assert_eq!(world.send(conversation, &alice, 1, b"x"), Err(Refusal::UnknownConversation));
    assert_eq!(world.events.last(), Some(&Event::Forgotten { conversation }));
    assert_eq!(world.mailbox.counts(), Counts { messages: 1, ..Counts::default() });
    let stats = session_storage::Store::stats(&world.store);
    assert_eq!((stats.items, stats.records), (0, 0), "nothing stays behind in the store");
    assert!(world.mailbox.deadline() > world.now, "nothing is due");
}

#[test]
fn limits_of_the_node_are_enforced() {
    let mut world = World::with(Config { conversations_max: 2, people_max: 2, ..config() });
    let limit = |field| Err(Refusal::Limit { field, got: 3, limit: 2 });
    let three = vec![invite(&person(1)), invite(&person(2)), invite(&person(3))];
    assert_eq!(world.create(three), limit("people"));
    assert_eq!(session_storage::Store::stats(&world.store).records, 0, "nothing is left over");
    for _ in 0..2 {
        world.create(vec![invite(&person(1)), invite(&person(2))]).expect("has room");
    }
    assert_eq!(world.create(vec![invite(&person(1))]), limit("conversations"));
}

#[test]
fn a_full_store_refuses_and_changes_nothing() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    world.store = MemoryStore::new(1).with_limit(10_000);
    let conversation = world.conversation(&[&alice, &bob]);
    assert_eq!(world.send(conversation, &alice, 0, &[1; 3000]), Ok(0));
    let full = world.send(conversation, &alice, 1, &[2; 3000]).expect_err("there is no room");
    assert!(matches!(full, Refusal::Store(session_storage::StoreError::Full { .. })));
    let small = world.send(conversation, &alice, 1, &[3; 100]);
    assert_eq!(small, Ok(1), "neither the counter nor the sequence went on");
    assert_eq!(world.texts(conversation).len(), 2);
}

#[test]
fn lists_by_participant_and_status_in_pages() {
    let mut world = World::new();
    let (alice, bob, carol) = (person(1), person(2), person(3));
    let mut of_alice = Vec::new();
    for number in 0..25 {
        let with = if number % 2 == 0 { &bob } else { &carol };
        of_alice.push(world.conversation(&[&alice, with]));
        world.conversation(&[&bob, &carol]);
    }
    let closed: Vec<_> = of_alice.iter().copied().step_by(5).collect();
    for conversation in &closed {
        world.act(*conversation, &alice, Action::Close).expect("is closed");
    }
    let list = |participant: Option<&FakeIdentity>, status| {
        let mut found = Vec::new();
        let participant = participant.map(account);
        let mut request = ListRequest { participant, status, after: None, limit: 7 };
        loop {
            let page = world.mailbox.list(world.now, &request).expect("the cursor is known");
            assert!(page.conversations.len() <= 7);
            found.extend(page.conversations);
            request.after = page.next;
            if request.after.is_none() {
                return found;
            }
        }
    };
    assert_eq!(list(Some(&alice), None), of_alice);
    assert_eq!(list(Some(&alice), Some(Status::Closed)), closed);
    assert_eq!(list(None, None).len(), 50);
    assert_eq!(list(None, Some(Status::Active)).len(), 45);
    assert_eq!(list(Some(&person(9)), None), []);
    let request = ListRequest { after: Some(ConversationId::from([9; 32])), ..Default::default() };
    assert_eq!(world.mailbox.list(world.now, &request), Err(Refusal::UnknownConversation));
}

#[test]
fn a_channel_conversation_is_among_members() {
    let mut world = World::new();
    let new = NewConversation {
        participants: vec![invite(&person(1))],
        channel: Some(ChannelId::from([3; 32])),
        ..NewConversation::default()
    };
    let result = world.call(|mailbox, cx| mailbox.create(cx, new));
    assert_eq!(result, Err(Refusal::UnknownChannel));
}
