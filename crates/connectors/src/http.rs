//! HTTP/1.1 through the gate: one request, one connection, one whole answer.
//!
//! *Provided:* bounds on head, body and unpacked body; redirects only where asked for, each through
//! the whole gate; secrets only to their host. *Not provided:* HTTP/2, cookies, proxies (variables
//! like `HTTPS_PROXY` are not read), a check whether certificates were revoked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use session_protocol::workload::manifest::{Egress, Header, HttpMethod};
use session_protocol::workload::oracle::{Fault, RawAnswer};
use session_protocol::workload::template::{Escape, render};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::Request;
use crate::config::HostSecret;
use crate::gate::{Denied, Gate, NoWay, Place, Url};

mod counted;
mod headers;
mod unpack;

use counted::Counted;

/// The largest answer that any source may allow: a node keeps several in memory.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The head of an answer: that of the largest public services is a few KiB.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most headers in an answer.
const ANSWER_HEADERS_MAX: usize = 100;
/// The same for every member: servers must not tell them apart by it.
const AGENT: &str = "lux-session/1";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Trouble {
    #[error("not allowed: {0}")]
    Denied(#[from] Denied),
    #[error("cannot connect")]
    Unreachable(#[source] io::Error),
    #[error("the connection failed")]
    Broken(#[source] hyper::Error),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the operator set up nothing of this name")]
    NotSetUp,
    #[error("the session may receive no more")]
    Exhausted,
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
}

impl Trouble {
    /// Returns what members tell each other about it.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Denied(_) => Fault::Denied,
            Self::Unreachable(_) => Fault::Unreachable,
            Self::Broken(error) if error.is_parse_too_large() => Fault::TooLarge,
            Self::Broken(error) if error.is_parse() => Fault::Malformed,
            Self::Broken(error) if is_over_count(error) => Fault::TooLarge,
            Self::Broken(_) => Fault::Unreachable,
            Self::Status(code) => Fault::Status { code: *code },
            Self::NotSetUp => Fault::NotSetUp,
            Self::TooLarge => Fault::TooLarge,
            Self::Exhausted => Fault::Exhausted,
            Self::Malformed(_) => Fault::Malformed,
        }
    }
}

impl From<NoWay> for Trouble {
    fn from(no_way: NoWay) -> Self {
        match no_way {
            NoWay::Denied(denied) => Self::Denied(denied),
            NoWay::Unreachable(error) => Self::Unreachable(error),
        }
    }
}

fn is_over_count(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::FileTooLarge;
        }
        source = error.source();
    }
    false
}

/// How much may arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of a body, as it arrives and unpacked.
    body_max: usize,
    /// Bytes that the session may still receive.
    left: u64,
}

impl Bounds {
    pub(crate) fn new(bytes_max: u32, left: u64) -> Self {
        Self { body_max: ANSWER_BYTES_MAX.min(bytes_max as usize), left }
    }

    /// Returns what remains after `received` bytes.
    pub(crate) fn after(self, received: u64) -> Self {
        Self { left: self.left.saturating_sub(received), ..self }
    }

    /// The largest body as it arrives, and what a larger one is.
    fn arriving(self) -> (usize, Trouble) {
        match usize::try_from(self.left) {
            Ok(left) if left < self.body_max => (left, Trouble::Exhausted),
            _ => (self.body_max, Trouble::TooLarge),
        }
    }
}

/// A request that is ready to go.
pub(crate) struct Order<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// Whether it changes anything where it goes; some that are posted do not.
    pub(crate) writes: bool,
    /// Where it may go, and its redirects.
    pub(crate) egress: &'a [Egress],
    pub(crate) redirects: u8,
    pub(crate) bounds: Bounds,
    /// Whether a compressed answer is welcome.
    pub(crate) packed: bool,
    /// Whether the operator's secrets for the host go with it.
    pub(crate) secrets: bool,
}

/// See the [module](self).
pub(crate) struct Http {
    gate: Gate,
    tls: TlsConnector,
    secrets: Vec<HostSecret>,
}

