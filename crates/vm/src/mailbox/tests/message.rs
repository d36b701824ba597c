use session_crypto::{Identity, RealVerifier};

use super::*;

#[test]
fn sequences_are_one_run_and_counters_each_senders_own() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let conversation = world.conversation(&[&alice, &bob]);
    assert_eq!(world.send(conversation, &alice, 0, b"a0"), Ok(0));
    assert_eq!(world.send(conversation, &bob, 0, b"b0"), Ok(1));
    assert_eq!(world.send(conversation, &alice, 1, b"a1"), Ok(2));
    let replayed = Err(Refusal::Replayed { expected: 2, got: 1 });
    assert_eq!(world.send(conversation, &alice, 1, b"a1"), replayed);
    let gap = Err(Refusal::CounterGap { expected: 2, got: 3 });
    assert_eq!(world.send(conversation, &alice, 3, b"a3"), gap);
    let far = Err(Refusal::CounterGap { expected: 2, got: u64::MAX });
    assert_eq!(world.send(conversation, &alice, u64::MAX, b"a"), far);
    let request = SendRequest { counter: None, ..world.signed(conversation, &alice, 2, b"a2") };
    assert_eq!(world.submit(request.clone()).map(|sent| sent.sequence), Ok(3));
    // The signature is over counter 2: said again without a counter it is not over the next one.
    assert_eq!(world.submit(request), Err(Refusal::Unauthorized(Unauthorized::Signature)));

    let page = world.mailbox.messages(&world.store, world.now, &conversation, Some(0), 2);
    let page = page.expect("is known");
    assert_eq!((page.first_sequence, page.next_sequence, page.more), (0, 4, true));
    let message = &page.messages[1];
    assert_eq!((message.sequence, message.counter, message.sender), (2, 1, account(&alice)));
    assert_eq!(message.ciphertext, b"a1");
    assert_eq!((message.received, message.expires), (START, START + RETENTION));
    assert_eq!(message.id, message_id(&conversation, 2));
    let one = world.mailbox.message(&world.store, world.now, &conversation, 2);
    assert_eq!(one, Ok(Some(message.clone())));
    assert_eq!(world.mailbox.message(&world.store, world.now, &conversation, 4), Ok(None));
    let sent = Event::Message { conversation, sequence: 3 };
    assert_eq!(world.events.last(), Some(&sent));
}

#[test]
fn nobody_sends_for_another() {
    let mut world = World::new();
    let (alice, bob, mallory) = (person(1), person(2), person(3));
    let conversation = world.conversation(&[&alice, &bob]);
    let unauthorized = |why| Err(Refusal::Unauthorized(why));
    let outsider = world.send(conversation, &mallory, 0, b"x");
    assert_eq!(outsider, unauthorized(Unauthorized::NotAParticipant));
    let by_mallory = world.signed(conversation, &mallory, 0, b"x");
    let forged = SendRequest { sender: account(&alice), ..by_mallory };
    let result = world.submit(forged.clone());
    assert_eq!(result, Err(Refusal::Unauthorized(Unauthorized::Signature)));
    let forged = SendRequest { key: Some(mallory.public().dsa().clone()), ..forged };
    assert_eq!(world.submit(forged), Err(Refusal::Unauthorized(Unauthorized::WrongKey)));
    let other = world.conversation(&[&alice, &bob]);
    let good = world.signed(conversation, &alice, 0, b"x");
    for altered in [
        SendRequest { ciphertext: b"y".to_vec(), ..good.clone() },
        SendRequest { conversation: other, ..good.clone() },
        SendRequest { sender: account(&bob), ..good.clone() },
        SendRequest { counter: Some(1), ..good.clone() },
    ] {
        let refused = world.submit(altered);
        assert_eq!(refused, Err(Refusal::Unauthorized(Unauthorized::Signature)));
    }
    assert!(world.texts(conversation).is_empty());
    assert!(world.submit(good).is_ok());
}

#[test]
fn the_first_message_proves_the_key_and_accepts() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let made = world.create(vec![invite(&alice), invite(&bob)]).expect("is made").conversation;
    let keyless = world.signed(made, &alice, 0, b"first");
    assert_eq!(world.submit(keyless.clone()), Err(Refusal::KeyNeeded));
    let with_key = SendRequest { key: Some(alice.public().dsa().clone()), ..keyless };
    assert!(world.submit(with_key).is_ok());
    assert_eq!(world.status(made), Status::Pending, "it waits for the other");
    assert_eq!(world.send(made, &alice, 1, b"second"), Ok(1), "the key is known by now");
    let reply = world.signed(made, &bob, 0, b"reply");
    let reply = SendRequest { key: Some(bob.public().dsa().clone()), ..reply };
    assert!(world.submit(reply).is_ok());
    assert_eq!(world.status(made), Status::Active);
    world.store.commit_now();
    world.reload();
    assert_eq!(world.status(made), Status::Active);
    assert_eq!(world.send(made, &bob, 1, b"the key is kept"), Ok(3));
}

