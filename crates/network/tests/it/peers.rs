//! Who dials, when again, and when a node counts as down.

use session_core::{Machine as _, NodeId, Span};
use session_network::{ConnId, Effect, Input, Limits, PeerState};
use session_protocol::Kind;
use session_protocol::peer::{DeclineReason, Heartbeat, Ping, Pong};

use crate::by_hand::{EXPORTER, Solo, assert_closed, assert_declined, sent};
use crate::world::{World, members};

fn dial_of(effects: &[Effect]) -> u64 {
    let dial = effects.iter().find_map(|effect| match effect {
        Effect::Dial { dial, .. } => Some(*dial),
        _ => None,
    });
    dial.unwrap_or_else(|| panic!("no dial in {effects:?}"))
}

fn frames(effects: &[Effect], kind: Kind) -> Vec<Vec<u8>> {
    let of_kind = |effect: &Effect| match effect {
        Effect::Send { frame, .. } if frame[1] == kind.code() => Some(frame.clone()),
        _ => None,
    };
    effects.iter().filter_map(of_kind).collect()
}

fn nonce(frame: &[u8]) -> u64 {
    u64::from_be_bytes(frame[2..10].try_into().unwrap())
}

#[test]
fn the_lower_id_dials_and_the_other_waits() {
    let mut solo = Solo::node();
    let (lower, higher) = (solo.node_id(0), solo.node_id(2));
    assert_eq!(solo.input(Input::Connect { node: lower }), []);
    assert_eq!(solo.network.peer(&lower).unwrap().state, PeerState::Waiting);
    dial_of(&solo.input(Input::Connect { node: higher }));
    assert_eq!(solo.network.peer(&higher).unwrap().state, PeerState::Connecting);
    // Wanting it twice is wanting it.
    assert_eq!(solo.input(Input::Connect { node: higher }), []);
    // Patience has its limits.
    solo.node_up(1, 2);
    assert_eq!(solo.pass(Span::from_secs(3)), []);
    dial_of(&solo.pass(Span::from_millis(200)));
    let effects = solo.input(Input::Connect { node: solo.network.id().unwrap() });
    assert_eq!(effects, [], "nobody dials itself");
}

#[test]
fn a_node_that_something_waits_for_is_dialled_whatever_the_id() {
    let mut solo = Solo::node();
    let (lower, higher) = (solo.node_id(0), solo.node_id(2));
    for node in [lower, higher] {
        dial_of(&solo.input(Input::Dial { node }));
        // Once: the next packet waits with the first.
        assert_eq!(solo.input(Input::Dial { node }), []);
    }
    // Also if it was waited for before.
    let mut solo = Solo::node();
    assert_eq!(solo.input(Input::Connect { node: lower }), []);
    let dial = dial_of(&solo.input(Input::Dial { node: lower }));
    let failed = solo.input(Input::DialFailed { dial, why: "nobody there".into() });
    assert!(matches!(failed[..], [Effect::Unreachable { .. }]), "{failed:?}");
    assert_eq!(solo.input(Input::Dial { node: lower }), [], "now it backs off like any other");
}

#[test]
fn a_client_dials_whatever_the_id() {
    let mut solo = Solo::client();
    for number in [0, 2] {
        dial_of(&solo.input(Input::Connect { node: solo.node_id(number) }));
    }
}

#[test]
fn retries_are_quick_at_first_and_15_seconds_apart_at_last() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let mut dial = dial_of(&solo.input(Input::Connect { node }));
    let mut waits = Vec::new();
    for _ in 0..12 {
        let why = "connection refused".to_owned();
        let effects = solo.input(Input::DialFailed { dial, why: why.clone() });
        assert_eq!(effects, [Effect::Unreachable { node, why }]);
        let before = solo.now;
        let at = solo.network.deadline().unwrap();
        dial = dial_of(&solo.pass(at.since(before)));
        waits.push(at.since(before).as_millis());
    }
    for (attempt, wait) in waits.iter().enumerate() {
        let longest = (200_u64 << attempt).min(15_000);
        assert!((longest / 2..=longest).contains(wait), "attempt {attempt}: {wait} ms");
    }
    assert!(waits[7..].iter().any(|wait| wait != &waits[7]), "jitter: {waits:?}");
    assert_eq!(solo.network.stats().dials, 13);
    assert_eq!(solo.network.stats().dials_failed, 12);
    assert_eq!(solo.network.peer(&node).unwrap().attempts, 12);
}

