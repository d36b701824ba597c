//! The socket, the accept loop, dials, and what connections share.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, Incoming, MtuDiscoveryConfig,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::SockRef;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::{self, Conn, DATAGRAM_BYTES_MAX};
use super::queue::Total;
use super::slots::{Slot, Slots};
use super::tls::{self, TlsError, Verifier};
use super::{
    Class, CloseReason, ConnId, Decode, DialError, Event, FRAME_BYTES_MAX, Options, PeerKey, Stats,
    TlsSigner,
};
use crate::bind::BindError;

/// What a peer may have in flight on one stream: two of the largest frames.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// What a peer may have in flight on a connection: both streams.
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;

/// What we keep of unacknowledged data on a connection.
const SEND_WINDOW_BYTES: u64 = CONNECTION_WINDOW_BYTES as u64;

/// Handshakes that QUIC itself holds before we look at them.
const INCOMING_MAX: usize = 1024;

/// The bookkeeping that one waiting frame costs beyond its body.
const FRAME_OVERHEAD_BYTES: usize = 256;

/// QUIC wants a server name; keys name our peers, and this never leaves the process.
const SERVER_NAME: &str = "node.invalid";

/// An event on its way, and the room it takes until it is received.
pub(super) type Sent<P> = (Event<P>, Option<OwnedSemaphorePermit>);

/// An endpoint and where its events come out.
type Bound<P> = (Arc<Shared<P>>, mpsc::Receiver<Sent<P>>);

/// What all tasks of an endpoint share.
pub(super) struct Shared<P> {
    pub(super) options: Options,
    pub(super) local: SocketAddr,
    pub(super) runtime: Handle,
    pub(super) events: mpsc::Sender<Sent<P>>,
    pub(super) queued: Arc<Total>,
    pub(super) counters: Counters,
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    signer: Option<Arc<dyn TlsSigner>>,
    decode: Decode<P>,
    connections: RwLock<BTreeMap<ConnId, Arc<Conn>>>,
    next_id: AtomicU64,
    handshakes: AtomicUsize,
    inbound: Arc<Slots>,
    outbound: Arc<Slots>,
    received: Arc<Semaphore>,
}

/// Closes the endpoint when the last handle goes.
pub(super) struct Owner<P>(pub(super) Arc<Shared<P>>);

impl<P> Drop for Owner<P> {
    fn drop(&mut self) {
        let reason = CloseReason::ShuttingDown;
        self.0.endpoint.close(reason.var_code(), reason.to_string().as_bytes());
    }
}

#[derive(Default)]
pub(super) struct Counters {
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
    datagrams_dropped: AtomicU64,
    refused: AtomicU64,
    handshakes_failed: AtomicU64,
}

