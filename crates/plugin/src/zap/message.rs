//! The messages of the virtual machine's own service: what luxd asks, and what it is told.

use session_core::{BlockId, ChainId};

use super::wire::{Bytes, Message, PlatformHeight, WireError, messages};

/// Message types.
pub mod kind {
    /// Opens the chain.
    pub const INITIALIZE: u8 = 1;
    /// Enters a phase.
    pub const SET_STATE: u8 = 2;
    /// Ends the chain.
    pub const SHUTDOWN: u8 = 3;
    /// Asks for the HTTP servers.
    pub const CREATE_HANDLERS: u8 = 4;
    /// Asks for a server of requests that a header routes.
    pub const NEW_HTTP_HANDLER: u8 = 5;
    /// Waits for something to do.
    pub const WAIT_FOR_EVENT: u8 = 6;
    /// A node connected.
    pub const CONNECTED: u8 = 7;
    /// A node disconnected.
    pub const DISCONNECTED: u8 = 8;
    /// Builds a block.
    pub const BUILD_BLOCK: u8 = 9;
    /// Reads a block.
    pub const PARSE_BLOCK: u8 = 10;
    /// Asks for a block.
    pub const GET_BLOCK: u8 = 11;
    /// Chooses what to build on.
    pub const SET_PREFERENCE: u8 = 12;
    /// Asks how the chain is.
    pub const HEALTH: u8 = 13;
    /// Asks for the program's version.
    pub const VERSION: u8 = 14;
    /// A request of another validator's chain.
    pub const REQUEST: u8 = 15;
    /// A request of ours failed.
    pub const REQUEST_FAILED: u8 = 16;
    /// A request of ours was answered.
    pub const RESPONSE: u8 = 17;
    /// Another validator's chain pushed something.
    pub const GOSSIP: u8 = 18;
    /// Asks for metrics.
    pub const GATHER: u8 = 19;
    /// Asks for a block and those below it.
    pub const GET_ANCESTORS: u8 = 20;
    /// Reads several blocks.
    pub const BATCHED_PARSE_BLOCK: u8 = 21;
    /// Asks which block was accepted at a height.
    pub const GET_BLOCK_ID_AT_HEIGHT: u8 = 22;
    /// Asks whether the chain gives its state to others.
    pub const STATE_SYNC_ENABLED: u8 = 23;
    /// Asks for the summary that is being fetched.
    pub const GET_ONGOING_SYNC_STATE_SUMMARY: u8 = 24;
    /// Asks for the newest summary.
    pub const GET_LAST_STATE_SUMMARY: u8 = 25;
    /// Reads a summary.
    pub const PARSE_STATE_SUMMARY: u8 = 26;
    /// Asks for the summary at a height.
    pub const GET_STATE_SUMMARY: u8 = 27;
    /// Checks a block.
    pub const BLOCK_VERIFY: u8 = 28;
    /// Accepts a block.
    pub const BLOCK_ACCEPT: u8 = 29;
    /// Rejects a block.
    pub const BLOCK_REJECT: u8 = 30;
    /// Starts from a summary.
    pub const STATE_SUMMARY_ACCEPT: u8 = 31;
    /// Tells the finalized height; only for chains that announced the capability.
    pub const SET_QUASAR_FINALIZED: u8 = 60;
    /// Asks for the exported height; only for chains that announced the capability.
    pub const QUASAR_HEIGHT: u8 = 61;
}

/// Result codes within response bodies.
pub mod code {
    /// No error.
    pub const OK: u8 = 0;
    /// The database is closed.
    pub const CLOSED: u8 = 1;
    /// There is no such thing.
    pub const NOT_FOUND: u8 = 2;
    /// The chain does not give its state to others.
    pub const STATE_SYNC_NOT_IMPLEMENTED: u8 = 3;
    /// Any other failure.
    pub const INTERNAL: u8 = 4;
}

