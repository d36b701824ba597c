//! TLS 1.3 with raw ML-DSA-65 public keys (RFC 7250) and hybrid key exchange.
//!
//! *Provided*: both sides prove that they hold the ML-DSA-65 key they show; the channel's secrets
//! come from X25519MLKEM768, so that recorded traffic stays closed to a later quantum computer.
//! *Not provided*: any statement about *who* owns a key. That is the application's handshake, which
//! binds itself to this channel through the exporter.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, SignatureAlgorithm, SignatureScheme,
};

/// The application protocol that both sides must name.
pub const ALPN: &[u8] = b"lux-session/1";

/// The label under which the channel binding is exported.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-lux-session-handshake";

/// The length of an ML-DSA-65 public key.
pub const PUBLIC_KEY_BYTES: usize = 1952;

/// The raw ML-DSA-65 public key of a peer.
pub type PeerKey = Box<[u8; PUBLIC_KEY_BYTES]>;

/// `SubjectPublicKeyInfo { { 2.16.840.1.101.3.4.3.18 }, BIT STRING of 1952 bytes }` up to the key.
///
/// DER has one encoding, and every length in it is fixed, so comparing this prefix *is* the strict
/// parser.
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x07, 0xb2, // SEQUENCE, 1970 bytes
    0x30, 0x0b, // SEQUENCE, 11 bytes, no parameters
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, // the OID
    0x03, 0x82, 0x07, 0xa1, 0x00, // BIT STRING, 1953 bytes, no unused bits
];

/// Signs TLS transcripts with an ML-DSA-65 key that never leaves its owner.
pub trait TlsSigner: Send + Sync {
    /// Returns the public key.
    fn public_key(&self) -> PeerKey;

    /// Signs `message` with the empty FIPS 204 context, or returns `None` when it cannot.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// Why a TLS configuration could not be made: always a fault of this build, never of a peer.
#[derive(Debug, thiserror::Error)]
#[error("TLS set-up: {0}")]
pub struct TlsError(String);

impl TlsError {
    pub(super) fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

/// Wraps a raw key into its `SubjectPublicKeyInfo`.
pub(super) fn spki(key: &[u8; PUBLIC_KEY_BYTES]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SPKI_PREFIX.len() + key.len());
    out.extend_from_slice(&SPKI_PREFIX);
    out.extend_from_slice(key);
    out
}

/// Extracts the raw key, or returns `None` for anything but the one encoding of an ML-DSA-65 key.
pub(super) fn key_of(spki: &[u8]) -> Option<PeerKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    let key: Box<[u8]> = key.into();
    key.try_into().ok()
}

/// One provider for the process: hybrid key exchange only, TLS 1.3 suites only.
///
/// AES-128-GCM must stay in the list: QUIC protects its first packets with it.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    Arc::new(provider)
});

/// Makes the accepting side: offers client authentication, and does not require it.
pub(super) fn server(signer: Arc<dyn TlsSigner>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier::new(None)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(signer))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Makes the dialing side; `verifier` remembers whether the key was the wrong one.
pub(super) fn client(
    signer: Option<Arc<dyn TlsSigner>>,
    verifier: Arc<Verifier>,
) -> Result<ClientConfig, TlsError> {
    let resolver: Arc<dyn ResolvesClientCert> = match signer {
        Some(signer) => Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(signer))),
        None => Arc::new(NoClientKey),
    };
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // rustls' word for any verifier of one's own; this one checks possession
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false; // keys name peers; a host name would only leak
    Ok(config)
}

fn certified(signer: Arc<dyn TlsSigner>) -> Arc<CertifiedKey> {
    let spki = spki(&signer.public_key());
    let cert = CertificateDer::from(spki.clone());
    Arc::new(CertifiedKey::new(vec![cert], Arc::new(Key { spki, signer })))
}

/// The [`TlsSigner`] in the shape that rustls asks for.
struct Key {
    spki: Vec<u8>,
    signer: Arc<dyn TlsSigner>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = OneSignature(self.signer.clone());
        offered.contains(&SignatureScheme::ML_DSA_65).then(|| Box::new(signer) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // TLS 1.2 vocabulary that has no word for ML-DSA; unused in TLS 1.3.
        SignatureAlgorithm::Unknown(0)
    }
}

struct OneSignature(Arc<dyn TlsSigner>);

impl fmt::Debug for OneSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneSignature")
    }
}

impl Signer for OneSignature {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).ok_or_else(|| rustls::Error::General("the signer refused".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ML_DSA_65
    }
}

/// A client without a key: it still names the raw-key type, which the server insists on, and then
/// answers the request for a key with none.
#[derive(Debug)]
struct NoClientKey;

impl ResolvesClientCert for NoClientKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Accepts any well-formed ML-DSA-65 key whose holder signs the transcript; on dial, only `expected`.
pub(super) struct Verifier {
    expected: Option<PeerKey>,
    wrong_key_seen: AtomicBool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    pub(super) fn new(expected: Option<PeerKey>) -> Self {
        Self {
            expected,
            wrong_key_seen: AtomicBool::new(false),
            algorithms: PROVIDER.signature_verification_algorithms,
        }
    }

    /// Tells whether the peer showed another key than the expected one.
    pub(super) fn wrong_key_seen(&self) -> bool {
        self.wrong_key_seen.load(Ordering::Relaxed)
    }

    fn check_key(&self, spki: &[u8], chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let key = key_of(spki).filter(|_| chain.is_empty());
        let key = key.ok_or(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        match &self.expected {
            Some(expected) if *expected != key => {
                self.wrong_key_seen.store(true, Ordering::Relaxed);
                let error = CertificateError::ApplicationVerificationFailure;
                Err(rustls::Error::InvalidCertificate(error))
            }
            _ => Ok(()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        spki: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if signed.scheme != SignatureScheme::ML_DSA_65 {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        let spki = SubjectPublicKeyInfoDer::from(spki);
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        spki: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check_key(spki, chain).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, spki, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        spki: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check_key(spki, chain).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, spki, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
