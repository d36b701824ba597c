//! Starts what the tests need, and ends it however they end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a debug build on a busy machine; no test waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

fn session_path() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_session"))
}

fn sessiond_path() -> PathBuf {
    beside("sessiond")
}

pub(crate) fn sessionvm_path() -> PathBuf {
    beside("sessionvm")
}

fn beside(program: &str) -> PathBuf {
    let path = session_path().with_file_name(program);
    assert!(
        path.exists(),
        "{program} is not built: run 'cargo build -p {program}' or the whole suite"
    );
    path
}

/// Runs `session` with a home of its own.
pub(crate) struct Person {
    home: PathBuf,
    network: Option<PathBuf>,
}

impl Person {
    pub(crate) fn new(dir: &Path, name: &str, network: Option<&Path>) -> Self {
        Self { home: dir.join(name), network: network.map(Path::to_owned) }
    }

    /// Makes the identity too; returns its id.
    pub(crate) fn with_identity(dir: &Path, name: &str, network: &Path) -> (Self, String) {
        let person = Self::new(dir, name, Some(network));
        let made = person.json(&["id", "new", "--plain"]);
        let id = made[0]["id"].as_str().expect("an id").to_owned();
        (person, id)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(session_path());
        command.arg("--home").arg(&self.home);
        if let Some(network) = &self.network {
            command.arg("--network").arg(network);
        }
        command.args(args).env_remove("SESSION_PASSPHRASE").env_remove("SESSION_LOG");
        command.env_remove("SESSION_CHAIN");
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("session starts")
    }

    /// Runs a command that must succeed; returns its JSON lines.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let mut all = vec!["--json"];
        all.extend_from_slice(args);
        let output = self.output(&all);
        assert!(output.status.success(), "session {args:?}: {}", text(&output.stderr));
        lines(&output.stdout)
    }

    /// Runs a command that must fail; returns the exit code and what it said.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.output(args);
        assert!(!output.status.success(), "session {args:?} succeeded: {}", text(&output.stdout));
        (output.status.code().expect("an exit code"), text(&output.stderr))
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Says something to whoever looks at what tests print.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// One node of a [`Network`].
pub(crate) struct Node {
    pub(crate) listen: String,
    pub(crate) http: String,
    pub(crate) pid: u32,
}

/// A network that `session up` runs.
pub(crate) struct Network {
    pub(crate) dir: TempDir,
    pub(crate) chain: String,
    pub(crate) nodes: Vec<Node>,
    /// What it says after it is ready.
    said: Arc<Mutex<Vec<Value>>>,
    up: Child,
    restarted: Vec<Child>,
}

