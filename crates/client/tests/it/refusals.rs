//! Nodes that say no, wait, go there, or nothing at all.

use std::cell::Cell;
use std::rc::Rc;

use session_client::{Answer, Client, Command, Config, Effect, Error, Inbox, Input, Mode, NewItem};
use session_core::{Context, List, Machine as _, Namespace, NodeId, SeededEntropy, Span, SwarmId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::inbound::{CheckedOperation, CheckedRequest};
use session_protocol::inbox::MESSAGES;
use session_protocol::limits::CLOCK_TOLERANCE;
use session_protocol::placement;
use session_protocol::request::{ItemBytes, Operation, Refusal};

use crate::asks::{bob, stored};
use crate::world::{START, World};

fn store() -> Command {
    let data = ItemBytes::new(*b"hello").unwrap();
    let item = NewItem { namespace: MESSAGES, ttl: Span::from_days(1), data };
    Command::Store { address: bob(), item }
}

fn read() -> Command {
    Command::Retrieve { from: Inbox::Own, namespace: MESSAGES, cursors: [].into(), nodes: 1 }
}

fn last(result: Result<Answer, Error>) -> Error {
    match result {
        Err(Error::TimedOut { last: Some(last), .. }) => *last,
        other => panic!("a timeout with a reason was expected, got {other:?}"),
    }
}

fn asked(world: &World) -> usize {
    world.nodes.iter().map(|node| node.asked.len()).sum()
}

/// Makes every node refuse the first so many requests that it gets.
fn refuse_first(world: &mut World, times: usize, refusal: &Refusal) {
    for node in &mut world.nodes {
        let (mut left, refusal) = (times, refusal.clone());
        node.refuse = Some(Box::new(move |_, _| {
            left = left.checked_sub(1)?;
            Some(refusal.clone())
        }));
    }
}

#[test]
fn when_nobody_answers_the_command_ends_in_time() {
    let mut world = World::new(1, 10);
    for node in &mut world.nodes {
        node.twist = Some(Box::new(|_, _| None));
    }
    let error = last(world.run(store()));
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
    assert_eq!(world.now, START + Span::from_secs(30));
    assert_eq!(asked(&world), 10, "two tries every six seconds");
}

#[test]
fn when_nobody_is_there_the_command_ends_in_time() {
    let mut world = World::new(1, 10);
    (0..10).for_each(|node| world.kill(node));
    let error = last(world.run(store()));
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(world.now, START + Span::from_secs(30));
    let dials = world.client.network().stats().dials;
    assert!((20..=120).contains(&dials), "rounds with pauses, not a storm: {dials} dials");
}

#[test]
fn a_network_that_comes_back_is_used() {
    let mut world = World::new(1, 10);
    (0..10).for_each(|node| world.kill(node));
    let id = world.command(store());
    world.pass(Span::from_secs(10));
    (0..10).for_each(|node| world.restart(node));
    world.pass(Span::from_secs(6));
    stored(&world.done[&id]);
}

// A node with another clock takes a request that is signed with its time.
#[test]
fn a_wrong_clock_costs_one_more_signature() {
    let mut world = World::new(1, 10);
    for node in &mut world.nodes {
        node.ahead = Span::from_secs(3600);
        node.refuse = Some(Box::new(|request, now| {
            let signed = match &request.operations[0] {
                Ok(CheckedOperation::Open(Operation::Store { timestamp, .. })) => *timestamp,
                Ok(CheckedOperation::Owner(owner)) => owner.authorization.timestamp(),
                other => panic!("{other:?}"),
            };
            let refusal = Refusal::Clock { signed, server_time: now, tolerance: CLOCK_TOLERANCE };
            (signed.distance(now) > CLOCK_TOLERANCE).then_some(refusal)
        }));
    }
    stored(&world.run(store()));
    assert_eq!((world.client.stats().resigned, asked(&world)), (1, 2));
    // It is remembered, for owner operations too.
    assert!(matches!(world.run(read()), Ok(Answer::Pages(_))));
    assert_eq!((world.client.stats().resigned, asked(&world)), (1, 3));
}

// Request numbers can be guessed; who was asked cannot be changed.
#[test]
fn a_node_cannot_answer_for_another() {
    let mut world = World::new(1, 10);
    let first = Rc::new(Cell::new(None));
    for node in &mut world.nodes {
        let first = Rc::clone(&first);
        node.twist = Some(Box::new(move |request, mut reply| match first.get() {
            None => {
                first.set(Some(request.id));
                None
            }
            Some(id) => {
                reply.id = id;
                Some(reply)
            }
        }));
    }
    let id = world.command(Command::Retrieve {
        from: Inbox::Own,
        namespace: MESSAGES,
        cursors: [].into(),
        nodes: 2,
    });
    world.pass(Span::from_secs(5));
    // Three of the four that were asked answer for the first one.
    assert_eq!((asked(&world), world.client.stats().late), (4, 3));
    assert!(!world.done.contains_key(&id));
}

#[test]
fn a_node_that_failed_is_not_the_first_to_be_asked_next() {
    let mut world = World::new(1, 10);
    stored(&world.run(store()));
    let fastest = (0..10).find(|node| !world.nodes[*node].asked.is_empty()).unwrap();
    world.nodes[fastest].refuse = Some(Box::new(|_, _| Some(Refusal::DiskFull)));
    for _ in 0..5 {
        stored(&world.run(store()));
    }
    assert_eq!(world.nodes[fastest].asked.len(), 2, "good, full, and then left alone");
    // After a while it gets another chance.
    world.nodes[fastest].refuse = None;
    world.pass(Span::from_secs(60));
    for other in (0..10).filter(|node| *node != fastest) {
        world.nodes[other].refuse = Some(Box::new(|_, _| Some(Refusal::DiskFull)));
    }
    stored(&world.run(store()));
    assert_eq!(world.nodes[fastest].asked.len(), 3);
}

// Each batch has its own time: a large command is not cut off while it gets on.
#[test]
fn progress_gives_more_time() {
    let mut world = World::new(1, 1);
    let mut turn = 0;
    let retry_after = Span::from_secs(20);
    world.nodes[0].refuse = Some(Box::new(move |_, _| {
        turn += 1;
        (turn % 2 == 1).then_some(Refusal::RateLimited { retry_after })
    }));
    let item = |number: u8| NewItem {
        namespace: MESSAGES,
        ttl: Span::from_days(1),
        data: ItemBytes::new([number]).unwrap(),
    };
    let items = (0..60).map(item).collect();
    let result = world.run(Command::StoreMany { address: bob(), items });
    assert!(matches!(&result, Ok(Answer::Stored(proofs)) if proofs.len() == 60), "{result:?}");
    assert!(world.now.since(START) >= Span::from_secs(60));
}

#[test]
fn a_node_that_is_never_content_with_the_clock_is_left() {
    let mut world = World::new(1, 10);
    for node in &mut world.nodes {
        node.refuse = Some(Box::new(|_, now| {
            let server_time = now + Span::from_secs(9999);
            Some(Refusal::Clock { signed: now, server_time, tolerance: CLOCK_TOLERANCE })
        }));
    }
    let id = world.command(store());
    world.pass(Span::from_millis(200));
    assert!(!world.done.contains_key(&id));
    let most = world.nodes.iter().map(|node| node.asked.len()).max();
    assert_eq!(most, Some(2), "asked, and once more");
}

#[test]
fn a_used_signature_is_made_anew() {
    let mut world = World::new(1, 1);
    refuse_first(&mut world, 1, &Refusal::SignatureReused);
    assert!(matches!(world.run(read()), Ok(Answer::Pages(_))));
    let bytes = |request: &CheckedRequest| match &request.operations[0] {
        Ok(CheckedOperation::Owner(owner)) => owner.signed_bytes(Default::default()),
        other => panic!("{other:?}"),
    };
    let asked = &world.nodes[0].asked;
    assert_ne!(bytes(&asked[0]), bytes(&asked[1]));
}

#[test]
fn keys_are_sent_once_and_again_when_they_are_forgotten() {
    let mut world = World::new(1, 1);
    let read_once = |world: &mut World| {
        world.largest_frame = 0;
        assert!(matches!(world.run(read()), Ok(Answer::Pages(_))));
        world.largest_frame
    };
    assert!(read_once(&mut world) > 6_000, "with both keys");
    assert!(read_once(&mut world) < 4_000, "without");
    assert_eq!(world.client.stats().resigned, 0);
    // Somebody pushed us out of the node's memory.
    world.forget_keys(0);
    assert!(read_once(&mut world) > 6_000, "with the keys again");
    assert_eq!(world.client.stats().resigned, 1);
    assert!(read_once(&mut world) < 4_000);
    // A connection lost is a memory lost.
    world.restart(0);
    world.pass(Span::from_secs(1));
    assert!(read_once(&mut world) > 6_000);
    assert_eq!(world.client.stats().resigned, 1);
}

#[test]
fn a_rate_limit_is_waited_for() {
    let mut world = World::new(1, 10);
    refuse_first(&mut world, 1, &Refusal::RateLimited { retry_after: Span::from_secs(3) });
    stored(&world.run(store()));
    let took = world.now.since(START).as_millis();
    assert!((3_000..3_500).contains(&took), "{took} ms");
    let most = world.nodes.iter().map(|node| node.asked.len()).max();
    assert_eq!(most, Some(2), "the same node is asked again");
}

// Waiting longer than the command has is of no use; another node may have time.
#[test]
fn a_rate_limit_that_is_too_long_is_a_reason_to_leave() {
    let mut world = World::new(1, 2);
    let busy = Refusal::RateLimited { retry_after: Span::from_secs(3600) };
    refuse_first(&mut world, 1, &busy);
    stored(&world.run(store()));
    assert!(world.now.since(START) < Span::from_secs(1));
}

#[test]
fn a_node_that_cannot_now_is_left_at_once() {
    for refusal in [
        Refusal::not_ready("starting"),
        Refusal::DiskFull,
        Refusal::NotEnoughReplicas { stored: 6, needed: 7 },
        Refusal::internal("x"),
    ] {
        let mut world = World::new(1, 10);
        let told = Rc::new(Cell::new(0));
        for node in &mut world.nodes {
            let (told, refusal) = (Rc::clone(&told), refusal.clone());
            node.refuse = Some(Box::new(move |_, _| {
                told.set(told.get() + 1);
                (told.get() < 4).then(|| refusal.clone())
            }));
        }
        stored(&world.run(store()));
        assert!(world.now.since(START) < Span::from_secs(1), "{refusal}");
        let most = world.nodes.iter().map(|node| node.asked.len()).max();
        assert_eq!((most, asked(&world)), (Some(1), 4), "four different nodes");
    }
}

// One node must not be able to end a command with a lie; two are believed.
#[test]
fn a_refusal_for_good_needs_a_second_node() {
    let full = Refusal::InboxFull { field: session_core::Text::new("items").unwrap(), limit: 9 };
    let mut world = World::new(1, 10);
    refuse_first(&mut world, 1, &full);
    let result = world.run(store());
    assert!(
        matches!(&result, Err(Error::Refused { refusal, .. }) if *refusal == full),
        "{result:?}"
    );
    assert_eq!(asked(&world), 2);

    let mut world = World::new(1, 10);
    let told = Rc::new(Cell::new(false));
    for node in &mut world.nodes {
        let (told, full) = (Rc::clone(&told), full.clone());
        node.refuse = Some(Box::new(move |_, _| (!told.replace(true)).then(|| full.clone())));
    }
    stored(&world.run(store()));

    // Where there is only one node, it is believed alone.
    let mut world = World::new(1, 1);
    refuse_first(&mut world, 1, &full);
    assert!(matches!(world.run(store()), Err(Error::Refused { .. })));
}

fn two_swarms(seed: u64) -> (World, SwarmId, SwarmId) {
    let swarms = [SwarmId(0), SwarmId(1 << 63)];
    let world = World::with(seed, &[(swarms[0], 5), (swarms[1], 5)], |_| {});
    let expected = placement::nearest(&bob(), &swarms).unwrap();
    let other = if expected == swarms[0] { swarms[1] } else { swarms[0] };
    (world, expected, other)
}

fn members(world: &World, swarm: SwarmId) -> Vec<usize> {
    use session_protocol::Membership as _;
    world.membership.members(swarm).into_iter().map(|id| world.index(id)).collect()
}

#[test]
fn the_right_swarm_is_asked() {
    let (mut world, expected, other) = two_swarms(1);
    let result = world.run(store());
    let Ok(Answer::Stored(proofs)) = result else { panic!("{result:?}") };
    assert_eq!(proofs[0].receipts[0].receipt.swarm, expected);
    assert!(members(&world, other).iter().all(|node| world.nodes[*node].asked.is_empty()));
}

#[test]
fn two_nodes_can_send_us_to_another_swarm() {
    let (mut world, expected, other) = two_swarms(2);
    for node in members(&world, expected) {
        world.nodes[node].refuse = Some(Box::new(move |_, _| {
            Some(Refusal::WrongSwarm { swarm: other, members: List::new(vec![]).unwrap() })
        }));
    }
    let result = world.run(store());
    let Ok(Answer::Stored(proofs)) = result else { panic!("{result:?}") };
    assert_eq!((proofs[0].of, proofs[0].needed), (5, 4));
    assert!(proofs[0].receipts.iter().all(|receipt| receipt.receipt.swarm == other));
    assert_eq!((world.client.stats().redirects, asked(&world)), (1, 3));
}

#[test]
fn one_node_cannot() {
    let (mut world, expected, other) = two_swarms(3);
    let told = Rc::new(Cell::new(false));
    for node in members(&world, expected) {
        let told = Rc::clone(&told);
        world.nodes[node].refuse = Some(Box::new(move |_, _| {
            let refusal = Refusal::WrongSwarm { swarm: other, members: List::new(vec![]).unwrap() };
            (!told.replace(true)).then_some(refusal)
        }));
    }
    let result = world.run(store());
    let Ok(Answer::Stored(proofs)) = result else { panic!("{result:?}") };
    assert_eq!(proofs[0].receipts[0].receipt.swarm, expected);
    assert_eq!(world.client.stats().redirects, 0);
}

#[test]
fn swarms_that_send_us_to_each_other_are_not_followed_forever() {
    let (mut world, expected, other) = two_swarms(4);
    for (from, to) in [(expected, other), (other, expected)] {
        for node in members(&world, from) {
            world.nodes[node].refuse = Some(Box::new(move |_, _| {
                Some(Refusal::WrongSwarm { swarm: to, members: List::new(vec![]).unwrap() })
            }));
        }
    }
    let error = last(world.run(store()));
    let wrong_swarm = |refusal: &Refusal| matches!(refusal, Refusal::WrongSwarm { .. });
    assert!(matches!(&error, Error::Refused { refusal, .. } if wrong_swarm(refusal)), "{error:?}");
    assert_eq!(world.client.stats().redirects, 1);
    assert!(asked(&world) < 100, "{}", asked(&world));
}

#[test]
fn what_no_node_would_take_is_not_sent() {
    let mut world = World::new(1, 3);
    let data = || ItemBytes::new(*b"x").unwrap();
    let with = |namespace, ttl| NewItem { namespace, ttl, data: data() };
    let mut refusal = |item: NewItem| match world.run(Command::Store { address: bob(), item }) {
        Err(Error::Invalid(refusal)) => refusal.name(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(with(Namespace(77), Span::from_days(1))), "unknown_namespace");
    assert_eq!(refusal(with(MESSAGES, Span::from_secs(9))), "ttl_out_of_range");
    assert_eq!(refusal(with(MESSAGES, Span::from_days(15))), "ttl_out_of_range");
    let many = Command::StoreMany { address: bob(), items: vec![] };
    assert!(matches!(world.run(many), Err(Error::Invalid(_))));
    let none =
        Command::Retrieve { from: Inbox::Own, namespace: MESSAGES, cursors: [].into(), nodes: 0 };
    assert!(matches!(world.run(none), Err(Error::Invalid(_))));
    let stranger = NodeId::from([1; 32]);
    assert_eq!(world.run(Command::Info { node: stranger }), Err(Error::UnknownNode(stranger)));
    assert_eq!(asked(&world), 0);
}

#[test]
fn nodes_can_be_asked_how_they_are() {
    let mut world = World::new(1, 3);
    let node = world.id(1);
    let Ok(Answer::Info(info)) = world.run(Command::Info { node }) else { panic!() };
    assert_eq!(info.node, node);
    let Ok(Answer::Pong { round_trip }) = world.run(Command::Ping { node }) else { panic!() };
    assert_eq!(round_trip, Span::from_millis(20));
    let swarm = world.run(Command::GetSwarm { address: bob() });
    assert!(matches!(swarm, Ok(Answer::Swarm { members, .. }) if members.len() == 3));
    world.kill(1);
    let error = last(world.run(Command::Ping { node }));
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[test]
fn commands_are_bounded_and_wait_their_turn() {
    let mut world = World::with(1, &[(SwarmId(1), 10)], |limits| {
        (limits.commands_max, limits.requests_max) = (50, 4);
    });
    for node in &mut world.nodes {
        node.twist = Some(Box::new(|_, _| None));
    }
    let ids: Vec<u64> = (0..60).map(|_| world.command(store())).collect();
    let busy = ids.iter().filter(|id| world.done.get(id) == Some(&Err(Error::Busy { limit: 50 })));
    assert_eq!(busy.count(), 10);
    world.pass(Span::from_secs(5));
    assert_eq!(asked(&world), 8, "two nodes each for four, and the others wait");
    for node in &mut world.nodes {
        node.twist = None;
    }
    world.pass(Span::from_secs(10));
    let done = ids.iter().filter(|id| matches!(world.done.get(id), Some(Ok(_)))).count();
    assert_eq!((done, world.client.running()), (50, 0));
}

#[test]
fn a_command_can_be_cancelled() {
    let mut world = World::new(1, 3);
    let id = world.command(store());
    world.input(Input::Command { id, command: store() });
    assert_eq!(world.done.remove(&id), Some(Err(Error::Running(id))));
    while world.client.requests_out() == 0 {
        world.pass(Span::from_millis(10));
    }
    world.input(Input::Cancel { id });
    assert_eq!(world.done.remove(&id), Some(Err(Error::Cancelled)));
    assert_eq!(world.client.requests_out(), 0, "nothing is remembered of it");
    world.pass(Span::from_secs(60));
    assert!(world.done.is_empty(), "a late answer is no answer");
    world.input(Input::Cancel { id });
    assert!(world.done.is_empty());
}

#[test]
fn idle_connections_are_closed() {
    let mut world = World::new(1, 10);
    stored(&world.run(store()));
    assert_eq!(world.client.network().connections(), 1);
    world.pass(Span::from_secs(119));
    assert_eq!(world.client.network().connections(), 1);
    world.pass(Span::from_secs(2));
    assert_eq!(world.client.network().connections(), 0);
    stored(&world.run(store()));
}

#[test]
fn a_client_without_an_account_can_store_and_no_more() {
    let world = World::new(1, 3);
    let keys = std::sync::Arc::new(FakeIdentity::new(&[1; 32]));
    let mut config = Config::new(keys, world.membership.clone(), std::sync::Arc::new(FakeVerifier));
    (config.account, config.mode) = (None, Mode::Direct);
    let mut client = Client::new(config);
    let (mut rng, mut effects) = (SeededEntropy::new(1), Vec::new());
    let mut cx = Context { now: START, store: &mut (), rng: &mut rng, effects: &mut effects };
    client.handle(&mut cx, Input::Command { id: 1, command: read() });
    client.handle(&mut cx, Input::Command { id: 2, command: store() });
    assert_eq!(effects[0], Effect::Done { id: 1, result: Err(Error::NoAccount) });
    assert!(matches!(effects[1..], [Effect::Dial { .. }]));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed, 10);
        world.kill(2);
        refuse_first(&mut world, 1, &Refusal::not_ready("starting"));
        let result = world.run(store());
        let asked: Vec<usize> = world.nodes.iter().map(|node| node.asked.len()).collect();
        (format!("{result:?}"), asked, world.now)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
