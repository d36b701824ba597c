//! Giving space back: segments whose windows pass are sealed, dead ones dropped whole, mostly dead
//! ones emptied in small steps and then dropped.
//!
//! What must not happen is that a removed item comes back at a reopening because its bytes outlive
//! the record of its removal. Two rules prevent it. A control segment stays while any segment that
//! it speaks of is there. And while a segment is being emptied, neither the segments its items are
//! copied to nor any control segment is dropped.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use session_core::{Span, Time};

use super::format::{Body, Class, HEAD_MAX, Head, ITEM_HEAD};
use super::scan::{Depth, scan};
use super::shard::{RESERVE, Shard, class_of, has_passed, window_of};
use super::space::Space;
use crate::error::StoreError;

/// Bytes that one call may copy in one shard, so that a tick stays short.
const STEP_BYTES: u64 = 1024 * 1024;
/// A segment that dies whole within this time is not worth copying.
const PATIENCE: Span = Span::from_secs(3600);

/// A segment that is being emptied.
#[derive(Debug)]
pub(crate) struct Compaction {
    segment: u32,
    /// What has not been looked at; `None` before the first step.
    left: Option<VecDeque<Head>>,
    /// Segments that hold copies.
    destinations: BTreeSet<u32>,
}

impl Compaction {
    pub(crate) const fn of(segment: u32) -> Self {
        Self { segment, left: None, destinations: BTreeSet::new() }
    }

    pub(crate) fn add_destination(&mut self, segment: u32) {
        self.destinations.insert(segment);
    }

    pub(crate) const fn segment(&self) -> u32 {
        self.segment
    }
}

impl Shard {
    /// Does a bounded piece of what is due at `now`.
    pub(crate) fn housekeep(&mut self, now: Time, space: &mut Space) -> Result<(), StoreError> {
        for segment in self.segments.values_mut() {
            segment.forget_written();
        }
        self.seal_by_window(now, space);
        self.drop_dead(now, space);
        if self.compactions.is_empty() {
            self.compactions.extend(self.worth_emptying(now, space).map(Compaction::of));
        }
        match self.compact_step(now, space) {
            // Later: dropping dead segments makes room.
            Err(StoreError::Full { .. }) => Ok(()),
            other => other,
        }
    }

    fn seal_by_window(&mut self, now: Time, space: &mut Space) {
        for class in Class::ALL {
            // Removals must always have a segment with room.
            if class == Class::Control && space.free() < 2 * u64::from(RESERVE) {
                continue;
            }
            let Some(number) = self.active[class as usize] else { continue };
            let segment = self.segments.get_mut(&number).expect("active segments are known");
            let opened = *segment.opened.get_or_insert(now);
            let is_empty = segment.tail() <= super::format::SEGMENT_HEADER;
            if !is_empty && has_passed(opened, window_of(class), now) {
                self.seal(class, space);
            }
        }
        // It is tried again at the next removal, which then says that the disk is full.
        let _ = self.keep_reserve(space);
    }

    fn drop_dead(&mut self, now: Time, space: &mut Space) {
        let dead: Vec<u32> =
            self.segments.keys().copied().filter(|number| self.is_dead(*number, now)).collect();
        for number in dead {
            self.drop_segment(number, space);
        }
    }

    fn is_dead(&self, number: u32, now: Time) -> bool {
        let segment = &self.segments[&number];
        if !segment.sealed {
            return false;
        }
        match segment.class {
            Class::Control => {
                let mut targets = segment.targets.iter();
                self.compactions.is_empty()
                    && segment.until <= now
                    && !targets.any(|target| self.segments.contains_key(target))
            }
            // A removal is needed as long as an older value may be on disk.
            Class::Records => segment.live == 0 && self.oldest_records() == Some(number),
            _ => {
                let busy = |compaction: &Compaction| {
                    compaction.segment == number || compaction.destinations.contains(&number)
                };
                segment.live == 0 && !self.compactions.iter().any(busy)
            }
        }
    }

    fn oldest_records(&self) -> Option<u32> {
        let mut segments = self.segments.values();
        segments.find(|segment| segment.class == Class::Records).map(|segment| segment.number)
    }

    /// Returns a segment that is mostly dead, if emptying it pays now.
    fn worth_emptying(&self, now: Time, space: &Space) -> Option<u32> {
        let mut records = 0;
        let mut live_records = 0;
        for segment in self.segments.values().filter(|s| s.class == Class::Records) {
            records += u64::from(segment.tail());
            live_records += segment.live_bytes + u64::from(segment.live) * HEAD_MAX as u64;
        }
        let candidate =
            self.segments.values().filter(|segment| segment.sealed && segment.is_written()).find(
                |segment| {
                    let live = segment.live_bytes + u64::from(segment.live) * u64::from(ITEM_HEAD);
                    match segment.class {
                        Class::Control => false,
                        Class::Records => {
                            self.oldest_records() == Some(segment.number)
                                && records > 2 * live_records + u64::from(self.segment_bytes)
                        }
                        _ => {
                            live * 2 < u64::from(segment.tail())
                                && segment.live > 0
                                && segment.until > now + PATIENCE
                        }
                    }
                },
            )?;
        let margin = u64::from(self.segment_bytes);
        (space.free() > candidate.live_bytes * 2 + margin / 4).then_some(candidate.number)
    }

