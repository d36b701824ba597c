//! Four nodes that run workload sessions, what they run, and a world that answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use session_core::{Encode as _, Epoch, List, ServiceId, Span, Text, TxId, seed_ids};
use session_executor::engine;
use session_protocol::chain::Action;
use session_protocol::workload::blob_id;
use session_protocol::workload::manifest::{
    Aggregation, Connector, Egress, HttpMethod, Limits, Manifest, Source, Transform,
    WORKLOAD_VERSION, Workload,
};

use super::chain::{Chain, Member, eventually};
use super::http::post;
use super::node::Node;

/// Long enough to be in the middle of it.
const THOUGHT: Duration = Duration::from_millis(150);

/// A server that always gives the same answer, and counts questions.
pub(crate) struct World {
    pub(crate) http: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (http, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || drop(answer(stream)));
            }
        });
        Self { http, asked }
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    std::thread::sleep(THOUGHT);
    let body = "the answer";
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// What is run.
pub(crate) struct Program {
    module: Vec<u8>,
    egress: Vec<Egress>,
    sources: Vec<Source>,
}

impl Program {
    pub(crate) fn new(text: &str) -> Self {
        Self { module: wat::parse_str(text).unwrap(), egress: Vec::new(), sources: Vec::new() }
    }

    /// Lets it ask the world.
    pub(crate) fn reads(
        mut self,
        name: &str,
        world: &World,
        method: HttpMethod,
        aggregation: Aggregation,
    ) -> Self {
        let (host, port) = (world.http.ip().to_string(), world.http.port());
        self.egress.push(Egress { host: Text::new(host).unwrap(), port, plain: true });
        let connector = Connector::Http {
            method,
            url: Text::new(format!("http://{}/{name}", world.http)).unwrap(),
            headers: List::new([]).unwrap(),
            redirects: 0,
        };
        self.sources.push(source(name, connector, aggregation, Span::from_secs(1)));
        self
    }

    /// Lets it send messages to an account.
    pub(crate) fn writes_to(mut self, name: &str, account: &str) -> Self {
        let to = Text::new(account).unwrap();
        let connector = Connector::Message { to };
        self.sources.push(source(name, connector, Aggregation::Single, Span::from_secs(10)));
        self
    }

    fn workload(&self) -> Workload {
        let limits = Limits {
            fuel: 10_000_000,
            memory_pages: 4,
            state_bytes: 1024,
            log_bytes: 1024,
            calls: 16,
            egress_bytes: 1 << 20,
        };
        Workload {
            version: WORKLOAD_VERSION,
            module: blob_id(&self.module),
            profile: engine::profile(),
            manifest: Manifest {
                name: Text::new("test").unwrap(),
                egress: List::new(self.egress.clone()).unwrap(),
                sources: List::new(self.sources.clone()).unwrap(),
                limits,
                retries_max: 5,
            },
        }
    }
}

fn source(name: &str, connector: Connector, aggregation: Aggregation, timeout: Span) -> Source {
    Source {
        name: Text::new(name).unwrap(),
        connector,
        transform: Transform::default(),
        aggregation,
        records_min: 0,
        timeout,
        bytes_max: 16 * 1024,
        fallback: None,
        confirm: None,
    }
}

/// Four nodes with seats.
pub(crate) struct Committee {
    chain: Chain,
    members: Vec<Member>,
    pub(crate) nodes: Vec<Node>,
}

impl Committee {
    pub(crate) fn start(world: &World) -> Self {
        let chain = Chain::start();
        let file = chain.genesis().with_file_name("connectors.toml");
        std::fs::write(&file, format!("allow_private = [\"{}\"]\n", world.http)).unwrap();
        let members: Vec<_> =
            (0..4).map(|number| chain.member(&format!("node-{number}"))).collect();
        let nodes: Vec<Node> = members.iter().map(|member| run(member, &chain)).collect();
        for node in &nodes {
            node.becomes("a seat", |health| {
                health["status"] == "ok" && health["swarm"].is_string()
            });
        }
        Self { chain, members, nodes }
    }

    pub(crate) fn restart(&mut self, number: usize) {
        self.nodes[number] = run(&self.members[number], &self.chain);
    }

    /// Has a session created and its committee told; returns its id.
    pub(crate) fn create(&self, program: &Program, input: &[u8]) -> String {
        let workload = program.workload().to_bytes();
        for bytes in [&program.module, &workload, input] {
            let params = json!({"data": hex::encode(bytes)});
            let kept = self.tell("PutBlob", params);
            assert_eq!(kept["result"]["blob"], blob_id(bytes).to_string(), "{kept}");
        }
        let service = ServiceId::from([9; 32]);
        let (program, input) = (blob_id(&workload), blob_id(input));
        let time_max = Span::from_secs(120);
        let issued = self.chain.issue(Action::CreateSession { service, program, input, time_max });
        let tx = issued["result"]["txId"].as_str().unwrap_or_else(|| panic!("{issued}")).to_owned();
        let epoch =
            eventually("the session on the chain", || self.created(&service, &tx.parse().unwrap()));
        let params = json!({
            "service": service.to_string(), "epoch": epoch, "tx": tx,
            "program": program.to_string(), "input": input.to_string(),
        });
        // The node waits for its chain if that is a block behind.
        let created = self.tell("CreateSession", params);
        // Members that had everything may have begun by themselves, or have ended.
        let known = created["error"]["data"]["name"] == "session_exists";
        assert!(known || created["result"]["state"] == "pending", "{created}");
        seed_ids::session_id(&service, Epoch(epoch), &tx.parse().unwrap()).to_string()
    }

    /// Waits until the chain says how a session ended.
    pub(crate) fn chain_says(&self, session: &str, state: &str) {
        eventually("the outcome on the chain", || {
            let answer = self.chain.call("GetWorkload", json!({"sessionId": session}));
            (answer["result"]["workload"]["state"] == state).then_some(())
        });
    }

    /// Returns the epoch in which a transaction created a session.
    fn created(&self, service: &ServiceId, tx: &TxId) -> Option<u64> {
        let now = self.chain.call("GetEpoch", json!({}))["result"]["epoch"].as_u64()?;
        (now.saturating_sub(2)..=now).find(|epoch| {
            let session = seed_ids::session_id(service, Epoch(*epoch), tx).to_string();
            let answer = self.chain.call("GetWorkload", json!({"sessionId": session}));
            answer["result"]["workload"].is_object()
        })
    }

    fn tell(&self, method: &str, params: Value) -> Value {
        post(self.nodes[0].http, &json!({"id": 1, "method": method, "params": params}))
    }
}

fn run(member: &Member, chain: &Chain) -> Node {
    let file = chain.genesis().with_file_name("connectors.toml");
    member.start_with(&chain.url(), &["--connectors", file.to_str().unwrap()])
}
