use std::collections::BTreeMap;

use session_core::MessageId;

use super::piece::{self, Kind, Place};
use super::{AttachmentError, INDEX_IDS, Manifest, Pieces, chunk_length};

/// Opens the pieces of a file in whatever order they come.
///
/// A file with index items opens those first: they say which chunks to fetch.
pub struct Opener {
    manifest: Manifest,
    indexes: BTreeMap<u32, Vec<MessageId>>,
}

impl Opener {
    /// Starts with nothing opened.
    #[must_use]
    pub const fn new(manifest: Manifest) -> Self {
        Self { manifest, indexes: BTreeMap::new() }
    }

    /// Returns the manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the index items that are not opened yet, with their ids.
    #[must_use]
    pub fn missing_indexes(&self) -> Vec<(u32, MessageId)> {
        let Pieces::Indexes { ids } = self.manifest.pieces() else { return vec![] };
        (0..)
            .zip(ids)
            .map(|(i, id)| (i, *id))
            .filter(|(i, _)| !self.indexes.contains_key(i))
            .collect()
    }

    /// Opens an index item.
    ///
    /// # Errors
    /// When there is no such index item, or `item` is not it.
    pub fn open_index(&mut self, index: u32, item: &[u8]) -> Result<(), AttachmentError> {
        let count = match self.manifest.pieces() {
            Pieces::Chunks { .. } => 0,
            Pieces::Indexes { ids } => u32::try_from(ids.len()).expect("bounded by its type"),
        };
        let place = Place { kind: Kind::Index, index, count };
        place.check()?;
        let before = index as usize * INDEX_IDS;
        let length = (self.manifest.chunks() as usize - before).min(INDEX_IDS) * 32;
        let plain = piece::open(&self.manifest.0.key, place, length, item)?;
        let (ids, _) = plain.as_chunks::<32>();
        self.indexes.insert(index, ids.iter().map(|id| MessageId::from(*id)).collect());
        Ok(())
    }

    /// Returns the id of a chunk, or `None` when there is none or its index item is not opened yet.
    #[must_use]
    pub fn chunk_id(&self, chunk: u32) -> Option<MessageId> {
        let chunk = chunk as usize;
        match self.manifest.pieces() {
            Pieces::Chunks { ids } => ids.get(chunk).copied(),
            Pieces::Indexes { .. } => {
                let index = u32::try_from(chunk / INDEX_IDS).ok()?;
                self.indexes.get(&index)?.get(chunk % INDEX_IDS).copied()
            }
        }
    }

    /// Opens a chunk; it belongs at `chunk * CHUNK_BYTES` of the file.
    ///
    /// # Errors
    /// When there is no such chunk, or `item` is not it.
    pub fn open_chunk(&self, chunk: u32, item: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        let place = Place { kind: Kind::Chunk, index: chunk, count: self.manifest.chunks() };
        place.check()?;
        piece::open(&self.manifest.0.key, place, chunk_length(self.manifest.size(), chunk), item)
    }
}