impl Counters {
    pub(super) fn out(&self, size: usize) {
        self.frames_out.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn arrived(&self, size: usize) {
        self.frames_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(size as u64, Ordering::Relaxed);
    }
}

impl<P> Shared<P> {
    pub(super) fn next_id(&self) -> ConnId {
        ConnId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn connection(&self, conn: ConnId) -> Option<Arc<Conn>> {
        self.connections.read().unwrap_or_else(PoisonError::into_inner).get(&conn).cloned()
    }

    pub(super) fn insert(&self, id: ConnId, conn: Arc<Conn>) {
        self.connections.write().unwrap_or_else(PoisonError::into_inner).insert(id, conn);
    }

    pub(super) fn remove(&self, id: ConnId) {
        self.connections.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn all(&self) -> Vec<Arc<Conn>> {
        let connections = self.connections.read().unwrap_or_else(PoisonError::into_inner);
        connections.values().cloned().collect()
    }

    /// Hands a frame of a stream to the application, waiting until there is room for it.
    pub(super) async fn deliver(
        &self,
        conn: ConnId,
        class: Class,
        frame: Vec<u8>,
    ) -> Result<(), CloseReason> {
        let size = frame.len();
        let room = self.received.clone().acquire_many_owned(cost(size)).await;
        let room = room.map_err(|_| CloseReason::ShuttingDown)?;
        self.counters.arrived(size);
        let event = Event::Frame { conn, class, size, payload: (self.decode)(conn, class, frame) };
        let sent = self.events.send((event, Some(room))).await;
        sent.map_err(|_| CloseReason::ShuttingDown)
    }

    /// Hands a datagram to the application, or drops it when there is no room.
    pub(super) fn deliver_datagram(&self, conn: ConnId, frame: Vec<u8>) {
        let size = frame.len();
        let class = Class::Datagram;
        let room = self.received.clone().try_acquire_many_owned(cost(size));
        let (Ok(room), Ok(place)) = (room, self.events.try_reserve()) else {
            self.counters.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.counters.arrived(size);
        let event = Event::Frame { conn, class, size, payload: (self.decode)(conn, class, frame) };
        place.send((event, Some(room)));
    }

    pub(super) fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            inbound: self.inbound.total(),
            outbound: self.outbound.total(),
            queued_bytes: self.queued.bytes(),
            frames_in: counters.frames_in.load(Ordering::Relaxed),
            bytes_in: counters.bytes_in.load(Ordering::Relaxed),
            frames_out: counters.frames_out.load(Ordering::Relaxed),
            bytes_out: counters.bytes_out.load(Ordering::Relaxed),
            datagrams_dropped: counters.datagrams_dropped.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            handshakes_failed: counters.handshakes_failed.load(Ordering::Relaxed),
        }
    }
}

fn cost(size: usize) -> u32 {
    u32::try_from(size + FRAME_OVERHEAD_BYTES).expect("frames are at most 1 MiB")
}

pub(super) fn bind<P: Send + 'static>(
    options: Options,
    signer: Option<Arc<dyn TlsSigner>>,
    decode: Decode<P>,
) -> Result<Bound<P>, BindError> {
    let runtime = Handle::current();
    let server = match &signer {
        Some(signer) => Some(server_config(signer.clone(), &options)?),
        None => None,
    };
    let listen = options.listen;
    let endpoint = open(&options, server).map_err(|error| BindError::new(listen, error))?;
    let local = endpoint.local_addr().map_err(|error| BindError::new(listen, error))?;
    let (events, receiver) = mpsc::channel(options.events_max.max(1));
    let received = options.received_bytes_max.max(FRAME_BYTES_MAX + FRAME_OVERHEAD_BYTES);
    let accepts = signer.is_some();
    let shared = Arc::new(Shared {
        local,
        runtime,
        events,
        queued: Total::new(options.queued_bytes_max),
        counters: Counters::default(),
        endpoint,
        transport: Arc::new(transport(&options, 0)),
        signer,
        decode,
        connections: RwLock::default(),
        next_id: AtomicU64::new(1),
        handshakes: AtomicUsize::new(0),
        inbound: Slots::new(options.inbound_max, options.inbound_per_ip_max),
        outbound: Slots::new(options.outbound_max, options.outbound_max),
        received: Arc::new(Semaphore::new(received.min(Semaphore::MAX_PERMITS))),
        options,
    });
    if accepts {
        shared.runtime.spawn(accept(shared.clone()));
    }
    Ok((shared, receiver))
}

/// Opens the socket with large kernel buffers, as far as the system allows.
fn open(options: &Options, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(options.listen)?;
    let reference = SockRef::from(&socket);
    for result in [
        reference.set_recv_buffer_size(options.socket_buffer_bytes),
        reference.set_send_buffer_size(options.socket_buffer_bytes),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "the kernel keeps its socket buffer size");
        }
    }
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX).expect("above QUIC's minimum of 1200");
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// Jumbo frames of 9,000 bytes, less the headers of IPv6 and UDP. Probing finds what a path really
/// carries; networks of data centres and the loopback interface carry this much, and a store and its
/// receipts then travel in one packet each.
const UDP_PAYLOAD_BYTES_MAX: u16 = 8952;

fn server_config(signer: Arc<dyn TlsSigner>, options: &Options) -> Result<ServerConfig, TlsError> {
    let crypto = QuicServerConfig::try_from(tls::server(signer)?).map_err(TlsError::new)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(options, 2)));
    config.max_incoming(INCOMING_MAX);
    Ok(config)
}

