//! What the library gets from us beside storage: cryptography and entropy.
//!
//! One provider serves one call. Its entropy is a generator seeded from the caller's, so that the
//! library, which wants doors that can be shared between threads, draws no other. Encapsulations
//! derive theirs from that seed and from what they encrypt: the library makes several of them at
//! once, and the order in which threads get there must not show.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openmls_traits::OpenMlsProvider;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext,
    HpkeConfig, HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
};
use session_core::{Domain, Entropy as _, SeededEntropy};
use session_crypto::hpke::{self, PrivateKey};
use session_crypto::{DsaPublicKey, KemCiphertext, KemPublicKey, Signature, SymmetricKey, kdf};
use tls_codec::SecretVLBytes;

use super::DeviceKey;
use super::rules::CIPHERSUITE;
use super::store::Store;
use crate::vault::Vault;

/// The doors of the library for one call.
pub(super) struct Provider<'a> {
    crypto: Crypto,
    store: Store<'a>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(vault: &'a dyn Vault, seed: [u8; 32]) -> Self {
        Self { crypto: Crypto::new(seed), store: Store::new(vault) }
    }

    /// Returns the door to cryptography.
    pub(super) fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    /// Returns the door to the vault.
    pub(super) fn store(&self) -> &Store<'a> {
        &self.store
    }

    pub(super) fn into_store(self) -> Store<'a> {
        self.store
    }

    /// Returns who signs for `key`.
    pub(super) fn signer<'b>(&'b self, key: &'b DeviceKey) -> LeafSigner<'b> {
        LeafSigner { key, crypto: &self.crypto }
    }
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = Crypto;
    type RandProvider = Crypto;
    type StorageProvider = Store<'a>;

    fn storage(&self) -> &Store<'a> {
        &self.store
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Crypto {
        &self.crypto
    }
}

/// Signs leaves and messages with the key of a device, under the empty context that the suite
/// uses.
pub(super) struct LeafSigner<'a> {
    key: &'a DeviceKey,
    crypto: &'a Crypto,
}

impl Signer for LeafSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        let mut rng = self.crypto.rng();
        let signature = self.key.secret().sign(&[], payload, &mut *rng);
        signature.map(|it| it.as_ref().to_vec()).map_err(|_| SignerError::SigningError)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::MLDSA65
    }
}

/// The primitives of the suite, and nothing else.
pub(super) struct Crypto {
    rng: Mutex<SeededEntropy>,
    encapsulations: SymmetricKey,
}

impl Crypto {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let encapsulations = kdf(Domain::HpkeSeal, &seed, &[]);
        Self { rng: Mutex::new(SeededEntropy::from_bytes(seed)), encapsulations }
    }

    fn rng(&self) -> MutexGuard<'_, SeededEntropy> {
        // A generator has no state that a panic could leave half done.
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encapsulation_rng(&self, parts: &[&[u8]]) -> SeededEntropy {
        SeededEntropy::from_bytes(
            *kdf(Domain::HpkeSeal, self.encapsulations.expose(), parts).expose(),
        )
    }
}

impl OpenMlsRand for Crypto {
    type Error = core::convert::Infallible;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Self::Error> {
        let mut bytes = [0; N];
        self.rng().fill(&mut bytes);
        Ok(bytes)
    }

