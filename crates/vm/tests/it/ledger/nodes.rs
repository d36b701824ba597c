use session_core::{Epoch, Span, SwarmId};
use session_crypto::Signer as _;
use session_crypto::{DsaPublicKey, KemPublicKey, PublicIdentity, fake::FakeIdentity};
use session_protocol::chain::{Action, Amount};
use session_vm::ledger::{Rejection, is_endpoint};
use session_vm::query;
use session_vm::records::{LpStatus, NodeStatus, SeedStatus};

use super::world::{HOUR, World};

const OWNER: usize = 1;
const OTHER: usize = 2;

#[test]
fn a_node_lives_from_registration_to_withdrawal() {
    let mut world = World::new(3);
    world.next_epoch();
    let node = world.make_node();
    let action = world.register(OWNER, &node, "one:9651");
    world.run(OWNER, action).unwrap();
    let record = query::node(&world.state, &node).unwrap().1;
    assert_eq!(record.status, NodeStatus::Registered);
    assert_eq!((record.stake, record.operator), (Amount::lux(100), world.id(OWNER)));
    assert_eq!(query::active_nodes(&world.state).count(), 3);

    world.next_epoch();
    assert_eq!(world.node(&node).status, NodeStatus::Registered, "two epochs, so that nobody");
    world.next_epoch(); // knows the randomness that chooses its swarm
    let (swarm, since) = (SwarmId(7), Epoch(3));
    assert_eq!(world.node(&node).status, NodeStatus::Active { swarm, since });
    assert!(query::active_nodes(&world.state).any(|seat| seat == (swarm, node)));

    assert_eq!(
        world.run(OWNER, Action::Withdraw { node }),
        Err(Rejection::NotDecommissioned { status: "active" })
    );
    world.run(OWNER, Action::Decommission { node }).unwrap();
    // Its seat is its own until the epoch ends.
    assert_eq!(world.node(&node).status, NodeStatus::Leaving { swarm, since });
    assert_eq!(query::active_nodes(&world.state).count(), 4);
    assert_eq!(
        world.run(OWNER, Action::Decommission { node }),
        Err(Rejection::NodeNotActive { status: "leaving" })
    );
    assert_eq!(
        world.run(OWNER, Action::Withdraw { node }),
        Err(Rejection::NotDecommissioned { status: "leaving" })
    );
    world.next_epoch();
    let until = world.now + query::params(&world.state).unbonding;
    assert_eq!(world.node(&node).status, NodeStatus::Decommissioning { until });
    assert_eq!(query::active_nodes(&world.state).count(), 3);

    world.pass(Span::from_millis(query::params(&world.state).unbonding.as_millis() - 1));
    let time = world.now;
    assert_eq!(
        world.run(OWNER, Action::Withdraw { node }),
        Err(Rejection::Unbonding { until, time })
    );
    world.pass(Span::from_millis(1));
    let before = world.balance(OWNER);
    world.run(OWNER, Action::Withdraw { node }).unwrap();
    assert!(world.balance(OWNER).0 > before.0 + Amount::lux(99).0);
    let record = query::node(&world.state, &node).unwrap().1;
    assert_eq!(record.status, NodeStatus::Retired { at: world.now });
    assert_eq!(record.stake, Amount::ZERO);
    assert_eq!(
        world.run(OWNER, Action::Withdraw { node }),
        Err(Rejection::NotDecommissioned { status: "retired" })
    );
    let again = world.register(OWNER, &node, "two:9651");
    assert_eq!(world.run(OWNER, again), Err(Rejection::NodeRegistered { node }));
    // The endpoint is free again.
    let next = world.make_node();
    let action = world.register(OTHER, &next, "one:9651");
    world.run(OTHER, action).unwrap();
}

#[test]
fn a_node_that_never_had_a_seat_leaves_at_once() {
    let mut world = World::new(3);
    world.next_epoch();
    let node = world.make_node();
    let action = world.register(OWNER, &node, "one:9651");
    world.run(OWNER, action).unwrap();
    world.run(OWNER, Action::Decommission { node }).unwrap();
    let until = world.now + query::params(&world.state).unbonding;
    assert_eq!(world.node(&node).status, NodeStatus::Decommissioning { until });
}