messages! {
    /// What a chain is started with.
    pub InitializeRequest {
        /// The host's network number.
        network_id: u32,
        /// The chain's id.
        chain_id: ChainId,
        /// The host's node id, 20 bytes.
        node_id: Bytes,
        /// The host's BLS key.
        public_key: Bytes,
        /// The X chain's id.
        x_chain_id: Bytes,
        /// The C chain's id.
        c_chain_id: Bytes,
        /// The id of the network's asset.
        utxo_asset_id: Bytes,
        /// Where the chain may keep files.
        chain_data_dir: String,
        /// The genesis.
        genesis: Bytes,
        /// The network's upgrades.
        upgrade: Bytes,
        /// The chain's configuration.
        config: Bytes,
        /// Where the host's database answers; empty when it offers none.
        db_server_addr: String,
        /// Where the host's network and signer answer; luxd leaves it empty.
        server_addr: String,
        /// Where memory shared between chains answers.
        atomic_server_addr: Option<String>,
        /// The D chain's id.
        d_chain_id: Option<Bytes>,
        /// Where the validator sets are told.
        validator_server_addr: Option<String>,
    }

    /// The last accepted block: the answer to a change of phase.
    pub LastAccepted {
        /// Its id.
        last_accepted_id: BlockId,
        /// Its parent.
        parent_id: BlockId,
        /// Its height.
        height: u64,
        /// Its bytes.
        bytes: Bytes,
        /// Its time in nanoseconds since 1970.
        timestamp: i64,
    }

    /// The last accepted block and what the chain can do.
    pub InitializeResponse {
        /// The block.
        last_accepted: LastAccepted,
        /// Bit 0: the chain exports a finalized height. Bit 1: it gives its state to others.
        capabilities: u64,
    }

    /// Enters a phase.
    pub SetStateRequest {
        /// The phase: 3 is bootstrapping, 4 is ready.
        state: u8,
    }

    /// An HTTP server for a path.
    pub Handler {
        /// The path behind the chain's own.
        prefix: String,
        /// Where it answers.
        server_addr: String,
    }

    /// All HTTP servers.
    pub CreateHandlersResponse {
        /// The servers.
        handlers: Vec<Handler>,
    }

    /// The server of requests that a header routes.
    pub NewHttpHandlerResponse {
        /// Where it answers; empty when there is none.
        server_addr: String,
    }

    /// What there is to do.
    pub WaitForEventResponse {
        /// 1: a block can be built. 2: the state was fetched.
        event: u8,
    }

    /// A node connected.
    pub ConnectedRequest {
        /// The node.
        node_id: Bytes,
        /// Its program.
        name: String,
        /// Its program's version.
        major: u32,
        /// Its program's version.
        minor: u32,
        /// Its program's version.
        patch: u32,
    }

    /// A node disconnected.
    pub DisconnectedRequest {
        /// The node.
        node_id: Bytes,
    }

    /// Builds a block.
    pub BuildBlockRequest {
        /// The platform chain's height that the block may refer to.
        p_chain_height: PlatformHeight,
    }

    /// A block as text of its bytes.
    pub BytesRequest {
        /// The bytes.
        bytes: Bytes,
    }

    /// Something about the block of this id.
    pub IdRequest {
        /// The id.
        id: BlockId,
    }

    /// Something at a height.
    pub HeightRequest {
        /// The height.
        height: u64,
    }

    /// A block, or why there is none.
    pub BlockResponse {
        /// Its id; empty when there is none.
        id: Bytes,
        /// Its parent; empty when there is none.
        parent_id: Bytes,
        /// Its bytes.
        bytes: Bytes,
        /// Its height.
        height: u64,
        /// Its time in nanoseconds since 1970.
        timestamp: i64,
        /// Whether it must be checked at a height of the platform chain.
        verify_with_context: bool,
        /// A result code.
        err: u8,
    }

    /// How the chain is.
    pub HealthResponse {
        /// Key/value list, itself in little-endian.
        details: Bytes,
    }

    /// The program's version.
    pub VersionResponse {
        /// The version.
        version: String,
    }

    /// A request of another validator's chain.
    pub AppRequest {
        /// The validator.
        node_id: Bytes,
        /// The number of the request.
        request_id: u32,
        /// When the answer is late, in nanoseconds since 1970.
        deadline: i64,
        /// What is asked.
        request: Bytes,
    }

    /// A request of ours failed.
    pub AppRequestFailed {
        /// The validator.
        node_id: Bytes,
        /// The number of the request.
        request_id: u32,
        /// Why, as a number.
        error_code: i32,
        /// Why, in words.
        error_message: String,
    }

    /// A request of ours was answered.
    pub AppResponse {
        /// The validator.
        node_id: Bytes,
        /// The number of the request.
        request_id: u32,
        /// The answer.
        response: Bytes,
    }

    /// Another validator's chain pushed something.
    pub AppGossip {
        /// The validator.
        node_id: Bytes,
        /// What it pushed.
        msg: Bytes,
    }

    /// Asks for a block and those below it.
    pub GetAncestorsRequest {
        /// The uppermost block.
        blk_id: BlockId,
        /// Blocks at most.
        max_num: i32,
        /// Bytes at most.
        max_size: i32,
        /// Nanoseconds at most.
        max_nanos: i64,
    }

    /// Blocks, each in its bytes.
    pub Blocks {
        /// The blocks.
        blocks: Vec<Bytes>,
    }

    /// Blocks that were read.
    pub BatchedParseBlockResponse {
        /// The blocks.
        blocks: Vec<BlockResponse>,
    }

    /// The block at a height, or why there is none.
    pub GetBlockIdAtHeightResponse {
        /// Its id; empty when there is none.
        id: Bytes,
        /// A result code.
        err: u8,
    }

    /// Whether the chain gives its state to others.
    pub StateSyncEnabledResponse {
        /// Whether it does.
        enabled: bool,
        /// A result code.
        err: u8,
    }

    /// The summary of a state, or why there is none.
    pub SummaryResponse {
        /// Its id.
        id: Bytes,
        /// Its height.
        height: u64,
        /// Its bytes.
        bytes: Bytes,
        /// A result code.
        err: u8,
    }

    /// How a chain starts from a summary.
    pub SummaryAcceptResponse {
        /// 0 skipped, 1 static, 2 dynamic.
        mode: u8,
        /// A result code.
        err: u8,
    }

    /// Checks a block.
    pub BlockVerifyRequest {
        /// Its bytes.
        bytes: Bytes,
        /// The platform chain's height to check it at.
        p_chain_height: PlatformHeight,
    }

    /// The time of a block that was checked.
    pub BlockVerifyResponse {
        /// Nanoseconds since 1970.
        timestamp: i64,
    }
}

