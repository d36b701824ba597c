//! Opening a connection, and everything that must not open one.

use std::net::IpAddr;

use session_core::{Digest, Encode as _, NodeId, Span};
use session_network::{Class, ConnId, Effect, From, Input, Limits, PeerState, Role};
use session_protocol::Kind;
use session_protocol::peer::{DeclineReason, Handshake, Heartbeat, Ping};

use crate::by_hand::{EXPORTER, ME, Solo, assert_closed, assert_declined, proof, sent, set_proof};
use crate::world::{World, real, request};

const STRANGER: &str = "198.51.100.1";

fn ups(world: &World) -> Vec<(usize, NodeId)> {
    let up = |(_, host, effect): &(_, usize, Effect)| match effect {
        Effect::PeerUp { node, .. } => Some((*host, *node)),
        _ => None,
    };
    world.log.iter().filter_map(up).collect()
}

fn node_meets_node(mut world: World) {
    world.mesh(2);
    world.run(Span::from_secs(1));
    let (low, high) = (world.id(0), world.id(1));
    let mut seen = ups(&world);
    seen.sort_unstable();
    assert_eq!(seen, [(0, high), (1, low)]);
    // Two nodes want each other and one dials: the one with the lower id.
    assert_eq!(world.network(0).stats().dials, 1);
    assert_eq!(world.network(1).stats().dials, 0);
    for (host, node) in [(0, high), (1, low)] {
        let peer = world.network(host).peer(&node).unwrap();
        assert_eq!(peer.state, PeerState::Up);
        assert_eq!(peer.latency_us, Some(20_000));
        assert_eq!(world.network(host).stats().handshakes, 1);
        assert_eq!(world.network(host).connections(), 1);
    }
    let message = request(9);
    // A node has no handler for a request from a node: counted, not handed up.
    assert!(world.send(0, From::Node(high), Class::Bulk, Kind::Request, &message));
    world.run(Span::from_secs(1));
    assert_eq!(world.network(1).stats().refused.unhandled, 1);
}

#[test]
fn node_meets_node_with_fake_keys() {
    node_meets_node(World::new(1, 2, 0));
}

#[test]
fn node_meets_node_with_real_keys() {
    node_meets_node(World::real(1, 2, 0));
}

fn client_meets_node(mut world: World) {
    world.connect(1, 0);
    world.run(Span::from_secs(1));
    assert_eq!(ups(&world), [(1, world.id(0))]);
    let Some(&(_, 0, Effect::ClientUp { conn, remote })) =
        world.log.iter().find(|(_, _, effect)| matches!(effect, Effect::ClientUp { .. }))
    else {
        panic!("{:?}", world.log)
    };
    assert_eq!(remote, "192.0.2.1".parse::<IpAddr>().unwrap());
    assert_eq!(world.network(0).clients(), 1);
    assert_eq!(world.network(0).peers().count(), 0, "a client is not a peer");

    assert!(world.send(
        1,
        From::Node(world.id(0)),
        Class::Interactive,
        Kind::Request,
        &request(77)
    ));
    world.run(Span::from_secs(1));
    match world.log.last() {
        Some((_, 0, Effect::Message { from, .. })) => assert_eq!(*from, From::Client(conn)),
        other => panic!("{other:?}"),
    }
    // The node can answer over the same connection, and only over that one.
    let pong = session_protocol::peer::Pong { nonce: 1 };
    assert!(world.send(0, From::Client(conn), Class::Interactive, Kind::Pong, &pong));
    assert!(!world.send(0, From::Client(ConnId(999)), Class::Interactive, Kind::Pong, &pong));
    assert!(!world.send(0, From::Node(NodeId::from([1; 32])), Class::Bulk, Kind::Pong, &pong));
}

#[test]
fn client_meets_node_with_fake_keys() {
    client_meets_node(World::new(2, 1, 1));
}

#[test]
fn client_meets_node_with_real_keys() {
    client_meets_node(World::real(2, 1, 1));
}

