//! The first words: who we are, where we listen, which protocol we speak.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::ServeError;
use super::dial::Stream;
use super::wire::Field;

/// The number of the protocol that this driver speaks.
pub const PROTOCOL: u32 = 42;

/// How long the whole handshake may take: hosts give up after 5 s, and so must our exit be.
const HANDSHAKE_TIME: Duration = Duration::from_secs(4);
/// What a host answers when it speaks the same protocol.
const ACCEPTED: u8 = 1;

/// Returns the frame that tells the host where the plugin listens.
#[must_use]
pub fn handshake_frame(protocol: u32, listen: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    protocol.write(&mut payload);
    payload.extend_from_slice(listen.as_bytes());
    let mut frame = Vec::new();
    super::wire::write_bytes(&payload, &mut frame);
    frame
}

/// Tells the host where the plugin listens, and waits until it agrees.
pub(super) async fn shake_hands(engine: &str, listen: SocketAddr) -> Result<(), ServeError> {
    let address = engine.to_owned();
    // Blocking, because addresses may be names; the timeout covers a name that does not resolve.
    let shaking = tokio::task::spawn_blocking(move || speak(&address, &listen.to_string()));
    match tokio::time::timeout(HANDSHAKE_TIME, shaking).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => Err(ServeError::NoAnswer { engine: engine.to_owned() }),
    }
}

fn speak(engine: &str, listen: &str) -> Result<(), ServeError> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ServeError::NoAnswer { engine: engine.to_owned() }
        }
        _ => ServeError::Unreachable { engine: engine.to_owned(), error },
    };
    let mut stream = Stream::dial(engine, HANDSHAKE_TIME).map_err(broken)?;
    stream.write_all(&handshake_frame(PROTOCOL, listen)).map_err(broken)?;
    let mut answer = [0];
    match stream.read(&mut answer).map_err(broken)? {
        0 => Err(ServeError::Refused { engine: engine.to_owned() }),
        _ if answer[0] == ACCEPTED => Ok(()),
        _ => Err(ServeError::NotAHost { engine: engine.to_owned(), answer: answer[0] }),
    }
}
