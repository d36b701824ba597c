use std::collections::BTreeMap;

use serde_json::{Value, json};
use session_core::{
    AccountId, BlockId, ChainId, ChannelId, ConversationId, Digest, Epoch, MessageId, NodeId,
    SwarmId, Time, TxId,
};

use super::{
    BeaconMode, Block, Case, CaseStatus, ChainPhase, Channel, Dealer, EpochPhase, EpochReply,
    Event, Health, Mark, Message, Messages, MissingItem, Node, NodeStatus, Proof, Revealing,
    Session, SessionCreated, SessionStatus, Shape, Tx, TxStatus, VoteAgainst, VoteCount, schemas,
};

const TIME: Time = Time::from_millis(1_769_126_400_123);

fn hex(byte: u8) -> String {
    hex::encode([byte; 32])
}

// The members of a written object are those that its schema describes.
fn described(name: &str, written: &Value) {
    let schema = schemas()[name].clone();
    let written = written.as_object().unwrap();
    for member in written.keys() {
        assert!(schema["properties"].get(member).is_some(), "{name}.{member} is not described");
    }
    for member in schema["required"].as_array().unwrap() {
        assert!(written.contains_key(member.as_str().unwrap()), "{name} lacks {member}");
    }
}

fn session() -> Session {
    Session {
        id: ConversationId::from([1; 32]),
        participants: vec![AccountId::from([2; 32]), AccountId::from([3; 32])],
        public_keys: Some(vec![vec![0, 255], vec![16]]),
        signing_keys: Some(vec![vec![7], vec![]]),
        counters: vec![4, 0],
        accepted: vec![AccountId::from([2; 32])],
        channel: Some(ChannelId::from([4; 32])),
        created: TIME,
        expires: Time::from_millis(1_769_212_800_123),
        status: SessionStatus::Pending,
        metadata: BTreeMap::from([("topic".to_owned(), "lunch".to_owned())]),
        next_sequence: 7,
        closed: None,
        compat: false,
    }
}

#[test]
fn a_session() {
    let written = session().to_json();
    let expected = json!({
        "id": hex(1), "sessionId": hex(1),
        "participants": [format!("07{}", hex(2)), format!("07{}", hex(3))],
        "publicKeys": ["00ff", "10"],
        "accepted": [format!("07{}", hex(2))],
        "channelId": hex(4),
        "created": "2026-01-23T00:00:00.123Z", "createdAt": 1_769_126_400,
        "expires": "2026-01-24T00:00:00.123Z", "expiresAt": 1_769_212_800,
        "status": "pending", "metadata": {"topic": "lunch"}, "nextSequence": 7,
        "signingKeys": ["07", ""], "counters": [4, 0], "compat": false,
    });
    assert_eq!(written, expected);
    described("Session", &written);
    let bare =
        Session { public_keys: None, signing_keys: None, channel: None, ..session() }.to_json();
    assert!(bare.get("publicKeys").is_none() && bare.get("channelId").is_none());
    described("Session", &bare);
}

#[test]
fn the_seeds_replies() {
    let created = SessionCreated {
        session: ConversationId::from([1; 32]),
        expires: TIME,
        status: SessionStatus::Active,
    };
    let expected = json!({
        "sessionId": hex(1), "expires": 1_769_126_400, "expiresAt": 1_769_126_400,
        "expiresMs": TIME.as_millis(), "status": "active",
    });
    assert_eq!(created.to_json(), expected);
    let health = Health {
        healthy: true,
        sessions: 2,
        channels: 1,
        pending: 0,
        height: 9,
        mempool: 4,
        phase: ChainPhase::Ready,
        chain: ChainId::from([5; 32]),
        version: "0.1.0".to_owned(),
        compat: Some("go".to_owned()),
        fault: None,
    };
    let expected = json!({
        "healthy": true, "sessions": 2, "channels": 1, "pending": 0, "height": 9, "mempool": 4,
        "phase": "ready", "chainId": hex(5), "version": "0.1.0", "compat": "go",
    });
    assert_eq!(health.to_json(), expected);
    described("Health", &health.to_json());
}

fn message() -> Message {
    Message {
        id: MessageId::from([6; 32]),
        session: ConversationId::from([1; 32]),
        sender: AccountId::from([2; 32]),
        ciphertext: vec![1, 2],
        signature: vec![3],
        counter: 8,
        received: TIME,
        expires: TIME,
        sequence: u64::MAX,
    }
}

