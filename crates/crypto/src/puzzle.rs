//! Puzzles that cost memory and time to solve, and one attempt's worth to check: Argon2id.
//!
//! *Provided:* each attempt writes 4 MiB once, so that many at once need much memory, and special
//! hardware gains little. *Not provided:* a price for whoever has many machines that are not his own.

use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Memory of one attempt, in KiB.
pub const MEMORY_KIB: u32 = 4096;

/// Tries nonces for one challenge. Keeps the memory of an attempt for the next one.
pub struct Attempts {
    argon2: Argon2<'static>,
    memory: Vec<Block>,
}

impl core::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}

impl Default for Attempts {
    fn default() -> Self {
        let params = Params::new(MEMORY_KIB, 1, 1, Some(32)).expect("Argon2 has such parameters");
        let memory = vec![Block::default(); params.block_count()];
        Self { argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params), memory }
    }
}

impl Attempts {
    /// Returns how many bits a nonce is worth: how many the hash begins with that are zero. The nonce
    /// is the password, as eight bytes, and the challenge the salt.
    pub fn bits(&mut self, challenge: &[u8; 32], nonce: u64) -> u32 {
        let mut out = [0; 32];
        self.argon2
            .hash_password_into_with_memory(
                &nonce.to_be_bytes(),
                challenge,
                &mut out,
                &mut self.memory,
            )
            .expect("the lengths are among those that Argon2 takes");
        let [first, ..] = *out.as_chunks::<16>().0 else { return 0 };
        u128::from_be_bytes(first).leading_zeros()
    }

    /// Returns the first nonce that is worth so many bits, or nothing after so many tries.
    pub fn solve(&mut self, challenge: &[u8; 32], bits: u32, tries: u64) -> Option<u64> {
        (0..tries).find(|nonce| self.bits(challenge, *nonce) >= bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_argon2id_of_these_parameters() {
        // By the library's plain door, which takes its own memory.
        let mut out = [0; 32];
        let params = Params::new(4096, 1, 1, Some(32)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&7_u64.to_be_bytes(), &[9; 32], &mut out)
            .unwrap();
        let zeros = u128::from_be_bytes(out[..16].try_into().unwrap()).leading_zeros();
        assert_eq!(Attempts::default().bits(&[9; 32], 7), zeros);
    }

    #[test]
    fn memory_that_is_used_again_changes_nothing() {
        let mut used = Attempts::default();
        for nonce in 0..8 {
            assert_eq!(used.bits(&[1; 32], nonce), Attempts::default().bits(&[1; 32], nonce));
        }
    }

    #[test]
    fn a_solution_is_worth_what_was_asked_and_belongs_to_its_challenge() {
        let mut attempts = Attempts::default();
        let nonce = attempts.solve(&[1; 32], 4, 1024).unwrap();
        assert!(attempts.bits(&[1; 32], nonce) >= 4);
        assert!((0..nonce).all(|before| attempts.bits(&[1; 32], before) < 4));
        // Of sixteen challenges one would take it by chance.
        let taken = (2..10).filter(|other| attempts.bits(&[*other; 32], nonce) >= 4).count();
        assert!(taken < 8);
        assert_eq!(attempts.solve(&[1; 32], 100, 4), None);
    }
}