#[test]
fn ids_keys_and_endpoints_belong_to_one_node() {
    let mut world = World::new(0);
    let node = world.make_node();
    let action = world.register(OWNER, &node, "one:9651");
    world.run(OWNER, action).unwrap();

    let again = world.register(OTHER, &node, "two:9651");
    let refused = world.run(OTHER, again).unwrap_err();
    assert_eq!(refused, Rejection::NodeRegistered { node });
    assert_eq!(refused.to_string(), "node already registered");

    let second = world.make_node();
    let same_place = world.register(OTHER, &second, "ONE:9651");
    let refused = world.run(OTHER, same_place).unwrap_err();
    assert_eq!(refused, Rejection::EndpointRegistered { node });
    assert_eq!(refused.to_string(), "endpoint already registered");

    // Another ML-KEM key makes another id of the same signing key.
    let mixed = mixed_identity(&world.nodes[&node], &world.nodes[&second]);
    let possession = session_protocol::chain::transaction::Possession {
        chain: world.chain,
        operator: world.id(OTHER),
        node: mixed.node_id(),
        endpoint: session_core::Text::new("three:9651").unwrap(),
    };
    let action = Action::RegisterServiceNode {
        keys: mixed,
        endpoint: possession.endpoint.clone(),
        stake: Amount::lux(100),
        possession: possession.sign(&world.nodes[&node], &mut world.rng),
    };
    assert_eq!(world.run(OTHER, action), Err(Rejection::SigningKeyRegistered { node }));
}

/// The signing key of one and the ML-KEM key of the other.
fn mixed_identity(signing: &FakeIdentity, kem: &FakeIdentity) -> PublicIdentity {
    let kem: &KemPublicKey = kem.public().kem();
    let dsa: &DsaPublicKey = signing.public().dsa();
    PublicIdentity::new(kem.clone(), dsa.clone())
}

#[test]
fn stakes_and_endpoints_have_rules() {
    let mut world = World::new(0);
    let node = world.make_node();
    let low = Amount(Amount::lux(100).0 - 1);
    let Action::RegisterServiceNode { keys, endpoint, possession, .. } =
        world.register(OWNER, &node, "one:9651")
    else {
        unreachable!("made so")
    };
    let action = Action::RegisterServiceNode { keys, endpoint, stake: low, possession };
    let min = Amount::lux(100);
    assert_eq!(world.run(OWNER, action), Err(Rejection::Stake { got: low, min }));

    let action = world.register(OWNER, &node, "one");
    assert_eq!(world.run(OWNER, action), Err(Rejection::Endpoint));

    for good in ["h:1", "10.0.0.1:9651", "[::1]:65535", "node.example.org:443"] {
        assert!(is_endpoint(good), "{good}");
    }
    for bad in
        ["", "h", ":1", "h:", "h:0", "h:01", "h:+1", "h:65536", "h h:1", "ä:1", "h\n:1", "h:1 "]
    {
        assert!(!is_endpoint(bad), "{bad:?}");
    }
}

#[test]
fn only_the_operator_orders_for_a_node() {
    let mut world = World::new(0);
    let node = world.make_node();
    let action = world.register(OWNER, &node, "one:9651");
    world.run(OWNER, action).unwrap();
    let owner = world.id(OWNER);
    let new = world.make_node();
    let rotate = world.rotate(OTHER, node, &new);
    for action in [Action::Decommission { node }, Action::Withdraw { node }, rotate] {
        assert_eq!(world.run(OTHER, action), Err(Rejection::NotOwner { owner }));
    }
    let node = [9; 32].into();
    let unknown = world.run(OWNER, Action::Decommission { node }).unwrap_err();
    assert_eq!(unknown, Rejection::UnknownNode { node });
    assert_eq!(unknown.to_string(), "node not found");
}

