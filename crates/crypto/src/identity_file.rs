//! The bytes of an identity file: encrypted under a passphrase, or explicitly plain.
//!
//! *Provided:* secrecy and integrity of the keys under a passphrase (Argon2id, then
//! XChaCha20-Poly1305); the id is derived from the keys on every load, never believed.
//! *Not provided:* reading and writing files (whoever does it sets mode 0600), or protection of a
//! plain file: whoever reads it has the identity.
//!
//! | field | bytes | |
//! |---|---|---|
//! | magic | 8 | `LUXIDENT` |
//! | version | 1 | 1 |
//! | protection | 1 | 0 plain, 1 passphrase |
//! | memory, passes, lanes | 4 + 4 + 4 | Argon2id, memory in KiB; only with a passphrase |
//! | salt | 16 | only with a passphrase |
//! | nonce | 24 | only with a passphrase |
//! | body | 8416 | plain, or encrypted with a 16-byte tag and all before it as associated data |
//!
//! The body is the KEM secret key (2400, which contains its public key), the DSA secret key
//! (4032), the DSA public key (1952), and BLAKE3 over these (32) as a check against damage.

use session_core::{DecodeError, Digest, Domain, Encode as _, Entropy, Reader};
use zeroize::Zeroizing;

use crate::aead::{self, NONCE_SIZE};
use crate::dsa::{DSA_PUBLIC_KEY_SIZE, DSA_SECRET_KEY_SIZE};
use crate::hash::{StreamHash, SymmetricKey};
use crate::identity::{Identity, InvalidKey};
use crate::kem::{KEM_SECRET_KEY_SIZE, KemSecretKey};
use crate::passphrase::{Cost, SALT_SIZE, TooCostly};

/// The newest version that this program reads, and the one it writes.
pub const VERSION: u8 = 1;

const MAGIC: &[u8; 8] = b"LUXIDENT";
const BODY_SIZE: usize = KEM_SECRET_KEY_SIZE + DSA_SECRET_KEY_SIZE + DSA_PUBLIC_KEY_SIZE + 32;

/// How a file keeps its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Readable to whoever reads the file.
    Plain,
    /// Encrypted under a passphrase.
    Passphrase,
}

/// Why bytes did not give an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// The bytes begin differently.
    #[error("not an identity file")]
    NotAnIdentityFile,
    /// A newer program wrote it.
    #[error("identity file version {got} is newer than this program, which knows {VERSION}")]
    NewerVersion {
        /// The file's version.
        got: u8,
    },
    /// The header or body is cut, overlong or contradicts itself.
    #[error("the identity file is damaged: {why}")]
    Damaged {
        /// What is wrong.
        why: &'static str,
    },
    /// The file asks for more work than any of ours does.
    #[error("the identity file asks for Argon2 {field} {got}, the limit is {limit}")]
    Cost {
        /// The parameter.
        field: &'static str,
        /// Its value in the file.
        got: u32,
        /// The most that is accepted.
        limit: u32,
    },
    /// The file is encrypted and no passphrase was given.
    #[error("the identity file is encrypted and needs a passphrase")]
    PassphraseNeeded,
    /// An empty passphrase protects nothing; a plain file says so at least.
    #[error("an empty passphrase protects nothing")]
    PassphraseEmpty,
    /// The passphrase is another one, or the encrypted part was altered: the two look the same.
    #[error("wrong passphrase (or the encrypted keys were altered)")]
    WrongPassphrase,
    /// The keys inside are not keys, or not of one identity.
    #[error("the identity file holds invalid keys")]
    Keys(#[source] InvalidKey),
}

/// Returns the bytes of a plain file. Whoever reads them has the identity.
#[must_use]
pub fn encode_plain(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(header(Protection::Plain));
    out.reserve_exact(BODY_SIZE);
    out.extend_from_slice(&body(identity));
    out
}

/// Returns the bytes of a file encrypted under `passphrase`. Takes 64 MiB and about 0.1 s.
///
/// # Errors
/// When the passphrase is empty.
pub fn encode_encrypted(
    identity: &Identity,
    passphrase: &[u8],
    rng: &mut dyn Entropy,
) -> Result<Vec<u8>, IdentityFileError> {
    encode_with(identity, passphrase, Cost::DEFAULT, rng)
}

