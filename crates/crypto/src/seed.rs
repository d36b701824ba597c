//! The encryption and signature formats of the seeds, bit for bit. **Compatibility only.**
//!
//! *Provided:* reading and writing what the Go reference reads and writes.
//! *Not provided:* forward secrecy (the recipient's key is static: one stolen key opens every
//! message ever sent to it), the sender's authenticity (anybody can encrypt to anybody), binding
//! to a context (a signed message verifies wherever it is replayed), or hiding of lengths. New
//! code uses [`crate::envelope`].
//!
//! | format | bytes |
//! |---|---|
//! | encrypted | KEM ciphertext 1088 ‖ nonce 24 ‖ content ‖ tag 16 |
//! | signed | signature 3309 ‖ message |
//!
//! The KEM's shared secret is the cipher's key without derivation, the associated data and the
//! FIPS 204 context are empty, and signing is deterministic.

use session_core::{DecodeError, Entropy, Reader};

use crate::aead::{self, NONCE_SIZE, NotOpened, TAG_SIZE};
use crate::dsa::{BadSignature, DsaPublicKey, SIGNATURE_SIZE, Signature};
use crate::hash::SymmetricKey;
use crate::identity::{Identity, PublicIdentity};
use crate::kem::{KEM_CIPHERTEXT_SIZE, KemCiphertext, KemPublicKey, SharedSecret};

/// What encryption adds to a message.
pub const OVERHEAD: usize = KEM_CIPHERTEXT_SIZE + NONCE_SIZE + TAG_SIZE;

/// Encrypts to a KEM key (`crypto.EncryptToRecipient`).
pub fn encrypt_to_recipient(
    recipient: &KemPublicKey,
    plain: &[u8],
    rng: &mut dyn Entropy,
) -> Vec<u8> {
    let (ciphertext, secret) = recipient.encapsulate(rng);
    let mut nonce = [0; NONCE_SIZE];
    rng.fill(&mut nonce);
    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    out.extend_from_slice(ciphertext.as_ref());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&aead::seal(&raw_key(&secret), &nonce, &[], plain));
    out
}

/// Encrypts to an identity (`Identity.EncryptTo`; the sender leaves no trace in it).
pub fn encrypt_to(recipient: &PublicIdentity, plain: &[u8], rng: &mut dyn Entropy) -> Vec<u8> {
    encrypt_to_recipient(recipient.kem(), plain, rng)
}

/// Decrypts what was encrypted to `recipient` (`crypto.DecryptFromSender`, `Identity.DecryptFrom`).
///
/// # Errors
/// When the bytes are too short or do not open.
///
/// # Security
/// Despite the reference's name, nothing is known about the sender.
pub fn decrypt_from_sender(recipient: &Identity, bytes: &[u8]) -> Result<Vec<u8>, NotOpened> {
    let (ciphertext, nonce, sealed) = split(bytes).map_err(|_| NotOpened)?;
    let secret = recipient.decapsulate(&ciphertext);
    aead::open(&raw_key(&secret), &nonce, &[], sealed)
}

fn split(bytes: &[u8]) -> Result<(KemCiphertext, [u8; NONCE_SIZE], &[u8]), DecodeError> {
    let mut reader = Reader::new(bytes);
    let ciphertext = KemCiphertext::from(reader.array()?);
    let nonce = reader.array()?;
    let sealed = reader.take(reader.left())?;
    Ok((ciphertext, nonce, sealed))
}

// The seeds use the secret as it is; ours goes through `kdf`.
fn raw_key(secret: &SharedSecret) -> SymmetricKey {
    SymmetricKey::from(*secret.expose())
}

/// Signs as the seeds do (`crypto.Sign`): deterministically, with an empty context.
#[must_use]
pub fn sign(signer: &Identity, message: &[u8]) -> Signature {
    signer.dsa_secret().sign_deterministic(&[], message).expect("an empty context is short enough")
}

/// Checks a signature of the seeds (`crypto.Verify`).
///
/// # Errors
/// When it does not verify.
pub fn verify(
    key: &DsaPublicKey,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    key.verify(&[], message, signature)
}

/// Returns the signature and the message behind it (`Identity.SignMessage`).
#[must_use]
pub fn sign_message(signer: &Identity, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SIGNATURE_SIZE + message.len());
    out.extend_from_slice(sign(signer, message).as_ref());
    out.extend_from_slice(message);
    out
}

/// Returns the message behind a signature that verifies (`Identity.VerifyMessage`).
///
/// # Errors
/// When the bytes are too short or the signature does not verify.
pub fn verify_message<'a>(key: &DsaPublicKey, signed: &'a [u8]) -> Result<&'a [u8], BadSignature> {
    let (signature, message) = signed.split_first_chunk::<SIGNATURE_SIZE>().ok_or(BadSignature)?;
    verify(key, message, &Signature::from(*signature))?;
    Ok(message)
}
