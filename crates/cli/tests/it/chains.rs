//! A chain of its own for a test: a sequencer, and whoever follows it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATIENCE, Person, sessionvm_path};

/// One LUX in base units.
pub(crate) const LUX: u64 = 1_000_000;

/// A node of the chain.
pub(crate) struct ChainNode {
    args: Vec<String>,
    address: String,
    process: Option<Child>,
}

/// A sequencer whose identity owns everything.
pub(crate) struct Chain {
    pub(crate) dir: TempDir,
    pub(crate) owner: Person,
    pub(crate) owner_id: String,
    pub(crate) node: ChainNode,
}

impl ChainNode {
    fn start(args: Vec<String>) -> Self {
        let mut node = Self { args, address: "127.0.0.1:0".to_owned(), process: None };
        node.run();
        node
    }

    /// Starts it, at the address that it had before.
    pub(crate) fn run(&mut self) {
        let mut process = Command::new(sessionvm_path())
            .args(&self.args)
            .args(["--listen", &self.address, "--block-time", "20"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sessionvm starts");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http ");
        self.address = address.unwrap_or_else(|| panic!("sessionvm said {line:?}")).to_owned();
        self.process = Some(process);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it runs");
            process.wait().expect("it ends");
        }
    }
}

impl Drop for ChainNode {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Chain {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let owner = Person::new(dir.path(), "owner", None);
        let made = owner.json(&["id", "new", "--plain"]);
        let owner_id = made[0]["id"].as_str().expect("an id").to_owned();
        let card = dir.path().join("owner.card");
        owner.json(&["id", "export", path(&card), "--public"]);
        let card = std::fs::read_to_string(&card).expect("a card");
        let keys = card.lines().nth(1).expect("keys");
        let data = dir.path().join("chain");
        std::fs::create_dir(&data).expect("a directory");
        let key = owner.home().join("identity.key");
        std::fs::copy(key, data.join("sequencer.key")).expect("the sequencer's key");
        let genesis = json!({
            "version": 1, "network": "test", "time": 1_700_000_000_000_u64,
            "epochSeconds": 1, "unbondingSeconds": 2, "activationEpochs": 1, "vetoWindowSeconds": 1,
            // Its nodes are names only: nobody does their duties.
            "penaltyBps": 0, "slashBps": 1000, "authority": owner_id, "sequencer": keys,
            "accounts": [{ "account": owner_id, "balance": (1_000 * LUX).to_string() }],
            "supply": (1_000 * LUX).to_string(),
        });
        let file = dir.path().join("genesis.json");
        std::fs::write(&file, genesis.to_string()).expect("a genesis");
        let args = ["--data-dir", path(&data), "--genesis", path(&file)];
        let node = ChainNode::start(args.map(str::to_owned).to_vec());
        Self { dir, owner, owner_id, node }
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.dir.path().join("genesis.json")
    }

    /// Starts somebody who follows, with a disk of its own.
    pub(crate) fn follower(&self, name: &str) -> ChainNode {
        let (data, genesis) = (self.dir.path().join(name), self.genesis());
        let url = self.node.url();
        let args = ["--data-dir", path(&data), "--genesis", path(&genesis), "--follow", &url];
        ChainNode::start(args.map(str::to_owned).to_vec())
    }

    pub(crate) fn person(&self, name: &str) -> (Person, String) {
        let person = Person::new(self.dir.path(), name, None);
        let made = person.json(&["id", "new", "--plain"]);
        (person, made[0]["id"].as_str().expect("an id").to_owned())
    }

    /// Runs `session chain` as somebody; it must succeed. Returns its first line.
    pub(crate) fn run(&self, who: &Person, args: &[&str]) -> Value {
        chain(who, &self.node.url(), args)
    }

    /// Runs `session chain` as somebody; it must fail. Returns exit code and text.
    pub(crate) fn fails(&self, who: &Person, args: &[&str]) -> (i32, String) {
        let url = self.node.url();
        who.fails(&[&["chain", "--url", &url], args].concat())
    }

    /// Runs it again and again until `done` says so.
    pub(crate) fn until(&self, args: &[&str], done: impl Fn(&Value) -> bool) -> Value {
        until(&self.owner, &self.node.url(), args, done)
    }
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs `session chain` against a node; returns its first line.
pub(crate) fn chain(who: &Person, url: &str, args: &[&str]) -> Value {
    let lines = who.json(&[&["chain", "--url", url], args].concat());
    lines.into_iter().next().unwrap_or_default()
}

/// Runs `session chain` until `done` says so.
pub(crate) fn until(
    who: &Person,
    url: &str,
    args: &[&str],
    done: impl Fn(&Value) -> bool,
) -> Value {
    let started = Instant::now();
    loop {
        let now = chain(who, url, args);
        if done(&now) {
            return now;
        }
        assert!(started.elapsed() < PATIENCE, "session chain {args:?} still says {now}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
