//! WebSockets: text messages both ways over one connection of the server, or of a client.
//!
//! A handler answers with [`Response::websocket`]; the server then runs the session that it gave.
//!
//! *Provided*: pings and their answers, an end to connections that are silent, messages of a
//! bounded size, an orderly close when the server stops. *Not provided*: binary messages,
//! subprotocols, compression, TLS.
//!
//! *Security*: browsers let any page open WebSockets to any server, and say in `Origin` which page
//! it is. A request with an origin other than the server's own is refused.
//!
//! | what | bound | then |
//! |---|---|---|
//! | connections | they stay among [`Limits::connections_max`] | 503 |
//! | a message that comes in | [`Limits::message_bytes_max`] | closed, code 1009 |
//! | messages the session did not take | 2 | the peer waits |
//! | messages the peer did not take | 16, [`Limits::write_timeout`] | the session waits; closed |
//! | silence | 2 pings, [`Limits::ping_every`] apart | closed |
//! | the session after the connection | 5 seconds | its future is dropped |
//!
//! [`Limits::connections_max`]: super::Limits::connections_max
//! [`Limits::message_bytes_max`]: super::Limits::message_bytes_max
//! [`Limits::write_timeout`]: super::Limits::write_timeout
//! [`Limits::ping_every`]: super::Limits::ping_every

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use hyper::header::{CONNECTION, HOST, ORIGIN, UPGRADE};
use hyper::{HeaderMap, Method};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Request, Response};

mod client;
mod pump;

pub use client::{ConnectError, Options, connect};
pub(super) use pump::serve;

/// The version of RFC 6455, the only one.
const VERSION: &str = "13";

/// An open WebSocket. Dropping it closes the connection, after what was sent.
#[derive(Debug)]
pub struct WebSocket {
    incoming: mpsc::Receiver<String>,
    outgoing: mpsc::Sender<String>,
}

/// The connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket is closed")]
pub struct Closed;

impl WebSocket {
    /// Waits for the next message; `None` when the connection has ended, in whatever way.
    ///
    /// Dropping the future loses no message.
    pub async fn recv(&mut self) -> Option<String> {
        self.incoming.recv().await
    }

    /// Sends a message: waits while the peer takes none of those before it.
    ///
    /// # Errors
    /// When the connection has ended. A message that was sent before that may be lost too.
    pub async fn send(&self, text: impl Into<String>) -> Result<(), Closed> {
        self.outgoing.send(text.into()).await.map_err(|_| Closed)
    }
}

/// What runs on an upgraded connection.
pub(super) struct Session(Box<dyn FnOnce(WebSocket) -> Running + Send>);

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Session {
    fn run(self, socket: WebSocket) -> Running {
        (self.0)(socket)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Session")
    }
}

impl Response {
    /// Accepts a WebSocket and has the server run `session` on it, or refuses in words what is no
    /// handshake (400, 403, 426), or what did not come over a socket of the server (501).
    #[must_use]
    pub fn websocket<S, F>(request: &Request, session: S) -> Self
    where
        S: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        match accept_key(request) {
            Ok(accept) => {
                let mut response = Self::text(101, "");
                response.session = Some(Session(Box::new(|socket| Box::pin(session(socket)))));
                response
                    .with_header("connection", "upgrade")
                    .with_header("upgrade", "websocket")
                    .with_header("sec-websocket-accept", accept)
            }
            Err(refusal) => refusal,
        }
    }
}

/// Judges a handshake; returns what proves that it was understood.
fn accept_key(request: &Request) -> Result<String, Response> {
    let headers = &request.headers;
    let refuse = |text: &str| Response::text(400, format!("{text}\n"));
    if !has_token(headers, UPGRADE, "websocket") || !has_token(headers, CONNECTION, "upgrade") {
        return Err(Response::text(426, "this path takes a WebSocket handshake\n")
            .with_header("connection", "upgrade")
            .with_header("upgrade", "websocket"));
    }
    if request.method != Method::GET {
        return Err(refuse("a WebSocket handshake is a GET"));
    }
    if request.header("sec-websocket-version") != Some(VERSION) {
        return Err(Response::text(426, "WebSocket version 13 is spoken here\n")
            .with_header("sec-websocket-version", VERSION));
    }
    let key = request.header("sec-websocket-key").filter(|key| is_key(key));
    let key = key.ok_or_else(|| refuse("sec-websocket-key is missing or malformed"))?;
    if !same_origin(request) {
        let text = "WebSockets of web pages of other origins are not accepted\n";
        return Err(Response::text(403, text));
    }
    if !request.upgradable {
        return Err(Response::text(501, "WebSockets are not available on this connection\n"));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

fn has_token(headers: &HeaderMap, name: hyper::header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

// Sixteen bytes in base64.
fn is_key(key: &str) -> bool {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix("==").is_some_and(|start| start.bytes().all(base64))
}

/// Programs send no origin; a page of this very server sends the host it asked.
fn same_origin(request: &Request) -> bool {
    if !request.headers.contains_key(ORIGIN) {
        return true;
    }
    let origin = request.header(ORIGIN.as_str()).and_then(|origin| origin.split_once("://"));
    matches!(
        (origin, request.header(HOST.as_str())),
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host)
    )
}

#[cfg(test)]
mod tests;
