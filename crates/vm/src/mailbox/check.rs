//! The two steps of everything that is signed: what to verify, and the proof that it was.

use session_core::{AccountId, Domain};
use session_crypto::signer::Verifier;
use session_crypto::{DsaPublicKey, KemPublicKey, Signature};

use super::error::{Refusal, Unauthorized};
use super::people::check_binding;

/// A request that is in order except for its signature, which is still to be verified.
#[derive(Debug)]
#[must_use = "nothing is done before it is verified and applied"]
pub struct Check<I> {
    pub(super) intent: I,
    pub(super) domain: Domain,
    pub(super) message: Vec<u8>,
    pub(super) key: DsaPublicKey,
    pub(super) signature: Signature,
    /// A key that was not known before: it and the ML-KEM key must hash to the account.
    pub(super) binding: Option<(AccountId, KemPublicKey)>,
}

impl<I> Check<I> {
    /// Verifies the signature. This takes tens of microseconds and may run on any thread.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] when the key is not the account's or the signature not the key's.
    pub fn verify(self, verifier: &dyn Verifier) -> Result<Proved<I>, Refusal> {
        if let Some((account, kem)) = &self.binding {
            check_binding(account, kem, &self.key)?;
        }
        verifier
            .verify(&self.key, self.domain, &self.message, &self.signature)
            .map_err(|_| Refusal::unauthorized(Unauthorized::Signature))?;
        let Self { intent, message, key, signature, .. } = self;
        Ok(Proved { intent, message, key, signature })
    }
}

/// A request whose signature verifies. Only [`Check::verify`] makes one.
#[derive(Debug)]
#[must_use = "nothing is done before it is applied"]
pub struct Proved<I> {
    pub(super) intent: I,
    pub(super) message: Vec<u8>,
    pub(super) key: DsaPublicKey,
    pub(super) signature: Signature,
}
