//! Joins a network machine to the QUIC endpoint: the same things under two names.

use std::net::SocketAddr;
use std::sync::Arc;

use session_crypto::DsaPublicKey;
use session_network::{Class, ConnId, Input};
use session_protocol::inbound::Fault;
use session_protocol::{Checker, Inbound};
use session_runtime::quic::{self, Event, Events, Options, PeerKey, Quic};

use crate::exit::{Doing, Result};

/// What arrives in a frame.
pub(crate) type Payload = std::result::Result<Inbound, Fault>;

/// Opens a client's endpoint on a port of the system's choice.
pub(crate) fn bind(checker: Arc<Checker>) -> Result<(Quic<Payload>, Events<Payload>)> {
    let options = Options::new(SocketAddr::from(([0, 0, 0, 0], 0)));
    let decode: quic::Decode<Payload> = Arc::new(move |_, _, body| checker.check(&body));
    Quic::bind(options, None, decode).doing(|| "cannot open a UDP socket".to_owned())
}

/// Tells the machine what happened on the endpoint.
pub(crate) fn input(event: Event<Payload>) -> Input {
    match event {
        Event::Connected { conn, inbound, remote, peer_key, exporter, dial } => Input::Connected {
            conn: ConnId(conn.into()),
            inbound,
            remote: remote.ip(),
            peer_key: peer_key.map(|key| DsaPublicKey::from(*key)),
            exporter,
            dial,
        },
        Event::Frame { conn, class, size, payload } => {
            Input::Frame { conn: ConnId(conn.into()), class: class_in(class), size, frame: payload }
        }
        Event::Disconnected { conn, .. } => Input::Disconnected { conn: ConnId(conn.into()) },
        Event::DialFailed { dial, why } => Input::DialFailed { dial, why: why.to_string() },
    }
}

const fn class_in(class: quic::Class) -> Class {
    match class {
        quic::Class::Interactive => Class::Interactive,
        quic::Class::Bulk => Class::Bulk,
        quic::Class::Datagram => Class::Datagram,
    }
}

pub(crate) const fn class_out(class: Class) -> quic::Class {
    match class {
        Class::Interactive => quic::Class::Interactive,
        Class::Bulk => quic::Class::Bulk,
        Class::Datagram => quic::Class::Datagram,
    }
}

/// Returns a key in the form the endpoint takes.
pub(crate) fn peer_key(key: &DsaPublicKey) -> PeerKey {
    Box::new(*key.as_bytes())
}
