//! WebSockets between our client and our server, and with peers that misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use session_runtime::http::websocket::{ConnectError, Options, WebSocket, connect};
use session_runtime::http::{Limits, Request, Response, Server, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{PATIENCE, loopback};

const HANDSHAKE: &[u8] = b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A server whose sessions say how they ended.
struct Ground {
    server: Server,
    ends: mpsc::Receiver<&'static str>,
}

impl Ground {
    async fn new(limits: Limits) -> Self {
        let (ended, ends) = mpsc::channel(64);
        let handler = move |request| {
            let ended = ended.clone();
            async move { answer(&request, ended) }
        };
        Self { server: serve(loopback(), handler, limits).await.unwrap(), ends }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    async fn connect(&self, path: &str) -> Result<WebSocket, ConnectError> {
        connect(&format!("ws://{}{path}", self.address()), Options::default()).await
    }

    async fn raw(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(HANDSHAKE).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        assert!(!String::from_utf8_lossy(&head).contains("access-control"));
        stream
    }

    async fn ended(&mut self) -> &'static str {
        timeout(PATIENCE, self.ends.recv()).await.expect("an end in time").expect("a server")
    }
}

fn answer(request: &Request, ended: mpsc::Sender<&'static str>) -> Response {
    match request.path.as_str() {
        "/echo" => Response::websocket(request, async move |mut socket: WebSocket| {
            while let Some(text) = socket.recv().await {
                if socket.send(text).await.is_err() {
                    break;
                }
            }
            let _ = ended.send("echo").await;
        }),
        "/once" => Response::websocket(request, async move |mut socket: WebSocket| {
            let text = socket.recv().await.unwrap_or_default();
            for nth in 0..10 {
                socket.send(format!("{text} {nth}")).await.expect("room for ten");
            }
        }),
        "/flood" => Response::websocket(request, async move |socket: WebSocket| {
            while socket.send("x".repeat(64 << 10)).await.is_ok() {}
            let _ = ended.send("flood").await;
        }),
        "/deaf" => Response::websocket(request, async move |_socket: WebSocket| {
            std::future::pending::<()>().await;
        }),
        _ => Response::text(404, "nothing here\n"),
    }
}

/// A masked frame of a client; the mask is zero.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    assert!(length < 126);
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// Reads until the server closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the last frame is as good as a close.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end in time");
    bytes
}

async fn recv(socket: &mut WebSocket) -> Option<String> {
    timeout(PATIENCE, socket.recv()).await.expect("a message or an end in time")
}

#[tokio::test]
async fn messages_go_both_ways_in_order() {
    let mut ground = Ground::new(Limits::default()).await;
    let mut socket = ground.connect("/echo").await.unwrap();
    for text in ["", "one", "ünï", &"long ".repeat(10_000)] {
        socket.send(text).await.unwrap();
        assert_eq!(recv(&mut socket).await.as_deref(), Some(text));
    }
    for nth in 0..100 {
        socket.send(format!("{nth}")).await.unwrap();
        assert_eq!(recv(&mut socket).await, Some(format!("{nth}")));
    }
    drop(socket);
    assert_eq!(ground.ended().await, "echo");
}

#[tokio::test]
async fn what_was_sent_before_the_end_arrives() {
    let ground = Ground::new(Limits::default()).await;
    let mut socket = ground.connect("/once").await.unwrap();
    socket.send("hello").await.unwrap();
    for nth in 0..10 {
        assert_eq!(recv(&mut socket).await, Some(format!("hello {nth}")));
    }
    assert_eq!(recv(&mut socket).await, None);
    assert!(socket.send("more").await.is_err());
}

