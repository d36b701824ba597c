//! The server of `vm.VM`: what the host calls, in the words of [`Hosted`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use session_core::{BlockId, ChainId};
use session_storage::kv::Database;
use tonic::{Request, Response, Status, async_trait};

use super::database::GrpcDatabase;
use super::gossip::Gossip;
use super::http::PREFIXES;
use super::wire::vm::vm_server::{self, VmServer};
use super::wire::vm::{self as pb, state_summary_accept_response::Mode};
use crate::hosted::{self, AncestorLimits, BlockInfo, Event, Hosted, HostedError, Phase};
use crate::life::Life;

/// Makes the server; `address` is where it and its HTTP server listen.
pub(super) fn server(
    vm: Arc<dyn Hosted>,
    life: Life,
    address: SocketAddr,
) -> VmServer<impl vm_server::Vm> {
    VmServer::new(Service { vm, life, address })
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

struct Service {
    vm: Arc<dyn Hosted>,
    life: Life,
    address: SocketAddr,
}

type Reply<T> = Result<Response<T>, Status>;

impl Service {
    /// Makes a call that blocks, on a thread for such.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Hosted) -> hosted::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let vm = self.vm.clone();
        match tokio::task::spawn_blocking(move || work(&*vm)).await {
            Ok(outcome) => outcome.map_err(status),
            Err(error) => {
                tracing::error!(%error, "a call of the host ended in a panic");
                Err(Status::internal("the call failed inside the plugin"))
            }
        }
    }
}

#[async_trait]
impl vm_server::Vm for Service {
    async fn initialize(
        &self,
        request: Request<pb::InitializeRequest>,
    ) -> Reply<pb::InitializeResponse> {
        let request = request.into_inner();
        let chain_id = ChainId::from(bytes_32(&request.chain_id, "chain_id")?);
        let gossip = match request.server_addr.as_str() {
            "" => None,
            address => {
                let gossip = Gossip::start(address)
                    .map_err(|why| Status::invalid_argument(format!("server_addr: {why}")))?;
                Some(Arc::new(gossip) as Arc<dyn hosted::Gossip>)
            }
        };
        let last = self
            .call(move |vm| {
                let database: Option<Box<dyn Database>> = match request.db_server_addr.as_str() {
                    "" => None,
                    address => {
                        let connected = GrpcDatabase::connect(address)
                            .map_err(|error| HostedError::Failed(error.to_string()))?;
                        Some(Box::new(connected))
                    }
                };
                let data_dir = Some(request.chain_data_dir).filter(|dir| !dir.is_empty());
                vm.initialize(hosted::Initialize {
                    network_id: request.network_id,
                    chain_id,
                    node_id: request.node_id,
                    data_dir: data_dir.map(PathBuf::from),
                    genesis: request.genesis_bytes,
                    config: request.config_bytes,
                    database,
                    gossip,
                })
            })
            .await?;
        Ok(Response::new(pb::InitializeResponse {
            timestamp: timestamp(&last),
            last_accepted_id: last.id.as_bytes().to_vec(),
            last_accepted_parent_id: last.parent.as_bytes().to_vec(),
            height: last.height,
            bytes: last.bytes,
        }))
    }

    async fn set_state(
        &self,
        request: Request<pb::SetStateRequest>,
    ) -> Reply<pb::SetStateResponse> {
        let state = request.into_inner().state;
        let phase = match pb::State::try_from(state) {
            Ok(pb::State::Bootstrapping) => Phase::Bootstrapping,
            Ok(pb::State::NormalOp) => Phase::Ready,
            _ => Phase::Other(state.cast_unsigned()),
        };
        let last = self.call(move |vm| vm.set_phase(phase)).await?;
        Ok(Response::new(pb::SetStateResponse {
            timestamp: timestamp(&last),
            last_accepted_id: last.id.as_bytes().to_vec(),
            last_accepted_parent_id: last.parent.as_bytes().to_vec(),
            height: last.height,
            bytes: last.bytes,
        }))
    }

