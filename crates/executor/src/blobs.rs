//! Programs and inputs by their names: kept in pieces, pulled from other nodes, checked by hash.
//!
//! | record | bytes |
//! |---|---|
//! | key of the head | blob (32) |
//! | head | length `u32` |
//! | key of a piece | blob (32) ‖ index `u32` |
//!
//! What nobody's session needs is forgotten after an hour. A piece that is damaged or missing makes
//! the blob a missing one: it is pulled again.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Blob, Context, Digest, NodeId, Span, Time};
use session_protocol::workload::message::Talk;
use session_protocol::workload::{BLOB_BYTES_MAX, Message, PART_BYTES_MAX, blob_id};
use session_storage::{Store, StoreError, Table};

use crate::executor::Effect;

type Cx<'a> = Context<'a, dyn Store, Effect>;

/// How long something that was uploaded waits for its session.
pub(crate) const UPLOAD_LIFE: Span = Span::from_secs(3600);
/// How much longer than needed a blob is kept, so that the next session that needs it seldom has to
/// write it anew.
const SLACK: Span = Span::from_days(1);
/// Bytes of one record: below the largest value of the store.
const PIECE_BYTES: usize = 60 * 1024;
/// Bytes of all blobs.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of all blobs that no session needs.
const LOOSE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Blobs, whatever their size.
const BLOBS_MAX: usize = 100_000;
/// Blobs that are pulled at the same time; each takes its size in memory.
pub(crate) const PULLS_MAX: usize = 16;
/// How long a node may take for a piece.
const PIECE_TIMEOUT: Span = Span::from_secs(5);
/// Nodes from which one blob is pulled.
const SOURCES_MAX: usize = 32;

/// Why a blob is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BlobError {
    /// It is too long.
    #[error("{got} bytes are more than the {limit} of the largest blob")]
    TooLarge {
        /// Its length.
        got: usize,
        /// The longest.
        limit: usize,
    },
    /// There is no room.
    #[error("there is no room for more uploads here; try later or elsewhere")]
    Full,
    /// The disk failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// What is known of a blob that is here.
#[derive(Clone, Copy, Debug)]
struct Held {
    total: u32,
    expiry: Time,
    /// Whether a session needs it.
    pinned: bool,
}

/// A blob on its way.
struct Pull {
    bytes_max: usize,
    bytes: Vec<u8>,
    sources: Vec<NodeId>,
    /// The source that was asked, and until when it may answer.
    asked: usize,
    until: Time,
}

/// All blobs of a node.
#[derive(Default)]
pub(crate) struct Blobs {
    held: BTreeMap<Digest, Held>,
    due: BTreeSet<(Time, Digest)>,
    bytes: u64,
    loose_bytes: u64,
    pulls: BTreeMap<Digest, Pull>,
}

impl Blobs {
    /// Finds what is in the store after a start.
    pub(crate) fn open(store: &dyn Store, now: Time) -> Self {
        let mut blobs = Self::default();
        for (key, expiry) in store.records(Table::Blob, &[]) {
            let Ok(id) = <[u8; 32]>::try_from(key.as_slice()) else { continue };
            let head = store.record(Table::Blob, &key).ok().flatten();
            let total = head.and_then(|head| <[u8; 4]>::try_from(head).ok());
            if let Some(total) = total.map(u32::from_be_bytes) {
                // What lives longer than an upload was written for a session.
                let pinned = expiry > now + UPLOAD_LIFE;
                blobs.note(Digest::from(id), Held { total, expiry, pinned });
            }
        }
        blobs
    }

    fn note(&mut self, id: Digest, held: Held) {
        self.unnote(&id);
        self.bytes += u64::from(held.total);
        self.loose_bytes += if held.pinned { 0 } else { u64::from(held.total) };
        self.due.insert((held.expiry, id));
        self.held.insert(id, held);
    }

