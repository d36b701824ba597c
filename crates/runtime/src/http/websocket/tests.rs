use std::net::SocketAddr;

use super::WebSocket;
use crate::http::{Request, Response};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const GOOD: &[(&str, &str)] = &[
    ("host", "node:22099"),
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
];

async fn idle(mut socket: WebSocket) {
    socket.recv().await;
}

fn answer(method: &str, changes: &[(&str, Option<&str>)], upgradable: bool) -> Response {
    let mut headers: Vec<_> = GOOD.to_vec();
    for (name, value) in changes {
        headers.retain(|(other, _)| other != name);
        headers.extend(value.map(|value| (*name, value)));
    }
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let remote = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut request = Request::new(method, "/ws", None, remote, headers.collect(), Vec::new());
    request.upgradable = upgradable;
    Response::websocket(&request, idle)
}

#[test]
fn a_handshake_is_accepted_with_the_key_of_the_standard() {
    let response = answer("GET", &[], true);
    assert_eq!(response.status(), 101);
    let accept = response.headers().find(|(name, _)| *name == "sec-websocket-accept");
    assert_eq!(accept.map(|(_, key)| key), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(response.session.is_some());
}

#[test]
fn everything_else_is_refused_in_words() {
    for (method, name, value, status) in [
        ("GET", "upgrade", None, 426),
        ("GET", "upgrade", Some("h2c"), 426),
        ("GET", "connection", Some("close"), 426),
        ("GET", "sec-websocket-version", Some("8"), 426),
        ("GET", "sec-websocket-version", None, 426),
        ("GET", "sec-websocket-key", None, 400),
        ("GET", "sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), 400),
        ("GET", "sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ=!"), 400),
        ("POST", "x", None, 400),
        ("GET", "origin", Some("https://elsewhere.example"), 403),
        ("GET", "origin", Some("null"), 403),
    ] {
        let response = answer(method, &[(name, value)], true);
        assert_eq!(response.status(), status, "{method} {name} {value:?}");
        assert!(response.session.is_none());
        let text = response.into_body().into_bytes().expect("a whole body");
        assert!(text.ends_with(b"\n") && text.len() > 10, "{text:?}");
    }
    assert_eq!(answer("GET", &[("origin", Some("http://node:22099"))], true).status(), 101);
    assert_eq!(answer("GET", &[], false).status(), 501, "nothing to upgrade");
}
