use session_core::{InboxAddress, List, MessageId};
use session_protocol::inbox::{ATTACHMENTS, message_id};
use session_protocol::request::ItemBytes;

use super::piece::{self, Kind, Place};
use super::{
    AttachmentError, DIRECT_IDS_MAX, FILE_BYTES_MAX, Fields, FileHash, FileKey, INDEX_IDS,
    Manifest, Pieces, chunk_count, chunk_length,
};
use crate::file_name::FileName;

/// An item of a file, ready to be stored in namespace `ATTACHMENTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPiece {
    /// The id under which it is stored; known without asking anyone.
    pub id: MessageId,
    /// The item.
    pub item: ItemBytes,
}

/// Seals a file chunk by chunk, in order, holding no more than the ids.
pub struct Sealer {
    key: FileKey,
    size: u64,
    address: InboxAddress,
    hash: FileHash,
    ids: Vec<MessageId>,
}

impl Sealer {
    /// Starts a file of `size` bytes for the inbox at `address`.
    ///
    /// # Errors
    /// When the file is larger than [`FILE_BYTES_MAX`].
    pub fn new(key: FileKey, size: u64, address: InboxAddress) -> Result<Self, AttachmentError> {
        if size > FILE_BYTES_MAX {
            return Err(AttachmentError::FileTooLarge { got: size });
        }
        Ok(Self { key, size, address, hash: FileHash::new(), ids: Vec::new() })
    }

    /// Returns the number of chunks of the file.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        chunk_count(self.size)
    }

    /// Returns the number of the chunk that comes next.
    #[must_use]
    pub fn next_chunk(&self) -> u32 {
        u32::try_from(self.ids.len()).expect("a file within the limit has few chunks")
    }

    /// Returns how many bytes the next chunk takes; 0 after the last one.
    #[must_use]
    pub fn next_length(&self) -> usize {
        chunk_length(self.size, self.next_chunk())
    }

    /// Seals the next chunk.
    ///
    /// # Errors
    /// When all are sealed, or `plain` has not exactly [`Sealer::next_length`] bytes.
    pub fn seal_next(&mut self, plain: &[u8]) -> Result<SealedPiece, AttachmentError> {
        let place = Place { kind: Kind::Chunk, index: self.next_chunk(), count: self.chunks() };
        place.check()?;
        let (chunk, expected) = (place.index, self.next_length());
        if plain.len() != expected {
            return Err(AttachmentError::ChunkLength { chunk, got: plain.len(), expected });
        }
        self.hash.update(plain);
        let sealed = self.seal(place, plain);
        self.ids.push(sealed.id);
        Ok(sealed)
    }

    /// Ends the file: returns its manifest and the index items, which are stored before it is sent.
    ///
    /// # Errors
    /// When chunks are missing.
    pub fn finish(self, name: FileName) -> Result<(Manifest, Vec<SealedPiece>), AttachmentError> {
        let (sealed, chunks) = (self.next_chunk(), self.chunks());
        if sealed != chunks {
            return Err(AttachmentError::Unfinished { sealed, chunks });
        }
        let indexes = if self.ids.len() > DIRECT_IDS_MAX { self.seal_indexes() } else { vec![] };
        let pieces = if indexes.is_empty() {
            Pieces::Chunks { ids: List::new(self.ids).expect("compared with the bound above") }
        } else {
            let ids: Vec<MessageId> = indexes.iter().map(|index| index.id).collect();
            Pieces::Indexes { ids: List::new(ids).expect("the largest file has 8 index items") }
        };
        let hash = self.hash.finish();
        Ok((Manifest(Fields { name, size: self.size, key: self.key, hash, pieces }), indexes))
    }

    fn seal_indexes(&self) -> Vec<SealedPiece> {
        let parts = self.ids.chunks(INDEX_IDS);
        let count = u32::try_from(parts.len()).expect("fewer than chunks");
        (0..count)
            .zip(parts)
            .map(|(index, ids)| {
                let plain: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                self.seal(Place { kind: Kind::Index, index, count }, &plain)
            })
            .collect()
    }

    fn seal(&self, place: Place, plain: &[u8]) -> SealedPiece {
        let item = piece::seal(&self.key, place, plain);
        SealedPiece { id: message_id(&self.address, ATTACHMENTS, &item), item }
    }
}
