use session_core::testing::check_codec;
use session_core::{List, Span, SwarmId, Text, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::chain::Amount;
use session_protocol::chain::view::BeaconMode;

use super::*;

/// Writes `5a*4` out as `5a5a5a5a`.
fn check<T: Encode + Decode + PartialEq + core::fmt::Debug>(value: &T, golden: &str) {
    let mut hex = String::new();
    for line in golden.lines() {
        for word in line.split('#').next().unwrap_or_default().split_whitespace() {
            match word.split_once('*') {
                Some((byte, times)) => hex += &byte.repeat(times.parse().unwrap()),
                None => hex += word,
            }
        }
    }
    check_codec(value, &hex);
}

fn time(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

#[test]
fn golden_records_of_the_chain() {
    let record = ChainRecord { name: text("lux"), genesis: time(1), supply: Amount(2) };
    check(&record, "00000003 6c7578 0000000000000001 0000000000000002");
    check(
        &Params::default(),
        "000000000036ee80 # epoch
         0000000005f5e100 # stake
         00000000000003e8 # fee
         0000000000000064 # fee per KiB
         0000000048190800 # unbonding
         000a             # swarm
         0000000005265c00 # session
         00000000000927c0 # settle
         0a               # examiners
         03               # least peers
         0000000040000000 # least free bytes
         02               # epochs until a node serves
         0032             # penalty
         1388             # most that penalties take
         01               # misses for nothing
         1388             # slash
         0000000005265c00 # veto window
         02               # epochs away",
    );
    let record = EpochRecord {
        number: Epoch(1),
        start: time(2),
        randomness: [3; 32].into(),
        beacon: [4; 32].into(),
        previous_beacon: [5; 32].into(),
        mode: BeaconMode::Shared,
        attesters: [6; 32].into(),
        swarms_since: Epoch(7),
    };
    check(&record, "0000000000000001 0000000000000002 03*32 04*32 05*32 01 06*32 0000000000000007");
    check(&Account { balance: Amount(1), nonce: 2 }, "0000000000000001 0000000000000002");
}

#[test]
fn golden_nodes() {
    let registered =
        ServiceNode::new([1; 32].into(), [2; 32].into(), text("h:1"), Amount(3), time(4));
    let head = "01*32 00000003 683a31 0000000000000003 0000000000000003";
    let tail = "0000000000000004 0000000000000004 2710 02*32 # first
        00000000 0000 00000000 00 00 00 # misses, lost, drained, posted, drains, next";
    for (status, golden) in [
        (NodeStatus::Registered, "01"),
        (
            NodeStatus::Active { swarm: SwarmId(5), since: Epoch(6) },
            "02 0000000000000005 0000000000000006",
        ),
        (NodeStatus::Decommissioning { until: time(7) }, "03 0000000000000007"),
        (NodeStatus::Retired { at: time(8) }, "04 0000000000000008"),
        (
            NodeStatus::Suspended { swarm: SwarmId(5), since: Epoch(6), until: Epoch(7) },
            "05 0000000000000005 0000000000000006 0000000000000007",
        ),
        (NodeStatus::Slashed { until: time(7) }, "06 0000000000000007"),
        (
            NodeStatus::Leaving { swarm: SwarmId(5), since: Epoch(6) },
            "07 0000000000000005 0000000000000006",
        ),
    ] {
        let node = ServiceNode { status, ..registered.clone() };
        check(&node, &format!("{head} {golden} {tail}"));
    }
    for unknown in [0, 8] {
        assert!(NodeStatus::decode_exact(&[unknown]).is_err());
    }
    let busy = ServiceNode {
        misses: 1,
        lost_bps: 2,
        drained: List::new([Epoch(3)]).unwrap(),
        posted: 4,
        drains: 6,
        next: Some([5; 32].into()),
        ..registered
    };
    let tail = "0000000000000004 0000000000000004 2710 02*32
        00000001 0002 00000001 0000000000000003 04 06 01 05*32";
    check(&busy, &format!("{head} 01 {tail}"));
}

#[test]
fn golden_sessions() {
    let head = "01*32 0000000000000002 03*32 04*32 05*32 06*32 00000002 07*32 08*32
        0000000000000009 000000000000000a";
    for (state, golden) in [
        (SessionState::Pending, "00"),
        (SessionState::Running { started: time(1) }, "01 0000000000000001"),
        (
            SessionState::Finalized {
                started: time(1),
                ended: time(2),
                output: [3; 32].into(),
                oracle_root: [4; 32].into(),
                receipts_root: [5; 32].into(),
                attestation: [6; 32].into(),
            },
            "03 0000000000000001 0000000000000002 03*32 04*32 05*32 06*32",
        ),
        (
            SessionState::Failed { started: Some(time(1)), ended: time(2), reason: text("no") },
            "04 01 0000000000000001 0000000000000002 00000002 6e6f",
        ),
    ] {
        let session = WorkloadSession {
            service: [1; 32].into(),
            epoch: Epoch(2),
            tx: [3; 32].into(),
            creator: [4; 32].into(),
            program: [5; 32].into(),
            input: [6; 32].into(),
            committee: List::new([[7; 32].into(), [8; 32].into()]).unwrap(),
            created: time(9),
            deadline: time(10),
            state,
        };
        check(&session, &format!("{head} {golden}"));
    }
    let anchor = OpenAnchor { randomness: [1; 32].into(), started: Some(time(2)) };
    check(&anchor, "01*32 01 0000000000000002");
}

#[test]
fn golden_conversations_and_channels() {
    let conversation = Conversation {
        participants_root: [1; 32].into(),
        participants: 2,
        opened_by: [3; 32].into(),
        created: time(4),
        expires: time(5),
        closed: Some(time(6)),
    };
    check(&conversation, "01*32 0002 03*32 0000000000000004 0000000000000005 01 0000000000000006");
    let channel = Channel { name: text("ab"), owner: [1; 32].into(), members: 2, created: time(3) };
    check(&channel, "00000002 6162 01*32 0002 0000000000000003");
}

#[test]
fn keys_are_a_tag_and_parts_of_one_width() {
    let id = [0xab; 32];
    let key = |tag: &str, parts: &str| hex::decode(tag.to_owned() + parts).unwrap();
    let ids = "ab".repeat(32);
    assert_eq!(Chain::key(&Only {}), [1]);
    assert_eq!(Parameters::key(&Only {}), [2]);
    assert_eq!(CurrentEpoch::key(&Only {}), [3]);
    assert_eq!(Treasury::key(&Only {}), [4]);
    assert_eq!(Sequencer::key(&Only {}), [5]);
    assert_eq!(Accounts::key(&id.into()), key("10", &ids));
    assert_eq!(AccountKeys::key(&id.into()), key("11", &ids));
    assert_eq!(Nodes::key(&id.into()), key("20", &ids));
    assert_eq!(NodeKeys::key(&id.into()), key("21", &ids));
    assert_eq!(NodeAliases::key(&id.into()), key("22", &ids));
    assert_eq!(Endpoints::key(&id.into()), key("23", &ids));
    assert_eq!(SigningKeys::key(&id.into()), key("24", &ids));
    let seat = Seat { swarm: SwarmId(7), node: id.into() };
    assert_eq!(SwarmMembers::key(&seat), key("250000000000000007", &ids));
    assert_eq!(Sessions::key(&id.into()), key("30", &ids));
    assert_eq!(OpenSessions::key(&id.into()), key("31", &ids));
    assert_eq!(Conversations::key(&id.into()), key("40", &ids));
    assert_eq!(Channels::key(&id.into()), key("50", &ids));
    assert_eq!(ChannelNames::key(&id.into()), key("51", &ids));
    let place = Membership { channel: [0xab; 32].into(), account: [0xab; 32].into() };
    assert_eq!(ChannelMembers::key(&place), key("52", &ids.repeat(2)));
}

#[test]
fn every_table_is_published_under_its_own_tag() {
    let tags: std::collections::BTreeSet<u8> = TABLES.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags.len(), TABLES.len());
    let published = include_str!("../../../../docs/wire/chain-state.md");
    for (tag, name) in TABLES {
        let row = format!("| {tag:02x} | {name} |");
        assert!(published.contains(&row), "docs/wire/chain-state.md lacks {row}");
    }
}

#[test]
fn digests_of_names_are_apart() {
    let keys = FakeIdentity::new(&[1; 32]);
    assert_eq!(endpoint_digest("Node:1"), endpoint_digest("node:1"));
    assert_ne!(endpoint_digest("x"), channel_name_digest("x"));
    assert_ne!(channel_name_digest("X"), channel_name_digest("x"));
    let other = FakeIdentity::new(&[2; 32]);
    assert_ne!(signing_key_digest(keys.public().dsa()), signing_key_digest(other.public().dsa()));
}

#[test]
fn spans_of_params_are_what_the_docs_say() {
    let params = Params::default();
    assert_eq!(params.epoch, Span::from_secs(3600));
    assert_eq!(params.unbonding, Span::from_days(14));
    assert_eq!(params.session_time_max, Span::from_days(1));
    params.check().unwrap();
}