#[test]
fn a_node_is_found_by_every_id_it_ever_had() {
    let mut world = World::new(3);
    let mut ids = vec![*world.nodes.keys().next().unwrap()];
    let seat = query::node(&world.state, &ids[0]).unwrap().1.status;
    assert_eq!(seat, NodeStatus::Active { swarm: SwarmId(7), since: Epoch(0) });
    for turn in 0..4 {
        let new = world.make_node();
        // Any of its ids names it.
        let action = world.rotate(0, ids[turn / 2], &new);
        world.run(0, action).unwrap();
        ids.push(new);
        // Before the epoch ends, the new id leads to the node under its old one.
        assert_eq!(query::current_id(&world.state, &new), Some(ids[turn]));
        world.next_epoch();
        for id in &ids {
            let (current, node) = query::node(&world.state, id).unwrap();
            assert_eq!((current, node.first, node.status), (new, ids[0], seat));
        }
    }
    // No former key comes back, neither by rotation nor by registration.
    for former in ids.clone() {
        let action = world.rotate(0, ids[0], &former);
        assert_eq!(world.run(0, action), Err(Rejection::NodeRegistered { node: former }));
        let action = world.register(1, &former, "new:1");
        assert_eq!(world.run(1, action), Err(Rejection::NodeRegistered { node: former }));
    }
    world.run(0, Action::Decommission { node: ids[1] }).unwrap();
    let new = world.make_node();
    let action = world.rotate(0, ids[4], &new);
    let refused = world.run(0, action).unwrap_err();
    assert_eq!(refused, Rejection::NodeNotActive { status: "leaving" });
    assert_eq!(refused.to_string(), "node not active");
}

#[test]
fn a_node_without_a_seat_takes_new_keys_at_once() {
    let mut world = World::new(3);
    world.next_epoch();
    let mut ids = vec![world.make_node()];
    let action = world.register(OWNER, &ids[0], "one:9651");
    world.run(OWNER, action).unwrap();
    for _ in 0..3 {
        let new = world.make_node();
        let action = world.rotate(OWNER, ids[0], &new);
        world.run(OWNER, action).unwrap();
        ids.push(new);
        for id in &ids {
            assert_eq!(query::current_id(&world.state, id), Some(new));
        }
    }
}

#[test]
fn our_states_have_a_word_in_each_vocabulary() {
    let at = session_core::Time::ZERO;
    let (swarm, since) = (SwarmId(1), Epoch(1));
    let active = NodeStatus::Active { swarm, since };
    let table = [
        (NodeStatus::Registered, SeedStatus::Registered, LpStatus::Active),
        (active, SeedStatus::Active, LpStatus::Active),
        (
            NodeStatus::Suspended { swarm, since, until: since },
            SeedStatus::Suspended,
            LpStatus::Active,
        ),
        (NodeStatus::Leaving { swarm, since }, SeedStatus::Exited, LpStatus::Decommissioning),
        (NodeStatus::Decommissioning { until: at }, SeedStatus::Exited, LpStatus::Decommissioning),
        (NodeStatus::Slashed { until: at }, SeedStatus::Slashed, LpStatus::Decommissioning),
        (NodeStatus::Retired { at }, SeedStatus::Exited, LpStatus::Retired),
    ];
    assert_eq!(NodeStatus::seed(None).to_string(), "unknown");
    let mut lines = Vec::new();
    for (status, seed, lp) in table {
        assert_eq!((NodeStatus::seed(Some(&status)), status.lp()), (seed, lp));
        lines.push(format!("| {} | {seed} | {lp} |", status.name()));
    }
    let published = include_str!("../../../../../docs/wire/chain-state.md");
    for line in lines {
        assert!(published.contains(&line), "docs/wire/chain-state.md lacks {line}");
    }
}

#[test]
fn pages_of_nodes_join() {
    let mut world = World::new(5);
    let all = query::nodes(&world.state, None, 100);
    assert_eq!(all.len(), 5);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = query::nodes(&world.state, after.as_ref(), 2);
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    world.pass(HOUR);
}