impl Http {
    pub(crate) fn new(gate: Gate, roots: RootCertStore, secrets: Vec<HostSecret>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { gate, tls: Arc::new(tls).into(), secrets }
    }

    pub(crate) fn gate_mut(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// Asks a source of HTTP.
    pub(crate) async fn ask(
        &self,
        request: &Request<'_>,
        method: HttpMethod,
        url: &str,
        headers: &[Header],
        redirects: u8,
    ) -> Result<RawAnswer, Trouble> {
        let parameters = &request.call.parameters;
        let mut headers = headers::render_all(headers, parameters)?;
        let reads = matches!(method, HttpMethod::Get);
        if !reads {
            let key = request.write_key.ok_or(Trouble::Malformed("a write has no key"))?;
            let key = HeaderValue::from_str(&hex::encode(key.as_bytes()));
            let key = key.expect("hex digits are allowed in a header");
            headers.push((HeaderName::from_static("idempotency-key"), key));
        }
        let order = Order {
            method: match method {
                HttpMethod::Get => Method::GET,
                HttpMethod::Post => Method::POST,
                HttpMethod::Put => Method::PUT,
                HttpMethod::Patch => Method::PATCH,
                HttpMethod::Delete => Method::DELETE,
            },
            url: render_url(url, request)?,
            headers,
            body: if reads { Bytes::new() } else { Bytes::copy_from_slice(&request.call.body) },
            writes: !reads,
            egress: &request.manifest.egress,
            redirects: if reads { redirects } else { 0 },
            bounds: Bounds::new(request.source.bytes_max, request.bytes_left),
            packed: true,
            secrets: true,
        };
        self.perform(order).await
    }

    /// Sends a request, follows its redirects, and takes the answer.
    pub(crate) async fn perform(&self, mut order: Order<'_>) -> Result<RawAnswer, Trouble> {
        let mut received = 0;
        loop {
            let (mut answer, next) = self.exchange(&order).await?;
            received += answer.received;
            let Some(next) = next else {
                answer.received = received;
                return Ok(answer);
            };
            if order.url.tls && !next.tls {
                return Err(Denied::Downgrade.into());
            }
            if next.place != order.url.place || next.tls != order.url.tls {
                // Neither what the operator gave to the first host nor what the manifest says to
                // it is for the second.
                order.secrets = false;
                order.headers.retain(|(name, _)| headers::follows_everywhere(name));
            }
            order.url = next;
            order.redirects -= 1;
            order.bounds = order.bounds.after(answer.received);
        }
    }

    /// Performs one request; returns the answer, or where it leads.
    async fn exchange(&self, order: &Order<'_>) -> Result<(RawAnswer, Option<Url>), Trouble> {
        self.gate.admit(&order.url, order.egress)?;
        let request = self.request(order)?;
        let (arriving, over) = order.bounds.arriving();
        if order.bounds.left == 0 {
            return Err(over);
        }
        let stream = self.gate.connect(&order.url.place).await?;
        let count = Arc::new(AtomicU64::new(0));
        // A body in chunks costs more than its bytes; one in chunks of a byte is not taken.
        let limit = 2 * arriving as u64 + HEAD_BYTES_MAX as u64;
        let (mut sender, _connection) = if order.url.tls {
            let name = ServerName::try_from(order.url.place.host.clone());
            let name = name.map_err(|_| Trouble::Malformed("no certificate can name the host"))?;
            let stream = self.tls.connect(name, stream).await.map_err(Trouble::Unreachable)?;
            open(Counted::new(stream, count.clone(), limit)).await?
        } else {
            open(Counted::new(stream, count.clone(), limit)).await?
        };
        let response = sender.send_request(request).await.map_err(Trouble::Broken)?;
        if order.redirects > 0
            && let Some(next) = leads_to(&order.url, &response)?
        {
            let received = count.load(Ordering::Relaxed);
            return Ok((RawAnswer { received, ..RawAnswer::default() }, Some(next)));
        }
        let mut answer = receive(response, arriving, over, order.bounds.body_max).await?;
        answer.received = count.load(Ordering::Relaxed);
        Ok((answer, None))
    }

    fn request(&self, order: &Order<'_>) -> Result<hyper::Request<Full<Bytes>>, Trouble> {
        let bad = |_| Trouble::Malformed("the request cannot be written as HTTP");
        let mut request = hyper::Request::new(Full::new(order.body.clone()));
        *request.method_mut() = order.method.clone();
        *request.uri_mut() = order.url.target.parse().map_err(|_| bad(()))?;
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(order.url.authority()).map_err(|_| bad(()))?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if order.packed {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(unpack::ACCEPTED));
        }
        for (name, value) in &order.headers {
            headers.insert(name, value.clone());
        }
        if order.secrets {
            self.add_secrets(order, headers)?;
        }
        Ok(request)
    }

