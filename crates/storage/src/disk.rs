//! The engine that keeps everything in a sharded segment log.
//!
//! Inboxes are spread over shards. A shard has append-only segment files, sorted by how long their
//! items live, an index in memory, and a thread that writes and syncs: many commits, one fsync.
//! Everything else happens on the caller's thread. `docs/wire/storage.md` has the bytes.
//!
//! *Provided*: what a commit's callback acknowledged survives a crash; an unfinished write is cut
//! off; damaged bytes are detected, reported and never served; a full disk refuses new items and
//! serves on. *Not provided*: a commit is not atomic. After a crash, of writes that were never
//! acknowledged, some may be there and some not.

mod committer;
mod compact;
mod format;
mod index;
mod open;
mod records;
mod scan;
mod segment;
mod shard;
mod space;
mod wheel;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use session_core::{InboxAddress, MessageId, Namespace, Time};

use committer::{Committer, Sequencer};
use format::{HEAD_MAX, Head, ITEM_HEAD, StoreFile};
use index::Entry;
use records::Value;
use shard::{Shard, class_of, shard_of, shard_of_record};
use space::Space;

pub use format::{Body, Class, Head as SegmentRecord, SegmentHeader};
pub use open::{OpenError, OpenReport};
pub use scan::{DecodedSegment, Scanned, decode_segment};

use crate::error::StoreError;
use crate::store::{
    Done, Durable, ITEM_BYTES_MAX, ItemMeta, KEY_BYTES_MAX, NewItem, PURGE_MAX, Page, PageLimit,
    Purged, Put, Stats, Store, StoredItem, TIME_MAX, Table, Usage, VALUE_BYTES_MAX, within,
};

/// Numbers that the store file sets aside at once. A crash skips what is left of them, so that no
/// number is used twice even if the records that used it were lost.
const NUMBERS_RESERVED: u64 = 1 << 28;
/// Segments smaller than this could not hold the largest record and the reserve.
const SEGMENT_BYTES_MIN: u32 = 1024 * 1024;
const SEGMENT_BYTES_MAX: u32 = 1024 * 1024 * 1024;
const SHARDS_MAX: u16 = 64;

/// How a disk store is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Shards of a new store; one that exists keeps its own number. Four logs stored four times as
    /// much as one in the measurements behind this engine.
    pub shards: u16,
    /// The largest segment. Smaller ones expire sooner, larger ones are fewer files.
    pub segment_bytes: u32,
    /// Bytes that all segments together may take; the disk sets the limit if this does not.
    pub bytes_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { shards: 4, segment_bytes: 64 * 1024 * 1024, bytes_max: None }
    }
}

impl Options {
    fn check(&self) -> Result<(), OpenError> {
        let within = |name, got: u64, min: u64, max: u64| {
            if (min..=max).contains(&got) {
                Ok(())
            } else {
                Err(OpenError::Option { name, got, min, max })
            }
        };
        within("shards", self.shards.into(), 1, SHARDS_MAX.into())?;
        within(
            "segment_bytes",
            self.segment_bytes.into(),
            SEGMENT_BYTES_MIN.into(),
            SEGMENT_BYTES_MAX.into(),
        )
    }
}

/// A store on disk.
///
/// Dropping it waits for commits that were handed over, and leaves out what was never committed.
#[derive(Debug)]
pub struct DiskStore {
    dir: PathBuf,
    file: StoreFile,
    shards: Vec<Shard>,
    space: Space,
    next: u64,
    /// The latest time seen by a purge; it sorts items into classes, nothing more.
    now: Time,
    report: OpenReport,
    corrupt_read: Cell<u64>,
    writers: Writers,
}

