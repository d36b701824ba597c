//! JSON-RPC 2.0: from calls to the chain and the conversations, and back.
//!
//! | module | holds |
//! |---|---|
//! | `conversations` | the seed's methods, messages, channels |
//! | `chain` | transactions, blocks, nodes, proofs |
//! | `describe` | transactions member by member |
//! | `epoch` | epochs, and the beacon of the next one |
//! | `nodes` | nodes, their duties, swarms, accusations |
//! | `turn` | the order of the calls of a batch |

mod chain;
mod conversations;
mod describe;
mod epoch;
mod nodes;
mod turn;

use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use serde_json::Value;
use session_rpc::json_rpc::{self, BadCall, Call, ErrorObject, Incoming};
use session_rpc::vm::api::Method;
use session_rpc::vm::result::{self, ChainPhase, Shape as _};
use session_rpc::vm::{ErrorCode, Profile, openrpc};
use session_runtime::http::{Request, Response};

use crate::http::App;
use turn::Turn;

pub(crate) use chain::block_result;
pub(crate) use conversations::{message_result, prove_reader, refused};
pub(crate) use epoch::{mode, phase};

const JSON: &str = "application/json";

type Answer = Result<Value, ErrorObject>;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) ip: IpAddr,
    /// Whether a proxy on this machine speaks for somebody else.
    pub(crate) forwarded: bool,
}

/// What proxies add to a request.
const FORWARDING_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

impl Caller {
    pub(crate) fn of(request: &Request) -> Self {
        let forwarded = FORWARDING_HEADERS.iter().any(|name| request.header(name).is_some());
        Self { ip: request.remote.ip(), forwarded }
    }

    /// Whether it is a program on the node's own machine, as far as that can be seen.
    pub(crate) fn is_local(&self) -> bool {
        self.ip.is_loopback() && !self.forwarded
    }
}

/// Answers a body of one call or several.
pub(crate) async fn answer(app: App, request: Request) -> Response {
    let started = tokio::time::Instant::now();
    let response = match request.header("content-type") {
        // Browsers send other kinds across origins without asking first.
        Some(kind) if !is_json(kind) => {
            Response::text(415, "JSON-RPC calls have the content type application/json\n")
        }
        _ => answer_body(&app, &request).await,
    };
    app.metrics().call_seconds.observe(started.elapsed().as_secs_f64());
    response
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or("").trim();
    kind.eq_ignore_ascii_case(JSON) || kind.eq_ignore_ascii_case("application/json-rpc")
}

async fn answer_body(app: &App, request: &Request) -> Response {
    match respond(app, Caller::of(request), &request.body).await {
        // Notifications only: there is nothing to say.
        None => Response::new(204, JSON, ""),
        Some(body) => Response::new(200, JSON, body),
    }
}

/// Answers the text of one call or several; nothing for notifications.
pub(crate) async fn respond(app: &App, caller: Caller, body: &[u8]) -> Option<Vec<u8>> {
    let refuse =
        |error: ErrorObject| Some(json_rpc::Response::new(Value::Null, Err(error)).to_json());
    match json_rpc::parse(body) {
        Err(error) => refuse(error),
        Ok(Incoming::Single(call)) => match app.admit(caller.ip, 1) {
            Err(error) => refuse(error),
            Ok(()) => {
                one(app, caller, Turn::alone(), call).await.map(|response| response.to_json())
            }
        },
        Ok(Incoming::Batch(calls)) => match app.admit(caller.ip, calls.len()) {
            Err(error) => refuse(error),
            Ok(()) => {
                let turns = Turn::line(calls.len()).into_iter().zip(calls);
                let calls = turns.map(|(turn, call)| one(app, caller, turn, call));
                let responses: Vec<_> = all(calls.collect()).await.into_iter().flatten().collect();
                json_rpc::batch_json(&responses)
            }
        },
    }
}

async fn one(
    app: &App,
    caller: Caller,
    mut turn: Turn,
    call: Result<Call, BadCall>,
) -> Option<json_rpc::Response> {
    let (id, answer) = match call {
        Err(BadCall { id, error }) => (Some(id), Err(error)),
        Ok(call) => {
            let id = call.id.clone();
            (id, perform(app, caller, &mut turn, &call).await)
        }
    };
    // Those behind it must not overtake those before it.
    turn.come().await;
    app.metrics().count(answer.is_ok());
    id.map(|id| json_rpc::Response::new(id, answer))
}

async fn perform(app: &App, caller: Caller, turn: &mut Turn, call: &Call) -> Answer {
    let method = Method::parse(call, app.engine().config().profile)?;
    dispatch(app, caller, turn, method).await
}

