//! Frames: `u32` payload length, `u8` type, payload; a payload starts with a `u32` request id.

use std::io::{self, Read, Write};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest payload, request id included.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// The longest body: a payload without its request id.
pub const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - ID_BYTES;
/// The bit of a type that says "response".
pub const RESPONSE: u8 = 0x80;
/// The bit of a response's type that says "error": the body is its text.
pub const ERROR: u8 = 0x40;

const HEADER_BYTES: usize = 5;
const ID_BYTES: usize = 4;

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message type, with [`RESPONSE`] and [`ERROR`].
    pub kind: u8,
    /// The number that a response repeats.
    pub request: u32,
    /// What follows the number.
    pub body: Vec<u8>,
}

/// Why no frame could be read. The connection is of no use afterwards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is over the limit. Nothing of the payload was read but its request id.
    #[error("a frame of {length} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLong {
        /// The type of the frame.
        kind: u8,
        /// The request it belongs to.
        request: u32,
        /// The claimed length.
        length: u32,
    },
    /// The payload is too short for a request id.
    #[error("a frame of {length} bytes has no request id")]
    TooShort {
        /// The claimed length.
        length: u32,
    },
    /// The connection broke, or ended inside a frame.
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

impl Frame {
    /// Makes the response to this type and number.
    #[must_use]
    pub fn response(kind: u8, request: u32, body: Vec<u8>) -> Self {
        if body.len() > BODY_BYTES_MAX {
            let length = body.len();
            let text = format!("the answer has {length} bytes, a frame holds {BODY_BYTES_MAX}");
            return Self::error(kind, request, &text);
        }
        Self { kind: kind | RESPONSE, request, body }
    }

    /// Makes the refusal of this type and number.
    #[must_use]
    pub fn error(kind: u8, request: u32, text: &str) -> Self {
        Self { kind: kind | RESPONSE | ERROR, request, body: text.as_bytes().to_vec() }
    }

    /// Returns the bytes of the frame.
    ///
    /// # Errors
    /// When the body is longer than a frame holds.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let length = self.body.len();
        if length > BODY_BYTES_MAX {
            let text = format!("a body of {length} bytes is over the limit of {BODY_BYTES_MAX}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + ID_BYTES + length);
        let payload = u32::try_from(ID_BYTES + length).expect("at most 16 MiB, checked above");
        bytes.extend_from_slice(&payload.to_be_bytes());
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.request.to_be_bytes());
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    /// Writes the frame to a blocking stream.
    ///
    /// # Errors
    /// When the stream fails, or the body is longer than a frame holds.
    pub fn send(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.to_bytes()?)?;
        to.flush()
    }

    /// Reads a frame from a blocking stream.
    ///
    /// # Errors
    /// When the stream ends or fails, or the frame is malformed.
    pub fn receive(from: &mut impl Read) -> Result<Self, FrameError> {
        let mut header = [0; HEADER_BYTES];
        from.read_exact(&mut header)?;
        let (length, kind) = split(header);
        let mut id = [0; ID_BYTES];
        if length as usize >= ID_BYTES {
            from.read_exact(&mut id)?;
        }
        let (request, left) = judge(length, kind, id)?;
        let mut body = Vec::new();
        from.take(left).read_to_end(&mut body)?;
        whole(kind, request, body, left)
    }

    /// Reads a frame; `None` when the stream ends before the next one begins.
    ///
    /// Dropping the future in the middle of a frame makes the stream useless.
    ///
    /// # Errors
    /// When the stream ends inside a frame or fails, or the frame is malformed.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Self>, FrameError> {
        let mut header = [0; HEADER_BYTES];
        if from.read(&mut header[..1]).await? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut header[1..]).await?;
        let (length, kind) = split(header);
        let mut id = [0; ID_BYTES];
        if length as usize >= ID_BYTES {
            from.read_exact(&mut id).await?;
        }
        let (request, left) = judge(length, kind, id)?;
        let mut body = Vec::new();
        from.take(left).read_to_end(&mut body).await?;
        whole(kind, request, body, left).map(Some)
    }
}

fn split([a, b, c, d, kind]: [u8; HEADER_BYTES]) -> (u32, u8) {
    (u32::from_be_bytes([a, b, c, d]), kind)
}

/// Returns the request id and the length of the body, if the frame may be read at all.
fn judge(length: u32, kind: u8, id: [u8; ID_BYTES]) -> Result<(u32, u64), FrameError> {
    let request = u32::from_be_bytes(id);
    let body = (length as usize).checked_sub(ID_BYTES).ok_or(FrameError::TooShort { length })?;
    if body > BODY_BYTES_MAX {
        return Err(FrameError::TooLong { kind, request, length });
    }
    Ok((request, body as u64))
}

/// Bodies are read as they come, so that a length alone sets no memory aside.
fn whole(kind: u8, request: u32, body: Vec<u8>, length: u64) -> Result<Frame, FrameError> {
    if (body.len() as u64) < length {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Frame { kind, request, body })
}

#[cfg(test)]
mod tests;
