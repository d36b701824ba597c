//! Requests over hops that are well, dead, slow, tagging or lying.

use std::collections::BTreeSet;

use session_client::onion::{Kept, Mode};
use session_client::{Answer, Command, Effect, Error, Inbox, InboxReader, Input, NewItem};
use session_core::{InboxAddress, NodeId, Span, SwarmId};
use session_protocol::inbox::{ATTACHMENTS, MESSAGES};
use session_protocol::onion::service;
use session_protocol::request::{ItemBytes, Outcome};

use crate::asks::{bob, read, stored, timed};
use crate::world::World;
use crate::world::relay::{EPOCH, Fate, Seen, packet_lengths};

fn store_of(bytes: usize) -> Command {
    let data = ItemBytes::new(vec![7; bytes]).unwrap();
    let namespace = if bytes > 4_000 { ATTACHMENTS } else { MESSAGES };
    let item = NewItem { namespace, ttl: Span::from_days(1), data };
    Command::Store { address: bob(), item }
}

pub(crate) fn store() -> Command {
    store_of(500)
}

/// A world whose guards are connected and whose keys are known.
pub(crate) fn acquainted(seed: u64, nodes: usize, mode: Mode) -> World {
    let mut world = World::over(seed, nodes, mode);
    stored(&world.run(store()));
    world
}

pub(crate) fn guards(world: &World) -> Vec<NodeId> {
    let report = world.client.paths(world.now).expect("over hops");
    report.guards.iter().map(|it| it.guard.node).collect()
}

pub(crate) fn routes(world: &World) -> session_client::onion::RouteStats {
    world.client.paths(world.now).expect("over hops").stats
}

fn asked(world: &World) -> usize {
    world.nodes.iter().map(|node| node.asked.len()).sum()
}

#[test]
fn guards_are_the_only_nodes_that_are_connected() {
    for seed in 0..10 {
        let mut world = World::over(seed, 10, Mode::onion());
        for _ in 0..20 {
            stored(&world.run(store()));
            assert!(matches!(world.run(read(2)), Ok(Answer::Pages(_))));
        }
        assert_eq!(world.client.network().connections(), 2, "seed {seed}");
        let used = world.guards_used();
        assert_eq!(used.len(), 2, "both are used: {used:?}");
        // Whoever is asked, it is not by a guard that it was handed the packet.
        let exits = world.nodes.iter().filter(|node| !node.asked.is_empty()).count();
        assert!(exits > 5, "anybody may be an exit: {exits}");
        let (lies, lost) = (world.client.stats().lies, routes(&world).lost);
        assert_eq!((lies, lost), (0, 0), "seed {seed}");
        let kept = world.said.iter().filter(|said| matches!(said, Effect::Guards(_))).count();
        assert_eq!(kept, 1, "they are given out once");
    }
}

#[test]
fn paths_have_as_many_hops_as_the_mode_says() {
    for hops in 1..=5 {
        let mut world = acquainted(3, 10, Mode::Onion { hops });
        assert!(matches!(world.run(read(1)), Ok(Answer::Pages(_))));
        let report = world.client.paths(world.now).unwrap();
        assert!(!report.paths.is_empty());
        for path in &report.paths {
            let different: BTreeSet<NodeId> = path.hops.iter().copied().collect();
            assert_eq!((path.hops.len(), different.len()), (hops.into(), hops.into()));
        }
        let onward: usize = world
            .nodes
            .iter()
            .map(|node| node.relay.taken.iter().filter(|seen| **seen == Seen::Onward).count())
            .sum();
        // With the receipts of all ten a reply needs the longest answer: it is asked for again.
        assert_eq!(onward, 3 * (usize::from(hops) - 1));
    }
}

#[test]
fn on_the_link_there_are_only_packets_of_three_lengths() {
    let mut world = World::over(1, 10, Mode::onion());
    for bytes in [1, 500, 20_000, 76_800] {
        stored(&world.run(store_of(bytes)));
        assert!(matches!(world.run(read(2)), Ok(Answer::Pages(_))));
    }
    let lengths: BTreeSet<usize> = world
        .nodes
        .iter()
        .flat_map(|node| &node.relay.from_clients)
        .map(|(_, length)| *length)
        .collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), packet_lengths());
}

