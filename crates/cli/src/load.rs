//! `session load`: measures what a node stands, as a client sees it.
//!
//! Each of the clients has its own connection and keeps one request in flight. Nothing is sealed:
//! the bytes are random, as ciphertext is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use session_core::{
    Context, Domain, Entropy, InboxAddress, List, Machine, NodeId, SeededEntropy, Span, digest,
};
use session_crypto::{Identity, RealVerifier};
use session_network::{Config, ConnId, Effect, From, Input, Network, Role};
use session_protocol::inbox::MESSAGES;
use session_protocol::limits::OPERATIONS_MAX;
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{Cursor, ItemBytes, Operation, Outcome, Request, Select};
use session_protocol::{Checker, Inbound, Kind, Membership, NetworkId};
use session_runtime::quic::{self, Quic};
use tokio::time::Instant;

use crate::args::Load;
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::link::{self, Payload};
use crate::members::Members;
use crate::out::Out;
use crate::person;

/// Items in the inbox of each reader.
const READ_ITEMS: usize = 50;

/// Inboxes that the items are spread over.
const INBOXES: u64 = 1000;

/// One client: a connection, its machine, and the request in flight.
struct Client {
    network: Network,
    node: NodeId,
    address: SocketAddr,
    conn: Option<quic::ConnId>,
    asked: Option<Instant>,
    next: u64,
    /// Whose inbox it reads, when reading is measured.
    reader: Option<Identity>,
    /// Items that the inbox still lacks.
    lacks: usize,
}

struct Run<'a> {
    quic: &'a Quic<Payload>,
    clients: Vec<Client>,
    by_conn: BTreeMap<ConnId, usize>,
    network: NetworkId,
    rng: SeededEntropy,
    bytes: usize,
    batch: usize,
    stopping: bool,
    latencies_us: Vec<u32>,
    stored: u64,
    fetched: u64,
    refused: BTreeMap<&'static str, u64>,
}

pub(crate) async fn run(home: &Home, out: Out, args: &Load) -> Result<()> {
    let membership = Members::find(home).await?.view().clone();
    let nodes = choose_nodes(&*membership, args.node.as_deref())?;
    let checker = Arc::new(Checker::new(membership.clone(), Arc::new(RealVerifier)));
    let (quic, mut events) = link::bind(checker)?;
    let keys = Arc::new(Identity::generate(&mut person::entropy()?));
    let mut rng = person::entropy()?;
    let mut run = Run {
        quic: &quic,
        clients: Vec::new(),
        by_conn: BTreeMap::new(),
        network: membership.network(),
        rng: SeededEntropy::from_bytes(rng.bytes32()),
        bytes: args.bytes,
        batch: args.batch,
        stopping: false,
        latencies_us: Vec::new(),
        stored: 0,
        fetched: 0,
        refused: BTreeMap::new(),
    };
    for index in 0..args.clients {
        let (node, address) = nodes[index % nodes.len()];
        let config = Config::new(Role::Client, keys.clone(), membership.clone());
        let client = Client {
            network: Network::new(config),
            node,
            address,
            conn: None,
            asked: None,
            next: 1,
            reader: args.read.then(|| Identity::generate(&mut rng)),
            lacks: if args.read { READ_ITEMS } else { 0 },
        };
        run.clients.push(client);
        run.feed(index, Input::Connect { node });
    }
    let cpu_before = args.pid.iter().map(|pid| cpu_ms(*pid)).sum::<Option<u64>>();
    let started = Instant::now();
    let deadline = started + Duration::from_secs(args.seconds);
    let grace = deadline + Duration::from_secs(10);
    loop {
        if Instant::now() >= deadline {
            run.stopping = true;
            let waiting = run.clients.iter().any(|client| client.asked.is_some());
            if !waiting || Instant::now() >= grace {
                break;
            }
        }
        if let Ok(Some(event)) =
            tokio::time::timeout(Duration::from_millis(100), events.recv()).await
        {
            run.event(event);
        }
    }
    let elapsed = started.elapsed();
    let cpu_after = args.pid.iter().map(|pid| cpu_ms(*pid)).sum::<Option<u64>>();
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before));
    report(out, &mut run, elapsed, cpu.filter(|_| !args.pid.is_empty()), args);
    quic.shutdown(Duration::from_secs(1)).await;
    if run.stored == 0 {
        return Err(Failure::new(Code::Network, "no store was acknowledged"));
    }
    Ok(())
}