#[tokio::test]
async fn refusals_carry_their_words() {
    let ground = Ground::new(Limits::default()).await;
    match ground.connect("/elsewhere").await.unwrap_err() {
        ConnectError::Refused { status: 404, text } => assert_eq!(text, "nothing here\n"),
        other => panic!("{other:?}"),
    }
    let mut stream = TcpStream::connect(ground.address()).await.unwrap();
    stream.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(rest(stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
    let mut stream = TcpStream::connect(ground.address()).await.unwrap();
    let old = String::from_utf8_lossy(HANDSHAKE).replace("HTTP/1.1", "HTTP/1.0");
    stream.write_all(old.as_bytes()).await.unwrap();
    let answer = String::from_utf8(rest(stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 501 "), "{answer}");
    let encrypted = connect("wss://localhost:1", Options::default()).await.unwrap_err();
    assert!(matches!(encrypted, ConnectError::Endpoint(_)), "{encrypted:?}");
}

#[tokio::test]
async fn long_messages_end_the_connection_that_sent_them() {
    let limits = Limits { message_bytes_max: 100, ..Limits::default() };
    let mut ground = Ground::new(limits).await;
    let mut other = ground.connect("/echo").await.unwrap();
    let mut socket = ground.connect("/echo").await.unwrap();
    socket.send("x".repeat(100)).await.unwrap();
    assert_eq!(recv(&mut socket).await, Some("x".repeat(100)));
    socket.send("x".repeat(101)).await.unwrap();
    assert_eq!(recv(&mut socket).await, None);
    assert_eq!(ground.ended().await, "echo");
    other.send("still here").await.unwrap();
    assert_eq!(recv(&mut other).await.as_deref(), Some("still here"));
}

#[tokio::test]
async fn violations_are_answered_with_their_code() {
    let limits = Limits { message_bytes_max: 100, ..Limits::default() };
    let mut ground = Ground::new(limits).await;
    for (sent, code) in [
        (frame(2, b"binary"), 1003_u16),
        (frame(1, &[b'x'; 101]), 1009),
        (frame(1, &[0xff]), 1007),
        (frame(7, b""), 1002),
        (vec![0x81, 1, b'x'], 1002), // not masked
    ] {
        let mut stream = ground.raw().await;
        stream.write_all(&sent).await.unwrap();
        let answer = rest(stream).await;
        assert_eq!(answer[0], 0x88, "{sent:?} got {answer:?}");
        assert_eq!(answer[2..4], code.to_be_bytes(), "{sent:?} got {answer:?}");
        assert_eq!(ground.ended().await, "echo");
    }
}

#[tokio::test]
async fn the_silent_are_dropped_and_the_living_stay() {
    let limits = Limits { ping_every: Duration::from_millis(100), ..Limits::default() };
    let mut ground = Ground::new(limits).await;
    let mut living = ground.connect("/echo").await.unwrap();
    let (silent, start) = (ground.raw().await, Instant::now());
    let answer = rest(silent).await;
    assert_eq!(answer[..4], [0x89, 0, 0x89, 0], "two pings first: {answer:?}");
    assert_eq!(answer[4], 0x88, "{answer:?}");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(ground.ended().await, "echo");
    living.send("here").await.unwrap();
    assert_eq!(recv(&mut living).await.as_deref(), Some("here"));
}

#[tokio::test]
async fn pings_of_the_peer_are_answered() {
    let ground = Ground::new(Limits::default()).await;
    let mut stream = ground.raw().await;
    stream.write_all(&frame(9, b"are you there")).await.unwrap();
    let mut pong = [0; 15];
    timeout(PATIENCE, stream.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\x8a\x0dare you there");
    stream.write_all(&frame(8, &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(rest(stream).await, b"\x88\x02\x03\xe8");
}

#[tokio::test]
async fn they_keep_their_place_among_the_connections() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let ground = Ground::new(limits).await;
    let mut socket = ground.connect("/echo").await.unwrap();
    socket.send("x").await.unwrap();
    assert!(recv(&mut socket).await.is_some());
    let full = ground.connect("/echo").await.unwrap_err();
    assert!(!matches!(full, ConnectError::Client(_)), "{full:?}");
    drop(socket);
    let free = async {
        while ground.connect("/echo").await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, free).await.expect("the place is given back");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let mut ground = Ground::new(limits).await;
    let lazy = ground.connect("/flood").await.unwrap();
    assert_eq!(ground.ended().await, "flood");
    drop(lazy);
}

#[tokio::test]
async fn a_stop_closes_them_in_order() {
    let mut ground = Ground::new(Limits::default()).await;
    let mut socket = ground.connect("/echo").await.unwrap();
    let raw = ground.raw().await;
    let start = Instant::now();
    let stopped = tokio::spawn(ground.server.shutdown(Duration::from_secs(10)));
    assert_eq!(recv(&mut socket).await, None);
    let goodbye = rest(raw).await;
    assert_eq!(goodbye[0], 0x88);
    assert_eq!(goodbye[2..4], 1001_u16.to_be_bytes());
    for _ in 0..2 {
        let end = timeout(PATIENCE, ground.ends.recv()).await.expect("in time");
        assert_eq!(end, Some("echo"));
    }
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "the deadline was not needed");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_deaf_sessions() {
    let ground = Ground::new(Limits::default()).await;
    let mut socket = ground.connect("/deaf").await.unwrap();
    let start = Instant::now();
    ground.server.shutdown(Duration::from_millis(300)).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(recv(&mut socket).await, None);
}
