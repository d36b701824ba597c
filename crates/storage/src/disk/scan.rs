//! Walking through the bytes of a segment: what is whole, what is torn, what is corrupt.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use session_core::DecodeError;

use super::format::{
    BODY_CHECK, Body, GROUP_HEADER, GroupHeader, Head, SEGMENT_HEADER, SegmentHeader, body_check,
};

/// How much is read at once when searching for the next group after damage.
const SEARCH_BYTES: u32 = 1 << 20;

/// What a walk through a segment found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Where the next group belongs.
    pub tail: u32,
    /// Whether the segment was closed for good.
    pub sealed: bool,
    /// Damaged places among whole records: what stood there is lost and not served.
    pub corrupt: u64,
    /// Bytes of an unfinished write at the end.
    pub cut_bytes: u64,
}

/// A segment decoded from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedSegment {
    /// Its header.
    pub header: SegmentHeader,
    /// Every whole record, in the order of the file.
    pub heads: Vec<Head>,
    /// What else was found.
    pub scanned: Scanned,
}

/// Decodes a whole segment file and verifies every body.
///
/// # Errors
/// When the header is not a segment's. Anything else that is damaged is counted and left out.
pub fn decode_segment(bytes: &[u8]) -> Result<DecodedSegment, DecodeError> {
    let header = SegmentHeader::decode(bytes)?;
    let mut heads = Vec::new();
    let scanned = scan(bytes, header.seed(), Depth::Bodies, &mut |head| heads.push(head))
        .map_err(|_| DecodeError::Invalid { field: "segment", why: "it is longer than 4 GiB" })?;
    Ok(DecodedSegment { header, heads, scanned })
}

/// Where the bytes of a segment come from.
pub(crate) trait Source {
    /// Returns the number of bytes.
    fn length(&self) -> io::Result<u32>;
    /// Fills `out` from a position.
    fn read(&self, at: u32, out: &mut [u8]) -> io::Result<()>;
}

impl Source for [u8] {
    fn length(&self) -> io::Result<u32> {
        u32::try_from(self.len()).map_err(io::Error::other)
    }

    fn read(&self, at: u32, out: &mut [u8]) -> io::Result<()> {
        let from = self.get(at as usize..).and_then(|from| from.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Source for File {
    fn length(&self) -> io::Result<u32> {
        u32::try_from(self.metadata()?.len()).map_err(io::Error::other)
    }

    fn read(&self, at: u32, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, at.into())
    }
}

/// What a walk verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Heads; enough for a sealed segment, whose bodies are known to have reached the disk and
    /// are verified when they are read.
    Heads,
    /// Heads and bodies.
    Bodies,
}

/// Returns whether the file ends in a seal.
pub(crate) fn is_sealed<S: Source + ?Sized>(source: &S, seed: u32) -> io::Result<bool> {
    let length = source.length()?;
    if length < SEGMENT_HEADER + GROUP_HEADER {
        return Ok(false);
    }
    let at = length - GROUP_HEADER;
    let mut bytes = [0; GROUP_HEADER as usize];
    source.read(at, &mut bytes)?;
    Ok(GroupHeader::decode(&bytes, seed, at) == Some(GroupHeader::Seal))
}

/// Walks through all groups and visits every whole record.
pub(crate) fn scan<S: Source + ?Sized>(
    source: &S,
    seed: u32,
    depth: Depth,
    visit: &mut dyn FnMut(Head),
) -> io::Result<Scanned> {
    let length = source.length()?;
    let mut out = Scanned { tail: SEGMENT_HEADER.min(length), ..Scanned::default() };
    let mut walk = Walk { source, seed, length, depth, buffer: Vec::new(), last_bad: 0 };
    let mut next = walk.group_at(out.tail)?;
    loop {
        match next {
            Some(GroupHeader::Seal) => {
                out.sealed = true;
                break;
            }
            Some(GroupHeader::Group { bodies, heads }) => {
                out.corrupt += u64::from(walk.last_bad > 0);
                next = walk.records(out.tail, bodies, heads, visit)?;
                out.tail += GROUP_HEADER + bodies + heads;
            }
            None => {
                let found = walk.search(out.tail)?;
                let (Search::Group(until) | Search::Nothing { end: until }) = found;
                // A header that is whole but promises more than there is was never acknowledged.
                // Keeping a part of its group would let it swallow what is written next.
                let saved = match walk.header_at(out.tail)? {
                    None => walk.salvage(out.tail, until, visit)?,
                    Some(_) => None,
                };
                if let Search::Group(at) = found {
                    out.corrupt += 1 + u64::from(walk.last_bad > 0);
                    walk.last_bad = 0;
                    out.tail = at;
                    next = walk.group_at(at)?;
                    continue;
                }
                if let Some(end) = saved {
                    out.corrupt += 1 + u64::from(walk.last_bad > 0);
                    walk.last_bad = 0;
                    out.tail = end;
                }
                out.cut_bytes = u64::from(until.saturating_sub(out.tail)) + walk.last_bad;
                walk.last_bad = 0;
                break;
            }
        }
    }
    out.corrupt += u64::from(walk.last_bad > 0);
    Ok(out)
}

struct Walk<'a, S: ?Sized> {
    source: &'a S,
    seed: u32,
    length: u32,
    depth: Depth,
    buffer: Vec<u8>,
    /// Bytes of the last group that were not whole: torn if nothing follows, else corrupt.
    last_bad: u64,
}

enum Search {
    /// A group starts here.
    Group(u32),
    /// No group follows; the bytes are zero from `end` on.
    Nothing { end: u32 },
}

