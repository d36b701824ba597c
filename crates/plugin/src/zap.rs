//! luxd: the ZAP transport, protocol 42.
//!
//! The driver listens on a loopback port, tells luxd where, and answers luxd's requests by calling
//! a [`Hosted`] chain. It knows nothing of what the chain does.
//!
//! | module | holds |
//! |---|---|
//! | [`wire`] | how values lie in a body |
//! | [`frame`] | how bodies travel |
//! | [`message`] | what luxd asks, and what it is told |
//! | [`database`] | luxd's database, as a chain uses it |
//! | `dial`, `handshake` | the way to luxd, and the first words |
//! | `server`, `connection`, `answer` | the driver |
//!
//! *Provided:* concurrent requests, bounded in number and bytes; malformed requests are answered
//! and change nothing. *Not provided:* authentication: whoever may connect to a loopback port of
//! this machine may drive the chain, as with every plugin of luxd.

use std::io;
use std::sync::Arc;

use crate::hosted::Hosted;
use crate::life::{self, Life};

mod answer;
mod connection;
pub mod database;
mod dial;
pub mod frame;
mod handshake;
pub mod message;
mod server;
pub mod wire;

pub use handshake::{PROTOCOL, handshake_frame};

/// Why the driver could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No port could be had on the loopback interface.
    #[error("cannot listen on the loopback interface: {0}")]
    Listen(io::Error),
    /// The signal handlers could not be installed.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// Nobody listens at the engine address, or the connection broke.
    #[error("no host at the engine address {engine}: {error}")]
    Unreachable {
        /// The engine address.
        engine: String,
        /// What the system says.
        error: io::Error,
    },
    /// The host says nothing.
    #[error("the host at the engine address {engine} did not answer the handshake in time")]
    NoAnswer {
        /// The engine address.
        engine: String,
    },
    /// The host closed the connection without a word, as it does with a protocol it does not speak.
    #[error("the host at {engine} refused the handshake: it does not speak protocol {PROTOCOL}")]
    Refused {
        /// The engine address.
        engine: String,
    },
    /// Somebody else listens at the engine address.
    #[error("what listens at {engine} is no host: it answered the handshake with {answer:#04x}")]
    NotAHost {
        /// The engine address.
        engine: String,
        /// What it answered instead of `0x01`.
        answer: u8,
    },
}

/// Lets a host drive a chain, until the host ends it or is gone.
///
/// # Errors
/// When the host cannot be reached or refuses the handshake, within 5 s.
pub async fn serve(engine_address: &str, vm: Arc<dyn Hosted>) -> Result<(), ServeError> {
    let life = Life::start(life::parent()).map_err(ServeError::Signals)?;
    serve_life(engine_address, vm, life).await
}

/// Lets a host drive a chain, until `life` ends or the host is gone.
///
/// # Errors
/// As [`serve`].
pub async fn serve_life(
    engine_address: &str,
    vm: Arc<dyn Hosted>,
    life: Life,
) -> Result<(), ServeError> {
    server::serve(engine_address, vm, life).await
}
