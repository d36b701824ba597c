//! Loads a running SessionVM over JSON-RPC and prints what each call costs its server.
//!
//! `cargo run --release -p sessionvm --example rpc_load -- --url http://127.0.0.1:9652 --pid PID`
//!
//! The server must not limit its clients (`--client-rate 0`), and its `maxMessages` must allow what
//! is sent to each conversation. Every connection has a conversation of its own, accepted by both
//! participants, and keeps one request in flight. Messages are signed before the clock starts; the
//! server verifies every signature, and answers when the message is durable.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people that measures time"
)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use session_core::{
    AccountId, ConversationId, Digest, Domain, Encode as _, Entropy as _, SeededEntropy,
};
use session_crypto::{Identity, Signer as _};
use session_rpc::vm::rfc3339;
use session_runtime::http::client::{Client, Endpoint, Options};
use session_vm::mailbox::signed::{Action, SignedAction, message_bytes};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone, Parser)]
struct Load {
    /// Where the server is, such as http://127.0.0.1:9652
    #[arg(long)]
    url: Endpoint,
    /// The server's process, to see what CPU time it uses
    #[arg(long)]
    pid: u32,
    /// What is called
    #[arg(long, value_enum, default_value = "send")]
    method: Method,
    /// Connections, each with one request in flight
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Calls in one request; 1 is no batch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    batch: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    bytes: u32,
    /// How long to measure; shorter if the messages run out
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Messages signed before the clock starts, for all connections together
    #[arg(long, default_value_t = 100_000)]
    messages: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    Send,
    Get,
    Create,
    Height,
}

/// One connection, and what it will ask.
struct Asker {
    client: Client,
    conversation: ConversationId,
    alice: Identity,
    bob: Identity,
    bodies: Bodies,
}

enum Bodies {
    /// Each once.
    Once(std::vec::IntoIter<Vec<u8>>),
    /// Always the same.
    Again(Vec<u8>),
}

impl Iterator for Bodies {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Once(bodies) => bodies.next(),
            Self::Again(body) => Some(body.clone()),
        }
    }
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    latencies_us: Vec<u32>,
    calls: u64,
    errors: u64,
    error: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let load = Load::parse();
    let askers = prepare(&load).await?;
    let before = (cpu(load.pid)?, cpu(std::process::id())?);
    let (started, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let deadline = started + Duration::from_secs(load.seconds);
    let running: Vec<_> = askers
        .into_iter()
        .map(|asker| tokio::spawn(ask(asker, deadline, Arc::clone(&stop))))
        .collect();
    let mut seen = Seen::default();
    for one in running {
        let one = one.await??;
        seen.latencies_us.extend(one.latencies_us);
        seen.calls += one.calls;
        seen.errors += one.errors;
        seen.error = seen.error.or(one.error);
    }
    let elapsed = started.elapsed();
    let after = (cpu(load.pid)?, cpu(std::process::id())?);
    report(&load, seen, elapsed, after.0 - before.0, after.1 - before.1);
    Ok(())
}

/// Opens a conversation for each connection and makes the bodies of its requests.
async fn prepare(load: &Load) -> Result<Vec<Asker>, Failure> {
    let client = Client::new(load.url.clone(), Options::default());
    let health = call(&client, "Health", json!({})).await?;
    let scope = text(&health, "chainId")?.parse::<Digest>()?;
    let opening: Vec<_> = (0..load.connections)
        .map(|index| {
            let load = load.clone();
            tokio::spawn(async move {
                let mut asker = open(&load, scope, index).await?;
                let signing = move || {
                    asker.bodies = bodies(&load, &asker, scope, index);
                    asker
                };
                Ok::<_, Failure>(tokio::task::spawn_blocking(signing).await?)
            })
        })
        .collect();
    let mut askers = Vec::new();
    for asker in opening {
        askers.push(asker.await??);
    }
    Ok(askers)
}

async fn open(load: &Load, scope: Digest, index: u32) -> Result<Asker, Failure> {
    let mut rng = SeededEntropy::new(index.into());
    let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let client = Client::new(load.url.clone(), Options::default());
    let created = call(&client, "CreateSession", creation(&alice, &bob)).await?;
    let conversation = text(&created, "sessionId")?.parse::<ConversationId>()?;
    // The creation answers in whole seconds; signed is the millisecond.
    let opened =
        call(&client, "GetSession", json!({"sessionId": conversation.to_string()})).await?;
    let expires = rfc3339::parse(text(&opened["session"], "expires")?)?;
    for person in [&alice, &bob] {
        let action = SignedAction {
            scope,
            conversation,
            action: Action::Accept,
            participant: person.public().account_id(),
            expires,
        };
        let signature = person.sign(Domain::ConversationAction, &action.to_bytes(), &mut rng);
        let acceptance = json!({
            "sessionId": conversation.to_string(),
            "participant": account(person),
            "signingKey": hex::encode(person.public().dsa()),
            "signature": hex::encode(signature.as_bytes()),
        });
        call(&client, "AcceptSession", acceptance).await?;
    }
    Ok(Asker { client, conversation, alice, bob, bodies: Bodies::Again(Vec::new()) })
}

