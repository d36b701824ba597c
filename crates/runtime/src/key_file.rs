//! A program's keys in a file: read, or made at the first start.

use std::io::ErrorKind;
use std::path::Path;

use crate::entropy::OsEntropy;
use crate::files::{self, Existing, FileError, Loose, SECRET_MODE};
use session_crypto::Identity;
use session_crypto::identity_file::{self, IdentityFileError};

use crate::failure::{Failure, Result};

/// The variable with the passphrase of the key file.
pub const PASSPHRASE_VARIABLE: &str = "SESSION_PASSPHRASE";

/// Far above every key file; a wrong path must not fill the memory.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Reads the keys at `path`, or makes them if there is no such file. Returns whether they were
/// made.
///
/// # Errors
/// When the file cannot be read or written, is no key file, or its passphrase is another one.
pub fn load_or_make(path: &Path, passphrase: Option<&[u8]>) -> Result<(Identity, bool)> {
    match files::read_secret(path, FILE_BYTES_MAX, Loose::Refuse) {
        Ok(bytes) => Ok((decode(path, &bytes, passphrase)?, false)),
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Ok((make(path, passphrase)?, true))
        }
        Err(error) => Err(Failure::usage(format!("the keys: {error}"))),
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
    let identity = generate()?;
    let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
    let bytes = match passphrase {
        None => identity_file::encode_plain(&identity).to_vec(),
        Some(passphrase) => identity_file::encode_encrypted(&identity, passphrase, &mut rng)
            .map_err(|error| Failure::usage(format!("{PASSPHRASE_VARIABLE}: {error}")))?,
    };
    // Never over keys that somebody else put there meanwhile.
    files::write_atomic(path, &bytes, SECRET_MODE, Existing::Keep)
        .map_err(|error| Failure::usage(format!("the keys: {error}")))?;
    Ok(identity)
}

/// Makes keys that are kept in memory only.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn generate() -> Result<Identity> {
    let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
    Ok(Identity::generate(&mut rng))
}

/// Returns the passphrase from the environment.
#[must_use]
pub fn passphrase() -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    std::env::var_os(PASSPHRASE_VARIABLE).map(|text| text.into_vec())
}
