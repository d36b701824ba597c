//! The world as a server.
//!
//! What a manifest has at `https://HOST/PATH` is here at `/-/HOST/PATH`, and a header says which
//! node asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::sha256;
use session_runtime::http::{self, Limits, Request, Response, Server};

use super::{Route, World};
use crate::exit::{Doing, Result};

/// What is kept of requests that no route answers.
const MISSES_MAX: usize = 32;

/// Targets of which answers are kept.
const TOLD_MAX: usize = 256;

/// The header that says which node asks.
pub(crate) const NODE_HEADER: &str = "x-lux-node";

/// What comes before the host in paths.
pub(crate) const HOST_PREFIX: &str = "/-/";

/// A world that answers, until it is dropped.
pub(crate) struct Served {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    world: World,
    /// Of each route. Names live as long as the program: a world is read once.
    heads: Vec<Head>,
    ledger: Mutex<Ledger>,
}

/// The head of a route's answers.
struct Head {
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
}

/// What happened.
#[derive(Debug, Default)]
struct Ledger {
    /// How often a node asked a route.
    asked: BTreeMap<(usize, usize), usize>,
    writes: BTreeMap<(String, String), Write>,
    objects: BTreeMap<String, Vec<u8>>,
    misses: BTreeSet<String>,
    /// What each node was told last.
    told: BTreeMap<String, BTreeMap<usize, String>>,
}

/// One thing that was to be written, however often it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Write {
    /// Where to.
    pub(crate) target: String,
    /// Its Idempotency-Key; empty if there was none.
    pub(crate) key: String,
    /// How often it was asked for.
    pub(crate) requests: u32,
    /// How often it happened.
    pub(crate) effects: u32,
    /// Answers that were lost.
    lost: u32,
    /// What was written.
    pub(crate) body: Vec<u8>,
}

impl Served {
    /// Lets the world answer.
    pub(crate) async fn start(world: World) -> Result<Self> {
        let heads = world.route.iter().map(Head::new).collect();
        let shared = Arc::new(Shared { world, heads, ledger: Mutex::default() });
        let of_server = shared.clone();
        let answer = move |request| {
            let shared = of_server.clone();
            async move { shared.answer(&request).await }
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = http::serve(listen, answer, Limits::default()).await;
        let server = server.doing(|| "cannot play the outside world".to_owned())?;
        Ok(Self { server, shared })
    }

    /// Returns where the world is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Returns what was to be written.
    pub(crate) fn writes(&self) -> Vec<Write> {
        self.shared.ledger().writes.values().cloned().collect()
    }

    /// Returns what nodes were told differently: what, and each node's last answer.
    pub(crate) fn divergent(&self) -> Vec<(String, Vec<(usize, String)>)> {
        let ledger = self.shared.ledger();
        let differs = |told: &BTreeMap<usize, String>| {
            let mut bodies = told.values();
            let first = bodies.next();
            bodies.any(|body| Some(body) != first)
        };
        let told = ledger.told.iter().filter(|(_, told)| differs(told));
        told.map(|(target, told)| (target.clone(), told.clone().into_iter().collect())).collect()
    }

    /// Returns what was asked for and is not in the script.
    pub(crate) fn misses(&self) -> Vec<String> {
        self.shared.ledger().misses.iter().cloned().collect()
    }
}

/// A request, as routes see it.
pub(super) struct Asked<'a> {
    /// Which node asks.
    node: usize,
    /// The host that is played.
    pub(super) host: &'a str,
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    request: &'a Request,
}

impl<'a> Asked<'a> {
    fn new(node: usize, whole: &'a str, request: &'a Request) -> Self {
        let (host, target) = match whole.strip_prefix(HOST_PREFIX) {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", whole),
        };
        Self { node, host, method: request.method.as_str(), target, request }
    }
}

