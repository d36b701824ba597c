//! Every row of `vectors/zap.jsonl`: decoded, compared where its values are plain, and encoded to
//! the same bytes.

use std::collections::BTreeMap;

use super::*;
use crate::zap::wire::messages;

messages! {
    /// Pushes something to other validators.
    SendGossip {
        /// To these.
        node_ids: Vec<Bytes>,
        /// And to as many validators.
        validators: u64,
        /// And to as many others.
        non_validators: u64,
        /// And to as many peers.
        peers: u64,
        /// What is pushed.
        msg: Bytes,
    }

    /// Asks other validators.
    SendRequest {
        /// These.
        node_ids: Vec<Bytes>,
        /// The number of the request.
        request_id: u32,
        /// What is asked.
        request: Bytes,
    }

    /// Reads memory shared with another chain.
    AtomicGet {
        /// The other chain.
        peer_chain_id: Bytes,
        /// What is read.
        keys: Vec<Bytes>,
    }

    /// Reads memory shared with another chain, by its marks.
    AtomicIndexed {
        /// The other chain.
        peer_chain_id: Bytes,
        /// The marks.
        traits: Vec<Bytes>,
        /// Where to start.
        start_trait: Bytes,
        /// Where to start.
        start_key: Bytes,
        /// Values at most.
        limit: u32,
    }

    /// Signs for another chain.
    WarpSign {
        /// The network.
        network_id: u32,
        /// The chain.
        source_chain_id: ChainId,
        /// What is signed.
        payload: Bytes,
    }
}

/// Name and type of each row, and how its payload is read and written again.
type Row = (&'static str, u8, fn(&[u8]) -> Vec<u8>);

fn again<M: Message>(payload: &[u8]) -> Vec<u8> {
    M::decode(payload).expect("a golden payload").encode()
}

const ROWS: [Row; 36] = [
    ("initialize_request_full", kind::INITIALIZE, again::<InitializeRequest>),
    ("initialize_response", kind::INITIALIZE, again::<InitializeResponse>),
    ("set_state_request", kind::SET_STATE, again::<SetStateRequest>),
    ("build_block_request_none", kind::BUILD_BLOCK, again::<BuildBlockRequest>),
    ("build_block_request_pchain", kind::BUILD_BLOCK, again::<BuildBlockRequest>),
    ("block_response_ok", kind::PARSE_BLOCK, again::<BlockResponse>),
    ("block_response_notfound", kind::GET_BLOCK, again::<BlockResponse>),
    ("parse_block_request", kind::PARSE_BLOCK, again::<BytesRequest>),
    ("get_block_request", kind::GET_BLOCK, again::<IdRequest>),
    ("set_preference_request", kind::SET_PREFERENCE, again::<IdRequest>),
    ("block_verify_request", kind::BLOCK_VERIFY, again::<BlockVerifyRequest>),
    ("block_accept_request", kind::BLOCK_ACCEPT, again::<IdRequest>),
    ("block_reject_request", kind::BLOCK_REJECT, again::<IdRequest>),
    ("batched_parse_request", kind::BATCHED_PARSE_BLOCK, again::<Blocks>),
    ("batched_parse_response", kind::BATCHED_PARSE_BLOCK, again::<BatchedParseBlockResponse>),
    ("get_ancestors_request", kind::GET_ANCESTORS, again::<GetAncestorsRequest>),
    ("get_ancestors_response", kind::GET_ANCESTORS, again::<Blocks>),
    ("get_block_id_at_height_request", kind::GET_BLOCK_ID_AT_HEIGHT, again::<HeightRequest>),
    (
        "get_block_id_at_height_response",
        kind::GET_BLOCK_ID_AT_HEIGHT,
        again::<GetBlockIdAtHeightResponse>,
    ),
    ("connected_request", kind::CONNECTED, again::<ConnectedRequest>),
    ("disconnected_request", kind::DISCONNECTED, again::<DisconnectedRequest>),
    ("create_handlers_response", kind::CREATE_HANDLERS, again::<CreateHandlersResponse>),
    ("new_http_handler_response_empty", kind::NEW_HTTP_HANDLER, again::<NewHttpHandlerResponse>),
    ("health_response", kind::HEALTH, again::<HealthResponse>),
    ("version_response", kind::VERSION, again::<VersionResponse>),
    ("wait_for_event_response_pending", kind::WAIT_FOR_EVENT, again::<WaitForEventResponse>),
    ("request_msg", kind::REQUEST, again::<AppRequest>),
    ("gossip_msg", kind::GOSSIP, again::<AppGossip>),
    ("send_gossip", 43, again::<SendGossip>),
    ("send_request", 40, again::<SendRequest>),
    ("state_sync_enabled_response", kind::STATE_SYNC_ENABLED, again::<StateSyncEnabledResponse>),
    ("summary_response", kind::GET_LAST_STATE_SUMMARY, again::<SummaryResponse>),
    ("summary_accept_response", kind::STATE_SUMMARY_ACCEPT, again::<SummaryAcceptResponse>),
    ("atomic_get_request", 32, again::<AtomicGet>),
    ("atomic_indexed_request", 34, again::<AtomicIndexed>),
    ("warp_sign_request", 50, again::<WarpSign>),
];

/// Type and payload of every row, by its name.
fn golden() -> BTreeMap<String, (u8, Vec<u8>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/zap.jsonl");
    let text = std::fs::read_to_string(path).expect("vectors/zap.jsonl is part of the repository");
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let name = row["name"].as_str().expect("a row has a name").to_owned();
        let kind = row["type"].as_u64().and_then(|kind| kind.try_into().ok());
        let payload = hex::decode(row["payload"].as_str().expect("a row has a payload"));
        (name, (kind.expect("a type is a byte"), payload.expect("a payload is hex")))
    };
    let rows: Vec<_> = text.lines().map(row).collect();
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(rows.len(), count, "two rows have one name");
    rows
}

