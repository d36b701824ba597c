//! The node's keys: read, or made at the first start.

use std::path::Path;
use std::sync::Arc;

use session_crypto::identity_file::{self, IdentityFileError};
use session_crypto::Identity;
use session_runtime::entropy::OsEntropy;
use session_runtime::files;
use session_runtime::quic::{PeerKey, TlsSigner};

use crate::failure::{Failure, Result};

/// The variable with the passphrase of the key file.
pub const PASSPHRASE_VARIABLE: &str = "SESSION_PASSPHRASE";

/// Far above every key file; a wrong path must not fill the memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Reads the keys at `path`, or makes them if there is no such file. Returns whether they were
/// made.
///
/// # Errors
/// When the file cannot be read or written, is no key file, or its passphrase is another one.
pub fn load_or_make(path: &Path, passphrase: Option<&[u8]>) -> Result<(Identity, bool)> {
    match files::read_secret(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok((decode(path, &bytes, passphrase)?, false)),
        Err(error) if error.is_not_found() => Ok((make(path, passphrase)?, true)),
        Err(error) => Err(Failure::usage(format!("the key file {}: {error}", path.display()))),
    }
}

fn decode(path: &Path, bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Identity> {
    identity_file::decode(bytes, passphrase).map_err(|error| {
        let hint = match error {
            IdentityFileError::PassphraseNeeded | IdentityFileError::WrongPassphrase => {
                format!(" (set {PASSPHRASE_VARIABLE})")
            }
            _ => String::new(),
        };
        Failure::usage(format!("the key file {}: {error}{hint}", path.display()))
    })
}

fn make(path: &Path, passphrase: Option<&[u8]>) -> Result<Identity> {
    let mut rng = OsEntropy::new();
    let identity = Identity::generate(&mut rng);
    let written = match passphrase {
        None => files::write_secret(path, &identity_file::encode_plain(&identity)),
        Some(passphrase) => {
            let bytes = identity_file::encode_encrypted(&identity, passphrase, &mut rng)
                .map_err(|error| Failure::usage(format!("{PASSPHRASE_VARIABLE}: {error}")))?;
            files::write_secret(path, &bytes)
        }
    };
    written.map_err(|error| {
        Failure::usage(format!("cannot write the key file {}: {error}", path.display()))
    })?;
    Ok(identity)
}

/// Returns the passphrase from the environment.
#[must_use]
pub fn passphrase() -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    std::env::var_os(PASSPHRASE_VARIABLE).map(OsStringExt::into_vec)
}

/// Signs TLS transcripts with the node's key.
pub(crate) struct TransportKey(pub(crate) Arc<Identity>);

impl TlsSigner for TransportKey {
    fn public_key(&self) -> PeerKey {
        Box::new(*self.0.public().dsa().as_bytes())
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.0.sign_raw(&[], message, &mut OsEntropy::new()).ok()?;
        Some(signature.as_ref().to_vec())
    }
}
