//! What the chain says to each request.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_core::Time;
use session_runtime::http;
use tokio::sync::{Mutex, Semaphore};

use super::database::ZapDatabase;
use super::frame::{BODY_BYTES_MAX, Frame};
use super::message::{
    BatchedParseBlockResponse, BlockResponse, BlockVerifyResponse, Blocks, CreateHandlersResponse,
    GetAncestorsRequest, GetBlockIdAtHeightResponse, Handler, HealthResponse, InitializeRequest,
    InitializeResponse, LastAccepted, NewHttpHandlerResponse, Request, StateSyncEnabledResponse,
    SummaryAcceptResponse, SummaryResponse, VersionResponse, WaitForEventResponse, code,
    decode_request,
};
use super::wire::{Bytes, Message};
use crate::hosted::{
    AncestorLimits, BlockInfo, Event, Health, Hosted, HostedError, Initialize, Phase,
};
use crate::life::Life;

/// Calls of the chain that block a thread at once. More would only wait for each other.
const BLOCKING_CALLS_MAX: usize = 32;
/// How long HTTP requests may take to end after the chain did.
const HTTP_FAREWELL_TIME: Duration = Duration::from_millis(500);

/// The paths behind the chain's own that luxd routes to us. All lead to one server, which looks at
/// the end of a path only: luxd forwards the whole of it. The empty one takes what has no name.
const PREFIXES: [&str; 5] = ["/rpc", "/ws", "/health", "/metrics", ""];

/// A chain behind the driver.
pub(super) struct Chain {
    vm: Arc<dyn Hosted>,
    life: Life,
    begun: AtomicBool,
    calls: Arc<Semaphore>,
    http: Mutex<Option<http::Server>>,
}

/// An answer's body, or the words of an error frame.
type Answer = Result<Vec<u8>, String>;

impl Chain {
    pub(super) fn new(vm: Arc<dyn Hosted>, life: Life) -> Self {
        Self {
            vm,
            life,
            begun: AtomicBool::new(false),
            calls: Arc::new(Semaphore::new(BLOCKING_CALLS_MAX)),
            http: Mutex::new(None),
        }
    }