struct Writers {
    committers: Vec<Committer>,
    sequencer: Arc<Sequencer>,
    /// Held until the threads are gone: the last field to be dropped.
    _lock: File,
}

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writers").finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens a data directory, or makes one, for this process alone.
    ///
    /// # Errors
    /// When another process has it open, when it is not a store, or when the disk fails. Damage
    /// inside segments is no error, see [`DiskStore::report`].
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        options.check()?;
        let lock = open::lock(dir)?;
        let known = open::read_store_file(dir)?;
        let mut report = OpenReport { created: known.is_none(), ..OpenReport::default() };
        let mut file = match known {
            Some(file) => file,
            None => new_store_file(dir, options.shards)?,
        };
        let mut space = Space::new(dir.to_owned(), options.bytes_max.unwrap_or(u64::MAX));
        let (mut shards, last) = load_shards(dir, &file, options.segment_bytes, &mut report)?;
        for shard in &mut shards {
            space.allocated += shard.segments.values().map(|s| u64::from(s.allocated)).sum::<u64>();
        }
        for shard in &mut shards {
            open::settle(shard, &mut space);
        }
        let next = file.floor.max(last.saturating_add(1));
        file.floor = next.saturating_add(NUMBERS_RESERVED);
        open::write_store_file(dir, &file)
            .map_err(open::failed("writing the store file in", dir))?;

        let sequencer = Arc::new(Sequencer::default());
        let committers = shards
            .iter()
            .map(|shard| {
                let dir = shard.dir.clone();
                Committer::start(shard.template.shard, dir, Arc::clone(&sequencer))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(open::failed("starting the threads of", dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            shards,
            space,
            next,
            now: Time::ZERO,
            report,
            corrupt_read: Cell::new(0),
            writers: Writers { committers, sequencer, _lock: lock },
        })
    }

    /// Returns what opening found.
    #[must_use]
    pub const fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Returns how many bytes new segments could still take.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.space.free()
    }

    /// Returns how many commits were handed over and not yet called back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.writers.sequencer.in_flight()
    }

    /// Commits and waits.
    ///
    /// # Errors
    /// When this commit or an earlier one failed.
    pub fn commit_sync(&mut self) -> Result<(), StoreError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.commit(Box::new(move |result| {
            // The receiver waits below.
            let _ = sender.send(result);
        }));
        receiver
            .recv()
            .unwrap_or_else(|_| Err(StoreError::Closed { why: "a writing thread ended".into() }))
    }

    /// Commits, waits, and leaves the directory so that the next opening continues the numbers.
    ///
    /// # Errors
    /// When a commit failed.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.commit_sync()?;
        self.file.floor = self.next;
        open::write_store_file(&self.dir, &self.file)
            .map_err(|error| StoreError::io("writing the store file", &error))
    }

    fn shard(&self, address: &InboxAddress) -> &Shard {
        &self.shards[shard_of(address, self.file.shards)]
    }

    fn shard_mut(&mut self, address: &InboxAddress) -> (&mut Shard, &mut Space) {
        (&mut self.shards[shard_of(address, self.file.shards)], &mut self.space)
    }

    /// Returns the number for the next write, and makes sure that it is set aside.
    fn number(&mut self) -> Result<u64, StoreError> {
        if let Some(closed) = self.writers.sequencer.failure() {
            return Err(closed);
        }
        if self.next >= self.file.floor {
            self.file.floor = self.next.saturating_add(NUMBERS_RESERVED);
            open::write_store_file(&self.dir, &self.file)
                .map_err(|error| StoreError::io("writing the store file", &error))?;
        }
        Ok(self.next)
    }

    /// Keeps the result of an append: a number counts only if its write was taken.
    fn used<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.next += 1,
            Err(StoreError::Io { .. }) => {
                if let Err(error) = &result {
                    self.writers.sequencer.fail(error);
                }
            }
            Err(_) => {}
        }
        result
    }

    fn read_item(&self, shard: &Shard, entry: &Entry) -> Result<StoredItem, StoreError> {
        let body = Body { offset: entry.offset, size: entry.size() };
        let data = shard.read("item", entry.segment, body).inspect_err(|error| {
            if matches!(error, StoreError::Corrupt { .. }) {
                self.corrupt_read.set(self.corrupt_read.get() + 1);
            }
        })?;
        Ok(StoredItem { meta: entry.meta(), data })
    }

    fn purge_items(&mut self, now: Time, purged: &mut Purged) {
        let mut touched = vec![BTreeSet::new(); self.shards.len()];
        for shard in &mut self.shards {
            shard.index.advance(now);
        }
        for _ in 0..PURGE_MAX {
            let due = self.shards.iter().enumerate();
            let first = due.filter_map(|(n, shard)| Some((shard.index.first_due()?, n))).min();
            let Some(((expiry, _, slot), number)) = first else { break };
            if expiry > now.as_millis() {
                break;
            }
            let shard = &mut self.shards[number];
            let (entry, inbox) = shard.index.expire(slot);
            touched[number].insert(inbox);
            if entry.is_tombstone() {
                purged.tombstones += 1;
            } else {
                shard.release(entry.segment, entry.size());
                purged.items += 1;
            }
        }
        for (shard, touched) in self.shards.iter_mut().zip(&touched) {
            shard.index.sweep(touched);
            let due = shard.index.first_due();
            purged.more |= due.is_some_and(|(expiry, _, _)| expiry <= now.as_millis());
        }
    }

    fn purge_records(&mut self, now: Time, purged: &mut Purged) {
        for _ in 0..PURGE_MAX {
            let due = self.shards.iter().enumerate();
            let first = due
                .filter_map(|(n, shard)| shard.records.first_due().map(|due| (due.clone(), n)))
                .min();
            let Some(((expiry, _, key), number)) = first else { return };
            if expiry > now {
                return;
            }
            let shard = &mut self.shards[number];
            if let Some(value) = shard.records.remove(&key) {
                shard.release(value.segment, value.body.size);
            }
            purged.records += 1;
        }
        let mut due = self.shards.iter().filter_map(|shard| shard.records.first_due());
        purged.more |= due.any(|(expiry, _, _)| *expiry <= now);
    }
}

