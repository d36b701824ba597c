//! The HTTP side: health, metrics, the JSON-RPC client API, and a page that draws the network.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use session_core::{NodeId, Span, SwarmId};
use session_protocol::request::{Push, Refusal};
use session_protocol::workload::message::SessionRefusal;
use session_rpc::api::{Encoding, Method};
use session_rpc::json_rpc::{self, BadCall, Call, ErrorObject, Incoming};
use session_rpc::session_api;
use session_runtime::http::limiter::Limiter;
use session_runtime::http::{self, Request, Response, origin};
use session_swarm::coordinator::Lie;
use tokio::sync::mpsc;

use crate::api;
use crate::api::sessions;
use crate::chain::certificates::Certificates;
use crate::chain::follow::Following;
use crate::shell::{Handle, NoReply, Status, Submitted, Wished};

mod health;
mod metrics;
mod network;

/// A batch of twenty items of 76,800 bytes in hex, and room for the rest.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;

/// The node's main loop answers within this time, or something is wrong with it.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// The machine answers by then: it waits half a minute for the chain to show a new session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(35);

/// How often a quiet subscription says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events that wait for a subscriber's socket.
const EVENTS_MAX: usize = 16;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// Who says which nodes there are.
pub(crate) enum Of {
    /// A network file.
    File { name: String, swarm: SwarmId },
    /// The chain.
    Chain(OfChain),
}

/// What a node of a chain has beside its loop.
pub(crate) struct OfChain {
    pub(crate) following: Arc<Following>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) lie: Option<Lie>,
}

/// Answers requests.
pub(crate) struct Api {
    node: NodeId,
    of: Of,
    /// Nothing until the node's loop runs.
    handle: OnceLock<Handle>,
    limiter: Limiter,
    started: tokio::time::Instant,
}

impl Api {
    pub(crate) fn new(node: NodeId, of: Of, rate: Option<u32>) -> Arc<Self> {
        let (limiter, started) = (Limiter::new(rate), tokio::time::Instant::now());
        Arc::new(Self { node, of, handle: OnceLock::new(), limiter, started })
    }

    /// Lets clients in.
    pub(crate) fn let_in(&self, handle: Handle) {
        // There is one loop; a second one would not be heard.
        let _ = self.handle.set(handle);
    }

    /// Returns what a node of a chain has.
    pub(crate) fn chain(&self) -> Option<&OfChain> {
        match &self.of {
            Of::File { .. } => None,
            Of::Chain(chain) => Some(chain),
        }
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request) -> Response {
        if origin::is_foreign(&request, &[]) {
            let error = ErrorObject::invalid_request("pages of this origin may not call");
            return failure(403, error.field("origin"));
        }
        let read = matches!(request.method, http::Method::GET | http::Method::HEAD);
        let post = request.method == http::Method::POST;
        match request.path.as_str() {
            "/health" if read => self.health().await,
            "/metrics" if read => self.metrics().await,
            "/" if read => network::page(),
            "/network.json" if read => self.network().await,
            path if read && path.starts_with("/certificate/") => {
                self.certificate(path.trim_start_matches("/certificate/"))
            }
            "/" | "/rpc" if post => self.rpc(&request).await,
            "/health" | "/metrics" | "/network.json" => not_allowed("GET, HEAD"),
            "/" => not_allowed("GET, HEAD, POST"),
            "/rpc" => not_allowed("POST"),
            _ => {
                let paths =
                    vec!["/", "/health", "/metrics", "/network.json", "/certificate/N", "/rpc"];
                let error = ErrorObject::invalid_request("there is nothing at this path");
                failure(404, error.with("paths", paths))
            }
        }
    }

    async fn status(&self) -> Result<Status, NoReply> {
        let handle = self.handle.get().ok_or(NoReply::Starting)?;
        let status = tokio::time::timeout(STATUS_TIMEOUT, handle.status()).await;
        status.unwrap_or(Err(NoReply::Busy))
    }

    async fn health(&self) -> Response {
        let (code, json) = health::report(self, self.status().await);
        Response::json(code, json.to_string())
    }

    async fn metrics(&self) -> Response {
        match self.status().await {
            Ok(status) => {
                let uptime = self.started.elapsed();
                Response::new(
                    200,
                    PROMETHEUS,
                    metrics::text(&status, self.chain(), &self.node, uptime),
                )
            }
            Err(why) => failure(503, no_reply(why)),
        }
    }