    /// Returns whether the host asked to start the chain.
    pub(super) fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ends the chain, whether the host asked for it or not.
    pub(super) async fn close(&self) {
        if let Some(server) = self.http.lock().await.take() {
            server.shutdown(HTTP_FAREWELL_TIME).await;
        }
        if let Err(error) = self.call(|vm| vm.shutdown()).await {
            tracing::warn!(error, "the chain did not end cleanly");
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, frame: Frame) -> Frame {
        let Frame { kind, request, body } = frame;
        let answer = match decode_request(kind, &body) {
            Ok(request) => {
                drop(body);
                self.judge(request).await
            }
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(body) => Frame::response(kind, request, body),
            Err(text) => {
                tracing::debug!(kind, text, "a request of the host failed");
                Frame::error(kind, request, &text)
            }
        }
    }

    async fn judge(&self, request: Request) -> Answer {
        match request {
            Request::Initialize(request) => {
                self.begun.store(true, Ordering::Relaxed);
                let block = self.call(move |vm| initialize(vm, *request)).await?;
                let last_accepted = last_accepted(block);
                // No capabilities: neither a finalized height nor state sync.
                Ok(InitializeResponse { last_accepted, capabilities: 0 }.encode())
            }
            Request::SetState(request) => {
                let phase = match request.state {
                    3 => Phase::Bootstrapping,
                    4 => Phase::Ready,
                    other => Phase::Other(other.into()),
                };
                let block = self.call(move |vm| vm.set_phase(phase)).await?;
                Ok(last_accepted(block).encode())
            }
            Request::Shutdown => {
                self.life.shutdown_received();
                self.call(|vm| vm.shutdown()).await.map(nothing)
            }
            Request::CreateHandlers => self.create_handlers().await,
            Request::NewHttpHandler => {
                Ok(NewHttpHandlerResponse { server_addr: String::new() }.encode())
            }
            Request::WaitForEvent => match self.vm.wait_event().await {
                Event::PendingTransactions => Ok(WaitForEventResponse { event: 1 }.encode()),
            },
            Request::Health => {
                let health = self.call(|vm| Ok(vm.health())).await?;
                health_answer(&health)
            }
            Request::Version => Ok(VersionResponse { version: self.vm.version() }.encode()),
            Request::AppGossip(gossip) => self
                .call(move |vm| {
                    vm.gossip(gossip.msg.0);
                    Ok(())
                })
                .await
                .map(nothing),
            // The chain has no use for them, and luxd stops a chain that refuses them.
            Request::Connected(_)
            | Request::Disconnected(_)
            | Request::AppRequest(_)
            | Request::AppRequestFailed(_)
            | Request::AppResponse(_)
            | Request::Gather => Ok(Vec::new()),
            Request::StateSyncEnabled => {
                Ok(StateSyncEnabledResponse { enabled: false, err: code::OK }.encode())
            }
            Request::StateSummary => Ok(no_summary().encode()),
            Request::StateSummaryAccept => {
                let err = code::STATE_SYNC_NOT_IMPLEMENTED;
                Ok(SummaryAcceptResponse { mode: 0, err }.encode())
            }
            of_blocks => self.judge_blocks(of_blocks).await,
        }
    }

    async fn judge_blocks(&self, request: Request) -> Answer {
        match request {
            Request::BuildBlock(_) => {
                let block = self.call(|vm| vm.build_block()).await?;
                Ok(block_response(block).encode())
            }
            Request::ParseBlock(request) => {
                let block = self.call(move |vm| vm.parse_block(&request.bytes.0)).await?;
                Ok(block_response(block).encode())
            }
            Request::BatchedParseBlock(request) => {
                let parse = move |vm: &dyn Hosted| {
                    let blocks = request.blocks.iter();
                    blocks.map(|bytes| vm.parse_block(&bytes.0).map(block_response)).collect()
                };
                let blocks = self.call(parse).await?;
                Ok(BatchedParseBlockResponse { blocks }.encode())
            }
            Request::GetBlock(request) => {
                let block = self.call(move |vm| vm.block(&request.id)).await?;
                Ok(block.map_or_else(no_block, block_response).encode())
            }
            Request::SetPreference(request) => {
                self.call(move |vm| vm.set_preference(&request.id)).await.map(nothing)
            }
            Request::BlockVerify(request) => {
                let block = self.call(move |vm| vm.verify_block(&request.bytes.0)).await?;
                Ok(BlockVerifyResponse { timestamp: nanoseconds(block.time) }.encode())
            }
            Request::BlockAccept(request) => {
                self.call(move |vm| vm.accept_block(&request.id)).await.map(nothing)
            }
            Request::BlockReject(request) => {
                self.call(move |vm| vm.reject_block(&request.id)).await.map(nothing)
            }
            Request::GetAncestors(request) => {
                let limits = ancestor_limits(&request);
                let blocks = self.call(move |vm| vm.ancestors(&request.blk_id, limits)).await?;
                Ok(Blocks { blocks: within(blocks, limits) }.encode())
            }
            Request::GetBlockIdAtHeight(request) => {
                let id = self.call(move |vm| vm.block_id_at_height(request.height)).await?;
                let (id, err) = match id {
                    Some(id) => (id.as_bytes().to_vec().into(), code::OK),
                    None => (Bytes::default(), code::NOT_FOUND),
                };
                Ok(GetBlockIdAtHeightResponse { id, err }.encode())
            }
            _ => Err("this request has no answer: a defect of the plugin".to_owned()),
        }
    }

    /// Calls the chain from a thread that may block. Giving the future up does not end the call.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Hosted) -> Result<T, HostedError> + Send + 'static,
    ) -> Result<T, String> {
        let place = self.calls.clone().acquire_owned().await.expect("never closed");
        let vm = self.vm.clone();
        let called = tokio::task::spawn_blocking(move || {
            let _held = place;
            call(&*vm)
        });
        match called.await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => {
                tracing::error!(%error, "a call of the chain did not end");
                Err("a call of the chain did not end: this is a defect of the plugin".to_owned())
            }
        }
    }

    /// Starts the HTTP server, once.
    async fn create_handlers(&self) -> Answer {
        let mut server = self.http.lock().await;
        let server = match &mut *server {
            Some(server) => server,
            none => {
                let vm = self.vm.clone();
                let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let answer = move |request| vm.answer(request);
                let limits = http::Limits {
                    body_bytes_max: session_rpc::vm::api::BODY_BYTES_MAX,
                    ..http::Limits::default()
                };
                let started = http::serve(loopback, answer, limits).await;
                none.insert(started.map_err(|error| error.to_string())?)
            }
        };
        let address = server.local_addr().to_string();
        let handler =
            |prefix: &str| Handler { prefix: prefix.to_owned(), server_addr: address.clone() };
        Ok(CreateHandlersResponse { handlers: PREFIXES.map(handler).to_vec() }.encode())
    }
}