fn creation(alice: &Identity, bob: &Identity) -> Value {
    json!({
        "participants": [account(alice), account(bob)],
        "publicKeys": [hex::encode(alice.public().kem()), hex::encode(bob.public().kem())],
    })
}

fn account(person: &Identity) -> String {
    format!("07{}", person.public().account_id())
}

fn bodies(load: &Load, asker: &Asker, scope: Digest, index: u32) -> Bodies {
    let session = json!({"sessionId": asker.conversation.to_string()});
    let calls = |method, params| {
        let calls = (0..load.batch).map(|id| request(id.into(), method, &params));
        Bodies::Again(body(load, calls.collect()))
    };
    match load.method {
        Method::Get => calls("GetSession", session),
        Method::Create => calls("CreateSession", creation(&asker.alice, &asker.bob)),
        Method::Height => calls("GetHeight", json!({})),
        Method::Send => {
            let mut rng = SeededEntropy::new(u64::from(index) << 32);
            let requests = load.messages / load.connections / load.batch;
            let bodies: Vec<_> = (0..u64::from(requests))
                .map(|request| {
                    let first = request * u64::from(load.batch);
                    let counters = first..first + u64::from(load.batch);
                    body(
                        load,
                        counters.map(|at| message(load, asker, scope, at, &mut rng)).collect(),
                    )
                })
                .collect();
            Bodies::Once(bodies.into_iter())
        }
    }
}

fn message(
    load: &Load,
    asker: &Asker,
    scope: Digest,
    counter: u64,
    rng: &mut SeededEntropy,
) -> Value {
    let sender: AccountId = asker.alice.public().account_id();
    let mut ciphertext = vec![0; load.bytes as usize];
    rng.fill(&mut ciphertext);
    let signed = message_bytes(&scope, &asker.conversation, &sender, counter, &ciphertext);
    let signature = asker.alice.sign(Domain::ConversationMessage, &signed, rng);
    let params = json!({
        "sessionId": asker.conversation.to_string(),
        "sender": account(&asker.alice),
        "counter": counter,
        "ciphertext": hex::encode(ciphertext),
        "signature": hex::encode(signature.as_bytes()),
    });
    request(counter, "SendMessage", &params)
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": format!("sessionvm.{method}"), "params": params})
}

fn body(load: &Load, calls: Vec<Value>) -> Vec<u8> {
    let single = calls.first().filter(|_| load.batch == 1).cloned();
    single.unwrap_or(Value::Array(calls)).to_string().into_bytes()
}

/// Keeps one request in flight until the time is over or somebody has nothing left to ask.
async fn ask(mut asker: Asker, deadline: Instant, stop: Arc<AtomicBool>) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) && Instant::now() < deadline {
        let Some(body) = asker.bodies.next() else { break };
        let asked = Instant::now();
        let (_, answer) = asker.client.post("rpc", "application/json", body).await?;
        seen.latencies_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        let answers = match serde_json::from_slice(&answer)? {
            Value::Array(answers) => answers,
            answer => vec![answer],
        };
        for answer in answers {
            seen.calls += 1;
            if answer["result"].is_null() {
                seen.errors += 1;
                seen.error = Some(answer["error"].to_string());
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    Ok(seen)
}

async fn call(client: &Client, method: &str, params: Value) -> Result<Value, Failure> {
    let body = request(1, method, &params).to_string();
    let (_, answer) = client.post("rpc", "application/json", body).await?;
    let mut answer: Value = serde_json::from_slice(&answer)?;
    match answer["result"].take() {
        Value::Null => Err(format!("{method}: {}", answer["error"]).into()),
        result => Ok(result),
    }
}

fn text<'a>(table: &'a Value, name: &str) -> Result<&'a str, Failure> {
    table[name].as_str().ok_or_else(|| format!("{name} is missing in {table}").into())
}

/// Returns the CPU time that a process used.
fn cpu(pid: u32) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything: count fields behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    // Linux counts in hundredths of a second for every architecture that we build for.
    Ok(Duration::from_millis(ticks * 10))
}

fn report(load: &Load, mut seen: Seen, elapsed: Duration, server: Duration, own: Duration) {
    seen.latencies_us.sort_unstable();
    let at = |percent: usize| {
        let last = seen.latencies_us.len().saturating_sub(1);
        f64::from(seen.latencies_us.get(last * percent / 100).copied().unwrap_or(0)) / 1000.0
    };
    let calls = (seen.calls as f64).max(1.0);
    let each = server.as_secs_f64() / calls;
    println!(
        "{:<7} {:>4} x {:<2} {:>8.0}/s  p50 {:>6.2} ms  p99 {:>6.2} ms  server CPU {:>6.1} µs = \
         {:>6.0}/s per core  client CPU {:>5.1} µs  {} calls in {:.1} s, {} errors",
        format!("{:?}", load.method).to_lowercase(),
        load.connections,
        load.batch,
        calls / elapsed.as_secs_f64(),
        at(50),
        at(99),
        each * 1e6,
        if each > 0.0 { 1.0 / each } else { 0.0 },
        own.as_secs_f64() * 1e6 / calls,
        seen.calls,
        elapsed.as_secs_f64(),
        seen.errors,
    );
    if let Some(error) = seen.error {
        println!("  an error: {error}");
    }
}