fn encode_with(
    identity: &Identity,
    passphrase: &[u8],
    cost: Cost,
    rng: &mut dyn Entropy,
) -> Result<Vec<u8>, IdentityFileError> {
    if passphrase.is_empty() {
        return Err(IdentityFileError::PassphraseEmpty);
    }
    let mut salt = [0; SALT_SIZE];
    rng.fill(&mut salt);
    let mut nonce = [0; NONCE_SIZE];
    rng.fill(&mut nonce);
    let mut out = header(Protection::Passphrase);
    cost.memory_kib.encode(&mut out);
    cost.passes.encode(&mut out);
    cost.lanes.encode(&mut out);
    salt.encode(&mut out);
    nonce.encode(&mut out);
    let key = stretch(passphrase, &salt, cost)?;
    let sealed = aead::seal(&key, &nonce, &out, &body(identity));
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// Tells whether a file needs a passphrase, from its header.
///
/// # Errors
/// When the bytes are not an identity file or a newer one.
pub fn protection(bytes: &[u8]) -> Result<Protection, IdentityFileError> {
    read_header(&mut Reader::new(bytes))
}

/// Reads an identity. A passphrase given for a plain file is not looked at.
///
/// # Errors
/// When the bytes are no identity file of a known version, the passphrase is missing or wrong,
/// or the keys are invalid.
pub fn decode(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Identity, IdentityFileError> {
    let mut reader = Reader::new(bytes);
    match read_header(&mut reader)? {
        Protection::Plain => decode_body(reader.take(reader.left()).map_err(damaged)?),
        Protection::Passphrase => {
            let (cost, salt, nonce) = read_cost(&mut reader).map_err(damaged)?;
            let (aad, sealed) = bytes.split_at(bytes.len() - reader.left());
            if sealed.len() != BODY_SIZE + aead::TAG_SIZE {
                return Err(IdentityFileError::Damaged {
                    why: "it was cut or something was added",
                });
            }
            let cost = cost.checked().map_err(|TooCostly { field, got, limit }| {
                IdentityFileError::Cost { field, got, limit }
            })?;
            let passphrase = passphrase.ok_or(IdentityFileError::PassphraseNeeded)?;
            let key = stretch(passphrase, &salt, cost)?;
            let body = aead::open(&key, &nonce, aad, sealed)
                .map_err(|_| IdentityFileError::WrongPassphrase)?;
            decode_body(&Zeroizing::new(body))
        }
    }
}

fn header(protection: Protection) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    VERSION.encode(&mut out);
    match protection {
        Protection::Plain => 0u8,
        Protection::Passphrase => 1,
    }
    .encode(&mut out);
    out
}

fn read_header(reader: &mut Reader<'_>) -> Result<Protection, IdentityFileError> {
    let magic: [u8; 8] = reader.array().map_err(|_| IdentityFileError::NotAnIdentityFile)?;
    if magic != *MAGIC {
        return Err(IdentityFileError::NotAnIdentityFile);
    }
    let [version] = reader.array().map_err(damaged)?;
    if version > VERSION {
        return Err(IdentityFileError::NewerVersion { got: version });
    }
    if version < VERSION {
        return Err(IdentityFileError::Damaged { why: "there never was a version 0" });
    }
    match reader.array().map_err(damaged)? {
        [0] => Ok(Protection::Plain),
        [1] => Ok(Protection::Passphrase),
        _ => Err(IdentityFileError::Damaged {
            why: "its protection is neither plain nor passphrase",
        }),
    }
}

type Sealing = (Cost, [u8; SALT_SIZE], [u8; NONCE_SIZE]);

fn read_cost(reader: &mut Reader<'_>) -> Result<Sealing, DecodeError> {
    let [memory_kib, passes, lanes] =
        [reader.array()?, reader.array()?, reader.array()?].map(u32::from_be_bytes);
    Ok((Cost { memory_kib, passes, lanes }, reader.array()?, reader.array()?))
}

fn body(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(BODY_SIZE));
    out.extend_from_slice(identity.kem_secret().expose());
    out.extend_from_slice(identity.dsa_secret().expose());
    out.extend_from_slice(identity.public().dsa().as_ref());
    let check = checksum(&out);
    out.extend_from_slice(check.as_ref());
    out
}

fn decode_body(body: &[u8]) -> Result<Identity, IdentityFileError> {
    let (keys, check) = body
        .split_last_chunk::<32>()
        .filter(|_| body.len() == BODY_SIZE)
        .ok_or(IdentityFileError::Damaged { why: "it was cut or something was added" })?;
    if checksum(keys).as_bytes() != check {
        return Err(IdentityFileError::Damaged { why: "the checksum differs" });
    }
    let (kem, rest) = keys.split_at(KEM_SECRET_KEY_SIZE);
    let (dsa, dsa_public) = rest.split_at(DSA_SECRET_KEY_SIZE);
    KemSecretKey::try_from(kem)
        .and_then(|kem| {
            let kem_public = kem.public()?;
            Identity::from_parts(kem, dsa.try_into()?, kem_public, dsa_public.try_into()?)
        })
        .map_err(IdentityFileError::Keys)
}

fn checksum(keys: &[u8]) -> Digest {
    let mut hash = StreamHash::new(Domain::IdentityFile);
    hash.update(keys);
    hash.finish()
}

fn stretch(
    passphrase: &[u8],
    salt: &[u8; SALT_SIZE],
    cost: Cost,
) -> Result<SymmetricKey, IdentityFileError> {
    cost.stretch(Domain::IdentityFile, passphrase, salt)
        .ok_or(IdentityFileError::Damaged { why: "its Argon2 parameters are impossible" })
}

fn damaged(_: DecodeError) -> IdentityFileError {
    IdentityFileError::Damaged { why: "it was cut" }
}

#[cfg(test)]
mod tests;