#[test]
fn ciphertexts_are_bounded() {
    let mut world = World::new();
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    let long = Err(Refusal::Limit { field: "ciphertext", got: 65_537, limit: 65_536 });
    assert_eq!(world.send(conversation, &alice, 0, &[0; 65_537]), long);
    let empty = Err(Refusal::Invalid { field: "ciphertext", why: "it is empty" });
    assert_eq!(world.send(conversation, &alice, 0, b""), empty);
    assert_eq!(world.send(conversation, &alice, 0, &[0; 65_536]), Ok(0));
    assert_eq!(world.texts(conversation)[&0].len(), 65_536);
}

#[test]
fn a_full_conversation_refuses_until_retention_frees_room() {
    let mut world =
        World::with(Config { session_ttl: Span::from_days(2), retention: RETENTION, ..config() });
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    for counter in 0..5 {
        world.now = START + Span::from_secs(counter);
        assert_eq!(world.send(conversation, &alice, counter, b"x"), Ok(counter));
    }
    let full = Err(Refusal::Limit { field: "messages", got: 6, limit: 5 });
    assert_eq!(world.send(conversation, &alice, 5, b"x"), full);
    assert_eq!(world.texts(conversation).len(), 5, "nothing is lost");
    // The first two expire, purged from the store or not.
    world.now = START + RETENTION + Span::from_secs(1);
    assert_eq!(world.send(conversation, &alice, 5, b"x"), Ok(5));
    world.tick();
    assert_eq!(world.send(conversation, &alice, 6, b"x"), Ok(6));
    let full = Err(Refusal::Limit { field: "messages", got: 6, limit: 5 });
    assert_eq!(world.send(conversation, &alice, 7, b"x"), full);
    let page = world.mailbox.messages(&world.store, world.now, &conversation, None, 100);
    let page = page.expect("is known");
    assert_eq!((page.first_sequence, page.next_sequence, page.more), (2, 7, false));
    assert!(page.messages.iter().map(|message| message.sequence).eq(2..7));
}

#[test]
fn what_was_prepared_is_checked_again() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let conversation = world.conversation(&[&alice, &bob]);
    let prepare = |world: &mut World, counter: u64| {
        let request = world.signed(conversation, &alice, counter, b"x");
        let check = world.mailbox.prepare_send(world.now, request).expect("is in order");
        check.verify(&FakeVerifier).expect("verifies")
    };
    // Several of one sender may be on their way, the same one even twice.
    let (first, again) = (prepare(&mut world, 0), prepare(&mut world, 0));
    let (second, third) = (prepare(&mut world, 1), prepare(&mut world, 2));
    let late = world.call(|mailbox, cx| mailbox.apply_send(cx, third));
    assert_eq!(late, Err(Refusal::CounterGap { expected: 0, got: 2 }));
    assert!(world.call(|mailbox, cx| mailbox.apply_send(cx, first)).is_ok());
    let twice = world.call(|mailbox, cx| mailbox.apply_send(cx, again));
    assert_eq!(twice, Err(Refusal::Replayed { expected: 1, got: 0 }));
    world.act(conversation, &bob, Action::Close).expect("is closed");
    let closed = world.call(|mailbox, cx| mailbox.apply_send(cx, second));
    assert_eq!(closed, Err(Refusal::Closed));
}

#[test]
fn true_signatures_are_taken_and_wrong_ones_not() {
    let mut world = World::new();
    let alice = Identity::generate(&mut world.rng);
    let sender = alice.public().account_id();
    let invitation =
        Invitation { account: sender, kem: alice.public().kem().clone(), signing: None };
    let conversation = world.create(vec![invitation]).expect("is made").conversation;
    let bytes = message_bytes(&world.config.scope, &conversation, &sender, 0, b"hello");
    let signature = alice.sign(Domain::ConversationMessage, &bytes, &mut world.rng);
    let mut broken = *signature.as_bytes();
    broken[100] ^= 1;
    let request = SendRequest {
        conversation,
        sender,
        counter: Some(0),
        ciphertext: b"hello".to_vec(),
        signature: broken.into(),
        key: Some(alice.public().dsa().clone()),
    };
    let refused = world.call(|mailbox, cx| mailbox.send(cx, &RealVerifier, request.clone()));
    assert_eq!(refused, Err(Refusal::Unauthorized(Unauthorized::Signature)));
    let request = SendRequest { signature, ..request };
    assert!(world.call(|mailbox, cx| mailbox.send(cx, &RealVerifier, request)).is_ok());
    assert_eq!(world.status(conversation), Status::Active);
}
