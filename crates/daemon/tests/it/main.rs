//! Whole nodes: handshakes, stores over connections, local callers, stops and returns.

mod onions;
mod sessions;
mod world;

use session_core::{List, Span};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::Membership as _;
use session_protocol::inbox::{AccessRule, MESSAGES};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{ItemBytes, Operation, Outcome, Refusal};
use session_storage::Store as _;
use world::World;

fn alice() -> FakeIdentity {
    FakeIdentity::new(&[7; 32])
}

fn store(world: &World, text: &str) -> Operation {
    Operation::Store {
        address: AccessRule::from(alice().public().account_id()).address(),
        namespace: MESSAGES,
        timestamp: world.now,
        ttl: Span::from_days(1),
        data: ItemBytes::new(text.as_bytes()).unwrap(),
    }
}

fn subscribe(world: &mut World, index: usize) -> Operation {
    let audience = world.nodes[index].id;
    let namespaces = List::new([MESSAGES]).unwrap();
    let action = OwnerAction::Subscribe { namespaces, audience };
    let network = world.membership.network();
    let signed = OwnerOperation::sign(network, &alice(), action, world.now, &mut world.rng);
    Operation::Owner { operation: Box::new(signed) }
}

#[test]
fn nodes_find_each_other_and_become_ready() {
    let mut world = World::new(4);
    let ready = |world: &World, index: usize| {
        let node = &world.nodes[index];
        node.daemon.health(&node.store).ready
    };
    assert!(!ready(&world, 0), "alone, a node is not ready");
    world.advance(Span::from_secs(1));
    for index in 0..4 {
        let health = world.nodes[index].daemon.health(&world.nodes[index].store);
        assert!(health.ready);
        assert_eq!((health.swarm.members_up, health.swarm.quorum), (4, 3));
        assert_eq!(health.peers.len(), 3);
    }
    world.stop(1);
    world.advance(Span::from_secs(1));
    assert!(ready(&world, 0), "three of four are a quorum");
    world.stop(2);
    world.advance(Span::from_secs(1));
    assert!(!ready(&world, 0), "two are not");
}

#[test]
fn a_client_stores_and_a_subscriber_hears_of_it() {
    let mut world = World::new(4);
    world.advance(Span::from_secs(1));
    world.connect_client(2);
    let operation = subscribe(&mut world, 2);
    world.ask(2, 1, vec![operation]);
    assert!(matches!(world.replies[0].outcomes[0], Outcome::Subscribed { .. }));
    // A local caller of another node stores.
    let operation = store(&world, "hello");
    world.ask_locally(0, 42, vec![operation]);
    let (id, reply) = &world.local[0];
    let Outcome::Stored { message, receipts, .. } = &reply.outcomes[0] else { panic!("{reply:?}") };
    assert_eq!(*id, 42);
    assert!(receipts.len() >= 3);
    assert_eq!(world.pushes.len(), 1);
    assert_eq!(world.pushes[0].item.id, *message);

    // The client stores as well, and the reply finds its way back.
    let operation = store(&world, "back");
    world.ask(2, 9, vec![operation, Operation::Info]);
    let reply = world.replies.last().unwrap();
    assert_eq!(reply.id, 9);
    assert!(matches!(reply.outcomes[0], Outcome::Stored { .. }));
    let Outcome::Info { info } = &reply.outcomes[1] else { panic!("{reply:?}") };
    assert_eq!(info.node, world.nodes[2].id);

    // A client and a local caller of the same number are not confused.
    let conn = world.client_conn.unwrap().0;
    let operation = subscribe(&mut world, 2);
    world.ask_locally(2, conn, vec![operation]);
    let operation = store(&world, "both");
    world.ask_locally(0, 43, vec![operation]);
    assert_eq!(world.local_pushes.len(), 1);
    assert_eq!(world.pushes.len(), 3);
    world.feed(2, vec![session_daemon::Input::LocalGone { id: conn }], false);
    let operation = store(&world, "one");
    world.ask_locally(0, 44, vec![operation]);
    assert_eq!((world.local_pushes.len(), world.pushes.len()), (1, 4));
}

#[test]
fn a_node_that_returns_is_repaired_over_its_connections() {
    let mut world = World::new(4);
    world.advance(Span::from_secs(1));
    world.stop(3);
    world.run();
    for n in 0..30 {
        let operation = store(&world, &format!("message {n}"));
        world.ask_locally(0, n, vec![operation]);
    }
    assert_eq!(world.local.len(), 30);
    assert!(
        world.local.iter().all(|(_, reply)| matches!(reply.outcomes[0], Outcome::Stored { .. }))
    );
    assert_eq!(world.nodes[3].store.stats().items, 0);
    world.start(3);
    world.advance(Span::from_secs(30));
    assert_eq!(world.nodes[3].store.stats().items, 30);
    let health = world.nodes[0].daemon.health(&world.nodes[0].store);
    assert_eq!(health.network_stats.refused.penalized, 0);
    assert_eq!(health.swarm_stats.misbehaved, 0);
}

#[test]
fn a_stopping_node_answers_that_it_is_not_ready() {
    let mut world = World::new(4);
    world.advance(Span::from_secs(1));
    world.connect_client(1);
    world.nodes[1].daemon.drain();
    let operation = store(&world, "late");
    world.ask(1, 3, vec![operation]);
    let Outcome::Refused { refusal } = &world.replies[0].outcomes[0] else { panic!() };
    assert!(matches!(refusal, Refusal::NotReady { .. }));
    assert!(!world.nodes[1].daemon.health(&world.nodes[1].store).ready);
}

#[test]
fn a_client_over_its_limits_is_told_when_to_come_back() {
    let mut world = World::new(1);
    world.advance(Span::from_secs(1));
    world.connect_client(0);
    // Only an attacker goes on after the first refusal; he is disconnected some time later.
    for id in 0..100_000 {
        world.ask(0, id, vec![Operation::Info, Operation::Info]);
        let reply = world.replies.pop().expect("everything is answered");
        assert_eq!((reply.id, reply.outcomes.len()), (id, 2));
        let refused = |outcome: &Outcome| {
            matches!(outcome, Outcome::Refused { refusal: Refusal::RateLimited { .. } })
        };
        if reply.outcomes.iter().any(refused) {
            assert!(reply.outcomes.iter().all(refused));
            return;
        }
    }
    panic!("a client may ask without end");
}