#[test]
fn a_dial_without_an_answer_is_given_up() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let dial = dial_of(&solo.input(Input::Connect { node }));
    let effects = solo.pass(Span::from_secs(10));
    assert!(matches!(effects[..], [Effect::Unreachable { .. }]), "{effects:?}");
    // The answer that comes after all finds nobody.
    assert_closed(&solo.outbound(1, dial, solo.key(2)), "not wanted any more");
    assert_eq!(solo.input(Input::DialFailed { dial, why: String::new() }), []);
}

#[test]
fn a_node_outside_the_network_is_never_dialled() {
    let mut solo = Solo::client();
    let node = NodeId::from([0xee; 32]);
    let effects = solo.input(Input::Connect { node });
    let why = "not a node of this network".to_owned();
    assert_eq!(effects, [Effect::Unreachable { node, why }]);
    let effects = solo.pass(Span::from_secs(60));
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Unreachable { .. })));
    assert_eq!(solo.network.stats().dials, 0);
}

#[test]
fn a_lost_connection_is_dialled_again() {
    let mut world = World::new(3, 2, 0);
    world.mesh(2);
    world.run(Span::from_secs(20));
    let first = world.network(0).peer(&world.id(1)).unwrap().conn.unwrap();
    world.log.clear();
    world.break_connection(first);
    let states = [(0, 1, PeerState::BackingOff), (1, 0, PeerState::Waiting)];
    for (host, other, state) in states {
        assert_eq!(world.network(host).peer(&world.id(other)).unwrap().state, state);
    }
    world.run(Span::from_secs(1));
    for (host, other) in [(0, 1), (1, 0)] {
        let node = world.id(other);
        let events: Vec<_> = world
            .log
            .iter()
            .filter(|(_, at, _)| *at == host)
            .filter_map(|(_, _, effect)| match effect {
                Effect::PeerDown { node: id } => Some(("down", *id)),
                Effect::PeerUp { node: id, .. } => Some(("up", *id)),
                _ => None,
            })
            .collect();
        assert_eq!(events, [("down", node), ("up", node)]);
    }
}

#[test]
fn a_crashed_node_is_found_again_after_its_restart() {
    for crashed in [0, 1] {
        let mut world = World::new(4, 2, 0);
        world.mesh(2);
        world.run(Span::from_secs(20));
        world.crash(crashed);
        world.run(Span::from_secs(2));
        world.restart(crashed);
        let node = world.id(1 - crashed);
        world.connect(crashed, 1 - crashed);
        // Long before thirty seconds of silence: the restarted node dials whatever its id, and its
        // new connection replaces the dead one.
        world.run(Span::from_secs(4));
        assert!(world.network(crashed).is_up(&node), "host {crashed} crashed");
        assert!(world.network(1 - crashed).is_up(&world.id(crashed)));
    }
}

#[test]
fn thirty_seconds_of_silence_take_a_node_down() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    let effects = solo.pass(Span::from_millis(29_999));
    // Two or three heartbeats went out, none came in.
    assert!((2..=3).contains(&frames(&effects, Kind::Heartbeat).len()), "{effects:?}");
    assert!(solo.network.is_up(&node));
    let effects = solo.pass(Span::from_millis(1));
    assert_eq!(
        effects,
        [
            Effect::Close { conn: ConnId(1), why: "no heartbeat for 30 s".into() },
            Effect::PeerDown { node },
        ]
    );
    assert_eq!(solo.network.peer(&node), None, "it came by itself and is gone");
}

#[test]
fn any_frame_keeps_a_node_up_and_sending_does_not() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    for _ in 0..10 {
        let effects = solo.pass(Span::from_secs(20));
        assert!(!frames(&effects, Kind::Heartbeat).is_empty());
        let seen = solo.now;
        solo.frame(1, Kind::Ping, &Ping { nonce: 5 });
        solo.pass(Span::from_secs(5));
        assert_eq!(solo.network.peer(&node).unwrap().last_seen, Some(seen));
    }
    assert!(solo.network.is_up(&node));
}