#[test]
fn messages_and_pushes() {
    let page =
        Messages { messages: vec![message()], first_sequence: 3, next_sequence: 10, next: Some(9) };
    let page = page.to_json();
    let expected = json!({
        "messages": [{
            "id": hex(6), "messageId": hex(6), "sessionId": hex(1),
            "sender": format!("07{}", hex(2)), "ciphertext": "0102", "signature": "03",
            "counter": 8, "timestamp": "2026-01-23T00:00:00.123Z", "receivedAt": 1_769_126_400,
            "expires": "2026-01-23T00:00:00.123Z", "expiresAt": 1_769_126_400,
            "sequence": u64::MAX,
        }],
        "firstSequence": 3, "nextSequence": 10, "next": 9,
    });
    assert_eq!(page, expected);
    let event = Event { subscription: 1, message: Some(message()), block: None }.to_json();
    assert_eq!(event, json!({"subscription": 1, "message": page["messages"][0]}));
    described("Event", &event);
}

#[test]
fn a_node_in_three_vocabularies() {
    let node = |status| Node {
        id: NodeId::from([7; 32]),
        operator: AccountId::from([2; 32]),
        public_key: vec![1],
        encryption_key: vec![2],
        stake: u64::MAX,
        stake_original: 100_000_000,
        swarm: Some(SwarmId(255)),
        status,
        since: Some(Epoch(4)),
        suspended_until: None,
        misses: 2,
        registered: TIME,
        last_ping: TIME,
        unbonds: None,
        uptime_score: 9950,
        endpoint: "10.0.0.1:9651".to_owned(),
    };
    let written = node(NodeStatus::Active).to_json();
    let expected = json!({
        "nodeId": hex(7), "operator": format!("07{}", hex(2)), "publicKey": "01",
        "encryptionKey": "02", "stake": "18446744073709551615", "originalStake": "100000000",
        "swarmId": "00000000000000ff", "status": "active",
        "statusNames": {"lp": "active", "go": "active", "session": "active"},
        "registeredAt": 1_769_126_400, "lastPingAt": 1_769_126_400, "uptimeScore": 9950,
        "endpoint": "10.0.0.1:9651", "since": 4, "misses": 2,
    });
    assert_eq!(written, expected);
    described("Node", &written);
    for (status, lp, go, session) in [
        (NodeStatus::Registered, "active", "registered", "awaiting"),
        (NodeStatus::Suspended, "active", "suspended", "decommissioned"),
        (NodeStatus::Leaving, "decommissioning", "exited", "active"),
        (NodeStatus::Decommissioning, "decommissioning", "exited", "decommissioned"),
        (NodeStatus::Slashed, "decommissioning", "slashed", "deregistered"),
        (NodeStatus::Retired, "retired", "exited", "deregistered"),
    ] {
        let names = json!({"lp": lp, "go": go, "session": session});
        assert_eq!(node(status).to_json()["statusNames"], names, "{status:?}");
    }
}

#[test]
fn a_block_with_a_transaction() {
    let tx = Tx {
        id: TxId::from([8; 32]),
        action: "Transfer".to_owned(),
        sender: AccountId::from([2; 32]),
        nonce: 3,
        fee_max: 10_000,
        fee: Some(1_100),
        expires: TIME,
        size: 5400,
        status: TxStatus::Accepted,
        height: Some(12),
        block: None,
        bytes: None,
        details: None,
    };
    let block = Block {
        id: BlockId::from([9; 32]),
        chain: ChainId::from([5; 32]),
        parent: BlockId::from([10; 32]),
        height: 12,
        time: TIME,
        state_root: Digest::from([11; 32]),
        size: 5600,
        seal: None,
        txs: vec![tx],
    };
    let expected = json!({
        "blockId": hex(9), "chainId": hex(5), "parentId": hex(10), "height": 12,
        "timestamp": "2026-01-23T00:00:00.123Z", "builtAt": 1_769_126_400,
        "unixMs": 1_769_126_400_123_u64, "stateRoot": hex(11), "size": 5600,
        "txs": [{
            "txId": hex(8), "action": "Transfer", "sender": format!("07{}", hex(2)), "nonce": 3,
            "feeMax": "10000", "fee": "1100", "expires": "2026-01-23T00:00:00.123Z",
            "expiresAt": 1_769_126_400, "size": 5400, "status": "accepted", "height": 12,
        }],
    });
    assert_eq!(block.to_json(), expected);
    described("Block", &block.to_json());
    described("Tx", &block.to_json()["txs"][0]);
}

