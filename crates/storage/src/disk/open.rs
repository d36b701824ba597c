//! Opening a data directory: the lock, the store file, and rebuilding each shard from its
//! segments.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::committer::{SegmentFile, sync_dir};
use super::compact::Compaction;
use super::format::{Class, Head, SEGMENT_HEADER, SegmentHeader, StoreFile};
use super::index::Entry;
use super::records::Value;
use super::scan::{Depth, Scanned, Source, is_sealed, scan};
use super::segment::Segment;
use super::shard::Shard;
use super::space::Space;
use crate::store::ItemMeta;

/// Damaged places that a report names; all are counted.
const NAMED_MAX: usize = 64;

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data directory {} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
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
    /// The file that identifies the store is not one, or of another version.
    #[error("{} does not identify a store of this version", path.display())]
    StoreFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: session_core::DecodeError,
    },
    /// There are segments, but the file that identifies the store is gone.
    #[error("{} is missing, but there are segments beside it", path.display())]
    StoreFileMissing {
        /// The file.
        path: PathBuf,
    },
    /// An option is out of its range.
    #[error("the option {name} is {got}, it must be from {min} to {max}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        got: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Whether the store is new.
    pub created: bool,
    /// Items, expired ones included.
    pub items: u64,
    /// Tombstones, ended ones included.
    pub tombstones: u64,
    /// Records, expired ones included.
    pub records: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of unfinished writes that were cut off; none of them had been acknowledged.
    pub cut_bytes: u64,
    /// Damaged places among whole records: what stood there is lost and not served.
    pub corrupt: u64,
    /// The files of the first of them.
    pub damaged: Vec<PathBuf>,
}

impl OpenReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.items += other.items;
        self.tombstones += other.tombstones;
        self.records += other.records;
        self.segments += other.segments;
        self.cut_bytes += other.cut_bytes;
        self.corrupt += other.corrupt;
        self.damaged.extend(other.damaged);
        self.damaged.truncate(NAMED_MAX);
    }
}

pub(crate) fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}

/// Makes the directory if need be, for its owner only, and locks it against other processes.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    make_dir(dir)?;
    let path = dir.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed("opening", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(errno) => Err(failed("locking", &path)(errno.into())),
    }
}

pub(crate) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("creating", dir))
}

fn store_path(dir: &Path) -> PathBuf {
    dir.join("STORE")
}