#[test]
fn heartbeats_and_pings_go_out_every_ten_seconds_with_our_health() {
    let mut solo = Solo::node();
    solo.node_up(1, 0);
    solo.network.set_health(false, 42);
    let mut beats = Vec::new();
    for _ in 0..60 {
        let effects = solo.pass(Span::from_secs(1));
        assert_eq!(frames(&effects, Kind::Ping).len(), frames(&effects, Kind::Heartbeat).len());
        for frame in frames(&effects, Kind::Heartbeat) {
            beats.push((solo.now, frame));
        }
        solo.frame(1, Kind::Pong, &Pong { nonce: 0 });
    }
    assert!((6..=7).contains(&beats.len()), "{beats:?}");
    for pair in beats.windows(2) {
        assert_eq!(pair[1].0.since(pair[0].0), Span::from_secs(10));
    }
    for (_, frame) in beats {
        assert_eq!(&frame[..2], [1, Kind::Heartbeat.code()]);
        assert_eq!(frame[10], 0, "not writable");
        assert_eq!(frame[11..], 42_u64.to_be_bytes());
    }
}

#[test]
fn a_heartbeat_is_noted() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    assert!(solo.network.peer(&node).unwrap().writable, "until it says otherwise");
    let time = solo.now - Span::from_millis(1_500);
    solo.frame(1, Kind::Heartbeat, &Heartbeat { time, writable: false, items: 7 });
    let peer = solo.network.peer(&node).unwrap();
    assert_eq!((peer.writable, peer.items, peer.clock_ahead_ms), (false, 7, -1_500));
}

#[test]
fn latency_is_seven_eighths_old_and_one_eighth_new() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    let mut effects = solo.node_up(1, 0);
    let mut expected = None;
    for round_trip in [80_u64, 160, 16, 16] {
        let ping = frames(&effects, Kind::Ping).pop().unwrap();
        effects = solo.pass(Span::from_millis(round_trip));
        solo.frame(1, Kind::Pong, &Pong { nonce: nonce(&ping) ^ 1 });
        assert_eq!(solo.network.peer(&node).unwrap().latency_us, expected, "invented answer");
        solo.frame(1, Kind::Pong, &Pong { nonce: nonce(&ping) });
        let latency = solo.network.peer(&node).unwrap().latency_us;
        expected = match round_trip {
            80 => Some(80_000),
            160 => Some(90_000), // (7 * 80,000 + 160,000) / 8
            _ if expected == Some(90_000) => Some(80_750), // (7 * 90,000 + 16,000) / 8
            _ => Some(72_656),   // (7 * 80,750 + 16,000) / 8
        };
        assert_eq!(latency, expected);
        // The same answer again counts for nothing.
        solo.frame(1, Kind::Pong, &Pong { nonce: nonce(&ping) });
        assert_eq!(solo.network.peer(&node).unwrap().latency_us, expected);
        effects.clear();
        while frames(&effects, Kind::Ping).is_empty() {
            effects = solo.pass(Span::from_millis(1));
        }
    }
}

#[test]
fn a_ping_is_answered_as_it_came() {
    let mut solo = Solo::node();
    solo.client_up(1, "198.51.100.1");
    let effects = solo.frame(1, Kind::Ping, &Ping { nonce: 0x0102 });
    assert_eq!(frames(&effects, Kind::Pong), [[1, 11, 0, 0, 0, 0, 0, 0, 1, 2]]);
}

#[test]
fn a_client_pings_and_gives_up_a_silent_node() {
    let mut solo = Solo::client();
    let node = solo.node_id(2);
    let effects = solo.dial_up(1, 2);
    assert_eq!(effects[0], Effect::PeerUp { node, conn: ConnId(1) });
    assert_eq!(frames(&effects, Kind::Heartbeat).len(), 0, "clients do not say how they are");
    let peer = solo.network.peer(&node).unwrap();
    assert_eq!((peer.height, peer.clock_ahead_ms), (5, 250));
    let effects = solo.pass(Span::from_secs(31));
    assert!(frames(&effects, Kind::Ping).len() >= 2);
    assert!(effects.contains(&Effect::PeerDown { node }));
    dial_of(&effects);
}

#[test]
fn a_silent_client_is_let_go_after_a_minute() {
    let mut solo = Solo::node();
    solo.client_up(1, "198.51.100.1");
    solo.pass(Span::from_secs(50));
    solo.frame(1, Kind::Ping, &Ping { nonce: 0 });
    assert_eq!(solo.pass(Span::from_millis(59_999)), []);
    let effects = solo.pass(Span::from_millis(1));
    let why = "silent for 60 s".to_owned();
    assert_eq!(
        effects,
        [Effect::Close { conn: ConnId(1), why }, Effect::ClientDown { conn: ConnId(1) }]
    );
    assert_eq!(solo.network.clients(), 0);
}