#[test]
fn the_longest_items_come_back_whole() {
    for hops in [3, 5] {
        let mut world = World::over(2, 10, Mode::Onion { hops });
        let all: Vec<usize> = (0..10).collect();
        let items: Vec<_> =
            (0..3).map(|byte| world.item(ATTACHMENTS, &vec![byte; 76_800])).collect();
        for item in &items {
            world.arrive(item, &all);
        }
        let ids =
            session_core::List::new(items.iter().map(|it| it.id).collect::<Vec<_>>()).unwrap();
        let from = Inbox::Own;
        let fetched = world.run(Command::Fetch { from, namespace: ATTACHMENTS, ids });
        let Ok(Answer::Fetched { items: got, missing }) = fetched else { panic!("{fetched:?}") };
        assert_eq!((got.len(), missing.len()), (3, 0));
        // Many short ones, too, which are as much as eight of the longest answers hold.
        let mut reader = InboxReader::new();
        for number in 0..300_u16 {
            let item = world.item(MESSAGES, &[&number.to_be_bytes()[..], &[0; 2_000]].concat());
            world.arrive(&item, &all);
        }
        let (mut got, mut commands) = (0, 0);
        loop {
            commands += 1;
            let cursors = reader.cursors(MESSAGES);
            let (from, namespace) = (Inbox::Own, MESSAGES);
            let page = world.run(Command::Retrieve { from, namespace, cursors, nodes: 2 });
            let Ok(Answer::Pages(pages)) = page else { panic!("{page:?}") };
            let more = pages.iter().any(|page| page.more);
            got += pages.into_iter().map(|page| reader.absorb(page).len()).sum::<usize>();
            if !more {
                break;
            }
        }
        assert_eq!((got, commands), (300, 1));
    }
}