/// Reads the store file, or returns `None` in a new directory.
pub(crate) fn read_store_file(dir: &Path) -> Result<Option<StoreFile>, OpenError> {
    let path = store_path(dir);
    match fs::read(&path) {
        Ok(bytes) => StoreFile::decode(&bytes)
            .map(Some)
            .map_err(|source| OpenError::StoreFile { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if shard_dir(dir, 0).exists() {
                return Err(OpenError::StoreFileMissing { path });
            }
            Ok(None)
        }
        Err(error) => Err(failed("reading", &path)(error)),
    }
}

/// Replaces the store file as a whole.
pub(crate) fn write_store_file(dir: &Path, contents: &StoreFile) -> io::Result<()> {
    let new = dir.join("STORE.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(&contents.encode())?;
    file.sync_all()?;
    fs::rename(&new, store_path(dir))?;
    sync_dir(dir)
}

pub(crate) fn shard_dir(dir: &Path, shard: u16) -> PathBuf {
    dir.join(format!("{shard:02x}"))
}

/// Rebuilds a shard from its segments. Returns the largest number that was found.
pub(crate) fn load(shard: &mut Shard) -> Result<(OpenReport, u64), OpenError> {
    let mut report = OpenReport::default();
    let mut changes = Vec::new();
    let mut last = 0;
    for (number, path) in segment_files(&shard.dir)? {
        shard.next_segment = number.saturating_add(1);
        let loaded = load_segment(shard, number, &path, &mut |shard, head| {
            last = last.max(head.number());
            match head {
                Head::Item { .. } => place_item(shard, number, &head),
                Head::Record { .. } => place_record(shard, number, &head),
                Head::Remove { .. } | Head::SetExpiry { .. } | Head::RemoveRecord { .. } => {
                    changes.push(head);
                }
            }
        });
        let scanned = loaded.map_err(failed("reading", &path))?;
        report.cut_bytes += scanned.cut_bytes;
        report.corrupt += scanned.corrupt;
        if scanned.corrupt > 0 && report.damaged.len() < NAMED_MAX {
            report.damaged.push(path);
        }
    }
    shard.index.sort();
    changes.sort_unstable_by_key(Head::number);
    for change in changes {
        apply(shard, change);
    }
    (report.items, _, report.tombstones) = shard.index.totals();
    report.records = shard.records.len() as u64;
    report.segments = shard.segments.len() as u64;
    Ok((report, last))
}

/// Makes the last unsealed segment of each class the active one and seals the others; makes sure
/// that removals have their reserve.
pub(crate) fn settle(shard: &mut Shard, space: &mut Space) {
    let unsealed: Vec<(u32, Class)> = shard
        .segments
        .values()
        .filter(|segment| !segment.sealed)
        .map(|segment| (segment.number, segment.class))
        .collect();
    for (number, class) in unsealed {
        if shard.compactions.iter().any(|compaction| compaction.segment() == number) {
            // The seal was on its way when the crash came.
            shard.seal_segment(number, space);
            continue;
        }
        if let Some(older) = shard.active[class as usize].replace(number) {
            shard.seal_segment(older, space);
        }
    }
    // On a disk that is full already there is no reserve to be had, and that is no reason not to
    // serve what is there.
    let _ = shard.keep_reserve(space);
}

fn segment_files(dir: &Path) -> Result<Vec<(u32, PathBuf)>, OpenError> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).map_err(failed("listing", dir))? {
        let path = file.map_err(failed("listing", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 8);
        if let Some(number) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn load_segment(
    shard: &mut Shard,
    number: u32,
    path: &Path,
    place: &mut dyn FnMut(&mut Shard, Head),
) -> io::Result<Scanned> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.length()?;
    let mut bytes = vec![0; SEGMENT_HEADER.min(length) as usize];
    file.read(0, &mut bytes)?;
    let expected = SegmentHeader { number, ..shard.template };
    let header = SegmentHeader::decode(&bytes).ok();
    let header = header.filter(|found| *found == SegmentHeader { class: found.class, ..expected });
    // Everything in a header but the class is known from elsewhere, so a damaged one loses nothing.
    let seed = expected.seed();
    let sealed = is_sealed(&file, seed)?;
    let depth = if sealed { Depth::Heads } else { Depth::Bodies };
    // Records are placed while they are found: a list of them would be the largest thing in memory.
    let shared = Arc::new(SegmentFile { file, path: path.to_owned(), written: AtomicU32::new(0) });
    let class = header.map(|header| header.class);
    let provisional = class.unwrap_or(Class::Long);
    let segment = Segment::new(number, provisional, seed, Arc::clone(&shared));
    shard.segments.insert(number, segment);
    let mut first = None;
    let mut scanned = scan(&shared.file, seed, depth, &mut |head| {
        first.get_or_insert_with(|| class_of_head(&head));
        shard.segments.get_mut(&number).expect("inserted above").note(&head);
        place(shard, head);
    })?;
    if first.is_none() && scanned.corrupt == 0 {
        // A crash came between making the file and the first commit in it.
        shard.segments.remove(&number);
        fs::remove_file(path)?;
        return Ok(scanned);
    }
    scanned.corrupt += u64::from(header.is_none());
    let tail = scanned.tail.max(SEGMENT_HEADER);
    if !scanned.sealed && length > tail {
        // What was cut off must not be found behind what is written next.
        shared.file.set_len(tail.into())?;
    }
    let segment = shard.segments.get_mut(&number).expect("inserted above");
    segment.class = class.or(first).unwrap_or(provisional);
    segment.settle(tail, if scanned.sealed { length } else { tail }, scanned.sealed);
    Ok(scanned)
}

fn class_of_head(head: &Head) -> Class {
    match head {
        Head::Remove { .. } | Head::SetExpiry { .. } => Class::Control,
        Head::Record { .. } | Head::RemoveRecord { .. } => Class::Records,
        Head::Item { .. } => Class::Long,
    }
}

fn place_item(shard: &mut Shard, segment: u32, head: &Head) {
    let Head::Item { number, address, id, namespace, timestamp, expiry, body } = head else {
        return;
    };
    let meta = ItemMeta {
        id: *id,
        namespace: *namespace,
        timestamp: *timestamp,
        expiry: *expiry,
        arrival: *number,
        size: body.size,
    };
    let entry = Entry::item(&meta, segment, body.offset);
    if let Some(slot) = shard.index.insert_unsorted(address, entry) {
        let known = *shard.index.entry(slot);
        if known.number > *number {
            return;
        }
        if known.number == *number {
            note_copy(shard, known.segment, segment);
        }
        shard.release(known.segment, known.size());
        shard.index.replace_unsorted(slot, entry);
    }
    shard.hold(segment, body.size);
}

/// An item is in two segments: a crash came while the first one was being emptied. It must be
/// emptied before anything that its copies rely on goes.
fn note_copy(shard: &mut Shard, from: u32, to: u32) {
    if from == to {
        return;
    }
    let known = shard.compactions.iter().position(|compaction| compaction.segment() == from);
    let at = known.unwrap_or_else(|| {
        shard.compactions.push(Compaction::of(from));
        shard.compactions.len() - 1
    });
    shard.compactions[at].add_destination(to);
}

fn place_record(shard: &mut Shard, segment: u32, head: &Head) {
    let Head::Record { number, table, key, expiry, body } = head else { return };
    let key = (*table, key.clone());
    if shard.records.get(&key).is_some_and(|known| known.number > *number) {
        return;
    }
    let value = Value { number: *number, expiry: *expiry, segment, body: *body };
    if let Some(before) = shard.records.insert(key, value) {
        shard.release(before.segment, before.body.size);
    }
    shard.hold(segment, body.size);
}

fn apply(shard: &mut Shard, change: Head) {
    match change {
        Head::Remove { number, address, id, until, .. } => {
            if let Some(slot) = shard.index.find(&address, &id) {
                let known = *shard.index.entry(slot);
                if known.number > number {
                    return;
                }
                if known.is_tombstone() {
                    shard.index.set_tombstone(slot, number, until);
                    return;
                }
                shard.take_item(slot);
            }
            shard.index.insert(&address, Entry::tombstone(id, number, until));
        }
        Head::SetExpiry { address, id, expiry, arrival, segment, .. } => {
            let Some(slot) = shard.index.find(&address, &id) else { return };
            let known = shard.index.entry(slot);
            if !known.is_tombstone() && known.number == arrival && known.segment == segment {
                shard.index.set_expiry(slot, expiry);
                shard.prolong(segment, expiry);
            }
        }
        Head::RemoveRecord { number, table, key } => {
            let key = (table, key);
            if shard.records.get(&key).is_some_and(|known| known.number < number)
                && let Some(value) = shard.records.remove(&key)
            {
                shard.release(value.segment, value.body.size);
            }
        }
        Head::Item { .. } | Head::Record { .. } => {}
    }
}
