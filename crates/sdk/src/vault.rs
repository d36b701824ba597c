//! The vault of a device in one SQLite file, every value sealed.
//!
//! *Provided:* what one transaction wrote is there whole or not at all, also after a crash; values
//! are secret and bound to their keys (XChaCha20-Poly1305 under a key that is in no file of the
//! vault, and a secret for each value); one program at a time; what is removed or replaced cannot be
//! opened again by who has the file and the key, because its secret is overwritten in place (see
//! `slots`), and nearly all of its bytes are overwritten besides.
//! *Not provided:* secrecy of keys, which are local numbers, digests and account ids, and of the
//! sizes and number of entries; protection against somebody who puts an old copy of the file back;
//! that a disk which moves its blocks about forgets what was overwritten.
//!
//! The journal is SQLite's rollback journal, truncated at each commit, and not a write-ahead log: a
//! log keeps page images of many transactions, deleted secrets among them, until it happens to be
//! overwritten, and emptying it after every commit costs more than the journal does.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use session_core::{Domain, Entropy as _};
use session_crypto::aead::{self, NONCE_SIZE};
use session_crypto::{SymmetricKey, kdf};
use session_messaging::vault::Vault;
use session_runtime::entropy::OsEntropy;

mod key;
mod slots;

pub use key::{KEY_FILE, KeyError, VaultKey};
use slots::{Secret, Slots};

/// The format of the file: `PRAGMA user_version`.
const VERSION: i64 = 1;

/// What the file is: `PRAGMA application_id`.
const APPLICATION: i64 = 0x4c75_5653;

/// What the head holds, sealed: tells a wrong key from a damaged value.
const HEAD: &[u8] = b"session vault";

/// Pages that SQLite keeps in memory, in KiB.
const CACHE_KIB: i64 = 16 * 1024;

/// Why a vault does not open, or a transaction is not durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Another program has it open.
    #[error("{} is in use by another session program", .0.display())]
    InUse(PathBuf),
    /// Something else, or the file is damaged.
    #[error("{} is not a vault, or it is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A newer program wrote it.
    #[error("{} has format {got}, this program knows {VERSION}", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        got: i64,
    },
    /// The key is that of another vault.
    #[error("the key does not open {}", .0.display())]
    WrongKey(PathBuf),
    /// The system refused: no space, no permission, a broken disk.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// No randomness for nonces.
    #[error(transparent)]
    Entropy(#[from] session_runtime::entropy::NoEntropy),
}

/// A vault in a file. See the module for what it promises.
///
/// Between [`FileVault::begin`] and [`FileVault::commit`] it is a transaction; a read or write that
/// fails is remembered, and the transaction then cannot be committed.
pub struct FileVault {
    path: PathBuf,
    db: Connection,
    key: SymmetricKey,
    slots: Slots,
    rng: OsEntropy,
    failure: RefCell<Option<VaultError>>,
}

impl FileVault {
    /// Opens a vault, or makes an empty one where there is no file.
    ///
    /// # Errors
    /// When another program has it, the key is wrong, or the file is no vault.
    pub fn open(path: &Path, key: VaultKey) -> Result<Self, VaultError> {
        create_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let error = |error| said(path, error);
        let db = Connection::open_with_flags(path, flags).map_err(error)?;
        // Waiting would not help: whoever has it keeps it.
        db.busy_timeout(std::time::Duration::ZERO).map_err(error)?;
        for (pragma, value) in [
            ("locking_mode", "EXCLUSIVE"),
            ("secure_delete", "ON"),
            ("synchronous", "FULL"),
            // Nothing of a transaction that may be rolled back is written before its commit.
            ("cache_spill", "OFF"),
            ("temp_store", "MEMORY"),
            ("trusted_schema", "OFF"),
        ] {
            db.pragma_update(None, pragma, value).map_err(error)?;
        }
        db.pragma_update(None, "cache_size", -CACHE_KIB).map_err(error)?;
        db.pragma_update(None, "journal_mode", "TRUNCATE").map_err(error)?;
        // Takes the lock, which `locking_mode` then keeps until the vault is closed.
        db.execute_batch("BEGIN EXCLUSIVE; COMMIT").map_err(error)?;
        let failure = RefCell::new(None);
        let rng = OsEntropy::new()?;
        let (path, key, slots) = (path.to_owned(), key.into_key(), Slots::default());
        let mut vault = Self { path, db, key, slots, rng, failure };
        vault.check_or_make()?;
        vault.slots = Slots::load(&vault.db).map_err(|error| said(&vault.path, error))?;
        Ok(vault)
    }

