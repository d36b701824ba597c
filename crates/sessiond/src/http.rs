//! The HTTP side: health, metrics, and the JSON-RPC client API.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use session_core::{Span, SwarmId};
use session_protocol::request::{Push, Refusal};
use session_rpc::api::{Encoding, Method};
use session_rpc::json_rpc::{self, BadCall, Call, ErrorObject, Incoming};
use session_runtime::http::limiter::Limiter;
use session_runtime::http::{self, Request, Response};
use tokio::sync::mpsc;

use crate::api;
use crate::shell::{Handle, NoReply, Submitted};

mod health;
mod metrics;

/// A batch of twenty items of 76,800 bytes in hex, and room for the rest.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;

/// The node's main loop answers within this time, or something is wrong with it.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a quiet subscription says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events that wait for a subscriber's socket.
const EVENTS_MAX: usize = 16;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers requests.
pub(crate) struct Api {
    handle: Handle,
    swarm: SwarmId,
    network: String,
    limiter: Limiter,
    started: tokio::time::Instant,
}

impl Api {
    pub(crate) fn new(
        handle: Handle,
        network: String,
        swarm: SwarmId,
        rate: Option<u32>,
    ) -> Arc<Self> {
        let started = tokio::time::Instant::now();
        Arc::new(Self { handle, swarm, network, limiter: Limiter::new(rate), started })
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request) -> Response {
        let read = matches!(request.method, http::Method::GET | http::Method::HEAD);
        let post = request.method == http::Method::POST;
        match request.path.as_str() {
            "/health" if read => self.health().await,
            "/metrics" if read => self.metrics().await,
            "/" | "/rpc" if post => self.rpc(&request).await,
            "/health" | "/metrics" => not_allowed("GET, HEAD"),
            "/" | "/rpc" => not_allowed("POST"),
            _ => {
                let paths = vec!["/health", "/metrics", "/rpc"];
                let error = ErrorObject::invalid_request("there is nothing at this path");
                failure(404, error.with("paths", paths))
            }
        }
    }

    async fn health(&self) -> Response {
        let status = tokio::time::timeout(STATUS_TIMEOUT, self.handle.status()).await;
        let (code, json) = health::report(self, status.unwrap_or(Err(NoReply::Busy)));
        Response::json(code, json.to_string())
    }

    async fn metrics(&self) -> Response {
        match tokio::time::timeout(STATUS_TIMEOUT, self.handle.status()).await {
            Ok(Ok(status)) => {
                let uptime = self.started.elapsed();
                Response::new(200, PROMETHEUS, metrics::text(&status, uptime))
            }
            _ => failure(503, no_reply(NoReply::Busy)),
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
            Ok(understood) => understood,
            Err(bad) => return response(bad.id, Err(bad.error)),
        };
        let encoding = method.encoding();
        let subscribes = matches!(method, Method::Subscribe { .. });
        let request = match api::request(method, self.handle.node(), self.handle.now()) {
            Ok(request) => request,
            Err(error) => return response(id, Err(error)),
        };
        if subscribes {
            let subscribed = self.handle.subscribe(request).await.map_err(no_reply);
            return match subscribed.and_then(|(reply, pushes)| {
                api::result(reply, encoding).map(|result| (result, pushes))
            }) {
                Ok((result, pushes)) => events(id, result, pushes, encoding),
                Err(error) => response(id, Err(error)),
            };
        }
        let outcome = finish(self.handle.submit(request), encoding).await;
        response(id, outcome)
    }

    async fn batch(&self, calls: Vec<Result<Call, BadCall>>) -> Response {
        // All are submitted before the first is awaited: they are performed in order, together.
        let begun: Vec<_> = calls.into_iter().map(|call| self.begin(call)).collect();
        let mut responses = Vec::with_capacity(begun.len());
        for (id, begun) in begun {
            let outcome = match begun {
                Ok((submitted, encoding)) => finish(Ok(submitted), encoding).await,
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

    fn begin(&self, call: Result<Call, BadCall>) -> (Option<Value>, Begun) {
        let (id, method) = match understand(call) {
            Ok(understood) => understood,
            Err(bad) => return (bad.id, Err(bad.error)),
        };
        if matches!(method, Method::Subscribe { .. }) {
            let error = ErrorObject::invalid_request("subscribe is not allowed inside a batch");
            return (id, Err(error));
        }
        let encoding = method.encoding();
        let submitted = api::request(method, self.handle.node(), self.handle.now())
            .and_then(|request| self.handle.submit(request).map_err(no_reply));
        (id, submitted.map(|submitted| (submitted, encoding)))
    }
}

type Begun = Result<(Submitted, Encoding), ErrorObject>;

/// A call that was not understood; without an id, nobody is told.
struct Bad {
    id: Option<Value>,
    error: ErrorObject,
}

fn understand(call: Result<Call, BadCall>) -> Result<(Option<Value>, Method), Bad> {
    let call = call.map_err(|bad| Bad { id: Some(bad.id), error: bad.error })?;
    match Method::parse(&call) {
        Ok(method) => Ok((call.id, method)),
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

fn no_reply(why: NoReply) -> ErrorObject {
    api::error(&match why {
        NoReply::Busy => Refusal::RateLimited { retry_after: Span::from_secs(1) },
        NoReply::Stopping => Refusal::not_ready(&why.to_string()),
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
