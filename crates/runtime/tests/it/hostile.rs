//! Peers that are authenticated and misbehave, and strangers on the port.

use std::net::UdpSocket;
use std::time::Duration;

use quinn::{Connection, ConnectionError, SendStream};
use session_runtime::quic::{
    BULK_BYTES_MAX, Class, CloseReason, FRAME_BYTES_MAX, Options, SendError,
};
use tokio::time::timeout;

use crate::classical::stranger;
use crate::harness::{Connected, Node, PATIENCE, connect, loopback, node};

/// Opens a stream with `bytes` on it.
async fn opened(connection: &Connection, bytes: &[u8]) -> SendStream {
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    send
}

/// The code and the words with which our endpoint closed.
async fn verdict(connection: &Connection) -> (u64, String) {
    match timeout(PATIENCE, connection.closed()).await.expect("a close in time") {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner(), String::from_utf8(close.reason.to_vec()).unwrap())
        }
        other => panic!("expected a close with a reason, got {other}"),
    }
}

/// Shows that the endpoint still serves others.
async fn lives(server: &mut Node) {
    let mut friend = node();
    let (out, _) = connect(&mut friend, server).await;
    friend.quic.send(out.conn, Class::Bulk, b"still there?".to_vec()).unwrap();
    assert_eq!(server.frame().await.2, b"still there?");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_above_the_limit_close_with_the_reason() {
    for size in [FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut server = node();
        let (_client, connection) = stranger(&server).await;
        server.connected().await;
        let mut bytes = vec![1];
        bytes.extend_from_slice(&size.to_be_bytes());
        let _stream = opened(&connection, &bytes).await;
        assert_eq!(server.disconnected().await, CloseReason::FrameTooLarge { size });
        let reason = format!("frame too large: {size}, limit 1048576");
        assert_eq!(verdict(&connection).await, (3, reason));
        lives(&mut server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_repeated_stream_headers_close() {
    for headers in [&[9_u8][..], &[2, 2][..]] {
        let mut server = node();
        let (_client, connection) = stranger(&server).await;
        server.connected().await;
        let mut streams = Vec::new();
        for header in headers {
            streams.push(opened(&connection, &[*header]).await);
        }
        let last = *headers.last().unwrap();
        assert_eq!(server.disconnected().await, CloseReason::StreamHeader(last));
        assert_eq!(verdict(&connection).await.0, 4);
        lives(&mut server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_stream_and_one_way_streams_are_not_granted() {
    let mut server = node();
    let (_client, connection) = stranger(&server).await;
    server.connected().await;
    let _streams = [opened(&connection, &[1]).await, opened(&connection, &[2]).await];
    let wait = Duration::from_millis(200);
    assert!(timeout(wait, connection.open_bi()).await.is_err());
    assert!(timeout(wait, connection.open_uni()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_frame_closes() {
    let mut server = node();
    let (_client, connection) = stranger(&server).await;
    server.connected().await;
    let mut stream = opened(&connection, &[1, 0, 0, 0, 9, b'h', b'a']).await;
    stream.finish().unwrap();
    assert_eq!(server.disconnected().await, CloseReason::StreamBroken);
    assert_eq!(verdict(&connection).await.0, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_ends_both_streams_is_let_go() {
    let mut server = node();
    let (_client, connection) = stranger(&server).await;
    let conn = server.connected().await.conn;
    for header in [1, 2] {
        let mut stream = opened(&connection, &[header, 0, 0, 0, 1, b'x']).await;
        stream.finish().unwrap();
        assert_eq!(server.frame().await.2, b"x");
    }
    assert_eq!(server.disconnected().await, CloseReason::Finished);
    assert_eq!(verdict(&connection).await, (0, "finished".into()));
    let late = server.quic.send(conn, Class::Bulk, vec![1]);
    assert_eq!(late, Err(SendError::NotConnected(conn)));
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_and_saying_nothing_is_not_a_way_to_stay() {
    let within = Duration::from_millis(300);
    let mut options = Options::new(loopback());
    options.first_frame_timeout = Some(within);
    let mut server = Node::new(options);
    let (_client, connection) = stranger(&server).await;
    server.connected().await;
    let _half_a_frame = opened(&connection, &[1, 0, 0, 0, 200, b'h']).await;
    assert_eq!(server.disconnected().await, CloseReason::NoFirstFrame { within });
    assert_eq!(verdict(&connection).await.0, 6);
    assert_eq!(server.quic.stats().inbound, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_drips_is_cut_off() {
    let within = Duration::from_millis(300);
    let mut options = Options::new(loopback());
    options.frame_timeout = within;
    let mut server = Node::new(options);
    let (_client, connection) = stranger(&server).await;
    server.connected().await;
    let mut stream = opened(&connection, &[1, 0, 0, 0, 1, b'x', 0, 1]).await;
    assert_eq!(server.frame().await.2, b"x");
    let dripping = tokio::spawn(async move {
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(server.disconnected().await, CloseReason::FrameStalled { within });
    assert_eq!(verdict(&connection).await.0, 7);
    dripping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_disturbs_nobody() {
    let mut server = node();
    let noise = UdpSocket::bind(loopback()).unwrap();
    let mut state = 0x9e37_79b9_u32;
    for size in (0..2000).map(|n| n % 1400) {
        let packet: Vec<u8> = (0..size)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        noise.send_to(&packet, server.address()).unwrap();
    }
    lives(&mut server).await;
}

/// Returns a writer, and a reader that takes in one frame until it is asked for events.
async fn slow(options: Options) -> (Node, Node, Connected) {
    let mut reader = Node::new(Options { received_bytes_max: FRAME_BYTES_MAX, ..options });
    let mut writer = node();
    let (out, _) = connect(&mut writer, &mut reader).await;
    (writer, reader, out)
}

/// The peer's application never asks for events, so its endpoint stops reading.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_cut_off_and_memory_stays_bounded() {
    let (mut writer, mut reader, out) = slow(Options::new(loopback())).await;
    let frame = bytes::Bytes::from(vec![0; 256 << 10]);
    let mut sent = 0;
    let refused = loop {
        match writer.quic.send(out.conn, Class::Bulk, frame.clone()) {
            Ok(()) => sent += frame.len(),
            Err(error) => break error,
        }
        assert!(writer.quic.stats().queued_bytes <= BULK_BYTES_MAX);
        assert!(sent < 256 << 20, "the queue never filled up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(matches!(refused, SendError::QueueFull { class: Class::Bulk, .. }), "{refused}");
    assert!(matches!(writer.disconnected().await, CloseReason::QueueFull { .. }));
    // The queue, both windows, and what the reader accepted: nothing else can hold bytes.
    assert!(sent <= BULK_BYTES_MAX + (4 << 20) + (4 << 20) + 3 * FRAME_BYTES_MAX, "{sent}");
    assert_eq!(reader.disconnected().await.code(), 0);
    assert_eq!(writer.quic.stats().queued_bytes, 0);
}

/// What may be lost is, and the slow reader stays.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_may_be_lost_cut_nobody_off() {
    let (writer, _reader, out) = slow(Options::new(loopback())).await;
    let frame = bytes::Bytes::from(vec![0; 256 << 10]);
    let mut dropped = 0;
    for _ in 0..200 {
        match writer.quic.offer(out.conn, Class::Bulk, frame.clone()) {
            Ok(()) => {}
            Err(SendError::QueueFull { class: Class::Bulk, waiting }) => {
                assert!(waiting <= BULK_BYTES_MAX / 2, "{waiting}");
                dropped += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(writer.quic.stats().queued_bytes <= BULK_BYTES_MAX / 2);
    }
    assert!(dropped > 100, "{dropped} of 50 MB");
    // There is room left for what may not be lost.
    writer.quic.send(out.conn, Class::Bulk, vec![1; FRAME_BYTES_MAX]).unwrap();
    assert!(writer.quic.waiting(out.conn, Class::Bulk).is_some());
}

/// A reader that is merely slow loses nothing: the writer is held back by the windows.
#[tokio::test(flavor = "multi_thread")]
async fn back_pressure_loses_no_stream_frame() {
    let (writer, mut reader, out) =
        slow(Options { events_max: 1, ..Options::new(loopback()) }).await;
    let frames = BULK_BYTES_MAX / FRAME_BYTES_MAX;
    for nth in 0..frames {
        writer.quic.send(out.conn, Class::Bulk, vec![nth as u8; FRAME_BYTES_MAX]).unwrap();
    }
    for nth in 0..frames {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (_, _, body) = reader.frame().await;
        assert_eq!((body.len(), body[0]), (FRAME_BYTES_MAX, nth as u8));
    }
}
