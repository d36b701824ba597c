//! What is served over HTTP, alone and behind a host: JSON-RPC, WebSocket, health, metrics, blocks.
//!
//! Hosts forward whole paths (`/v1/bc/<chain>/rpc`, `/ext/bc/<chain>/rpc`): the last part decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session_core::Encode as _;
use session_rpc::json_rpc;
use session_rpc::vm::ErrorCode;
use session_rpc::vm::result::Shape as _;
use session_runtime::http::limiter::Limiter;
use session_runtime::http::origin::is_foreign;
use session_runtime::http::{Method, Request, Response};
use session_runtime::metrics;
use session_vm::solo;

use crate::engine::Engine;
use crate::hosted::Phase;
use crate::metrics::Metrics;
use crate::page::{BLOCKS_MAX, Page, Row};
use crate::{api, overview, socket};

mod cors;

/// The longest that a request for a block that is not there yet is held.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// What a node does with the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It makes blocks.
    Sequencer,
    /// It follows a sequencer.
    Follower,
    /// A host decides.
    Hosted,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Sequencer => "sequencer",
            Self::Follower => "follower",
            Self::Hosted => "plugin",
        }
    }
}

/// Answers requests for one chain. Clones are the same one.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    role: Role,
    limiter: Limiter,
    metrics: Metrics,
    upstream_fault: Mutex<Option<String>>,
}

impl App {
    /// Makes what answers for an engine. `client_rate` overrides the configured calls a second of
    /// one client; 0 is no limit.
    #[must_use]
    pub fn new(engine: Arc<Engine>, role: Role, client_rate: Option<u32>) -> Self {
        let rate = client_rate.unwrap_or(engine.config().client_rate);
        let limiter = Limiter::new(Some(rate).filter(|rate| *rate > 0));
        let (metrics, upstream_fault) = (Metrics::new(), Mutex::new(None));
        Self(Arc::new(Inner { engine, role, limiter, metrics, upstream_fault }))
    }

