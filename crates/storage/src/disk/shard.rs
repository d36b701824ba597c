//! One shard: its index, its segments, and the writes that wait for the next commit.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use session_core::{InboxAddress, Span, Time};

use super::committer::{SegmentFile, Task};
use super::compact::Compaction;
use super::format::{Body, Class, GROUP_HEADER, Head, SEGMENT_HEADER, SegmentHeader};
use super::index::{Entry, Index};
use super::records::Records;
use super::segment::Segment;
use super::space::Space;
use crate::error::StoreError;

/// The first reservation of a segment: little, because idle classes of idle nodes have one each.
const STEP_MIN: u32 = 64 * 1024;
/// The largest reservation at once: few file size changes, and a small unused tail.
const STEP_MAX: u32 = 4 * 1024 * 1024;
/// Room kept ready in each shard for removals on a full disk: about 2,600 of them.
pub(crate) const RESERVE: u32 = 256 * 1024;

/// One shard of a disk store.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) dir: PathBuf,
    /// The header of its segments; class and number differ.
    pub(crate) template: SegmentHeader,
    pub(crate) segment_bytes: u32,
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// The segment of each class that is written to.
    pub(crate) active: [Option<u32>; Class::ALL.len()],
    pub(crate) next_segment: u32,
    pub(crate) index: Index,
    pub(crate) records: Records,
    pub(crate) tasks: Vec<Task>,
    /// Segments being emptied, the one in work first.
    pub(crate) compactions: Vec<Compaction>,
    /// Damaged bodies met.
    pub(crate) corrupt: u64,
}

impl Shard {
    pub(crate) fn new(dir: PathBuf, template: SegmentHeader, segment_bytes: u32) -> Self {
        Self {
            dir,
            template,
            segment_bytes,
            segments: BTreeMap::new(),
            active: [None; Class::ALL.len()],
            next_segment: 1,
            index: Index::default(),
            records: Records::default(),
            tasks: Vec::new(),
            compactions: Vec::new(),
            corrupt: 0,
        }
    }

    /// Appends a record to the active segment of a class and returns where it went. Nothing has
    /// changed when there is no room.
    pub(crate) fn append(
        &mut self,
        class: Class,
        head_bytes: usize,
        data: Option<&[u8]>,
        space: &mut Space,
        head: impl FnOnce(Body) -> Head,
    ) -> Result<(u32, Body), StoreError> {
        let number = self.make_room(class, head_bytes, data.map(<[u8]>::len), space)?;
        let segment = self.segments.get_mut(&number).expect("make_room returns one that is there");
        Ok((number, segment.append(data.unwrap_or_default(), head)))
    }

    /// Reads a body and verifies it.
    pub(crate) fn read(
        &self,
        what: &'static str,
        number: u32,
        body: Body,
    ) -> Result<Vec<u8>, StoreError> {
        let segment = self.segments.get(&number).expect("what is indexed lies in a known segment");
        segment.read(body).map_err(|error| StoreError::io("reading a segment", &error))?.ok_or(
            StoreError::Corrupt {
                what,
                shard: self.template.shard,
                segment: number,
                offset: body.offset,
            },
        )
    }

    /// Stops counting a body that is no longer read.
    pub(crate) fn release(&mut self, segment: u32, size: u32) {
        self.segments
            .get_mut(&segment)
            .expect("what is indexed lies in a known segment")
            .release(size);
    }

    /// Counts a body that is read from now on.
    pub(crate) fn hold(&mut self, segment: u32, size: u32) {
        self.segments.get_mut(&segment).expect("just appended to").hold(size);
    }

    /// Notes that something in a segment now lives until `expiry`.
    pub(crate) fn prolong(&mut self, segment: u32, expiry: Time) {
        let segment =
            self.segments.get_mut(&segment).expect("what is indexed lies in a known segment");
        segment.until = segment.until.max(expiry);
    }

    /// Takes an item out of the index and returns what it was.
    pub(crate) fn take_item(&mut self, slot: u32) -> Entry {
        let entry = self.index.remove(slot);
        self.release(entry.segment, entry.size());
        entry
    }

    /// Moves what waits into orders for the committer.
    pub(crate) fn take_tasks(&mut self) -> Vec<Task> {
        for number in self.active.into_iter().flatten() {
            let segment = self.segments.get_mut(&number).expect("active segments are known");
            self.tasks.extend(segment.close_group());
        }
        core::mem::take(&mut self.tasks)
    }

    /// Keeps room ready in which removals can be written when the disk is full.
    pub(crate) fn keep_reserve(&mut self, space: &mut Space) -> Result<(), StoreError> {
        self.make_room(Class::Control, 0, None, space).map(|_| ())
    }

    /// Closes the active segment of a class.
    pub(crate) fn seal(&mut self, class: Class, space: &mut Space) {
        let Some(number) = self.active[class as usize].take() else { return };
        self.seal_segment(number, space);
    }

