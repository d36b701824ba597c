//! The driver within this process, with a small chain behind it.

use std::sync::Arc;
use std::time::Duration;

use sessionvm::hosted::Phase;
use sessionvm::life::Life;
use sessionvm::zap::frame::{BODY_BYTES_MAX, Frame, PAYLOAD_BYTES_MAX};
use sessionvm::zap::message::{AppGossip, ConnectedRequest, DisconnectedRequest, kind};
use sessionvm::zap::wire::{Bytes, Message};
use sessionvm::zap::{ServeError, serve_life};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::database::{Ends, HostDatabase, Trouble};
use super::fake::{BAD_GENESIS, Fake, PANIC, block};
use super::host::{Engine, Host, PATIENCE, http};
use super::walk::{Doing, PREFIX, World, initialize, start, steady};

struct Small;

impl World for Small {
    fn genesis(&self) -> Vec<u8> {
        b"genesis".to_vec()
    }

    fn issue<'a>(&'a self, address: &'a str, number: u64) -> Doing<'a, ()> {
        Box::pin(async move {
            let transaction = format!("{{\"n\":{number}}}");
            let path = format!("{PREFIX}/rpc");
            let answer = http(address, "POST", &path, &transaction).await;
            assert_eq!(answer, (200, transaction));
        })
    }
}