/// What the host asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of `kind`")]
pub enum Request {
    Initialize(Box<InitializeRequest>),
    SetState(SetStateRequest),
    Shutdown,
    CreateHandlers,
    NewHttpHandler,
    WaitForEvent,
    Connected(ConnectedRequest),
    Disconnected(DisconnectedRequest),
    BuildBlock(BuildBlockRequest),
    ParseBlock(BytesRequest),
    GetBlock(IdRequest),
    SetPreference(IdRequest),
    Health,
    Version,
    AppRequest(AppRequest),
    AppRequestFailed(AppRequestFailed),
    AppResponse(AppResponse),
    AppGossip(AppGossip),
    Gather,
    GetAncestors(GetAncestorsRequest),
    BatchedParseBlock(Blocks),
    GetBlockIdAtHeight(HeightRequest),
    StateSyncEnabled,
    /// Any of the four that ask for a summary.
    StateSummary,
    BlockVerify(BlockVerifyRequest),
    BlockAccept(IdRequest),
    BlockReject(IdRequest),
    StateSummaryAccept,
}

/// Why a frame is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The type means nothing here.
    #[error("unknown message type {kind}")]
    UnknownType {
        /// The type.
        kind: u8,
    },
    /// The type belongs to a capability that this chain does not announce.
    #[error("message type {kind} needs a capability that this chain does not announce")]
    NotAnnounced {
        /// The type.
        kind: u8,
    },
    /// The body is not one of this type.
    #[error("malformed body of message type {kind}: {error}")]
    Body {
        /// The type.
        kind: u8,
        /// What is wrong with it.
        error: WireError,
    },
}

