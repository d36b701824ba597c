use std::sync::Arc;
use std::time::Duration;

use session_core::{Blob, InboxAddress, List, Namespace, Span, SwarmId, Text, Time};
use session_crypto::{Identity, RealVerifier};
use session_daemon::{Config, Daemon};
use session_network::{Rate, Role};
use session_protocol::membership::NodeRecord;
use session_protocol::request::{Operation, Outcome, Refusal, Reply, Request};
use session_protocol::{Checker, Membership, StaticMembership};
use session_runtime::SystemClock;
use session_runtime::quic::{Options, Quic};
use session_storage::{Durable, MemoryStore, StoreError};

use super::slow_store::{Commits, SlowStore};
use super::{Handle, NoReply, Parts, Reader, Running, start};

/// A node that is a whole network.
fn node<S: Durable + Send + 'static>(store: S) -> (Handle, Running) {
    let keys = Arc::new(Identity::from_seed(&[1; 32]));
    let address = Text::new("127.0.0.1:1").unwrap();
    let record =
        NodeRecord { keys: keys.public().clone(), address: address.clone(), swarm: SwarmId(0) };
    let membership = StaticMembership::new("test", [record]).unwrap();
    let membership: Arc<dyn Membership> = Arc::new(membership);
    let checker = Arc::new(Checker::new(Arc::clone(&membership), Arc::new(RealVerifier)));
    let clock = Arc::new(SystemClock::new());
    let rate = Rate::UNLIMITED;
    let reader = Arc::new(Reader::new(Arc::clone(&checker), Arc::clone(&clock), rate));
    let on_frame = Arc::clone(&reader);
    let decode = Arc::new(move |conn, _class, body: Vec<u8>| on_frame.read(conn, &body));
    let options = Options::new("127.0.0.1:0".parse().unwrap());
    let (quic, events) = Quic::bind(options, Some(keys.clone()), decode).unwrap();
    let node = keys.public().node_id();
    let role = Role::Node { listen: address };
    let network = session_network::Config::new(role, keys.clone(), Arc::clone(&membership));
    let swarm = session_swarm::Config::new(node, membership);
    let daemon =
        Daemon::new(Config { network, swarm, coordinator: None, sessions: None, onions: None })
            .unwrap();
    let (chain, workloads) = (None, None);
    let parts =
        Parts { node, daemon, store, keys, checker, reader, clock, quic, events, chain, workloads };
    start(parts).unwrap()
}

fn store(handle: &Handle) -> Request {
    let operation = Operation::Store {
        address: InboxAddress::from([7; 32]),
        namespace: Namespace(0),
        timestamp: handle.now(),
        ttl: Span::from_secs(60),
        data: Blob::new(*b"an item").unwrap(),
    };
    Request { id: 5, operations: List::new([operation]).unwrap() }
}

fn outcome(reply: Reply) -> Outcome {
    reply.outcomes.into_iter().next().unwrap()
}

/// Ends a commit as soon as there is one.
async fn finish(commits: &Commits, result: Result<(), StoreError>) {
    while !commits.finish(result.clone()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_acknowledged_after_its_commit_with_a_receipt() {
    let slow = SlowStore::new();
    let commits = slow.commits();
    let (handle, running) = node(slow);
    finish(&commits, Ok(())).await; // the first tick
    let mut reply = tokio::spawn(handle.submit(store(&handle)).unwrap().reply());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut reply).await;
    assert!(early.is_err(), "acknowledged before the commit: {early:?}");
    let finishing = tokio::spawn(async move {
        loop {
            finish(&commits, Ok(())).await;
        }
    });
    let reply = reply.await.unwrap().unwrap();
    assert_eq!((reply.id, reply.roots.len()), (5, 1));
    assert!(matches!(outcome(reply), Outcome::Stored { duplicate: false, .. }));
    running.stop().await.unwrap();
    finishing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_is_never_acknowledged_and_ends_the_node() {
    let slow = SlowStore::new();
    let commits = slow.commits();
    let (handle, mut running) = node(slow);
    finish(&commits, Ok(())).await;
    let reply = handle.submit(store(&handle)).unwrap();
    let error = StoreError::Closed { why: "the disk is gone".to_owned() };
    finish(&commits, Err(error.clone())).await;
    let status = handle.status().await.unwrap();
    assert_eq!(status.failed, Some(error.to_string()));
    assert!(status.health.swarm.draining);
    assert_eq!(handle.submit(store(&handle)).unwrap().reply().await, Err(NoReply::Stopping));
    assert_eq!(running.ended().await, Err(error));
    assert_eq!(reply.reply().await, Err(NoReply::Stopping));
    assert!(matches!(handle.status().await, Err(NoReply::Stopping)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_calls_under_way_finish_and_takes_no_more() {
    let slow = SlowStore::new();
    let commits = slow.commits();
    let (handle, running) = node(slow);
    finish(&commits, Ok(())).await;
    let reply = handle.submit(store(&handle)).unwrap();
    // It is in the machine once its commit is under way.
    while handle.status().await.unwrap().calls_waiting == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(running.stop());
    while !handle.status().await.unwrap().health.swarm.draining {
        tokio::task::yield_now().await;
    }
    let late = handle.submit(store(&handle)).unwrap();
    let finishing = tokio::spawn(async move {
        loop {
            finish(&commits, Ok(())).await;
        }
    });
    assert!(matches!(outcome(reply.reply().await.unwrap()), Outcome::Stored { .. }));
    let late = outcome(late.reply().await.unwrap());
    assert!(matches!(late, Outcome::Refused { refusal: Refusal::NotReady { .. } }), "{late:?}");
    assert_eq!(stopping.await.unwrap(), Ok(()));
    finishing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_few_commits() {
    let (handle, running) = node(MemoryStore::new(1));
    let mut replies = Vec::new();
    for number in 0..500_u32 {
        let operation = Operation::Store {
            address: InboxAddress::from([7; 32]),
            namespace: Namespace(0),
            timestamp: handle.now(),
            ttl: Span::from_secs(60),
            data: Blob::new(number.to_be_bytes()).unwrap(),
        };
        let operations = List::new([operation]).unwrap();
        replies.push(handle.submit(Request { id: number.into(), operations }).unwrap());
    }
    for reply in replies {
        assert!(matches!(outcome(reply.reply().await.unwrap()), Outcome::Stored { .. }));
    }
    let status = handle.status().await.unwrap();
    assert_eq!(status.health.store.items, 500);
    assert_eq!(status.shell.receipts_signed, 500);
    assert!(status.shell.roots_signed < 500, "{:?}", status.shell);
    assert!(handle.now() > Time::ZERO);
    running.stop().await.unwrap();
}
