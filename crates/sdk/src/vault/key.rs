//! The key of a vault: a file beside it, plain or under a passphrase.
//!
//! The file has the format of identity files, and the same protection; its keys sign nothing, they
//! are what the vault's key is derived from.

use core::fmt;
use std::path::{Path, PathBuf};

use session_core::Domain;
use session_crypto::identity_file::{self, IdentityFileError, Protection};
use session_crypto::{Identity, SymmetricKey, kdf};
use session_runtime::entropy::{NoEntropy, OsEntropy};
use session_runtime::files::{self, Existing, FileError, Loose, SECRET_MODE};

/// The usual name of the file.
pub const KEY_FILE: &str = "vault.key";

/// An identity file has about 8.5 KB.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// What opens a [`FileVault`](super::FileVault). Never printed, cleared on drop.
pub struct VaultKey(SymmetricKey);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file, or the passphrase for it, is not right.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdentityFileError,
    },
    /// No randomness for a new key.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl VaultKey {
    /// Draws a key and writes it to a file that is not there yet; without a passphrase, whoever
    /// reads the file has the vault. With one it takes 64 MiB and about 0.1 s.
    ///
    /// # Errors
    /// When there is a file, it cannot be written, or the passphrase is empty.
    pub fn create(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let mut rng = OsEntropy::new()?;
        let keys = Identity::generate(&mut rng);
        let bytes = match passphrase {
            None => identity_file::encode_plain(&keys),
            Some(passphrase) => identity_file::encode_encrypted(&keys, passphrase, &mut rng)
                .map_err(|source| KeyError::Content { path: path.to_owned(), source })?
                .into(),
        };
        files::write_atomic(path, &bytes, SECRET_MODE, Existing::Keep)?;
        Ok(Self::of(&keys))
    }

    /// Reads the key.
    ///
    /// # Errors
    /// When the file cannot be read, or the passphrase is missing or wrong.
    pub fn read(path: &Path, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let bytes = files::read_secret(path, FILE_BYTES_MAX, Loose::Warn)?;
        let keys = identity_file::decode(&bytes, passphrase);
        let keys = keys.map_err(|source| KeyError::Content { path: path.to_owned(), source })?;
        Ok(Self::of(&keys))
    }

    /// Tells whether the file needs a passphrase.
    ///
    /// # Errors
    /// When it cannot be read, or is something else.
    pub fn needs_passphrase(path: &Path) -> Result<bool, KeyError> {
        let bytes = files::read_secret(path, FILE_BYTES_MAX, Loose::Warn)?;
        match identity_file::protection(&bytes) {
            Ok(protection) => Ok(protection == Protection::Passphrase),
            Err(source) => Err(KeyError::Content { path: path.to_owned(), source }),
        }
    }

    fn of(keys: &Identity) -> Self {
        Self(kdf(Domain::VaultValue, keys.kem_secret().expose(), &[b"file"]))
    }

    pub(super) fn into_key(self) -> SymmetricKey {
        self.0
    }
}

impl From<[u8; 32]> for VaultKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(SymmetricKey::from(bytes))
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey")
    }
}