impl Head {
    fn new(route: &Route) -> Self {
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let (mut content_type, mut headers) = ("text/plain; charset=utf-8", Vec::new());
        for (name, value) in &route.headers {
            match name.eq_ignore_ascii_case("content-type") {
                true => content_type = leak(value),
                false => headers.push((leak(name), value.clone())),
            }
        }
        Self { content_type, headers }
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: &Request) -> Response {
        let node = request.header(NODE_HEADER).and_then(|node| node.parse().ok());
        let whole = match &request.query {
            Some(query) => format!("{}?{query}", request.path),
            None => request.path.clone(),
        };
        let asked = Asked::new(node.unwrap_or_default(), &whole, request);
        let found = self.world.route.iter().position(|route| route.fits(&asked));
        if let Some(index) = found {
            tokio::time::sleep(Duration::from_millis(self.world.route[index].delay_ms)).await;
            return self.routed(index, &asked);
        }
        if let Some(store) = self.world.store.iter().find(|store| is_below(&whole, &store.name)) {
            return self.stored(store.lost_answers, request);
        }
        let mut ledger = self.ledger();
        if ledger.misses.len() < MISSES_MAX {
            ledger.misses.insert(format!("{} {}{}", asked.method, asked.host, asked.target));
        }
        Response::text(404, "the scripted world has nothing here\n")
    }

    fn routed(&self, index: usize, asked: &Asked<'_>) -> Response {
        let route = &self.world.route[index];
        let mut ledger = self.ledger();
        let times = ledger.asked.entry((asked.node, index)).or_default();
        *times += 1;
        let body = route.body(asked.node, *times - 1).to_owned();
        if route.writes() {
            let key = asked.request.header("idempotency-key").unwrap_or_default();
            if key.is_empty() && !route.keyless {
                return Response::text(400, "an Idempotency-Key is needed\n");
            }
            let target = format!("{} {}{}", route.method, asked.host, asked.target);
            if ledger.write(&target, key, &asked.request.body) < route.lost_answers {
                return Response::text(503, "it is done, and you do not hear of it\n");
            }
        } else if ledger.told.len() < TOLD_MAX {
            let told = ledger.told.entry(format!("{}{}", asked.host, asked.target)).or_default();
            told.insert(asked.node, body.clone());
        }
        drop(ledger);
        let Head { content_type, headers } = &self.heads[index];
        headers.iter().fold(Response::new(route.status, content_type, body), |response, header| {
            response.with_header(header.0, header.1.clone())
        })
    }

    fn stored(&self, lost_answers: u32, request: &Request) -> Response {
        let path = request.path.clone();
        let mut ledger = self.ledger();
        let tag = |bytes: &[u8]| format!("\"{}\"", hex::encode(sha256(bytes)));
        match request.method.as_str() {
            "GET" | "HEAD" => match ledger.objects.get(&path) {
                Some(bytes) => Response::new(200, "application/octet-stream", bytes.clone())
                    .with_header("etag", tag(bytes)),
                None => Response::text(404, "NoSuchKey\n"),
            },
            "PUT" => {
                if request.header("if-none-match") == Some("*")
                    && ledger.objects.contains_key(&path)
                {
                    return Response::text(412, "PreconditionFailed\n");
                }
                // Writing the same bytes to the same place again changes nothing.
                let same = ledger.objects.get(&path) == Some(&request.body);
                let key = request.header("idempotency-key").unwrap_or_default().to_owned();
                let lost = ledger.put(&format!("PUT {path}"), &key, &request.body, same);
                ledger.objects.insert(path, request.body.clone());
                if lost < lost_answers {
                    return Response::text(503, "it is done, and you do not hear of it\n");
                }
                Response::new(200, "application/octet-stream", "")
                    .with_header("etag", tag(&request.body))
            }
            _ => Response::text(405, "an object store takes GET and PUT\n"),
        }
    }
}

impl Ledger {
    /// Notes a write; returns how many of its answers were lost before.
    fn write(&mut self, target: &str, key: &str, body: &[u8]) -> u32 {
        let known =
            !key.is_empty() && self.writes.contains_key(&(target.to_owned(), key.to_owned()));
        self.put(target, key, body, known)
    }

    fn put(&mut self, target: &str, key: &str, body: &[u8], known: bool) -> u32 {
        let write = self.writes.entry((target.to_owned(), key.to_owned())).or_default();
        (write.target, write.key) = (target.to_owned(), key.to_owned());
        write.requests += 1;
        if !known {
            write.effects += 1;
            write.body = body.to_vec();
        }
        write.lost += 1;
        write.lost - 1
    }
}

fn is_below(target: &str, name: &str) -> bool {
    target
        .strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.starts_with('/'))
}