/// A driver that runs, and its host.
struct Pair {
    vm: Arc<Fake>,
    host: Host,
    life: Life,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Pair {
    async fn new() -> Self {
        let (vm, engine, life) =
            (Arc::new(Fake::new()), Engine::start().await, Life::undisturbed());
        let serving = {
            let (vm, life, address) = (vm.clone(), life.clone(), engine.address());
            tokio::spawn(async move { serve_life(&address, vm, life).await })
        };
        let host = engine.meet().await;
        Self { vm, host, life, serving }
    }

    async fn ended(self) {
        let served = timeout(PATIENCE, self.serving).await.expect("the driver ends");
        served.expect("no panic").expect("it was served");
    }
}

#[tokio::test]
async fn a_whole_life() {
    let database = HostDatabase::start().await;
    let pair = Pair::new().await;
    let (genesis, http) = start(&pair.host, &Small, &database).await;
    let last = steady(&pair.host, &Small, genesis, &http).await;
    pair.host.shutdown().await.expect("it ends");
    assert_eq!(database.ended(1).await, Ends { clean: 1, broken: 0 }, "a FIN, no reset");
    assert_eq!(database.open_iterators(), 0);
    assert_eq!(pair.vm.phases(), [Phase::Bootstrapping, Phase::Ready]);
    pair.host.hang_up().await;
    pair.ended().await;

    let again = Pair::new().await;
    let (restarted, _) = start(&again.host, &Small, &database).await;
    assert_eq!(restarted, last);
}

#[tokio::test]
async fn version_and_shutdown_work_before_initialize() {
    let pair = Pair::new().await;
    assert_eq!(pair.host.version().await, "1.2.3");
    let error = pair.host.health().await.expect_err("it does not run");
    assert!(error.contains("not well"), "{error}");
    pair.host.build_block().await.expect_err("it does not run");
    pair.host.shutdown().await.expect("nothing to end");
    pair.host.shutdown().await.expect("twice is not worse");
    pair.host.hang_up().await;
    pair.ended().await;
}

#[tokio::test]
async fn a_host_that_only_looks_may_come_back() {
    let pair = Pair::new().await;
    assert_eq!(pair.host.version().await, "1.2.3");
    pair.host.hang_up().await;
    let again = Host::dial(pair.host.address()).await;
    assert_eq!(again.version().await, "1.2.3");
    assert!(!pair.serving.is_finished());
}

#[tokio::test]
async fn a_host_that_is_gone_ends_the_chain() {
    let database = HostDatabase::start().await;
    let pair = Pair::new().await;
    pair.host.initialize(&initialize(&Small, &database)).await.expect("it opens");
    let waiting = pair.host.send(kind::WAIT_FOR_EVENT, Vec::new()).await;
    pair.host.hang_up().await;
    assert!(waiting.await.is_err(), "the connection ends");
    let vm = pair.vm.clone();
    pair.ended().await;
    assert_eq!(vm.shutdowns(), 1);
    assert_eq!(database.ended(1).await, Ends { clean: 1, broken: 0 });
}

#[tokio::test]
async fn the_end_of_life_ends_the_driver_while_the_host_waits() {
    let pair = Pair::new().await;
    let waiting = pair.host.send(kind::WAIT_FOR_EVENT, Vec::new()).await;
    pair.host.shutdown().await.expect("it ends");
    assert!(pair.life.is_shut_down());
    pair.life.host_gone();
    assert!(waiting.await.is_err());
    pair.ended().await;
}

#[tokio::test]
async fn a_chain_that_cannot_open_says_why() {
    let database = HostDatabase::start().await;
    let pair = Pair::new().await;
    let mut request = initialize(&Small, &database);
    request.genesis = BAD_GENESIS.to_vec().into();
    assert_eq!(pair.host.initialize(&request).await, Err("genesis: bad".to_owned()));
    let mut request = initialize(&Small, &database);
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    request.db_server_addr = free.local_addr().expect("bound").to_string();
    drop(free);
    let error = pair.host.initialize(&request).await.expect_err("no database");
    assert!(error.contains("opening the database failed"), "{error}");
    request.db_server_addr = String::new();
    assert_eq!(pair.host.initialize(&request).await, Err("no database".to_owned()));
    database.make(Trouble::RefuseWrites);
    let request = initialize(&Small, &database);
    let error = pair.host.initialize(&request).await.expect_err("genesis cannot be written");
    assert!(error.contains("closed"), "{error}");
}

#[tokio::test]
async fn requests_that_mean_nothing_are_answered_with_an_error() {
    let pair = Pair::new().await;
    let say = |kind, body| pair.host.call(kind, body);
    assert_eq!(say(32, vec![]).await, Err("unknown message type 32".to_owned()));
    assert_eq!(say(0, vec![]).await, Err("unknown message type 0".to_owned()));
    let error = say(kind::GET_BLOCK, vec![0, 0, 0, 9]).await.expect_err("short");
    assert_eq!(error, "malformed body of message type 11: field id needs 9 bytes, 0 are left");
    for kind in [60, 61] {
        let error = say(kind, vec![0; 8]).await.expect_err("not announced");
        assert!(error.contains("does not announce"), "{error}");
    }
    let error = say(kind::PARSE_BLOCK, [&[0, 0, 0, 5], PANIC].concat()).await;
    assert!(error.expect_err("it panicked").contains("defect"));
    assert_eq!(pair.host.version().await, "1.2.3", "nothing of it hurt");
}

#[tokio::test]
async fn what_the_chain_does_not_use_is_taken() {
    let pair = Pair::new().await;
    let node = || Bytes(vec![9; 20]);
    let connected = ConnectedRequest {
        node_id: node(),
        name: "luxd".to_owned(),
        major: 1,
        minor: 36,
        patch: 15,
    };
    let gossip = AppGossip { node_id: node(), msg: b"tx".to_vec().into() };
    let taken = [
        (kind::CONNECTED, connected.encode()),
        (kind::DISCONNECTED, DisconnectedRequest { node_id: node() }.encode()),
        (kind::GOSSIP, gossip.encode()),
        (kind::GATHER, vec![]),
    ];
    for (kind, body) in taken {
        assert_eq!(pair.host.call(kind, body).await, Ok(vec![]), "{kind}");
    }
    assert_eq!(pair.vm.gossiped(), [b"tx"]);
    assert_eq!(pair.host.call(kind::STATE_SYNC_ENABLED, vec![]).await, Ok(vec![0, 0]));
    let no_summary = [vec![0; 4 + 8 + 4], vec![3]].concat();
    for (kind, body) in [(24, vec![]), (25, vec![]), (26, vec![0; 4]), (27, vec![0; 8])] {
        assert_eq!(pair.host.call(kind, body).await.as_ref(), Ok(&no_summary), "{kind}");
    }
    assert_eq!(pair.host.call(kind::STATE_SUMMARY_ACCEPT, vec![0; 4]).await, Ok(vec![0, 3]));
}

#[tokio::test]
async fn many_requests_while_the_host_waits_for_events() {
    let database = HostDatabase::start().await;
    let pair = Pair::new().await;
    let opened = pair.host.initialize(&initialize(&Small, &database)).await.expect("it opens");
    let mut events = Vec::new();
    for _ in 0..10 {
        events.push(pair.host.send(kind::WAIT_FOR_EVENT, Vec::new()).await);
    }
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..2000_u64 {
        let host = pair.host.clone();
        let parent = opened.last_accepted_id;
        calls.spawn(async move {
            let block = block(parent, 1, number);
            match number % 3 {
                0 => drop(host.verify(&block.bytes).await.expect("valid")),
                1 => drop(host.parse_block(&block.bytes).await.expect("a block")),
                _ => drop(host.block(parent).await.expect("the last block")),
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("answered");
    }
    for event in &mut events {
        assert!(event.try_recv().is_err(), "nothing happened yet");
    }
    let handlers = pair.host.create_handlers().await;
    Small.issue(&handlers[0].server_addr, 1).await;
    for event in events {
        assert_eq!(timeout(PATIENCE, event).await.expect("an event"), Ok(Ok(vec![1])));
    }
}

#[tokio::test]
async fn the_longest_frame_and_one_byte_more() {
    let pair = Pair::new().await;
    let bytes = vec![7; BODY_BYTES_MAX - 4];
    let error = pair.host.parse_block(&bytes).await.expect_err("not initialized, but read");
    assert!(error.contains("not running"), "{error}");

    let length = PAYLOAD_BYTES_MAX + 1;
    let answer = pair.host.expect(kind::PARSE_BLOCK, u32::MAX);
    let mut frame = u32::try_from(length).expect("16 MiB").to_be_bytes().to_vec();
    frame.push(kind::PARSE_BLOCK);
    frame.extend(u32::MAX.to_be_bytes());
    frame.resize(5 + length, 0);
    pair.host.write(&frame).await;
    let answer = timeout(PATIENCE, answer).await.expect("an answer");
    let error = answer.expect("before the end").expect_err("refused");
    assert_eq!(error, "a frame of 16777217 bytes is over the limit of 16777216");
    // The connection ends; others are taken, for the chain was not begun.
    let again = Host::dial(pair.host.address()).await;
    assert_eq!(again.version().await, "1.2.3");
}

#[tokio::test]
async fn a_frame_without_a_request_ends_the_connection() {
    let pair = Pair::new().await;
    let waiting = pair.host.send(kind::WAIT_FOR_EVENT, Vec::new()).await;
    pair.host.write(&[0, 0, 0, 3, kind::VERSION, 1, 2, 3]).await;
    assert!(timeout(PATIENCE, waiting).await.expect("it ends").is_err());
    let again = Host::dial(pair.host.address()).await;
    assert_eq!(again.version().await, "1.2.3");
}

#[tokio::test]
async fn requests_in_pieces() {
    let pair = Pair::new().await;
    let answer = pair.host.expect(kind::VERSION, 77);
    let frame = Frame { kind: kind::VERSION, request: 77, body: vec![] };
    for byte in frame.to_bytes().expect("short") {
        pair.host.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let answer = timeout(PATIENCE, answer).await.expect("answered").expect("connected");
    assert_eq!(answer, Ok(b"\0\0\0\x051.2.3".to_vec()));
}

/// What `serve` says to a host like this, and that it says so in time.
async fn refusal(engine: &str) -> ServeError {
    let begin = Instant::now();
    let served = serve_life(engine, Arc::new(Fake::new()), Life::undisturbed()).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "hosts wait no longer");
    served.expect_err("nobody to serve")
}

#[tokio::test]
async fn handshakes_that_fail() {
    let engine = Engine::start().await;
    let (address, mismatch) = (engine.address(), engine.shake_hands(&[]));
    let (error, (protocol, _)) = tokio::join!(refusal(&address), mismatch);
    assert_eq!(protocol, 42);
    assert!(matches!(error, ServeError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("protocol 42"), "{error}");

    let (error, _) = tokio::join!(refusal(&address), engine.shake_hands(b"H"));
    assert!(matches!(error, ServeError::NotAHost { answer: b'H', .. }), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    let error = refusal(&address).await;
    assert!(matches!(error, ServeError::NoAnswer { .. }), "{error}");
    drop(silent);
    for nobody in [&address[..], "no address", "/nowhere/vm.sock", "@nowhere"] {
        let error = refusal(nobody).await;
        assert!(matches!(error, ServeError::Unreachable { .. }), "{nobody}: {error}");
        assert!(error.to_string().contains(nobody), "{error}");
    }
}

#[tokio::test]
async fn engines_behind_unix_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vm.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let engine = path.to_str().expect("text").to_owned();
    let life = Life::undisturbed();
    let serving = {
        let life = life.clone();
        tokio::spawn(async move { serve_life(&engine, Arc::new(Fake::new()), life).await })
    };
    let (mut stream, _) = listener.accept().await.expect("the plugin dials");
    stream.write_all(&[1]).await.expect("it waits");
    // It serves: the end of its life is what it waits for.
    life.host_gone();
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("served");
}
