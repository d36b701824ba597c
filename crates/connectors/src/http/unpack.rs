//! Compressed bodies, with a bound on what they become.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::Trouble;

/// What a request says it understands.
pub(super) const ACCEPTED: &str = "gzip, deflate";

/// Unpacks a body of at most `limit` bytes.
pub(super) fn unpack(
    encoding: Option<&str>,
    packed: Vec<u8>,
    limit: usize,
) -> Result<Vec<u8>, Trouble> {
    let Some(encoding) = encoding else { return Ok(packed) };
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(packed),
        _ if packed.is_empty() => Ok(packed),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(packed.as_slice()), limit),
        // By the standard it has zlib's frame; some servers leave it out.
        "deflate" if has_zlib_frame(&packed) => read(ZlibDecoder::new(packed.as_slice()), limit),
        "deflate" => read(DeflateDecoder::new(packed.as_slice()), limit),
        _ => Err(Trouble::Malformed("its encoding was not asked for")),
    }
}

/// Deflate, a window of 32 KiB at most, and a header that 31 divides.
fn has_zlib_frame(packed: &[u8]) -> bool {
    let [first, second, ..] = *packed else { return false };
    first & 15 == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]) % 31 == 0
}

fn read(unpacked: impl Read, limit: usize) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    let read = unpacked.take(limit as u64 + 1).read_to_end(&mut body);
    if body.len() > limit {
        return Err(Trouble::TooLarge);
    }
    read.map_err(|_| Trouble::Malformed("its body does not unpack"))?;
    Ok(body)
}

#[cfg(test)]
mod tests;
