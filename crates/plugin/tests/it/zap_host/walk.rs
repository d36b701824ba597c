//! The whole life of a chain under luxd, in luxd's order, with any chain.

use std::pin::Pin;

use session_core::BlockId;
use sessionvm::zap::message::{InitializeRequest, code, kind};
use sessionvm::zap::wire::Bytes;

use super::database::HostDatabase;
use super::host::{Host, http, id};

pub(super) type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the walk must know of a chain.
pub(super) trait World: Sync {
    fn genesis(&self) -> Vec<u8>;

    /// Gives the chain its `number`th transaction, over HTTP.
    fn issue<'a>(&'a self, http: &'a str, number: u64) -> Doing<'a, ()>;
}

/// Where a chain's HTTP is, as luxd forwards it.
pub(super) const PREFIX: &str = "/v1/bc/2JVSBoinj9C2J33VntvzYtVJNZdN2NKiwwKjcumHUWEb5DbBrm";

/// What luxd says at the start.
pub(super) fn initialize(world: &dyn World, database: &HostDatabase) -> InitializeRequest {
    InitializeRequest {
        network_id: 1337,
        chain_id: [1; 32].into(),
        node_id: vec![2; 20].into(),
        public_key: vec![3; 48].into(),
        x_chain_id: vec![4; 32].into(),
        c_chain_id: vec![5; 32].into(),
        utxo_asset_id: vec![6; 32].into(),
        chain_data_dir: String::new(),
        genesis: world.genesis().into(),
        upgrade: Bytes::default(),
        config: Bytes::default(),
        db_server_addr: database.address().to_owned(),
        server_addr: String::new(),
        atomic_server_addr: Some(String::new()),
        d_chain_id: Some(Bytes::default()),
        validator_server_addr: Some(String::new()),
    }
}

/// Starts a chain, as luxd does; returns the last accepted block and where HTTP is.
pub(super) async fn start(
    host: &Host,
    world: &dyn World,
    database: &HostDatabase,
) -> ((BlockId, u64), String) {
    let opened = host.initialize(&initialize(world, database)).await.expect("the chain opens");
    let bootstrapping = host.set_state(3).await.expect("bootstrapping");
    assert_eq!(bootstrapping, opened);
    let last = opened.last_accepted_id;
    let block = host.block(last).await.expect("the last block is there");
    assert_eq!(id(&block.id), last);
    assert_eq!(id(&block.parent_id), opened.parent_id);
    assert_eq!((block.height, block.timestamp), (opened.height, opened.timestamp));
    assert_eq!(block.bytes, opened.bytes);
    host.set_preference(last).await.expect("the last block is known");
    let handlers = host.create_handlers().await;
    let prefixes: Vec<_> = handlers.iter().map(|handler| handler.prefix.as_str()).collect();
    assert_eq!(prefixes, ["/rpc", "/ws", "/health", "/metrics", ""]);
    let http = handlers[0].server_addr.clone();
    assert!(handlers.iter().all(|handler| handler.server_addr == http));
    assert_eq!(host.create_handlers().await, handlers, "there is one server, however often asked");
    let none = host.call(kind::NEW_HTTP_HANDLER, Vec::new()).await;
    assert_eq!(none, Ok(vec![0; 4]));
    assert_eq!(host.set_state(4).await.expect("ready"), opened);
    ((last, opened.height), http)
}

/// Walks through everything but start and end; returns the last accepted block.
pub(super) async fn steady(
    host: &Host,
    world: &dyn World,
    (genesis, height): (BlockId, u64),
    http_address: &str,
) -> (BlockId, u64) {
    let nothing = host.build_block().await.expect_err("there is nothing to build");
    assert!(!nothing.is_empty());
    let (status, _) = http(http_address, "GET", &format!("{PREFIX}/health"), "").await;
    assert_eq!(status, 200, "the prefix of the path does not count");

    let event = host.send(kind::WAIT_FOR_EVENT, Vec::new()).await;
    world.issue(http_address, 1).await;
    let event = tokio::time::timeout(super::host::PATIENCE, event).await.expect("an event");
    assert_eq!(event, Ok(Ok(vec![1])));
    assert_eq!(host.wait_for_event().await, 1, "at once, for it is still true");

    let built = host.build_block().await.expect("there is something to build");
    let block = id(&built.id);
    assert_eq!((id(&built.parent_id), built.height), (genesis, height + 1));
    assert_eq!(host.build_block().await.as_ref(), Ok(&built), "until it is decided");
    assert_eq!(host.parse_block(&built.bytes.0).await.as_ref(), Ok(&built));
    let both = host.batched_parse(vec![built.bytes.clone(), built.bytes.clone()]).await;
    assert_eq!(both, Ok(vec![built.clone(), built.clone()]));
    assert_eq!(host.verify(&built.bytes.0).await, Ok(built.timestamp));
    assert_eq!(host.block(block).await.as_ref(), Ok(&built), "verified, undecided, addressable");
    assert_eq!(host.id_at_height(height + 1).await, Err(code::NOT_FOUND), "not accepted yet");
    host.set_preference(block).await.expect("it is known");
    host.accept(block).await.expect("it was verified");
    assert_eq!(host.block(block).await.as_ref(), Ok(&built));
    assert_eq!(host.id_at_height(height + 1).await, Ok(block));
    assert_eq!(host.id_at_height(height).await, Ok(genesis));
    assert_eq!(host.id_at_height(u64::MAX).await, Err(code::NOT_FOUND));

    world.issue(http_address, 2).await;
    assert_eq!(host.wait_for_event().await, 1);
    let rejected = host.build_block().await.expect("a second one");
    assert_eq!(host.verify(&rejected.bytes.0).await, Ok(rejected.timestamp));
    host.reject(id(&rejected.id)).await.expect("it was verified");
    host.set_preference(block).await.expect("it is the last one");
    assert_eq!(host.wait_for_event().await, 1, "its transaction waits again");
    assert_eq!(host.id_at_height(height + 2).await, Err(code::NOT_FOUND));

    unknown_things(host).await;
    ancestors(host, block, &built.bytes).await;
    assert!(!host.health().await.expect("all is well").is_empty());
    (block, height + 1)
}

async fn unknown_things(host: &Host) {
    let unknown = BlockId::from([0xee; 32]);
    assert_eq!(host.block(unknown).await, Err(code::NOT_FOUND));
    assert_eq!(host.ancestors(unknown, 10, 1 << 20).await, vec![]);
    host.set_preference(unknown).await.expect_err("nothing can be built on it");
    host.accept(unknown).await.expect_err("it was not verified");
    host.parse_block(b"no block").await.expect_err("these are no block");
    host.verify(b"no block").await.expect_err("these are no block");
    host.batched_parse(vec![b"no block".to_vec().into()]).await.expect_err("nor here");
}

async fn ancestors(host: &Host, block: BlockId, bytes: &Bytes) {
    let both = host.ancestors(block, 10, 1 << 20).await;
    assert_eq!(both.first(), Some(bytes));
    assert!(both.len() >= 2, "genesis is one of them");
    assert_eq!(host.ancestors(block, 1, 1 << 20).await, vec![bytes.clone()]);
    let room_for_one = i32::try_from(bytes.0.len() + 4).expect("short");
    assert_eq!(host.ancestors(block, 10, room_for_one).await, vec![bytes.clone()]);
    assert_eq!(host.ancestors(block, 0, 1 << 20).await, vec![]);
}