#[test]
fn maximum_peers_reached() {
    let mut solo = Solo::limited(Limits { peers_max: 1, ..Limits::default() });
    let (guest, wanted) = (solo.node_id(0), solo.node_id(2));
    solo.node_up(1, 0);
    // One more guest has no room.
    solo.inbound(2, "198.51.100.1", solo.key(2));
    let (hello, _) = solo.hello(Some(2));
    assert_declined(&solo.shake(2, &hello), DeclineReason::TooManyPeers);
    assert_eq!(DeclineReason::TooManyPeers.to_string(), "maximum peers reached");
    // A node that is wanted takes the guest's place.
    let effects = solo.input(Input::Connect { node: wanted });
    assert!(effects.contains(&Effect::PeerDown { node: guest }), "{effects:?}");
    dial_of(&effects);
    // Nobody takes the place of a wanted one.
    let effects = solo.input(Input::Connect { node: guest });
    let why = "maximum peers reached".to_owned();
    assert_eq!(effects, [Effect::Unreachable { node: guest, why }]);
    assert_eq!(solo.network.stats().refused.peers, 1);
    // Clients have a bound of their own.
    assert!(matches!(solo.client_up(5, "198.51.100.1")[1], Effect::ClientUp { .. }));
}

#[test]
fn maximum_clients_reached() {
    let mut solo = Solo::limited(Limits { clients_max: 1, ..Limits::default() });
    solo.client_up(1, "198.51.100.1");
    solo.inbound(2, "198.51.100.2", None);
    let (hello, _) = solo.hello(None);
    assert_declined(&solo.shake(2, &hello), DeclineReason::TooManyPeers);
    // Nodes are not kept out by clients, and room is made by leaving.
    assert!(matches!(solo.node_up(3, 0)[0], Effect::PeerUp { .. }));
    solo.input(Input::Disconnected { conn: ConnId(1) });
    assert!(matches!(solo.client_up(4, "198.51.100.2")[1], Effect::ClientUp { .. }));
}

#[test]
fn a_flood_of_handshakes_leaves_room_for_nodes() {
    let mut solo = Solo::limited(Limits { handshakes_max: 2, ..Limits::default() });
    solo.inbound(1, "198.51.100.1", None);
    solo.inbound(2, "198.51.100.2", None);
    assert_closed(&solo.inbound(3, "198.51.100.3", None), "too many handshakes");
    assert!(matches!(solo.node_up(4, 0)[0], Effect::PeerUp { .. }));
    solo.pass(Span::from_secs(5));
    assert_eq!(solo.inbound(5, "198.51.100.3", None), []);
    // Whoever is through, or gone, makes room.
    solo.input(Input::Disconnected { conn: ConnId(5) });
    for conn in 6..10 {
        solo.client_up(conn, "198.51.100.4");
        solo.node_up(conn + 100, 2);
        solo.pass(Span::from_secs(1));
    }
    assert_eq!(solo.network.stats().failures.disconnected, 1);
}

#[test]
fn a_forgotten_node_is_closed_and_not_dialled_again() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    solo.dial_up(1, 2);
    let effects = solo.input(Input::Forget { node });
    let why = "not wanted any more".to_owned();
    assert_eq!(effects, [Effect::Close { conn: ConnId(1), why }, Effect::PeerDown { node }]);
    assert_eq!(solo.network.deadline(), None);
    // While it was being dialled.
    let dial = dial_of(&solo.input(Input::Connect { node }));
    solo.input(Input::Forget { node });
    assert_eq!(solo.network.peer(&node), None);
    assert_closed(&solo.outbound(2, dial, solo.key(2)), "not wanted any more");
    // While it was waited for, in the middle of the handshake, and not at all.
    let dial = dial_of(&solo.input(Input::Connect { node }));
    solo.outbound(3, dial, solo.key(2));
    let effects = solo.input(Input::Forget { node });
    assert!(matches!(effects[..], [Effect::Close { conn: ConnId(3), .. }]), "{effects:?}");
    assert_eq!(solo.input(Input::Forget { node }), []);
    assert_eq!(solo.network.deadline(), None);
    // What the other side opened stays, as a guest.
    let guest = solo.node_id(0);
    solo.input(Input::Connect { node: guest });
    solo.node_up(4, 0);
    assert_eq!(solo.input(Input::Forget { node: guest }), []);
    assert!(!solo.network.peer(&guest).unwrap().wanted);
}

