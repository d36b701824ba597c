//! A registered node that a test plays beside real processes: as a hop it tags, replays, drops or
//! delays, as an exit it lies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_client::{Answer, Command, Inbox, NewItem};
use session_core::{Blob, Span};
use session_crypto::Identity;
use session_protocol::inbox::{AccessRule, MESSAGES};
use session_protocol::request::{Operation, Outcome, Reply};
use session_sdk::agent::Agent;

use crate::support::{Habit, Plan, Player, Processes, eventually, now};

/// How long an answer may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Processes of the first swarm, and a node that is played.
fn network(processes: usize, swarm: u64) -> (Processes, Player) {
    let taps = (0..processes).map(|_| None).collect();
    let mut network = Processes::start(&Plan { taps, played: vec![swarm], ..Plan::default() });
    let player = Player::start(network.played.remove(0), Arc::clone(&network.membership));
    network.wait_for_keys(processes + 1);
    // It has no queue for packets to nodes that are not there yet.
    eventually("it is connected to everybody", || (player.connected() == processes).then_some(()));
    (network, player)
}

fn alice() -> Identity {
    Identity::from_seed(&[5; 32])
}

/// An item for the inbox of that account.
fn item(number: u64) -> NewItem {
    let data = Blob::new(number.to_be_bytes()).unwrap();
    NewItem { namespace: MESSAGES, ttl: Span::from_secs(600), data }
}

fn store(number: u64) -> Operation {
    let NewItem { namespace, ttl, data } = item(number);
    let address = AccessRule::from(alice().public().account_id()).address();
    Operation::Store { address, namespace, timestamp: now(), ttl, data }
}

fn stored(reply: &Reply) -> bool {
    matches!(&reply.outcomes[0], Outcome::Stored { receipts, .. } if receipts.len() >= 2)
}

async fn client_stores(client: &Agent, number: u64) {
    let address = AccessRule::from(alice().public().account_id()).address();
    let done = client.run(Command::Store { address, item: item(number) }).await;
    let Ok(Answer::Stored(proofs)) = done else { panic!("{done:?}") };
    assert!(proofs[0].receipts.len() >= usize::from(proofs[0].needed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_gains_nothing_by_tagging_replaying_dropping_or_delaying() {
    let (network, player) = network(3, 1);
    let (mut asker, keys) = network.asker(0).await;
    let path = network.path(&keys, &[0, 3, 1]);
    let refused = |count: u64| {
        let seen = || (network.relayed(1, "refused") == count).then_some(());
        eventually("the next hop refuses what it should", seen);
    };

    let reply = asker.ask_over(&path, store(1), PATIENCE).await;
    assert!(stored(&reply.expect("an honest hop passes it on")));
    assert_eq!((player.passed(), network.relayed(1, "refused")), (1, 0));

    // The next hop drops what was changed, and says nothing.
    player.set(Habit::Tags);
    assert_eq!(asker.ask_over(&path, store(2), Duration::from_secs(1)).await, None);
    refused(1);
    assert_eq!(player.passed(), 2);

    // It takes a packet once, and there is one answer.
    player.set(Habit::Replays);
    let reply = asker.ask_over(&path, store(3), PATIENCE).await;
    assert!(stored(&reply.expect("the first one counts")));
    let delivered = network.relayed(1, "delivered");
    refused(2);
    assert_eq!(delivered, 2);

    player.set(Habit::Drops);
    assert_eq!(asker.ask_over(&path, store(4), Duration::from_secs(1)).await, None);
    assert_eq!(network.relayed(1, "delivered"), delivered);

    // What is late is late: nobody is punished for it but by whoever waits.
    player.set(Habit::Delays(Duration::from_secs(1)));
    assert_eq!(asker.ask_over(&path, store(5), Duration::from_millis(500)).await, None);
    let reply = asker.ask_over(&path, store(6), PATIENCE).await;
    assert!(stored(&reply.expect("late")));
}

#[allow(clippy::disallowed_methods)] // a stopwatch
#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_round_a_hop_that_waits_three_seconds_or_drops() {
    let (network, player) = network(5, 1);
    for habit in [Habit::Delays(Duration::from_secs(3)), Habit::Drops] {
        player.set(habit);
        let (client, before) = (network.agent(alice(), [0, 1]), player.passed());
        let mut number = 0;
        while player.passed() == before {
            let begun = Instant::now();
            client_stores(&client, number).await;
            // There and back it would be six seconds.
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(5), "{habit:?}: {took:?}");
            number += 1;
            assert!(number < 100, "every third path leads over it");
        }
        client.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_forges_receipts_and_invents_items_is_believed_nothing() {
    // A member of the swarm: clients ask it like any other.
    let (network, player) = network(5, 0);
    let mut number = 0;
    while player.lies() < 4 {
        // Nobody knows a new client's bad experience.
        let client = network.agent(alice(), [0, 1]);
        client_stores(&client, number).await;
        let (from, namespace, cursors) = (Inbox::Own, MESSAGES, Default::default());
        let read = Command::Retrieve { from, namespace, cursors, nodes: 2 };
        let Ok(Answer::Pages(pages)) = client.run(read).await else { panic!("no pages") };
        let items: Vec<_> = pages.iter().flat_map(|page| page.items.iter()).collect();
        let numbers =
            items.iter().map(|item| <[u8; 8]>::try_from(&item.data[..]).map(u64::from_be_bytes));
        let numbers: std::collections::BTreeSet<u64> =
            numbers.map(|number| number.expect("nobody else wrote")).collect();
        assert!(numbers.contains(&number), "{numbers:?}");
        client.stop().await;
        number += 1;
        assert!(number < 60, "it is asked sooner or later: {} lies", player.lies());
    }
}