    /// Closes a segment and gives back the room it did not use.
    pub(crate) fn seal_segment(&mut self, number: u32, space: &mut Space) {
        let segment = self.segments.get_mut(&number).expect("only known segments are sealed");
        self.tasks.extend(segment.close_group());
        let tail = segment.tail();
        let (file, seed) = (Arc::clone(&segment.file), segment.seed);
        self.tasks.push(Task::Seal { file, tail, seed });
        let kept = tail + GROUP_HEADER;
        space.give_back(u64::from(segment.allocated.saturating_sub(kept)));
        segment.allocated = kept;
        segment.sealed = true;
    }

    /// Removes a segment in which nothing counts any more.
    pub(crate) fn drop_segment(&mut self, number: u32, space: &mut Space) {
        let Some(segment) = self.segments.remove(&number) else { return };
        debug_assert_eq!(segment.live, 0, "what counts was copied first");
        space.give_back(segment.allocated.into());
        self.tasks.push(Task::Unlink { path: segment.file.path.clone() });
    }

    fn make_room(
        &mut self,
        class: Class,
        head: usize,
        body: Option<usize>,
        space: &mut Space,
    ) -> Result<u32, StoreError> {
        let limit = u64::from(self.segment_bytes);
        if let Some(number) = self.active[class as usize] {
            let segment = self.segments.get_mut(&number).expect("active segments are known");
            let needed = segment.needed(head, body);
            if let Some(needed) = u32::try_from(needed).ok().filter(|n| u64::from(*n) <= limit) {
                reserve(segment, needed, self.segment_bytes, space)?;
                return Ok(number);
            }
        }
        let mut fresh = self.create(class).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { needed: SEGMENT_HEADER.into(), free: space.free() }
            }
            _ => StoreError::io("creating a segment", &error),
        })?;
        let needed =
            u32::try_from(fresh.needed(head, body)).expect("one record is far below 4 GiB");
        if let Err(error) = reserve(&mut fresh, needed, self.segment_bytes, space) {
            // Nobody knows the file yet; what is left of it would be an empty segment.
            let _ = std::fs::remove_file(&fresh.file.path);
            return Err(error);
        }
        self.seal(class, space);
        let number = fresh.number;
        self.next_segment += 1;
        self.active[class as usize] = Some(number);
        let header = SegmentHeader { class, number, ..self.template };
        let bytes = Arc::new(header.encode().to_vec());
        self.tasks.push(Task::Write { file: Arc::clone(&fresh.file), at: 0, bytes });
        self.tasks.push(Task::Created);
        self.segments.insert(number, fresh);
        Ok(number)
    }

    fn create(&self, class: Class) -> io::Result<Segment> {
        let number = self.next_segment;
        let path = self.dir.join(segment_name(number));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let seed = SegmentHeader { class, number, ..self.template }.seed();
        let file = Arc::new(SegmentFile { file, path, written: AtomicU32::new(0) });
        Ok(Segment::new(number, class, seed, file))
    }
}

/// Makes sure that the file is allocated up to `needed`, and in larger steps while there is room.
fn reserve(
    segment: &mut Segment,
    needed: u32,
    segment_bytes: u32,
    space: &mut Space,
) -> Result<(), StoreError> {
    let ahead = if segment.class == Class::Control { RESERVE } else { 0 };
    if segment.allocated >= needed.saturating_add(ahead / 2) {
        return Ok(());
    }
    let step = segment.allocated.clamp(STEP_MIN, STEP_MAX).max(ahead);
    let wanted = needed.saturating_add(step).min(segment_bytes).max(needed);
    for to in [wanted, needed] {
        if to <= segment.allocated {
            return Ok(());
        }
        match space.extend(segment.class, &segment.file.file, segment.allocated, to) {
            Ok(()) => {
                segment.allocated = to;
                return Ok(());
            }
            Err(StoreError::Full { .. }) if to > needed => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the class for an item that lives this long.
pub(crate) const fn class_of(life: Span) -> Class {
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    let life = life.as_millis();
    if life <= HOUR {
        Class::Hour
    } else if life <= DAY {
        Class::Day
    } else if life <= 8 * DAY {
        Class::Week
    } else {
        Class::Long
    }
}

/// Returns how long a segment of a class stays open: so short that what is in it expires at much
/// the same time.
pub(crate) const fn window_of(class: Class) -> Span {
    match class {
        Class::Hour => Span::from_secs(900),
        Class::Day => Span::from_secs(4 * 3600),
        Class::Week => Span::from_days(1),
        Class::Long | Class::Control | Class::Records => Span::from_days(3),
    }
}

pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:08x}.seg")
}

/// Returns the shard of an inbox: by its last bytes, because the first ones say where in the ring
/// an inbox lies, and a node holds only a part of the ring.
pub(crate) fn shard_of(address: &InboxAddress, shards: u16) -> usize {
    let [.., high, low] = *address.as_bytes();
    usize::from(u16::from_be_bytes([high, low]) % shards)
}

/// Returns the shard of a record.
pub(crate) fn shard_of_record(table: u8, key: &[u8], shards: u16) -> usize {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[table]);
    hasher.update(key);
    (hasher.finalize() % u32::from(shards)) as usize
}

/// Returns whether `now` is `window` or more after `opened`.
pub(crate) fn has_passed(opened: Time, window: Span, now: Time) -> bool {
    opened + window <= now
}