    fn add_secrets(&self, order: &Order<'_>, headers: &mut HeaderMap) -> Result<(), Trouble> {
        let (place, path) = (&order.url.place, order.url.path());
        let of = |secret: &&HostSecret| secret.is_for(place, path, order.writes);
        for secret in self.secrets.iter().filter(of) {
            if !order.url.tls && !self.gate.is_open(&order.url.place) {
                return Err(Denied::SecretInClear(order.url.place.clone()).into());
            }
            headers.insert(secret.header.clone(), secret.header_value());
        }
        Ok(())
    }
}

/// Renders and reads the address of a request.
pub(crate) fn render_url(template: &str, request: &Request<'_>) -> Result<Url, Denied> {
    let text = render(template, &request.call.parameters, Escape::Url);
    let text = text.map_err(|error| Denied::Template(error.to_string()))?;
    Ok(Url::parse(&text)?)
}

/// Ends a connection when it is dropped.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(http1::SendRequest<Full<Bytes>>, Connection), Trouble> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(ANSWER_HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Trouble::Broken)?;
    // How it ended is what the request that needed it was told.
    let running = tokio::spawn(async move { drop(connection.await) }).abort_handle();
    Ok((sender, Connection(running)))
}

/// Returns where an answer redirects to; `None` if it does not.
fn leads_to(from: &Url, response: &Response<Incoming>) -> Result<Option<Url>, Trouble> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let location = location.to_str().map_err(|_| Trouble::Malformed("its location is no text"))?;
    Ok(Some(from.join(location).map_err(Denied::from)?))
}

async fn receive(
    response: Response<Incoming>,
    arriving: usize,
    over: Trouble,
    body_max: usize,
) -> Result<RawAnswer, Trouble> {
    let (head, body) = response.into_parts();
    if head.status.is_informational() {
        return Err(Trouble::Malformed("it leaves HTTP"));
    }
    if body.size_hint().lower() > arriving as u64 {
        return Err(over);
    }
    let packed = match Limited::new(body, arriving).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(over),
        Err(error) => {
            return Err(match error.downcast::<hyper::Error>() {
                Ok(error) => Trouble::Broken(*error),
                Err(_) => over,
            });
        }
    };
    let mut encodings = head.headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map(HeaderValue::to_str).transpose();
    let encoding = encoding.map_err(|_| Trouble::Malformed("its encoding is no text"))?;
    if encodings.next().is_some() {
        return Err(Trouble::Malformed("it is packed more than once"));
    }
    let body = unpack::unpack(encoding, packed.into(), body_max)?;
    Ok(RawAnswer { status: head.status.as_u16(), headers: texts(&head.headers), body, received: 0 })
}

/// Returns the headers that are texts, without those that tell how the body travelled.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let travels = [CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING];
    let kept = headers.iter().filter(|(name, _)| !travels.contains(name));
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    kept.filter_map(text).collect()
}

/// Returns the entry that lets a host be reached which the operator set up, not a manifest.
pub(crate) fn egress_of(place: &Place, plain: bool) -> Option<Egress> {
    let host = session_core::Text::new(place.host.clone()).ok()?;
    Some(Egress { host, port: place.port, plain })
}
