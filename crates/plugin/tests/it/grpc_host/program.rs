//! The real program, started as avalanchego starts it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use session_core::{ChainId, Encode, SeededEntropy, Span, Time};
use session_crypto::Identity;
use session_protocol::chain::transaction::TRANSACTION_VERSION;
use session_protocol::chain::{Action, Amount, Transaction};
use session_rpc::vm::Genesis;
use session_rpc::vm::genesis::GenesisAccount;
use session_runtime::SystemClock;
use sessionvm::grpc::PROTOCOL;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::host::{Host, PATIENCE, Plugin, Store};
use super::wire::http::{Element, HandleSimpleHttpRequest, HandleSimpleHttpResponse};
use super::wire::vm::*;

/// How long avalanchego waits before it kills.
const GRACE: Duration = Duration::from_secs(5);

const CHAIN: [u8; 32] = [1; 32];

/// A running program.
struct Program {
    child: Child,
}

impl Program {
    /// Starts it with the engine's address, these arguments, and nothing else.
    fn start(engine: &str, args: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sessionvm"))
            .args(args)
            .env_clear()
            .env("AVALANCHE_VM_RUNTIME_ENGINE_ADDR", engine)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        Self { child: child.expect("it starts") }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| id.try_into().ok()).and_then(Pid::from_raw);
        kill_process(id.expect("it runs"), signal).expect("it is ours");
    }

    /// Waits for the end; returns what was said on the way.
    async fn ended(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        let read = timeout(PATIENCE, stderr.read_to_string(&mut said)).await;
        read.expect("it ends").expect("text");
        (self.child.wait().await.expect("it ended"), said)
    }

    async fn ended_well(self) {
        let begin = Instant::now();
        let (status, said) = self.ended().await;
        assert!(status.success(), "{status}: {said}");
        assert!(begin.elapsed() < GRACE, "avalanchego kills what takes longer");
    }
}

/// Somebody who gives LUX to itself.
struct Person {
    identity: Identity,
    /// When the chain began: just now, so that no epoch is over and calls for a block.
    begin: Time,
}

impl Person {
    fn new() -> Self {
        Self { identity: Identity::from_seed(&[7; 32]), begin: SystemClock::new().now() }
    }

    fn genesis(&self) -> Vec<u8> {
        let account = self.identity.public().account_id();
        let mut genesis = Genesis::new("test", self.begin);
        genesis.accounts = vec![GenesisAccount { account, balance: 1_000_000, keys: None }];
        genesis.supply = 1_000_000;
        genesis.to_json().into_bytes()
    }

    /// Returns the bytes of a transaction.
    fn transaction(&self, nonce: u64) -> Vec<u8> {
        let account = self.identity.public().account_id();
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: ChainId::from(CHAIN),
            sender: account,
            nonce,
            fee_max: Amount(10_000),
            expires: SystemClock::new().now() + Span::from_secs(600),
            action: Action::Transfer { to: account, amount: Amount(1) },
        };
        transaction.sign(&self.identity, true, &mut SeededEntropy::new(nonce)).to_bytes()
    }
}

/// Initializes a chain and brings it to its frontier, in avalanchego's order.
async fn open(host: &Host, plugin: &mut Plugin, person: &Person) -> InitializeResponse {
    let vm = &mut plugin.vm;
    let request = InitializeRequest {
        network_id: 1337,
        subnet_id: vec![9; 32],
        chain_id: CHAIN.to_vec(),
        node_id: vec![2; 20],
        public_key: vec![3; 48],
        genesis_bytes: person.genesis(),
        db_server_addr: host.database.address.to_string(),
        server_addr: host.network.address.to_string(),
        ..InitializeRequest::default()
    };
    let opened = vm.initialize(request).await.expect("the chain opens").into_inner();
    assert!(opened.timestamp.is_some());
    let bootstrapping = SetStateRequest { state: State::Bootstrapping.into() };
    let now = vm.set_state(bootstrapping).await.expect("bootstrapping").into_inner();
    assert_eq!(now.last_accepted_id, opened.last_accepted_id);
    let last = block(vm, &opened.last_accepted_id).await;
    assert_eq!((last.height, &last.bytes), (opened.height, &opened.bytes));
    assert_eq!(
        (&last.parent_id, last.timestamp),
        (&opened.last_accepted_parent_id, opened.timestamp)
    );
    let last = SetPreferenceRequest { id: opened.last_accepted_id.clone() };
    vm.set_preference(last).await.expect("the last block is known");
    let ready = SetStateRequest { state: State::NormalOp.into() };
    let now = vm.set_state(ready).await.expect("ready").into_inner();
    assert_eq!(now.last_accepted_id, opened.last_accepted_id);
    opened
}

