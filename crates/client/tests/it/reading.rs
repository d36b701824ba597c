//! Reading: pages, ids, cards, and nodes that withhold, invent or forget.

use std::collections::BTreeSet;

use session_client::{Answer, Command, Error, Inbox, InboxReader, Page};
use session_core::{Encode as _, List, MessageId, Span, SwarmId, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_messaging::card_item;
use session_protocol::inbox::{ATTACHMENTS, IDENTITY_CARD, MESSAGES, message_id};
use session_protocol::owner::ExpireMode;
use session_protocol::request::{Cursor, Item, Outcome, Refusal, Reply};

use crate::world::{World, ids};

fn retrieve(reader: &InboxReader, nodes: usize) -> Command {
    Command::Retrieve {
        from: Inbox::Own,
        namespace: MESSAGES,
        cursors: reader.cursors(MESSAGES),
        nodes,
    }
}

fn pages(result: Result<Answer, Error>) -> Vec<Page> {
    match result {
        Ok(Answer::Pages(pages)) => pages,
        other => panic!("pages expected, got {other:?}"),
    }
}

fn last(result: Result<Answer, Error>) -> Error {
    match result {
        Err(Error::TimedOut { last: Some(last), .. }) => *last,
        other => panic!("a timeout with a reason was expected, got {other:?}"),
    }
}

/// Reads until there is no more, as a program would.
fn poll(world: &mut World, reader: &mut InboxReader, nodes: usize) -> Vec<Item> {
    let mut new = Vec::new();
    loop {
        let pages = pages(world.run(retrieve(reader, nodes)));
        let more = pages.iter().any(|page| page.more);
        new.extend(pages.into_iter().flat_map(|page| reader.absorb(page)));
        if !more {
            return new;
        }
    }
}

fn fill(world: &mut World, from: usize, count: usize, bytes: usize) -> Vec<MessageId> {
    let all: Vec<usize> = (0..world.nodes.len()).collect();
    (from..from + count)
        .map(|number| {
            let mut data = vec![0; bytes];
            data[..8].copy_from_slice(&number.to_be_bytes());
            let item = world.item(MESSAGES, &data);
            world.arrive(&item, &all);
            item.id
        })
        .collect()
}

#[test]
fn pages_follow_each_other() {
    let mut world = World::new(1, 3);
    let sent = fill(&mut world, 0, 30, 60_000);
    let mut reader = InboxReader::new();
    let first = pages(world.run(retrieve(&reader, 1))).remove(0);
    assert_eq!((first.items.len(), first.more), (13, true), "as many as fit a page");
    assert_eq!(first.cursor, Cursor { incarnation: 1, arrival: 13 });
    assert_eq!(ids(&poll(&mut world, &mut reader, 1)), sent);
    assert!(poll(&mut world, &mut reader, 1).is_empty());
    let more = fill(&mut world, 30, 2, 10);
    assert_eq!(ids(&poll(&mut world, &mut reader, 1)), more);
}

#[test]
fn another_node_repeats_and_loses_nothing() {
    let mut world = World::new(2, 3);
    let mut reader = InboxReader::new();
    let mut got = Vec::new();
    let mut sent = Vec::new();
    for round in 0..6 {
        sent.extend(fill(&mut world, round * 10, 10, 20));
        got.extend(ids(&poll(&mut world, &mut reader, 1)));
        // The node that answered dies, another one returns.
        world.kill(round % 3);
        world.restart((round + 1) % 3);
    }
    assert_eq!(got, sent);
}

#[test]
fn a_node_that_withholds_is_made_up_for_by_the_other_one() {
    let mut world = World::new(1, 10);
    let sent = fill(&mut world, 0, 20, 20);
    for node in 0..10 {
        // Half of the nodes hide half of the items, and say that this is all.
        if node % 2 == 0 {
            let hidden: BTreeSet<MessageId> = sent.iter().step_by(2).copied().collect();
            world.nodes[node].twist = Some(Box::new(move |_, mut reply: Reply| {
                let mut outcomes = reply.outcomes.into_vec();
                if let Outcome::Items { items, .. } = &mut outcomes[0] {
                    let mut left = items.clone().into_vec();
                    left.retain(|item| !hidden.contains(&item.id));
                    *items = List::new(left).unwrap();
                }
                reply.outcomes = List::new(outcomes).unwrap();
                Some(reply)
            }));
        }
    }
    let mut reader = InboxReader::new();
    let mut got: Vec<Item> = Vec::new();
    for _ in 0..10 {
        got.extend(poll(&mut world, &mut reader, 2));
    }
    let (got, sent): (BTreeSet<_>, BTreeSet<_>) =
        (ids(&got).into_iter().collect(), sent.into_iter().collect());
    assert_eq!(got, sent);
}

#[test]
fn two_nodes_answer_two_pages_and_one_suffices() {
    let mut world = World::new(1, 10);
    fill(&mut world, 0, 3, 20);
    let both = pages(world.run(retrieve(&InboxReader::new(), 2)));
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].node, both[1].node);
    // All but one are silent: its page comes after a short wait for a second one.
    let alone = world.index(both[0].node);
    for node in (0..10).filter(|node| *node != alone) {
        world.nodes[node].twist = Some(Box::new(|_, _| None));
    }
    let before = world.now;
    let one = pages(world.run(retrieve(&InboxReader::new(), 2)));
    assert_eq!((one.len(), one[0].node), (1, both[0].node));
    assert!(world.now.since(before) <= Span::from_secs(10), "{}", world.now.since(before));
    // Where there is one node only, two are not waited for.
    let mut world = World::new(1, 1);
    assert_eq!(pages(world.run(retrieve(&InboxReader::new(), 2))).len(), 1);
    assert!(world.now.since(before) < Span::from_secs(1));
}

