//! One segment as the machine's thread sees it: where the next byte goes, what still counts, and
//! the bytes that are not in the file yet.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use session_core::Time;

use super::committer::{SegmentFile, Task};
use super::format::{
    BODY_CHECK, Body, Class, GROUP_HEADER, GroupHeader, Head, SEGMENT_HEADER, body_check,
};

/// A segment of a shard.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) class: Class,
    pub(crate) seed: u32,
    pub(crate) file: Arc<SegmentFile>,
    /// Where the next group begins, when none is open.
    end: u32,
    /// Bytes of the file that surely have room on the disk.
    pub(crate) allocated: u32,
    pub(crate) sealed: bool,
    open: Option<OpenGroup>,
    /// Written by a commit, perhaps not yet by its thread.
    in_flight: VecDeque<(u32, Arc<Vec<u8>>)>,
    /// Items or records that are read from here.
    pub(crate) live: u32,
    /// Bytes of their bodies.
    pub(crate) live_bytes: u64,
    /// The latest time that anything in here speaks of.
    pub(crate) until: Time,
    /// Segments that what is in here speaks of.
    pub(crate) targets: BTreeSet<u32>,
    /// When it was first seen by a purge.
    pub(crate) opened: Option<Time>,
}

#[derive(Debug)]
struct OpenGroup {
    /// Room for the group header, then bodies.
    bodies: Vec<u8>,
    heads: Vec<u8>,
}

impl Segment {
    /// Makes a segment that holds nothing but its header.
    pub(crate) fn new(number: u32, class: Class, seed: u32, file: Arc<SegmentFile>) -> Self {
        Self {
            number,
            class,
            seed,
            file,
            end: SEGMENT_HEADER,
            allocated: 0,
            sealed: false,
            open: None,
            in_flight: VecDeque::new(),
            live: 0,
            live_bytes: 0,
            until: Time::ZERO,
            targets: BTreeSet::new(),
            opened: None,
        }
    }

    /// Says what a reopening found.
    pub(crate) fn settle(&mut self, end: u32, allocated: u32, sealed: bool) {
        self.end = end;
        self.allocated = allocated;
        self.sealed = sealed;
        self.file.written.store(end, Ordering::Release);
    }

    /// Returns the first position that nothing uses.
    pub(crate) fn tail(&self) -> u32 {
        let open = self.open.as_ref().map_or(0, |open| open.bodies.len() + open.heads.len());
        self.end + u32::try_from(open).expect("groups are smaller than their segment")
    }

    /// Returns the position up to which the file must be allocated before an append of a head and
    /// a body of these lengths; a seal will still fit.
    pub(crate) fn needed(&self, head: usize, body: Option<usize>) -> u64 {
        let group = if self.open.is_none() { u64::from(GROUP_HEADER) } else { 0 };
        let body = body.map_or(0, |body| body as u64 + u64::from(BODY_CHECK));
        u64::from(self.tail()) + group + head as u64 + body + u64::from(GROUP_HEADER)
    }

    /// Appends a record; `head` makes its head from where its body went.
    pub(crate) fn append(&mut self, data: &[u8], head: impl FnOnce(Body) -> Head) -> Body {
        let open = self.open.get_or_insert_with(|| OpenGroup {
            bodies: vec![0; GROUP_HEADER as usize],
            heads: Vec::new(),
        });
        let before = u32::try_from(open.bodies.len()).expect("groups are smaller than segments");
        let size = u32::try_from(data.len()).expect("bodies are smaller than segments");
        let body = Body { offset: self.end + before, size };
        let head = head(body);
        if head.body().is_some() {
            open.bodies.extend_from_slice(data);
            let check = body_check(self.seed, body.offset, data);
            open.bodies.extend_from_slice(&check.to_be_bytes());
        }
        head.encode(self.seed, &mut open.heads);
        self.note(&head);
        body
    }

    /// Remembers what a record says about how long this segment must stay.
    pub(crate) fn note(&mut self, head: &Head) {
        match head {
            Head::Item { expiry, .. } => self.until = self.until.max(*expiry),
            Head::Remove { until, segment, .. } => {
                self.until = self.until.max(*until);
                if *segment != 0 {
                    self.targets.insert(*segment);
                }
            }
            Head::SetExpiry { segment, .. } => {
                self.targets.insert(*segment);
            }
            Head::Record { .. } | Head::RemoveRecord { .. } => {}
        }
    }

    /// Ends the open group and returns the order to write it.
    pub(crate) fn close_group(&mut self) -> Option<Task> {
        let OpenGroup { mut bodies, heads } = self.open.take()?;
        let length = |bytes: usize| u32::try_from(bytes).expect("groups are smaller than segments");
        let header = GroupHeader::Group {
            bodies: length(bodies.len()) - GROUP_HEADER,
            heads: length(heads.len()),
        };
        bodies[..GROUP_HEADER as usize].copy_from_slice(&header.encode(self.seed, self.end));
        bodies.extend_from_slice(&heads);
        let at = self.end;
        self.end += length(bodies.len());
        let bytes = Arc::new(bodies);
        self.forget_written();
        self.in_flight.push_back((at, Arc::clone(&bytes)));
        Some(Task::Write { file: Arc::clone(&self.file), at, bytes })
    }

    /// Lets go of bytes that can be read from the file.
    pub(crate) fn forget_written(&mut self) {
        let written = u64::from(self.written());
        self.in_flight.retain(|(at, bytes)| u64::from(*at) + bytes.len() as u64 > written);
    }

    /// Whether everything can be read from the file.
    pub(crate) fn is_written(&self) -> bool {
        self.open.is_none() && self.written() >= self.end
    }

    /// Reads a body, from wherever it is now.
    ///
    /// Returns `None` when the bytes are not those that were appended.
    pub(crate) fn read(&self, body: Body) -> io::Result<Option<Vec<u8>>> {
        let length = (body.size + BODY_CHECK) as usize;
        let from = |start: u32, bytes: &[u8]| {
            let at = body.offset.checked_sub(start)? as usize;
            Some(bytes.get(at..)?.get(..length)?.to_vec())
        };
        let waiting =
            self.open.as_ref().and_then(|open| from(self.end, &open.bodies)).or_else(|| {
                self.in_flight.iter().rev().find_map(|(start, bytes)| from(*start, bytes))
            });
        let mut bytes = match waiting {
            Some(bytes) => bytes,
            None => {
                let mut bytes = vec![0; length];
                match self.file.file.read_exact_at(&mut bytes, body.offset.into()) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    other => other?,
                }
                bytes
            }
        };
        let check = body_check(self.seed, body.offset, &bytes[..body.size as usize]);
        if bytes[body.size as usize..] != check.to_be_bytes() {
            return Ok(None);
        }
        bytes.truncate(body.size as usize);
        Ok(Some(bytes))
    }

    /// Counts a body that is read from here.
    pub(crate) fn hold(&mut self, size: u32) {
        self.live += 1;
        self.live_bytes += u64::from(size);
    }

    /// Counts a body that no longer is.
    pub(crate) fn release(&mut self, size: u32) {
        self.live -= 1;
        self.live_bytes -= u64::from(size);
    }

    fn written(&self) -> u32 {
        self.file.written.load(Ordering::Acquire)
    }
}
