//! A chain of its own with short epochs, nodes that register on it, and a source that lies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use session_core::{Encode as _, SeededEntropy, Span};
use session_crypto::{Identity, identity_file};
use session_protocol::chain::{Action, Amount, Transaction};
use session_rpc::vm::Genesis;
use session_rpc::vm::genesis::{Duties, GenesisAccount};
use tempfile::TempDir;

use super::http::{post, request};
use super::node::{Node, sessiond};
use super::owner::now;

/// Short, so that a test sees several; long enough for a busy machine.
const EPOCH: Span = Span::from_secs(4);
/// A hang must not hang the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running sequencer.
pub(crate) struct Chain {
    dir: TempDir,
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) operator: Identity,
}

impl Chain {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut rng = SeededEntropy::new(7);
        let (sequencer, operator) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
        let file = |name: &str| dir.path().join(name);
        secret(&file("sequencer.key"), &sequencer);
        secret(&file("operator.key"), &operator);
        let mut genesis = Genesis::new("test", now());
        genesis.sequencer = Some(keys(&sequencer));
        genesis.epoch = EPOCH;
        genesis.unbonding = Span::from_secs(5);
        genesis.duties = Duties {
            settle: Span::from_secs(1),
            examiners: 8,
            min_peers: 2,
            free_bytes_min: 1 << 20,
            activation_epochs: 1,
            veto_window: Span::from_secs(2),
            drain_epochs_max: 4,
            ..Duties::default()
        };
        let balance = Amount::lux(1_000_000).0;
        let account = operator.public().account_id();
        genesis.accounts = vec![GenesisAccount { account, balance, keys: Some(keys(&operator)) }];
        genesis.supply = balance;
        std::fs::write(file("genesis.json"), genesis.to_json()).unwrap();
        let program = super::node::program().with_file_name("sessionvm");
        assert!(program.exists(), "run 'cargo build -p sessionvm' or the whole suite");
        let mut command = Command::new(program);
        command.args(["--stop-with-stdin", "--client-rate", "0", "--listen", "127.0.0.1:0"]);
        command.args(["--block-time", "100", "--data-dir"]).arg(file("chain"));
        command.arg("--genesis").arg(file("genesis.json"));
        command.arg("--sequencer-key").arg(file("sequencer.key"));
        command.env_remove("SESSION_LOG").env_remove("SESSIONVM_ADDR");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let http = line.trim_end().strip_prefix("listening on http ").map(str::parse);
        let Some(Ok(http)) = http else {
            panic!("the chain does not start: {:?}", child.wait_with_output())
        };
        let mut stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        Self { dir, child, http, operator }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.dir.path().join("genesis.json")
    }

    pub(crate) fn operator_key(&self) -> PathBuf {
        self.dir.path().join("operator.key")
    }

    /// Makes a place for a node at a UDP port that was free a moment ago.
    pub(crate) fn place(&self, name: &str) -> Member {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = self.dir.path().join(name);
        Member { dir, udp: free, genesis: self.genesis(), url: self.url() }
    }

    /// Makes a place and registers its node.
    pub(crate) fn member(&self, name: &str) -> Member {
        let member = self.place(name);
        let output = member.register(&self.operator_key());
        assert!(output.status.success(), "{output:?}");
        member
    }

    /// Makes a call of the chain.
    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        let method = format!("sessionvm.{method}");
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        post(self.http, &call)
    }

    /// Signs a transaction of the operator's and hands it over; returns the answer.
    pub(crate) fn issue(&self, action: Action) -> Value {
        let account = self.operator.public().account_ref().to_string();
        let account = self.call("GetAccount", json!({"account": account}));
        let chain = request(self.http, "GET", "/health", "", b"").json();
        let transaction = Transaction {
            version: 1,
            chain: chain["chainId"].as_str().unwrap().parse().unwrap(),
            sender: self.operator.public().account_id(),
            nonce: account["result"]["account"]["nonce"].as_u64().unwrap(),
            fee_max: Amount::lux(1),
            expires: now() + Span::from_secs(30),
            action,
        };
        let mut rng = SeededEntropy::new(3);
        let signed = transaction.sign(&self.operator, false, &mut rng);
        self.call("IssueTx", json!({"tx": hex::encode(signed.to_bytes())}))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret(path: &Path, keys: &Identity) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, identity_file::encode_plain(keys)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn keys(identity: &Identity) -> Vec<u8> {
    identity.public().to_bytes()
}

/// A node's place, and where it is reached.
pub(crate) struct Member {
    dir: PathBuf,
    udp: SocketAddr,
    genesis: PathBuf,
    url: String,
}

impl Member {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn own(&self, command: &str) -> Command {
        let mut made = sessiond(&[command, "--data-dir"]);
        made.arg(&self.dir).arg("--genesis").arg(&self.genesis);
        made
    }

    pub(crate) fn register(&self, operator: &Path) -> Output {
        let mut command = self.own("register");
        command.args(["--chain", &self.url, "--address", &self.udp.to_string()]);
        command.arg("--operator-key").arg(operator).output().unwrap()
    }

    pub(crate) fn decommission(&self, operator: &Path) -> Output {
        let mut command = self.own("decommission");
        command.args(["--chain", &self.url]).arg("--operator-key").arg(operator);
        command.output().unwrap()
    }

    pub(crate) fn drain(&self, node: &Node, more: &[&str]) -> Output {
        let mut command = self.own("drain");
        command.args(["--chain", &self.url, "--http", &node.http.to_string()]);
        command.args(more).output().unwrap()
    }

    pub(crate) fn status(&self, node: &Node) -> Output {
        self.own("status").args(["--http", &node.http.to_string()]).output().unwrap()
    }

    pub(crate) fn doctor(&self, node: &Node) -> Output {
        let (udp, http) = (self.udp.to_string(), node.http.to_string());
        let mut command = self.own("doctor");
        command.args(["--chain", &self.url, "--listen", &udp, "--http", &http, "--json"]);
        command.output().unwrap()
    }

    pub(crate) fn start(&self) -> Node {
        self.start_with(&self.url, &[])
    }

    pub(crate) fn start_with(&self, chain: &str, more: &[&str]) -> Node {
        let mut command = sessiond(&["--http", "127.0.0.1:0", "--client-rate", "0", "--data-dir"]);
        command.arg(&self.dir).arg("--genesis").arg(&self.genesis);
        command.args(["--listen", &self.udp.to_string(), "--chain", chain]).args(more);
        Node::start(command)
    }
}

impl Node {
    pub(crate) fn health(&self) -> Value {
        request(self.http, "GET", "/health", "", b"").json()
    }

    /// Waits until the health is as wanted, and returns it.
    pub(crate) fn becomes(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || Some(self.health()).filter(&wanted))
    }
}

/// Waits until there is an answer.
#[allow(clippy::disallowed_methods)] // a stopwatch
pub(crate) fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A source that hands on what another one says, and alters a byte of every block.
pub(crate) struct Liar {
    pub(crate) http: SocketAddr,
}

impl Liar {
    pub(crate) fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || drop(lie(stream, behind)));
            }
        });
        Self { http }
    }
}

/// Answers one request.
fn lie(mut stream: TcpStream, behind: SocketAddr) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut answer = request(behind, "GET", &path, "", b"");
    if path.starts_with("/blocks/") && answer.status == 200 {
        let middle = answer.body.len() / 2;
        answer.body[middle] ^= 1;
    }
    let (status, length) = (answer.status, answer.body.len());
    let head =
        format!("HTTP/1.1 {status} said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}
