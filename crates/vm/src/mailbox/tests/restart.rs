use session_core::{InboxAddress, Namespace};
use session_storage::{NewItem, Store, Table};

use super::*;
use crate::mailbox::record::{self, key, message_record};

/// Removes an item as a torn commit does: it was never there, so it leaves no tombstone.
fn tear(world: &mut World, conversation: ConversationId, sequences: &[u64]) {
    let inbox = InboxAddress::from(*conversation.as_bytes());
    let mut torn = MemoryStore::new(1);
    let everywhere = InboxAddress::from([0; 32])..=InboxAddress::from([0xff; 32]);
    let mut kept = Vec::new();
    world.store.scan(everywhere, &mut |address, meta| kept.push((*address, meta.id)));
    let lost: Vec<_> = sequences.iter().map(|number| message_id(&conversation, *number)).collect();
    for (address, id) in kept {
        if address == inbox && lost.contains(&id) {
            continue;
        }
        let item = world.store.item(&address, &id).expect("reads").expect("was seen");
        let meta = item.meta;
        let (timestamp, expiry) = (meta.timestamp, meta.expiry);
        let new = NewItem { namespace: Namespace(0), id, timestamp, expiry, data: &item.data };
        torn.put_item(&address, new).expect("writes");
    }
    for table in [Table::Conversation, Table::ConversationHead] {
        for (name, expiry) in world.store.records(table, &[]) {
            let value = world.store.record(table, &name).expect("reads").expect("was seen");
            torn.put_record(table, &name, &value, expiry).expect("writes");
        }
    }
    world.store = torn;
}

fn pass(world: &mut World, seconds: u64) {
    world.now = world.now + Span::from_secs(seconds);
    world.tick();
}

fn counters(world: &World, conversation: ConversationId) -> (u64, Vec<u64>) {
    let view = world.mailbox.get(&conversation, world.now).expect("is known");
    (view.next_sequence(), view.participants().map(|of| of.counter).collect())
}

#[test]
fn messages_behind_the_checkpoint_are_adopted() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let conversation = world.create(vec![invite(&alice), introduce(&bob)]).expect("is made");
    let conversation = conversation.conversation;
    let first = world.signed(conversation, &alice, 0, b"a0");
    let first = SendRequest { key: Some(alice.public().dsa().clone()), ..first };
    world.submit(first).expect("is taken");
    world.send(conversation, &bob, 0, b"b0").expect("is taken");
    for checkpoint in [false, true] {
        if checkpoint {
            pass(&mut world, 11);
            world.send(conversation, &bob, 1, b"b1").expect("is taken");
        }
        let before = counters(&world, conversation);
        let adopted = if checkpoint { 1 } else { 2 };
        let report = world.reload();
        assert_eq!((report.adopted, report.rolled_back, report.damaged), (adopted, 0, 0));
        assert_eq!(counters(&world, conversation), before);
        assert_eq!(world.reload().adopted, 0, "what was adopted is written down");
    }
    assert_eq!(counters(&world, conversation), (3, vec![1, 2]));
    let replayed = Err(Refusal::Replayed { expected: 1, got: 0 });
    assert_eq!(world.send(conversation, &alice, 0, b"a0"), replayed);
    assert_eq!(world.send(conversation, &alice, 1, b"a1"), Ok(3));
}

#[test]
fn an_adopted_message_brings_its_sender_in() {
    let mut world = World::new();
    let alice = person(1);
    let made = world.create(vec![invite(&alice)]).expect("is made").conversation;
    let first = world.signed(made, &alice, 0, b"a0");
    let first = SendRequest { key: Some(alice.public().dsa().clone()), ..first };
    world.submit(first).expect("is taken");
    // The crash keeps the message but neither the acceptance nor the key.
    world.store.remove_record(Table::ConversationHead, &key::standing(&made)).expect("is there");
    world.store.remove_record(Table::Conversation, &key::numbered(key::SIGNING, 0)).expect("too");
    world.reload();
    assert_eq!(world.status(made), Status::Active);
    assert_eq!(world.send(made, &alice, 1, b"a1"), Err(Refusal::KeyNeeded));
}

