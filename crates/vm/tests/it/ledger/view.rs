//! What nodes see of the chain: the same whether it was read anew or taken over.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{BlockId, Entropy as _, Epoch, NodeId, Span, SwarmId, Text};
use session_crypto::Signer as _;
use session_protocol::Membership;
use session_protocol::beacon::{Dealt, OneTimeSecrets};
use session_protocol::chain::Action;
use session_protocol::chain::transaction::bitmap;
use session_protocol::chain::view::{ChainMembership, ChainView};
use session_protocol::membership::NO_SWARM;
use session_protocol::membership::network_id;
use session_protocol::roster::Target;
use session_protocol::schedule::Phase;
use session_vm::chain::BlockInfo;
use session_vm::query;
use session_vm::records::{OpenSessions, Params};
use session_vm::view::chain_view;

use super::world::{HOUR, PEOPLE, START, World, genesis};

fn info(world: &World) -> BlockInfo {
    BlockInfo {
        id: BlockId::from([world.height as u8; 32]),
        parent: BlockId::default(),
        height: world.height,
        time: world.now,
        state_root: world.state.root(),
        transactions: 0,
        bytes: Arc::from([]),
    }
}

pub(super) fn view(world: &World, last: Option<&ChainView>) -> ChainView {
    chain_view(&world.state, world.chain, &info(world), last)
}

type Places = (Vec<(NodeId, String, SwarmId)>, BTreeMap<SwarmId, Vec<NodeId>>);

fn places(membership: &ChainMembership) -> Places {
    let nodes = membership.nodes().into_iter();
    let nodes = nodes.map(|(id, record)| (id, record.address.to_string(), record.swarm)).collect();
    let swarms = membership.swarms().into_iter();
    (nodes, swarms.map(|swarm| (swarm, membership.members(swarm))).collect())
}

fn assert_same(shared: &ChainView, fresh: &ChainView) {
    assert_eq!((shared.chain, shared.genesis), (fresh.chain, fresh.genesis));
    assert_eq!((shared.height, shared.block, shared.time), (fresh.height, fresh.block, fresh.time));
    assert_eq!((shared.params, shared.epoch), (fresh.params, fresh.epoch));
    assert_eq!(places(&shared.membership), places(&fresh.membership));
    assert_eq!(places(&shared.former), places(&fresh.former));
    assert_eq!(shared.roster, fresh.roster);
    assert_eq!(shared.seats, fresh.seats);
    assert_eq!(shared.commitments, fresh.commitments);
    assert_eq!(shared.beacon, fresh.beacon);
    assert_eq!(shared.voted, fresh.voted);
    assert_eq!(shared.beacon_keys, fresh.beacon_keys);
    assert_eq!(shared.accused, fresh.accused);
    assert_eq!(shared.sessions, fresh.sessions);
    assert_eq!(shared.read, fresh.read);
    // Nodes compare heights with each other, whenever each of them began to read.
    assert_eq!(shared.membership.height(), fresh.membership.height());
    assert_eq!(shared.former.height(), fresh.former.height());
}

