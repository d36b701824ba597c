//! The client's side: one WebSocket to a server of ours.

use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error;

use super::WebSocket;
use super::pump::{Pump, config};
use crate::http::client::{self, BadEndpoint, ClientError, Endpoint};
use crate::http::stall::StallGuard;

/// The part of a refusal's text that is kept.
const REFUSAL_CHARS_MAX: usize = 200;

/// How long a client waits, and how much it takes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Until the server took the connection, and until it answered the handshake.
    pub connect_timeout: Duration,
    /// A message that comes in.
    pub message_bytes_max: usize,
    /// A pause in which the server takes nothing of a message.
    pub write_timeout: Duration,
    /// The time between two pings; after two without an answer the connection ends.
    pub ping_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            message_bytes_max: 4 << 20,
            write_timeout: Duration::from_secs(30),
            ping_every: Duration::from_secs(30),
        }
    }
}

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not `ws://host:port/path`.
    #[error("the address is malformed")]
    Endpoint(#[from] BadEndpoint),
    /// The server cannot be reached, or does not answer.
    #[error("cannot reach the server")]
    Client(#[from] ClientError),
    /// The server answered, but not with a WebSocket.
    #[error("the server refused the WebSocket with status {status}: {text:?}")]
    Refused {
        /// Its status.
        status: u16,
        /// The start of its words.
        text: String,
    },
    /// The answer is none of a WebSocket server.
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

/// Opens a WebSocket to `ws://host:port/path`. Dropping it closes it.
///
/// # Errors
/// When the text is malformed, or the server does not accept in time.
pub async fn connect(url: &str, options: Options) -> Result<WebSocket, ConnectError> {
    let endpoint = Endpoint::parse_as(url, "ws", "wss")?;
    let limit = options.connect_timeout;
    let stream = client::connect(&endpoint, limit).await?;
    let stream = StallGuard::new(stream, options.write_timeout);
    let url = format!("ws://{}{}", endpoint.authority(), endpoint.path(""));
    let config = config(options.message_bytes_max);
    let opening = client_async_with_config(url, stream, Some(config));
    let late = |_| ClientError::Late { what: "handshake", limit };
    let (stream, _) =
        timeout(limit, opening).await.map_err(late)?.map_err(|error| match error {
            Error::Http(response) => {
                let status = response.status().as_u16();
                let body = response.into_body().unwrap_or_default();
                let text = String::from_utf8_lossy(&body).chars().take(REFUSAL_CHARS_MAX).collect();
                ConnectError::Refused { status, text }
            }
            error => ConnectError::Handshake(error.to_string()),
        })?;
    let (pump, socket) = Pump::new(stream, options.ping_every);
    // Ends when the socket is dropped, or the connection is gone.
    tokio::spawn(pump.run(std::future::pending()));
    Ok(socket)
}
