//! What moves messages between a connection and its session.

use std::future::Future;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::{Session, WebSocket};
use crate::http::Limits;
use crate::http::stall::StallGuard;

/// Messages that the session did not take yet: each may be as long as the limit.
const INCOMING_MAX: usize = 2;

/// Messages that the socket did not take yet.
const OUTGOING_MAX: usize = 16;

/// Pings without a sign of life, after which the peer is taken for dead.
const MISSED_MAX: u32 = 2;

/// How long the peer has to answer a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a session may go on when its connection has ended.
const SESSION_PATIENCE: Duration = Duration::from_secs(5);

/// Most messages are small; the library would take 128 KiB for each connection.
const BUFFER_BYTES: usize = 8 << 10;

/// A stream whose messages are at most so long.
pub(super) fn config(message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}

/// Runs a session on an upgraded connection until both have ended; `stop` closes the connection.
pub(in crate::http) async fn serve(
    stream: StallGuard,
    read: Vec<u8>,
    session: Session,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let config = config(limits.message_bytes_max);
    let stream =
        WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    let (pump, socket) = Pump::new(stream, limits.ping_every);
    let pump = pump.run(stop);
    let session = session.run(socket);
    tokio::pin!(pump, session);
    tokio::select! {
        () = &mut session => pump.await,
        () = &mut pump => {
            if timeout(SESSION_PATIENCE, session).await.is_err() {
                tracing::warn!("a WebSocket's session did not end with its connection");
            }
        }
    }
}

/// The connection's side of a [`WebSocket`].
pub(super) struct Pump {
    stream: WebSocketStream<StallGuard>,
    incoming: mpsc::Sender<String>,
    outgoing: mpsc::Receiver<String>,
    ping_every: Duration,
}

/// Why a connection is to be closed.
type Close = (CloseCode, &'static str);

impl Pump {
    pub(super) fn new(
        stream: WebSocketStream<StallGuard>,
        ping_every: Duration,
    ) -> (Self, WebSocket) {
        let (to_session, incoming) = mpsc::channel(INCOMING_MAX);
        let (outgoing, from_session) = mpsc::channel(OUTGOING_MAX);
        let pump = Self { stream, incoming: to_session, outgoing: from_session, ping_every };
        (pump, WebSocket { incoming, outgoing })
    }

    /// Moves messages until either side, or `stop`, ends it.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        match self.messages(stop).await {
            Ok((code, reason)) => self.close(code, reason).await,
            Err(error) => tracing::debug!(%error, "a WebSocket ended"),
        }
    }

    async fn messages(&mut self, stop: impl Future<Output = ()>) -> Result<Close, Error> {
        tokio::pin!(stop);
        let mut pings = interval_at(Instant::now() + self.ping_every, self.ping_every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        // A message that came, while the session has no room for it.
        let mut held = None;
        loop {
            tokio::select! {
                () = &mut stop => return Ok((CloseCode::Away, "the server stops")),
                text = self.outgoing.recv() => match text {
                    Some(text) => self.stream.send(Message::text(text)).await?,
                    None => return Ok((CloseCode::Normal, "")),
                },
                room = self.incoming.reserve(), if held.is_some() => {
                    // Without a session it is dropped, while what the session sent still goes out.
                    if let (Ok(room), Some(text)) = (room, held.take()) {
                        room.send(text);
                    }
                }
                message = self.stream.next(), if held.is_none() => {
                    missed = 0;
                    match message {
                        Some(Ok(Message::Text(text))) => held = Some(text.as_str().to_owned()),
                        Some(Ok(Message::Binary(_))) => {
                            return Ok((CloseCode::Unsupported, "only text is understood"));
                        }
                        // The library answers pings and closes.
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return fault(error),
                        None => return Err(Error::ConnectionClosed),
                    }
                }
                _ = pings.tick() => {
                    // Nothing is read while the session is behind, so nothing can be missed.
                    if held.is_none() {
                        if missed == MISSED_MAX {
                            return Ok((CloseCode::Away, "no sign of life"));
                        }
                        missed += 1;
                    }
                    self.stream.send(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    async fn close(self, code: CloseCode, reason: &'static str) {
        // The session learns at once that nothing comes and goes any more.
        let Self { mut stream, incoming, outgoing, .. } = self;
        drop((incoming, outgoing));
        let closing = async {
            stream.close(Some(CloseFrame { code, reason: reason.into() })).await?;
            let mut answered = false;
            while let Some(Ok(message)) = stream.next().await {
                answered |= message.is_close();
            }
            if !answered {
                // What broke the rules is not understood further, but closing with bytes unread
                // would reset the connection before the peer has read why.
                let socket = stream.get_mut();
                socket.shutdown().await?;
                while socket.read(&mut [0; 4096]).await? > 0 {}
            }
            Ok::<_, Error>(())
        };
        // A peer that does not answer in time sees the connection end.
        let _ = timeout(CLOSE_PATIENCE, closing).await;
    }
}

/// Tells a peer what it did wrong, if that is why reading failed.
fn fault(error: Error) -> Result<Close, Error> {
    match error {
        Error::Capacity(_) => Ok((CloseCode::Size, "the message is too long")),
        Error::Utf8(_) => Ok((CloseCode::Invalid, "the message is not UTF-8")),
        // The peer just went.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Err(error),
        Error::Protocol(_) => Ok((CloseCode::Protocol, "the protocol was violated")),
        error => Err(error),
    }
}