/// Does something at random; whatever is refused is refused.
fn step(world: &mut World, number: u64) {
    let who = world.rng.below(PEOPLE as u64) as usize;
    let nodes: Vec<NodeId> =
        query::nodes(&world.state, None, usize::MAX).into_iter().map(|(id, _)| id).collect();
    let node = nodes[world.rng.below(nodes.len() as u64) as usize];
    let epoch = Epoch(world.epoch().0 + 1);
    let outcome = match world.rng.below(14) {
        0 | 1 => {
            let new = world.make_node();
            let action = world.register(who, &new, &format!("n{number}:1"));
            world.run(who, action)
        }
        2 => world.run(who, Action::Decommission { node }),
        3 => world.run(who, Action::Withdraw { node }),
        4 => {
            let new = world.make_node();
            let action = world.rotate(who, node, &new);
            world.run(who, action)
        }
        5 => world.duty(&node, Action::Drain { epochs: 1 }),
        6 => {
            let secrets = OneTimeSecrets::new(&world.nodes[&node], &world.chain, epoch, 64);
            world.duty(&node, Action::RegisterBeaconKey { key: secrets.key() })
        }
        7 => {
            let dealing = Dealt::new(&[1; 32], 5).dealing();
            world.duty(&node, Action::BeaconDeal { epoch, dealing })
        }
        8 => {
            let dealers = query::beacon(&world.state).dealers.len();
            world.duty(&node, Action::BeaconAck { epoch, dealings: bitmap(dealers, []) })
        }
        9 if world.node(&node).status.seat().is_some() => {
            let (node, action) = world.commit(&node);
            world.duty(&node, action)
        }
        11 => {
            let time_max = Span::from_millis(1 + world.rng.below(2 * HOUR.as_millis()));
            let (program, input) = (world.bytes32().into(), world.bytes32().into());
            let service = [world.rng.below(3) as u8; 32].into();
            world.run(who, Action::CreateSession { service, program, input, time_max })
        }
        12 | 13 => {
            let open: Vec<_> = query::entries::<OpenSessions>(&world.state).collect();
            let Some((session, anchor)) = open.first() else { return };
            let member = query::session(&world.state, session).unwrap();
            let member = query::session_members(&world.state, &member).next().unwrap();
            let (session, reason) = (*session, Text::new("deadline").unwrap());
            match anchor.started {
                None => world.duty(&member, Action::StartSession { session }),
                Some(_) => {
                    world.duty(&member, Action::FailSession { session, reason, certificate: None })
                }
            }
        }
        _ => {
            let (node, action) = world.vote(&world.roster(), &node, |_: &Target| Some(true));
            world.duty(&node, action)
        }
    };
    let _ = outcome;
    let span = world.rng.below(HOUR.as_millis() / 6);
    world.pass(Span::from_millis(span));
}

#[test]
fn what_is_taken_over_is_what_would_be_read() {
    for seed in 0..6 {
        let mut genesis = genesis(6);
        genesis.params =
            Params { swarm_size: 3, unbonding: Span::from_secs(7200), ..Params::default() };
        let mut world = World::of(&genesis, 6, seed);
        let mut last = view(&world, None);
        let (mut taken_over, mut blocks) = (0, 0);
        for number in 0..150 {
            step(&mut world, number);
            let next = view(&world, Some(&last));
            assert_same(&next, &view(&world, None));
            let changed = places(&next.membership) != places(&last.membership);
            assert_eq!(changed, !Arc::ptr_eq(&next.membership, &last.membership));
            assert_eq!(changed, next.membership.height() > last.membership.height());
            assert!(next.former.height() >= last.former.height());
            assert!(next.former.height() <= next.membership.height());
            taken_over += u64::from(Arc::ptr_eq(&next.roster, &last.roster));
            blocks += 1;
            last = next;
        }
        assert!(taken_over > blocks / 2 && taken_over < blocks, "{taken_over} of {blocks}");
    }
}

#[test]
fn a_block_that_changes_nothing_shares_everything() {
    let mut world = World::new(8);
    let first = view(&world, None);
    let to = world.id(2);
    let amount = session_protocol::chain::Amount::lux(1);
    world.run(1, Action::Transfer { to, amount }).unwrap();
    let second = view(&world, Some(&first));
    assert_eq!((first.height, second.height), (0, 1));
    assert!(Arc::ptr_eq(&first.membership, &second.membership));
    assert!(Arc::ptr_eq(&first.former, &second.former));
    assert!(Arc::ptr_eq(&first.roster, &second.roster));
    assert!(Arc::ptr_eq(&first.seats, &second.seats));
    assert!(Arc::ptr_eq(&first.commitments, &second.commitments));
    assert!(Arc::ptr_eq(&first.voted, &second.voted));
    assert!(Arc::ptr_eq(&first.beacon_keys, &second.beacon_keys));
    assert!(Arc::ptr_eq(&first.accused, &second.accused));
    // One commitment changes the commitments alone.
    let node = world.roster().nodes()[0];
    let (node, action) = world.commit(&node);
    world.duty(&node, action).unwrap();
    let third = view(&world, Some(&second));
    assert!(Arc::ptr_eq(&third.membership, &second.membership));
    assert!(Arc::ptr_eq(&third.roster, &second.roster));
    assert!(third.commitments[&node].current.is_some() && second.commitments.is_empty());
    // A view of another chain is no help.
    let other = ChainView { chain: [9; 32].into(), ..second };
    assert!(!Arc::ptr_eq(&view(&world, Some(&other)).membership, &other.membership));
}

