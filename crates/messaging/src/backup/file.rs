//! The file: one stream in chunks that open only whole and in order.

use session_core::{Decode as _, Domain, Encode as _, Entropy, Reader};
use session_crypto::aead::{self, NONCE_SIZE, TAG_SIZE};
use session_crypto::{SymmetricKey, kdf};
use zeroize::Zeroizing;

use super::{BackupError, VERSION};

const MAGIC: &[u8; 8] = b"LUXBACKP";
const HEADER_SIZE: usize = 8 + 1 + 32;

/// Bytes of the stream in one chunk.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
const SEALED_BYTES: usize = CHUNK_BYTES + TAG_SIZE;

/// Writes a stream.
pub(super) struct Writer {
    key: SymmetricKey,
    out: Vec<u8>,
    chunks: u64,
    /// What is not sealed yet: only at the end it is known which chunk is the last.
    open: Zeroizing<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(key: &SymmetricKey, rng: &mut dyn Entropy) -> Self {
        let mut out = MAGIC.to_vec();
        VERSION.encode(&mut out);
        rng.bytes32().encode(&mut out);
        Self { key: file_key(key, &out), out, chunks: 0, open: Zeroizing::default() }
    }

    /// Appends to the stream.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        while self.open.len() > CHUNK_BYTES {
            let rest = Zeroizing::new(self.open.split_off(CHUNK_BYTES));
            self.seal(false);
            self.open = rest;
        }
    }

    /// Ends the stream and returns the file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.open.resize(CHUNK_BYTES, 0);
        self.seal(true);
        self.out
    }

    fn seal(&mut self, last: bool) {
        let (nonce, about) = place(self.chunks, last);
        self.out.extend_from_slice(&aead::seal(&self.key, &nonce, &about, &self.open));
        self.chunks += 1;
    }
}

/// Opens a file: the whole stream, zeros at its end included.
pub(super) fn open(key: &SymmetricKey, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    let mut reader = Reader::new(bytes);
    if reader.take(MAGIC.len()) != Ok(MAGIC) {
        return Err(BackupError::NotABackup);
    }
    let got = bytes.len();
    match u8::decode(&mut reader) {
        Ok(VERSION) => {}
        Ok(got) if got > VERSION => return Err(BackupError::NewerVersion { got }),
        Ok(_) => return Err(BackupError::NotABackup),
        Err(_) => return Err(BackupError::Length { got }),
    }
    let (header, sealed) =
        bytes.split_at_checked(HEADER_SIZE).ok_or(BackupError::Length { got })?;
    if sealed.is_empty() || !sealed.len().is_multiple_of(SEALED_BYTES) {
        return Err(BackupError::Length { got });
    }
    let key = file_key(key, header);
    let chunks = sealed.len() / SEALED_BYTES;
    let mut plain = Zeroizing::new(Vec::with_capacity(chunks * CHUNK_BYTES));
    for (chunk, sealed) in sealed.chunks_exact(SEALED_BYTES).enumerate() {
        let opens = |last| {
            let (nonce, about) = place(chunk as u64, last);
            aead::open(&key, &nonce, &about, sealed).ok().map(Zeroizing::new)
        };
        let last = chunk + 1 == chunks;
        plain.extend_from_slice(&opens(last).ok_or_else(|| match chunk {
            _ if last && opens(false).is_some() => BackupError::Cut { got: chunks },
            0 => BackupError::WrongKey,
            chunk => BackupError::Altered { chunk },
        })?);
    }
    Ok(plain)
}

/// The salt makes the key one of this file, so that the number of a chunk is nonce enough.
fn file_key(key: &SymmetricKey, header: &[u8]) -> SymmetricKey {
    kdf(Domain::Backup, key.expose(), &[header])
}

/// Returns the nonce and the associated data of a chunk.
fn place(chunk: u64, last: bool) -> ([u8; NONCE_SIZE], Vec<u8>) {
    let mut nonce = [0; NONCE_SIZE];
    nonce[..8].copy_from_slice(&chunk.to_be_bytes());
    let mut about = chunk.to_bytes();
    last.encode(&mut about);
    (nonce, about)
}
