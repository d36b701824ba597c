//! Rates, bounds and malformed frames.

use session_core::{Blob, Encode, Epoch, List, Span, Time};
use session_network::limits::{
    Budget, DUTIES, OVERRUNS, REASON_BYTES_MAX, SESSIONS, UNHANDLED_MAX,
};
use session_network::{Class, ConnId, Effect, From, Input, Limits, Rate};
use session_protocol::duty::Duty;
use session_protocol::limits::FRAME_BYTES_MAX;
use session_protocol::onion::{HopKeys, Onion};
use session_protocol::peer::Ping;
use session_protocol::request::{Operation, Request};
use session_protocol::workload::message::SessionStart;
use session_protocol::workload::{Commit, OracleResult, Proposal};
use session_protocol::{Frame, Inbound, Kind};

use crate::by_hand::{Solo, assert_closed};
use crate::world::{replicate, request};

const HERE: &str = "198.51.100.1";

fn slow(per_second: u64, burst: u64) -> Budget {
    Budget { frames: Rate { per_second, burst }, bytes: Rate::UNLIMITED }
}

fn batch(id: u64, operations: usize) -> Request {
    let operation = Operation::Store {
        address: [1; 32].into(),
        namespace: session_core::Namespace(0),
        timestamp: session_core::Time::ZERO,
        ttl: Span::from_secs(60),
        data: session_core::Blob::default(),
    };
    Request { id, operations: List::new(vec![operation; operations]).unwrap() }
}

fn handed_up(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Message { .. }])
}

#[test]
fn a_clients_request_over_the_limit_is_answered_as_such() {
    let mut solo = Solo::limited(Limits { client: slow(2, 30), ..Limits::default() });
    solo.client_up(1, HERE);
    // The connection cost 4 of 30.
    for id in 0..26 {
        assert!(handed_up(&solo.frame(1, Kind::Request, &request(id))), "request {id}");
    }
    let limited = |request_id, operations, millis| Effect::Limited {
        from: From::Client(ConnId(1)),
        request_id,
        operations,
        retry_after: Span::from_millis(millis),
    };
    assert_eq!(solo.frame(1, Kind::Request, &request(26)), [limited(26, 0, 500)]);
    // A batch pays for each operation.
    assert_eq!(solo.frame(1, Kind::Request, &batch(27, 5)), [limited(27, 5, 2_500)]);
    solo.pass(Span::from_millis(499));
    assert_eq!(solo.frame(1, Kind::Request, &request(28)), [limited(28, 0, 1)]);
    solo.pass(Span::from_millis(1));
    assert!(handed_up(&solo.frame(1, Kind::Request, &request(29))));
    assert_eq!(solo.network.stats().refused.limited, 3);
}