#[test]
fn a_view_says_who_is_where_and_who_was() {
    let mut world = World::new(10);
    let start = view(&world, None);
    assert_eq!(start.membership.network(), network_id("test"));
    assert_eq!(start.genesis, START);
    assert_eq!(start.membership.members(SwarmId(7)).len(), 10);
    assert!(Arc::ptr_eq(&start.former, &start.membership), "nothing moved");
    assert_eq!(start.round().epoch, Epoch(1));
    world.next_epoch();
    let mut waiting = Vec::new();
    for number in 0..10 {
        let node = world.make_node();
        let action = world.register(number % PEOPLE, &node, &format!("n{number}:1"));
        world.run(number % PEOPLE, action).unwrap();
        waiting.push(node);
    }
    let registered = view(&world, Some(&start));
    let record = registered.membership.node(&waiting[0]).unwrap();
    assert_eq!((record.swarm, &*record.address), (NO_SWARM, "n0:1"));
    let key = world.nodes[&waiting[0]].public().dsa();
    assert_eq!(registered.membership.node_of_key(key), Some(waiting[0]));
    assert!(registered.membership.members(NO_SWARM).is_empty());
    assert_eq!(registered.seats.len(), 10);

    world.next_epoch();
    world.next_epoch();
    let split = view(&world, Some(&registered));
    assert_eq!(split.membership.swarms().len(), 2);
    assert_eq!(split.former.swarms(), [SwarmId(7)]);
    let mut former = split.former.members(SwarmId(7));
    former.sort_unstable();
    assert_eq!(former, start.membership.members(SwarmId(7)));
    assert!(waiting.iter().all(|node| split.former.node(node).unwrap().swarm == NO_SWARM));
    assert_eq!(split.roster.nodes().len(), 20);
    world.next_epoch();
    let settled = view(&world, Some(&split));
    assert!(Arc::ptr_eq(&settled.former, &settled.membership));
    assert!(Arc::ptr_eq(&settled.membership, &split.membership));
}

#[test]
fn a_view_says_who_rests_and_who_leaves() {
    let mut world = World::new(4);
    world.next_epoch();
    let [rests, leaves, ..] = world.roster().nodes()[..] else { panic!("four nodes") };
    world.duty(&rests, Action::Drain { epochs: 1 }).unwrap();
    world.run(0, Action::Decommission { node: leaves }).unwrap();
    let now = view(&world, None);
    let seat = |node| (now.seats[&node].draining, now.seats[&node].leaving);
    assert_eq!((seat(rests), seat(leaves)), ((true, false), (false, true)));
    world.next_epoch();
    let next = view(&world, Some(&now));
    assert!(!next.seats.contains_key(&leaves) && !next.seats[&rests].draining);
    let (current, former) = (next.membership.node(&leaves), next.former.node(&leaves));
    assert_eq!(current.unwrap().swarm, NO_SWARM, "it can still hand over what it has");
    assert_eq!(former.unwrap().swarm, SwarmId(7));
    world.until(Phase::Recover);
    world.pass(Span::from_days(15));
    world.run(0, Action::Withdraw { node: leaves }).unwrap();
    let gone = view(&world, Some(&next));
    assert!(gone.membership.node(&leaves).is_none() && gone.former.node(&leaves).is_none());
}