impl Network {
    pub(crate) fn start(nodes: usize) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), nodes)
    }

    /// Stops it, and starts it again in the same directory.
    pub(crate) fn again(self, nodes: usize) -> Self {
        self.again_after(nodes, |_| {})
    }

    /// Stops it, does something to its directory, and starts it again.
    pub(crate) fn again_after(mut self, nodes: usize, change: impl FnOnce(&Path)) -> Self {
        let empty = tempfile::tempdir().expect("a directory");
        let dir = std::mem::replace(&mut self.dir, empty);
        drop(self);
        change(&dir.path().join("net"));
        Self::start_in(dir, nodes)
    }

    fn start_in(dir: TempDir, nodes: usize) -> Self {
        Self::start_with(dir, nodes, &[])
    }

    /// Starts one with nodes that lie besides, and with epochs of some seconds.
    pub(crate) fn start_lying(good: usize, bad: usize, epoch: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (good, lying) = (good.to_string(), bad.to_string());
        let args = ["--nodes", &good, "--bad", &lying, "--epoch", epoch];
        let nodes = good.parse::<usize>().expect("a number") + bad;
        Self::start_with(dir, nodes, &args)
    }

    fn start_with(dir: TempDir, nodes: usize, args: &[&str]) -> Self {
        sessiond_path();
        sessionvm_path();
        let count = nodes.to_string();
        let usual = ["--nodes", &count];
        let mut up = Command::new(session_path())
            .args(["--json", "up"])
            .args(if args.is_empty() { &usual } else { args })
            .arg("--dir")
            .arg(dir.path().join("net"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("session starts");
        let mut stdout = BufReader::new(up.stdout.take().expect("piped")).lines();
        let read = |line: std::io::Result<String>| -> Value {
            serde_json::from_str(&line.expect("a line")).expect("JSON")
        };
        let mut lines: Vec<Value> = stdout.by_ref().take(nodes + 1).map(read).collect();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        // Somebody must listen, or it ends.
        std::thread::spawn(move || {
            for line in stdout.map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_default();
                heard.lock().expect("nobody panics with it").push(value);
            }
        });
        let chain = lines.pop().expect("session up printed something");
        let chain = chain["chain"].as_str().expect("the chain comes last").to_owned();
        let nodes: Vec<Node> = lines
            .iter()
            .map(|line| Node {
                listen: line["address"].as_str().expect("an address").to_owned(),
                http: line["http"].as_str().expect("an address").to_owned(),
                pid: u32::try_from(line["pid"].as_u64().expect("a pid")).expect("a pid"),
            })
            .collect();
        assert!(!nodes.is_empty(), "session up printed no nodes");
        Self { dir, chain, nodes, said, up, restarted: Vec::new() }
    }

    /// Waits until it says something.
    pub(crate) fn wait_said(&self, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let said = self.said.lock().expect("nobody panics with it").clone();
            if let Some(found) = said.iter().find(|value| wanted(value)) {
                return found.clone();
            }
            assert!(started.elapsed() < patience, "after {patience:?} it had said {said:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.dir.path().join("net/genesis.json")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("net/network.toml")
    }

    pub(crate) fn data(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("net/node-{index:02}"))
    }

    pub(crate) fn person(&self, name: &str) -> (Person, String) {
        Person::with_identity(self.dir.path(), name, &self.file())
    }

    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        let pid = i32::try_from(self.nodes[index].pid).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("the node runs");
    }

    pub(crate) fn kill(&self, index: usize) {
        self.signal(index, Signal::KILL);
    }

    /// Starts a node that was killed, as its operator would.
    pub(crate) fn restart(&mut self, index: usize) {
        let node = &self.nodes[index];
        let child = Command::new(sessiond_path())
            .args(["--listen", &node.listen, "--http", &node.http, "--data-dir"])
            .arg(self.data(index))
            .args(["--chain", &self.chain, "--genesis"])
            .arg(self.genesis())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sessiond starts");
        self.nodes[index].pid = child.id();
        self.restarted.push(child);
    }

    pub(crate) fn health(&self, index: usize) -> Option<Value> {
        serde_json::from_slice(&http_get(&self.nodes[index].http, "/health")?).ok()
    }

    /// Returns a text that each node says of itself.
    pub(crate) fn health_of_all(&self, field: &str) -> Vec<String> {
        let of = |index: usize| {
            let health = self.health(index).expect("the node is well");
            health[field].as_str().expect("a text").to_owned()
        };
        (0..self.nodes.len()).map(of).collect()
    }

    pub(crate) fn items(&self, index: usize) -> Option<u64> {
        self.health(index)?["items"].as_u64()
    }

    /// Waits until a node is well and has at least `items`.
    pub(crate) fn wait_items(&self, index: usize, items: u64) {
        let started = Instant::now();
        while self.items(index).is_none_or(|has| has < items) {
            assert!(
                started.elapsed() < PATIENCE,
                "node {index} has {:?} of {items} items after {PATIENCE:?}",
                self.items(index)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.restarted {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(pid) = i32::try_from(self.up.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.up.wait();
    }
}

/// Returns the body of a GET, or nothing when nobody answers.
pub(crate) fn http_get(address: &str, path: &str) -> Option<Vec<u8>> {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// Returns the result or error of a JSON-RPC call.
pub(crate) fn rpc(address: &str, method: &str, params: &Value) -> Value {
    let body = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
        .to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http(address, &request).expect("the node answers");
    serde_json::from_slice(&answer).expect("JSON")
}

fn http(address: &str, request: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(answer.split_off(head + 4))
}

/// Writes a file of pseudo-random bytes.
pub(crate) fn write_file(path: &Path, size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    fs::write(path, &bytes).expect("a file is written");
    bytes
}