fn nothing((): ()) -> Vec<u8> {
    Vec::new()
}

fn initialize(vm: &dyn Hosted, request: InitializeRequest) -> Result<BlockInfo, HostedError> {
    let database = match request.db_server_addr.as_str() {
        "" => None,
        address => {
            let database = ZapDatabase::connect(address);
            let database = database.map_err(|error| HostedError::Failed(error.to_string()))?;
            Some(Box::new(database) as Box<_>)
        }
    };
    let data_dir = request.chain_data_dir;
    vm.initialize(Initialize {
        network_id: request.network_id,
        chain_id: request.chain_id,
        node_id: request.node_id.0,
        data_dir: (!data_dir.is_empty()).then(|| PathBuf::from(data_dir)),
        genesis: request.genesis.0,
        config: request.config.0,
        database,
        gossip: None, // luxd gives plugins no network.
    })
}

/// Hosts count nanoseconds; a time too late for that is the latest one.
fn nanoseconds(time: Time) -> i64 {
    time.as_millis()
        .checked_mul(1_000_000)
        .and_then(|nanos| i64::try_from(nanos).ok())
        .unwrap_or(i64::MAX)
}

fn last_accepted(block: BlockInfo) -> LastAccepted {
    LastAccepted {
        last_accepted_id: block.id,
        parent_id: block.parent,
        height: block.height,
        bytes: block.bytes.into(),
        timestamp: nanoseconds(block.time),
    }
}

fn block_response(block: BlockInfo) -> BlockResponse {
    BlockResponse {
        id: block.id.as_bytes().to_vec().into(),
        parent_id: block.parent.as_bytes().to_vec().into(),
        bytes: block.bytes.into(),
        height: block.height,
        timestamp: nanoseconds(block.time),
        verify_with_context: false,
        err: code::OK,
    }
}

fn no_block() -> BlockResponse {
    BlockResponse {
        id: Bytes::default(),
        parent_id: Bytes::default(),
        bytes: Bytes::default(),
        height: 0,
        timestamp: 0,
        verify_with_context: false,
        err: code::NOT_FOUND,
    }
}

fn no_summary() -> SummaryResponse {
    let (id, bytes, err) = (Bytes::default(), Bytes::default(), code::STATE_SYNC_NOT_IMPLEMENTED);
    SummaryResponse { id, height: 0, bytes, err }
}

/// The one list of this protocol that is little-endian.
fn health_answer(health: &Health) -> Answer {
    if !health.healthy {
        // The host does not look into the details, so a bad state must be an error.
        let details = health.details.iter().map(|(name, value)| format!(" {name}={value}"));
        return Err(format!("the chain is not well:{}", details.collect::<String>()));
    }
    // What does not fit in a frame is refused when it is framed.
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut details = length(health.details.len()).to_vec();
    for text in health.details.iter().flat_map(|(name, value)| [name, value]) {
        details.extend(length(text.len()));
        details.extend_from_slice(text.as_bytes());
    }
    Ok(HealthResponse { details: details.into() }.encode())
}

fn ancestor_limits(request: &GetAncestorsRequest) -> AncestorLimits {
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    AncestorLimits {
        blocks_max: count(request.max_num),
        bytes_max: count(request.max_size).min(BODY_BYTES_MAX - 4), // The list's count.
        time_max: Duration::from_nanos(u64::try_from(request.max_nanos).unwrap_or(0)),
    }
}

/// Holds the chain to the limits; a host closes the connection on an answer that is too long.
fn within(blocks: Vec<Vec<u8>>, limits: AncestorLimits) -> Vec<Bytes> {
    let mut left = limits.bytes_max;
    let fits = |block: &Vec<u8>| {
        let rest = left.checked_sub(block.len() + 4);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    blocks.into_iter().take(limits.blocks_max).take_while(fits).map(Bytes).collect()
}

#[cfg(test)]
mod tests;
