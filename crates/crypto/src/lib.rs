//! The one door to cryptography.
//!
//! What it is: identities of ML-KEM-768 and ML-DSA-65, their ids and files, the sealed envelope,
//! the seeds' formats, and the symmetric tools under them, over reviewed implementations.
//!
//! What it does not do: it implements no primitive, draws no entropy (the caller hands it in),
//! and touches no file. Secrets are cleared on drop where we hold them; copies that the libraries
//! leave on the stack are not.
//!
//! ```
//! use session_core::SeededEntropy;
//! use session_crypto::{Identity, envelope};
//!
//! let mut rng = SeededEntropy::new(1); // in a program: the operating system's
//! let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
//! let sealed = envelope::seal(&alice, bob.public(), b"chat", b"hello", &mut rng).unwrap();
//! let opened = envelope::open(&bob, b"chat", &sealed).unwrap();
//! assert_eq!(&*opened.content, b"hello");
//! assert_eq!(&opened.sender, alice.public());
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`account`] | text forms of ids: `07…`, CB58, and the refusal of `05…` |
//! | [`aead`] | XChaCha20-Poly1305 |
//! | [`cpu`] | the check of the CPU at start |
//! | [`dsa`] | ML-DSA-65 |
//! | [`envelope`] | sealed envelope, version 1 |
//! | `fake` | the simulator's identities, behind the feature `test-support` |
//! | [`hash`] | BLAKE2b-256, BLAKE3, key derivation, authentication codes |
//! | [`hpke`] | HPKE and the symmetric parts of the suite of MLS |
//! | [`identity`] | [`Identity`] and [`PublicIdentity`] |
//! | [`identity_file`] | the bytes of identity files |
//! | [`kem`] | ML-KEM-768 |
//! | [`legacy`] | classical `05` ids and keys |
//! | [`passphrase`] | keys from passphrases |
//! | [`phrase`] | 24 words for a seed |
//! | [`puzzle`] | puzzles that cost memory |
//! | [`seed`] | the seeds' formats, for compatibility only |
//! | [`shamir`] | secret sharing, for the beacon |
//! | [`signer`] | the [`Signer`] and [`Verifier`] doors |
//! | [`xwing`] | X-Wing: ML-KEM-768 and X25519 together |

pub mod account;
pub mod aead;
mod bytes;
pub mod cpu;
pub mod dsa;
pub mod envelope;
#[cfg(feature = "test-support")]
pub mod fake;
pub mod hash;
pub mod hpke;
pub mod identity;
pub mod identity_file;
pub mod kem;
pub mod legacy;
pub mod passphrase;
pub mod phrase;
pub mod puzzle;
pub mod seed;
pub mod shamir;
pub mod signer;
pub mod xwing;

pub use account::AccountRef;
pub use cpu::cpu_supported;
pub use dsa::{BadSignature, DsaPublicKey, DsaSecretKey, Signature};
pub use hash::{StreamHash, SymmetricKey, blake2b_256, equal, kdf, mac};
pub use identity::{Identity, InvalidKey, PublicIdentity};
pub use kem::{KemCiphertext, KemPublicKey, KemSecretKey, PreparedKemKey, SharedSecret};
pub use legacy::{LegacyId, LegacyKey};
pub use phrase::Phrase;
pub use signer::{RealVerifier, SIGNATURE_CONTEXT, Signer, Verifier};
pub use xwing::{XWingCiphertext, XWingPublicKey, XWingSecret};