    /// Returns the chain.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Says why the sequencer cannot be followed at the moment.
    pub(crate) fn set_upstream_fault(&self, fault: Option<String>) {
        *self.0.upstream_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Returns why the node does not do what it should.
    pub(crate) fn fault(&self) -> Option<String> {
        let upstream = self.0.upstream_fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let health = self.engine().health();
        let own = health.details.into_iter().find(|(name, _)| name == "fault");
        own.map(|(_, fault)| fault).or(upstream)
    }

    /// Takes the calls of one client from its share.
    ///
    /// # Errors
    /// With the refusal, when the share is used up.
    pub(crate) fn admit(
        &self,
        client: std::net::IpAddr,
        calls: usize,
    ) -> Result<(), json_rpc::ErrorObject> {
        self.0.limiter.take(client, calls as u64).map_err(|wait| {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            ErrorCode::RateLimited.error().with("retry_after", seconds)
        })
    }

    /// Answers a request.
    pub async fn answer(self, request: Request) -> Response {
        let origins = &self.engine().config().cors_origins;
        // Hosts decide themselves which pages reach them.
        if self.0.role != Role::Hosted && is_foreign(&request, origins) {
            return cors::refuse();
        }
        let Some(origin) = cors::allowed(&request, origins) else {
            return self.route(request).await;
        };
        let response = if cors::is_preflight(&request) {
            cors::preflight()
        } else {
            self.route(request).await
        };
        cors::open(response, origin)
    }

    async fn route(self, request: Request) -> Response {
        let path = request.path.trim_end_matches('/').to_owned();
        let mut parts = path.rsplit('/');
        let (last, before) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let reading = matches!(request.method, Method::GET | Method::HEAD);
        match (before, last) {
            ("blocks", height) if reading => self.block(height, request.query.as_deref()).await,
            (_, "ws") => socket::accept(self, &request),
            (_, "rpc") if reading && request.header("upgrade").is_some() => {
                socket::accept(self, &request)
            }
            (_, "health") if reading => self.health(),
            (_, "metrics") if reading => self.render_metrics(),
            (_, "genesis") if reading => {
                Response::json(200, self.engine().genesis_json().to_owned())
            }
            (_, "rpc") if request.method == Method::POST => api::answer(self, request).await,
            (_, "rpc") => {
                Response::text(405, "JSON-RPC calls are a POST\n").with_header("allow", "POST")
            }
            // Below a host the prefix may be empty: the chain's own path takes calls too.
            _ if request.method == Method::POST => api::answer(self, request).await,
            _ if reading && self.is_root(&path) => self.page(),
            _ => Response::text(404, "nothing is here: /rpc, /ws, /health, /metrics, /genesis\n"),
        }
    }

    // Alone only "/" is the page; hosts put a prefix before it.
    fn is_root(&self, path: &str) -> bool {
        path.is_empty() || self.0.role == Role::Hosted
    }

    fn health(&self) -> Response {
        let health = api::health(self);
        let status = if health.healthy { 200 } else { 503 };
        Response::json(status, health.to_json().to_string())
    }

    fn render_metrics(&self) -> Response {
        Response::new(200, metrics::CONTENT_TYPE, self.metrics().render(self))
    }

    /// Serves a sealed block to followers; waits for it as long as they ask.
    async fn block(&self, height: &str, query: Option<&str>) -> Response {
        let Ok(height) = height.parse::<u64>() else {
            return Response::text(400, "a height is a number\n");
        };
        let wait = query
            .and_then(|query| query.strip_prefix("wait="))
            .and_then(|wait| wait.parse().ok())
            .map_or(Duration::ZERO, Duration::from_millis);
        let mut accepted = self.engine().accepted();
        let late = tokio::time::Instant::now() + wait.min(WAIT_MAX);
        loop {
            if height <= self.engine().chain().last_accepted().height {
                break;
            }
            tokio::select! {
                // Having missed some blocks is as good as having seen them.
                _ = accepted.recv() => {}
                () = tokio::time::sleep_until(late) => return Response::new(204, "text/plain", ""),
            }
        }
        let engine = Arc::clone(self.engine());
        let read = move || solo::sealed_at(&engine.chain(), height);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(Some(sealed))) => {
                Response::new(200, "application/octet-stream", sealed.to_bytes())
            }
            Ok(Ok(None)) => Response::text(404, "no sealed block is at this height\n"),
            Ok(Err(error)) => Response::text(500, format!("{error}\n")),
            Err(_) => Response::text(500, "reading the block failed\n"),
        }
    }

    fn page(&self) -> Response {
        let engine = self.engine();
        let health = api::health(self);
        let chain = engine.chain();
        let state = chain.state();
        let last = chain.last_accepted().clone();
        let mut facts =
            vec![("height", last.height.to_string()), ("state root", last.state_root.to_string())];
        facts.extend(overview::facts(state, engine.now().max(last.time)));
        let tables = overview::tables(state);
        facts.extend([
            ("conversations", health.sessions.to_string()),
            ("channels", health.channels.to_string()),
            ("waiting transactions", health.mempool.to_string()),
            ("health", health.fault.clone().unwrap_or_else(|| "good".to_owned())),
        ]);
        let mut blocks = Vec::new();
        let mut next = Some(last.id);
        while let Some(id) = next.filter(|_| (blocks.len() as u64) < BLOCKS_MAX) {
            let Ok(Some(block)) = chain.block(&id) else { break };
            blocks.push(Row {
                height: block.height,
                id: block.id.to_string(),
                time: block.time,
                transactions: block.transactions,
                bytes: block.bytes.len(),
            });
            next = (block.height > 0).then_some(block.parent);
        }
        drop(chain);
        Page {
            network: engine.network().to_owned(),
            chain: engine.chain_id().to_string(),
            role: self.0.role.name(),
            version: crate::VERSION.to_owned(),
            facts,
            tables,
            blocks,
        }
        .into_response()
    }

    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Returns whether blocks of the past are still being fetched.
    #[must_use]
    pub fn is_bootstrapping(&self) -> bool {
        self.engine().phase() == Phase::Bootstrapping
    }
}