#[test]
fn a_node_written_by_hand_is_let_in() {
    for make in [crate::world::fake, real] {
        let mut solo =
            Solo::with(Role::Node { listen: Default::default() }, Limits::default(), make);
        let effects = solo.node_up(1, 0);
        let node = solo.node_id(0);
        assert_eq!(effects[0], Effect::PeerUp { node, conn: ConnId(1) });
        // The word that the dialer waits for is reliable.
        let reliable = effects.iter().any(|effect| {
            matches!(effect, Effect::Send { class: Class::Interactive, frame, .. }
                if frame[1] == Kind::Ping.code())
        });
        assert!(reliable, "{effects:?}");
        assert_eq!(solo.network.peer(&node).unwrap().height, 3);
    }
}

#[test]
fn the_acceptor_proves_its_key_to_a_client() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, None);
    let (hello, secret) = solo.hello(None);
    let effects = solo.shake(1, &hello);
    let mut welcome = sent(&effects);
    let Handshake::Welcome { node, challenge: None, proof: got, .. } = welcome else {
        panic!("{welcome:?}")
    };
    assert_eq!(node, solo.node_id(ME));
    set_proof(&mut welcome, [0; 32]);
    assert_eq!(got, proof(&secret, &EXPORTER, b"acceptor", &hello, &welcome));
    assert!(matches!(effects[1], Effect::ClientUp { .. }));
}

#[test]
fn a_node_that_we_dial_is_up_only_after_its_first_word() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    let hello = sent(&solo.outbound(1, dial, solo.key(2)));
    let (welcome, finish) = solo.welcome(&hello, 2, &EXPORTER);
    let effects = solo.shake(1, &welcome);
    assert_eq!(sent(&effects), finish);
    assert_eq!(effects.len(), 1);
    // Nothing may overtake the finish: messages are not sent yet.
    let from = From::Node(node);
    solo.call(|network, cx| {
        assert!(!network.send_to(cx, from, Class::Bulk, Kind::Ping, &Ping { nonce: 0 }));
    });
    // A datagram that overtakes everything else is a word, too.
    let beat = Heartbeat { time: solo.now, writable: false, items: 12 };
    let effects = solo.frame(1, Kind::Heartbeat, &beat);
    assert_eq!(effects[0], Effect::PeerUp { node, conn: ConnId(1) });
    let peer = solo.network.peer(&node).unwrap();
    assert_eq!((peer.writable, peer.items, peer.height), (false, 12, 5));
}

#[test]
fn wrong_network_is_declined() {
    for from in [None, Some(0)] {
        let mut solo = Solo::node();
        solo.inbound(1, STRANGER, from.and_then(|number| solo.key(number)));
        let (mut hello, _) = solo.hello(from);
        if let Handshake::Hello { network, .. } = &mut hello {
            *network = Digest::from([9; 32]);
        }
        assert_declined(&solo.shake(1, &hello), DeclineReason::WrongNetwork);
        assert_eq!(solo.network.stats().failures.wrong_network, 1);
        assert_eq!(solo.network.connections(), 0);
    }
}

#[test]
fn a_key_that_is_not_the_registered_one_is_declined() {
    // No key at all, another node's key, a stranger's key.
    let stranger = real(55).public().dsa().clone();
    for key in [None, Solo::node().key(2), Some(stranger)] {
        let mut solo = Solo::node();
        solo.inbound(1, STRANGER, key);
        let (hello, _) = solo.hello(Some(0));
        assert_declined(&solo.shake(1, &hello), DeclineReason::NotRegistered);
        assert_eq!(solo.network.stats().failures.not_registered, 1);
    }
}

#[test]
fn a_node_that_is_not_registered_is_declined() {
    let mut solo = Solo::node();
    let stranger = real(55);
    solo.inbound(1, STRANGER, Some(stranger.public().dsa().clone()));
    let (mut hello, _) = solo.hello(Some(0));
    if let Handshake::Hello { node, .. } = &mut hello {
        *node = Some(stranger.public().node_id());
    }
    assert_declined(&solo.shake(1, &hello), DeclineReason::NotRegistered);
}