impl<S: Source + ?Sized> Walk<'_, S> {
    /// Reads the header of a group that is wholly inside the file.
    fn group_at(&self, at: u32) -> io::Result<Option<GroupHeader>> {
        Ok(self.whole(self.header_at(at)?, at))
    }

    fn header_at(&self, at: u32) -> io::Result<Option<GroupHeader>> {
        if self.length.saturating_sub(at) < GROUP_HEADER {
            return Ok(None);
        }
        let mut bytes = [0; GROUP_HEADER as usize];
        self.source.read(at, &mut bytes)?;
        Ok(GroupHeader::decode(&bytes, self.seed, at))
    }

    fn whole(&self, header: Option<GroupHeader>, at: u32) -> Option<GroupHeader> {
        header.filter(|header| match *header {
            GroupHeader::Seal => true,
            GroupHeader::Group { bodies, heads } => {
                let end = u64::from(at + GROUP_HEADER) + u64::from(bodies) + u64::from(heads);
                end <= u64::from(self.length)
            }
        })
    }

    /// Visits the records of a group and returns the header that follows it: both are read at
    /// once, because a reopening of many small groups is bound by the number of reads.
    fn records(
        &mut self,
        group: u32,
        bodies: u32,
        heads: u32,
        visit: &mut dyn FnMut(Head),
    ) -> io::Result<Option<GroupHeader>> {
        let bodies_at = group + GROUP_HEADER;
        let heads_at = bodies_at + bodies;
        let end = heads_at + heads;
        let from = if self.depth == Depth::Bodies { bodies_at } else { heads_at };
        let until = end.saturating_add(GROUP_HEADER).min(self.length);
        self.buffer.resize((until - from) as usize, 0);
        self.source.read(from, &mut self.buffer)?;
        let after = &self.buffer[(end - from) as usize..];
        let next = self.whole(GroupHeader::decode(after, self.seed, end), end);

        let body_bytes = &self.buffer[..(heads_at - from) as usize];
        let mut left = &self.buffer[(heads_at - from) as usize..(end - from) as usize];
        let mut bad = 0;
        while !left.is_empty() {
            match Head::decode(left, self.seed) {
                Ok((head, taken)) => {
                    left = &left[taken..];
                    let inside =
                        head.body().is_none_or(|body| is_inside(body, bodies_at, heads_at));
                    let whole = self.depth == Depth::Heads
                        || head.body().is_none_or(|b| is_whole(b, body_bytes, from, self.seed));
                    if inside && whole {
                        visit(head);
                    } else {
                        bad += taken as u64 + head.body().map_or(0, |body| body.size.into());
                    }
                }
                Err(_) => {
                    left = &left[1..];
                    bad += 1;
                }
            }
        }
        self.last_bad = bad;
        Ok(next)
    }

    /// Looks for a group header after damage at `from`.
    fn search(&mut self, from: u32) -> io::Result<Search> {
        let mut end = from;
        let mut at = from;
        while at < self.length {
            let fresh = SEARCH_BYTES.min(self.length - at);
            // Headers may lie across the end of what is searched now.
            let read = (fresh + GROUP_HEADER - 1).min(self.length - at);
            self.buffer.resize(read as usize, 0);
            self.source.read(at, &mut self.buffer)?;
            for (index, byte) in self.buffer[..fresh as usize].iter().enumerate() {
                if *byte == 0 {
                    continue;
                }
                let position = at + u32::try_from(index).expect("below SEARCH_BYTES");
                end = position + 1;
                if position > from && GroupHeader::may_start_with(*byte) {
                    let header = GroupHeader::decode(&self.buffer[index..], self.seed, position);
                    if self.whole(header, position).is_some() {
                        return Ok(Search::Group(position));
                    }
                }
            }
            at += fresh;
        }
        Ok(Search::Nothing { end })
    }

    /// Looks for whole records in a stretch whose group header is lost; each has its own checksums
    /// and says where its body is. Returns where the last of them ends.
    fn salvage(
        &mut self,
        from: u32,
        until: u32,
        visit: &mut dyn FnMut(Head),
    ) -> io::Result<Option<u32>> {
        if until <= from {
            return Ok(None);
        }
        // The last checksum may end in zeros, which the search does not count.
        let until = until.saturating_add(4).min(self.length);
        self.buffer.resize((until - from) as usize, 0);
        self.source.read(from, &mut self.buffer)?;
        let mut end = None;
        let mut at = 0;
        while let Some(left) = self.buffer.get(at..).filter(|left| !left.is_empty()) {
            match Head::decode(left, self.seed) {
                Ok((head, taken)) => {
                    at += taken;
                    let body = head.body();
                    if body.is_none_or(|body| is_whole(body, &self.buffer, from, self.seed)) {
                        visit(head);
                        end = Some(from + u32::try_from(at).expect("inside the segment"));
                    }
                }
                Err(_) => at += 1,
            }
        }
        Ok(end)
    }
}

fn is_inside(body: Body, from: u32, until: u32) -> bool {
    let end = u64::from(body.offset) + u64::from(body.size) + u64::from(BODY_CHECK);
    from <= body.offset && end <= until.into()
}

fn is_whole(body: Body, bytes: &[u8], from: u32, seed: u32) -> bool {
    let start = body.offset.checked_sub(from).map(|start| start as usize);
    let found = start.and_then(|start| bytes.get(start..)).and_then(|bytes| {
        let (data, after) = bytes.split_at_checked(body.size as usize)?;
        Some((data, after.first_chunk::<4>()?))
    });
    found.is_some_and(|(data, check)| *check == body_check(seed, body.offset, data).to_be_bytes())
}

#[cfg(test)]
mod tests;