type Vm = vm_client::VmClient<tonic::transport::Channel>;

async fn block(vm: &mut Vm, id: &[u8]) -> GetBlockResponse {
    let block = vm.get_block(GetBlockRequest { id: id.to_vec() }).await;
    let block = block.expect("no error of gRPC").into_inner();
    assert!(block.timestamp.is_some());
    block
}

async fn at_height(vm: &mut Vm, height: u64) -> GetBlockIdAtHeightResponse {
    let found = vm.get_block_id_at_height(GetBlockIdAtHeightRequest { height }).await;
    found.expect("no error of gRPC").into_inner()
}

async fn ancestors(vm: &mut Vm, id: &[u8], blocks: i32, bytes: i32) -> Vec<Vec<u8>> {
    let request = GetAncestorsRequest {
        blk_id: id.to_vec(),
        max_blocks_num: blocks,
        max_blocks_size: bytes,
        max_blocks_retrival_time: 2_000_000_000,
    };
    vm.get_ancestors(request).await.expect("no error of gRPC").into_inner().blks_bytes
}

/// Waits until a block can be built.
async fn event(vm: &mut Vm) {
    let event = timeout(PATIENCE, vm.wait_for_event(())).await.expect("an event in time");
    assert_eq!(event.expect("no error of gRPC").into_inner().message(), Message::BuildBlock);
}

async fn request(
    address: &str,
    method: &str,
    path: &str,
    body: String,
) -> HandleSimpleHttpResponse {
    let kind =
        Element { key: "Content-Type".to_owned(), values: vec!["application/json".to_owned()] };
    let request = HandleSimpleHttpRequest {
        method: method.to_owned(),
        url: format!("/ext/bc/2JVSBoinj9C2J33VntvzYtVJNZdN2NKiwwKjcumHUWEb5DbBrm{path}"),
        request_headers: vec![kind],
        body: body.into_bytes(),
        response_headers: Vec::new(),
    };
    let answer = Plugin::http(address).await.handle_simple(request).await;
    answer.expect("no error of gRPC").into_inner()
}

async fn issue(address: &str, transaction: &[u8]) {
    let tx = hex::encode(transaction);
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"sessionvm.IssueTx","params":{{"tx":"{tx}"}}}}"#
    );
    let answer = request(address, "POST", "/rpc", call).await;
    let said = String::from_utf8(answer.body).expect("text");
    assert!(answer.code == 200 && said.contains("txId"), "{}: {said}", answer.code);
}

async fn handlers(vm: &mut Vm) -> String {
    let handlers = vm.create_handlers(()).await.expect("handlers").into_inner().handlers;
    let prefixes: Vec<_> = handlers.iter().map(|handler| handler.prefix.as_str()).collect();
    assert_eq!(prefixes, ["/rpc", "/health", "/metrics", ""]);
    let own = vm.new_http_handler(()).await.expect("an answer").into_inner();
    assert_eq!(own.server_addr, "");
    handlers[0].server_addr.clone()
}

/// What is left by [`steady`].
struct Last {
    id: Vec<u8>,
    bytes: Vec<u8>,
    /// What precedes a transaction in gossip.
    frame: Vec<u8>,
}

