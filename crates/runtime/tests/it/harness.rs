//! Endpoints with keys, and waits that fail instead of hanging.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use session_runtime::quic::{
    Class, CloseReason, ConnId, DialError, Event, Events, Options, PeerKey, Quic, TlsSigner,
};
use tokio::time::timeout;

/// Longer than any handshake or close under load; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestKey(PqdsaKeyPair);

impl TestKey {
    pub(crate) fn generate() -> Arc<Self> {
        Arc::new(Self(PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap()))
    }
}

impl TlsSigner for TestKey {
    fn public_key(&self) -> PeerKey {
        let key: Box<[u8]> = self.0.public_key().as_ref().into();
        key.try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
        self.0.sign(message, &mut signature).ok()?;
        Some(signature)
    }
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An endpoint whose payloads are the bodies themselves.
pub(crate) struct Node {
    pub(crate) quic: Quic<Vec<u8>>,
    pub(crate) events: Events<Vec<u8>>,
    pub(crate) key: Option<Arc<TestKey>>,
}

pub(crate) struct Connected {
    pub(crate) conn: ConnId,
    pub(crate) inbound: bool,
    pub(crate) peer_key: Option<PeerKey>,
    pub(crate) exporter: [u8; 32],
    pub(crate) dial: Option<u64>,
}

impl Node {
    pub(crate) fn new(options: Options) -> Self {
        Self::with(options, Some(TestKey::generate()))
    }

    pub(crate) fn client() -> Self {
        Self::with(Options::new(loopback()), None)
    }

    fn with(options: Options, key: Option<Arc<TestKey>>) -> Self {
        let signer = key.clone().map(|key| key as Arc<dyn TlsSigner>);
        let (quic, events) = Quic::bind(options, signer, Arc::new(|_, _, body| body)).unwrap();
        Self { quic, events, key }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.quic.local_addr()
    }

    pub(crate) fn public_key(&self) -> PeerKey {
        self.key.as_ref().unwrap().public_key()
    }

    pub(crate) async fn event(&mut self) -> Event<Vec<u8>> {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("an endpoint")
    }

    pub(crate) async fn connected(&mut self) -> Connected {
        match self.event().await {
            Event::Connected { conn, inbound, peer_key, exporter, dial, .. } => {
                Connected { conn, inbound, peer_key, exporter, dial }
            }
            other => panic!("expected Connected, got {other:?}"),
        }
    }

    pub(crate) async fn frame(&mut self) -> (ConnId, Class, Vec<u8>) {
        match self.event().await {
            Event::Frame { conn, class, size, payload } => {
                assert_eq!(size, payload.len());
                (conn, class, payload)
            }
            other => panic!("expected Frame, got {other:?}"),
        }
    }

    pub(crate) async fn disconnected(&mut self) -> CloseReason {
        let ended = async {
            loop {
                match self.event().await {
                    Event::Disconnected { why, .. } => return why,
                    Event::Frame { .. } => {}
                    other => panic!("expected Disconnected, got {other:?}"),
                }
            }
        };
        timeout(PATIENCE, ended).await.expect("a disconnect in time")
    }

    pub(crate) async fn dial_failed(&mut self) -> DialError {
        match self.event().await {
            Event::DialFailed { why, .. } => why,
            other => panic!("expected DialFailed, got {other:?}"),
        }
    }
}

/// Connects `dialer` to `acceptor`.
pub(crate) async fn connect(dialer: &mut Node, acceptor: &mut Node) -> (Connected, Connected) {
    let expected = acceptor.public_key();
    dialer.quic.dial(7, acceptor.address(), Some(expected)).unwrap();
    (dialer.connected().await, acceptor.connected().await)
}

pub(crate) fn node() -> Node {
    Node::new(Options::new(loopback()))
}