fn payload(name: &str) -> Vec<u8> {
    golden().remove(name).expect("checked below").1
}

#[test]
fn every_golden_row() {
    let mut golden = golden();
    for (name, kind, again) in ROWS {
        let (golden_kind, payload) = golden.remove(name).unwrap_or_else(|| panic!("no row {name}"));
        assert_eq!(golden_kind, kind, "{name}");
        assert_eq!(hex::encode(again(&payload)), hex::encode(&payload), "{name}");
        if name.contains("_request") && kind < 32 || name.ends_with("_msg") {
            decode_request(kind, &payload).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(golden.is_empty(), "rows that no test reads: {:?}", golden.keys());
}

#[test]
fn values_of_the_first_message() {
    let request = InitializeRequest::decode(&payload("initialize_request_full"));
    let bytes = |byte, length| Bytes(vec![byte; length]);
    let expected = InitializeRequest {
        network_id: 1337,
        chain_id: [1; 32].into(),
        node_id: bytes(2, 20),
        public_key: bytes(3, 48),
        x_chain_id: bytes(4, 32),
        c_chain_id: bytes(5, 32),
        utxo_asset_id: bytes(6, 32),
        chain_data_dir: "/data/chain".to_owned(),
        genesis: b"{\"a\":1}".to_vec().into(),
        upgrade: Bytes::default(),
        config: b"{}".to_vec().into(),
        db_server_addr: "127.0.0.1:1111".to_owned(),
        server_addr: String::new(),
        atomic_server_addr: Some("127.0.0.1:2222".to_owned()),
        d_chain_id: Some(Bytes::default()),
        validator_server_addr: Some("127.0.0.1:3333".to_owned()),
    };
    assert_eq!(request, Ok(expected));
}

#[test]
fn values_of_blocks() {
    let block = BlockResponse::decode(&payload("block_response_ok")).expect("golden");
    assert_eq!(block.id.0, [8; 32]);
    assert_eq!(block.parent_id.0, [7; 32]);
    assert_eq!(block.bytes.0, b"blk");
    assert_eq!((block.height, block.timestamp), (1, 1_737_676_801_000_000_000));
    assert_eq!((block.verify_with_context, block.err), (false, code::OK));
    let none = BlockResponse::decode(&payload("block_response_notfound")).expect("golden");
    assert_eq!((none.id.0.len(), none.err), (0, code::NOT_FOUND));
}

#[test]
fn older_hosts_leave_the_last_fields_out() {
    let whole = payload("initialize_request_full");
    let trailing = (4 + 14) + 4 + (4 + 14);
    let old = InitializeRequest::decode(&whole[..whole.len() - trailing]).expect("complete");
    assert_eq!(old.atomic_server_addr, None);
    assert_eq!((old.d_chain_id, old.validator_server_addr), (None, None));
    assert_eq!(old.db_server_addr, "127.0.0.1:1111");
}

#[test]
fn an_empty_body_builds_a_block() {
    let built = decode_request(kind::BUILD_BLOCK, &[]);
    assert_eq!(
        built,
        Ok(Request::BuildBlock(BuildBlockRequest { p_chain_height: PlatformHeight(None) }))
    );
}

#[test]
fn types_without_a_meaning() {
    let known = |kind| (1..=31).contains(&kind);
    for kind in 0..=u8::MAX {
        let unknown = matches!(decode_request(kind, &[]), Err(RequestError::UnknownType { .. }));
        assert_eq!(unknown, !known(kind) && !matches!(kind, 60 | 61), "{kind}");
    }
    for kind in [60, 61] {
        assert_eq!(decode_request(kind, &[0; 8]), Err(RequestError::NotAnnounced { kind }));
    }
}

#[test]
fn a_refusal_names_type_and_field() {
    let error = decode_request(kind::BLOCK_ACCEPT, &[0, 0, 0, 1, 9]).expect_err("a short id");
    assert_eq!(
        error.to_string(),
        "malformed body of message type 29: field id has 1 bytes, an id has 32"
    );
}