/// Builds and decides blocks.
async fn steady(host: &mut Host, vm: &mut Vm, person: &Person, genesis: &[u8]) -> Last {
    let http = handlers(vm).await;
    for path in ["/health", "/metrics"] {
        assert_eq!(request(&http, "GET", path, String::new()).await.code, 200, "{path}");
    }
    vm.build_block(BuildBlockRequest::default()).await.expect_err("there is nothing to build");
    let mut waiting = vm.clone();
    let given_up = tokio::spawn(async move { waiting.wait_for_event(()).await });
    vm.version(()).await.expect("calls go on meanwhile");
    given_up.abort();
    let transaction = person.transaction(0);
    issue(&http, &transaction).await;
    let told = timeout(PATIENCE, host.gossip.recv()).await.expect("gossip").expect("it runs");
    assert!(told.validators > 0 && told.msg.ends_with(&transaction));
    let frame = told.msg[..told.msg.len() - transaction.len()].to_vec();
    event(vm).await;
    event(vm).await;

    let built = vm.build_block(BuildBlockRequest { p_chain_height: Some(3) }).await;
    let built = built.expect("there is something to build").into_inner();
    assert_eq!((built.parent_id.as_slice(), built.height), (genesis, 1));
    let again = vm.build_block(BuildBlockRequest::default()).await.expect("the same").into_inner();
    assert_eq!(again, built, "until it is decided");
    let parsed = vm.parse_block(ParseBlockRequest { bytes: built.bytes.clone() }).await;
    let parsed = parsed.expect("a block").into_inner();
    assert_eq!((&parsed.id, parsed.timestamp), (&built.id, built.timestamp));
    let both = vec![built.bytes.clone(), built.bytes.clone()];
    let both = vm.batched_parse_block(BatchedParseBlockRequest { request: both }).await;
    assert_eq!(both.expect("blocks").into_inner().response, [parsed.clone(), parsed]);
    let verify = BlockVerifyRequest { bytes: built.bytes.clone(), p_chain_height: Some(3) };
    let verified = vm.block_verify(verify.clone()).await.expect("our own block").into_inner();
    assert_eq!(verified.timestamp, built.timestamp);
    assert_eq!(block(vm, &built.id).await.bytes, built.bytes, "undecided, addressable");
    assert_eq!(at_height(vm, 1).await.err(), Error::NotFound, "not accepted yet");

    vm.block_reject(BlockRejectRequest { id: built.id.clone() }).await.expect("rejected");
    event(vm).await;
    let built = vm.build_block(BuildBlockRequest::default()).await.expect("again").into_inner();
    let verify = BlockVerifyRequest { bytes: built.bytes.clone(), p_chain_height: None };
    vm.block_verify(verify).await.expect("our own block");
    vm.set_preference(SetPreferenceRequest { id: built.id.clone() }).await.expect("known");
    vm.block_accept(BlockAcceptRequest { id: built.id.clone() }).await.expect("accepted");
    assert_eq!(at_height(vm, 1).await.blk_id, built.id);
    assert_eq!(block(vm, &built.id).await.err(), Error::Unspecified);
    Last { id: built.id, bytes: built.bytes, frame }
}

