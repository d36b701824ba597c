//! Files on their way out and in: chunk by chunk, resumable.
//!
//! The pieces of a file lie in a mailbox of their own, which nobody but the members of the
//! conversation can name. What was acknowledged is remembered in the vault, so that sending the same
//! file to the same peer again goes on behind it; a download goes on behind what is on the disk.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use session_client::command::{self as client, Inbox, NewItem};
use session_core::{Encode as _, List, MessageId, Span, Text, Time, record};
use session_messaging::attachment::{
    AttachmentError, CHUNK_BYTES, FileHash, FileKey, Manifest, Opener, Pieces, SealedPiece, Sealer,
};
use session_messaging::mailbox;
use session_messaging::say::{Peer, Say, SayId};
use session_messaging::thread::{self, Body};
use session_messaging::vault::{self, Table, Vault};
use session_messaging::{FileName, Secret};
use session_protocol::inbox::{ATTACHMENTS, Mailbox};
use session_protocol::limits::{IDS_MAX, TTL_MAX};
use session_runtime::entropy::OsEntropy;

use crate::session::{Error, Said, Session};

/// Largest file that is sent: larger ones are for other means.
pub const FILE_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Pieces in one request: below the size of a frame, and few to repeat after an interruption.
const PIECES_AT_ONCE: usize = 8;

/// How long taking a file back waits for the swarm to delete the pieces.
pub const ERASE_PATIENCE: Duration = Duration::from_secs(10);

/// File systems take names of 255 bytes: what is numbered must leave room for its number.
const STEM_BYTES_MAX: usize = 200;
const ENDING_BYTES_MAX: usize = 32;

record! {
    /// What is needed to go on with a file that was interrupted.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Sending {
        key: FileKey,
        route: Secret,
        size: u64,
        modified: u64,
        started: Time,
        acknowledged: u32,
    }
}

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done, those of earlier attempts included.
    pub done: u64,
    /// Bytes in all.
    pub of: u64,
}

/// A file that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFile {
    /// The message that announces it.
    pub said: Said,
    /// Bytes.
    pub size: u64,
    /// Pieces of its content.
    pub chunks: u32,
    /// The first piece that an earlier attempt had not stored.
    pub resumed_at: u32,
}

/// A received file, as its message describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// How to open the pieces.
    pub manifest: Manifest,
    /// The seed of the mailbox in which they lie.
    pub route: Secret,
}

