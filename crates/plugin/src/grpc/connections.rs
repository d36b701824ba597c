//! The connections of the host: accepted, and counted, because none at all means no host.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::life::Life;

/// How long the host may be without any connection before `Shutdown`. It holds one for as long as
/// it runs; a client that lost its connection comes back within seconds.
const ABSENCE_TIME: Duration = Duration::from_secs(60);

/// How long to wait before accepting again when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepted connections that the server did not take yet; more wait in the listener.
const ACCEPTED_MAX: usize = 16;

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    now: usize,
    ever: bool,
}

/// Accepts connections until the stream is dropped.
pub(super) fn accept(
    listener: TcpListener,
) -> (impl Stream<Item = io::Result<Counted>> + Send, watch::Receiver<Count>) {
    let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
    let (count, counted) = watch::channel(Count::default());
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                stream = listener.accept() => stream,
                () = accepted.closed() => return,
            };
            match stream {
                Ok((stream, _)) => {
                    // Answers are small; failing to say so costs only latency.
                    let _ = stream.set_nodelay(true);
                    count.send_modify(|count| *count = Count { now: count.now + 1, ever: true });
                    if accepted.send(Ok(Counted { stream, count: count.clone() })).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the host");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    (ReceiverStream::new(incoming), counted)
}

/// Waits until the host, once connected, has no connection any more: after `Shutdown` that is its
/// farewell, before it must last.
pub(super) async fn gone(mut count: watch::Receiver<Count>, life: &Life) {
    loop {
        if count.wait_for(|count| count.ever && count.now == 0).await.is_err() {
            // The server ended, which its own task tells better.
            return std::future::pending().await;
        }
        if life.is_shut_down()
            || timeout(ABSENCE_TIME, count.wait_for(|c| c.now > 0)).await.is_err()
        {
            return;
        }
    }
}

/// A connection that is counted while it lives.
pub(super) struct Counted {
    stream: TcpStream,
    count: watch::Sender<Count>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.send_modify(|count| count.now -= 1);
    }
}

impl Connected for Counted {
    type ConnectInfo = Option<SocketAddr>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.peer_addr().ok()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