#[test]
fn our_own_id_is_declined() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, solo.key(ME));
    let (hello, _) = solo.hello(Some(ME));
    assert_declined(&solo.shake(1, &hello), DeclineReason::Duplicate);
}

#[test]
fn a_dialer_without_the_registered_encryption_key_is_declined() {
    for make in [crate::world::fake, real] {
        let role = Role::Node { listen: Default::default() };
        let mut solo = Solo::with(role, Limits::default(), make);
        solo.inbound(1, STRANGER, solo.key(0));
        let (hello, _) = solo.hello(Some(0));
        let welcome = sent(&solo.shake(1, &hello));
        // It stole node 0's signing key, but opens the challenge with its own encryption key.
        let finish = solo.finish(&hello, &welcome, 2);
        assert_declined(&solo.shake(1, &finish), DeclineReason::BadProof);
        assert_eq!(solo.network.stats().failures.bad_proof, 1);
        assert_eq!(solo.network.peers().count(), 0);
    }
}

#[test]
fn a_finish_of_another_channel_is_declined() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, solo.key(0));
    let (hello, _) = solo.hello(Some(0));
    let welcome = sent(&solo.shake(1, &hello));
    let Handshake::Welcome { challenge: Some(challenge), .. } = &welcome else { panic!() };
    // Somebody in the middle relays between two channels: each has its own exporter value.
    let secret = solo.keys[0].decapsulate(challenge);
    let relayed = proof(&secret, &[0x66; 32], b"dialer", &hello, &welcome);
    let effects = solo.shake(1, &Handshake::Finish { proof: relayed });
    assert_declined(&effects, DeclineReason::BadProof);
}

#[test]
fn a_welcome_of_another_channel_is_refused() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    let hello = sent(&solo.outbound(1, dial, solo.key(2)));
    let (relayed, _) = solo.welcome(&hello, 2, &[0x66; 32]);
    let effects = solo.shake(1, &relayed);
    assert_closed(&effects, "proof of the encryption key does not fit");
    assert!(matches!(&effects[1], Effect::Unreachable { node: id, .. } if *id == node));
    assert_eq!(solo.network.stats().failures.bad_proof, 1);
    assert_eq!(solo.network.peer(&node).unwrap().state, PeerState::BackingOff);
}

#[test]
fn an_acceptor_without_the_registered_encryption_key_is_refused() {
    for make in [crate::world::fake, real] {
        let mut solo = Solo::with(Role::Client, Limits::default(), make);
        let node = solo.node_id(2);
        let effects = solo.input(Input::Connect { node });
        let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
        let hello = sent(&solo.outbound(1, dial, solo.key(2)));
        // Node 0 answers for node 2: it cannot open the challenge.
        let (mut welcome, _) = solo.welcome(&hello, 0, &EXPORTER);
        if let Handshake::Welcome { node: named, .. } = &mut welcome {
            *named = node;
        }
        assert_closed(&solo.shake(1, &welcome), "proof of the encryption key");
    }
}

#[test]
fn an_acceptor_that_calls_itself_otherwise_is_refused() {
    let mut solo = Solo::client();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    let hello = sent(&solo.outbound(1, dial, solo.key(2)));
    let (welcome, _) = solo.welcome(&hello, 0, &EXPORTER);
    assert_closed(&solo.shake(1, &welcome), "not registered");
}

#[test]
fn every_bit_of_the_welcome_counts() {
    for place in [1, 40, 60, 1160, 1170, 1200, 1205] {
        let mut solo = Solo::node();
        let node = solo.node_id(2);
        let effects = solo.input(Input::Connect { node });
        let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
        let hello = sent(&solo.outbound(1, dial, solo.key(2)));
        let (welcome, _) = solo.welcome(&hello, 2, &EXPORTER);
        let mut body = session_protocol::Frame::encode(Kind::Handshake, &welcome);
        body[2 + place] ^= 1;
        let effects = solo.body(1, Class::Interactive, &body);
        assert!(matches!(effects[0], Effect::Close { .. }), "byte {place}: {effects:?}");
        assert!(!solo.network.is_up(&node));
    }
}

