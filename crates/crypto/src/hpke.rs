//! HPKE (RFC 9180) in base mode with ML-KEM-768, HKDF-SHA384 and AES-256-GCM, and the parts of
//! that suite that MLS uses by themselves.
//!
//! *Provided:* encryption to a public key, one message each, bound to `info` and associated data.
//! *Not provided:* who encrypted; forward secrecy when the key is long-lived; the modes with a
//! pre-shared key or a sender's key; more than one message for each encapsulation. New formats of
//! ours use [`aead`](crate::aead) and [`hash`](crate::hash); this is for MLS.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use session_core::Entropy;
use sha2::{Digest as _, Sha384};
use zeroize::Zeroizing;

use crate::InvalidKey;
use crate::aead::NotOpened;
use crate::bytes::sized;
use crate::kem::{KEM_SEED_SIZE, KemCiphertext, KemPublicKey, KemSecretKey, SharedSecret};

/// Bytes of a hash, and of what [`extract`] returns.
pub const HASH_SIZE: usize = 48;
/// Bytes of an AES-256 key.
pub const KEY_SIZE: usize = 32;
/// Bytes of a nonce.
pub const NONCE_SIZE: usize = 12;

/// `"HPKE"`, then the numbers of ML-KEM-768, HKDF-SHA384 and AES-256-GCM.
const SUITE_ID: &[u8] = b"HPKE\x00\x41\x00\x02\x00\x02";
/// Of the mode without pre-shared and sender's keys.
const MODE_BASE: u8 = 0;

/// More bytes were asked for than HKDF can derive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes cannot be derived, the limit is {}", 255 * HASH_SIZE)]
pub struct TooLong {
    /// How many.
    pub asked: usize,
}

/// Returns SHA-384.
#[must_use]
pub fn hash(data: &[u8]) -> [u8; HASH_SIZE] {
    Sha384::digest(data).into()
}

/// Returns HMAC-SHA384.
#[must_use]
pub fn hmac(key: &[u8], data: &[u8]) -> [u8; HASH_SIZE] {
    let mut mac = <Hmac<Sha384> as hmac::Mac>::new_from_slice(key).expect("any length is a key");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// HKDF-SHA384, first half: makes a key of secret material.
#[must_use]
pub fn extract(salt: &[u8], material: &[u8]) -> Zeroizing<[u8; HASH_SIZE]> {
    Zeroizing::new(Hkdf::<Sha384>::extract(Some(salt), material).0.into())
}

/// HKDF-SHA384, second half: derives `length` bytes for the use that `info` names.
///
/// # Errors
/// When the length is above 12,240.
///
/// # Panics
/// Never for a key of [`extract`]; a key shorter than [`HASH_SIZE`] counts as a length error.
pub fn expand(key: &[u8], info: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, TooLong> {
    let too_long = TooLong { asked: length };
    let mut out = Zeroizing::new(vec![0; length]);
    Hkdf::<Sha384>::from_prk(key)
        .map_err(|_| too_long)?
        .expand(info, &mut out)
        .map_err(|_| too_long)?;
    Ok(out)
}

/// Encrypts with AES-256-GCM and appends the tag of 16 bytes.
///
/// # Security
/// A nonce must never be used twice with one key.
#[must_use]
pub fn aes_seal(
    key: &[u8; KEY_SIZE],
    nonce: &[u8; NONCE_SIZE],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    Aes256Gcm::new(key.into())
        .encrypt(Nonce::from_slice(nonce), Payload { msg: plain, aad })
        .expect("a message in memory is below the 64 GiB limit of the cipher")
}

/// Decrypts what [`aes_seal`] made.
///
/// # Errors
/// When anything differs from what was sealed.
pub fn aes_open(
    key: &[u8; KEY_SIZE],
    nonce: &[u8; NONCE_SIZE],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, NotOpened> {
    Aes256Gcm::new(key.into())
        .decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad })
        .map_err(|_| NotOpened)
}

/// A key that opens what was sealed to it. Kept as the seed of FIPS 203. Cleared on drop.
pub struct PrivateKey(Zeroizing<[u8; KEM_SEED_SIZE]>);

impl PrivateKey {
    /// Derives a key pair from secret material of any length: its SHAKE-256 is the seed.
    #[must_use]
    pub fn derive(material: &[u8]) -> (Self, KemPublicKey) {
        let seed = Zeroizing::new(libcrux_sha3::shake256::<KEM_SEED_SIZE>(material));
        let (_, public) = KemSecretKey::from_seed(&seed);
        (Self(seed), public)
    }

    /// Returns the seed.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEM_SEED_SIZE] {
        &self.0
    }
}