fn new_store_file(dir: &Path, shards: u16) -> Result<StoreFile, OpenError> {
    let random = || {
        getrandom::u64().map_err(|error| OpenError::Io {
            doing: "drawing the incarnation of",
            path: dir.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })
    };
    let file = StoreFile { shards, incarnation: random()?, salt: random()?, floor: 1 };
    open::write_store_file(dir, &file).map_err(open::failed("writing the store file in", dir))?;
    // The name of the directory itself; not everyone may sync what is above it.
    let _ = dir.parent().map(committer::sync_dir);
    Ok(file)
}

/// Rebuilds all shards side by side. Returns the largest number found.
fn load_shards(
    dir: &Path,
    file: &StoreFile,
    segment_bytes: u32,
    report: &mut OpenReport,
) -> Result<(Vec<Shard>, u64), OpenError> {
    let mut shards = Vec::new();
    for number in 0..file.shards {
        let path = open::shard_dir(dir, number);
        open::make_dir(&path)?;
        let template = SegmentHeader {
            incarnation: file.incarnation,
            salt: file.salt,
            shard: number,
            class: Class::Control,
            number: 0,
        };
        shards.push(Shard::new(path, template, segment_bytes));
    }
    let mut last = 0;
    let loaded = thread::scope(|scope| {
        let loading: Vec<_> =
            shards.iter_mut().map(|shard| scope.spawn(|| open::load(shard))).collect();
        let joined = loading.into_iter().map(|thread| thread.join());
        // A panic in a thread is a bug of ours: let it go on here.
        joined
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>, _>>()
    })?;
    for (found, number) in loaded {
        report.add(found);
        last = last.max(number);
    }
    Ok((shards, last))
}

impl Store for DiskStore {
    fn incarnation(&self) -> u64 {
        self.file.incarnation
    }

