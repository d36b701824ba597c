//! avalanchego: gRPC rpcchainvm, protocols 45 and 46.
//!
//! *Provided:* the handshake, all calls of `vm.VM` and `http.HTTP`, the host's database and its
//! gossip network as the chain sees them, an end when the host is gone. *Not provided:* state
//! sync, requests between validators, upgrades of HTTP connections, authentication: as with every
//! plugin of avalanchego, whoever may connect to the loopback interface may call.
//!
//! | module | holds |
//! |---|---|
//! | `service` | the server of `vm.VM` |
//! | `http` | the server of `http.HTTP` |
//! | `database` | the client of `rpcdb.Database` |
//! | `gossip` | the client of `appsender.AppSender` |
//! | `connections` | which connections the host holds |
//! | [`wire`] | the generated messages, clients and servers |

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use session_runtime::failure::chain;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::{Endpoint, Server};

use crate::hosted::Hosted;
use crate::life::{self, End, Life};
use wire::vm::runtime::{InitializeRequest, runtime_client::RuntimeClient};

mod connections;
mod database;
mod gossip;
mod health;
mod http;
mod service;
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[doc(hidden)]
pub mod wire;

/// The protocol number of avalanchego 1.14; 1.15 has 46, with the same messages.
pub const PROTOCOL: u32 = 45;

/// How long the handshake may take. The host kills a plugin after 5 s; what is left of them is for
/// saying why.
const HANDSHAKE_TIME: Duration = Duration::from_secs(4);

/// How often an idle connection to the host is tried. The host's servers forbid less than 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long the host may take to answer a ping, or to take a connection.
const PING_TIME: Duration = Duration::from_secs(10);

/// How long calls in progress may take to end, once the plugin ends.
const CALLS_TIME: Duration = Duration::from_secs(1);

/// Why serving a host ended badly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The signal handlers cannot be installed.
    #[error("cannot take over the signals")]
    Signals(#[source] io::Error),
    /// No port can be had.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] io::Error),
    /// Nobody takes the handshake.
    #[error(
        "the engine at {address:?} (AVALANCHE_VM_RUNTIME_ENGINE_ADDR) does not answer: {why}; \
         sessionvm is started by avalanchego, not by hand"
    )]
    NoAnswer {
        /// The engine's address, as it was given.
        address: String,
        /// What happened instead.
        why: String,
    },
    /// The host does not want this plugin, most likely because of its protocol number.
    #[error(
        "avalanchego refused this plugin, which speaks rpcchainvm protocol {protocol}: {why}; \
         `--rpcchainvm N` or GRPC_SESSIONVM_PROTOCOL=N sets another number"
    )]
    Refused {
        /// The number that was offered.
        protocol: u32,
        /// The host's words.
        why: String,
    },
    /// The gRPC server failed.
    #[error("the gRPC server ended: {0}")]
    Server(String),
}

/// Serves a chain to the avalanchego at `engine_address`, until that ends the plugin or is gone.
///
/// # Errors
/// When the handshake fails, or the server does.
pub async fn serve(
    engine_address: &str,
    protocol: u32,
    vm: Arc<dyn Hosted>,
) -> Result<(), ServeError> {
    let life = Life::start(life::parent()).map_err(ServeError::Signals)?;
    serve_for(life, engine_address, protocol, vm).await
}

/// [`serve`] for a given life.
async fn serve_for(
    life: Life,
    engine_address: &str,
    protocol: u32,
    vm: Arc<dyn Hosted>,
) -> Result<(), ServeError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ServeError::Listen)?;
    let local = listener.local_addr().map_err(ServeError::Listen)?;
    let (incoming, count) = connections::accept(listener);
    let ended = life.ended();
    let server = Server::builder()
        .add_service(service::server(vm.clone(), life.clone(), local))
        .add_service(http::server(vm.clone()))
        .add_service(health::server())
        .serve_with_incoming_shutdown(incoming, async move {
            ended.await;
        });
    // Aborted when dropped, so that a failed handshake leaves no listener behind.
    let mut serving = JoinSet::new();
    serving.spawn(server);
    shake_hands(engine_address, protocol, local).await?;
    tracing::info!(%local, protocol, "avalanchego knows this plugin");

    let end = tokio::select! {
        // The server ends with the life, too.
        biased;
        end = life.ended() => end,
        () = connections::gone(count, &life) => {
            life.host_gone();
            End::HostGone
        }
        ended = serving.join_next() => {
            return Err(ServeError::Server(format!("{ended:?}")));
        }
    };
    tracing::info!(?end, "the plugin ends");
    if !life.is_shut_down() {
        // The host is gone without a word: what is in memory still belongs to disk.
        let closing = tokio::task::spawn_blocking(move || vm.shutdown());
        match timeout(life::FAREWELL_TIME - CALLS_TIME, closing).await {
            Ok(Ok(Ok(()))) => {}
            failed => tracing::warn!(?failed, "the chain could not be shut down"),
        }
    }
    // Connections that are still busy then end with the process.
    let _ = timeout(CALLS_TIME, serving.join_next()).await;
    Ok(())
}

/// Tells the host the number and the address.
async fn shake_hands(
    engine_address: &str,
    protocol_version: u32,
    local: SocketAddr,
) -> Result<(), ServeError> {
    let no_answer = |why: String| ServeError::NoAnswer { address: engine_address.to_owned(), why };
    let introduction = async {
        let channel = endpoint(engine_address)
            .map_err(no_answer)?
            .connect()
            .await
            .map_err(|error| no_answer(chain(&error)))?;
        let request = InitializeRequest { protocol_version, addr: local.to_string() };
        let answer = RuntimeClient::new(channel).initialize(request).await;
        answer.map(drop).map_err(|status| match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Unimplemented => {
                no_answer(status.message().to_owned())
            }
            _ => {
                ServeError::Refused { protocol: protocol_version, why: status.message().to_owned() }
            }
        })
    };
    match timeout(HANDSHAKE_TIME, introduction).await {
        Ok(outcome) => outcome,
        Err(_) => Err(no_answer(format!("nothing came within {HANDSHAKE_TIME:?}"))),
    }
}

/// Describes how a server of the host is called: clear HTTP/2, and noticed when it dies.
fn endpoint(address: &str) -> Result<Endpoint, String> {
    let address: SocketAddr =
        address.parse().map_err(|_| format!("{address:?} is not an address and a port"))?;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| chain(&e))?;
    Ok(endpoint
        .connect_timeout(PING_TIME)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIME)
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests;
