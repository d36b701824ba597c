//! Requests over three nodes, and what becomes of them if one of the three does harm.

use std::collections::BTreeSet;

use session_core::{Blob, Decode as _, Encode as _, List, MessageId, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_daemon::relay::CIRCUIT_TIME;
use session_network::onion::{HopKey, Order, Packet, Path, ReplyKeys, Service, Size};
use session_network::{ConnId, Limits};
use session_protocol::inbox::{AccessRule, MESSAGES};
use session_protocol::onion::{ExitAnswer, Onion, Wait, service};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{Cursor, Operation, Outcome, Refusal, Reply, Request, Select};
use session_protocol::{Membership as _, NodeRecord};

use crate::world::{Harm, World};

const NODES: usize = 6;

fn alice() -> FakeIdentity {
    FakeIdentity::new(&[7; 32])
}

/// Six nodes of one swarm, and a client that is connected to the first one.
fn world() -> World {
    let mut world = World::with_onions(NODES);
    world.advance(Span::from_secs(2));
    world.connect_client(0);
    world
}

/// Reads the keys of all hops from the node that the client is connected to.
fn keys(world: &mut World) -> Vec<HopKey> {
    let all = Operation::HopKeys { bits: 0, bucket: 0, after: None, bytes_max: u32::MAX };
    world.ask(0, 1, vec![all]);
    let reply = world.replies.pop().expect("an answer");
    let [Outcome::HopKeys { keys, more: false }] = &reply.outcomes[..] else { panic!("{reply:?}") };
    let network = world.membership.network();
    let verified = keys.iter().map(|key| {
        let record: &NodeRecord = world.membership.node(&key.record.node).expect("registered");
        key.clone().verify(&network, &record.keys, &FakeVerifier).expect("its node signed it")
    });
    verified.collect()
}

fn path(world: &mut World, hops: [usize; 3]) -> Path {
    let keys = keys(world);
    assert_eq!(keys.len(), NODES, "everybody's");
    let hops = hops.map(|hop| {
        let of = |key: &&HopKey| key.node() == world.nodes[hop].id;
        keys.iter().find(of).expect("its key is known").clone()
    });
    Path::new(hops.to_vec(), world.now).expect("three nodes")
}

/// Sends a request to the last of three nodes; the first is the one that the client has.
fn send(world: &mut World, hops: [usize; 3], number: u16, payload: &[u8]) -> ReplyKeys {
    let path = path(world, hops);
    let (size, answer) = (Size::Bulk, Size::Bulk);
    let order = Order { size, service: Service(number), answer, payload };
    let (packet, keys) = Packet::build(&mut world.rng, &path, &order).expect("it fits");
    world.send_onion(hops[0], 5, packet);
    world.advance(Span::from_millis(10));
    keys
}

fn open(world: &mut World, keys: ReplyKeys) -> Option<Reply> {
    let Onion { circuit, packet } = world.onions.pop()?;
    assert_eq!((circuit, world.onions.len()), (5, 0));
    let packet = Packet::try_from(packet.into_vec()).expect("a node sent it");
    match ExitAnswer::decode_exact(&keys.open(&packet).ok()?).expect("the exit sealed it") {
        ExitAnswer::Reply { reply } => Some(reply),
        other => panic!("{other:?}"),
    }
}

fn ask(world: &mut World, hops: [usize; 3], operation: Operation) -> Option<Outcome> {
    let request = Request { id: 8, operations: List::new([operation]).unwrap() };
    let keys = send(world, hops, service::REQUEST, &request.to_bytes());
    let reply = open(world, keys)?;
    assert_eq!((reply.id, reply.outcomes.len()), (8, 1));
    reply.outcomes.into_iter().next()
}

fn store(now: Time, text: &str) -> Operation {
    Operation::Store {
        address: AccessRule::from(alice().public().account_id()).address(),
        namespace: MESSAGES,
        timestamp: now,
        ttl: Span::from_days(1),
        data: Blob::new(text.as_bytes()).unwrap(),
    }
}

fn signed(world: &mut World, action: OwnerAction) -> Operation {
    let network = world.membership.network();
    let operation = OwnerOperation::sign(network, &alice(), action, world.now, &mut world.rng);
    Operation::Owner { operation: Box::new(operation) }
}

fn read(world: &mut World, at: usize) -> Operation {
    let (namespace, bytes_max) = (MESSAGES, 10_000);
    let select = Select::After { cursor: Cursor::default() };
    let audience = world.nodes[at].id;
    signed(world, OwnerAction::Retrieve { namespace, select, bytes_max, audience })
}

fn stored(outcome: Option<Outcome>) -> MessageId {
    let Some(Outcome::Stored { message, receipts, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(receipts.len() >= 5, "a quorum of six");
    message
}

/// Returns how many items a node has, and how many packets it refused.
fn seen(world: &World, index: usize) -> (u64, u64) {
    let node = &world.nodes[index];
    let health = node.daemon.health(&node.store);
    (health.store.items, health.onions.expect("it is a hop").refused)
}

#[test]
fn an_item_is_stored_and_read_over_three_nodes() {
    let mut world = world();
    let now = world.now;
    let message = stored(ask(&mut world, [0, 1, 2], store(now, "hello")));
    let operation = read(&mut world, 4);
    let Some(Outcome::Items { items, .. }) = ask(&mut world, [0, 3, 4], operation) else {
        panic!("no page")
    };
    assert_eq!((items[0].id, &items[0].data[..]), (message, &b"hello"[..]));
    // What is signed for one exit is refused by another, as over a connection.
    let operation = read(&mut world, 4);
    let outcome = ask(&mut world, [0, 4, 3], operation);
    assert!(
        matches!(outcome, Some(Outcome::Refused { refusal: Refusal::WrongNode { .. } })),
        "{outcome:?}"
    );
}

#[test]
fn somebody_waits_over_three_nodes_for_what_another_one_stores() {
    let mut world = world();
    let audience = world.nodes[2].id;
    let namespaces = List::new([MESSAGES]).unwrap();
    let subscribe = signed(&mut world, OwnerAction::Subscribe { namespaces, audience });
    let operations = List::new([subscribe, read(&mut world, 2)]).unwrap();
    let wait = Wait { wait: Span::from_secs(60), request: Request { id: 8, operations } };
    let keys = send(&mut world, [0, 1, 2], service::WAIT, &wait.to_bytes());
    world.advance(Span::from_secs(50));
    assert!(world.onions.is_empty(), "there is nothing yet");
    let operation = store(world.now, "news");
    world.ask_locally(5, 1, vec![operation]);
    let reply = open(&mut world, keys).expect("an answer");
    let [Outcome::Subscribed { .. }, Outcome::Items { items, .. }] = &reply.outcomes[..] else {
        panic!("{reply:?}")
    };
    assert_eq!(&items[0].data[..], b"news");
    let health = world.nodes[2].daemon.health(&world.nodes[2].store);
    assert_eq!(health.swarm.subscriptions, 0, "it ended with the request");
}

#[test]
fn a_hop_that_crashed_gives_no_answer_and_others_do() {
    let mut world = world();
    let now = world.now;
    world.stop(1);
    assert_eq!(ask(&mut world, [0, 1, 2], store(now, "lost")), None);
    assert_eq!(seen(&world, 2), (0, 0));
    stored(ask(&mut world, [0, 3, 2], store(now, "lost")));
    // Back with other keys than before.
    world.advance(Span::from_secs(61));
    world.restart_with_onions(1);
    world.advance(Span::from_secs(20));
    let now = world.now;
    stored(ask(&mut world, [0, 1, 2], store(now, "found")));
}

/// Asks over a node that does harm: nobody gets more than no answer.
fn harmed(harm: Harm) -> (World, Option<Outcome>) {
    let mut world = world();
    world.harm = Some((1, harm));
    let now = world.now;
    let outcome = ask(&mut world, [0, 1, 2], store(now, "hello"));
    (world, outcome)
}

fn marked(place: usize, onion: Onion) -> Vec<Onion> {
    let mut bytes = onion.packet.into_vec();
    bytes[place] ^= 1;
    vec![Onion { packet: Blob::new(bytes).unwrap(), ..onion }]
}

#[test]
fn what_a_hop_marked_goes_no_further() {
    for harm in
        [|onion| marked(10, onion), |onion| marked(5_000, onion), |onion| marked(30_000, onion)]
            as [Harm; 3]
    {
        let (world, outcome) = harmed(harm);
        assert_eq!((outcome, seen(&world, 2)), (None, (0, 1)));
    }
}

#[test]
fn an_answer_that_a_hop_marked_does_not_open() {
    fn answers(onion: Onion) -> Vec<Onion> {
        let is_answer = onion.packet[1] == 3;
        if is_answer { marked(20_000, onion) } else { vec![onion] }
    }
    let (mut world, outcome) = harmed(answers);
    assert_eq!((outcome, seen(&world, 2)), (None, (1, 0)), "it was stored all the same");
    // Storing again over another path is harmless.
    let now = world.now;
    stored(ask(&mut world, [0, 3, 4], store(now, "hello")));
    world.advance(Span::from_secs(1));
}

#[test]
fn what_a_hop_sends_twice_is_done_once() {
    let (world, outcome) = harmed(|onion| vec![onion.clone(), onion]);
    stored(outcome);
    assert_eq!(seen(&world, 2), (1, 1), "the second one is refused");
    let first = world.nodes[0].daemon.health(&world.nodes[0].store).onions.unwrap();
    assert_eq!((first.answered, first.stray), (1, 1), "and so is the second answer");
}

#[test]
fn what_a_hop_drops_is_forgotten_by_the_others() {
    let (mut world, outcome) = harmed(|_| Vec::new());
    assert_eq!((outcome, seen(&world, 2)), (None, (0, 0)));
    world.advance(CIRCUIT_TIME);
    for index in 0..NODES {
        let stats = world.nodes[index].daemon.health(&world.nodes[index].store).onions.unwrap();
        assert_eq!((stats.circuits, stats.waiting), (0, 0));
    }
}

#[test]
fn hop_keys_are_asked_for_alone_and_of_nodes_that_have_them() {
    let mut world = world();
    let keys = || Operation::HopKeys { bits: 0, bucket: 0, after: None, bytes_max: 0 };
    world.ask(0, 1, vec![keys(), Operation::Info]);
    let reply = world.replies.pop().unwrap();
    assert!(matches!(reply.outcomes[0], Outcome::Refused { refusal: Refusal::BadRequest { .. } }));
    assert!(matches!(reply.outcomes[1], Outcome::Info { .. }));

    let mut world = World::new(1);
    world.advance(Span::from_secs(1));
    world.connect_client(0);
    world.ask(0, 1, vec![keys()]);
    let reply = world.replies.pop().unwrap();
    assert!(matches!(reply.outcomes[0], Outcome::Refused { refusal: Refusal::NotReady { .. } }));
}

#[test]
fn packets_of_nodes_are_opened_at_their_own_rate_and_of_clients_at_theirs() {
    let world = world();
    let rate = Limits::default().peer_onions;
    assert!(world.rates.iter().all(|(_, said)| *said == rate));
    // Both ends of each pair of nodes, and not the end of the client's connection.
    let conns: BTreeSet<ConnId> = world.rates.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(conns.len(), NODES * (NODES - 1));
    let mut quiet = World::new(3);
    quiet.advance(Span::from_secs(2));
    assert!(quiet.rates.is_empty(), "no hops, no packets");
}
