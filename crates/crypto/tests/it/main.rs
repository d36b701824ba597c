//! Official vectors, the reference's vectors, a second implementation, and imported keys.

mod fakes;
mod keys;
mod known_answers;
mod legacy;
mod phrase;
mod reference;
mod second;
mod wycheproof_sets;
mod xwing;

use session_core::Entropy;

/// Entropy that hands out given bytes, for vectors that fix the randomness.
pub(crate) struct Fixed<'a>(pub(crate) &'a [u8]);

impl Entropy for Fixed<'_> {
    fn fill(&mut self, out: &mut [u8]) {
        let (now, later) = self.0.split_at(out.len());
        out.copy_from_slice(now);
        self.0 = later;
    }
}
