//! The accept loop and the connections of the HTTP server.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::stall::StallGuard;
use super::websocket::{self, Session};
use super::{Body, Limits, Request, Response};
use crate::bind::BindError;

/// What a client gets for whom there is no place.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Memory that is taken for a body before any of it has come.
const RESERVED_MAX: usize = 64 << 10;

/// How long to wait before accepting again when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server; dropping it stops it at once.
pub struct Server {
    local: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Server {
    /// Returns the bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops accepting, lets running requests end, and cuts off the rest after `deadline`.
    pub async fn shutdown(mut self, deadline: Duration) {
        // The task holds a receiver for as long as it runs.
        let _ = self.stop.send(true);
        // What still runs at the deadline ends with `self`.
        let _ = timeout(deadline, &mut self.running).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Listens on `listen` and answers every request with `handler`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve<H, F>(
    listen: SocketAddr,
    handler: H,
    limits: Limits,
) -> Result<Server, BindError>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let error = |error| BindError::new(listen, error);
    let listener = TcpListener::bind(listen).await.map_err(error)?;
    let local = listener.local_addr().map_err(error)?;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(accept(listener, Arc::new(handler), limits, stopped));
    Ok(Server { local, stop, running })
}

async fn accept<H, F>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, remote)) => match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let (handler, limits) = (handler.clone(), limits.clone());
                    let stopped = stopped.clone();
                    connections.spawn(serve_one(stream, remote, handler, limits, stopped, place));
                }
                Err(_) => {
                    // A fresh socket has room for this; if not, the client sees it close.
                    let _ = stream.try_write(NO_PLACE);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept HTTP connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_one<H, F>(
    stream: TcpStream,
    remote: SocketAddr,
    handler: Arc<H>,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    // Answers are small and whole; failing to say so costs only latency.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(StallGuard::new(stream, limits.write_timeout));
    let upgrade = Arc::new(Mutex::new(None));
    let service = service_fn(|mut request| {
        let (handler, limits, upgrade) = (handler.clone(), limits.clone(), upgrade.clone());
        async move {
            let upgraded = hyper::upgrade::on(&mut request);
            let mut response = match whole(request, remote, &limits).await {
                Ok(request) => handler(request).await,
                Err(refusal) => refusal,
            };
            if let Some(session) = response.session.take() {
                *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgraded, session));
            }
            Ok::<_, Infallible>(into_hyper(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout)
        .max_buf_size(limits.head_bytes_max.max(8192)) // hyper's own minimum
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    loop {
        tokio::select! {
            result = connection.as_mut() => match result {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, "an HTTP connection failed");
                    return;
                }
            },
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
    let upgrade = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((upgraded, session)) = upgrade {
        run_session(upgraded, session, &limits, stopped).await;
    }
}

/// Runs the session of a connection that became a WebSocket, in its place and until the stop.
async fn run_session(
    upgraded: OnUpgrade,
    session: Session,
    limits: &Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let parts = match upgraded.await.map(Upgraded::downcast::<TokioIo<StallGuard>>) {
        Ok(Ok(parts)) => parts,
        Ok(Err(_)) => {
            tracing::error!("an upgraded connection is not the one it was");
            return;
        }
        Err(error) => {
            tracing::debug!(%error, "a connection was not upgraded");
            return;
        }
    };
    let stop = async move {
        // An error: the server is gone, which is a stop too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    websocket::serve(parts.io.into_inner(), parts.read_buf.to_vec(), session, limits, stop).await;
}

/// Reads the whole body, within the limits.
async fn whole(
    request: hyper::Request<Incoming>,
    remote: SocketAddr,
    limits: &Limits,
) -> Result<Request, Response> {
    let (head, body) = request.into_parts();
    let limit = limits.body_bytes_max;
    let too_large = || Response::text(413, format!("body too large, limit {limit}\n"));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    // What is announced need not come: more than this grows as it does.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(RESERVED_MAX);
    let mut body = Limited::new(body, limit);
    let reading = async {
        let mut bytes = Vec::with_capacity(announced);
        loop {
            match timeout(limits.read_timeout, body.frame()).await {
                Ok(None) => return Ok(bytes),
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        bytes.extend_from_slice(data);
                    }
                }
                Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(too_large()),
                Ok(Some(Err(_))) => return Err(Response::text(400, "body broken\n")),
                Err(_) => return Err(Response::text(408, "body stalled\n")),
            }
        }
    };
    let late = |_| Response::text(408, "body incomplete in time\n");
    let body = timeout(limits.body_timeout, reading).await.map_err(late)??;
    Ok(Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        remote,
        body,
        headers: head.headers,
        // HTTP/1.0 has no upgrades.
        upgradable: head.version == Version::HTTP_11,
    })
}

fn into_hyper(response: Response) -> hyper::Response<Body> {
    let refused = matches!(response.status, 408 | 413);
    let mut out = hyper::Response::new(response.body);
    // A status out of range is a bug of the handler; the client gets the general failure.
    *out.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = out.headers_mut();
    if response.status != 101 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    }
    if refused {
        // The rest of the body is still on its way; the connection cannot be used again.
        headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in response.headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                headers.append(name, value);
            }
            _ => tracing::error!(name, "a response header is malformed and was left out"),
        }
    }
    out
}