    fn check_or_make(&mut self) -> Result<(), VaultError> {
        let path = self.path.clone();
        let error = |error| said(&path, error);
        let pragma = |name| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (application, version) =
            (pragma("application_id").map_err(error)?, pragma("user_version").map_err(error)?);
        if (application, version) == (0, 0) {
            return self.make();
        }
        if application != APPLICATION {
            let why = "it belongs to another program".to_owned();
            return Err(VaultError::Damaged { path, why });
        }
        if version != VERSION {
            return Err(VaultError::NewerVersion { path, got: version });
        }
        let head = self.db.query_row("SELECT value FROM head", (), |row| row.get::<_, Vec<u8>>(0));
        let head = head.optional().map_err(error)?.ok_or_else(|| VaultError::Damaged {
            path: path.clone(),
            why: "its head is missing".to_owned(),
        })?;
        match head
            .split_first_chunk()
            .and_then(|(nonce, head)| aead::open(&self.key, nonce, &[], head).ok())
        {
            Some(plain) if plain == HEAD => Ok(()),
            _ => Err(VaultError::WrongKey(path)),
        }
    }

    fn make(&mut self) -> Result<(), VaultError> {
        let mut nonce = [0; NONCE_SIZE];
        self.rng.fill(&mut nonce);
        let head = [&nonce[..], &aead::seal(&self.key, &nonce, &[], HEAD)].concat();
        let made = self.db.execute_batch(&format!(
            "BEGIN EXCLUSIVE;
             CREATE TABLE kv (
                key BLOB PRIMARY KEY NOT NULL, slot INTEGER NOT NULL, value BLOB NOT NULL
             ) WITHOUT ROWID;
             CREATE TABLE slots (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
             CREATE TABLE head (value BLOB NOT NULL);
             PRAGMA application_id = {APPLICATION};
             PRAGMA user_version = {VERSION};"
        ));
        let made = made.and_then(|()| self.db.execute("INSERT INTO head VALUES (?1)", [&head]));
        let made = made.and_then(|_| self.db.execute_batch("COMMIT"));
        made.map_err(|error| said(&self.path, error))
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(&mut self) -> Result<(), VaultError> {
        *self.failure.get_mut() = None;
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(|error| said(&self.path, error))
    }

    /// Makes durable what was written since [`FileVault::begin`]. Nothing of it is, on an error: it
    /// is rolled back then.
    ///
    /// # Errors
    /// When something in the transaction failed, or the disk refuses.
    pub fn commit(&mut self) -> Result<(), VaultError> {
        if let Some(failure) = self.failure.get_mut().take() {
            self.rollback();
            return Err(failure);
        }
        let written = self.slots.write(&self.db);
        match written.and_then(|()| self.db.execute_batch("COMMIT")) {
            Ok(()) => {
                self.slots.committed();
                Ok(())
            }
            Err(error) => {
                self.rollback();
                Err(said(&self.path, error))
            }
        }
    }

    /// Forgets what was written since [`FileVault::begin`].
    pub fn rollback(&mut self) {
        *self.failure.get_mut() = None;
        if !self.db.is_autocommit() {
            // SQLite rolls back by itself what it cannot roll back on demand: at the next opening.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        self.slots.rolled_back();
    }

    /// Tells whether something failed since [`FileVault::begin`], so that nothing will be durable.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Opens every value, and tells how many there are.
    ///
    /// # Errors
    /// When one was altered, or the file is damaged otherwise.
    pub fn check(&self) -> Result<u64, VaultError> {
        let verdict: String = self
            .db
            .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
            .map_err(|error| said(&self.path, error))?;
        if verdict != "ok" {
            return Err(VaultError::Damaged { path: self.path.clone(), why: verdict });
        }
        let mut count = 0;
        self.scan(&[], &[], false, &mut |_, _| {
            count += 1;
            true
        });
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(count),
        }
    }

    // The secret is drawn for this value, so the nonce need not differ.
    fn value_key(&self, secret: &Secret) -> SymmetricKey {
        kdf(Domain::VaultValue, self.key.expose(), &[b"value", secret])
    }

    fn opened(&self, key: &[u8], slot: i64, sealed: &[u8]) -> Option<Vec<u8>> {
        let secret = u32::try_from(slot).ok().and_then(|slot| self.slots.get(slot));
        let plain = secret.and_then(|secret| {
            aead::open(&self.value_key(secret), &[0; NONCE_SIZE], key, sealed).ok()
        });
        if plain.is_none() {
            let table = key.first().copied().unwrap_or_default();
            let why = format!("a value of table {table} was altered");
            self.fail(VaultError::Damaged { path: self.path.clone(), why });
        }
        plain
    }

    fn slot_of(&self, key: &[u8]) -> Option<u32> {
        let found = self
            .db
            .prepare_cached("SELECT slot FROM kv WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional());
        self.worked(found).flatten()
    }

    // The first failure says what went wrong; later ones follow from it.
    fn fail(&self, error: VaultError) {
        self.failure.borrow_mut().get_or_insert(error);
    }

    fn worked<T>(&self, result: rusqlite::Result<T>) -> Option<T> {
        result.map_err(|error| self.fail(said(&self.path, error))).ok()
    }

    fn visit(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> rusqlite::Result<()> {
        let end = end_of(prefix);
        let (mut low, mut high) = (prefix.to_vec(), end);
        if !from.is_empty() && backwards {
            // Keys up to and including `from`: below its first successor.
            let successor = [from, &[0]].concat();
            high = Some(high.map_or_else(|| successor.clone(), |end| end.min(successor.clone())));
        } else if from > low.as_slice() {
            low = from.to_vec();
        }
        let mut statement = self.db.prepare_cached(match (backwards, &high) {
            (false, Some(_)) => {
                "SELECT key, slot, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key"
            }
            (true, Some(_)) => {
                "SELECT key, slot, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key DESC"
            }
            (false, None) => "SELECT key, slot, value FROM kv WHERE key >= ?1 ORDER BY key",
            (true, None) => "SELECT key, slot, value FROM kv WHERE key >= ?1 ORDER BY key DESC",
        })?;
        let mut rows = match high {
            Some(high) => statement.query(params![low, high])?,
            None => statement.query(params![low])?,
        };
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob()?;
            let opened = self.opened(key, row.get(1)?, row.get_ref(2)?.as_blob()?);
            let Some(value) = opened else { return Ok(()) };
            if !visit(key, &zeroize::Zeroizing::new(value)) {
                break;
            }
        }
        Ok(())
    }
}

impl Vault for FileVault {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.db.prepare_cached("SELECT slot, value FROM kv WHERE key = ?1").and_then(
            |mut statement| {
                let entry = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                statement.query_row([key], entry).optional()
            },
        );
        let (slot, sealed): (i64, Vec<u8>) = self.worked(found).flatten()?;
        self.opened(key, slot, &sealed)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let secret = self.rng.bytes32();
        let slot = match self.slot_of(key) {
            Some(slot) => {
                self.slots.set(slot, secret);
                slot
            }
            None => self.slots.add(secret),
        };
        let sealed = aead::seal(&self.value_key(&secret), &[0; NONCE_SIZE], key, value);
        let put = self
            .db
            .prepare_cached(
                "INSERT INTO kv VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET slot = ?2, value = ?3",
            )
            .and_then(|mut statement| statement.execute(params![key, slot, sealed]));
        self.worked(put);
    }

    fn remove(&mut self, key: &[u8]) {
        let Some(slot) = self.slot_of(key) else { return };
        self.slots.remove(slot);
        let removed = self
            .db
            .prepare_cached("DELETE FROM kv WHERE key = ?1")
            .and_then(|mut statement| statement.execute([key]));
        self.worked(removed);
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        let visited = self.visit(prefix, from, backwards, visit);
        self.worked(visited);
    }
}

/// Returns the first key behind all that start with `prefix`, if there is one.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

// SQLite would make the file with the mode of the process.
fn create_private(path: &Path) -> Result<(), VaultError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(VaultError::Io { path: path.to_owned(), why: error.to_string() }),
    }
}

fn said(path: &Path, error: rusqlite::Error) -> VaultError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => VaultError::InUse(path),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::TypeMismatch) => {
            VaultError::Damaged { path, why }
        }
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory,
        ) => VaultError::Io { path, why },
        // Tables that are missing, values of the wrong type: not what this program wrote.
        _ => VaultError::Damaged { path, why },
    }
}

#[cfg(test)]
mod tests;