#[test]
fn bytes_count_too() {
    let client = Budget {
        frames: Rate::UNLIMITED,
        bytes: Rate { per_second: 1_000, burst: 0 }, // raised to one frame
    };
    let mut solo = Solo::limited(Limits { client, ..Limits::default() });
    solo.client_up(1, HERE);
    let message = |size| Input::Frame {
        conn: ConnId(1),
        class: Class::Bulk,
        size,
        frame: Ok(Inbound::Request(session_protocol::inbound::CheckedRequest {
            id: 1,
            operations: Vec::new(),
        })),
    };
    let effects = solo.input(message(FRAME_BYTES_MAX));
    assert!(handed_up(&effects), "the longest frame fits into a rested bucket: {effects:?}");
    match solo.input(message(2_500))[..] {
        [Effect::Limited { retry_after, .. }] => {
            assert_eq!(retry_after, Span::from_millis(2_500));
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn connections_of_one_address_share_its_limits() {
    let mut solo = Solo::limited(Limits { client: slow(1, 28), ..Limits::default() });
    solo.client_up(1, HERE);
    solo.client_up(2, HERE);
    for id in 0..20 {
        let conn = 1 + id % 2;
        assert!(handed_up(&solo.frame(conn, Kind::Request, &request(id))), "request {id}");
    }
    for conn in [1, 2] {
        let effects = solo.frame(conn, Kind::Request, &request(99));
        assert!(matches!(effects[..], [Effect::Limited { .. }]), "{effects:?}");
    }
    // Coming back does not help; coming from elsewhere does.
    solo.input(Input::Disconnected { conn: ConnId(1) });
    solo.input(Input::Disconnected { conn: ConnId(2) });
    assert_closed(&solo.inbound(3, HERE, None), "rate limit of this address exceeded");
    solo.client_up(4, "198.51.100.2");
    assert!(handed_up(&solo.frame(4, Kind::Request, &request(1))));
}

#[test]
fn an_address_of_ipv6_is_its_first_half() {
    let mut solo = Solo::limited(Limits { address_connections_max: 1, ..Limits::default() });
    solo.client_up(1, "2001:db8:1:2::1");
    let effects = solo.inbound(2, "2001:db8:1:2:ffff::9", None);
    assert_closed(&effects, "too many connections from this address");
    assert_eq!(solo.inbound(3, "2001:db8:1:3::1", None), []);
    // And an IPv4 address is the same in both notations.
    assert_eq!(solo.inbound(4, HERE, None), []);
    assert_closed(&solo.inbound(5, "::ffff:198.51.100.1", None), "too many connections");
    solo.input(Input::Disconnected { conn: ConnId(4) });
    assert_eq!(solo.inbound(6, HERE, None), []);
    assert_eq!(solo.network.stats().refused.connections, 2);
}

#[test]
fn patience_with_a_flooding_client_ends() {
    let mut solo = Solo::limited(Limits { client: slow(1, 20), ..Limits::default() });
    solo.client_up(1, HERE);
    let mut answers = 0;
    let end = loop {
        let effects = solo.frame(1, Kind::Request, &request(answers));
        answers += 1;
        if effects.len() > 1 {
            break effects;
        }
    };
    // 16 requests, then the patience, then the end.
    assert_eq!(answers, 16 + OVERRUNS.burst + 1);
    let why = "too many frames over the limits".to_owned();
    let from = From::Client(ConnId(1));
    assert_eq!(
        end[1..],
        [
            Effect::Close { conn: ConnId(1), why: why.clone() },
            Effect::Penalized { from, why },
            Effect::ClientDown { conn: ConnId(1) },
        ]
    );
    assert_eq!(solo.frame(1, Kind::Request, &request(0)), []);
    assert_eq!(solo.network.stats().refused.stale, 1);
}

#[test]
fn a_flooding_nodes_frames_are_dropped_and_then_it_is_closed() {
    let mut solo = Solo::limited(Limits { peer: slow(1, 20), ..Limits::default() });
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    for number in 0..20 {
        assert!(handed_up(&solo.frame(1, Kind::Replicate, &replicate(1))), "frame {number}");
    }
    for _ in 0..OVERRUNS.burst {
        assert_eq!(solo.frame(1, Kind::Replicate, &replicate(1)), []);
    }
    let effects = solo.frame(1, Kind::Replicate, &replicate(1));
    assert_closed(&effects, "too many frames over the limits");
    assert!(effects.contains(&Effect::PeerDown { node }));
    assert_eq!(solo.network.stats().refused.over_limit, OVERRUNS.burst + 1);
    assert_eq!(solo.network.stats().refused.penalized, 1);
    assert_closed(&solo.inbound(2, HERE, solo.key(0)), "kept out");
}

#[test]
fn the_first_malformed_frame_ends_the_connection_and_names_the_field() {
    let long_list = [1, 19, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    let mut trailing = Frame::encode(Kind::Ping, &Ping { nonce: 1 });
    trailing.push(0);
    let cases: [(&[u8], &str); 8] = [
        (&long_list, "list holds 4294967295, the limit is 256"),
        (&trailing, "1 bytes left over"),
        (&[1, 10, 0], "Ping: data too short: 8 bytes needed, 1 left"),
        (&[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0], "bool has no variant 7"),
        (&[2, 10], "protocol version 2"),
        (&[1, 99], "message type 99 is not known"),
        (&[1, 0], "message type 0 is not known"),
        (&[], "data too short: 2 bytes needed"),
    ];
    for (body, reason) in cases {
        let mut solo = Solo::node();
        solo.node_up(1, 0);
        assert_closed(&solo.body(1, Class::Bulk, body), reason);
        solo.client_up(2, HERE);
        let effects = solo.body(2, Class::Bulk, body);
        assert_closed(&effects, reason);
        assert!(effects.contains(&Effect::ClientDown { conn: ConnId(2) }));
        // Before the handshake nobody is known who could be penalized.
        solo.inbound(3, HERE, None);
        let effects = solo.body(3, Class::Interactive, body);
        assert_closed(&effects, reason);
        assert_eq!(effects.len(), 1);
        assert_eq!(solo.network.stats().refused.malformed, 3);
        assert_eq!(solo.network.connections(), 0);
    }
    let huge = vec![1; FRAME_BYTES_MAX + 1];
    let mut solo = Solo::node();
    solo.client_up(1, HERE);
    assert_closed(&solo.body(1, Class::Bulk, &huge), "message too large: 1048577 bytes");
}

#[test]
fn a_kind_without_a_handler_is_tolerated_a_few_times() {
    let mut solo = Solo::node();
    solo.node_up(1, 0);
    for _ in 0..UNHANDLED_MAX {
        assert_eq!(solo.body(1, Class::Interactive, &[1, 7, 1, 2, 3]), []);
    }
    let effects = solo.body(1, Class::Interactive, &[1, 7]);
    assert_closed(&effects, "no handler for message type Attestation");
    assert_eq!(solo.network.stats().refused.unhandled, u64::from(UNHANDLED_MAX) + 1);
}

#[test]
fn messages_are_handed_up_only_from_those_who_may_send_them() {
    let none = Vec::<u8>::new();
    let mut solo = Solo::node();
    solo.node_up(1, 0);
    solo.client_up(2, HERE);
    let cases: [(Kind, Vec<u8>, [bool; 2]); 4] = [
        (Kind::Request, request(1).to_bytes(), [false, true]),
        (Kind::Replicate, replicate(1).to_bytes(), [true, false]),
        (Kind::Operations, [[0; 8].as_slice(), &[0; 4]].concat(), [true, false]),
        (Kind::SessionCreate, none, [false, false]),
    ];
    for (kind, payload, expected) in cases {
        let mut body = vec![1, kind.code()];
        body.extend(payload);
        let froms = [From::Node(solo.node_id(0)), From::Client(ConnId(2))];
        for ((conn, from), expected) in [1, 2].into_iter().zip(froms).zip(expected) {
            let effects = solo.body(conn, Class::Bulk, &body);
            match &effects[..] {
                [Effect::Message { from: sender, .. }] if expected => assert_eq!(*sender, from),
                [] if !expected => {}
                other => panic!("{kind:?} from {from:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn reasons_are_bounded() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    let why = "ü".repeat(300);
    match &solo.input(Input::Misbehaved { node, why })[..] {
        [Effect::Close { why, .. }, ..] => assert_eq!(why.len(), REASON_BYTES_MAX),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_datagram_is_short() {
    let mut solo = Solo::node();
    solo.node_up(1, 0);
    let to = From::Node(solo.node_id(0));
    let long = batch(1, 20);
    assert!(long.to_bytes().len() > 1_100);
    let effects = solo.call(|network, cx| {
        assert!(!network.send_to(cx, to, Class::Datagram, Kind::Request, &long));
        assert!(network.send_to(cx, to, Class::Bulk, Kind::Request, &long));
    });
    assert_eq!(effects.len(), 1);
    assert_eq!(solo.network.stats().refused.too_large, 1);
}

#[test]
fn traffic_is_counted() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    let sent: usize = solo
        .node_up(1, 0)
        .iter()
        .map(|effect| if let Effect::Send { frame, .. } = effect { frame.len() } else { 0 })
        .sum();
    solo.frame(1, Kind::Ping, &Ping { nonce: 1 });
    let peer = solo.network.peer(&node).unwrap();
    assert_eq!(peer.traffic.frames_in, 3);
    assert_eq!(peer.traffic.frames_out, 4, "welcome, heartbeat, ping, pong");
    let welcome = 2 + 1 + 32 + 8 + 32 + 1 + 1088 + 32 + 8 + 8;
    assert_eq!(peer.traffic.bytes_out, (welcome + sent + 10) as u64);
    assert_eq!(solo.network.stats().traffic, peer.traffic);
}

#[test]
fn sessions_are_between_nodes_and_bounded() {
    let start = SessionStart { session: [1; 32].into() };
    let mut solo = Solo::node();
    solo.follow_a_chain();
    solo.client_up(1, HERE);
    for _ in 0..UNHANDLED_MAX {
        assert_eq!(solo.frame(1, Kind::SessionStart, &start), []);
    }
    let effects = solo.frame(1, Kind::SessionStart, &start);
    assert_closed(&effects, "no handler for message type SessionStart");

    solo.node_up(2, 0);
    for number in 0..SESSIONS.burst {
        assert!(handed_up(&solo.frame(2, Kind::SessionStart, &start)), "message {number}");
    }
    assert_eq!(solo.frame(2, Kind::SessionStart, &start), [], "over the limit");
    assert_eq!(solo.network.stats().refused.over_limit, 1);
    // Other messages have a budget of their own.
    assert!(handed_up(&solo.frame(2, Kind::Replicate, &replicate(1))));
    solo.pass(Span::from_millis(1));
    assert!(handed_up(&solo.frame(2, Kind::SessionStart, &start)));

    let mut client = Solo::client();
    client.follow_a_chain();
    client.dial_up(1, 0);
    assert_eq!(client.frame(1, Kind::SessionStart, &start), [], "clients run no sessions");
}

/// A proposal for a session that is not open here is dropped, as often as it comes.
#[test]
fn whoever_is_a_block_ahead_breaks_no_rule() {
    let result = OracleResult::NoConsensus;
    let proposal = Proposal {
        session: [1; 32].into(),
        step: 1,
        retry: 0,
        commit: Commit { retry: 0, records: List::new([]).unwrap(), result, time: Time::ZERO },
        advances: List::new([]).unwrap(),
        lock: None,
        intent: None,
    };
    let mut solo = Solo::node();
    solo.follow_a_chain();
    solo.node_up(1, 0);
    for _ in 0..2 * UNHANDLED_MAX {
        assert_eq!(solo.frame(1, Kind::OracleCommit, &proposal), []);
    }
    assert_eq!(solo.network.stats().refused, Solo::node().network.stats().refused);
    // From a client it is out of place.
    solo.client_up(2, HERE);
    assert_eq!(solo.frame(2, Kind::OracleCommit, &proposal), []);
    assert_eq!(solo.network.stats().refused.unhandled, 1);
}

#[test]
fn duties_are_between_nodes_and_rare() {
    let probe = |nonce| Duty::Probe { epoch: Epoch(3), nonce };
    let mut solo = Solo::node();
    solo.client_up(1, HERE);
    for nonce in 0..u64::from(UNHANDLED_MAX) {
        assert_eq!(solo.frame(1, Kind::Duty, &probe(nonce)), []);
    }
    assert_closed(&solo.frame(1, Kind::Duty, &probe(99)), "no handler for message type Duty");

    solo.node_up(2, 0);
    for nonce in 0..DUTIES.burst {
        assert!(handed_up(&solo.frame(2, Kind::Duty, &probe(nonce))), "probe {nonce}");
    }
    assert_eq!(solo.frame(2, Kind::Duty, &probe(0)), [], "over the limit");
    assert_eq!(solo.network.stats().refused.over_limit, 1);
    // Other messages have a budget of their own.
    assert!(handed_up(&solo.frame(2, Kind::Replicate, &replicate(1))));
    solo.pass(Span::from_millis(1_000 / DUTIES.per_second));
    assert!(handed_up(&solo.frame(2, Kind::Duty, &probe(1))));

    let mut client = Solo::client();
    client.dial_up(1, 0);
    assert_eq!(client.frame(1, Kind::Duty, &probe(1)), [], "clients have no duties");
}

fn onion(bytes: usize) -> Onion {
    Onion { circuit: 1, packet: Blob::new(vec![0; bytes]).unwrap() }
}

#[test]
fn onion_packets_have_limits_of_their_own() {
    let rate = Rate { per_second: 4, burst: 20 };
    let limits = Limits { client_onions: rate, peer_onions: rate, ..Limits::default() };
    for from in ["client", "node"] {
        let mut solo = Solo::limited(limits);
        if from == "client" {
            solo.client_up(1, HERE);
        } else {
            solo.node_up(1, 0);
        }
        // 12 for a large one, 4 for a bulk one, 1 for each small one.
        for bytes in [98_304, 32_768, 8_192, 8_192, 8_192, 8_192] {
            assert!(handed_up(&solo.frame(1, Kind::Onion, &onion(bytes))), "{bytes} of {from}");
        }
        assert_eq!(solo.frame(1, Kind::Onion, &onion(8_192)), []);
        assert_eq!(solo.network.stats().refused.over_limit, 1);
        solo.pass(Span::from_millis(1_000));
        assert!(handed_up(&solo.frame(1, Kind::Onion, &onion(32_768))), "four a second");
        // What others made a node send is not its fault.
        let end = (0..=OVERRUNS.burst + OVERRUNS.per_second)
            .map(|_| solo.frame(1, Kind::Onion, &onion(8_192)))
            .find(|effects| !effects.is_empty());
        assert_eq!(end.is_some(), from == "client", "{end:?}");
    }
}

#[test]
fn the_largest_packet_can_always_be_sent_in_the_end() {
    let rate = Rate { per_second: 1, burst: 1 };
    let mut solo = Solo::limited(Limits { client_onions: rate, ..Limits::default() });
    solo.client_up(1, HERE);
    assert!(handed_up(&solo.frame(1, Kind::Onion, &onion(98_304))));
    assert_eq!(solo.frame(1, Kind::Onion, &onion(8_192)), []);
}

#[test]
fn clients_and_nodes_carry_packets_and_only_nodes_speak_of_hop_keys() {
    let none = HopKeys::Keys { keys: List::default() };
    let mut solo = Solo::node();
    solo.client_up(1, HERE);
    solo.node_up(2, 0);
    assert!(handed_up(&solo.frame(1, Kind::Onion, &onion(8_192))));
    assert!(handed_up(&solo.frame(2, Kind::Onion, &onion(8_192))));
    assert!(handed_up(&solo.frame(2, Kind::HopKeys, &none)));
    assert_eq!(solo.frame(1, Kind::HopKeys, &none), []);
    assert_eq!(solo.network.stats().refused.unhandled, 1);
    let mut client = Solo::client();
    client.dial_up(1, 0);
    assert!(handed_up(&client.frame(1, Kind::Onion, &onion(8_192))));
    assert_eq!(client.frame(1, Kind::HopKeys, &none), []);
}
