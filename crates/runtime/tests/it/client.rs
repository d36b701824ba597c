//! The HTTP client against our server, and against servers that misbehave.

use std::error::Error as _;
use std::time::Duration;

use session_runtime::http::client::{Client, ClientError, Endpoint, Options};
use session_runtime::http::{Limits, Request, Response, Server, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::harness::{PATIENCE, loopback};

/// Answers with what it was asked and from which port; `/slow` late, `/long` with much.
async fn echo(request: Request) -> Response {
    match request.path.as_str() {
        "/slow" => {
            sleep(Duration::from_secs(5)).await;
            Response::text(200, "late")
        }
        "/long" => Response::text(200, "x".repeat(2000)),
        "/port" => Response::text(200, request.remote.port().to_string()),
        path => {
            let content = request.header("content-type").unwrap_or("-");
            let body = String::from_utf8_lossy(&request.body);
            let host = request.header("host").unwrap_or("-");
            Response::text(404, format!("{} {path} {host} {content} {body}", request.method))
        }
    }
}

async fn server(limits: Limits) -> Server {
    serve(loopback(), echo, limits).await.unwrap()
}

fn client(server: &Server, prefix: &str, options: Options) -> Client {
    let text = format!("http://{}{prefix}", server.local_addr());
    Client::new(Endpoint::parse(&text).unwrap(), options)
}

async fn port(client: &Client) -> u16 {
    let (status, body) = client.get("/port").await.unwrap();
    assert_eq!(status, 200);
    String::from_utf8(body).unwrap().parse().unwrap()
}

#[tokio::test]
async fn answers_come_whole_with_their_status() {
    let server = server(Limits::default()).await;
    let client = client(&server, "/ext/", Options::default());
    let host = server.local_addr();
    let (status, body) = client.get("/a?b=c").await.unwrap();
    assert_eq!((status, body), (404, format!("GET /ext/a {host} - ").into_bytes()));
    let (status, body) = client.post("", "application/json", "{}").await.unwrap();
    let expected = format!("POST /ext {host} application/json {{}}");
    assert_eq!((status, body), (404, expected.into_bytes()));
}

#[tokio::test]
async fn one_connection_is_used_again_and_renewed_when_the_server_closed_it() {
    let limits = Limits { read_timeout: Duration::from_millis(150), ..Limits::default() };
    let server = server(limits).await;
    let client = client(&server, "", Options::default());
    let first = port(&client).await;
    assert_eq!(port(&client).await, first);
    sleep(Duration::from_millis(400)).await;
    assert_ne!(port(&client).await, first, "the server had closed it");
    let (one, other) = tokio::join!(port(&client), port(&client));
    assert_ne!(one, other, "two at once need two");
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let first = server(Limits::default()).await;
    let address = first.local_addr();
    let client = client(&first, "", Options::default());
    port(&client).await;
    first.shutdown(Duration::from_secs(1)).await;
    let refused = client.get("/port").await.unwrap_err();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused:?}");
    assert!(refused.source().is_some(), "the system's words are kept");
    let _second = serve(address, echo, Limits::default()).await.unwrap();
    port(&client).await;
}

#[tokio::test]
async fn answers_above_the_limit_are_not_taken() {
    let server = server(Limits::default()).await;
    let client = client(&server, "", Options { body_bytes_max: 1999, ..Options::default() });
    let error = client.get("/long").await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 1999 }), "{error:?}");
    assert_eq!(error.to_string(), "the answer is longer than 1999 bytes");
    port(&client).await;
}

#[tokio::test]
async fn nobody_is_waited_for_without_end() {
    let server = server(Limits::default()).await;
    let short = Duration::from_millis(100);
    for (options, what) in [
        (Options { read_timeout: short, ..Options::default() }, "answer"),
        (Options { total_timeout: short, ..Options::default() }, "whole answer"),
    ] {
        let client = client(&server, "", options);
        let asked = timeout(Duration::from_secs(3), client.get("/slow")).await.expect("in time");
        match asked.unwrap_err() {
            ClientError::Late { what: got, limit } => assert_eq!((got, limit), (what, short)),
            other => panic!("{other:?}"),
        }
    }
}

/// A server that answers every connection with these bytes, and then closes or waits.
async fn misbehaving(answer: &'static [u8], closes: bool) -> Client {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            stream.write_all(answer).await.unwrap();
            if !closes {
                sleep(PATIENCE).await;
            }
        }
    });
    let options = Options { read_timeout: Duration::from_millis(300), ..Options::default() };
    Client::new(endpoint, options)
}

#[tokio::test]
async fn broken_answers_are_errors() {
    for broken in [
        &b""[..],
        b"HTTP/1.1 2",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let error = misbehaving(broken, true).await.get("/").await.unwrap_err();
        assert!(matches!(error, ClientError::Broken(_)), "{broken:?} gave {error:?}");
    }
    let stalled = misbehaving(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", false).await;
    let error = stalled.get("/").await.unwrap_err();
    assert!(matches!(error, ClientError::Late { what: "rest of the answer", .. }), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_sent() {
    let server = server(Limits::default()).await;
    let client = client(&server, "", Options::default());
    let error = client.get("/a b").await.unwrap_err();
    assert!(matches!(error, ClientError::BadRequest("path")), "{error:?}");
    let error = client.post("/", "text\r\nx: y", "").await.unwrap_err();
    assert!(matches!(error, ClientError::BadRequest("content type")), "{error:?}");
}