    fn random_vec(&self, length: usize) -> Result<Vec<u8>, Self::Error> {
        let mut bytes = vec![0; length];
        self.rng().fill(&mut bytes);
        Ok(bytes)
    }
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, suite: Ciphersuite) -> Result<(), CryptoError> {
        if suite == CIPHERSUITE { Ok(()) } else { Err(CryptoError::UnsupportedCiphersuite) }
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![CIPHERSUITE]
    }

    fn hkdf_extract(
        &self,
        hash: HashType,
        salt: &[u8],
        material: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        ours(hash)?;
        Ok(hpke::extract(salt, material).as_slice().into())
    }

    fn hmac(
        &self,
        hash: HashType,
        key: &[u8],
        message: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        ours(hash)?;
        Ok(hpke::hmac(key, message).as_slice().into())
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        key: &[u8],
        info: &[u8],
        length: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        ours(hash)?;
        let derived = hpke::expand(key, info, length);
        derived.map(|it| it.as_slice().into()).map_err(|_| CryptoError::HkdfOutputLengthInvalid)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        ours(hash)?;
        Ok(hpke::hash(data).to_vec())
    }

    fn aead_encrypt(
        &self,
        algorithm: AeadType,
        key: &[u8],
        plain: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = aes(algorithm, key, nonce)?;
        Ok(hpke::aes_seal(key, nonce, aad, plain))
    }

    fn aead_decrypt(
        &self,
        algorithm: AeadType,
        key: &[u8],
        sealed: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = aes(algorithm, key, nonce)?;
        hpke::aes_open(key, nonce, aad, sealed).map_err(|_| CryptoError::AeadDecryptionError)
    }

    // Keys of devices are made from seeds of ours, and signed with by `LeafSigner`.
    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        data: &[u8],
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if scheme != SignatureScheme::MLDSA65 {
            return Err(CryptoError::UnsupportedSignatureScheme);
        }
        let key = DsaPublicKey::try_from(key).map_err(|_| CryptoError::InvalidPublicKey)?;
        let signature =
            Signature::try_from(signature).map_err(|_| CryptoError::InvalidSignature)?;
        key.verify(&[], data, &signature).map_err(|_| CryptoError::InvalidSignature)
    }

    fn sign(&self, _: SignatureScheme, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        to: &[u8],
        info: &[u8],
        aad: &[u8],
        plain: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let public = public(&config, to)?;
        let mut rng = self.encapsulation_rng(&[b"seal", to, info, aad, plain]);
        let (encapsulated, sealed) = hpke::seal(&public, info, aad, plain, &mut rng);
        Ok(HpkeCiphertext {
            kem_output: encapsulated.as_ref().to_vec().into(),
            ciphertext: sealed.into(),
        })
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        key: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let failed = CryptoError::HpkeDecryptionError;
        let (key, encapsulated) = private(&config, key, input.kem_output.as_slice(), failed)?;
        let sealed = input.ciphertext.as_slice();
        hpke::open(&key, &encapsulated, info, aad, sealed)
            .map_err(|_| CryptoError::HpkeDecryptionError)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        to: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        let public = public(&config, to)?;
        let mut rng = self.encapsulation_rng(&[b"export", to, info, context]);
        let (encapsulated, secret) = hpke::send_secret(&public, info, context, length, &mut rng)
            .map_err(|_| CryptoError::ExporterError)?;
        Ok((encapsulated.as_ref().to_vec(), secret.to_vec().into()))
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        encapsulated: &[u8],
        key: &[u8],
        info: &[u8],
        context: &[u8],
        length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        let failed = CryptoError::ReceiverSetupError;
        let (key, encapsulated) = private(&config, key, encapsulated, failed)?;
        let secret = hpke::receive_secret(&key, &encapsulated, info, context, length)
            .map_err(|_| CryptoError::ExporterError)?;
        Ok(secret.to_vec().into())
    }

    fn derive_hpke_keypair(
        &self,
        config: HpkeConfig,
        material: &[u8],
    ) -> Result<HpkeKeyPair, CryptoError> {
        check(&config)?;
        let (private, public) = PrivateKey::derive(material);
        Ok(HpkeKeyPair {
            private: private.expose().as_slice().into(),
            public: public.as_ref().to_vec(),
        })
    }
}

fn ours(hash: HashType) -> Result<(), CryptoError> {
    if hash == HashType::Sha2_384 { Ok(()) } else { Err(CryptoError::UnsupportedHashAlgorithm) }
}

fn aes<'a>(
    algorithm: AeadType,
    key: &'a [u8],
    nonce: &'a [u8],
) -> Result<(&'a [u8; hpke::KEY_SIZE], &'a [u8; hpke::NONCE_SIZE]), CryptoError> {
    if algorithm != AeadType::Aes256Gcm {
        return Err(CryptoError::UnsupportedAeadAlgorithm);
    }
    let key = key.try_into().map_err(|_| CryptoError::InvalidLength)?;
    Ok((key, nonce.try_into().map_err(|_| CryptoError::InvalidLength)?))
}

fn check(config: &HpkeConfig) -> Result<(), CryptoError> {
    match config {
        HpkeConfig(HpkeKemType::MlKem768, HpkeKdfType::HkdfSha384, HpkeAeadType::AesGcm256) => {
            Ok(())
        }
        _ => Err(CryptoError::UnsupportedCiphersuite),
    }
}

fn public(config: &HpkeConfig, key: &[u8]) -> Result<KemPublicKey, CryptoError> {
    check(config)?;
    KemPublicKey::try_from(key).map_err(|_| CryptoError::InvalidPublicKey)
}

fn private(
    config: &HpkeConfig,
    key: &[u8],
    encapsulated: &[u8],
    failed: CryptoError,
) -> Result<(PrivateKey, KemCiphertext), CryptoError> {
    check(config)?;
    match (PrivateKey::try_from(key), KemCiphertext::try_from(encapsulated)) {
        (Ok(key), Ok(encapsulated)) => Ok((key, encapsulated)),
        _ => Err(failed),
    }
}
