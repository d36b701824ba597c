//! A small HTTP/1.1 client: one server, one connection that is used again, whole answers.
//!
//! *Provided*: a bound for each answer and for each wait. *Not provided*: TLS, redirects, cookies,
//! compression, several requests at once on one connection.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub use super::endpoint::{BadEndpoint, Endpoint};

/// The head of an answer: servers of ours send a few hundred bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a client waits, and how much it takes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Until the server took the connection.
    pub connect_timeout: Duration,
    /// Until the answer begins, and for each pause in it.
    pub read_timeout: Duration,
    /// For everything.
    pub total_timeout: Duration,
    /// The body of an answer.
    pub body_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(15),
            total_timeout: Duration::from_secs(60),
            body_bytes_max: 16 << 20,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server cannot be reached: the request was not sent.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where it should be.
        endpoint: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The server took too long. The request may have been performed.
    #[error("no {what} within {limit:?}")]
    Late {
        /// What did not come.
        what: &'static str,
        /// How long was waited for it.
        limit: Duration,
    },
    /// The connection ended before the answer did. The request may have been performed.
    #[error("the connection failed")]
    Broken(#[source] hyper::Error),
    /// The answer is longer than what is taken.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The caller's path or content type cannot be put into a request.
    #[error("the {0} holds a character that HTTP does not allow")]
    BadRequest(&'static str),
}

/// A client of one server. Requests may run at the same time; each waiting one has a connection,
/// and one of these is kept for the next.
pub struct Client {
    endpoint: Endpoint,
    options: Options,
    idle: Mutex<Option<Connection>>,
}

/// A connection that ends when it is dropped.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    running: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Client {
    /// Makes a client; it connects when it is used.
    #[must_use]
    pub fn new(endpoint: Endpoint, options: Options) -> Self {
        Self { endpoint, options, idle: Mutex::default() }
    }

    /// Returns the server that it asks.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for a path below the endpoint's prefix; returns status and body, whatever the status.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), ClientError> {
        self.whole(Method::GET, path, None, Bytes::new()).await
    }

    /// Sends a body to a path below the endpoint's prefix; returns status and body, whatever the
    /// status.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<(u16, Vec<u8>), ClientError> {
        self.whole(Method::POST, path, Some(content_type), body.into()).await
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let uri = self.endpoint.path(path).parse::<Uri>();
        let uri = uri.map_err(|_| ClientError::BadRequest("path"))?;
        let host = HeaderValue::try_from(self.endpoint.authority());
        let host = host.map_err(|_| ClientError::BadRequest("host"))?;
        let content_type = content_type.map(HeaderValue::from_str).transpose();
        let content_type = content_type.map_err(|_| ClientError::BadRequest("content type"))?;
        let make = || {
            let mut request = hyper::Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            request.headers_mut().insert(HOST, host.clone());
            if let Some(content_type) = &content_type {
                request.headers_mut().insert(CONTENT_TYPE, content_type.clone());
            }
            request
        };
        let limit = self.options.total_timeout;
        let late = |_| ClientError::Late { what: "whole answer", limit };
        timeout(limit, self.exchange(make)).await.map_err(late)?
    }

    async fn exchange(
        &self,
        make: impl Fn() -> hyper::Request<Full<Bytes>>,
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut connection) = kept.filter(|kept| !kept.sender.is_closed()) {
            // The server may have closed it just now. What was not sent can be sent again, and
            // what only reads too.
            let sent = self.send(&mut connection, make()).await;
            match sent {
                Err(Unsent { error: ClientError::Broken(_), again }) if again => {}
                Err(unsent) => return Err(unsent.error),
                Ok(response) => return self.receive(connection, response).await,
            }
        }
        let mut connection = self.connect().await?;
        let sent = self.send(&mut connection, make()).await;
        let response = sent.map_err(|unsent| unsent.error)?;
        self.receive(connection, response).await
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let stream = connect(&self.endpoint, self.options.connect_timeout).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Broken)?;
        // How it ended is what a request that needed it was told.
        let running = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection { sender, running })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, Unsent> {
        let reads = request.method() == Method::GET;
        let limit = self.options.read_timeout;
        match timeout(limit, connection.sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut failed)) => {
                let again = reads || failed.take_message().is_some();
                Err(Unsent { error: ClientError::Broken(failed.into_error()), again })
            }
            Err(_) => {
                Err(Unsent { error: ClientError::Late { what: "answer", limit }, again: false })
            }
        }
    }

    async fn receive(
        &self,
        mut connection: Connection,
        response: hyper::Response<Incoming>,
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let (status, limit) = (response.status().as_u16(), self.options.body_bytes_max);
        let too_large = || ClientError::TooLarge { limit };
        if response.body().size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut body = Limited::new(response.into_body(), limit);
        let mut bytes = Vec::new();
        loop {
            let wait = self.options.read_timeout;
            match timeout(wait, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        bytes.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(too_large()),
                Ok(Some(Err(error))) => {
                    return Err(match error.downcast::<hyper::Error>() {
                        Ok(error) => ClientError::Broken(*error),
                        Err(_) => too_large(),
                    });
                }
                Err(_) => {
                    return Err(ClientError::Late { what: "rest of the answer", limit: wait });
                }
            }
        }
        // Ready at once if the server keeps it open.
        if let Ok(Ok(())) = timeout(Duration::from_millis(50), connection.sender.ready()).await {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            *idle = Some(connection);
        }
        Ok((status, bytes))
    }
}

/// A request without an answer, and whether it may be sent once more.
struct Unsent {
    error: ClientError,
    again: bool,
}

/// Connects to an endpoint, by whichever of its addresses answers first.
pub(super) async fn connect(
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<TcpStream, ClientError> {
    let connecting = TcpStream::connect((endpoint.host(), endpoint.port()));
    let late = |_| ClientError::Late { what: "connection", limit };
    let stream = timeout(limit, connecting)
        .await
        .map_err(late)?
        .map_err(|source| ClientError::Connect { endpoint: endpoint.authority(), source })?;
    // Requests are small and whole; failing to say so costs only latency.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