/// Reads a request of the host.
///
/// # Errors
/// When the type or the body mean nothing.
pub fn decode_request(kind: u8, body: &[u8]) -> Result<Request, RequestError> {
    let malformed = |error| RequestError::Body { kind, error };
    read_request(kind, body).map_err(malformed)?.ok_or(match kind {
        kind::SET_QUASAR_FINALIZED | kind::QUASAR_HEIGHT => RequestError::NotAnnounced { kind },
        _ => RequestError::UnknownType { kind },
    })
}

fn read_request(kind: u8, body: &[u8]) -> Result<Option<Request>, WireError> {
    Ok(Some(match kind {
        kind::INITIALIZE => Request::Initialize(Box::new(Message::decode(body)?)),
        kind::SET_STATE => Request::SetState(Message::decode(body)?),
        kind::SHUTDOWN => Request::Shutdown,
        kind::CREATE_HANDLERS => Request::CreateHandlers,
        kind::NEW_HTTP_HANDLER => Request::NewHttpHandler,
        kind::WAIT_FOR_EVENT => Request::WaitForEvent,
        kind::CONNECTED => Request::Connected(Message::decode(body)?),
        kind::DISCONNECTED => Request::Disconnected(Message::decode(body)?),
        kind::BUILD_BLOCK => Request::BuildBlock(Message::decode(body)?),
        kind::PARSE_BLOCK => Request::ParseBlock(Message::decode(body)?),
        kind::GET_BLOCK => Request::GetBlock(Message::decode(body)?),
        kind::SET_PREFERENCE => Request::SetPreference(Message::decode(body)?),
        kind::HEALTH => Request::Health,
        kind::VERSION => Request::Version,
        kind::REQUEST => Request::AppRequest(Message::decode(body)?),
        kind::REQUEST_FAILED => Request::AppRequestFailed(Message::decode(body)?),
        kind::RESPONSE => Request::AppResponse(Message::decode(body)?),
        kind::GOSSIP => Request::AppGossip(Message::decode(body)?),
        kind::GATHER => Request::Gather,
        kind::GET_ANCESTORS => Request::GetAncestors(Message::decode(body)?),
        kind::BATCHED_PARSE_BLOCK => Request::BatchedParseBlock(Message::decode(body)?),
        kind::GET_BLOCK_ID_AT_HEIGHT => Request::GetBlockIdAtHeight(Message::decode(body)?),
        kind::STATE_SYNC_ENABLED => Request::StateSyncEnabled,
        kind::GET_ONGOING_SYNC_STATE_SUMMARY | kind::GET_LAST_STATE_SUMMARY => {
            Request::StateSummary
        }
        kind::PARSE_STATE_SUMMARY => {
            BytesRequest::decode(body)?;
            Request::StateSummary
        }
        kind::GET_STATE_SUMMARY => {
            HeightRequest::decode(body)?;
            Request::StateSummary
        }
        kind::BLOCK_VERIFY => Request::BlockVerify(Message::decode(body)?),
        kind::BLOCK_ACCEPT => Request::BlockAccept(Message::decode(body)?),
        kind::BLOCK_REJECT => Request::BlockReject(Message::decode(body)?),
        kind::STATE_SUMMARY_ACCEPT => {
            BytesRequest::decode(body)?;
            Request::StateSummaryAccept
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests;