#[test]
fn a_node_that_misbehaved_is_kept_out_for_a_while() {
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    let why = "a receipt for an item that it does not have".to_owned();
    let effects = solo.input(Input::Misbehaved { node, why: why.clone() });
    let from = session_network::From::Node(node);
    assert_eq!(
        effects,
        [
            Effect::Close { conn: ConnId(1), why: why.clone() },
            Effect::Penalized { from, why },
            Effect::PeerDown { node },
        ]
    );
    assert_closed(&solo.inbound(2, "198.51.100.1", solo.key(0)), "kept out");
    solo.pass(Span::from_secs(15));
    assert_eq!(solo.network.peer(&node), None, "and then forgotten");
    assert!(matches!(solo.node_up(3, 0)[0], Effect::PeerUp { .. }));

    // One that we dial is not dialled before that.
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    solo.dial_up(1, 2);
    solo.input(Input::Misbehaved { node, why: String::new() });
    assert_eq!(solo.pass(Span::from_millis(14_999)), []);
    dial_of(&solo.pass(Span::from_millis(1)));
}

#[test]
fn only_a_connection_that_lasted_starts_the_backoff_anew() {
    for (lasted, attempts) in [(9, 5), (10, 1)] {
        let mut solo = Solo::client();
        let node = solo.node_id(2);
        let mut dial = dial_of(&solo.input(Input::Connect { node }));
        for _ in 0..4 {
            solo.input(Input::DialFailed { dial, why: "connection refused".into() });
            dial = dial_of(&solo.pass(Span::from_secs(2)));
        }
        let hello = sent(&solo.outbound(1, dial, solo.key(2)));
        let (welcome, _) = solo.welcome(&hello, 2, &EXPORTER);
        solo.shake(1, &welcome);
        solo.pass(Span::from_secs(lasted));
        solo.input(Input::Disconnected { conn: ConnId(1) });
        assert_eq!(solo.network.peer(&node).unwrap().attempts, attempts);
    }
}

#[test]
fn who_is_taken_out_of_the_network_is_disconnected() {
    let mut solo = Solo::node();
    let (lower, higher) = (solo.node_id(0), solo.node_id(2));
    solo.node_up(1, 0);
    solo.dial_up(2, 2);
    let left = members("test", &solo.keys[1..]);
    let effects = solo.input(Input::Membership(left));
    let why = "not a node of this network any more".to_owned();
    assert_eq!(
        effects,
        [Effect::Close { conn: ConnId(1), why }, Effect::PeerDown { node: lower }],
        "and nobody else"
    );
    assert!(solo.network.is_up(&higher));
    // It is a stranger now.
    let (hello, _) = solo.hello(Some(0));
    solo.inbound(3, "198.51.100.1", solo.key(0));
    assert_declined(&solo.shake(3, &hello), DeclineReason::NotRegistered);
    // A handshake under way ends too, and who comes back may connect.
    let all = members("test", &solo.keys);
    solo.input(Input::Membership(all.clone()));
    let (hello, _) = solo.hello(Some(0));
    solo.inbound(4, "198.51.100.1", solo.key(0));
    sent(&solo.shake(4, &hello));
    let effects = solo.input(Input::Membership(members("test", &solo.keys[1..])));
    assert_closed(&effects, "not a node of this network any more");
    solo.input(Input::Membership(all));
    assert!(solo.node_up(5, 0).contains(&Effect::PeerUp { node: lower, conn: ConnId(5) }));
}

#[test]
fn whoever_is_wanted_is_dialled_once_it_is_a_node() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let all = members("test", &solo.keys);
    solo.input(Input::Membership(members("test", &solo.keys[..2])));
    let effects = solo.input(Input::Connect { node });
    assert!(
        matches!(&effects[..], [Effect::Unreachable { why, .. }] if why.contains("not a node")),
        "{effects:?}"
    );
    solo.input(Input::Membership(all));
    dial_of(&solo.pass(Span::from_secs(1)));
}