fn choose_nodes(
    membership: &dyn Membership,
    wanted: Option<&str>,
) -> Result<Vec<(NodeId, SocketAddr)>> {
    let nodes: Vec<_> = membership
        .nodes()
        .into_iter()
        .filter(|(id, _)| wanted.is_none_or(|start| id.to_string().starts_with(start)))
        .filter_map(|(id, record)| record.address.parse().ok().map(|address| (id, address)))
        .collect();
    if nodes.is_empty() {
        return Err(Failure::not_found("no node of the network file fits"));
    }
    Ok(nodes)
}

impl Run<'_> {
    fn event(&mut self, event: quic::Event<Payload>) {
        let (index, connected) = match &event {
            // Dials are numbered by client: each machine dials once at a time.
            quic::Event::Connected { conn, dial: Some(dial), .. } => {
                let index = usize::try_from(*dial).unwrap_or(usize::MAX);
                self.by_conn.insert(ConnId((*conn).into()), index);
                (Some(index), Some(*conn))
            }
            quic::Event::DialFailed { dial, .. } => (usize::try_from(*dial).ok(), None),
            quic::Event::Connected { .. } => (None, None),
            quic::Event::Frame { conn, .. } | quic::Event::Disconnected { conn, .. } => {
                (self.by_conn.get(&ConnId((*conn).into())).copied(), None)
            }
        };
        let Some(index) = index.filter(|index| *index < self.clients.len()) else { return };
        if connected.is_some() {
            self.clients[index].conn = connected;
        }
        let input = match link::input(event) {
            Input::Connected { conn, inbound, remote, peer_key, exporter, .. } => {
                let dial = Some(1);
                Input::Connected { conn, inbound, remote, peer_key, exporter, dial }
            }
            Input::DialFailed { why, .. } => Input::DialFailed { dial: 1, why },
            other => other,
        };
        self.feed(index, input);
    }

    fn feed(&mut self, index: usize, input: Input) {
        self.call(index, |network, cx| network.handle(cx, input));
    }

    /// Runs one client's machine and does what it orders.
    fn call<T>(
        &mut self,
        index: usize,
        run: impl FnOnce(&mut Network, &mut Context<'_, (), Effect>) -> T,
    ) {
        let mut effects = Vec::new();
        let mut cx = Context {
            now: person::now(),
            store: &mut (),
            rng: &mut self.rng,
            effects: &mut effects,
        };
        run(&mut self.clients[index].network, &mut cx);
        for effect in effects {
            self.perform(index, effect);
        }
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        let client = &mut self.clients[index];
        match effect {
            Effect::Dial { key, .. } => {
                // A dial that cannot even begin is one client less; the others measure on.
                let _ = self.quic.dial(index as u64, client.address, Some(link::peer_key(&key)));
            }
            Effect::Send { class, frame, .. } => {
                if let Some(conn) = client.conn {
                    // A queue that is full closes the connection, which is an event of its own.
                    let _ = self.quic.send(conn, link::class_out(class), frame);
                }
            }
            Effect::Close { why, .. } => {
                if let Some(conn) = client.conn.take() {
                    self.quic.close(conn, why);
                }
            }
            Effect::PeerUp { .. } => self.ask(index),
            Effect::PeerDown { .. } => client.asked = None,
            Effect::Message { message: Inbound::Reply(reply), .. } => {
                self.answered(index, &reply.outcomes);
            }
            _ => {}
        }
    }

    fn ask(&mut self, index: usize) {
        if self.stopping {
            return;
        }
        let operations = self.operations(index);
        let operations = List::new(operations).expect("the batch is bounded by the arguments");
        let client = &mut self.clients[index];
        let request = Request { id: client.next, operations };
        client.next += 1;
        client.asked = Some(Instant::now());
        let (to, class) = (From::Node(client.node), session_network::Class::Interactive);
        self.call(index, |network, cx| network.send_to(cx, to, class, Kind::Request, &request));
    }

    fn operations(&mut self, index: usize) -> Vec<Operation> {
        let client = &self.clients[index];
        let Some(reader) = &client.reader else {
            return (0..self.batch)
                .map(|_| {
                    // Spread as real addresses are, which are digests.
                    let inbox = self.rng.below(INBOXES).to_be_bytes();
                    let address = digest(Domain::Simulation, &[&inbox]);
                    self.store(InboxAddress::from(*address.as_bytes()))
                })
                .collect();
        };
        if client.lacks > 0 {
            let address = person::inbox_of(reader.public().account_id());
            let count = client.lacks.min(OPERATIONS_MAX);
            return (0..count).map(|_| self.store(address)).collect();
        }
        let action = OwnerAction::Retrieve {
            namespace: MESSAGES,
            select: Select::After { cursor: Cursor::default() },
            bytes_max: u32::MAX,
            audience: client.node,
        };
        let operation =
            OwnerOperation::sign(self.network, reader, action, person::now(), &mut self.rng);
        vec![Operation::Owner { operation: Box::new(operation) }]
    }

    fn store(&mut self, address: InboxAddress) -> Operation {
        let mut data = vec![0; self.bytes];
        self.rng.fill(&mut data);
        Operation::Store {
            address,
            namespace: MESSAGES,
            timestamp: person::now(),
            ttl: Span::from_days(1),
            data: ItemBytes::new(data).expect("the size is bounded by the arguments"),
        }
    }

    fn answered(&mut self, index: usize, outcomes: &[Outcome]) {
        if let Some(asked) = self.clients[index].asked.take() {
            let micros = u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.latencies_us.push(micros);
        }
        for outcome in outcomes {
            match outcome {
                Outcome::Stored { .. } => {
                    self.stored += 1;
                    let lacks = &mut self.clients[index].lacks;
                    *lacks = lacks.saturating_sub(1);
                }
                Outcome::Items { items, .. } => self.fetched += items.len() as u64,
                Outcome::Refused { refusal } => {
                    *self.refused.entry(refusal.name()).or_default() += 1;
                }
                _ => *self.refused.entry("another outcome").or_default() += 1,
            }
        }
        self.ask(index);
    }
}

