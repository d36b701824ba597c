//! Storage commitments and audits.

use session_core::{Encode as _, InboxAddress, List, MessageId, SeededEntropy, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::commitment::{Window, tree};
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::inbox::{AccessRule, MESSAGES, message_id};
use session_protocol::membership::{Membership as _, network_id};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::roster::{Duty as Examined, Target};
use session_protocol::schedule::Phase;
use session_storage::{MemoryStore, NewItem, Store as _, Table};

use super::chain::GENESIS;
use super::world::World;
use crate::coordinator::{Fault, Input, Lie, Note, Verdict, scan};

const LIFE: Span = Span::from_days(1);

fn keep(world: &World, index: usize) -> Target {
    Target { node: world.nodes[index].id, duty: Examined::Keep }
}

fn put(store: &mut MemoryStore, owner: &FakeIdentity, data: &[u8]) -> (InboxAddress, MessageId) {
    let address = AccessRule::from(owner.public().account_id()).address();
    let id = message_id(&address, MESSAGES, data);
    let (timestamp, expiry) = (GENESIS - Span::from_secs(600), GENESIS + LIFE);
    let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data };
    store.put_item(&address, item).unwrap();
    store.commit_now();
    (address, id)
}

/// Gives every node the same items, of some owners.
fn fill(world: &mut World, items: usize, bytes: usize) -> Vec<(InboxAddress, MessageId)> {
    let owners: Vec<FakeIdentity> = (0..10).map(|n| FakeIdentity::new(&[n; 32])).collect();
    let mut all = Vec::new();
    for item in 0..items {
        let mut data = vec![0; bytes.max(8)];
        data[..8].copy_from_slice(&(item as u64).to_be_bytes());
        for node in &mut world.nodes {
            let kept = put(&mut node.store, &owners[item % owners.len()], &data);
            if all.len() == item {
                all.push(kept);
            }
        }
    }
    all
}

fn assert_all_keep(world: &World, epoch: u64) {
    for index in 0..world.nodes.len() {
        let votes = world.votes(epoch, &keep(world, index));
        assert_eq!(votes, vec![Some(true); world.nodes.len() - 1], "node {index} in {epoch}");
    }
}

#[test]
fn honest_stores_of_any_size_pass() {
    for items in [0, 1, 32, 33, 10_000] {
        let mut world = World::new(3, 50);
        fill(&mut world, items, 20);
        world.run_to_end(0);
        let commitments: Vec<_> =
            world.chain.commitments.values().map(|of| of.current.unwrap()).collect();
        assert_eq!(commitments.len(), 3);
        assert!(commitments.iter().all(|commitment| commitment.count == items as u64));
        assert!(commitments.iter().all(|commitment| *commitment == commitments[0]));
        world.run_to_end(1);
        assert_all_keep(&world, 1);
        assert_eq!(world.chain.refused, vec![]);
    }
}

#[test]
fn nobody_judges_who_has_committed_to_nothing_yet() {
    let mut world = World::new(3, 51);
    world.run_to_end(0);
    assert_eq!(world.votes(0, &keep(&world, 0)), [None; 2]);
}

#[test]
fn large_items_are_shown_in_pages() {
    let mut world = World::new(3, 52);
    fill(&mut world, 40, 76_800);
    world.run_to_end(1);
    assert_all_keep(&world, 1);
    // 32 items of 75 KiB, ten to a message, for each of six pairs.
    assert_eq!(world.sent["opened"], 6 * 4);
    assert_eq!(world.sent["audit"], 6);
}

#[test]
fn audits_survive_bad_links() {
    let mut world = World::new(4, 53);
    fill(&mut world, 100, 20);
    world.loss = 150;
    world.run_to_end(3);
    let all = (1..=3).flat_map(|epoch| (0..4).map(move |index| (epoch, index)));
    let failed = all.flat_map(|(epoch, index)| world.votes(epoch, &keep(&world, index)));
    assert!(failed.filter(|vote| *vote == Some(false)).count() <= 2, "never a majority");
}