    async fn shutdown(&self, _: Request<()>) -> Reply<()> {
        let outcome = self.call(|vm| vm.shutdown()).await;
        // From now on the host may end the process, whatever came of the call.
        self.life.shutdown_received();
        outcome.map(Response::new)
    }

    async fn create_handlers(&self, _: Request<()>) -> Reply<pb::CreateHandlersResponse> {
        let handler = |prefix: &str| pb::Handler {
            prefix: prefix.to_owned(),
            server_addr: self.address.to_string(),
        };
        let handlers = PREFIXES.into_iter().map(handler).collect();
        Ok(Response::new(pb::CreateHandlersResponse { handlers }))
    }

    async fn new_http_handler(&self, _: Request<()>) -> Reply<pb::NewHttpHandlerResponse> {
        // There is no handler that speaks gRPC itself.
        Ok(Response::new(pb::NewHttpHandlerResponse::default()))
    }

    /// The host cancels this call after each block and makes it again: then this future is
    /// dropped, which gives the wait up.
    async fn wait_for_event(&self, _: Request<()>) -> Reply<pb::WaitForEventResponse> {
        let event = tokio::select! {
            event = self.vm.wait_event() => event,
            // Otherwise the server would wait for this call, and this call for an event.
            _ = self.life.ended() => return Err(Status::cancelled("the plugin ends")),
        };
        let message = match event {
            Event::PendingTransactions => pb::Message::BuildBlock,
        };
        Ok(Response::new(pb::WaitForEventResponse { message: message.into() }))
    }

    async fn connected(&self, _: Request<pb::ConnectedRequest>) -> Reply<()> {
        Ok(Response::new(()))
    }

    async fn disconnected(&self, _: Request<pb::DisconnectedRequest>) -> Reply<()> {
        Ok(Response::new(()))
    }

    async fn build_block(
        &self,
        _: Request<pb::BuildBlockRequest>,
    ) -> Reply<pb::BuildBlockResponse> {
        let block = self.call(|vm| vm.build_block()).await?;
        Ok(Response::new(pb::BuildBlockResponse {
            timestamp: timestamp(&block),
            id: block.id.as_bytes().to_vec(),
            parent_id: block.parent.as_bytes().to_vec(),
            height: block.height,
            bytes: block.bytes,
            verify_with_context: false,
        }))
    }

    async fn parse_block(
        &self,
        request: Request<pb::ParseBlockRequest>,
    ) -> Reply<pb::ParseBlockResponse> {
        let bytes = request.into_inner().bytes;
        let block = self.call(move |vm| vm.parse_block(&bytes)).await?;
        Ok(Response::new(parsed(&block)))
    }

    async fn get_block(
        &self,
        request: Request<pb::GetBlockRequest>,
    ) -> Reply<pb::GetBlockResponse> {
        let id = block_id(&request.into_inner().id)?;
        let found = self.call(move |vm| vm.block(&id)).await?;
        Ok(Response::new(match found {
            Some(block) => pb::GetBlockResponse {
                timestamp: timestamp(&block),
                parent_id: block.parent.as_bytes().to_vec(),
                height: block.height,
                bytes: block.bytes,
                err: pb::Error::Unspecified.into(),
                verify_with_context: false,
            },
            None => pb::GetBlockResponse {
                timestamp: Some(prost_types::Timestamp::default()),
                err: pb::Error::NotFound.into(),
                ..pb::GetBlockResponse::default()
            },
        }))
    }

    async fn set_preference(&self, request: Request<pb::SetPreferenceRequest>) -> Reply<()> {
        let id = block_id(&request.into_inner().id)?;
        self.call(move |vm| vm.set_preference(&id)).await.map(Response::new)
    }