#[test]
fn one_request_names_one_mailbox_and_no_number() {
    let mut world = World::over(4, 10, Mode::onion());
    let mut sources = std::collections::BTreeMap::new();
    for byte in 0..20 {
        let mailbox = crate::mailboxes::mailbox(byte);
        let (from, namespace, reader) =
            (crate::mailboxes::reading(&mailbox), session_protocol::inbox::BOXES, Box::default());
        let source = session_client::Source { from, namespace, reader };
        sources.insert(mailbox.address(), source);
    }
    world.input(Input::Watch { sources });
    world.pass(Span::from_secs(30));
    let mut named = 0;
    for request in world.nodes.iter().flat_map(|node| &node.asked) {
        if matches!(
            request.operations[..],
            [Ok(session_protocol::inbound::CheckedOperation::Open(_))]
        ) {
            continue; // for hop keys
        }
        assert_eq!(request.id, 0);
        let rules: BTreeSet<InboxAddress> = request
            .operations
            .iter()
            .map(|operation| match operation {
                Ok(session_protocol::inbound::CheckedOperation::Owner(it)) => it.rule.address(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(rules.len(), 1);
        named += 1;
    }
    assert!(named >= 40, "each was read from two: {named}");
}

#[test]
fn what_arrives_is_told_by_whoever_was_asked_to_wait() {
    for seed in 0..5 {
        let mut world = World::over(seed, 10, Mode::onion());
        let mailbox = crate::mailboxes::mailbox(1);
        let (from, namespace) =
            (crate::mailboxes::reading(&mailbox), session_protocol::inbox::BOXES);
        let source = session_client::Source { from, namespace, reader: Box::default() };
        world.input(Input::Watch { sources: [(mailbox.address(), source)].into() });
        world.pass(Span::from_secs(20));
        let waits = |world: &World| {
            let services = world.nodes.iter().flat_map(|node| &node.relay.services);
            services.filter(|asked| **asked == service::WAIT).count()
        };
        assert_eq!(waits(&world), 1, "seed {seed}");
        for round in 0..5_u8 {
            let all: Vec<usize> = (0..10).collect();
            let before = world.now;
            let item = world.arrive_at(mailbox.address(), &[round; 600], &all);
            world.pass(Span::from_millis(400));
            let told = world.said.iter().any(|said| match said {
                Effect::Arrived { items, .. } => items.iter().any(|it| it.id == item.id),
                _ => false,
            });
            assert!(told, "seed {seed}, round {round}: {} ms", world.now.since(before).as_millis());
        }
        // A minute without anything: one wait after another, and nothing is read all the time.
        let (before, read) = (waits(&world), asked(&world));
        world.pass(Span::from_secs(300));
        let more = waits(&world) - before;
        assert!((4..8).contains(&more), "{more} in five minutes");
        assert!(asked(&world) - read < 40, "{}", asked(&world) - read);
    }
}

#[test]
fn a_subscription_is_live_and_moves_to_another_exit() {
    let mut world = World::over(6, 10, Mode::onion());
    let reader = Box::default();
    let id =
        world.command(Command::Subscribe { from: Inbox::Own, namespaces: vec![MESSAGES], reader });
    world.pass(Span::from_secs(5));
    let live = |world: &World| {
        world.said.iter().rev().find_map(|said| match said {
            Effect::Live { id: of, node } if *of == id => Some(*node),
            _ => None,
        })
    };
    let first = live(&world).expect("live");
    let pushed = |world: &World| {
        let items = world.said.iter().filter(|it| matches!(it, Effect::Pushed { .. }));
        items.count()
    };
    let all: Vec<usize> = (0..10).collect();
    let item = world.item(MESSAGES, b"first");
    world.arrive(&item, &all);
    world.pass(Span::from_secs(1));
    assert_eq!(pushed(&world), 1);
    let dead = world.index(first);
    world.vanish(dead);
    let item = world.item(MESSAGES, b"second");
    world.arrive(&item, &all);
    // At the latest with the next reading by another node.
    world.pass(Span::from_secs(35));
    assert_eq!(pushed(&world), 2);
    world.pass(Span::from_secs(120));
    assert_ne!(live(&world), Some(first));
    let item = world.item(MESSAGES, b"third");
    world.arrive(&item, &all);
    world.pass(Span::from_secs(1));
    assert_eq!(pushed(&world), 3);
}

#[test]
fn a_hop_that_dies_costs_one_short_wait() {
    for seed in 0..10 {
        let mut world = acquainted(seed, 10, Mode::onion());
        let guards = guards(&world);
        let victim = (0..10).find(|node| !guards.contains(&world.id(*node))).unwrap();
        world.vanish(victim);
        let mut slow = 0;
        for round in 0..40 {
            let (result, took) = timed(&mut world, store());
            stored(&result);
            assert!(took < 1_000, "seed {seed}, round {round}: {took} ms");
            slow += usize::from(took > 250);
            world.pass(Span::from_millis(300));
        }
        // One packet is lost with it in either role, and it is tried once more after three minutes.
        assert!(slow <= 4, "seed {seed}: {slow}");
        let late = (0..20).filter(|_| timed(&mut world, store()).1 > 250).count();
        assert!(late <= 1, "seed {seed}: {late}");
    }
}

#[test]
fn a_hop_that_tags_is_found_out_and_avoided() {
    for seed in 0..5 {
        let mut world = acquainted(seed, 10, Mode::onion());
        let guards = guards(&world);
        let bad = (0..10).find(|node| !guards.contains(&world.id(*node))).unwrap();
        // What it alters on the way out is dropped by the next hop; on the way back it is seen here.
        world.meddle(bad, |seen| if seen == Seen::Here { Fate::Pass } else { Fate::Spoil });
        for _ in 0..40 {
            let (result, took) = timed(&mut world, store());
            stored(&result);
            assert!(took < 1_000, "seed {seed}: {took} ms");
        }
        world.pass(Span::from_secs(10));
        let report = world.client.paths(world.now).unwrap();
        assert!(report.avoided >= 1, "seed {seed}: {:?}", report.stats);
        assert!(report.stats.lost > 0);
    }
}

#[test]
fn a_spoilt_answer_is_asked_for_again_at_once() {
    let mut world = acquainted(1, 10, Mode::onion());
    let guards = guards(&world);
    for node in 0..10 {
        if !guards.contains(&world.id(node)) {
            world.meddle(node, |seen| if seen == Seen::Back { Fate::Spoil } else { Fate::Pass });
        }
    }
    // Only the other guard in the middle lets an answer through: asked for four times, and then
    // elsewhere, without a wait in between.
    let (result, took) = timed(&mut world, store());
    if result.is_ok() {
        assert!(took < 20_000, "{took} ms");
    }
    assert!(routes(&world).spoilt >= 1);
    for node in 0..10 {
        world.nodes[node].relay.meddle = None;
    }
    let told = std::rc::Rc::new(std::cell::Cell::new(false));
    let mut world = acquainted(2, 10, Mode::onion());
    for node in 0..10 {
        let told = told.clone();
        world.meddle(node, move |seen| {
            let spoils = seen == Seen::Back && !told.replace(true);
            if spoils { Fate::Spoil } else { Fate::Pass }
        });
    }
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!(took < 300, "{took} ms");
    assert_eq!((routes(&world).spoilt, routes(&world).rerouted), (1, 1));
}

#[test]
fn late_answers_are_counted_and_do_no_harm() {
    let mut world = acquainted(5, 10, Mode::onion());
    for node in 0..10 {
        let first = std::cell::Cell::new(true);
        world.meddle(node, move |seen| match seen {
            Seen::Back if first.replace(false) => Fate::Late(Span::from_millis(1_500)),
            _ => Fate::Pass,
        });
    }
    for _ in 0..30 {
        stored(&world.run(store()));
    }
    world.pass(Span::from_secs(10));
    assert!(world.client.stats().hedges > 0);
    assert!(world.client.stats().late > 0);
    assert_eq!(world.client.requests_out(), 0);
}

#[test]
fn an_exit_that_lies_is_not_believed() {
    let mut caught = 0;
    for seed in 0..10 {
        let mut world = acquainted(seed, 10, Mode::onion());
        let bad = world.draw(10);
        world.nodes[bad].twist = Some(Box::new(|_, mut reply| {
            // Receipts of nobody.
            reply.roots = session_core::List::new(vec![]).unwrap();
            for outcome in reply.outcomes.iter() {
                assert!(!matches!(outcome, Outcome::Refused { .. }));
            }
            Some(reply)
        }));
        for _ in 0..40 {
            stored(&world.run(store()));
        }
        let bad = world.id(bad);
        let lies = world.client.lies(&bad);
        assert!(lies <= 1, "seed {seed}: it is asked {lies} times");
        caught += lies;
    }
    // The fastest are asked: it may not be among them.
    assert!(caught >= 5, "caught in {caught} of 10");
}

#[test]
fn a_directory_that_lies_can_only_withhold() {
    for seed in 0..10 {
        // Somebody else's keys under the names of all: no signature holds.
        let mut other = World::over(seed + 100, 10, Mode::onion());
        other.publish_keys();
        let mut world = World::over(seed, 10, Mode::onion());
        let wrong: Vec<_> = (0..10)
            .flat_map(|node| {
                let id = world.id(node);
                other.nodes[node].relay.signed().into_iter().map(move |mut key| {
                    key.record.node = id;
                    key
                })
            })
            .collect();
        let bad = 0;
        world.nodes[bad].relay.directory = Some(wrong);
        let (result, took) = timed(&mut world, store());
        stored(&result);
        let stats = routes(&world);
        if stats.bad_keys > 0 {
            assert!(world.client.lies(&world.id(bad)) > 0);
        }
        assert!(took < 5_000, "seed {seed}: {took} ms");
    }
}

#[test]
fn a_guard_that_tells_no_keys_or_dies_over_the_question_costs_little() {
    for seed in 0..20 {
        let guard = guards(&acquainted(seed, 10, Mode::onion()))[0];
        for dies in [false, true] {
            let mut world = World::over(seed, 10, Mode::onion());
            let guard = world.index(guard);
            world.nodes[guard].twist = Some(Box::new(|_, reply| {
                let tells = reply.outcomes.iter().any(|it| matches!(it, Outcome::HopKeys { .. }));
                (!tells).then_some(reply)
            }));
            if dies {
                world.command(store());
                world.pass(Span::from_millis(100));
                world.kill(guard);
                world.pass(Span::from_secs(1));
            }
            let (result, took) = timed(&mut world, store());
            stored(&result);
            assert!(took < 2_500, "seed {seed}, it dies: {dies}: {took} ms");
        }
    }
}

#[test]
fn keys_are_read_again_before_they_end() {
    let mut world = acquainted(1, 10, Mode::onion());
    for step in 0..60 {
        world.pass(Span::from_millis(EPOCH.as_millis() / 6));
        world.publish_keys();
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!(took < 4_000, "step {step}: {took} ms");
    }
    assert_eq!(routes(&world).lost, 0);
}

#[test]
fn a_node_that_was_restarted_is_found_with_its_new_key() {
    let mut world = acquainted(1, 4, Mode::onion());
    for node in 0..4 {
        world.pass(Span::from_secs(60));
        world.restart(node);
        world.renew_keys(node);
    }
    for _ in 0..20 {
        stored(&world.run(store()));
        world.pass(Span::from_secs(5));
    }
    let before = routes(&world).lost;
    for _ in 0..20 {
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!(took < 400, "{took} ms");
    }
    assert_eq!(routes(&world).lost, before, "nothing is lost any more");
}

#[test]
fn a_network_that_is_too_small_says_so_at_once() {
    let mut world = World::over(1, 2, Mode::onion());
    let (result, took) = timed(&mut world, store());
    let expected = Error::TooFewHops { hops: 3, fitting: 2, known: 0, nodes: 2 };
    assert_eq!((result, took), (Err(expected), 0));
    assert_eq!(world.client.network().connections(), 0);
    // Three nodes are enough.
    let mut world = World::over(1, 3, Mode::onion());
    for _ in 0..10 {
        stored(&world.run(store()));
    }
}

#[test]
fn where_nobody_publishes_keys_the_error_names_the_numbers() {
    let mut world = World::over(1, 5, Mode::onion());
    for node in 2..5 {
        world.nodes[node].relay.publishes = false;
    }
    let (result, _) = timed(&mut world, store());
    let Err(Error::TimedOut { last: Some(last), .. }) = result else { panic!("{result:?}") };
    assert!(
        matches!(
            *last,
            Error::TooFewHops { hops: 3, known: 2, nodes: 5, .. } | Error::NoHopKey { .. }
        ),
        "{last:?}"
    );
}

#[test]
fn guards_are_kept_over_restarts() {
    let mut world = acquainted(1, 10, Mode::onion());
    let first = guards(&world);
    let saved = world.said.iter().rev().find_map(|said| match said {
        Effect::Guards(list) => Some(list.clone()),
        _ => None,
    });
    let saved = saved.expect("they were given out");
    stored(&world.run(store()));
    let kept = Kept { guards: saved.clone(), ..Kept::default() };
    let mut again = World::over_with(1, &[(SwarmId(1), 10)], Mode::onion(), kept);
    stored(&again.run(store()));
    assert_eq!(guards(&again), first);
    assert!(!again.said.iter().any(|said| matches!(said, Effect::Guards(_))), "nothing changed");
    for guard in saved.guards.iter() {
        let kept = guard.until.since(guard.since);
        assert!((Span::from_days(30)..=Span::from_days(60)).contains(&kept));
    }
}

#[test]
fn a_guard_whose_link_fails_is_stood_in_for_and_then_replaced() {
    let mut world = acquainted(3, 10, Mode::onion());
    let before = guards(&world);
    let dead = world.index(before[0]);
    world.kill(dead);
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!(took < 1_000, "the other one is there: {took} ms");
    // It comes back: nothing has changed.
    world.pass(Span::from_secs(60));
    stored(&world.run(store()));
    assert!(guards(&world).starts_with(&before), "the place is kept");
    world.restart(dead);
    for _ in 0..4 {
        world.pass(Span::from_secs(30));
        stored(&world.run(store()));
    }
    assert!(guards(&world).starts_with(&before));
    assert_eq!(routes(&world).guards_replaced, 0);
    // It stays away.
    world.kill(dead);
    for _ in 0..25 {
        world.pass(Span::from_secs(30));
        stored(&world.run(store()));
    }
    assert_eq!(routes(&world).guards_replaced, 1);
    assert!(!guards(&world).contains(&before[0]));
}

#[test]
fn a_guard_that_drops_everything_is_passed_by_and_replaced() {
    for seed in 0..5 {
        let mut world = acquainted(seed, 10, Mode::onion());
        let before = guards(&world);
        for guard in &before {
            let bad = world.index(*guard);
            world.meddle(bad, |seen| if seen == Seen::Here { Fate::Pass } else { Fate::Drop });
        }
        // Both of them: somebody stands in once that is clear.
        let mut slow = 0;
        for _ in 0..30 {
            slow += usize::from(timed(&mut world, store()).1 > 1_500);
            world.pass(Span::from_secs(30));
        }
        assert!(slow <= 12, "seed {seed}: {slow}");
        // As hops in the middle they still drop, until they are avoided: that they answer as exits
        // does not clear them.
        let late = (0..20).filter(|_| timed(&mut world, store()).1 > 1_000).count();
        assert_eq!(late, 0, "seed {seed}");
        let slow = (0..20).filter(|_| timed(&mut world, store()).1 > 250).count();
        assert!(slow <= 1, "seed {seed}: {slow}");
        assert!(routes(&world).guards_replaced >= 1, "seed {seed}");
    }
}

#[test]
fn guards_that_all_die_at_once_are_stood_in_for_within_seconds() {
    for seed in 0..20 {
        for vanish in [false, true] {
            let mut world = acquainted(seed, 11, Mode::onion());
            let dead: Vec<usize> = guards(&world).iter().map(|node| world.index(*node)).collect();
            for node in dead {
                if vanish { world.vanish(node) } else { world.kill(node) }
            }
            let (result, took) = timed(&mut world, store());
            stored(&result);
            // A link that ends tells at once what silence tells only after a while.
            let limit = if vanish { 7_000 } else { 2_000 };
            assert!(took < limit, "seed {seed}, silently: {vanish}: {took} ms");
            for _ in 0..3 {
                let (result, took) = timed(&mut world, store());
                stored(&result);
                assert!(took < 1_500, "seed {seed}, silently: {vanish}, later: {took} ms");
            }
        }
    }
}

#[test]
fn where_everybody_is_gone_no_guard_is_replaced() {
    let mut world = acquainted(3, 10, Mode::onion());
    let before = guards(&world);
    for node in 0..10 {
        world.kill(node);
    }
    let (result, _) = timed(&mut world, store());
    let Err(Error::TimedOut { last: Some(last), .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*last, Error::NoGuard { .. }), "{last:?}");
    for _ in 0..30 {
        world.command(store());
        world.pass(Span::from_secs(40));
    }
    assert_eq!(routes(&world).guards_replaced, 0);
    for node in 0..10 {
        world.restart(node);
        world.renew_keys(node);
    }
    world.pass(Span::from_secs(60));
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!(took < 3_000, "{took} ms");
    assert!(guards(&world).starts_with(&before));
}

#[test]
fn a_large_network_is_not_asked_for_one_node() {
    let swarms: Vec<(SwarmId, usize)> = (0..30).map(|swarm| (SwarmId(swarm), 10)).collect();
    let mut world = World::over_with(1, &swarms, Mode::onion(), Kept::default());
    for byte in 0..5 {
        let data = ItemBytes::new(vec![byte; 100]).unwrap();
        let item = NewItem { namespace: MESSAGES, ttl: Span::from_days(1), data };
        let address = InboxAddress::from([byte * 50; 32]);
        stored(&world.run(Command::Store { address, item }));
    }
    let report = world.client.paths(world.now).unwrap();
    assert!(report.hops_known < 300 && report.hops_known > 30, "{}", report.hops_known);
}

/// The times at which packets leave in some minutes, and how many of them were cover.
fn departures(seed: u64, say: usize) -> (Vec<u64>, u64) {
    let every = Span::from_millis(500);
    let mode = Mode::Mix { hops: 3, delay: Span::from_millis(50), every };
    let mut world = acquainted(seed, 10, mode);
    world.pass(Span::from_secs(20));
    let (start, cover) = (world.now, routes(&world).cover);
    for _ in 0..say {
        world.command(store());
        world.pass(Span::from_secs(3));
    }
    world.pass(Span::from_millis(120_000 - 3_000 * say as u64));
    let sent = world.nodes.iter().flat_map(|node| node.relay.from_clients.clone());
    let mut times: Vec<u64> =
        sent.filter(|(at, _)| *at > start).map(|(at, _)| at.since(start).as_millis()).collect();
    times.sort_unstable();
    (times, routes(&world).cover - cover)
}

#[test]
fn in_mix_packets_leave_whether_or_not_something_is_said() {
    let (silent, cover) = departures(1, 0);
    assert!((180..300).contains(&silent.len()), "{}", silent.len());
    assert!(silent.len().abs_diff(usize::try_from(cover).unwrap()) <= 1, "all of it is cover");
    let (busy, less) = departures(1, 20);
    assert!((180..300).contains(&busy.len()), "{}", busy.len());
    assert!(cover - less >= 15, "real ones take the places of cover: {cover}, {less}");
}

#[test]
fn in_mix_everything_arrives_and_cover_comes_back() {
    let mut world = World::over(2, 10, Mode::mix());
    let mut total = 0;
    for _ in 0..10 {
        let (result, took) = timed(&mut world, store());
        stored(&result);
        total += took;
    }
    assert!((10_000..60_000).contains(&total), "delays are kept: {total} ms");
    world.pass(Span::from_secs(60));
    let stats = routes(&world);
    assert!(stats.cover > 40 && stats.cover_back * 10 > stats.cover * 7, "{stats:?}");
    assert_eq!(stats.lost, 0);
    let report = world.client.paths(world.now).unwrap();
    assert!(report.expected_delay >= Span::from_millis(1_200), "{:?}", report.expected_delay);
}
