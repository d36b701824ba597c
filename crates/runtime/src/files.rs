//! Files that must be whole or absent, and secrets that only their owner may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use session_core::Entropy;
use zeroize::Zeroizing;

use crate::entropy::OsEntropy;

/// The mode of secret files: the owner reads and writes.
pub const SECRET_MODE: u32 = 0o600;

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// What to do about a secret that others may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loose {
    /// Refuse to read it.
    Refuse,
    /// Read it, and say so in the log.
    Warn,
}

/// What to do about a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and fail.
    Keep,
    /// Put the new one in its place, at once and whole.
    Replace,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Others than the owner may read the secret.
    #[error("{path} may be read by others (mode {mode:03o}); run: chmod 600 {path}", path = path.display())]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path names a directory, a device or a pipe.
    #[error("{path} is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    /// The file is larger than what it should hold.
    #[error("{path} is too large, limit {limit} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// The file is already there.
    #[error("{path} exists already", path = .0.display())]
    Exists(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl FileError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Reads a secret of at most `bytes_max` bytes.
///
/// # Errors
/// When it cannot be read, is too large, or others may read it and `loose` says to refuse.
pub fn read_secret(
    path: &Path,
    bytes_max: usize,
    loose: Loose,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Opening a pipe would wait for its writer; the mode is asked of what was opened.
    let metadata = fs::metadata(path).map_err(FileError::io("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(FileError::io("read", path))?;
    let metadata = file.metadata().map_err(FileError::io("read", path))?;
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        let error = FileError::Loose { path: path.to_owned(), mode };
        match loose {
            Loose::Refuse => return Err(error),
            Loose::Warn => tracing::warn!(%error, "a secret file is not private"),
        }
    }
    read_bounded(file, path, bytes_max).map(Zeroizing::new)
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// When it cannot be read or is too large.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::io("read", path))?;
    read_bounded(file, path, bytes_max)
}

fn read_bounded(file: File, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    // Room for all of it at once: growing would leave copies of a secret behind.
    let size = file.metadata().map_err(FileError::io("read", path))?.len();
    let too_large = || FileError::TooLarge { path: path.to_owned(), limit };
    let size = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or_else(too_large)?;
    let mut bytes = Vec::with_capacity(size + 1);
    let mut bounded = file.take(limit as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() > limit { Err(too_large()) } else { Ok(bytes) }
}

/// Writes a file so that, after any crash, `path` holds the old bytes or all the new ones.
///
/// The new file has its `mode` before it has any content, and is on disk when this returns.
///
/// # Errors
/// When the file exists and is to be kept, or the operating system refuses; then nothing changed.
pub fn write_atomic(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    existing: Existing,
) -> Result<(), FileError> {
    let error = |action| FileError::io(action, path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = Temporary::create(directory, path, mode)?;
    let mut file = &temporary.file;
    file.write_all(bytes).map_err(error("write"))?;
    file.sync_all().map_err(error("write"))?;
    match existing {
        Existing::Replace => fs::rename(&temporary.path, path).map_err(error("replace"))?,
        // Unlike a rename, a link fails when the name is taken.
        Existing::Keep => fs::hard_link(&temporary.path, path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                FileError::Exists(path.to_owned())
            } else {
                error("create")(source)
            }
        })?,
    }
    drop(temporary);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(error("write"))
}

/// Makes a directory that only its owner may enter, and those above it.
///
/// # Errors
/// When the operating system refuses. A directory that is there already is left as it is.
pub fn create_private_directory(path: &Path) -> Result<(), FileError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(FileError::io("create", path))
}

/// A file beside its final place; its name goes when it is dropped.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(directory: &Path, target: &Path, mode: u32) -> Result<Self, FileError> {
        let error = |source| FileError::io("write", target)(source);
        let mut entropy = OsEntropy::new().map_err(|source| error(io::Error::other(source)))?;
        let path = directory.join(format!(".new-{:016x}", entropy.next_u64()));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(&path).map_err(error)?;
        Ok(Self { path, file })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename the name is gone already; a name left over holds no live data.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