#[test]
fn channels_proofs_and_epochs() {
    let channel = Channel {
        id: ChannelId::from([4; 32]),
        name: "lobby".to_owned(),
        owner: AccountId::from([2; 32]),
        members: vec![],
        created: TIME,
        revision: 0,
        message_count: None,
    };
    described("Channel", &channel.to_json());
    let proof = Proof {
        key: vec![1, 2],
        exists: false,
        value: None,
        proof: vec![3],
        state_root: Digest::from([11; 32]),
        height: 1,
        block: BlockId::from([9; 32]),
    };
    let expected = json!({
        "key": "0102", "exists": false, "proof": "03", "stateRoot": hex(11), "height": 1,
        "blockId": hex(9),
    });
    assert_eq!(proof.to_json(), expected);
    let epoch = EpochReply {
        epoch: Epoch(3),
        start: Time::ZERO,
        end: TIME,
        phases: vec![0, 1, 2, 3],
        randomness: Digest::from([1; 32]),
        beacon: Digest::from([2; 32]),
        previous_beacon: Digest::from([3; 32]),
        mode: BeaconMode::Shared,
        attesters_root: Digest::from([4; 32]),
        swarms_since: Epoch(1),
        phase: Some(EpochPhase::Ack),
        attesters: Some(vec![NodeId::from([7; 32])]),
        dealers: Some(vec![Dealer {
            node: NodeId::from([7; 32]),
            has_key: true,
            dealt: true,
            acknowledged_by: 3,
            acknowledged: false,
            revealed: Some(Revealing::Bad),
            shares_shown: 0,
        }]),
        acknowledgements_needed: Some(3),
        ballots: Some(0),
        nodes: Some(10),
        swarms: Some(1),
        stake: Some(1_000_000_000),
        supply: Some(2_000_000_000),
        treasury: Some(0),
    };
    let written = epoch.to_json();
    assert_eq!((&written["stake"], &written["mode"]), (&"1000000000".into(), &"shared".into()));
    described("EpochReply", &written);
    described("Dealer", &written["dealers"][0]);
    let past = EpochReply { phase: None, dealers: None, stake: None, ..epoch }.to_json();
    assert!(past.get("dealers").is_none() && past.get("stake").is_none());
    described("EpochReply", &past);
}

#[test]
fn marks_and_cases() {
    let count = VoteCount { assigned: 10, passed: 3, failed: 7 };
    let mark = Mark {
        epoch: Epoch(9),
        failings: vec!["unreachable".to_owned(), "no vote".to_owned()],
        reach: count.clone(),
        keep: VoteCount { assigned: 0, passed: 0, failed: 0 },
        misses: 2,
        penalty: 500_000,
        votes: vec![VoteAgainst { examiner: NodeId::from([7; 32]), tx: TxId::from([8; 32]) }],
    };
    let expected = json!({
        "epoch": 9, "failings": ["unreachable", "no vote"],
        "reach": {"assigned": 10, "passed": 3, "failed": 7},
        "keep": {"assigned": 0, "passed": 0, "failed": 0},
        "misses": 2, "penalty": "500000", "votes": [{"examiner": hex(7), "txId": hex(8)}],
    });
    assert_eq!(mark.to_json(), expected);
    described("Mark", &expected);
    let case = Case {
        id: Digest::from([1; 32]),
        accused: NodeId::from([7; 32]),
        kind: "false receipt".to_owned(),
        epoch: Epoch(8),
        accuser: AccountId::from([2; 32]),
        tx: TxId::from([8; 32]),
        opened: TIME,
        until: TIME,
        missing: Some(MissingItem { address: [5; 32].into(), message: MessageId::from([6; 32]) }),
        status: CaseStatus::Paid,
        closed: Some(TIME),
        amount: Some(50_000_000),
    };
    let written = case.to_json();
    assert_eq!((&written["status"], &written["amount"]), (&"paid".into(), &"50000000".into()));
    described("Case", &written);
    described("MissingItem", &written["missing"]);
}
