use super::*;

fn opaque(byte: u8) -> AccountId {
    AccountId::from([byte; 32])
}

fn as_go_sends() -> CompatConversation {
    CompatConversation {
        participants: vec![opaque(1), opaque(2)],
        keys: vec![vec![1; 16], vec![2; 16]],
        metadata: BTreeMap::new(),
    }
}

fn world() -> World {
    World::with(Config { compat: true, ..config() })
}

#[test]
fn it_is_off_unless_asked_for() {
    let mut world = World::new();
    let off = Refusal::Unauthorized(Unauthorized::CompatOff);
    let made = world.call(|mailbox, cx| mailbox.create_compat(cx, as_go_sends()));
    assert_eq!(made, Err(off.clone()));
    let conversation = world.conversation(&[&person(1)]);
    let sender = account(&person(1));
    let sent = world.call(|mailbox, cx| mailbox.send_compat(cx, &conversation, &sender, b"x", b""));
    assert_eq!(sent, Err(off.clone()));
    assert_eq!(world.call(|mailbox, cx| mailbox.close_compat(cx, &conversation)), Err(off));
}

#[test]
fn it_takes_what_the_go_reference_sends() {
    let mut world = world();
    let made = world.call(|mailbox, cx| mailbox.create_compat(cx, as_go_sends())).expect("is made");
    assert_eq!(made.status, Status::Active);
    let conversation = made.conversation;
    let send = |world: &mut World, sender: AccountId, signature: &[u8]| {
        world
            .call(|mailbox, cx| mailbox.send_compat(cx, &conversation, &sender, b"text", signature))
            .map(|sent| sent.sequence)
    };
    assert_eq!(send(&mut world, opaque(1), b""), Ok(0));
    assert_eq!(send(&mut world, opaque(2), b"short"), Ok(1));
    let stranger = send(&mut world, opaque(3), b"");
    assert_eq!(stranger, Err(Refusal::Unauthorized(Unauthorized::NotAParticipant)));
    let report = world.reload();
    assert_eq!((report.conversations, report.adopted, report.damaged), (1, 2, 0));
    let view = world.mailbox.get(&conversation, START).expect("survives");
    assert!(view.is_compat());
    assert_eq!(view.status(), Status::Active);
    let keys: Vec<_> = view.participants().map(|of| of.key.as_bytes().to_vec()).collect();
    assert_eq!(keys, [vec![1; 16], vec![2; 16]]);
    assert_eq!(send(&mut world, opaque(1), b""), Ok(2));
    let closed = world.call(|mailbox, cx| mailbox.close_compat(cx, &conversation));
    assert_eq!(closed, Ok(Status::Closed));
    assert_eq!(send(&mut world, opaque(1), b""), Err(Refusal::Closed));
}

#[test]
fn the_two_kinds_do_not_mix() {
    let mut world = world();
    let alice = person(1);
    let proved = world.conversation(&[&alice]);
    let other = Err(Refusal::Unauthorized(Unauthorized::OtherProfile));
    let sender = account(&alice);
    let sent = world.call(|mailbox, cx| mailbox.send_compat(cx, &proved, &sender, b"x", b""));
    assert_eq!(sent.map(|_| ()), other);
    let closed = world.call(|mailbox, cx| mailbox.close_compat(cx, &proved));
    assert_eq!(closed.map(|_| ()), other);
    // Even with the true keys of the participant, given as bytes.
    let keys = vec![alice.public().kem().as_ref().to_vec()];
    let new = CompatConversation { participants: vec![sender], keys, ..Default::default() };
    let made = world.call(|mailbox, cx| mailbox.create_compat(cx, new)).expect("is made");
    assert_eq!(world.send(made.conversation, &alice, 0, b"x").map(|_| ()), other);
    assert_eq!(world.act(made.conversation, &alice, Action::Close).map(|_| ()), other);
    // Switched off again, what is there can be read and no longer be written to.
    world.config.compat = false;
    world.reload();
    assert!(world.mailbox.get(&made.conversation, START).is_ok());
    let sent =
        world.call(|mailbox, cx| mailbox.send_compat(cx, &made.conversation, &sender, b"x", b""));
    assert_eq!(sent, Err(Refusal::Unauthorized(Unauthorized::CompatOff)));
}

#[test]
fn it_has_limits_too() {
    let mut world = world();
    let mut create = |new| world.call(|mailbox, cx| mailbox.create_compat(cx, new)).map(|_| ());
    assert!(matches!(create(CompatConversation::default()), Err(Refusal::Invalid { .. })));
    let twice = CompatConversation { participants: vec![opaque(1); 2], ..as_go_sends() };
    assert!(matches!(create(twice), Err(Refusal::Invalid { field: "participants", .. })));
    let short = CompatConversation { keys: Vec::new(), ..as_go_sends() };
    assert!(matches!(create(short), Err(Refusal::Invalid { field: "publicKeys", .. })));
    let long = CompatConversation { keys: vec![vec![0; 4097]; 2], ..as_go_sends() };
    assert_eq!(create(long), Err(Refusal::Limit { field: "public key", got: 4097, limit: 4096 }));
}
