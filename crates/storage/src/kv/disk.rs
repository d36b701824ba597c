//! A database in one file of redb.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{ReadableDatabase, TableDefinition, TableError};

use super::{Batch, Database, KvError};

/// All entries.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// What says that the file is ours, and in which format.
const FORMATS: TableDefinition<'_, &str, u64> = TableDefinition::new("session-database");

const FORMAT: &str = "format";

/// The format that is written, and the only one that is read.
const FORMAT_VERSION: u64 = 1;

/// What a file of redb starts with.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Pages kept in memory. The engine's own default is a GiB.
const CACHE_BYTES: usize = 64 << 20;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is open already, most likely in another process.
    #[error("the database {} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a database of this program", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the program has written it.
    #[error("the database {} has format {got}, only {known} is known", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        got: u64,
        /// The format that is known.
        known: u64,
    },
    /// Bytes read back are not the bytes that were written.
    #[error("the database {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The engine's words.
        why: String,
    },
    /// The operating system failed an operation.
    #[error("{doing} {} failed", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// A [`Database`] in one file, which only one process at a time may have open.
///
/// A write returns when its batch is on the disk. After a write that failed there are no more of
/// them until the file is opened anew: whether that batch is there is only known then.
#[derive(Debug)]
pub struct DiskDatabase {
    engine: redb::Database,
    /// Why there are no more writes.
    closed: Option<String>,
}

impl DiskDatabase {
    /// Opens the file, and makes it if it is not there: for its owner only, as are the directories
    /// above it that are made. All of it is read and compared with its checksums.
    ///
    /// # Errors
    /// When it is in use, not ours, damaged, or the operating system refuses.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        match File::open(path) {
            Ok(file) => check_magic(path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(error) => return Err(failed("opening", path)(error)),
        }
        let engine = builder().open(path).map_err(|error| refused(path, error))?;
        check_format(path, &engine)?;
        Ok(Self { engine, closed: None })
    }

    fn commit(&self, batch: &Batch) -> Result<(), redb::Error> {
        let mut transaction = self.engine.begin_write()?;
        // One phase would rest on checksums that whoever chooses the values could forge.
        transaction.set_two_phase_commit(true);
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            for (key, value) in batch.changes() {
                match value {
                    Some(value) => entries.insert(key, value)?,
                    None => entries.remove(key)?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self) -> Result<redb::ReadOnlyTable<&'static [u8], &'static [u8]>, redb::Error> {
        Ok(self.engine.begin_read()?.open_table(ENTRIES)?)
    }
}

impl Database for DiskDatabase {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let entries = self.read().map_err(|error| unreadable(&error))?;
        let value = entries.get(key).map_err(|error| unreadable(&error.into()))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), KvError> {
        if let Some(why) = &self.closed {
            return Err(KvError::Closed { why: why.clone() });
        }
        batch.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch).map_err(|error| {
            let why = error.to_string();
            self.closed = Some(why.clone());
            KvError::Failed { doing: "writing", why }
        })
    }

    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        let entries = self.read().map_err(|error| unreadable(&error))?;
        for entry in entries.range(prefix..).map_err(|error| unreadable(&error.into()))? {
            let (key, value) = entry.map_err(|error| unreadable(&error.into()))?;
            if !key.value().starts_with(prefix) || !visitor(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }
}

fn unreadable(error: &redb::Error) -> KvError {
    KvError::Failed { doing: "reading", why: error.to_string() }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// The engine reports a file of somebody else as it does a failing disk.
fn check_magic(path: &Path, mut file: File) -> Result<(), OpenError> {
    let mut start = [0; MAGIC.len()];
    match file.read_exact(&mut start) {
        Ok(()) if start == MAGIC => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(failed("reading", path)(error))
        }
        _ => Err(OpenError::NotADatabase { path: path.to_owned() }),
    }
}

/// Makes a database that is there whole or not at all: the engine does not open again what it has
/// half made.
fn create(path: &Path) -> Result<(), OpenError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("creating", dir))?;
    let new = New::name(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&new.0).map_err(failed("creating", &new.0))?;
    let made = FileBackend::new(file)
        .and_then(|backend| builder().create_with_backend(backend))
        .map_err(redb::Error::from)
        .and_then(|engine| write_format(&engine));
    made.map_err(|error| failed("creating", path)(io::Error::other(error)))?;
    match fs::hard_link(&new.0, path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(failed("creating", path))?,
    }
    drop(new);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing", dir))
}

/// The name of a file in the making, which goes when it is dropped.
struct New(PathBuf);

impl New {
    fn name(path: &Path) -> Result<Self, OpenError> {
        let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
        let random = random.map_err(failed("creating", path))?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".new-{random:016x}"));
        Ok(Self(name.into()))
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // A name left over holds no data.
        let _ = fs::remove_file(&self.0);
    }
}

fn write_format(engine: &redb::Database) -> Result<(), redb::Error> {
    let transaction = engine.begin_write()?;
    transaction.open_table(FORMATS)?.insert(FORMAT, FORMAT_VERSION)?;
    transaction.open_table(ENTRIES)?;
    transaction.commit()?;
    Ok(())
}

fn check_format(path: &Path, engine: &redb::Database) -> Result<(), OpenError> {
    let damaged =
        |error: redb::Error| OpenError::Damaged { path: path.to_owned(), why: error.to_string() };
    let not_ours = || OpenError::NotADatabase { path: path.to_owned() };
    let transaction = engine.begin_read().map_err(|error| damaged(error.into()))?;
    let formats = match transaction.open_table(FORMATS) {
        Ok(formats) => formats,
        Err(TableError::Storage(error)) => return Err(damaged(error.into())),
        Err(_) => return Err(not_ours()),
    };
    let format = formats.get(FORMAT).map_err(|error| damaged(error.into()))?;
    match format.ok_or_else(not_ours)?.value() {
        FORMAT_VERSION => Ok(()),
        got => Err(OpenError::Newer { path: path.to_owned(), got, known: FORMAT_VERSION }),
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}

fn refused(path: &Path, error: redb::DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::DatabaseError::Storage(redb::StorageError::Io(source))
            if source.kind() != io::ErrorKind::InvalidData
                && source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            OpenError::Io { doing: "opening", path, source }
        }
        error => OpenError::Damaged { path, why: error.to_string() },
    }
}
