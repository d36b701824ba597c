//! Peers that do not speak post-quantum are refused.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use session_runtime::quic::ALPN;

use crate::harness::{Node, PATIENCE, loopback, node};

/// Believes everything: what it is refused for is not its own doing.
#[derive(Debug)]
struct Gullible {
    raw_keys: bool,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw_keys
    }
}

#[derive(Debug)]
struct RawKeyTypeWithoutKey;

impl rustls::client::ResolvesClientCert for RawKeyTypeWithoutKey {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

struct Offer {
    groups: Vec<&'static dyn SupportedKxGroup>,
    schemes: Vec<SignatureScheme>,
    raw_keys: bool,
    alpn: &'static [u8],
}

/// What a proper client offers.
fn proper() -> Offer {
    Offer {
        groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        schemes: vec![SignatureScheme::ML_DSA_65],
        raw_keys: true,
        alpn: ALPN,
    }
}

/// A QUIC client that makes `offer` and believes every answer.
fn gullible(offer: Offer) -> (Endpoint, ClientConfig) {
    let provider = CryptoProvider { kx_groups: offer.groups, ..aws_lc_rs::default_provider() };
    let verifier = Gullible { raw_keys: offer.raw_keys, schemes: offer.schemes };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(RawKeyTypeWithoutKey));
    tls.alpn_protocols = vec![offer.alpn.to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    (Endpoint::client(loopback()).unwrap(), config)
}

/// Connects with raw QUIC, to misbehave above it.
pub(crate) async fn stranger(server: &Node) -> (Endpoint, Connection) {
    let (client, config) = gullible(proper());
    let connecting = client.connect_with(config, server.address(), "node.invalid").unwrap();
    let connection = connecting.await.unwrap();
    (client, connection)
}

/// Tries a handshake with our endpoint; the error is the peer's alert in words.
async fn attempt(offer: Offer) -> Result<(), String> {
    let server = node();
    let (client, config) = gullible(offer);
    let connecting = client.connect_with(config, server.address(), "node.invalid").unwrap();
    let result = connecting.await.map(|_| ()).map_err(|error| error.to_string());
    if result.is_err() {
        // The endpoint lives on, and gives the place back.
        let freed = async {
            while server.quic.stats().inbound > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, freed).await.unwrap();
        assert_eq!(server.quic.stats().handshakes_failed, 1);
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proper_offer_is_accepted() {
    assert_eq!(attempt(proper()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn classical_key_exchange_alone_is_refused() {
    let groups = vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1];
    let error = attempt(Offer { groups, ..proper() }).await.unwrap_err();
    assert!(error.contains("HandshakeFailure") || error.contains("40"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classical_preference_is_moved_to_the_hybrid() {
    let groups = vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::X25519MLKEM768];
    assert_eq!(attempt(Offer { groups, ..proper() }).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn classical_signatures_alone_are_refused() {
    let schemes = vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256];
    attempt(Offer { schemes, ..proper() }).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_instead_of_raw_keys_are_refused() {
    attempt(Offer { raw_keys: false, ..proper() }).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_refused() {
    attempt(Offer { alpn: b"h3", ..proper() }).await.unwrap_err();
}