impl TryFrom<&[u8]> for PrivateKey {
    type Error = InvalidKey;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self(Zeroizing::new(sized("PrivateKey", bytes)?)))
    }
}

impl core::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// Encrypts to a public key. Returns the encapsulation and the ciphertext.
pub fn seal(
    to: &KemPublicKey,
    info: &[u8],
    aad: &[u8],
    plain: &[u8],
    rng: &mut dyn Entropy,
) -> (KemCiphertext, Vec<u8>) {
    let (encapsulated, secret) = to.encapsulate(rng);
    let schedule = Schedule::new(&secret, info);
    (encapsulated, aes_seal(&schedule.key(), &schedule.nonce(), aad, plain))
}

/// Decrypts what [`seal`] made.
///
/// # Errors
/// When anything differs from what was sealed.
pub fn open(
    key: &PrivateKey,
    encapsulated: &KemCiphertext,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, NotOpened> {
    let schedule = Schedule::new(&decapsulate(key, encapsulated), info);
    aes_open(&schedule.key(), &schedule.nonce(), aad, sealed)
}

/// Makes a secret for the holder of a key. Returns the encapsulation and the secret.
///
/// # Errors
/// When more bytes are asked for than can be derived.
pub fn send_secret(
    to: &KemPublicKey,
    info: &[u8],
    context: &[u8],
    length: usize,
    rng: &mut dyn Entropy,
) -> Result<(KemCiphertext, Zeroizing<Vec<u8>>), TooLong> {
    let (encapsulated, secret) = to.encapsulate(rng);
    Ok((encapsulated, Schedule::new(&secret, info).export(context, length)?))
}

/// Opens what [`send_secret`] made; another's encapsulation gives an unrelated secret.
///
/// # Errors
/// When more bytes are asked for than can be derived.
pub fn receive_secret(
    key: &PrivateKey,
    encapsulated: &KemCiphertext,
    info: &[u8],
    context: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, TooLong> {
    Schedule::new(&decapsulate(key, encapsulated), info).export(context, length)
}

fn decapsulate(key: &PrivateKey, encapsulated: &KemCiphertext) -> SharedSecret {
    KemSecretKey::from_seed(&key.0).0.decapsulate(encapsulated)
}

/// The key schedule of RFC 9180, section 5.1.
struct Schedule {
    secret: Zeroizing<[u8; HASH_SIZE]>,
    context: Vec<u8>,
}

impl Schedule {
    fn new(shared: &SharedSecret, info: &[u8]) -> Self {
        let mut context = vec![MODE_BASE];
        context.extend_from_slice(&labeled_extract(b"", b"psk_id_hash", b"")[..]);
        context.extend_from_slice(&labeled_extract(b"", b"info_hash", info)[..]);
        Self { secret: labeled_extract(shared.expose(), b"secret", b""), context }
    }

    fn key(&self) -> Zeroizing<[u8; KEY_SIZE]> {
        self.fixed(b"key")
    }

    // The sequence number of the first and only message is zero, so this is its nonce.
    fn nonce(&self) -> [u8; NONCE_SIZE] {
        *self.fixed(b"base_nonce")
    }

    fn export(&self, context: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, TooLong> {
        let exporter = self.fixed::<HASH_SIZE>(b"exp");
        labeled_expand(&exporter[..], b"sec", context, length)
    }

    fn fixed<const N: usize>(&self, label: &[u8]) -> Zeroizing<[u8; N]> {
        let bytes = labeled_expand(&self.secret[..], label, &self.context, N)
            .expect("keys, nonces and hashes are short");
        Zeroizing::new(bytes[..].try_into().expect("as long as was asked for"))
    }
}

fn labeled_extract(salt: &[u8], label: &[u8], material: &[u8]) -> Zeroizing<[u8; HASH_SIZE]> {
    extract(salt, &Zeroizing::new([b"HPKE-v1", SUITE_ID, label, material].concat()))
}

fn labeled_expand(
    key: &[u8],
    label: &[u8],
    info: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, TooLong> {
    let prefix = u16::try_from(length).map_err(|_| TooLong { asked: length })?.to_be_bytes();
    expand(key, &[&prefix[..], b"HPKE-v1", SUITE_ID, label, info].concat(), length)
}

#[cfg(test)]
mod tests;