fn transport(options: &Options, peer_streams_max: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle =
        VarInt::from_u64(u64::try_from(options.idle_timeout.as_millis()).unwrap_or(u64::MAX))
            .map(IdleTimeout::from)
            .ok(); // longer than 146 million years: never
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(peer_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(idle)
        .keep_alive_interval(Some(options.keep_alive))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(UDP_PAYLOAD_BYTES_MAX);
    config.mtu_discovery_config(Some(discovery));
    config
}

/// Takes in connections until the endpoint closes.
async fn accept<P: Send + 'static>(shared: Arc<Shared<P>>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        let crowded =
            shared.handshakes.load(Ordering::Relaxed) >= shared.options.unproven_handshakes_max;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            // Cannot fail: retrying was just allowed.
            let _ = incoming.retry();
            continue;
        }
        let Some(slot) = shared.inbound.take(incoming.remote_address().ip()) else {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
            continue;
        };
        shared.handshakes.fetch_add(1, Ordering::Relaxed);
        shared.runtime.spawn(welcome(shared.clone(), incoming, slot));
    }
}

async fn welcome<P: Send + 'static>(shared: Arc<Shared<P>>, incoming: Incoming, slot: Slot) {
    let connecting = async { incoming.accept()?.await };
    let result = timeout(shared.options.handshake_timeout, connecting).await;
    shared.handshakes.fetch_sub(1, Ordering::Relaxed);
    match result {
        Ok(Ok(quinn)) => connection::run(shared, quinn, None, slot).await,
        failed => {
            shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            if let Ok(Err(error)) = failed {
                tracing::debug!(%error, "an inbound handshake failed");
            }
        }
    }
}

pub(super) fn dial<P: Send + 'static>(
    shared: &Arc<Shared<P>>,
    dial: u64,
    address: SocketAddr,
    expected_key: Option<PeerKey>,
) -> Result<(), DialError> {
    let limit = shared.options.outbound_max;
    let slot = shared.outbound.take(address.ip()).ok_or(DialError::TooMany { limit })?;
    let shared = shared.clone();
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        match connect(&shared, address, expected_key).await {
            Ok(quinn) => connection::run(shared, quinn, Some(dial), slot).await,
            Err(why) => {
                drop(slot);
                // Without a listener nobody needs to know.
                let _ = shared.events.send((Event::DialFailed { dial, why }, None)).await;
            }
        }
    });
    Ok(())
}

async fn connect<P>(
    shared: &Shared<P>,
    address: SocketAddr,
    expected_key: Option<PeerKey>,
) -> Result<quinn::Connection, DialError> {
    let verifier = Arc::new(Verifier::new(expected_key));
    let crypto = tls::client(shared.signer.clone(), verifier.clone())
        .and_then(|config| QuicClientConfig::try_from(config).map_err(TlsError::new))
        .map_err(|error| DialError::Handshake(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(shared.transport.clone());
    let connecting = shared.endpoint.connect_with(config, address, SERVER_NAME).map_err(
        |error| match error {
            quinn::ConnectError::EndpointStopping => DialError::Stopped,
            _ => DialError::Address(address),
        },
    )?;
    let limit = shared.options.handshake_timeout;
    match timeout(limit, connecting).await {
        Ok(Ok(quinn)) => Ok(quinn),
        Ok(Err(_)) if verifier.wrong_key_seen() => Err(DialError::WrongKey),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(DialError::Timeout(limit)),
    }
}

/// The share of a shutdown's deadline that is spent on delivering what waits.
const DRAIN_SHARE: (u32, u32) = (3, 4);

pub(super) async fn shutdown<P: Send + 'static>(shared: &Arc<Shared<P>>, deadline: Duration) {
    let stopped = async {
        shared.endpoint.set_server_config(None);
        let drain_time = deadline * DRAIN_SHARE.0 / DRAIN_SHARE.1;
        let mut draining = JoinSet::new();
        for conn in shared.all() {
            draining.spawn(async move { conn.drain(drain_time).await });
        }
        // `join_all` would panic over a task that the end of the runtime has cancelled.
        while draining.join_next().await.is_some() {}
        for conn in shared.all() {
            conn.close(CloseReason::ShuttingDown);
        }
        let reason = CloseReason::ShuttingDown;
        shared.endpoint.close(reason.var_code(), reason.to_string().as_bytes());
        shared.endpoint.wait_idle().await;
    };
    // At the deadline the peers learn it from their idle timeout.
    let _ = timeout(deadline, stopped).await;
}