/// Why a file was not sent or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The disk says no.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not something that can be sent.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Too large.
    #[error("{} holds {got} bytes, the limit is {FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        got: u64,
    },
    /// The caption is too long.
    #[error("the caption holds {got} bytes, the limit is {limit}")]
    Caption {
        /// Bytes of it.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A piece is not what it should be, or the file changed while it was read.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// The pieces expired, or were deleted.
    #[error("{missing} pieces of the file are not in the swarm any more")]
    Gone {
        /// How many.
        missing: usize,
    },
    /// The message is not here, or is no file.
    #[error("there is no such message with a file")]
    NoFile,
    /// The session says no.
    #[error(transparent)]
    Session(#[from] Error),
    /// The system gives no randomness.
    #[error(transparent)]
    Entropy(#[from] session_runtime::entropy::NoEntropy),
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    |source| FileError::Disk { path: path.to_owned(), source }
}

impl Session {
    /// Seals and stores a file piece by piece, then announces it to `to`.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or the swarm does not take it. Sending the same file
    /// again goes on where it stopped.
    pub async fn send_file(
        &self,
        to: Peer,
        path: &Path,
        caption: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<SentFile, FileError> {
        let over = |over: session_core::codec::OverLimit| FileError::Caption {
            got: over.got,
            limit: over.limit,
        };
        let caption = Text::new(caption).map_err(over)?;
        let mut outgoing = Outgoing::open(self, to, path).await?;
        let resumed_at = outgoing.state.acknowledged;
        let mut done = 0;
        while let Some(length) = outgoing.seal_next()? {
            outgoing.store_full(self).await?;
            done += length;
            progress(Progress { done, of: outgoing.state.size });
        }
        let (size, chunks, slot) =
            (outgoing.state.size, outgoing.sealer.chunks(), outgoing.slot.clone());
        let (manifest, route) = outgoing.finish(self).await?;
        let say = Say::File { manifest, route, caption, reply_to: None };
        let said = self.say_this(to, say).await?;
        self.change(move |vault| vault.remove(&slot)).await?;
        Ok(SentFile { said, size, chunks, resumed_at })
    }

    /// Fetches, opens and checks a file; returns where it was saved: under its own name in `folder`,
    /// or one with a number where that is taken.
    ///
    /// # Errors
    /// When pieces are missing, or the disk refuses. Another attempt goes on behind what is there.
    pub async fn save(
        &self,
        file: &FileRef,
        folder: &Path,
        mut progress: impl FnMut(Progress),
    ) -> Result<PathBuf, FileError> {
        let mailbox = mailbox::of_file(&file.route);
        let manifest = &file.manifest;
        fs::create_dir_all(folder).map_err(disk(folder))?;
        let part = folder.join(format!(".{}.part", manifest.hash()));
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut target = options.open(&part).map_err(disk(&part))?;
        let opener = self.indexes(manifest, &mailbox).await?;
        let mut hash = FileHash::new();
        let mut chunk = resume(&mut target, manifest, &mut hash).map_err(disk(&part))?;
        while chunk < manifest.chunks() {
            let last = manifest.chunks().min(chunk.saturating_add(PIECES_AT_ONCE as u32));
            let ids: Vec<_> = (chunk..last)
                .map(|chunk| opener.chunk_id(chunk).expect("every index item was opened"))
                .collect();
            for item in self.pieces(&mailbox, &ids).await? {
                let plain = opener.open_chunk(chunk, &item)?;
                target.write_all(&plain).map_err(disk(&part))?;
                hash.update(&plain);
                chunk += 1;
            }
            let done = (u64::from(chunk) * CHUNK_BYTES as u64).min(manifest.size());
            progress(Progress { done, of: manifest.size() });
        }
        if let Err(error) = manifest.check_hash(&hash) {
            // Nothing in it can be trusted: the next attempt starts over.
            let _ = fs::remove_file(&part);
            return Err(error.into());
        }
        target.sync_all().map_err(disk(&part))?;
        let name = free_name(folder, manifest.name().as_str());
        fs::rename(&part, &name).map_err(disk(&name))?;
        Ok(name)
    }

    /// Takes back a message of the own account; of a file, the swarm is asked to delete the pieces
    /// too, for [`ERASE_PATIENCE`] at most. Whoever has fetched them has them.
    ///
    /// # Errors
    /// As [`Session::say_this`]. That pieces could not be deleted is none: they expire.
    pub async fn unsend(&self, to: Peer, of: SayId) -> Result<Said, Error> {
        let find = move |vault: &dyn Vault| {
            let found = thread::by_id(vault, thread::thread_of(vault, &to)?, of)?;
            match found.body {
                Body::File { manifest, route, .. } if found.own => {
                    Some(FileRef { manifest, route })
                }
                _ => None,
            }
        };
        let file = self.view(find).await?;
        let said = self.say_this(to, Say::Unsend { of }).await?;
        if let Some(file) = file {
            let erased = tokio::time::timeout(ERASE_PATIENCE, self.erase(&file)).await;
            match erased {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::info!(%error, "pieces of a file stay in the swarm"),
                Err(_) => tracing::info!("the swarm does not answer: pieces of a file stay there"),
            }
        }
        Ok(said)
    }

    /// Deletes the pieces of a file.
    async fn erase(&self, file: &FileRef) -> Result<(), FileError> {
        let mailbox = mailbox::of_file(&file.route);
        let opener = self.indexes(&file.manifest, &mailbox).await?;
        let chunks = (0..file.manifest.chunks()).filter_map(|chunk| opener.chunk_id(chunk));
        let indexes = match file.manifest.pieces() {
            Pieces::Chunks { .. } => &[][..],
            Pieces::Indexes { ids } => ids,
        };
        let ids: Vec<MessageId> = chunks.chain(indexes.iter().copied()).collect();
        for some in ids.chunks(IDS_MAX) {
            let command = client::Command::Delete {
                from: Inbox::Mailbox { rule: mailbox.rule(), token: mailbox.erase.clone() },
                ids: List::new(some).expect("chunks of at most the bound"),
            };
            self.network(command).await?;
        }
        Ok(())
    }

    /// Fetches and opens what lists the pieces of a large file.
    async fn indexes(&self, manifest: &Manifest, mailbox: &Mailbox) -> Result<Opener, FileError> {
        let mut opener = Opener::new(manifest.clone());
        for some in opener.missing_indexes().chunks(PIECES_AT_ONCE) {
            let ids: Vec<_> = some.iter().map(|(_, id)| *id).collect();
            for ((index, _), item) in some.iter().zip(self.pieces(mailbox, &ids).await?) {
                opener.open_index(*index, &item)?;
            }
        }
        Ok(opener)
    }

    async fn pieces(
        &self,
        mailbox: &Mailbox,
        ids: &[MessageId],
    ) -> Result<Vec<Vec<u8>>, FileError> {
        let command = client::Command::Fetch {
            from: Inbox::Mailbox { rule: mailbox.rule(), token: mailbox.read.clone() },
            namespace: ATTACHMENTS,
            ids: List::new(ids).expect("a few at once"),
        };
        match self.network(command).await? {
            client::Answer::Fetched { items, missing } if missing.is_empty() => {
                Ok(items.into_iter().map(|item| item.data.to_vec()).collect())
            }
            client::Answer::Fetched { missing, .. } => {
                Err(FileError::Gone { missing: missing.len() })
            }
            _ => Err(FileError::Gone { missing: ids.len() }),
        }
    }
}

/// A file that is being sent.
struct Outgoing {
    path: PathBuf,
    file: File,
    slot: Vec<u8>,
    state: Sending,
    mailbox: Mailbox,
    sealer: Sealer,
    pending: Vec<SealedPiece>,
}

impl Outgoing {
    async fn open(session: &Session, to: Peer, path: &Path) -> Result<Self, FileError> {
        // Asked before opening: a pipe would wait for its writer.
        let metadata = fs::metadata(path).map_err(disk(path))?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile(path.to_owned()));
        }
        let size = metadata.len();
        if size > FILE_BYTES_MAX {
            return Err(FileError::TooLarge { path: path.to_owned(), got: size });
        }
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
        let file = File::open(path).map_err(disk(path))?;
        let whole = fs::canonicalize(path).map_err(disk(path))?;
        let slot = slot(&to, &whole);
        let key = slot.clone();
        let saved = session.view(move |vault| vault::load::<Sending>(vault, &key)).await?;
        let now = session_runtime::clock::SystemClock::new().now();
        // Half of its time must be left for what was stored before.
        let left = |started: Time| now.since(started) < Span::from_millis(TTL_MAX.as_millis() / 2);
        let fits = |it: &Sending| it.size == size && it.modified == modified && left(it.started);
        let state = match saved.filter(fits) {
            Some(state) => state,
            None => {
                let mut rng = OsEntropy::new()?;
                let (key, route) = (FileKey::generate(&mut rng), Secret::generate(&mut rng));
                Sending { key, route, size, modified, started: now, acknowledged: 0 }
            }
        };
        let mailbox = mailbox::of_file(&state.route);
        let sealer = Sealer::new(state.key.clone(), size, mailbox.address())?;
        Ok(Self { path: path.to_owned(), file, slot, state, mailbox, sealer, pending: Vec::new() })
    }

    /// Seals the next piece; returns its bytes of the file, or `None` after the last one.
    fn seal_next(&mut self) -> Result<Option<u64>, FileError> {
        let length = self.sealer.next_length();
        if length == 0 {
            return Ok(None);
        }
        let mut plain = vec![0; length];
        self.file.read_exact(&mut plain).map_err(disk(&self.path))?;
        let chunk = self.sealer.next_chunk();
        let piece = self.sealer.seal_next(&plain)?;
        if chunk >= self.state.acknowledged {
            self.pending.push(piece);
        }
        Ok(Some(length as u64))
    }

    async fn store_full(&mut self, session: &Session) -> Result<(), FileError> {
        if self.pending.len() < PIECES_AT_ONCE {
            return Ok(());
        }
        self.store(session).await?;
        self.state.acknowledged = self.sealer.next_chunk();
        let (slot, state) = (self.slot.clone(), self.state.to_bytes());
        Ok(session.change(move |vault| vault.put(&slot, &state)).await?)
    }

    async fn store(&mut self, session: &Session) -> Result<(), FileError> {
        let pending = std::mem::take(&mut self.pending);
        let address = self.mailbox.address();
        let store = async |some: &[SealedPiece]| {
            let items = some.iter().map(|piece| NewItem {
                namespace: ATTACHMENTS,
                ttl: TTL_MAX,
                data: piece.item.clone(),
            });
            let items: Vec<NewItem> = items.collect();
            if items.is_empty() {
                return Ok(());
            }
            session.network(client::Command::StoreMany { address, items }).await.map(drop)
        };
        for some in pending.chunks(PIECES_AT_ONCE) {
            // Over hops a request holds one piece: some are on their way at once.
            let mut parts = some.chunks(some.len().div_ceil(4));
            let mut part = || parts.next().unwrap_or_default();
            let [a, b, c, d] = [part(), part(), part(), part()];
            tokio::try_join!(store(a), store(b), store(c), store(d))?;
        }
        Ok(())
    }

    async fn finish(mut self, session: &Session) -> Result<(Manifest, Secret), FileError> {
        self.store(session).await?;
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = FileName::sanitise(&name.unwrap_or_default());
        let sealer = std::mem::replace(
            &mut self.sealer,
            Sealer::new(self.state.key.clone(), 0, self.mailbox.address())?,
        );
        let (manifest, indexes) = sealer.finish(name)?;
        self.pending = indexes;
        self.store(session).await?;
        Ok((manifest, self.state.route))
    }
}

fn slot(to: &Peer, path: &Path) -> Vec<u8> {
    let mut hash = FileHash::new();
    hash.update(&to.to_bytes());
    hash.update(path.as_os_str().as_encoded_bytes());
    Table::Transfer.key(&[hash.finish().as_bytes()])
}

/// Hashes the whole chunks of a download that are there and cuts off the rest; returns the next
/// chunk.
///
/// # Errors
/// When the disk refuses.
pub fn resume(file: &mut File, manifest: &Manifest, hash: &mut FileHash) -> std::io::Result<u32> {
    let whole = file.metadata()?.len().min(manifest.size()) / CHUNK_BYTES as u64;
    file.set_len(whole * CHUNK_BYTES as u64)?;
    file.seek(SeekFrom::Start(0))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    for _ in 0..whole {
        file.read_exact(&mut chunk)?;
        hash.update(&chunk);
    }
    Ok(u32::try_from(whole).expect("a manifest's size is bounded"))
}

/// Returns a name in `folder` that nothing has: `photo.jpg`, `photo (2).jpg`, …
#[must_use]
pub fn free_name(folder: &Path, name: &str) -> PathBuf {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= ENDING_BYTES_MAX => {
            (stem, format!(".{ending}"))
        }
        _ => (name, String::new()),
    };
    let mut cut = stem.len().min(STEM_BYTES_MAX);
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    let first = std::iter::once(folder.join(name));
    let others = (2..).map(|number| folder.join(format!("{} ({number}){ending}", &stem[..cut])));
    first.chain(others).find(|path| !path.exists()).expect("the numbers do not end")
}