#[test]
fn who_dropped_a_tenth_is_caught() {
    let mut world = World::with_lies(4, 54, &[(1, Lie::DropItems { percent: 10 })]);
    fill(&mut world, 1000, 20);
    world.run_to_end(1);
    assert_eq!(world.votes(1, &keep(&world, 1)), [Some(false); 3]);
    let seen = world.verdicts(0);
    let verdict = seen.iter().find(|(target, _)| *target == keep(&world, 1)).unwrap().1;
    assert_eq!(verdict, Verdict::Failed(Fault::Missing));
    assert_eq!(world.votes(1, &keep(&world, 2)), [Some(true); 3]);
    assert_eq!(world.accused, vec![], "silence is no evidence");
}

#[test]
fn who_opens_another_tree_is_accused() {
    let mut world = World::with_lies(4, 55, &[(1, Lie::CommitElse)]);
    fill(&mut world, 100, 20);
    world.run_to_end(1);
    assert_eq!(world.votes(1, &keep(&world, 1)), [Some(false); 3]);
    let liar = world.nodes[1].id;
    for accuser in [0, 2, 3] {
        let evidence = world.accused.iter().filter(|(by, _)| *by == accuser);
        assert!(evidence.clone().count() >= 1, "node {accuser}");
        for (_, evidence) in evidence {
            assert!(matches!(evidence, Evidence::BadOpening { .. }));
            assert_eq!(evidence.accused(), liar);
        }
    }
}

#[test]
fn mates_with_other_roots_compare_and_commit_again() {
    let mut world = World::new(4, 56);
    fill(&mut world, 50, 20);
    let owner = FakeIdentity::new(&[99; 32]);
    for index in 0..3 {
        put(&mut world.nodes[index].store, &owner, b"node 3 lacks it");
    }
    world.run_to(0, Phase::Ack);
    world.run_until(world.now + Span::from_secs(2));
    let asked: Vec<_> = world.compared.iter().filter(|(index, ..)| *index == 3).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].2.len(), 3, "all others agree");
    let differs =
        |(index, note): &(usize, Note)| *index == 3 && matches!(note, Note::Differs { .. });
    assert!(world.notes.iter().any(differs));
    // What comparing does.
    put(&mut world.nodes[3].store, &owner, b"node 3 lacks it");
    world.run_to(0, Phase::Reveal);
    let roots: Vec<_> =
        world.chain.commitments.values().map(|of| of.current.unwrap().root).collect();
    assert!(roots.iter().all(|root| *root == roots[0]), "it committed again");
    world.run_to_end(1);
    assert_all_keep(&world, 1);
}

#[test]
fn before_each_window_closes_mates_are_compared_with() {
    let mut world = World::new(3, 57);
    world.run_to_end(0);
    let pairs: usize = world.compared.iter().map(|(_, _, nodes)| nodes.len()).sum();
    assert_eq!(pairs, 3, "each pair once");
}

#[test]
fn a_restart_forgets_no_commitment_and_removed_items_are_excused() {
    let mut world = World::new(3, 58);
    let items = fill(&mut world, 30, 20);
    world.run_to(0, Phase::Reveal);
    // The owner of the first inbox removes what is in it, everywhere.
    let owner = FakeIdentity::new(&[0; 32]);
    let address = items[0].0;
    let ids: Vec<MessageId> =
        items.iter().filter(|(of, _)| *of == address).map(|(_, id)| *id).collect();
    assert_eq!(ids.len(), 3);
    let action = OwnerAction::Delete { ids: List::new(ids.clone()).unwrap() };
    let mut rng = SeededEntropy::new(1);
    let network = network_id("test");
    let operation = OwnerOperation::sign(network, &owner, action, world.now, &mut rng);
    let until = world.now + LIFE;
    for node in &mut world.nodes {
        let id = operation.signed_bytes(network);
        let key = [address.as_ref(), &id[..]].concat();
        node.store.put_record(Table::Operation, &key, &operation.to_bytes(), until).unwrap();
        for id in &ids {
            assert!(node.store.remove_item(&address, id, until).unwrap());
        }
        node.store.commit_now();
    }
    for index in 0..3 {
        world.stop(index);
    }
    for index in 0..3 {
        world.start(index);
    }
    world.run_to_end(1);
    assert_all_keep(&world, 1);
    // Without the order nothing excuses it.
    let lost = items.iter().find(|(of, _)| *of != address).unwrap();
    world.nodes[2].store.remove_item(&lost.0, &lost.1, until).unwrap();
    world.nodes[2].store.commit_now();
    world.run_to_end(2);
    assert_eq!(world.votes(2, &keep(&world, 2)), [Some(false); 2]);
}