/// What peers cause, whatever they send.
async fn others(vm: &mut Vm, last: &[u8], bytes: &[u8]) {
    assert_eq!(block(vm, &[0xee; 32]).await.err(), Error::NotFound);
    assert_eq!(at_height(vm, u64::MAX).await.err(), Error::NotFound);
    assert_eq!(ancestors(vm, &[0xee; 32], 10, 1 << 20).await, [b""; 0]);
    assert_eq!(ancestors(vm, last, 10, 1 << 20).await.len(), 2);
    assert_eq!(ancestors(vm, last, 1, 1 << 20).await, [bytes]);
    vm.parse_block(ParseBlockRequest { bytes: vec![1; 9] }).await.expect_err("no block");
    vm.connected(ConnectedRequest { node_id: vec![5; 20], ..Default::default() })
        .await
        .expect("never an error");
    for msg in [&b""[..], b"\0", b"\0garbage", b"\x7fother"] {
        let gossip = AppGossipMsg { node_id: vec![5; 20], msg: msg.to_vec() };
        vm.app_gossip(gossip).await.expect("never an error");
    }
    vm.app_request(AppRequestMsg::default()).await.expect("never an error");
    let summary = vm.get_last_state_summary(()).await.expect("no error of gRPC").into_inner();
    assert_eq!(summary.err(), Error::StateSyncNotImplemented);
    let health = vm.health(()).await.expect("all is well").into_inner().details;
    assert!(health.starts_with(b"{"), "{}", String::from_utf8_lossy(&health));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_of_the_program() {
    let (person, store) = (Person::new(), Store::default());
    let mut host = Host::start(PROTOCOL, store.clone()).await;
    let engine = host.engine.address.to_string();

    let program = Program::start(&engine, &[]);
    let mut plugin = host.plugin().await;
    let genesis = open(&host, &mut plugin, &person).await;
    assert_eq!(genesis.height, 0);
    program.signal(Signal::TERM);
    program.signal(Signal::INT);
    let vm = &mut plugin.vm;
    let last = steady(&mut host, vm, &person, &genesis.last_accepted_id).await;
    others(vm, &last.id, &last.bytes).await;

    // What another validator's plugin gossips makes a block here.
    let gossiped = [last.frame, person.transaction(1)].concat();
    let last = last.id;
    vm.app_gossip(AppGossipMsg { node_id: vec![5; 20], msg: gossiped }).await.expect("taken");
    event(vm).await;
    let built = vm.build_block(BuildBlockRequest::default()).await.expect("built").into_inner();
    assert_eq!((built.height, &built.parent_id), (2, &last));

    vm.shutdown(()).await.expect("it ends");
    program.signal(Signal::INT);
    assert!(!vm.version(()).await.expect("until SIGTERM it stays").into_inner().version.is_empty());
    program.signal(Signal::TERM);
    program.ended_well().await;

    let program = Program::start(&engine, &[]);
    let mut plugin = host.plugin().await;
    assert_eq!(open(&host, &mut plugin, &person).await.last_accepted_id, last);
    drop(program); // SIGKILL
    let program = Program::start(&engine, &[]);
    let mut plugin = host.plugin().await;
    assert_eq!(open(&host, &mut plugin, &person).await.last_accepted_id, last);
    plugin.vm.shutdown(()).await.expect("it ends");
    drop(plugin);
    program.ended_well().await;
    assert_eq!(store.open_iterators(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_before_initialize() {
    let mut host = Host::start(PROTOCOL, Store::default()).await;
    let program = Program::start(&host.engine.address.to_string(), &[]);
    let mut plugin = host.plugin().await;
    let version = plugin.vm.version(()).await.expect("a version").into_inner().version;
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    plugin.vm.build_block(BuildBlockRequest::default()).await.expect_err("there is no chain");
    plugin.vm.connected(ConnectedRequest::default()).await.expect("never an error");
    plugin.vm.app_gossip(AppGossipMsg::default()).await.expect("never an error");
    let nonsense = InitializeRequest {
        chain_id: CHAIN.to_vec(),
        genesis_bytes: br#"{"version":1,"accounts":"#.to_vec(),
        db_server_addr: host.database.address.to_string(),
        ..InitializeRequest::default()
    };
    let refused = plugin.vm.initialize(nonsense).await.expect_err("it does not open");
    assert!(refused.message().contains("genesis"), "{refused}");
    plugin.vm.shutdown(()).await.expect("nothing to end");
    drop(plugin);
    program.ended_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_says_why_it_cannot_start() {
    let newer = Host::start(46, Store::default()).await;
    let newer = newer.engine.address.to_string();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent = silent.local_addr().expect("bound").to_string();
    let cases = [
        (newer.as_str(), "protocol 45: handshake failed: expected protocol version 46"),
        (silent.as_str(), "nothing came within"),
        ("127.0.0.1:1", "refused"),
        ("nonsense", "not an address and a port"),
    ];
    for (engine, words) in cases {
        let begin = Instant::now();
        let (status, said) = Program::start(engine, &[]).ended().await;
        assert!(begin.elapsed() < GRACE, "{engine}");
        assert!(!status.success(), "{engine}: {said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_number_can_be_given() {
    let mut host = Host::start(46, Store::default()).await;
    let program = Program::start(&host.engine.address.to_string(), &["--rpcchainvm", "46"]);
    let mut plugin = host.plugin().await;
    plugin.vm.shutdown(()).await.expect("nothing to end");
    drop(plugin);
    program.ended_well().await;
}