    fn unnote(&mut self, id: &Digest) -> Option<Held> {
        let held = self.held.remove(id)?;
        self.bytes -= u64::from(held.total);
        self.loose_bytes -= if held.pinned { 0 } else { u64::from(held.total) };
        self.due.remove(&(held.expiry, *id));
        Some(held)
    }

    /// Returns whether a blob is here.
    pub(crate) fn has(&self, id: &Digest) -> bool {
        self.held.contains_key(id)
    }

    /// Returns the length of a blob that is here.
    pub(crate) fn length(&self, id: &Digest) -> Option<u32> {
        self.held.get(id).map(|held| held.total)
    }

    /// Keeps what somebody uploads.
    pub(crate) fn upload(
        &mut self,
        store: &mut dyn Store,
        now: Time,
        bytes: &[u8],
    ) -> Result<Digest, BlobError> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { got: bytes.len(), limit: BLOB_BYTES_MAX });
        }
        let id = blob_id(bytes);
        if self.has(&id) {
            self.keep(store, &id, now + UPLOAD_LIFE, false)?;
        } else {
            self.put(store, id, bytes, now + UPLOAD_LIFE, false)?;
        }
        Ok(id)
    }

    fn put(
        &mut self,
        store: &mut dyn Store,
        id: Digest,
        bytes: &[u8],
        expiry: Time,
        pinned: bool,
    ) -> Result<(), BlobError> {
        let size = bytes.len() as u64;
        let full = self.bytes + size > BYTES_MAX
            || self.held.len() >= BLOBS_MAX
            || (!pinned && self.loose_bytes + size > LOOSE_BYTES_MAX);
        if full {
            return Err(BlobError::Full);
        }
        for (index, piece) in (0_u32..).zip(bytes.chunks(PIECE_BYTES)) {
            store.put_record(Table::Blob, &piece_key(&id, index), piece, expiry)?;
        }
        let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        store.put_record(Table::Blob, id.as_bytes(), &total.to_be_bytes(), expiry)?;
        self.note(id, Held { total, expiry, pinned });
        Ok(())
    }

    /// Keeps a blob that is here at least until `expiry`.
    fn keep(
        &mut self,
        store: &mut dyn Store,
        id: &Digest,
        expiry: Time,
        pin: bool,
    ) -> Result<(), BlobError> {
        let Some(held) = self.held.get(id).copied() else { return Ok(()) };
        if held.expiry >= expiry {
            if pin && !held.pinned {
                self.note(*id, Held { pinned: true, ..held });
            }
            return Ok(());
        }
        let Some(bytes) = self.read(store, id) else { return Ok(()) };
        self.unnote(id);
        self.put(store, *id, &bytes, expiry, pin || held.pinned)
    }

    /// Keeps a blob for a session, at least until `expiry`.
    pub(crate) fn pin(
        &mut self,
        store: &mut dyn Store,
        id: &Digest,
        expiry: Time,
    ) -> Result<(), BlobError> {
        match self.held.get(id) {
            Some(held) if held.pinned && held.expiry >= expiry => Ok(()),
            _ => self.keep(store, id, expiry + SLACK, true),
        }
    }

    /// Reads a blob; one that is damaged is forgotten.
    pub(crate) fn read(&mut self, store: &dyn Store, id: &Digest) -> Option<Vec<u8>> {
        let total = self.held.get(id)?.total as usize;
        let mut bytes = Vec::with_capacity(total.min(BLOB_BYTES_MAX));
        for index in 0..u32::try_from(total.div_ceil(PIECE_BYTES)).unwrap_or(0) {
            match store.record(Table::Blob, &piece_key(id, index)) {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                _ => break,
            }
        }
        if blob_id(&bytes) == *id {
            return Some(bytes);
        }
        self.unnote(id);
        None
    }

    /// Answers a node that needs a blob.
    pub(crate) fn wanted(&self, cx: &mut Cx<'_>, from: NodeId, blob: Digest, offset: u32) {
        let piece = self.held.get(&blob).filter(|held| offset <= held.total).and_then(|held| {
            let bytes = part(cx.store, &blob, offset, held.total)?;
            Some(Talk::Part { blob, total: held.total, offset, bytes: Blob::new(bytes).ok()? })
        });
        tell(cx, from, piece.unwrap_or(Talk::Lacks { blob }));
    }

    /// Pulls a blob from one of several nodes, unless it is here or on its way.
    pub(crate) fn pull(
        &mut self,
        cx: &mut Cx<'_>,
        up: &BTreeSet<NodeId>,
        blob: Digest,
        bytes_max: usize,
        sources: impl IntoIterator<Item = NodeId>,
    ) {
        if self.has(&blob) || (self.pulls.len() >= PULLS_MAX && !self.pulls.contains_key(&blob)) {
            return;
        }
        let (until, asked) = (Time::ZERO, 0);
        let fresh = || Pull { bytes_max, bytes: Vec::new(), sources: Vec::new(), asked, until };
        let is_new = !self.pulls.contains_key(&blob);
        let pull = self.pulls.entry(blob).or_insert_with(fresh);
        for source in sources {
            if pull.sources.len() < SOURCES_MAX && !pull.sources.contains(&source) {
                pull.sources.push(source);
            }
        }
        if is_new {
            pull.ask(cx, up, blob);
        }
    }

    /// Gives up what nobody needs any more.
    pub(crate) fn retain_pulls(&mut self, needed: &BTreeSet<Digest>) {
        self.pulls.retain(|blob, _| needed.contains(blob));
    }

    /// Returns whom blobs are pulled from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.pulls.values().flat_map(|pull| pull.sources.iter().copied())
    }

    /// A node can be reached: pulls that wait for anybody go on.
    pub(crate) fn peer_up(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>, node: NodeId) {
        for (blob, pull) in &mut self.pulls {
            let idle = pull.current().is_none_or(|current| !up.contains(&current));
            if let Some(place) = pull.sources.iter().position(|source| *source == node)
                && idle
            {
                pull.asked = place;
                pull.ask(cx, up, *blob);
            }
        }
    }

    /// A source has a blob, or does not have it.
    pub(crate) fn lacks(
        &mut self,
        cx: &mut Cx<'_>,
        up: &BTreeSet<NodeId>,
        from: NodeId,
        blob: Digest,
    ) {
        if let Some(pull) = self.pulls.get_mut(&blob)
            && pull.current() == Some(from)
        {
            pull.asked += 1;
            // Who was asked first is asked again only after a while.
            if pull.asked < pull.sources.len() {
                pull.ask(cx, up, blob);
            } else {
                pull.until = cx.now + PIECE_TIMEOUT;
            }
        }
    }

    /// A source that newly has a blob is asked at once.
    pub(crate) fn offered(
        &mut self,
        cx: &mut Cx<'_>,
        up: &BTreeSet<NodeId>,
        from: NodeId,
        blob: &Digest,
    ) {
        let Some(pull) = self.pulls.get_mut(blob) else { return };
        let place = pull.sources.iter().position(|source| *source == from);
        let place = place.or_else(|| {
            (pull.sources.len() < SOURCES_MAX).then(|| {
                pull.sources.push(from);
                pull.sources.len() - 1
            })
        });
        if let Some(place) = place
            && pull.bytes.is_empty()
        {
            pull.asked = place;
            pull.ask(cx, up, *blob);
        }
    }

    /// A piece arrived. Returns the blob once it is whole and kept, until `expiry` at least.
    pub(crate) fn arrived(
        &mut self,
        cx: &mut Cx<'_>,
        up: &BTreeSet<NodeId>,
        from: NodeId,
        (blob, total, offset): (Digest, u32, u32),
        bytes: &[u8],
    ) -> Option<Digest> {
        let pull = self.pulls.get_mut(&blob).filter(|pull| pull.current() == Some(from))?;
        if offset as usize != pull.bytes.len() {
            return None;
        }
        let total = total as usize;
        let end = pull.bytes.len() + bytes.len();
        if total > pull.bytes_max || end > total || (bytes.is_empty() && end < total) {
            pull.refuse(cx, up, blob, "it offers a blob that is too long, or nothing of it");
            return None;
        }
        pull.bytes.extend_from_slice(bytes);
        if end < total {
            pull.ask(cx, up, blob);
            return None;
        }
        if blob_id(&pull.bytes) != blob {
            pull.refuse(cx, up, blob, "it offers other bytes than the name of a blob says");
            return None;
        }
        let bytes = self.pulls.remove(&blob)?.bytes;
        match self.put(cx.store, blob, &bytes, cx.now + UPLOAD_LIFE, true) {
            Ok(()) => Some(blob),
            Err(_) => {
                let doing = "keeping a program or an input";
                cx.effects.push(Effect::Note(crate::executor::Note::StoreFailed { doing }));
                None
            }
        }
    }

    /// Returns when [`Blobs::tick`] wants to run.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let pulls = self.pulls.values().map(|pull| pull.until);
        pulls.chain(self.due.first().map(|(due, _)| *due)).min()
    }

    /// Asks the next source where one was silent, and forgets what expired.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>) {
        for (blob, pull) in &mut self.pulls {
            if pull.until <= cx.now {
                pull.asked += 1;
                pull.ask(cx, up, *blob);
            }
        }
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= cx.now) {
            self.unnote(&id);
            for (key, _) in cx.store.records(Table::Blob, id.as_bytes()) {
                if cx.store.remove_record(Table::Blob, &key).is_err() {
                    let doing = "forgetting a program or an input";
                    cx.effects.push(Effect::Note(crate::executor::Note::StoreFailed { doing }));
                }
            }
        }
    }
}

