//! Between the machine's numbers and the sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use session_core::Time;
use session_crypto::DsaPublicKey;
use session_daemon::{Input, relay};
use session_network as network;
use session_protocol::{Checker, Frame, Kind};
use session_runtime::quic::{Class, ConnId, Event, PeerKey, Quic, SendError};
use tokio::sync::mpsc;

/// What a frame becomes on the task of its connection.
pub(crate) type Checked = relay::Heard;

/// Checks a frame of a connection that carries no onion packets to open.
pub(crate) fn checked(checker: &Checker, body: &[u8]) -> Checked {
    relay::read(checker, None, Time::ZERO, body)
}

/// Returns what a machine that only has connections is to know.
pub(crate) fn of_network(input: Input) -> Option<network::Input> {
    match input {
        Input::Network(input) => Some(input),
        Input::Frame { conn, class, size, heard } => {
            Some(network::Input::Frame { conn, class, size, frame: heard.frame })
        }
        _ => None,
    }
}

/// What was sent before a close may take this long to arrive.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A name that does not resolve within this time does not resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Dials whose name is being resolved.
const RESOLVING_MAX: usize = 64;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was handed over, or its connection is gone or ends.
    Done,
    /// It was dropped.
    Dropped,
}

/// The open connections, under the numbers that the machine knows.
pub(crate) struct Connections {
    quic: Quic<Checked>,
    numbers: BTreeMap<ConnId, network::ConnId>,
    connections: BTreeMap<network::ConnId, ConnId>,
    last: u64,
    resolved: mpsc::Sender<Resolved>,
    resolving: mpsc::Receiver<Resolved>,
}

/// The outcome of looking up the name of a node.
struct Resolved {
    dial: u64,
    key: PeerKey,
    address: Result<SocketAddr, String>,
}

impl Connections {
    pub(crate) fn new(quic: Quic<Checked>) -> Self {
        let (resolved, resolving) = mpsc::channel(RESOLVING_MAX);
        Self {
            quic,
            numbers: BTreeMap::new(),
            connections: BTreeMap::new(),
            last: 0,
            resolved,
            resolving,
        }
    }

    /// Returns what the machine is to know of an event, if anything.
    pub(crate) fn input(&mut self, event: Event<Checked>) -> Option<Input> {
        Some(Input::Network(match event {
            Event::Connected { conn, inbound, remote, peer_key, exporter, dial } => {
                self.last += 1;
                let number = network::ConnId(self.last);
                self.numbers.insert(conn, number);
                self.connections.insert(number, conn);
                let peer_key = peer_key.and_then(|key| machine_key(&key));
                let remote = remote.ip().to_canonical();
                network::Input::Connected {
                    conn: number,
                    inbound,
                    remote,
                    peer_key,
                    exporter,
                    dial,
                }
            }
            Event::Frame { conn, class, size, payload } => {
                let (conn, class) = (*self.numbers.get(&conn)?, machine_class(class));
                return Some(Input::Frame { conn, class, size, heard: payload });
            }
            Event::Disconnected { conn, why } => {
                let number = self.numbers.remove(&conn)?;
                self.connections.remove(&number);
                tracing::debug!(connection = number.0, %why, "disconnected");
                network::Input::Disconnected { conn: number }
            }
            Event::DialFailed { dial, why } => {
                network::Input::DialFailed { dial, why: why.to_string() }
            }
        }))
    }

    /// Sends a frame. A connection that cannot take it is closed by the endpoint; onion packets
    /// are dropped before it comes to that, for others make as many of them as they like.
    pub(crate) fn send(
        &self,
        conn: network::ConnId,
        class: network::Class,
        frame: Vec<u8>,
    ) -> Sent {
        let Some(&conn) = self.connections.get(&conn) else { return Sent::Done };
        let class = socket_class(class);
        if matches!(Frame::split(&frame), Ok((Kind::Onion, _))) {
            let dropped =
                matches!(self.quic.offer(conn, class, frame), Err(SendError::QueueFull { .. }));
            return if dropped { Sent::Dropped } else { Sent::Done };
        }
        if let Err(error) = self.quic.send(conn, class, frame) {
            tracing::debug!(%error, "a frame was not sent");
        }
        Sent::Done
    }

    /// Returns the number of a connection on the endpoint.
    pub(super) fn socket(&self, conn: network::ConnId) -> Option<ConnId> {
        self.connections.get(&conn).copied()
    }

    /// Closes a connection, after what was sent over it before.
    pub(crate) fn close(&self, conn: network::ConnId, why: String) {
        if let Some(&conn) = self.connections.get(&conn) {
            self.quic.finish(conn, why, FINISH_TIMEOUT);
        }
    }

    /// Begins to connect. Returns what the machine is to know if that fails at once.
    pub(crate) fn dial(
        &self,
        dial: u64,
        address: String,
        key: &DsaPublicKey,
    ) -> Option<network::Input> {
        let key = socket_key(key);
        if let Ok(address) = address.parse() {
            return self.dial_socket(dial, address, key);
        }
        // Held while the name is looked up, so that the answer always has a place.
        let Ok(place) = self.resolved.clone().try_reserve_owned() else {
            let why = "too many names are being looked up".to_owned();
            return Some(network::Input::DialFailed { dial, why });
        };
        let family = self.quic.local_addr().ip();
        tokio::spawn(async move {
            let address = resolve(&address, family).await;
            place.send(Resolved { dial, key, address });
        });
        None
    }

    /// Waits for a name to be looked up. Returns what the machine is to know, if anything.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn looked_up(&mut self) -> Option<network::Input> {
        let Resolved { dial, key, address } = self.resolving.recv().await?;
        match address {
            Ok(address) => self.dial_socket(dial, address, key),
            Err(why) => Some(network::Input::DialFailed { dial, why }),
        }
    }

    fn dial_socket(&self, dial: u64, address: SocketAddr, key: PeerKey) -> Option<network::Input> {
        let error = self.quic.dial(dial, address, Some(key)).err()?;
        Some(network::Input::DialFailed { dial, why: error.to_string() })
    }

    /// Returns the number of open connections.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }
}

async fn resolve(address: &str, family: IpAddr) -> Result<SocketAddr, String> {
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(address)).await;
    let mut found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the name was not resolved in time".to_owned()),
    };
    found
        .find(|found| found.is_ipv4() == family.is_ipv4() || family.is_unspecified())
        .ok_or_else(|| "the name has no address of the family we listen on".to_owned())
}

fn machine_key(key: &PeerKey) -> Option<DsaPublicKey> {
    DsaPublicKey::try_from(key.as_slice()).ok()
}

fn socket_key(key: &DsaPublicKey) -> PeerKey {
    Box::new(*key.as_bytes())
}

const fn machine_class(class: Class) -> network::Class {
    match class {
        Class::Interactive => network::Class::Interactive,
        Class::Bulk => network::Class::Bulk,
        Class::Datagram => network::Class::Datagram,
    }
}

const fn socket_class(class: network::Class) -> Class {
    match class {
        network::Class::Interactive => Class::Interactive,
        network::Class::Bulk => Class::Bulk,
        network::Class::Datagram => Class::Datagram,
    }
}
