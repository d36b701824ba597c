//! Frames on a stream: a `u32` big-endian length and the body.

use std::future::Future;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::time::timeout;

use super::{CloseReason, FRAME_BYTES_MAX};

/// Room made for a frame before its bytes arrive; beyond it, memory follows what the peer sent.
const FIRST_ALLOCATION_BYTES: usize = 64 << 10;

/// Frames up to this size are copied behind their length; larger ones are passed on as they are.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// The most taken from the stream at once.
const CHUNK_BYTES: usize = 256 << 10;

/// An ordered source of bytes: a QUIC stream, or a list of chunks in tests.
pub(super) trait Chunks: Send {
    /// Returns the next bytes, never empty, or `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, CloseReason>> + Send;
}

impl Chunks for quinn::RecvStream {
    async fn chunk(&mut self) -> Result<Option<Bytes>, CloseReason> {
        match self.read_chunk(CHUNK_BYTES, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(quinn::ReadError::ConnectionLost(error)) => Err(error.into()),
            Err(_) => Err(CloseReason::StreamBroken),
        }
    }
}

/// Cuts a source into frames.
pub(super) struct FrameReader<C> {
    source: C,
    chunk: Bytes,
    frame_timeout: Duration,
}

impl<C: Chunks> FrameReader<C> {
    pub(super) fn new(source: C, frame_timeout: Duration) -> Self {
        Self { source, chunk: Bytes::new(), frame_timeout }
    }

    /// Reads the header byte of the stream.
    pub(super) async fn header(&mut self) -> Result<u8, CloseReason> {
        if self.fill().await? { Ok(self.chunk.get_u8()) } else { Err(CloseReason::StreamBroken) }
    }

    /// Reads the next frame; `None` when the stream ended between frames.
    ///
    /// Dropping the future loses the frame that was begun.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, CloseReason> {
        if !self.fill().await? {
            return Ok(None);
        }
        let within = self.frame_timeout;
        match timeout(within, self.whole()).await {
            Ok(frame) => frame.map(Some),
            Err(_) => Err(CloseReason::FrameStalled { within }),
        }
    }

    async fn whole(&mut self) -> Result<Vec<u8>, CloseReason> {
        let mut length = [0; 4];
        for byte in &mut length {
            self.need().await?;
            *byte = self.chunk.get_u8();
        }
        let size = u32::from_be_bytes(length);
        if size as usize > FRAME_BYTES_MAX {
            return Err(CloseReason::FrameTooLarge { size });
        }
        let size = size as usize;
        let mut frame = Vec::with_capacity(size.min(FIRST_ALLOCATION_BYTES));
        while frame.len() < size {
            self.need().await?;
            let part = self.chunk.split_to(self.chunk.len().min(size - frame.len()));
            frame.extend_from_slice(&part);
        }
        Ok(frame)
    }

    async fn need(&mut self) -> Result<(), CloseReason> {
        if self.fill().await? { Ok(()) } else { Err(CloseReason::StreamBroken) }
    }

    /// Makes sure that a byte is there; `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool, CloseReason> {
        while self.chunk.is_empty() {
            match self.source.chunk().await? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Lays frames out for one write: few chunks, small frames copied together.
pub(super) fn lay_out(frames: &[Bytes]) -> Vec<Bytes> {
    let copied = frames.iter().filter(|frame| frame.len() <= COPIED_BYTES_MAX);
    let room = frames.len() * 4 + copied.map(Bytes::len).sum::<usize>();
    let mut chunks = Vec::new();
    let mut run = BytesMut::with_capacity(room);
    for frame in frames {
        let size = u32::try_from(frame.len()).expect("the queue takes no frame above 1 MiB");
        run.put_u32(size);
        if frame.len() <= COPIED_BYTES_MAX {
            run.put_slice(frame);
        } else {
            chunks.push(run.split().freeze());
            chunks.push(frame.clone());
        }
    }
    if !run.is_empty() {
        chunks.push(run.freeze());
    }
    chunks
}

#[cfg(test)]
mod tests;
