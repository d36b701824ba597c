//! Four nodes that run workload sessions, what they run, and a world that answers.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use session_core::{
    Digest, Encode as _, Epoch, List, ServiceId, SessionId, Span, Text, TxId, seed_ids,
};
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

/// The header with which nodes say their number to servers.
pub(crate) const NODE_HEADER: &str = "x-node";

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
        self,
        name: &str,
        world: &World,
        method: HttpMethod,
        aggregation: Aggregation,
    ) -> Self {
        self.http(name, world.http, method, aggregation, Span::from_secs(1))
    }

    /// Lets it ask or tell a server.
    pub(crate) fn http(
        self,
        name: &str,
        at: SocketAddr,
        method: HttpMethod,
        aggregation: Aggregation,
        timeout: Span,
    ) -> Self {
        let connector = Connector::Http {
            method,
            url: Text::new(format!("http://{at}/{name}")).unwrap(),
            headers: List::new([]).unwrap(),
            redirects: 0,
        };
        self.egress(&at.ip().to_string(), at.port()).source(name, connector, aggregation, timeout)
    }

    /// Lets it send messages to an account.
    pub(crate) fn writes_to(self, name: &str, account: &str) -> Self {
        let to = Text::new(account).unwrap();
        let connector = Connector::Message { to };
        self.source(name, connector, Aggregation::Single, Span::from_secs(10))
    }

    /// Lists a host.
    pub(crate) fn egress(mut self, host: &str, port: u16) -> Self {
        self.egress.push(Egress { host: Text::new(host).unwrap(), port, plain: true });
        self
    }

    /// Lists a source.
    pub(crate) fn source(
        mut self,
        name: &str,
        connector: Connector,
        aggregation: Aggregation,
        timeout: Span,
    ) -> Self {
        self.sources.push(source(name, connector, aggregation, timeout));
        self
    }

    pub(crate) fn module(&self) -> &[u8] {
        &self.module
    }

    pub(crate) fn workload(&self) -> Workload {
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
    /// Starts nodes that may reach a server although it is not public.
    pub(crate) fn start(world: &World) -> Self {
        Self::connected(&[world.http], "")
    }

    /// Starts nodes that may reach servers, to which each says its number in [`NODE_HEADER`], and
    /// that have more in their set-up.
    pub(crate) fn connected(servers: &[SocketAddr], more: &str) -> Self {
        let chain = Chain::start();
        let members: Vec<_> =
            (0..4).map(|number| chain.member(&format!("node-{number}"))).collect();
        for (number, member) in members.iter().enumerate() {
            connect(member, number, servers, more);
        }
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
        self.upload(&program.module);
        let program = self.upload(&program.workload().to_bytes());
        let input = self.upload(input);
        let ordered = self.order(program, input, Span::from_secs(120));
        // The node waits for its chain if that is a block behind.
        let created = self.tell("CreateSession", ordered.with(program, input));
        // Members that had everything may have begun by themselves, or have ended.
        let known = created["error"]["data"]["name"] == "session_exists";
        assert!(known || created["result"]["state"] == "pending", "{created}");
        ordered.session().to_string()
    }

    /// Has a node keep bytes.
    pub(crate) fn upload(&self, bytes: &[u8]) -> Digest {
        let kept = self.tell("PutBlob", json!({"data": hex::encode(bytes)}));
        assert_eq!(kept["result"]["blob"], blob_id(bytes).to_string(), "{kept}");
        blob_id(bytes)
    }

    /// Has the chain create a session, of which no node is told.
    pub(crate) fn order(&self, program: Digest, input: Digest, time_max: Span) -> Ordered {
        let service = ServiceId::from([9; 32]);
        let issued = self.chain.issue(Action::CreateSession { service, program, input, time_max });
        let tx = issued["result"]["txId"].as_str().unwrap_or_else(|| panic!("{issued}"));
        let tx = tx.parse().unwrap();
        let epoch = eventually("the session on the chain", || self.created(&service, &tx));
        Ordered { service, epoch, tx }
    }

    /// Waits until the chain says how a session ended; returns what it has of it.
    pub(crate) fn chain_says(&self, session: &str, state: &str) -> Value {
        eventually("the outcome on the chain", || {
            let answer = self.chain.call("GetWorkload", json!({"sessionId": session}));
            let workload = &answer["result"]["workload"];
            (workload["state"] == state).then(|| workload.clone())
        })
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

/// A session that the chain created.
pub(crate) struct Ordered {
    service: ServiceId,
    epoch: u64,
    tx: TxId,
}

impl Ordered {
    pub(crate) fn session(&self) -> SessionId {
        seed_ids::session_id(&self.service, Epoch(self.epoch), &self.tx)
    }

    /// Returns what a node is told of it, with a program and an input.
    pub(crate) fn with(&self, program: Digest, input: Digest) -> Value {
        json!({
            "service": self.service.to_string(), "epoch": self.epoch, "tx": self.tx.to_string(),
            "program": program.to_string(), "input": input.to_string(),
        })
    }
}

/// Returns a session as a node reports it.
pub(crate) fn get(node: SocketAddr, session: &str) -> Value {
    let call = json!({"id": 1, "method": "GetSession", "params": {"sessionId": session}});
    post(node, &call)["result"]["session"].clone()
}

/// Waits until a node reports a session's end.
pub(crate) fn ended(node: SocketAddr, session: &str) -> Value {
    eventually("the end of a session", || {
        let seen = get(node, session);
        matches!(seen["state"].as_str(), Some("finalized" | "failed")).then_some(seen)
    })
}

/// Makes a call that is refused; returns code, name and text of the error.
pub(crate) fn refusal(node: SocketAddr, method: &str, params: Value) -> (i64, String, String) {
    let answer = post(node, &json!({"id": 1, "method": method, "params": params}));
    let error = &answer["error"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (error["code"].as_i64().unwrap(), text(&error["data"]["name"]), text(&error["message"]))
}

fn set_up(member: &Member) -> PathBuf {
    member.dir().with_extension("toml")
}

fn connect(member: &Member, number: usize, servers: &[SocketAddr], more: &str) {
    let open: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let mut text = format!("allow_private = [\"{}\"]\n", open.join("\", \""));
    for server in servers {
        let (host, port) = (server.ip(), server.port());
        text += &format!(
            "[[secret]]\nhost = \"{host}\"\nport = {port}\nheader = \"{NODE_HEADER}\"\n\
             value = \"{number}\"\nwrites = true\n"
        );
    }
    let file = set_up(member);
    std::fs::write(&file, text + more).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
}

fn run(member: &Member, chain: &Chain) -> Node {
    member.start_with(&chain.url(), &["--connectors", set_up(member).to_str().unwrap()])
}
