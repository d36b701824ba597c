//! The secret halves of hop keys; what is published of them is [`session_protocol::onion`]'s.

use session_core::{Entropy, Epoch, Time};
use session_crypto::{XWingPublicKey, XWingSecret};

/// The secret half, which never leaves the process. Cleared on drop, never printed.
pub(super) struct HopSecret {
    pub(super) epoch: Epoch,
    pub(super) until: Time,
    pub(super) secret: XWingSecret,
    pub(super) public: XWingPublicKey,
}

impl HopSecret {
    /// Draws a key. It is not derived from anything that outlives it: who takes the node's identity
    /// later opens no packet of today.
    pub(super) fn generate(rng: &mut dyn Entropy, epoch: Epoch, until: Time) -> Self {
        let secret = XWingSecret::from_seed(&zeroize::Zeroizing::new(rng.bytes32()));
        Self { epoch, until, public: secret.public(), secret }
    }
}