    /// The host takes any answer without an error for good health.
    async fn health(&self, _: Request<()>) -> Reply<pb::HealthResponse> {
        let health = self.call(|vm| Ok(vm.health())).await?;
        let figures: serde_json::Map<_, _> =
            health.details.into_iter().map(|(name, figure)| (name, figure.into())).collect();
        let details =
            serde_json::json!({ "healthy": health.healthy, "details": figures }).to_string();
        if !health.healthy {
            return Err(Status::failed_precondition(details));
        }
        Ok(Response::new(pb::HealthResponse { details: details.into_bytes() }))
    }

    async fn version(&self, _: Request<()>) -> Reply<pb::VersionResponse> {
        Ok(Response::new(pb::VersionResponse { version: self.vm.version() }))
    }

    // An error to any of the next four ends the chain, so there is none. The chain asks other
    // validators nothing, so their questions and answers are not meant for it.

    async fn app_request(&self, _: Request<pb::AppRequestMsg>) -> Reply<()> {
        Ok(Response::new(()))
    }

    async fn app_request_failed(&self, _: Request<pb::AppRequestFailedMsg>) -> Reply<()> {
        Ok(Response::new(()))
    }

    async fn app_response(&self, _: Request<pb::AppResponseMsg>) -> Reply<()> {
        Ok(Response::new(()))
    }

    async fn app_gossip(&self, request: Request<pb::AppGossipMsg>) -> Reply<()> {
        let bytes = request.into_inner().msg;
        // A panic was logged.
        let _ = self
            .call(move |vm| {
                vm.gossip(bytes);
                Ok(())
            })
            .await;
        Ok(Response::new(()))
    }

    async fn gather(&self, _: Request<()>) -> Reply<pb::GatherResponse> {
        // Figures are served at /metrics.
        Ok(Response::new(pb::GatherResponse::default()))
    }

    async fn get_ancestors(
        &self,
        request: Request<pb::GetAncestorsRequest>,
    ) -> Reply<pb::GetAncestorsResponse> {
        let request = request.into_inner();
        // An id that no block can have is as unknown as any other.
        let Ok(id) = block_id(&request.blk_id) else {
            return Ok(Response::new(pb::GetAncestorsResponse::default()));
        };
        let limits = AncestorLimits {
            blocks_max: usize::try_from(request.max_blocks_num).unwrap_or(0),
            bytes_max: usize::try_from(request.max_blocks_size).unwrap_or(0),
            time_max: Duration::from_nanos(
                u64::try_from(request.max_blocks_retrival_time).unwrap_or(0),
            ),
        };
        let blks_bytes = self.call(move |vm| vm.ancestors(&id, limits)).await?;
        Ok(Response::new(pb::GetAncestorsResponse { blks_bytes }))
    }

    async fn batched_parse_block(
        &self,
        request: Request<pb::BatchedParseBlockRequest>,
    ) -> Reply<pb::BatchedParseBlockResponse> {
        let batch = request.into_inner().request;
        let response = self
            .call(move |vm| batch.iter().map(|bytes| Ok(parsed(&vm.parse_block(bytes)?))).collect())
            .await?;
        Ok(Response::new(pb::BatchedParseBlockResponse { response }))
    }

    async fn get_block_id_at_height(
        &self,
        request: Request<pb::GetBlockIdAtHeightRequest>,
    ) -> Reply<pb::GetBlockIdAtHeightResponse> {
        let height = request.into_inner().height;
        let found = self.call(move |vm| vm.block_id_at_height(height)).await?;
        Ok(Response::new(match found {
            Some(id) => pb::GetBlockIdAtHeightResponse {
                blk_id: id.as_bytes().to_vec(),
                err: pb::Error::Unspecified.into(),
            },
            None => pb::GetBlockIdAtHeightResponse {
                blk_id: Vec::new(),
                err: pb::Error::NotFound.into(),
            },
        }))
    }

    // There is no state sync, but peers of the host ask for it all the same.

    async fn state_sync_enabled(&self, _: Request<()>) -> Reply<pb::StateSyncEnabledResponse> {
        Ok(Response::new(pb::StateSyncEnabledResponse::default()))
    }