#[test]
fn counted_messages_that_were_never_stored_are_rolled_back() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let conversation = world.conversation(&[&alice, &bob]);
    world.send(conversation, &alice, 0, b"kept").expect("is taken");
    pass(&mut world, 11);
    world.send(conversation, &bob, 0, b"kept too").expect("is taken");
    world.send(conversation, &alice, 1, b"lost").expect("is taken");
    world.send(conversation, &bob, 1, b"lost too").expect("is taken");
    pass(&mut world, 11);
    tear(&mut world, conversation, &[2, 3]);
    let report = world.reload();
    assert_eq!((report.rolled_back, report.adopted), (2, 1));
    assert_eq!(counters(&world, conversation), (2, vec![1, 1]));
    assert_eq!(world.send(conversation, &alice, 1, b"again"), Ok(2));
    pass(&mut world, 11);
    let report = world.reload();
    assert_eq!((report.rolled_back, report.adopted), (0, 0), "it is healed for good");
    assert_eq!(world.texts(conversation).len(), 3);
}

#[test]
fn the_first_message_of_all_can_be_rolled_back() {
    let mut world = World::new();
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    world.send(conversation, &alice, 0, b"lost").expect("is taken");
    pass(&mut world, 11);
    tear(&mut world, conversation, &[0]);
    assert_eq!(world.reload().rolled_back, 1);
    assert_eq!(world.send(conversation, &alice, 0, b"again"), Ok(0));
}

#[test]
fn expired_messages_are_not_taken_for_lost() {
    let mut world = World::with(Config { session_ttl: Span::from_days(5), ..config() });
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    for counter in 0..3 {
        world.send(conversation, &alice, counter, b"x").expect("is taken");
    }
    pass(&mut world, 11);
    world.now = START + RETENTION;
    world.tick();
    assert_eq!(world.store.stats().items, 0);
    let report = world.reload();
    assert_eq!((report.rolled_back, report.adopted), (0, 0));
    assert_eq!(counters(&world, conversation), (3, vec![3]));
    assert_eq!(world.send(conversation, &alice, 3, b"x"), Ok(3), "no number is given twice");
}

#[test]
fn a_run_that_has_begun_to_expire_is_not_rolled_back() {
    let mut world = World::with(Config { session_ttl: Span::from_days(5), ..config() });
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    world.send(conversation, &alice, 0, b"expires").expect("is taken");
    world.now = world.now + Span::from_secs(9);
    world.send(conversation, &alice, 1, b"damaged").expect("is taken");
    pass(&mut world, 11);
    tear(&mut world, conversation, &[0, 1]);
    world.now = START + RETENTION + Span::from_secs(1);
    assert_eq!(world.reload().rolled_back, 0, "message 0 was read by somebody, perhaps");
    assert_eq!(world.send(conversation, &alice, 2, b"x"), Ok(2));
}

