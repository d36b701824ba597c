//! The HTTP server, spoken to byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use session_runtime::BindError;
use session_runtime::http::{Limits, Method, Request, Response, Server, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::harness::{PATIENCE, loopback};

/// Answers with what it was asked; `/events` with a stream, `/slow` late, `/flood` with much.
async fn echo(request: Request) -> Response {
    match request.path.as_str() {
        "/events" => {
            let (sender, receiver) = mpsc::channel(4);
            tokio::spawn(async move {
                for nth in 1..=3 {
                    let piece = Bytes::from(format!("data: {nth}\n\n"));
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            });
            Response::stream("text/event-stream", receiver)
        }
        "/endless" => {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                let piece = Bytes::from(vec![b'x'; 64 << 10]);
                while sender.send(piece.clone()).await.is_ok() {}
            });
            Response::stream("application/octet-stream", receiver)
        }
        "/slow" => {
            sleep(Duration::from_millis(300)).await;
            Response::text(200, "late")
        }
        _ => {
            let Request { method, path, query, body, .. } = &request;
            let origin = request.header("origin").unwrap_or("-");
            let text = format!("{method} {path} {query:?} {origin} {}", body.len());
            let status = if *method == Method::PUT { 405 } else { 200 };
            Response::text(status, text).with_header("x-answer", "yes")
        }
    }
}

async fn server(limits: Limits) -> Server {
    serve(loopback(), echo, limits).await.unwrap()
}

async fn open(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Sends `bytes` and reads until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = open(address, bytes).await;
    let mut answer = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_arrive_whole_and_answers_have_status_type_and_length() {
    let server = server(Limits::default()).await;
    let request = b"POST /a/b?c=d HTTP/1.1\r\nhost: x\r\norigin: http://o\r\nconnection: close\r\n\
        content-length: 5\r\n\r\nhello";
    let answer = exchange(server.local_addr(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; charset=utf-8\r\n"));
    assert!(answer.contains("x-answer: yes\r\n"));
    assert!(!answer.contains("access-control"), "pages of other origins read nothing");
    let body = "POST /a/b Some(\"c=d\") http://o 5";
    assert!(answer.contains(&format!("content-length: {}\r\n", body.len())));
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
    let put = b"PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(exchange(server.local_addr(), put).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn chunked_bodies_are_joined() {
    let server = server(Limits::default()).await;
    let request = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
        connection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert!(exchange(server.local_addr(), request).await.ends_with(" 7"));
}

#[tokio::test]
async fn streamed_answers_come_piece_by_piece() {
    let server = server(Limits::default()).await;
    let request = b"GET /events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut stream = open(server.local_addr(), request).await;
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    let mut reads = 0;
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        reads += 1;
        seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(seen.contains("content-type: text/event-stream\r\n"), "{seen}");
    assert!(seen.contains("data: 1\n\n") && seen.contains("data: 3\n\n"));
    assert!(reads >= 3, "{reads} reads");
}

#[tokio::test]
async fn bodies_above_the_limit_are_refused_announced_or_not() {
    let limits = Limits { body_bytes_max: 10, ..Limits::default() };
    let server = server(limits).await;
    let announced = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4294967296\r\n\r\n";
    let answer = exchange(server.local_addr(), announced).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("body too large, limit 10\n"));
    let growing = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
        8\r\nabcdefgh\r\n3\r\nijk\r\n";
    let answer = exchange(server.local_addr(), growing).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let fits =
        b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789";
    assert!(exchange(server.local_addr(), fits).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn slow_requests_do_not_stay() {
    let limits = Limits { read_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = server(limits).await;
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nhost:"] {
        let answer = exchange(server.local_addr(), begun.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{begun:?} got {answer}");
    }
    let body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe";
    let answer = exchange(server.local_addr(), body).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        connections_max: 1,
        ..Limits::default()
    };
    let server = server(limits).await;
    let _lazy = open(server.local_addr(), b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let served = async {
        while !exchange(server.local_addr(), request).await.starts_with("HTTP/1.1 200 ") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, served).await.expect("the place is given back");
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let server = server(limits).await;
    let first = open(server.local_addr(), b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(Duration::from_millis(50)).await;
    let answer = exchange(server.local_addr(), b"").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(first);
}

#[tokio::test]
async fn garbage_and_huge_heads_are_refused() {
    let server = server(Limits::default()).await;
    let answer =
        exchange(server.local_addr(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut huge = b"GET / HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    huge.resize(64 << 10, b'a');
    let answer = exchange(server.local_addr(), &huge).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn shutdown_lets_a_running_request_end() {
    let server = server(Limits::default()).await;
    let address = server.local_addr();
    let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = tokio::spawn(exchange(address, request));
    sleep(Duration::from_millis(100)).await;
    timeout(PATIENCE, server.shutdown(Duration::from_secs(5))).await.unwrap();
    assert!(answer.await.unwrap().ends_with("late"));
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn shutdown_cuts_off_streams_at_the_deadline() {
    let server = server(Limits::default()).await;
    let address = server.local_addr();
    let endless = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
    let reading = tokio::spawn(exchange(address, endless));
    sleep(Duration::from_millis(50)).await;
    timeout(PATIENCE, server.shutdown(Duration::from_millis(200))).await.unwrap();
    assert!(reading.await.unwrap().starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let first = server(Limits::default()).await;
    let address = first.local_addr();
    let error = serve(address, echo, Limits::default()).await.err().unwrap();
    assert!(matches!(error, BindError::InUse(_)));
    assert_eq!(error.to_string(), format!("address {address} is in use"));
}