impl Pull {
    fn current(&self) -> Option<NodeId> {
        self.sources.get(self.asked).copied()
    }

    /// Asks the current source, or the next one that can be reached.
    fn ask(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>, blob: Digest) {
        self.until = cx.now + PIECE_TIMEOUT;
        let count = self.sources.len();
        let next = (0..count).map(|step| (self.asked + step) % count);
        let Some(place) = next.into_iter().find(|place| up.contains(&self.sources[*place])) else {
            return;
        };
        self.asked = place;
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        tell(cx, self.sources[place], Talk::Want { blob, offset });
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>, blob: Digest, why: &'static str) {
        let Some(node) = self.current() else { return };
        cx.effects.push(Effect::Misbehaved { node, why });
        self.sources.remove(self.asked);
        self.bytes.clear();
        self.ask(cx, up, blob);
    }
}

fn tell(cx: &mut Cx<'_>, to: NodeId, talk: Talk) {
    let message = Message::Talk(Box::new(talk));
    cx.effects.push(Effect::Send { nodes: vec![to], message });
}

/// Reads a piece for another node out of the records that it spans.
fn part(store: &dyn Store, blob: &Digest, offset: u32, total: u32) -> Option<Vec<u8>> {
    let (offset, total) = (offset as usize, total as usize);
    let end = total.min(offset + PART_BYTES_MAX);
    let mut bytes = Vec::with_capacity(end - offset);
    let first = offset / PIECE_BYTES;
    for index in first..end.div_ceil(PIECE_BYTES) {
        let key = piece_key(blob, u32::try_from(index).ok()?);
        bytes.extend_from_slice(&store.record(Table::Blob, &key).ok().flatten()?);
    }
    let start = offset - first * PIECE_BYTES;
    bytes.get(start..start + (end - offset)).map(<[u8]>::to_vec)
}

fn piece_key(id: &Digest, index: u32) -> Vec<u8> {
    [&id.as_bytes()[..], &index.to_be_bytes()].concat()
}
