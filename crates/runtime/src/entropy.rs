//! The operating system's randomness, good for secrets.

use session_core::Entropy;
use zeroize::{Zeroize, Zeroizing};

/// Bytes taken from the system at once: one call for about a hundred draws.
const BUFFER_BYTES: usize = 4096;

/// Random bytes of the operating system, fetched in blocks.
///
/// # Security
/// Every byte comes from the system's generator, without one of our own in between, and is handed
/// out once: it is erased from the buffer when it is, and the rest when this is dropped.
pub struct OsEntropy {
    block: Box<Zeroizing<[u8; BUFFER_BYTES]>>,
    used: usize,
}

/// The operating system gives no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoEntropy(getrandom::Error);

impl OsEntropy {
    /// Draws the first block.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new() -> Result<Self, NoEntropy> {
        let mut this =
            Self { block: Box::new(Zeroizing::new([0; BUFFER_BYTES])), used: BUFFER_BYTES };
        this.refill()?;
        Ok(this)
    }

    fn refill(&mut self) -> Result<(), NoEntropy> {
        getrandom::fill(&mut self.block[..]).map_err(NoEntropy)?;
        self.used = 0;
        Ok(())
    }
}

impl Entropy for OsEntropy {
    /// # Panics
    /// When the system stops giving randomness: no key is better than a guessable one.
    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == BUFFER_BYTES {
                self.refill().expect("the system gave random bytes before");
            }
            let fresh = &mut self.block[self.used..];
            let (now, later) = out.split_at_mut(out.len().min(fresh.len()));
            let fresh = &mut fresh[..now.len()];
            now.copy_from_slice(fresh);
            fresh.zeroize();
            self.used += now.len();
            out = later;
        }
    }
}

#[cfg(test)]
mod tests;