#[test]
fn the_acceptors_proof_is_no_finish() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, solo.key(0));
    let (hello, _) = solo.hello(Some(0));
    let Handshake::Welcome { proof, .. } = sent(&solo.shake(1, &hello)) else { panic!() };
    assert_declined(&solo.shake(1, &Handshake::Finish { proof }), DeclineReason::BadProof);
}

#[test]
fn another_key_than_the_dialled_one_is_refused() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, ref key, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(Some(key), solo.key(2).as_ref());
    assert_closed(&solo.outbound(1, dial, solo.key(0)), "not registered with this key");
    assert_eq!(solo.network.connections(), 0);
}

#[test]
fn frames_out_of_order_are_declined() {
    let finish = Handshake::Finish { proof: [0; 32] };
    let beat = Heartbeat { time: session_core::Time::ZERO, writable: true, items: 0 };

    // Before the hello.
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, None);
    assert_declined(&solo.shake(1, &finish), DeclineReason::OutOfOrder);
    solo.inbound(2, STRANGER, None);
    assert_declined(&solo.frame(2, Kind::Request, &request(1)), DeclineReason::OutOfOrder);
    solo.inbound(3, STRANGER, None);
    assert_declined(&solo.frame(3, Kind::Heartbeat, &beat), DeclineReason::OutOfOrder);

    // A second hello, before and after the finish.
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, solo.key(0));
    let (hello, _) = solo.hello(Some(0));
    solo.shake(1, &hello);
    assert_declined(&solo.shake(1, &hello), DeclineReason::OutOfOrder);
    solo.node_up(2, 0);
    let effects = solo.shake(2, &hello);
    assert_declined(&effects, DeclineReason::OutOfOrder);
    assert!(effects.contains(&Effect::PeerDown { node: solo.node_id(0) }));
    solo.client_up(3, STRANGER);
    let effects = solo.shake(3, &hello);
    assert_declined(&effects, DeclineReason::OutOfOrder);
    assert!(effects.contains(&Effect::ClientDown { conn: ConnId(3) }));
    assert_eq!(solo.network.stats().failures.out_of_order, 3);

    // A node that says hello to whoever dialled it.
    let mut solo = Solo::node();
    let effects = solo.input(Input::Connect { node: solo.node_id(2) });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    solo.outbound(1, dial, solo.key(2));
    assert_closed(&solo.shake(1, &hello), "out of order");
}

#[test]
fn a_second_connection_of_a_node_is_a_duplicate_or_a_replacement() {
    // The node dialled, and dials again at once.
    let mut solo = Solo::node();
    let node = solo.node_id(0);
    solo.node_up(1, 0);
    solo.inbound(2, STRANGER, solo.key(0));
    let (hello, _) = solo.hello(Some(0));
    assert_declined(&solo.shake(2, &hello), DeclineReason::Duplicate);
    assert_eq!(solo.network.peer(&node).unwrap().conn, Some(ConnId(1)));
    // Later it was probably restarted: the new connection takes over.
    solo.pass(Span::from_secs(2));
    let effects = solo.node_up(3, 0);
    let events: Vec<_> =
        effects.iter().filter(|effect| !matches!(effect, Effect::Send { .. })).collect();
    let why = "replaced by a newer connection".to_owned();
    assert_eq!(
        events,
        [
            &Effect::Close { conn: ConnId(1), why },
            &Effect::PeerDown { node },
            &Effect::PeerUp { node, conn: ConnId(3) },
        ]
    );
    assert_eq!(solo.network.stats().replaced, 1);

    // It takes over from one that we dialled, too, but not from one that is being proven.
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    let ours = sent(&solo.outbound(1, dial, solo.key(2)));
    solo.inbound(2, STRANGER, solo.key(2));
    let (hello, _) = solo.hello(Some(2));
    assert_declined(&solo.shake(2, &hello), DeclineReason::Duplicate);
    let (welcome, _) = solo.welcome(&ours, 2, &EXPORTER);
    solo.shake(1, &welcome);
    solo.frame(1, Kind::Ping, &Ping { nonce: 1 });
    assert_eq!(solo.network.peer(&node).unwrap().conn, Some(ConnId(1)));
    solo.pass(Span::from_secs(2));
    solo.node_up(3, 2);
    assert_eq!(solo.network.peer(&node).unwrap().conn, Some(ConnId(3)));
    assert_eq!(solo.network.connections(), 1);
}

