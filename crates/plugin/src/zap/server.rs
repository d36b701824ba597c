//! The listener: takes luxd's connections, and ends when luxd or its word ends the plugin.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ServeError;
use super::answer::Chain;
use super::connection;
use super::handshake::shake_hands;
use crate::hosted::Hosted;
use crate::life::{FAREWELL_TIME, Life};

/// Connections at once. luxd uses one; more than a few is somebody else, and not taken.
const CONNECTIONS_MAX: usize = 8;
/// How long to wait before accepting again when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the connections may take to send what is answered already.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// Shakes hands, serves, and says goodbye.
pub(super) async fn serve(engine: &str, vm: Arc<dyn Hosted>, life: Life) -> Result<(), ServeError> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(loopback).await.map_err(ServeError::Listen)?;
    let listen = listener.local_addr().map_err(ServeError::Listen)?;
    // The host dials back only after it has accepted, and then finds the listener's queue.
    shake_hands(engine, listen).await?;
    tracing::info!("the host accepted the plugin");
    let chain = Arc::new(Chain::new(vm.clone(), life.clone()));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let end = tokio::select! {
        end = life.ended() => end,
        never = accept(&listener, &chain, &life, &mut connections, stopped) => match never {},
    };
    tracing::info!(?end, "the plugin ends");
    drop(listener);
    let farewell = async {
        // The tasks hold receivers for as long as they run.
        let _ = stop.send(true);
        let flushed = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FLUSH_TIME, flushed).await;
        chain.close().await;
    };
    if tokio::time::timeout(FAREWELL_TIME, farewell).await.is_err() {
        tracing::warn!("the chain did not end in time");
    }
    Ok(())
}

/// Takes connections for ever.
async fn accept(
    listener: &TcpListener,
    chain: &Arc<Chain>,
    life: &Life,
    connections: &mut JoinSet<()>,
    stopped: watch::Receiver<bool>,
) -> std::convert::Infallible {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                    // Answers are small and waited for; failing to say so costs only latency.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection::serve(stream, chain.clone(), stopped.clone()));
                }
                Ok(_) => tracing::warn!(CONNECTIONS_MAX, "one connection too many: closed"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept the host's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "serving a connection failed");
                }
                // A host may come, ask for the version and go; one that has started the chain, or
                // ended it, does not come back.
                if connections.is_empty() && (chain.is_begun() || life.is_shut_down()) {
                    life.host_gone();
                }
            }
        }
    }
}
