//! The real program, started as luxd starts it.

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
use sessionvm::zap::message::kind;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::database::{Ends, HostDatabase};
use super::host::{Engine, Host, PATIENCE, http};
use super::walk::{Doing, PREFIX, World, initialize, start, steady};

/// How long luxd waits before it kills.
const GRACE: Duration = Duration::from_secs(5);

/// A chain in which somebody gives LUX to itself.
struct Real {
    person: Identity,
    /// Now: a chain whose first epoch is over has a block to build, to turn it.
    begun: Time,
}

impl Real {
    fn new() -> Self {
        Self { person: Identity::from_seed(&[7; 32]), begun: SystemClock::new().now() }
    }
}

impl World for Real {
    fn genesis(&self) -> Vec<u8> {
        let account = self.person.public().account_id();
        let mut genesis = Genesis::new("test", self.begun);
        genesis.accounts = vec![GenesisAccount { account, balance: 1_000_000, keys: None }];
        genesis.supply = 1_000_000;
        genesis.to_json().into_bytes()
    }

    fn issue<'a>(&'a self, address: &'a str, number: u64) -> Doing<'a, ()> {
        let account = self.person.public().account_id();
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: ChainId::from([1; 32]),
            sender: account,
            nonce: number - 1,
            fee_max: Amount(10_000),
            expires: self.begun + Span::from_secs(600),
            action: Action::Transfer { to: account, amount: Amount(1) },
        };
        let signed = transaction.sign(&self.person, true, &mut SeededEntropy::new(number));
        let tx = hex::encode(signed.to_bytes());
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"sessionvm.IssueTx","params":{{"tx":"{tx}"}}}}"#
        );
        Box::pin(async move {
            let (status, said) = http(address, "POST", &format!("{PREFIX}/rpc"), &call).await;
            assert!(status == 200 && said.contains("txId"), "{status}: {said}");
        })
    }
}

/// A running program.
struct Program {
    child: Child,
}

fn command(engine: &str, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("VM_TRANSPORT", "zap")
        .env("VM_RUNTIME_ENGINE_ADDR", engine)
        .env("LUX_VM_RUNTIME_ENGINE_ADDR", engine)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Program {
    fn start(engine: &str) -> Self {
        let mut command = command(engine, env!("CARGO_BIN_EXE_sessionvm"));
        Self { child: command.spawn().expect("it starts") }
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
        assert!(begin.elapsed() < GRACE, "luxd kills what takes longer");
    }
}

/// A program and its host.
async fn pair() -> (Program, Host) {
    let engine = Engine::start().await;
    let program = Program::start(&engine.address());
    let host = engine.meet().await;
    (program, host)
}

#[tokio::test]
async fn a_whole_life_of_the_program() {
    let (world, database) = (Real::new(), HostDatabase::start().await);
    let (program, host) = pair().await;
    let (genesis, http) = start(&host, &world, &database).await;
    program.signal(Signal::TERM);
    program.signal(Signal::INT);
    let last = steady(&host, &world, genesis, &http).await;
    host.shutdown().await.expect("it ends");
    assert_eq!(database.ended(1).await, Ends { clean: 1, broken: 0 }, "a FIN, no reset");
    program.signal(Signal::INT);
    assert!(!host.version().await.is_empty(), "until SIGTERM it stays");
    program.signal(Signal::TERM);
    program.ended_well().await;

    let (program, host) = pair().await;
    let (restarted, _) = start(&host, &world, &database).await;
    assert_eq!(restarted, last);
    drop(program); // SIGKILL
    let (program, host) = pair().await;
    let (restarted, _) = start(&host, &world, &database).await;
    assert_eq!(restarted, last);
    host.hang_up().await;
    program.ended_well().await;
}

#[tokio::test]
async fn the_program_before_initialize() {
    let (program, host) = pair().await;
    assert_eq!(host.version().await, env!("CARGO_PKG_VERSION"));
    let error = host.call(63, vec![]).await.expect_err("unknown");
    assert_eq!(error, "unknown message type 63");
    host.build_block().await.expect_err("there is no chain");
    let error = host.initialize(&initialize(&Nonsense, &HostDatabase::start().await)).await;
    assert!(error.expect_err("it does not open").contains("genesis"));
    host.shutdown().await.expect("nothing to end");
    host.hang_up().await;
    program.ended_well().await;
}

struct Nonsense;

impl World for Nonsense {
    fn genesis(&self) -> Vec<u8> {
        br#"{"version":1,"accounts":"#.to_vec()
    }

    fn issue<'a>(&'a self, _http: &'a str, _number: u64) -> Doing<'a, ()> {
        unreachable!("this chain does not open")
    }
}

#[tokio::test]
async fn many_calls_of_the_program_while_it_waits() {
    let (_program, host) = pair().await;
    let (last, _) = start(&host, &Real::new(), &HostDatabase::start().await).await;
    let mut event = host.send(kind::WAIT_FOR_EVENT, Vec::new()).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1500 {
        let host = host.clone();
        calls.spawn(async move { host.block(last.0).await.expect("the last block").height });
    }
    while let Some(height) = calls.join_next().await {
        assert_eq!(height.expect("answered"), last.1);
    }
    assert!(event.try_recv().is_err(), "nothing happened yet");
}

#[tokio::test]
async fn the_program_says_why_it_cannot_start() {
    let refusing = Engine::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent_address = silent.local_addr().expect("bound").to_string();
    let nobody = "127.0.0.1:1".to_owned();
    let cases = [
        (refusing.address(), "does not speak protocol 42"),
        (silent_address, "did not answer the handshake in time"),
        (nobody, "no host at the engine address"),
    ];
    for (engine, words) in cases {
        let begin = Instant::now();
        let program = Program::start(&engine);
        let ((status, said), ()) = tokio::join!(program.ended(), async {
            if engine == refusing.address() {
                refusing.shake_hands(&[]).await;
            }
        });
        assert!(begin.elapsed() < GRACE, "{engine}");
        assert!(!status.success(), "{engine}: {said}");
        assert!(said.contains(words) && said.contains(&engine), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn the_program_does_not_outlive_the_process_that_started_it() {
    let engine = Engine::start().await;
    let mut parent = command(&engine.address(), "sh")
        .args(["-c", "\"$0\" & wait", env!("CARGO_BIN_EXE_sessionvm")])
        .spawn()
        .expect("it starts");
    let host = engine.meet().await;
    assert!(!host.version().await.is_empty());
    parent.kill().await.expect("it is ours");
    // The program holds the pipe until it ends, and our connection to it stays open.
    let mut stdout = parent.stdout.take().expect("piped");
    let ended = timeout(PATIENCE, stdout.read_to_end(&mut Vec::new())).await;
    ended.expect("it ends").expect("readable");
}
