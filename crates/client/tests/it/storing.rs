//! Stores: what counts as proof, and what happens with nodes that have none.

use session_client::{Answer, Command, Effect, Error, NewItem, StoredProof};
use session_core::{Encode as _, InboxAddress, List, SeededEntropy, Span, SwarmId, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeVerifier;
use session_protocol::Membership as _;
use session_protocol::inbound::CheckedOperation;
use session_protocol::inbox::{ATTACHMENTS, MESSAGES, message_id};
use session_protocol::limits::{CLOCK_TOLERANCE, FRAME_BYTES_MAX};
use session_protocol::receipt::{ReceiptPath, SignedRoot, StorageReceipt, sign_receipts};
use session_protocol::request::{ItemBytes, Operation, Outcome, Refusal, Reply};

use crate::asks::bob;
use crate::world::{START, World, path_of};

fn item(data: impl Into<Vec<u8>>) -> NewItem {
    let data = ItemBytes::new(data).unwrap();
    NewItem { namespace: MESSAGES, ttl: Span::from_days(1), data }
}

fn store(data: &[u8]) -> Command {
    Command::Store { address: bob(), item: item(data) }
}

fn proof(result: Result<Answer, Error>) -> StoredProof {
    match result {
        Ok(Answer::Stored(mut proofs)) if proofs.len() == 1 => proofs.remove(0),
        other => panic!("one proof expected, got {other:?}"),
    }
}

/// What becomes of the roots and receipts of a reply.
type Change = Box<dyn Fn(&mut Vec<SignedRoot>, &mut Vec<ReceiptPath>)>;

/// A lie about the receipts of a reply to a store.
type Lie = fn(&World) -> Change;

fn teach(world: &mut World, node: usize, lie: Lie) {
    let lie = lie(world);
    world.nodes[node].twist = Some(Box::new(move |_, mut reply: Reply| {
        let mut roots = reply.roots.into_vec();
        let mut outcomes = reply.outcomes.into_vec();
        for outcome in &mut outcomes {
            if let Outcome::Stored { receipts, .. } = outcome {
                let mut paths = receipts.clone().into_vec();
                lie(&mut roots, &mut paths);
                *receipts = List::new(paths).unwrap();
            }
        }
        reply.roots = List::new(roots).unwrap();
        reply.outcomes = List::new(outcomes).unwrap();
        Some(reply)
    }));
}

/// When every node lies like this, what does the last one show?
fn shown(lie: Lie) -> usize {
    let mut world = World::new(1, 10);
    for node in 0..10 {
        teach(&mut world, node, lie);
    }
    let result = world.run(store(b"hello"));
    let Err(Error::TimedOut { last: Some(last), .. }) = result else { panic!("{result:?}") };
    let Error::NotEnoughReceipts { good, needed: 7, .. } = *last else { panic!("{last:?}") };
    for node in 0..10 {
        assert!(world.client.lies(&world.id(node)) > 0, "node {node} is noted");
    }
    good
}

#[test]
fn a_store_comes_back_with_receipts_of_everybody() {
    let mut world = World::new(1, 10);
    let proof = proof(world.run(store(b"hello")));
    assert_eq!(proof.message, message_id(&bob(), MESSAGES, b"hello"));
    assert_eq!((proof.good(), proof.needed, proof.of), (10, 7, 10));
    let sent = START + Span::from_millis(80); // dialling takes four trips, then six
    assert!(proof.expiry.distance(sent + Span::from_days(1)) < Span::from_secs(1));
    for receipt in &proof.receipts {
        assert_eq!(receipt.verify(&*world.membership, &FakeVerifier), Ok(()));
    }
    assert_eq!(world.client.stats().answered, 1);
}

#[test]
fn three_of_ten_nodes_are_gone() {
    for seed in 0..20 {
        let mut world = World::new(seed, 10);
        for node in [1, 4, 7] {
            world.kill(node);
        }
        let proof = proof(world.run(store(b"hello")));
        assert_eq!(proof.good(), 7, "seed {seed}");
        assert!(world.now < START + Span::from_secs(1), "a refused dial costs no timeout");
    }
}

#[test]
fn four_of_ten_nodes_are_gone() {
    let mut world = World::new(1, 10);
    for node in [1, 4, 7, 9] {
        world.kill(node);
    }
    let result = world.run(store(b"hello"));
    let Err(Error::TimedOut { span, last: Some(last) }) = result else { panic!("{result:?}") };
    assert_eq!(span, Span::from_secs(30));
    assert!(
        matches!(
            *last,
            Error::NotEnoughReceipts { good: 6, needed: 7, .. } | Error::Unreachable { .. }
        ),
        "{last:?}"
    );
    assert_eq!(world.now, START + Span::from_secs(30));
}

#[test]
fn a_forged_signature_is_no_receipt() {
    let good = shown(|_| {
        Box::new(|roots, _| {
            for root in roots.iter_mut().skip(4) {
                root.signature = [7; 3309].into();
            }
        })
    });
    assert_eq!(good, 4);
}

// Whoever has seen a root once has not seen this signature.
#[test]
fn a_forged_signature_over_a_known_root_is_no_receipt() {
    let mut world = World::new(1, 10);
    let honest = proof(world.run(store(b"hello")));
    for node in 0..10 {
        let receipts = honest.receipts.clone();
        world.nodes[node].twist = Some(Box::new(move |_, mut reply: Reply| {
            let (mut roots, mut paths) = (vec![], vec![]);
            for (index, known) in receipts.iter().enumerate() {
                let mut root = known.root.clone();
                if index >= 5 {
                    root.signature = [7; 3309].into();
                }
                roots.push(root);
                paths.push(path_of(index, &known.receipt, known.proof.clone()));
            }
            let message = receipts[0].receipt.message;
            let expiry = receipts[0].receipt.expiry;
            let receipts = List::new(paths).unwrap();
            reply.roots = List::new(roots).unwrap();
            let stored = Outcome::Stored { message, expiry, duplicate: true, receipts };
            reply.outcomes = List::new(vec![stored]).unwrap();
            Some(reply)
        }));
    }
    let error = last(world.run(store(b"hello")));
    assert!(matches!(error, Error::NotEnoughReceipts { good: 5, needed: 7, .. }), "{error:?}");
}

#[test]
fn a_node_cannot_sign_for_another() {
    let good = shown(|world| {
        let keys = world.nodes[0].keys.clone();
        let (network, me) = (world.membership.network(), keys.public().node_id());
        let swarm = SwarmId(1);
        Box::new(move |roots, paths| {
            // Promises in everybody's name, all signed with one key.
            let message = message_id(&bob(), MESSAGES, b"hello");
            let (expiry, stored_at) = (paths[0].expiry, paths[0].stored_at);
            for (index, root) in roots.iter_mut().enumerate() {
                let receipt = StorageReceipt {
                    node: root.node,
                    swarm,
                    address: bob(),
                    message,
                    expiry,
                    stored_at,
                };
                let (mut signed, mut proofs) =
                    sign_receipts(network, &*keys, &[receipt], &mut SeededEntropy::new(1));
                assert_eq!(signed.node, me);
                signed.node = root.node;
                *root = signed;
                paths[index] = path_of(index, &receipt, proofs.remove(0));
            }
        })
    });
    assert_eq!(good, 1, "only its own");
}

#[test]
fn a_receipt_for_another_inbox_or_item_is_none() {
    fn resign(world: &World, address: InboxAddress, data: &'static [u8]) -> Change {
        let keys: Vec<_> = world.nodes.iter().map(|node| node.keys.clone()).collect();
        let network = world.membership.network();
        Box::new(move |roots, paths| {
            let (expiry, stored_at) = (paths[0].expiry, paths[0].stored_at);
            for (index, keys) in keys.iter().enumerate().take(8) {
                let receipt = StorageReceipt {
                    node: keys.public().node_id(),
                    swarm: SwarmId(1),
                    address,
                    message: message_id(&bob(), MESSAGES, data),
                    expiry,
                    stored_at,
                };
                let (root, mut proofs) =
                    sign_receipts(network, &**keys, &[receipt], &mut SeededEntropy::new(1));
                roots[index] = root;
                paths[index] = path_of(index, &receipt, proofs.remove(0));
            }
            roots.truncate(8);
            paths.truncate(8);
        })
    }
    assert_eq!(shown(|world| resign(world, InboxAddress::from([1; 32]), b"hello")), 0);
    assert_eq!(shown(|world| resign(world, bob(), b"another")), 0);
    // The same forgery with the right inbox and item is good: the lie above is what was refused.
    let mut world = World::new(1, 10);
    for node in 0..10 {
        teach(&mut world, node, |world| resign(world, bob(), b"hello"));
    }
    assert_eq!(proof(world.run(store(b"hello"))).good(), 8);
}

#[test]
fn one_receipt_shown_many_times_is_one() {
    let good = shown(|_| {
        Box::new(|_, paths| {
            let first = paths[0].clone();
            paths.fill(first);
        })
    });
    assert_eq!(good, 1);
}

#[test]
fn references_to_nothing_are_no_receipts() {
    let good = shown(|_| {
        Box::new(|_, paths| {
            for path in paths.iter_mut().skip(5) {
                path.root = 999;
            }
        })
    });
    assert_eq!(good, 5);
}

#[test]
fn altered_expiries_are_not_covered() {
    let good = shown(|_| {
        Box::new(|_, paths| {
            for path in paths.iter_mut().skip(2) {
                path.expiry = path.expiry + Span::from_millis(1);
            }
        })
    });
    assert_eq!(good, 2);
}

/// Has a node answer with true receipts of all nodes of the network, each for an expiry of its own.
fn promise(world: &mut World, node: usize, duplicate: bool, expiry: fn(usize, Time) -> Time) {
    let keys: Vec<_> = world.nodes.iter().map(|node| node.keys.clone()).collect();
    let network = world.membership.network();
    let swarm = world.membership.node(&world.id(node)).unwrap().swarm;
    world.nodes[node].twist = Some(Box::new(move |_, mut reply: Reply| {
        let mut outcomes = reply.outcomes.into_vec();
        let Outcome::Stored { message, duplicate: told, receipts, .. } = &mut outcomes[0] else {
            // A refusal stays what it is.
            reply.outcomes = List::new(outcomes).unwrap();
            return Some(reply);
        };
        *told = duplicate;
        let (mut roots, mut paths) = (vec![], vec![]);
        for (index, keys) in keys.iter().enumerate() {
            let receipt = StorageReceipt {
                node: keys.public().node_id(),
                swarm,
                address: bob(),
                message: *message,
                expiry: expiry(index, reply.server_time),
                stored_at: reply.server_time,
            };
            let (root, mut proofs) =
                sign_receipts(network, &**keys, &[receipt], &mut SeededEntropy::new(1));
            roots.push(root);
            paths.push(path_of(index, &receipt, proofs.remove(0)));
        }
        *receipts = List::new(paths).unwrap();
        reply.roots = List::new(roots).unwrap();
        reply.outcomes = List::new(outcomes).unwrap();
        Some(reply)
    }));
}

fn last(result: Result<Answer, Error>) -> Error {
    match result {
        Err(Error::TimedOut { last: Some(last), .. }) => *last,
        other => panic!("a timeout with a reason was expected, got {other:?}"),
    }
}

const TOO_EARLY: &str = "the item is forgotten earlier than asked";

// The node that is asked tells the others when the item expires, so their signatures are true.
#[test]
fn an_item_that_is_kept_for_less_than_asked_is_not_stored() {
    let mut world = World::new(1, 10);
    for node in 0..10 {
        promise(&mut world, node, false, |_, now| now + Span::from_secs(3600));
    }
    let error = last(world.run(store(b"hello")));
    assert!(matches!(error, Error::BadAnswer { why: TOO_EARLY, .. }), "{error:?}");
}

// The same by a client whose clock is a day behind: it knows better after the first complaint.
#[test]
fn a_slow_clock_is_no_excuse() {
    let mut world = World::new(1, 10);
    for node in 0..10 {
        promise(&mut world, node, false, |_, now| now + Span::from_secs(3600));
        world.nodes[node].ahead = Span::from_days(1);
        world.nodes[node].refuse = Some(Box::new(|request, now| {
            let Ok(CheckedOperation::Open(Operation::Store { timestamp, .. })) =
                &request.operations[0]
            else {
                return None;
            };
            let (signed, tolerance) = (*timestamp, CLOCK_TOLERANCE);
            let wrong = signed.distance(now) > tolerance;
            wrong.then_some(Refusal::Clock { signed, server_time: now, tolerance })
        }));
    }
    let id = world.command(store(b"hello"));
    world.pass(Span::from_secs(2));
    assert!(!world.done.contains_key(&id), "{:?}", world.done);
    assert!(world.client.stats().lies > 0);
}

#[test]
fn expiries_that_nobody_can_mean_are_no_receipts() {
    for expiry in [
        (|_, now| now - Span::from_secs(1)) as fn(usize, Time) -> Time,
        |_, now| now + Span::from_days(31),
        |_, _| Time::MAX,
    ] {
        let mut world = World::new(1, 10);
        (0..10).for_each(|node| promise(&mut world, node, true, expiry));
        let error = last(world.run(store(b"hello")));
        assert!(matches!(error, Error::NotEnoughReceipts { good: 0, .. }), "{error:?}");
    }
}

#[test]
fn the_expiry_is_what_a_quorum_promises() {
    let mut world = World::new(1, 10);
    for node in 0..10 {
        promise(&mut world, node, true, |index, now| now + Span::from_days(1 + index as u64));
    }
    let proof = proof(world.run(store(b"hello")));
    let days = proof.expiry.since(START).as_millis() / Span::from_days(1).as_millis();
    assert_eq!((days, proof.good()), (4, 10), "seven keep it for four days or longer");
}

#[test]
fn members_of_another_swarm_do_not_count() {
    let swarms = [(SwarmId(0), 5), (SwarmId(1 << 63), 7)];
    let mut world = World::with(1, &swarms, |_| {});
    let honest = proof(world.run(store(b"hello")));
    assert!(honest.of == 5 || honest.of == 7);
    let swarm = honest.receipts[0].receipt.swarm;
    for node in 0..12 {
        promise(&mut world, node, true, |_, now| now + Span::from_days(1));
    }
    let twelve = proof(world.run(store(b"hello")));
    assert_eq!(twelve.good(), usize::from(honest.of));
    for receipt in &twelve.receipts {
        assert_eq!(world.membership.node(&receipt.receipt.node).unwrap().swarm, swarm);
    }
}

#[test]
fn storing_again_is_fine_and_says_until_when() {
    let mut world = World::new(1, 10);
    let first = proof(world.run(store(b"hello")));
    world.pass(Span::from_secs(3600));
    let second = proof(world.run(store(b"hello")));
    assert_eq!(second.expiry, first.expiry, "the first promise stands");
    assert_eq!(second.message, first.message);
}

#[test]
fn a_liar_is_left_and_avoided() {
    let mut world = World::new(3, 10);
    let no_receipts: Lie = |_| Box::new(|_, paths| paths.clear());
    // Whoever would be asked first is the liar.
    let honest = proof(world.run(store(b"first")));
    assert_eq!(honest.good(), 10);
    let liar = (0..10).find(|node| !world.nodes[*node].asked.is_empty()).unwrap();
    teach(&mut world, liar, no_receipts);

    assert_eq!(proof(world.run(store(b"second"))).good(), 10);
    assert_eq!(world.client.lies(&world.id(liar)), 1);
    assert_eq!(world.nodes[liar].asked.len(), 2);
    for number in 0..20_u8 {
        proof(world.run(store(&[number])));
    }
    assert_eq!(world.nodes[liar].asked.len(), 2, "it was not asked again");
}

#[test]
fn the_id_of_another_item_is_a_lie() {
    let mut world = World::new(1, 1);
    world.nodes[0].twist = Some(Box::new(|_, mut reply: Reply| {
        let mut outcomes = reply.outcomes.into_vec();
        if let Outcome::Stored { message, .. } = &mut outcomes[0] {
            *message = [1; 32].into();
        }
        reply.outcomes = List::new(outcomes).unwrap();
        Some(reply)
    }));
    let Err(Error::TimedOut { last: Some(last), .. }) = world.run(store(b"hello")) else {
        panic!()
    };
    assert!(matches!(*last, Error::BadAnswer { why: "the id of another item", .. }), "{last:?}");
}

#[test]
fn too_few_outcomes_are_a_lie() {
    let mut world = World::new(1, 1);
    world.nodes[0].twist = Some(Box::new(|_, mut reply: Reply| {
        reply.outcomes = List::new(vec![]).unwrap();
        Some(reply)
    }));
    let Err(Error::TimedOut { last: Some(last), .. }) = world.run(store(b"hello")) else {
        panic!()
    };
    assert!(matches!(*last, Error::BadAnswer { .. }), "{last:?}");
}

#[test]
fn the_fastest_node_keeps_its_clients() {
    let mut world = World::new(5, 10);
    for number in 0..10_u8 {
        proof(world.run(store(&[number])));
    }
    let asked: Vec<usize> = world.nodes.iter().map(|node| node.asked.len()).collect();
    assert_eq!(asked.iter().max(), Some(&10), "{asked:?}");
    // Different clients begin at different nodes.
    let first = |seed| {
        let mut world = World::new(seed, 10);
        proof(world.run(store(b"x")));
        (0..10).find(|node| !world.nodes[*node].asked.is_empty()).unwrap()
    };
    let firsts: std::collections::BTreeSet<usize> = (0..30).map(first).collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn many_items_travel_in_batches() {
    let mut world = World::new(1, 10);
    let chunk = |number: u8| NewItem { namespace: ATTACHMENTS, ..item(vec![number; 65_577]) };
    let mut items: Vec<NewItem> = (0..40).map(chunk).collect();
    items.extend((0..30_u8).map(|number| item(vec![number; 10])));
    let result = world.run(Command::StoreMany { address: bob(), items: items.clone() });
    let Ok(Answer::Stored(proofs)) = result else { panic!("{result:?}") };
    assert_eq!(proofs.len(), 70);
    for (item, proof) in items.iter().zip(&proofs) {
        assert_eq!(proof.message, message_id(&bob(), item.namespace, &item.data));
        assert_eq!(proof.good(), 10);
    }
    assert!(world.largest_frame <= FRAME_BYTES_MAX, "{}", world.largest_frame);
    let batches: Vec<usize> =
        world.nodes.iter().flat_map(|n| &n.asked).map(|asked| asked.operations.len()).collect();
    assert_eq!(batches, [11, 11, 11, 20, 17]);
    let progress: Vec<usize> = world
        .said
        .iter()
        .filter_map(|effect| match effect {
            Effect::Progress { done, of: 70, .. } => Some(*done),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [11, 22, 33, 53]);
}

#[test]
fn batches_of_the_largest_items_fit_a_frame() {
    let mut world = World::new(1, 10);
    let largest = |number: u8| NewItem {
        namespace: ATTACHMENTS,
        ..item(vec![number; session_protocol::limits::ITEM_BYTES_MAX])
    };
    let items: Vec<NewItem> = (0..25).map(largest).collect();
    let result = world.run(Command::StoreMany { address: bob(), items });
    assert!(matches!(&result, Ok(Answer::Stored(proofs)) if proofs.len() == 25), "{result:?}");
    let full = 700 * 1024..=FRAME_BYTES_MAX;
    assert!(full.contains(&world.largest_frame), "{}", world.largest_frame);
    let batches: Vec<usize> =
        world.nodes.iter().flat_map(|n| &n.asked).map(|asked| asked.operations.len()).collect();
    assert_eq!(batches, [10, 10, 5]);
}

#[test]
fn a_batch_goes_on_elsewhere_where_it_stopped() {
    let mut world = World::new(1, 10);
    let items: Vec<NewItem> = (0..60_u8).map(|number| item(vec![number])).collect();
    let id = world.command(Command::StoreMany { address: bob(), items });
    // The node that took the first batch dies with the second.
    while world.said.is_empty() {
        world.pass(Span::from_millis(10));
    }
    let first = (0..10).find(|node| !world.nodes[*node].asked.is_empty()).unwrap();
    world.kill(first);
    world.pass(Span::from_secs(2));
    let Some(Ok(Answer::Stored(proofs))) = world.done.remove(&id) else { panic!() };
    assert_eq!(proofs.len(), 60);
    let stored: usize =
        world.nodes.iter().flat_map(|node| &node.asked).map(|asked| asked.operations.len()).sum();
    assert!((60..=80).contains(&stored), "at most one batch was sent twice, not {stored} items");
}

#[test]
fn proofs_are_kept_in_one_form() {
    let mut world = World::new(1, 3);
    let proof = proof(world.run(store(b"hello")));
    session_core::testing::check_round_trip(&proof);
    let bytes = proof.to_bytes();
    assert_eq!(bytes[..32], *proof.message.as_bytes());
    assert_eq!(bytes[32..40], proof.expiry.to_bytes());
    assert_eq!(bytes[40..48], [0, 3, 0, 3, 0, 0, 0, 3]); // of, needed, receipts
    assert!(proof.expiry > Time::ZERO);
}