    async fn network(&self) -> Response {
        let status = self.status().await.ok();
        let drawn = network::json(self, status.as_ref());
        Response::json(200, drawn.to_string()).with_header("cache-control", "no-store")
    }

    fn certificate(&self, epoch: &str) -> Response {
        let Some(chain) = self.chain() else {
            let error = ErrorObject::invalid_request("this node is of no chain");
            return failure(404, error);
        };
        match epoch.parse().ok().and_then(|epoch| chain.certificates.get(epoch)) {
            Some(bytes) => Response::new(200, BINARY, bytes),
            None => {
                let error = ErrorObject::invalid_request("no certificate of this epoch is here");
                failure(404, error.with("last", chain.certificates.last()))
            }
        }
    }

    async fn rpc(&self, request: &Request) -> Response {
        let content = request.header("content-type").unwrap_or_default();
        if !content.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
            let error = ErrorObject::invalid_request("the content type must be application/json");
            return failure(415, error.field("content-type"));
        }
        let incoming = match json_rpc::parse(&request.body) {
            Ok(incoming) => incoming,
            Err(error) => return failure(400, error),
        };
        let calls = match &incoming {
            Incoming::Single(_) => 1,
            Incoming::Batch(calls) => calls.len() as u64,
        };
        if let Err(retry_after) = self.limiter.take(request.remote.ip(), calls) {
            return limited(retry_after);
        }
        match incoming {
            Incoming::Single(call) => self.single(call).await,
            Incoming::Batch(calls) => self.batch(calls).await,
        }
    }

    async fn single(&self, call: Result<Call, BadCall>) -> Response {
        let (id, method) = match understand(call) {
            Ok((id, Understood::Inbox(method))) => (id, method),
            Ok((id, Understood::Session(method))) => {
                let outcome = match self.begin_session(method) {
                    Ok((wished, form)) => finish_session(wished, form).await,
                    Err(error) => Err(error),
                };
                return response(id, outcome);
            }
            Err(bad) => return response(bad.id, Err(bad.error)),
        };
        let encoding = method.encoding();
        let subscribes = matches!(method, Method::Subscribe { .. });
        let handle = match self.ready() {
            Ok(handle) => handle,
            Err(error) => return response(id, Err(error)),
        };
        let request = match api::request(method, self.node, handle.now()) {
            Ok(request) => request,
            Err(error) => return response(id, Err(error)),
        };
        if subscribes {
            let subscribed = handle.subscribe(request).await.map_err(no_reply);
            return match subscribed.and_then(|(reply, pushes)| {
                api::result(reply, encoding).map(|result| (result, pushes))
            }) {
                Ok((result, pushes)) => events(id, result, pushes, encoding),
                Err(error) => response(id, Err(error)),
            };
        }
        let outcome = finish(handle.submit(request), encoding).await;
        response(id, outcome)
    }

    async fn batch(&self, calls: Vec<Result<Call, BadCall>>) -> Response {
        // All are submitted before the first is awaited: they are performed in order, together.
        let begun: Vec<_> = calls.into_iter().map(|call| self.begin(call)).collect();
        let mut responses = Vec::with_capacity(begun.len());
        for (id, begun) in begun {
            let outcome = match begun {
                Ok(Begun::Inbox(submitted, encoding)) => finish(Ok(submitted), encoding).await,
                Ok(Begun::Session(wished, form)) => finish_session(wished, form).await,
                Err(error) => Err(error),
            };
            if let Some(id) = id {
                responses.push(json_rpc::Response::new(id, outcome));
            }
        }
        match json_rpc::batch_json(&responses) {
            Some(json) => Response::json(200, json),
            None => Response::new(204, JSON, ""),
        }
    }

    fn begin(&self, call: Result<Call, BadCall>) -> (Option<Value>, Result<Begun, ErrorObject>) {
        let (id, method) = match understand(call) {
            Ok((id, Understood::Inbox(method))) => (id, method),
            Ok((id, Understood::Session(method))) => {
                let begun = self.begin_session(method);
                return (id, begun.map(|(wished, form)| Begun::Session(wished, form)));
            }
            Err(bad) => return (bad.id, Err(bad.error)),
        };
        if matches!(method, Method::Subscribe { .. }) {
            let error = ErrorObject::invalid_request("subscribe is not allowed inside a batch");
            return (id, Err(error));
        }
        let encoding = method.encoding();
        let submitted = self.ready().and_then(|handle| {
            let request = api::request(method, self.node, handle.now())?;
            handle.submit(request).map_err(no_reply)
        });
        (id, submitted.map(|submitted| Begun::Inbox(submitted, encoding)))
    }

    fn begin_session(
        &self,
        method: session_api::Method,
    ) -> Result<(Wished, sessions::Form), ErrorObject> {
        if self.chain().is_none() {
            return Err(sessions::refused(&SessionRefusal::NoChain));
        }
        let (wish, form) = sessions::wish(method)?;
        Ok((self.ready()?.wish(wish).map_err(no_reply)?, form))
    }

    fn ready(&self) -> Result<&Handle, ErrorObject> {
        self.handle.get().ok_or_else(|| no_reply(NoReply::Starting))
    }
}

