//! An identity as the owner of its TLS key.

use session_crypto::Identity;

use super::{PeerKey, TlsSigner};
use crate::entropy::OsEntropy;

/// TLS prescribes the empty FIPS 204 context: its transcripts carry a label of their own.
const TLS_CONTEXT: &[u8] = &[];

impl TlsSigner for Identity {
    fn public_key(&self) -> PeerKey {
        Box::new(*self.public().dsa().as_bytes())
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut entropy = OsEntropy::new().ok()?;
        let signature = self.sign_raw(TLS_CONTEXT, message, &mut entropy).ok()?;
        Some(signature.as_bytes().to_vec())
    }
}