#[test]
fn one_node_alone_can_be_read_from() {
    let mut world = World::new(1, 10);
    let sent = fill(&mut world, 0, 20, 60_000);
    for node in [3, 7] {
        let here = world.id(node);
        let (mut got, mut cursor, mut more) = (Vec::new(), None, true);
        while more {
            let command =
                Command::RetrieveFrom { from: Inbox::Own, node: here, namespace: MESSAGES, cursor };
            let page = pages(world.run(command)).remove(0);
            assert_eq!(page.node, here);
            (cursor, more) = (Some(page.cursor), page.more);
            got.extend(ids(&page.items));
        }
        assert_eq!((got, world.nodes[node].asked.len()), (sent.clone(), 2));
    }
    let asked: usize = world.nodes.iter().map(|node| node.asked.len()).sum();
    assert_eq!(asked, 4, "nobody else");

    // It is gone, it is silent, it says no: nobody else is asked, and the error names it.
    let here = world.id(3);
    let command = || Command::RetrieveFrom {
        from: Inbox::Own,
        node: here,
        namespace: MESSAGES,
        cursor: None,
    };
    world.nodes[3].twist = Some(Box::new(|_, _| None));
    assert!(matches!(last(world.run(command())), Error::NoAnswer { node, .. } if node == here));
    world.kill(3);
    assert!(matches!(last(world.run(command())), Error::Unreachable { node, .. } if node == here));
    world.restart(3);
    world.nodes[3].twist = None;
    world.nodes[3].refuse = Some(Box::new(|_, _| {
        let members = List::new(vec![]).unwrap();
        Some(Refusal::WrongSwarm { swarm: SwarmId(7), members })
    }));
    let refused = world.run(command());
    assert!(matches!(refused, Err(Error::Refused { node, .. }) if node == here), "{refused:?}");
    let others = world.nodes.iter().enumerate().filter(|(index, _)| ![3, 7].contains(index));
    assert!(others.into_iter().all(|(_, node)| node.asked.is_empty()));
    let stranger = session_core::NodeId::from([1; 32]);
    let command = Command::RetrieveFrom {
        from: Inbox::Own,
        node: stranger,
        namespace: MESSAGES,
        cursor: None,
    };
    assert_eq!(world.run(command), Err(Error::UnknownNode(stranger)));
}