/// A call that the node's loop has.
enum Begun {
    Inbox(Submitted, Encoding),
    Session(Wished, sessions::Form),
}

/// A call of a method that is known.
enum Understood {
    Inbox(Method),
    Session(session_api::Method),
}

/// A call that was not understood; without an id, nobody is told.
struct Bad {
    id: Option<Value>,
    error: ErrorObject,
}

fn understand(call: Result<Call, BadCall>) -> Result<(Option<Value>, Understood), Bad> {
    let call = call.map_err(|bad| Bad { id: Some(bad.id), error: bad.error })?;
    let understood = match session_api::Method::parse(&call) {
        Some(method) => method.map(Understood::Session),
        None => Method::parse(&call).map(Understood::Inbox),
    };
    match understood {
        Ok(understood) => Ok((call.id, understood)),
        Err(error) => Err(Bad { id: call.id, error }),
    }
}

async fn finish(
    submitted: Result<Submitted, NoReply>,
    encoding: Encoding,
) -> Result<Value, ErrorObject> {
    let reply = submitted.map_err(no_reply)?.reply().await.map_err(no_reply)?;
    api::result(reply, encoding)
}

async fn finish_session(wished: Wished, form: sessions::Form) -> Result<Value, ErrorObject> {
    match tokio::time::timeout(SESSION_TIMEOUT, wished.given()).await {
        Ok(given) => sessions::result(given.map_err(no_reply)?, form),
        Err(_) => Err(sessions::refused(&sessions::other("no member of the committee answered"))),
    }
}

fn no_reply(why: NoReply) -> ErrorObject {
    api::error(&match why {
        NoReply::Busy => Refusal::RateLimited { retry_after: Span::from_secs(1) },
        NoReply::Stopping | NoReply::Starting => Refusal::not_ready(&why.to_string()),
    })
}

fn response(id: Option<Value>, outcome: Result<Value, ErrorObject>) -> Response {
    match id {
        Some(id) => Response::json(200, json_rpc::Response::new(id, outcome).to_json()),
        None => Response::new(204, JSON, ""),
    }
}

fn failure(status: u16, error: ErrorObject) -> Response {
    Response::json(status, json_rpc::Response::new(Value::Null, Err(error)).to_json())
}

fn not_allowed(methods: &'static str) -> Response {
    let error = ErrorObject::invalid_request(format!("this path takes {methods}"));
    failure(405, error.field("method")).with_header("allow", methods)
}

fn limited(retry_after: Span) -> Response {
    let seconds = retry_after.as_millis().div_ceil(1000);
    failure(429, api::error(&Refusal::RateLimited { retry_after }))
        .with_header("retry-after", seconds.to_string())
}

fn events(
    id: Option<Value>,
    result: Value,
    mut pushes: mpsc::Receiver<Push>,
    encoding: Encoding,
) -> Response {
    let (events, pieces) = mpsc::channel(EVENTS_MAX);
    let first = json_rpc::Response::new(id.unwrap_or(Value::Null), Ok(result)).to_json();
    tokio::spawn(async move {
        let mut next = event("subscribed", &String::from_utf8_lossy(&first));
        // Ends when the reader is gone, or when the shell cuts the subscriber off.
        while events.send(next.into()).await.is_ok() {
            next = match tokio::time::timeout(KEEP_ALIVE, pushes.recv()).await {
                Ok(Some(push)) => event("item", &api::pushed(push, encoding).to_string()),
                Ok(None) => return,
                Err(_) => ": alive\n\n".to_owned(),
            };
        }
    });
    Response::stream(EVENT_STREAM, pieces).with_header("cache-control", "no-store")
}

// JSON has no line breaks outside of texts, and inside they are escaped: one line of data.
fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
