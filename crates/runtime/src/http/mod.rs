//! A small HTTP/1.1 server: whole requests in, whole or streamed responses or a
//! [WebSocket](websocket) out. And a small [client].
//!
//! *Provided*: bounded requests, bounded connections, timeouts in every state, graceful stop.
//! *Not provided*: TLS, routing, compression, HTTP/2, headers that open it to pages of other
//! origins. It listens on the loopback interface or behind a proxy that has them.
//!
//! | what | bound | then |
//! |---|---|---|
//! | connections | [`Limits::connections_max`] | answered 503 and closed |
//! | request head | [`Limits::head_bytes_max`], [`Limits::read_timeout`] | 431; closed |
//! | request body | [`Limits::body_bytes_max`] | 413 |
//! | a pause in a body, a whole body | [`Limits::read_timeout`], [`Limits::body_timeout`] | 408 |
//! | a client that does not read | [`Limits::write_timeout`] | closed |

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

pub use hyper::Method;

pub mod client;
mod endpoint;
pub mod limiter;
pub mod origin;
mod server;
mod stall;
pub mod websocket;

pub use server::{Server, serve};

/// A whole request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, as it was sent.
    pub path: String,
    /// What follows `?`, as it was sent.
    pub query: Option<String>,
    /// Who asks.
    pub remote: SocketAddr,
    /// The body; empty when there is none.
    pub body: Vec<u8>,
    headers: HeaderMap,
    /// Whether the connection can become a WebSocket.
    upgradable: bool,
}

impl Request {
    /// Makes a request that came another way than over a socket of this server. Headers that HTTP
    /// does not allow are left out; a method that it does not allow becomes `INVALID`, which no
    /// handler knows.
    #[must_use]
    pub fn new(
        method: &str,
        path: impl Into<String>,
        query: Option<String>,
        remote: SocketAddr,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Self {
        let method = Method::from_bytes(method.as_bytes())
            .unwrap_or_else(|_| Method::from_bytes(b"INVALID").expect("seven letters"));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                // A full map takes no more: such a request was not read within our limits either.
                let _ = map.try_append(name, value);
            }
        }
        Self { method, path: path.into(), query, remote, body, headers: map, upgradable: false }
    }

    /// Returns the first header of this name that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the names and values of the headers whose values are text.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .filter_map(|(name, value)| value.to_str().ok().map(|value| (name.as_str(), value)))
    }
}

/// A response.
#[derive(Debug)]
pub struct Response {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
    session: Option<websocket::Session>,
}

/// What a response carries.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Full(Bytes),
    /// Pieces as they come, until the sender is dropped. The channel's capacity is the bound; a
    /// client that does not read is cut off after [`Limits::write_timeout`], which the sender sees
    /// as a closed channel.
    Stream(mpsc::Receiver<Bytes>),
}

impl Response {
    /// Makes a response with a whole body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::with_body(status, content_type, Body::Full(body.into()))
    }

    /// Makes a plain text response.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// Makes a JSON response.
    pub fn json(status: u16, json: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json", json)
    }

    /// Makes a response whose body follows piece by piece.
    #[must_use]
    pub fn stream(content_type: &'static str, pieces: mpsc::Receiver<Bytes>) -> Self {
        Self::with_body(200, content_type, Body::Stream(pieces))
    }

    fn with_body(status: u16, content_type: &'static str, body: Body) -> Self {
        Self { status, content_type, headers: Vec::new(), body, session: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the content type.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Returns the other headers, as they were added.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Returns what it carries.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }
}

impl Body {
    /// Returns the bytes of a whole body, or `None` for a stream.
    #[must_use]
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Full(whole) => Some(whole),
            Self::Stream(_) => None,
        }
    }
}

/// What the server tolerates.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; each costs a few KiB and a file descriptor.
    pub connections_max: usize,
    /// The request line and all headers.
    pub head_bytes_max: usize,
    /// The body: a batch of twenty items of 76,800 bytes fits in base64, just.
    pub body_bytes_max: usize,
    /// A request head, or a pause within a body, or between requests.
    pub read_timeout: Duration,
    /// A whole body.
    pub body_timeout: Duration,
    /// A pause in which the client takes nothing of the response.
    pub write_timeout: Duration,
    /// A message that comes over a WebSocket.
    pub message_bytes_max: usize,
    /// The time between two pings on a WebSocket.
    pub ping_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            head_bytes_max: 16 << 10,
            body_bytes_max: 2 << 20,
            read_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            message_bytes_max: 256 << 10,
            ping_every: Duration::from_secs(30),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = match self.get_mut() {
            Self::Full(whole) if whole.is_empty() => Poll::Ready(None),
            Self::Full(whole) => Poll::Ready(Some(std::mem::take(whole))),
            Self::Stream(pieces) => pieces.poll_recv(cx),
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(whole) if whole.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(whole) => SizeHint::with_exact(whole.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
