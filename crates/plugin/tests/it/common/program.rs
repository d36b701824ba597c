use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use session_core::{ChainId, Digest};
use session_crypto::Identity;
use tempfile::TempDir;

use super::{PATIENCE, call, eventually, get, try_call};

/// Returns a command that runs the program, whatever the surroundings say.
pub(crate) fn sessionvm(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionvm"));
    command.args(args).stdin(Stdio::null());
    for variable in [
        "SESSION_PASSPHRASE",
        "SESSION_LOG",
        "SESSIONVM_ADDR",
        "VM_TRANSPORT",
        "VM_RUNTIME_ENGINE_ADDR",
        "LUX_VM_RUNTIME_ENGINE_ADDR",
        "AVALANCHE_VM_RUNTIME_ENGINE_ADDR",
    ] {
        command.env_remove(variable);
    }
    command
}

/// A directory for chains.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The genesis that the sequencer made for itself.
    pub(crate) fn genesis(&self) -> PathBuf {
        self.path().join("chain/genesis.json")
    }

    /// The sequencer's keys, which own everything there is at the beginning.
    pub(crate) fn owner(&self) -> Identity {
        let bytes = std::fs::read(self.path().join("chain/sequencer.key")).unwrap();
        session_crypto::identity_file::decode(&bytes, None).unwrap()
    }

    fn command(&self, name: &str, more: &[&str]) -> Command {
        let dir = self.path().join(name);
        let mut command = sessionvm(&["--stop-with-stdin", "--client-rate", "0", "--data-dir"]);
        command.arg(dir).args(more);
        if !more.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !more.contains(&"--follow") && !more.contains(&"--block-time") {
            command.args(["--block-time", "20"]);
        }
        command
    }

    /// Starts the sequencer.
    pub(crate) fn start(&self, more: &[&str]) -> Node {
        Node::start(self.command("chain", more))
    }

    /// Starts a follower that keeps its copy under `name`.
    pub(crate) fn follow(&self, name: &str, upstream: SocketAddr, more: &[&str]) -> Node {
        let (url, genesis) = (format!("http://{upstream}"), self.genesis());
        let mut args = vec!["--follow", &url, "--genesis", genesis.to_str().unwrap()];
        args.extend_from_slice(more);
        Node::start(self.command(name, &args))
    }

    /// Runs a chain under `name` that is expected to fail.
    pub(crate) fn fails(&self, name: &str, more: &[&str]) -> (i32, String) {
        ended(self.command(name, more).stdin(Stdio::piped()).output().unwrap())
    }
}

/// Returns the exit code of a program that failed, and what it said.
fn ended(output: Output) -> (i32, String) {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "it did not fail: {said}");
    (output.status.code().unwrap(), said)
}

/// A running program; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) http: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Node {
    /// Starts the program and waits until it says where it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let http = line.trim_end().strip_prefix("listening on http ").map(str::parse);
        let Some(Ok(http)) = http else {
            panic!("it does not listen: {line:?} {:?}", child.wait_with_output())
        };
        // Somebody must read what it logs, or it would wait for them.
        let said = Arc::new(Mutex::new(String::new()));
        let (kept, mut stderr) = (Arc::clone(&said), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        Self { child, http, said }
    }

    /// Returns what it has logged so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Makes a call that must be answered with a result.
    pub(crate) fn ask(&self, method: &str, params: Value) -> Value {
        let response = call(self.http, &format!("sessionvm.{method}"), &params);
        assert!(response["error"].is_null(), "{method}: {response}");
        response["result"].clone()
    }

    /// Makes a call that must be refused.
    pub(crate) fn refuses(&self, method: &str, params: Value) -> Refusal {
        let response = call(self.http, &format!("sessionvm.{method}"), &params);
        let error = &response["error"];
        assert!(error.is_object(), "{method} was not refused: {response}");
        Refusal(error.clone())
    }

    pub(crate) fn health(&self) -> Value {
        get(self.http, "/health").json()
    }

    pub(crate) fn chain(&self) -> ChainId {
        self.health()["chainId"].as_str().unwrap().parse().unwrap()
    }

    /// What signatures in conversations are bound to.
    pub(crate) fn scope(&self) -> Digest {
        Digest::from(*self.chain().as_bytes())
    }

    /// Returns height, id and state root of the last block.
    pub(crate) fn tip(&self) -> (u64, Value, Value) {
        let tip = self.ask("GetHeight", json!({}));
        (tip["height"].as_u64().unwrap(), tip["blockId"].clone(), tip["stateRoot"].clone())
    }

    /// Waits until the chain has a height, and returns its tip.
    pub(crate) fn reaches(&self, height: u64) -> (u64, Value, Value) {
        eventually(&format!("height {height}"), || Some(self.tip()).filter(|tip| tip.0 >= height))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end and returns how long it took.
    #[allow(clippy::disallowed_methods)] // a stopwatch
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Issues a transaction; returns its id, or the refusal. `None` when the program ended.
    pub(crate) fn try_issue(&self, bytes: &[u8]) -> Option<Value> {
        try_call(self.http, "sessionvm.IssueTx", &json!({"tx": hex::encode(bytes)}))
    }

    /// Issues a transaction; returns its id.
    pub(crate) fn issue(&self, bytes: &[u8]) -> String {
        let issued = self.ask("IssueTx", json!({"tx": hex::encode(bytes)}));
        issued["txId"].as_str().unwrap().to_owned()
    }

    /// Waits until a transaction is in a block; returns it.
    pub(crate) fn accepted(&self, tx: &str) -> Value {
        eventually(&format!("transaction {tx}"), || {
            let answer = call(self.http, "sessionvm.GetTx", &json!({"txId": tx}));
            let tx = &answer["result"]["tx"];
            (tx["status"] == "accepted").then(|| tx.clone())
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.http, self.said());
        }
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `error` of a response.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Value);

impl Refusal {
    /// Checks code and name, which never change, and members of its data.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, name: &str, data: Value) {
        assert_eq!(
            (&self.0["code"], &self.0["data"]["name"]),
            (&json!(code), &json!(name)),
            "{self:?}"
        );
        for (member, expected) in data.as_object().unwrap() {
            assert_eq!(&self.0["data"][member], expected, "{member} of {self:?}");
        }
        assert!(self.0["message"].is_string(), "{self:?}");
    }
}