    async fn get_ongoing_sync_state_summary(
        &self,
        _: Request<()>,
    ) -> Reply<pb::GetOngoingSyncStateSummaryResponse> {
        let err = pb::Error::StateSyncNotImplemented.into();
        Ok(Response::new(pb::GetOngoingSyncStateSummaryResponse { err, ..Default::default() }))
    }

    async fn get_last_state_summary(
        &self,
        _: Request<()>,
    ) -> Reply<pb::GetLastStateSummaryResponse> {
        let err = pb::Error::StateSyncNotImplemented.into();
        Ok(Response::new(pb::GetLastStateSummaryResponse { err, ..Default::default() }))
    }

    async fn parse_state_summary(
        &self,
        _: Request<pb::ParseStateSummaryRequest>,
    ) -> Reply<pb::ParseStateSummaryResponse> {
        let err = pb::Error::StateSyncNotImplemented.into();
        Ok(Response::new(pb::ParseStateSummaryResponse { err, ..Default::default() }))
    }

    async fn get_state_summary(
        &self,
        _: Request<pb::GetStateSummaryRequest>,
    ) -> Reply<pb::GetStateSummaryResponse> {
        let err = pb::Error::StateSyncNotImplemented.into();
        Ok(Response::new(pb::GetStateSummaryResponse { err, ..Default::default() }))
    }

    async fn state_summary_accept(
        &self,
        _: Request<pb::StateSummaryAcceptRequest>,
    ) -> Reply<pb::StateSummaryAcceptResponse> {
        Ok(Response::new(pb::StateSummaryAcceptResponse {
            mode: Mode::Skipped.into(),
            err: pb::Error::StateSyncNotImplemented.into(),
        }))
    }

    async fn block_verify(
        &self,
        request: Request<pb::BlockVerifyRequest>,
    ) -> Reply<pb::BlockVerifyResponse> {
        let bytes = request.into_inner().bytes;
        let block = self.call(move |vm| vm.verify_block(&bytes)).await?;
        Ok(Response::new(pb::BlockVerifyResponse { timestamp: timestamp(&block) }))
    }

    async fn block_accept(&self, request: Request<pb::BlockAcceptRequest>) -> Reply<()> {
        let id = block_id(&request.into_inner().id)?;
        self.call(move |vm| vm.accept_block(&id)).await.map(Response::new)
    }

    async fn block_reject(&self, request: Request<pb::BlockRejectRequest>) -> Reply<()> {
        let id = block_id(&request.into_inner().id)?;
        self.call(move |vm| vm.reject_block(&id)).await.map(Response::new)
    }
}

fn parsed(block: &BlockInfo) -> pb::ParseBlockResponse {
    pb::ParseBlockResponse {
        id: block.id.as_bytes().to_vec(),
        parent_id: block.parent.as_bytes().to_vec(),
        height: block.height,
        timestamp: timestamp(block),
        verify_with_context: false,
    }
}

/// Returns a block's time, which is always set: the host takes a missing one for an error.
fn timestamp(block: &BlockInfo) -> Option<prost_types::Timestamp> {
    let millis = block.time.as_millis();
    Some(prost_types::Timestamp {
        seconds: i64::try_from(millis / 1000).expect("a thousandth of a u64 fits"),
        nanos: i32::try_from(millis % 1000 * 1_000_000).expect("less than 10^9"),
    })
}

fn block_id(bytes: &[u8]) -> Result<BlockId, Status> {
    bytes_32(bytes, "a block id").map(BlockId::from)
}

fn bytes_32(bytes: &[u8], what: &str) -> Result<[u8; 32], Status> {
    bytes
        .try_into()
        .map_err(|_| Status::invalid_argument(format!("{what} has 32 bytes, not {}", bytes.len())))
}

fn status(error: HostedError) -> Status {
    let text = error.to_string();
    match error {
        HostedError::NotRunning(_) => Status::failed_precondition(text),
        HostedError::NothingToBuild(_) => Status::not_found(text),
        HostedError::Refused(_) => Status::invalid_argument(text),
        HostedError::Failed(_) => Status::internal(text),
    }
}