#[test]
fn a_damaged_message_leaves_a_hole_and_nothing_else() {
    let mut world = World::new();
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    for counter in 0..4 {
        world.send(conversation, &alice, counter, &[1]).expect("is taken");
    }
    pass(&mut world, 11);
    tear(&mut world, conversation, &[1]);
    assert_eq!(world.reload().rolled_back, 0);
    assert_eq!(world.texts(conversation).into_keys().collect::<Vec<_>>(), [0, 2, 3]);
    // The end is lost as well: what lies between is still there.
    tear(&mut world, conversation, &[3]);
    assert_eq!(world.reload().rolled_back, 1);
    assert_eq!(counters(&world, conversation), (3, vec![3]));
    assert_eq!(world.texts(conversation).into_keys().collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_message_in_the_way_is_adopted_when_met() {
    let mut world = World::new();
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    let inbox = record::inbox_of(&conversation);
    let data = message_record(0, 0, START, &[0; 16], b"stray");
    let item = NewItem {
        namespace: Namespace(0),
        id: message_id(&conversation, 0),
        timestamp: START,
        expiry: START + RETENTION,
        data: &data,
    };
    world.store.put_item(&inbox, item).expect("writes");
    let replayed = Err(Refusal::Replayed { expected: 1, got: 0 });
    assert_eq!(world.send(conversation, &alice, 0, b"x"), replayed);
    assert_eq!(world.send(conversation, &alice, 1, b"x"), Ok(1));
}

#[test]
fn conversations_without_their_people_are_removed() {
    let mut world = World::new();
    let (alice, bob) = (person(1), person(2));
    let lost = world.conversation(&[&alice, &bob]);
    let kept = world.conversation(&[&bob]);
    world
        .store
        .remove_record(Table::Conversation, &key::numbered(key::PERSON, 0))
        .expect("is there");
    let report = world.reload();
    assert_eq!((report.conversations, report.damaged), (1, 2), "and the key of nobody");
    assert!(world.mailbox.get(&lost, START).is_err());
    // The number is free; whoever gets it is not taken for the one before.
    let carol = person(3);
    let new = world.conversation(&[&carol]);
    world.reload();
    assert!(world.mailbox.get(&kept, START).is_ok());
    let view = world.mailbox.get(&new, START).expect("survives");
    assert_eq!(view.participants().next().map(|of| of.account), Some(account(&carol)));
}

#[test]
fn broken_records_are_counted_and_removed() {
    let mut world = World::new();
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    world.send(conversation, &alice, 0, b"x").expect("is taken");
    pass(&mut world, 11);
    let far = Time::MAX;
    for tag in [key::CONVERSATION, key::PERSON, key::SIGNING, key::CHANNEL] {
        for name in [vec![tag], vec![tag; 5], vec![tag; 33], vec![tag; 60]] {
            world.store.put_record(Table::Conversation, &name, b"garbage", far).expect("writes");
        }
    }
    for name in [key::standing(&conversation), key::checkpoint(&conversation)] {
        world.store.put_record(Table::ConversationHead, &name, b"garbage", far).expect("writes");
    }
    let report = world.reload();
    assert_eq!(report.conversations, 1);
    assert!(report.damaged >= 12, "{report:?}");
    assert_eq!(report.adopted, 1, "the message tells what the checkpoint no longer does");
    assert_eq!(world.reload().damaged, 0, "what was damaged is gone");
}

#[test]
fn a_hole_hides_nothing_when_its_neighbours_expire() {
    let mut world = World::with(Config { messages_max: 100, ..config() });
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    for counter in 0..64 {
        world.send(conversation, &alice, counter, b"x").expect("is taken");
        world.now = world.now + Span::from_secs(1);
    }
    let damaged: Vec<u64> = [16, 24, 31, 32, 33, 48].to_vec();
    tear(&mut world, conversation, &damaged);
    for expired in 1..=64 {
        world.now = START + RETENTION + Span::from_secs(expired - 1);
        let left: Vec<u64> = world.texts(conversation).into_keys().collect();
        let wanted: Vec<u64> = (expired..64).filter(|number| !damaged.contains(number)).collect();
        assert_eq!(left, wanted);
    }
}

#[test]
fn a_person_listed_twice_loses_no_conversation() {
    let mut world = World::new();
    let alice = person(1);
    let conversation = world.conversation(&[&alice]);
    // Two records that a failing disk did not remove, one before and one behind.
    let name = |number| key::numbered(key::PERSON, number);
    let record =
        world.store.record(Table::Conversation, &name(0)).expect("reads").expect("is there");
    let carol = world.conversation(&[&person(3)]);
    let moved = world.conversation(&[&alice, &person(3)]);
    world.store.put_record(Table::Conversation, &name(9), &record, Time::MAX).expect("writes");
    for _ in 0..2 {
        world.reload();
        for known in [conversation, carol, moved] {
            assert!(world.mailbox.get(&known, START).is_ok());
        }
        assert_eq!(world.mailbox.counts().people, 2);
    }
    assert_eq!(world.store.records(Table::Conversation, &[key::PERSON]).len(), 2);
}