async fn dispatch(app: &App, caller: Caller, turn: &mut Turn, method: Method) -> Answer {
    match method {
        Method::CreateSession(call) => conversations::create(app, call).await,
        Method::AcceptSession(call) => conversations::accept(app, call).await,
        Method::GetSession(call) => conversations::get(app, call).await,
        Method::SendMessage(call) => conversations::send(app, turn, call).await,
        Method::CloseSession(call) => conversations::close(app, call).await,
        Method::GetMessages(call) => conversations::messages(app, call).await,
        Method::ListSessions(call) => conversations::list(app, caller, call).await,
        Method::CreateChannel(call) => conversations::create_channel(app, call).await,
        Method::JoinChannel(call) => conversations::join_channel(app, call).await,
        Method::LeaveChannel(call) => conversations::leave_channel(app, call).await,
        Method::GetChannel(call) => conversations::get_channel(app, call).await,
        Method::ListChannels(call) => conversations::list_channels(app, call).await,
        Method::Health(_) => Ok(health(app).to_json()),
        Method::Subscribe(_) | Method::Unsubscribe(_) => Err(ErrorCode::NeedsWebSocket.error()),
        Method::IssueTx(call) => chain::issue(app, call).await,
        Method::GetTx(call) => chain::transaction(app, call).await,
        Method::GetBlock(call) => chain::block(app, call).await,
        Method::GetHeight(_) => Ok(chain::height(app)),
        Method::GetNode(call) => nodes::node(app, &call),
        Method::ListNodes(call) => Ok(nodes::nodes(app, &call)),
        Method::GetMarks(call) => nodes::marks(app, &call),
        Method::GetCommitments(call) => nodes::commitments(app, &call),
        Method::GetSwarms(_) => Ok(nodes::swarms(app)),
        Method::GetCases(call) => Ok(nodes::cases(app, &call)),
        Method::GetCase(call) => nodes::case(app, &call),
        Method::GetProof(call) => Ok(chain::proof(app, &call)),
        Method::GetEpoch(call) => epoch::epoch(app, &call),
        Method::GetAccount(call) => Ok(chain::account(app, &call)),
        Method::GetWorkload(call) => chain::workload(app, &call),
        Method::GetConversation(call) => chain::conversation(app, &call),
        Method::Discover(_) => Ok(openrpc::document(crate::VERSION)),
        // Methods that this version does not know do not parse.
        _ => Err(ErrorObject::new(json_rpc::METHOD_NOT_FOUND, "method_not_found", "not served")),
    }
}

/// Returns how the node is.
pub(crate) fn health(app: &App) -> result::Health {
    let engine = app.engine();
    let counts = engine.post().counts();
    let fault = app.fault();
    let (height, mempool, closed) = {
        let chain = engine.chain();
        let pool = chain.mempool_stats().transactions as u64;
        (chain.last_accepted().height, pool, chain.closed().is_some())
    };
    let phase = match (closed, app.is_bootstrapping()) {
        (true, _) => ChainPhase::Failed,
        (false, true) => ChainPhase::Bootstrapping,
        (false, false) => ChainPhase::Ready,
    };
    let compat = (engine.config().profile == Profile::Go).then(|| "go".to_owned());
    result::Health {
        healthy: fault.is_none(),
        sessions: counts.open,
        channels: counts.channels,
        pending: engine.post().waiting(),
        height,
        mempool,
        phase,
        chain: *engine.chain_id(),
        version: crate::VERSION.to_owned(),
        compat,
        fault,
    }
}

/// Polls all futures until each is done.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Running<F>> =
        futures.into_iter().map(|future| Running::Waits(Box::pin(future))).collect();
    let mut all = pin!(std::future::poll_fn(move |cx| {
        let mut waiting = false;
        for future in &mut running {
            if let Running::Waits(inner) = future {
                match inner.as_mut().poll(cx) {
                    Poll::Ready(output) => *future = Running::Done(Some(output)),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            return Poll::Pending;
        }
        let outputs = running.iter_mut().filter_map(|future| match future {
            Running::Done(output) => output.take(),
            Running::Waits(_) => None,
        });
        Poll::Ready(outputs.collect())
    }));
    all.as_mut().await
}

enum Running<F: Future> {
    Waits(Pin<Box<F>>),
    Done(Option<F::Output>),
}

/// Runs what may read the database, which may be another process.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorObject> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))
}

fn internal(error: &dyn core::fmt::Display) -> ErrorObject {
    tracing::error!("a call failed: {error}");
    ErrorObject::new(json_rpc::INTERNAL_ERROR, "internal", "the node failed; its log says why")
}
