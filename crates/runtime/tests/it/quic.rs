//! What two honest endpoints see of each other.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use session_runtime::BindError;
use session_runtime::quic::{
    Class, CloseReason, ConnId, DialError, Event, FRAME_BYTES_MAX, Options, Quic, SendError,
};

use crate::harness::{Node, PATIENCE, connect, loopback, node};

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_see_key_channel_and_direction() {
    let (mut alice, mut bob) = (node(), node());
    let (out, inn) = connect(&mut alice, &mut bob).await;
    assert!(!out.inbound && inn.inbound);
    assert_eq!((out.dial, inn.dial), (Some(7), None));
    assert_eq!(out.peer_key.unwrap(), bob.public_key());
    assert_eq!(inn.peer_key.unwrap(), alice.public_key());
    assert_eq!(out.exporter, inn.exporter);
    let (second, _) = connect(&mut alice, &mut bob).await;
    assert_ne!(second.exporter, out.exporter, "each channel has its own binding");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_travel_both_ways_in_every_class() {
    let (mut alice, mut bob) = (node(), node());
    let (out, inn) = connect(&mut alice, &mut bob).await;
    for class in [Class::Interactive, Class::Bulk, Class::Datagram] {
        alice.quic.send(out.conn, class, b"to bob".to_vec()).unwrap();
        assert_eq!(bob.frame().await, (inn.conn, class, b"to bob".to_vec()));
        bob.quic.send(inn.conn, class, b"to alice".to_vec()).unwrap();
        assert_eq!(alice.frame().await, (out.conn, class, b"to alice".to_vec()));
    }
    let stats = alice.quic.stats();
    assert_eq!((stats.frames_out, stats.frames_in, stats.bytes_out), (3, 3, 18));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_size_stay_whole_and_in_order() {
    let (mut alice, mut bob) = (node(), node());
    let (out, _) = connect(&mut alice, &mut bob).await;
    let sizes = [0, 1, 3, 4, 5, 1199, 16 << 10, (16 << 10) + 1, 65_537, 300_000, FRAME_BYTES_MAX];
    for (nth, &size) in sizes.iter().enumerate() {
        alice.quic.send(out.conn, Class::Bulk, vec![nth as u8; size]).unwrap();
    }
    for (nth, &size) in sizes.iter().enumerate() {
        let (_, class, body) = bob.frame().await;
        assert_eq!((class, body.len()), (Class::Bulk, size));
        assert!(body.iter().all(|&byte| byte == nth as u8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_key_is_served() {
    let (mut client, mut server) = (Node::client(), node());
    let (out, inn) = connect(&mut client, &mut server).await;
    assert!(inn.peer_key.is_none());
    assert_eq!(out.exporter, inn.exporter);
    client.quic.send(out.conn, Class::Interactive, b"question".to_vec()).unwrap();
    assert_eq!(server.frame().await.2, b"question");
    server.quic.send(inn.conn, Class::Interactive, b"answer".to_vec()).unwrap();
    assert_eq!(client.frame().await.2, b"answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_than_the_expected_one_is_refused() {
    let (mut alice, bob, carol) = (node(), node(), node());
    alice.quic.dial(1, bob.address(), Some(carol.public_key())).unwrap();
    assert_eq!(alice.dial_failed().await, DialError::WrongKey);
    alice.quic.dial(2, bob.address(), None).unwrap();
    assert_eq!(alice.connected().await.peer_key.unwrap(), bob.public_key());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_times_out() {
    let silent = UdpSocket::bind(loopback()).unwrap();
    let mut options = Options::new(loopback());
    options.handshake_timeout = Duration::from_millis(300);
    let mut alice = Node::new(options);
    alice.quic.dial(1, silent.local_addr().unwrap(), None).unwrap();
    assert_eq!(alice.dial_failed().await, DialError::Timeout(Duration::from_millis(300)));
    assert_eq!(alice.quic.stats().outbound, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named() {
    let bob = node();
    let options = Options::new(bob.address());
    let decode = Arc::new(|_, _, body: Vec<u8>| body);
    let error = Quic::bind(options, None, decode).err().unwrap();
    assert!(matches!(error, BindError::InUse(_)));
    assert_eq!(error.to_string(), format!("address {} is in use", bob.address()));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_per_address_and_for_dials_hold() {
    let mut options = Options::new(loopback());
    options.inbound_per_ip_max = 2;
    let mut bob = Node::new(options);
    let mut options = Options::new(loopback());
    options.outbound_max = 3;
    let mut alice = Node::new(options);
    connect(&mut alice, &mut bob).await;
    connect(&mut alice, &mut bob).await;
    alice.quic.dial(3, bob.address(), None).unwrap();
    assert_eq!(alice.dial_failed().await, DialError::Refused);
    assert_eq!(bob.quic.stats().refused, 1);
    assert_eq!(bob.quic.stats().inbound, 2);
    let silent = UdpSocket::bind(loopback()).unwrap();
    alice.quic.dial(4, silent.local_addr().unwrap(), None).unwrap();
    let refused = alice.quic.dial(5, bob.address(), None);
    assert_eq!(refused, Err(DialError::TooMany { limit: 3 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_dialers_prove_their_address_first() {
    let mut options = Options::new(loopback());
    options.unproven_handshakes_max = 0; // every dialer gets a Retry
    let mut bob = Node::new(options);
    let mut alice = node();
    let (out, inn) = connect(&mut alice, &mut bob).await;
    assert_eq!(out.exporter, inn.exporter);
}

#[tokio::test(flavor = "multi_thread")]
async fn close_names_its_reason_to_the_peer() {
    let (mut alice, mut bob) = (node(), node());
    let (out, _) = connect(&mut alice, &mut bob).await;
    settled(&mut alice, &mut bob, out.conn).await; // what is on its way can hold a reason back
    alice.quic.close(out.conn, "wrong network");
    assert_eq!(alice.disconnected().await, CloseReason::Asked("wrong network".into()));
    let expected = CloseReason::ByPeer { code: 1, reason: "wrong network".into() };
    assert_eq!(bob.disconnected().await, expected);
    let late = alice.quic.send(out.conn, Class::Bulk, vec![1]);
    assert_eq!(late, Err(SendError::NotConnected(out.conn)));
}

/// Sends much, and waits until the peer has acknowledged it.
async fn settled(alice: &mut Node, bob: &mut Node, conn: ConnId) {
    alice.quic.send(conn, Class::Bulk, vec![1; FRAME_BYTES_MAX]).unwrap();
    bob.frame().await;
    let all = async {
        while alice.quic.waiting(conn, Class::Bulk) != Some(0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_can_see_what_waits_and_how_far_the_peer_is() {
    let (mut alice, mut bob) = (node(), node());
    let (out, _) = connect(&mut alice, &mut bob).await;
    settled(&mut alice, &mut bob, out.conn).await;
    assert!(alice.quic.rtt(out.conn).unwrap() < Duration::from_secs(1));
    alice.quic.close(out.conn, "done");
    alice.disconnected().await;
    assert_eq!(alice.quic.waiting(out.conn, Class::Bulk), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_delivered_before_a_finish() {
    let (mut alice, mut bob) = (node(), node());
    let (out, _) = connect(&mut alice, &mut bob).await;
    for _ in 0..7 {
        alice.quic.send(out.conn, Class::Bulk, vec![1; FRAME_BYTES_MAX]).unwrap();
    }
    alice.quic.send(out.conn, Class::Interactive, b"refused: no".to_vec()).unwrap();
    alice.quic.finish(out.conn, "bye", 2 * PATIENCE);
    let mut seen = [0; 2];
    loop {
        match bob.event().await {
            Event::Frame { class, .. } => seen[usize::from(class == Class::Bulk)] += 1,
            Event::Disconnected { .. } => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(seen, [1, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_delivers_what_waits_and_ends_in_time() {
    let (mut alice, mut bob) = (node(), node());
    let (out, _) = connect(&mut alice, &mut bob).await;
    for _ in 0..7 {
        alice.quic.send(out.conn, Class::Bulk, vec![1; FRAME_BYTES_MAX]).unwrap();
    }
    let reading = tokio::spawn(async move {
        let mut frames = 0;
        while let Event::Frame { .. } = bob.event().await {
            frames += 1;
        }
        frames
    });
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline * 2, alice.quic.shutdown(deadline)).await.unwrap();
    assert_eq!(reading.await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_handle_closes_everything() {
    let (mut alice, mut bob) = (node(), node());
    connect(&mut alice, &mut bob).await;
    drop(alice);
    let expected = CloseReason::ByPeer { code: 2, reason: "shutting down".into() };
    assert_eq!(bob.disconnected().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_above_one_packet_are_refused_with_the_limit() {
    let (mut alice, mut bob) = (node(), node());
    let (out, _) = connect(&mut alice, &mut bob).await;
    match alice.quic.send(out.conn, Class::Datagram, vec![0; 100_000]) {
        Err(SendError::TooLarge { size: 100_000, limit }) => assert!((1000..9000).contains(&limit)),
        other => panic!("unexpected {other:?}"),
    }
    let oversize = alice.quic.send(out.conn, Class::Bulk, vec![0; FRAME_BYTES_MAX + 1]);
    let size = FRAME_BYTES_MAX + 1;
    assert_eq!(oversize, Err(SendError::TooLarge { size, limit: FRAME_BYTES_MAX }));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_carry_many_frames() {
    let (mut alice, mut bob) = (node(), node());
    let mut conns = Vec::new();
    for _ in 0..8 {
        conns.push(connect(&mut alice, &mut bob).await.0.conn);
    }
    for nth in 0..500_u32 {
        for &conn in &conns {
            alice.quic.send(conn, Class::Interactive, nth.to_be_bytes().to_vec()).unwrap();
        }
    }
    let mut next = std::collections::BTreeMap::new();
    for _ in 0..500 * conns.len() {
        let (conn, _, body) = bob.frame().await;
        let expected = next.entry(conn).or_insert(0_u32);
        assert_eq!(body, expected.to_be_bytes());
        *expected += 1;
    }
    assert_eq!(next.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([500]));
}