fn report(out: Out, run: &mut Run<'_>, elapsed: Duration, cpu_ms: Option<u64>, args: &Load) {
    run.latencies_us.sort_unstable();
    let at = |percent: usize| {
        let last = run.latencies_us.len().saturating_sub(1);
        run.latencies_us.get(last * percent / 100).copied().unwrap_or(0)
    };
    let (p50, p99) = (at(50), at(99));
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let (count, what) =
        if args.read { (run.fetched, "items read") } else { (run.stored, "durable stores") };
    let per_second = count * 1000 / millis;
    let cpu_us = cpu_ms.map(|ms| ms * 1000 / count.max(1));
    let rss_kib: Option<u64> =
        (!args.pid.is_empty()).then(|| args.pid.iter().filter_map(|pid| rss_kib(*pid)).sum());
    out.result(
        || {
            let mut text = format!(
                "{count} {what} of {} bytes in {:.1} s: {per_second}/s, {} in flight, \
                 p50 {:.2} ms, p99 {:.2} ms",
                args.bytes,
                elapsed.as_secs_f64(),
                args.clients * args.batch,
                f64::from(p50) / 1000.0,
                f64::from(p99) / 1000.0,
            );
            if let Some(us) = cpu_us {
                text.push_str(&format!(", node CPU {us} µs each"));
            }
            if let Some(kib) = rss_kib {
                text.push_str(&format!(", node memory {} MiB", kib / 1024));
            }
            for (name, count) in &run.refused {
                text.push_str(&format!("\nrefused: {count} {name}"));
            }
            text
        },
        || {
            json!({
                "what": what,
                "count": count,
                "elapsed_ms": millis,
                "per_second": per_second,
                "p50_us": p50,
                "p99_us": p99,
                "node_cpu_us_each": cpu_us,
                "node_memory_kib": rss_kib,
                "refused": run.refused,
            })
        },
    );
}

/// Returns the CPU time that a process used, in milliseconds.
fn cpu_ms(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything: count fields behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    // Linux counts in hundredths of a second for every architecture that we build for.
    Some((user + system) * 10)
}

/// Returns the memory of a process in KiB.
fn rss_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