#[test]
fn an_item_that_is_not_what_its_id_says_is_dropped_and_noted() {
    let mut world = World::new(1, 1);
    let sent = fill(&mut world, 0, 3, 20);
    world.nodes[0].twist = Some(Box::new(|_, mut reply: Reply| {
        let mut outcomes = reply.outcomes.into_vec();
        if let Outcome::Items { items, .. } = &mut outcomes[0] {
            let mut all = items.clone().into_vec();
            all[0].id = [7; 32].into();
            all[1].namespace = ATTACHMENTS;
            *items = List::new(all).unwrap();
        }
        reply.outcomes = List::new(outcomes).unwrap();
        Some(reply)
    }));
    let page = pages(world.run(retrieve(&InboxReader::new(), 1))).remove(0);
    assert_eq!(ids(&page.items), sent[2..]);
    assert_eq!(world.client.lies(&world.id(0)), 1);
}

#[test]
fn a_cursor_that_stands_still_is_not_followed() {
    let mut world = World::new(1, 1);
    fill(&mut world, 0, 3, 20);
    world.nodes[0].twist = Some(Box::new(|_, mut reply: Reply| {
        let cursor = Cursor { incarnation: 1, arrival: 3 };
        let items = List::new(vec![]).unwrap();
        reply.outcomes = List::new(vec![Outcome::Items { items, cursor, more: true }]).unwrap();
        Some(reply)
    }));
    let mut reader = InboxReader::new();
    // Forward from nothing it goes once.
    let page = pages(world.run(retrieve(&reader, 1))).remove(0);
    assert!(reader.absorb(page).is_empty());
    let result = world.run(retrieve(&reader, 1));
    let Err(Error::TimedOut { last: Some(last), .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*last, Error::BadAnswer { .. }), "{last:?}");
}

#[test]
fn a_node_that_lost_its_disk_is_read_from_the_beginning() {
    let mut world = World::new(1, 1);
    let old = fill(&mut world, 0, 5, 20);
    let mut reader = InboxReader::new();
    assert_eq!(ids(&poll(&mut world, &mut reader, 1)), old);
    // The items come back in another order, and new ones among them.
    let shelf = std::mem::take(&mut world.nodes[0].shelf);
    world.nodes[0].incarnation = 2;
    let new = fill(&mut world, 100, 2, 20);
    for (_, item) in shelf.into_iter().rev() {
        world.arrive(&item, &[0]);
    }
    assert_eq!(ids(&poll(&mut world, &mut reader, 1)), new);
    assert_eq!(reader.cursors(MESSAGES).into_values().next().unwrap().incarnation, 2);
}

#[test]
fn a_saved_reader_goes_on() {
    use session_core::Decode as _;
    let mut world = World::new(1, 3);
    let mut reader = InboxReader::new();
    fill(&mut world, 0, 5, 20);
    assert_eq!(poll(&mut world, &mut reader, 2).len(), 5);
    let saved = reader.to_bytes();
    let mut reader = InboxReader::decode_exact(&saved).unwrap();
    assert!(poll(&mut world, &mut reader, 2).is_empty());
    let new = fill(&mut world, 5, 1, 20);
    assert_eq!(ids(&poll(&mut world, &mut reader, 2)), new);
}

#[test]
fn items_are_fetched_by_id_over_many_pages() {
    let mut world = World::new(1, 10);
    let all: Vec<usize> = (0..10).collect();
    let chunks: Vec<MessageId> = (0..40_u8)
        .map(|number| {
            let item = world.item(ATTACHMENTS, &vec![number; 65_577]);
            world.arrive(&item, &all);
            item.id
        })
        .collect();
    let wanted: Vec<MessageId> = chunks.iter().rev().copied().collect();
    let ids_wanted = List::new(wanted.clone()).unwrap();
    let result =
        world.run(Command::Fetch { from: Inbox::Own, namespace: ATTACHMENTS, ids: ids_wanted });
    let Ok(Answer::Fetched { items, missing }) = result else { panic!("{result:?}") };
    assert_eq!((ids(&items), missing), (wanted, vec![]), "in the order asked");
}