    fn latest_arrival(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    fn put_item(&mut self, address: &InboxAddress, item: NewItem<'_>) -> Result<Put, StoreError> {
        within("item", item.data.len(), ITEM_BYTES_MAX)?;
        let shard = self.shard(address);
        if let Some(slot) = shard.index.find(address, &item.id) {
            let known = shard.index.entry(slot);
            return Ok(if known.is_tombstone() {
                Put::Deleted
            } else {
                Put::Duplicate { arrival: known.number, expiry: known.expiry() }
            });
        }
        let number = self.number()?;
        let timestamp = item.timestamp.min(TIME_MAX);
        let expiry = item.expiry.min(TIME_MAX);
        let class = class_of(expiry.since(self.now.max(timestamp)));
        let (shard, space) = self.shard_mut(address);
        let head = |body| Head::Item {
            number,
            address: *address,
            id: item.id,
            namespace: item.namespace,
            timestamp,
            expiry,
            body,
        };
        let appended = shard.append(class, ITEM_HEAD as usize, Some(item.data), space, head);
        let (segment, body) = self.used(appended)?;
        let meta = ItemMeta {
            id: item.id,
            namespace: item.namespace,
            timestamp,
            expiry,
            arrival: number,
            size: body.size,
        };
        let (shard, _) = self.shard_mut(address);
        shard.hold(segment, body.size);
        shard.index.insert(address, Entry::item(&meta, segment, body.offset));
        Ok(Put::Stored { arrival: number })
    }

    fn item(
        &self,
        address: &InboxAddress,
        id: &MessageId,
    ) -> Result<Option<StoredItem>, StoreError> {
        let shard = self.shard(address);
        shard.index.item(address, id).map(|entry| self.read_item(shard, entry)).transpose()
    }

    fn meta(&self, address: &InboxAddress, id: &MessageId) -> Option<ItemMeta> {
        self.shard(address).index.item(address, id).map(Entry::meta)
    }

    fn items_after(
        &self,
        address: &InboxAddress,
        namespace: Namespace,
        after: u64,
        limit: PageLimit,
        now: Time,
    ) -> Result<Page, StoreError> {
        let shard = self.shard(address);
        let mut page = Page::default();
        let mut bytes = 0;
        let entries = shard.index.after(address, namespace, after);
        for entry in entries.filter(|entry| entry.expiry() > now) {
            bytes += entry.size() as usize;
            let first = page.items.is_empty();
            if page.items.len() >= limit.items || (bytes > limit.bytes && !first) {
                page.more = true;
                break;
            }
            match self.read_item(shard, entry) {
                Ok(item) => page.items.push(item),
                Err(StoreError::Corrupt { .. }) => bytes -= entry.size() as usize,
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    fn remove_item(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        tombstone_until: Time,
    ) -> Result<bool, StoreError> {
        let until = tombstone_until.min(TIME_MAX);
        let slot = self.shard(address).index.find(address, id);
        let known = slot.map(|slot| (slot, *self.shard(address).index.entry(slot)));
        if known.is_some_and(|(_, entry)| entry.is_tombstone() && entry.expiry() >= until) {
            return Ok(false);
        }
        let number = self.number()?;
        let segment = known.map_or(0, |(_, entry)| entry.segment);
        let (shard, space) = self.shard_mut(address);
        let head = |_| Head::Remove { number, address: *address, id: *id, until, segment };
        let appended = shard.append(Class::Control, HEAD_MAX, None, space, head);
        self.used(appended)?;
        let (shard, _) = self.shard_mut(address);
        match known {
            Some((slot, entry)) if entry.is_tombstone() => {
                shard.index.set_tombstone(slot, number, until);
                return Ok(false);
            }
            Some((slot, _)) => {
                shard.take_item(slot);
            }
            None => {}
        }
        shard.index.insert(address, Entry::tombstone(*id, number, until));
        Ok(known.is_some())
    }

    fn tombstone(&self, address: &InboxAddress, id: &MessageId) -> Option<Time> {
        let index = &self.shard(address).index;
        let entry = index.entry(index.find(address, id)?);
        entry.is_tombstone().then(|| entry.expiry())
    }

    fn set_expiry(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        expiry: Time,
    ) -> Result<bool, StoreError> {
        let expiry = expiry.min(TIME_MAX);
        let index = &self.shard(address).index;
        let Some(slot) = index.find(address, id) else { return Ok(false) };
        let entry = *index.entry(slot);
        if entry.is_tombstone() {
            return Ok(false);
        }
        if entry.expiry() == expiry {
            return Ok(true);
        }
        let number = self.number()?;
        let (shard, space) = self.shard_mut(address);
        let head = |_| Head::SetExpiry {
            number,
            address: *address,
            id: *id,
            expiry,
            arrival: entry.number,
            segment: entry.segment,
        };
        let appended = shard.append(Class::Control, HEAD_MAX, None, space, head);
        self.used(appended)?;
        let (shard, _) = self.shard_mut(address);
        shard.index.set_expiry(slot, expiry);
        shard.prolong(entry.segment, expiry);
        Ok(true)
    }

    fn put_record(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        expiry: Time,
    ) -> Result<(), StoreError> {
        within("record key", key.len(), KEY_BYTES_MAX)?;
        within("record value", value.len(), VALUE_BYTES_MAX)?;
        let number = self.number()?;
        let expiry = expiry.min(TIME_MAX);
        let home = shard_of_record(table as u8, key, self.file.shards);
        let (shard, space) = (&mut self.shards[home], &mut self.space);
        let head = |body| Head::Record { number, table, key: key.to_vec(), expiry, body };
        let appended = shard.append(Class::Records, HEAD_MAX, Some(value), space, head);
        let (segment, body) = self.used(appended)?;
        let shard = &mut self.shards[home];
        let value = Value { number, expiry, segment, body };
        if let Some(before) = shard.records.insert((table, key.to_vec()), value) {
            shard.release(before.segment, before.body.size);
        }
        shard.hold(segment, body.size);
        Ok(())
    }

    fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let shard = &self.shards[shard_of_record(table as u8, key, self.file.shards)];
        let value = shard.records.get(&(table, key.to_vec()));
        value.map(|value| shard.read("record", value.segment, value.body)).transpose()
    }

    fn remove_record(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        let home = shard_of_record(table as u8, key, self.file.shards);
        let full_key = (table, key.to_vec());
        if self.shards[home].records.get(&full_key).is_none() {
            return Ok(false);
        }
        let number = self.number()?;
        let (shard, space) = (&mut self.shards[home], &mut self.space);
        let head = |_| Head::RemoveRecord { number, table, key: key.to_vec() };
        let appended = shard.append(Class::Records, HEAD_MAX, None, space, head);
        self.used(appended)?;
        let shard = &mut self.shards[home];
        if let Some(value) = shard.records.remove(&full_key) {
            shard.release(value.segment, value.body.size);
        }
        Ok(true)
    }

    fn records(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Time)> {
        let shards = self.shards.iter();
        let mut found: Vec<_> = shards
            .flat_map(|shard| shard.records.with_prefix(table, prefix))
            .map(|(key, expiry)| (key.to_vec(), expiry))
            .collect();
        found.sort_unstable();
        found
    }

    fn scan(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &ItemMeta),
    ) {
        for (address, shard, inbox) in self.inboxes(range) {
            for entry in shard.index.items_of(inbox) {
                visitor(&address, &entry.meta());
            }
        }
    }

    fn scan_tombstones(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &MessageId, Time),
    ) {
        for (address, shard, inbox) in self.inboxes(range) {
            for (id, until) in shard.index.tombstones_of(inbox) {
                visitor(&address, &id, until);
            }
        }
    }

    fn inbox_usage(&self, address: &InboxAddress, namespace: Namespace) -> Usage {
        self.shard(address).index.usage(address, namespace)
    }

    fn purge(&mut self, now: Time) -> Purged {
        self.now = self.now.max(now);
        let mut purged = Purged::default();
        self.purge_items(now, &mut purged);
        self.purge_records(now, &mut purged);
        if self.writers.sequencer.failure().is_none() {
            for shard in &mut self.shards {
                if let Err(error) = shard.housekeep(now, &mut self.space) {
                    self.writers.sequencer.fail(&error);
                }
            }
        }
        purged
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats {
            disk_bytes: self.space.allocated,
            corrupt: self.report.corrupt + self.corrupt_read.get(),
            ..Stats::default()
        };
        for shard in &self.shards {
            let (items, item_bytes, tombstones) = shard.index.totals();
            stats.items += items;
            stats.item_bytes += item_bytes;
            stats.tombstones += tombstones;
            stats.records += shard.records.len() as u64;
            stats.segments += shard.segments.len() as u64;
            stats.corrupt += shard.corrupt;
        }
        stats
    }
}

impl DiskStore {
    /// Returns the inboxes of a range, in order, over all shards.
    fn inboxes(&self, range: RangeInclusive<InboxAddress>) -> Vec<(InboxAddress, &Shard, u32)> {
        let mut found: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| {
                let inboxes = shard.index.addresses(range.clone());
                inboxes.map(move |(address, inbox)| (address, shard, inbox))
            })
            .collect();
        found.sort_unstable_by_key(|(address, _, _)| *address);
        found
    }
}

impl Durable for DiskStore {
    fn commit(&mut self, done: Done) {
        let work: Vec<_> = self.shards.iter_mut().map(Shard::take_tasks).collect();
        let touched = work.iter().filter(|tasks| !tasks.is_empty()).count();
        let sequencer = &self.writers.sequencer;
        let commit = sequencer.begin(touched, done);
        for (committer, tasks) in self.writers.committers.iter().zip(work) {
            if !tasks.is_empty()
                && let Err(error) = committer.send(commit, tasks)
            {
                sequencer.fail(&error);
                sequencer.finish(commit, &Err(error));
            }
        }
        if touched == 0 {
            sequencer.deliver();
        }
    }
}

#[cfg(test)]
mod tests;