    fn compact_step(&mut self, now: Time, space: &mut Space) -> Result<(), StoreError> {
        let Some(mut compaction) = self.compactions.pop() else { return Ok(()) };
        let result = self.empty(&mut compaction, now, space);
        match result {
            Ok(true) => self.drop_segment(compaction.segment, space),
            Ok(false) | Err(_) => self.compactions.push(compaction),
        }
        result.map(|_| ())
    }

    /// Copies some of what counts in a segment. Returns whether nothing is left.
    fn empty(
        &mut self,
        compaction: &mut Compaction,
        now: Time,
        space: &mut Space,
    ) -> Result<bool, StoreError> {
        let Some(segment) = self.segments.get(&compaction.segment) else { return Ok(true) };
        if !segment.is_written() {
            return Ok(false);
        }
        if compaction.left.is_none() {
            let mut heads = VecDeque::new();
            let keep = &mut |head| heads.push_back(head);
            match scan(&segment.file.file, segment.seed, Depth::Heads, keep) {
                // Its thread is cutting off what it did not use: another time.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                scanned => scanned.map_err(|error| StoreError::io("reading a segment", &error))?,
            };
            compaction.left = Some(heads);
        }
        let mut copied = 0;
        while let Some(head) = compaction.left.as_mut().and_then(VecDeque::pop_front) {
            match self.copy(compaction.segment, &head, now, space) {
                Ok(Some((destination, bytes))) => {
                    compaction.destinations.insert(destination);
                    copied += bytes;
                }
                Ok(None) => {}
                Err(error) => {
                    compaction.left.get_or_insert_default().push_front(head);
                    return Err(error);
                }
            }
            if copied >= STEP_BYTES {
                break;
            }
        }
        Ok(compaction.left.as_ref().is_none_or(VecDeque::is_empty))
    }

    /// Copies one record if it still counts. Returns the segment it went to, and its length.
    fn copy(
        &mut self,
        from: u32,
        head: &Head,
        now: Time,
        space: &mut Space,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        match head {
            Head::Item { address, id, body, .. } => {
                let Some(slot) = self.index.find(address, id) else { return Ok(None) };
                let entry = *self.index.entry(slot);
                if entry.is_tombstone() || entry.segment != from || entry.offset != body.offset {
                    return Ok(None);
                }
                let Some(data) = self.read_or_count("item", from, *body)? else {
                    self.take_item(slot);
                    return Ok(None);
                };
                let meta = entry.meta();
                let class = class_of(meta.expiry.since(now));
                // A reopening that finds two copies takes the one in the later segment.
                if self.active[class as usize].is_some_and(|active| active < from) {
                    self.seal(class, space);
                }
                let copy = |body| Head::Item {
                    number: meta.arrival,
                    address: *address,
                    id: *id,
                    namespace: meta.namespace,
                    timestamp: meta.timestamp,
                    expiry: meta.expiry,
                    body,
                };
                let (to, body) =
                    self.append(class, ITEM_HEAD as usize, Some(&data), space, copy)?;
                self.release(from, meta.size);
                self.hold(to, meta.size);
                self.index.relocate(slot, to, body.offset);
                Ok(Some((to, meta.size.into())))
            }
            Head::Record { table, key, body, .. } => {
                let key = (*table, key.clone());
                let Some(mut value) = self.records.get(&key).copied() else { return Ok(None) };
                if value.segment != from || value.body != *body {
                    return Ok(None);
                }
                let Some(data) = self.read_or_count("record", from, *body)? else {
                    self.records.remove(&key);
                    self.release(from, body.size);
                    return Ok(None);
                };
                let copy = |body| Head::Record {
                    number: value.number,
                    table: key.0,
                    key: key.1.clone(),
                    expiry: value.expiry,
                    body,
                };
                let (to, body) = self.append(Class::Records, HEAD_MAX, Some(&data), space, copy)?;
                self.release(from, body.size);
                self.hold(to, body.size);
                (value.segment, value.body) = (to, body);
                self.records.insert(key, value);
                Ok(Some((to, body.size.into())))
            }
            // Nothing older than the oldest segment is on disk for a removal to speak of.
            Head::RemoveRecord { .. } | Head::Remove { .. } | Head::SetExpiry { .. } => Ok(None),
        }
    }

    /// Reads a body; a damaged one is counted and given up, since nothing can bring it back here.
    fn read_or_count(
        &mut self,
        what: &'static str,
        segment: u32,
        body: Body,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read(what, segment, body) {
            Ok(data) => Ok(Some(data)),
            Err(StoreError::Corrupt { .. }) => {
                self.corrupt += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