#[test]
fn strangers_and_those_who_ask_too_much_are_shown_nothing() {
    let mut world = World::new(3, 59);
    fill(&mut world, 100, 20);
    world.run_to(1, Phase::Deal);
    world.run_until(world.now + Span::from_secs(1));
    let before = world.sent.get("opened").copied().unwrap_or(0);
    let (stranger, mate) = (session_core::NodeId::from([5; 32]), world.nodes[1].id);
    let audit = |leaves: Vec<u64>| {
        let leaves = List::new(leaves).unwrap();
        Box::new(Duty::Audit { epoch: session_core::Epoch(0), leaves })
    };
    world.give(0, Input::FromPeer { node: stranger, duty: audit(vec![0]) });
    assert_eq!(world.sent.get("opened").copied().unwrap_or(0), before);
    for _ in 0..20 {
        world.give(0, Input::FromPeer { node: mate, duty: audit((0..32).collect()) });
    }
    let faults = world
        .notes
        .iter()
        .filter(|(index, note)| *index == 0 && matches!(note, Note::PeerFault { .. }));
    assert_eq!(faults.count(), 1 + 16);
}

#[test]
fn only_settled_items_of_the_own_swarm_that_live_on_are_committed_to() {
    let mut world = World::new(3, 60);
    let view = world.chain.view();
    let window = Window::of(&view.epoch.schedule, view.params.settle);
    let store = &mut world.nodes[0].store;
    let address = InboxAddress::from([1; 32]);
    let times = [
        (window.sent_until, window.expire_after + Span::from_millis(1), true),
        (window.sent_until + Span::from_millis(1), Time::MAX, false),
        (window.sent_until, window.expire_after, false),
    ];
    let mut expected = Vec::new();
    for (number, (timestamp, expiry, is_in)) in times.into_iter().enumerate() {
        let data = [u8::try_from(number).unwrap()];
        let id = message_id(&address, MESSAGES, &data);
        let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data: &data };
        store.put_item(&address, item).unwrap();
        if is_in {
            expected.push(id);
        }
    }
    let ours = view.membership.swarms()[0];
    let (leaves, bytes) = scan(store, &*view.membership, ours, &window);
    let found: Vec<MessageId> = leaves.iter().map(|leaf| leaf.message).collect();
    assert_eq!((found, bytes), (expected, 1));
    let other = session_core::SwarmId(1);
    assert_eq!(scan(store, &*view.membership, other, &window), (vec![], 0));
    assert_eq!(tree(&[]).count(), 0);
}

#[test]
fn who_may_lack_something_commits_only_once_it_is_complete() {
    let mut world = World::new(3, 61);
    fill(&mut world, 10, 20);
    world.give(2, Input::Complete(false));
    world.run_to(0, Phase::Ack);
    let node = world.nodes[2].id;
    assert_eq!(world.chain.commitments.len(), 2);
    assert!(!world.chain.commitments.contains_key(&node));
    world.give(2, Input::Complete(true));
    world.run_to(0, Phase::Reveal);
    let commitments: Vec<_> = world.chain.commitments.values().map(|of| of.current).collect();
    assert_eq!(commitments, [commitments[0]; 3]);
}
