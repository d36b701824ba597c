//! Identities of the crypto crate as TLS keys: two implementations of ML-DSA-65 meet here, since
//! one signs and the other verifies.

use std::sync::Arc;

use session_core::{Entropy, SeededEntropy};
use session_crypto::Identity;
use session_runtime::quic::{Event, Options, Quic, TlsSigner};

use crate::harness::{loopback, node};

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_signs_handshakes() {
    let mut rng = SeededEntropy::new(5);
    let identity = Arc::new(Identity::from_seed(&rng.bytes32()));
    let decode = Arc::new(|_, _, body: Vec<u8>| body);
    let options = Options::new(loopback());
    let (quic, mut events) = Quic::bind(options, Some(identity.clone()), decode).unwrap();
    let mut other = node();

    // As the dialer ...
    quic.dial(1, other.address(), Some(other.public_key())).unwrap();
    let inbound = other.connected().await;
    assert_eq!(inbound.peer_key.unwrap().as_slice(), identity.public().dsa().as_bytes());
    assert!(matches!(events.recv().await, Some(Event::Connected { dial: Some(1), .. })));
    // ... and as the one who is dialed.
    other.quic.dial(2, quic.local_addr(), Some(identity.public_key())).unwrap();
    assert_eq!(other.connected().await.dial, Some(2));
}