#[test]
fn missing_items_are_looked_for_in_as_many_nodes_as_prove_it() {
    let mut world = World::new(1, 10);
    let item = world.item(ATTACHMENTS, b"here");
    // Only three nodes have it, which is no quorum, and yet it may be found.
    world.arrive(&item, &[7, 8, 9]);
    let lost: MessageId = [1; 32].into();
    let wanted = List::new(vec![lost, item.id]).unwrap();
    let result =
        world.run(Command::Fetch { from: Inbox::Own, namespace: ATTACHMENTS, ids: wanted.clone() });
    let Ok(Answer::Fetched { missing, .. }) = result else { panic!("{result:?}") };
    assert!(missing.contains(&lost));
    let asked: usize = world.nodes.iter().map(|node| node.asked.len()).sum();
    assert!((4..=9).contains(&asked), "four nodes without it prove that no seven have it: {asked}");
    assert!(world.now.since(crate::world::START) < Span::from_secs(1));
}

#[test]
fn deleting_and_expiring_are_signed_by_the_owner() {
    let mut world = World::new(1, 10);
    let sent = fill(&mut world, 0, 3, 20);
    let two = List::new(sent[..2].to_vec()).unwrap();
    let result = world.run(Command::Delete { from: Inbox::Own, ids: two.clone() });
    assert!(matches!(&result, Ok(Answer::Deleted { ids, .. }) if *ids == sent[..2]), "{result:?}");
    let left = poll(&mut world, &mut InboxReader::new(), 1);
    assert_eq!(ids(&left), sent[2..]);
    let expiry = world.now + Span::from_days(2);
    let result =
        world.run(Command::Expire { from: Inbox::Own, ids: two, expiry, mode: ExpireMode::Extend });
    let Ok(Answer::Expiring { expiries, nodes: 10, .. }) = result else { panic!("{result:?}") };
    assert!(expiries.len() == 2 && expiries.iter().all(|one| one.expiry == expiry));
}

fn put_card(world: &mut World, of: &FakeIdentity, in_inbox_of: &FakeIdentity, nodes: &[usize]) {
    let address = session_protocol::AccessRule::from(in_inbox_of.public().account_id()).address();
    let data = card_item(of.public());
    let item = Item {
        id: message_id(&address, IDENTITY_CARD, &data),
        namespace: IDENTITY_CARD,
        timestamp: Time::ZERO,
        expiry: Time::MAX,
        arrival: 1,
        data,
    };
    for node in nodes {
        world.nodes[*node].shelf.push((address, item.clone()));
    }
}

#[test]
fn a_card_is_found_even_where_most_nodes_hide_it() {
    let bob = FakeIdentity::new(&[0xb0; 32]);
    let account = bob.public().account_id();
    let mut world = World::new(1, 10);
    put_card(&mut world, &bob, &bob, &[0, 1, 2, 3, 4, 5, 6]);
    // Three nodes never had it: fewer than could deny it.
    for seed in 0..5 {
        let mut world = World::new(seed, 10);
        put_card(&mut world, &bob, &bob, &[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(world.run(Command::GetCard { account }), Ok(Answer::Card(bob.public().clone())));
    }
}

#[test]
fn a_card_that_is_not_there_or_not_his_is_no_card() {
    let (bob, mallory) = (FakeIdentity::new(&[0xb0; 32]), FakeIdentity::new(&[0xe0; 32]));
    let account = bob.public().account_id();
    let mut world = World::new(1, 10);
    assert_eq!(world.run(Command::GetCard { account }), Err(Error::NoCard(account)));
    assert!(world.now.since(crate::world::START) < Span::from_secs(1));
    put_card(&mut world, &mallory, &bob, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(world.run(Command::GetCard { account }), Err(Error::NoCard(account)));
    put_card(&mut world, &bob, &bob, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(world.run(Command::GetCard { account }), Ok(Answer::Card(bob.public().clone())));
}