#[test]
fn two_that_dial_each_other_keep_one_connection() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    // Theirs is through before our dial is answered.
    assert!(matches!(solo.node_up(1, 2)[0], Effect::PeerUp { .. }));
    assert_closed(&solo.outbound(2, dial, solo.key(2)), "not wanted any more");
    assert_eq!(solo.network.peer(&node).unwrap().conn, Some(ConnId(1)));
    assert!(solo.network.peer(&node).unwrap().wanted);
}

#[test]
fn a_handshake_has_five_seconds() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, None);
    assert_eq!(solo.pass(Span::from_millis(4_999)), []);
    // Trickling bytes gains nothing.
    assert_eq!(solo.frame(1, Kind::Ping, &Ping { nonce: 1 }), []);
    assert_closed(&solo.pass(Span::from_millis(1)), "handshake not through");
    assert_eq!(solo.network.stats().failures.timeout, 1);

    // Without the finish, too.
    solo.inbound(2, STRANGER, solo.key(0));
    let (hello, _) = solo.hello(Some(0));
    solo.shake(2, &hello);
    assert_closed(&solo.pass(Span::from_secs(5)), "handshake not through");

    // As dialer.
    let effects = solo.input(Input::Connect { node: solo.node_id(2) });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    solo.outbound(3, dial, solo.key(2));
    assert_closed(&solo.pass(Span::from_secs(5)), "handshake not through");
    assert_eq!(solo.network.stats().failures.timeout, 3);
}

#[test]
fn pings_before_the_handshake_are_few_and_unanswered() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, None);
    for nonce in 0..8 {
        assert_eq!(solo.frame(1, Kind::Ping, &Ping { nonce }), []);
    }
    let effects = solo.frame(1, Kind::Ping, &Ping { nonce: 8 });
    assert_declined(&effects, DeclineReason::OutOfOrder);
}

#[test]
fn a_declined_dialer_tries_again_later() {
    let mut solo = Solo::node();
    let node = solo.node_id(2);
    let effects = solo.input(Input::Connect { node });
    let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
    solo.outbound(1, dial, solo.key(2));
    let effects = solo.shake(1, &Handshake::Declined { reason: DeclineReason::TooManyPeers });
    assert_closed(&effects, "declined: maximum peers reached");
    assert_eq!(solo.network.stats().failures.declined, 1);
    let effects = solo.pass(Span::from_millis(200));
    assert!(matches!(effects[..], [Effect::Dial { .. }]), "{effects:?}");
}

#[test]
fn clients_accept_nothing() {
    let mut solo = Solo::client();
    assert_closed(&solo.inbound(1, STRANGER, None), "a client accepts no connections");
}

#[test]
fn a_registered_key_may_come_as_a_client() {
    let mut solo = Solo::node();
    solo.inbound(1, STRANGER, solo.key(0));
    let (hello, _) = solo.hello(None);
    let effects = solo.shake(1, &hello);
    assert!(matches!(effects[1], Effect::ClientUp { .. }), "{effects:?}");
    // Whoever came as a client gets no rights of a node.
    let beat = Heartbeat { time: solo.now, writable: true, items: 0 };
    solo.frame(1, Kind::Heartbeat, &beat);
    assert_eq!(solo.network.stats().refused.unhandled, 1);
    assert_eq!(beat.to_bytes().len(), 17);
}
