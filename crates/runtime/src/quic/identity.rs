//! A node's or account's identity as the owner of its TLS key.

use session_crypto::Identity;

use super::{PeerKey, TlsSigner};

/// TLS fixes the FIPS 204 context: none. Its transcript has a label of its own.
const TLS_CONTEXT: &[u8] = &[];

