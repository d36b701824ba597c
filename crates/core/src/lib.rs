//! The words every other room of Lux Session shares.
//!
//! What it is: 32-byte identifiers, time, domain-separated hashing, Merkle trees, the canonical
//! codec, and the law that pure machines obey ([`Machine`], [`Context`]).
//!
//! What it does not do: it performs no I/O, reads no clock, draws no entropy, and holds no
//! cryptography beyond SHA-256 for identifiers and Merkle roots.
//!
//! ```
//! use session_core::{Decode, Encode, NodeId};
//! let id = NodeId::from([7; 32]);
//! assert_eq!(NodeId::decode_exact(&id.to_bytes()).unwrap(), id);
//! assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`codec`] | [`Encode`], [`Decode`], [`Reader`], bounded [`Blob`], [`List`], [`Text`], and the `record!` and `choice!` macros |
//! | [`committee`] | which nodes run a service's sessions, and the quorum |
//! | [`domain`] | the one registry of domain labels, and [`digest`] |
//! | [`entropy`] | the [`Entropy`] door and the seeded generator |
//! | [`id`] | the identifier newtypes |
//! | [`machine`] | [`Machine`] and [`Context`] |
//! | [`merkle`] | the RFC 6962-like tree, and the `go-v1` profile of the reference |
//! | [`seed_ids`] | identifiers whose bytes the seeds fix |
//! | `testing` | what every decoder is put through (feature `test-support`) |
//! | [`time`] | [`Time`] and [`Span`] |
//! | [`timers`] | what is due when |
//! | [`workers`] | who runs jobs side by side |

pub mod codec;
pub mod committee;
pub mod domain;
pub mod entropy;
pub mod id;
pub mod machine;
pub mod merkle;
pub mod seed_ids;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;
pub mod time;
pub mod timers;
pub mod workers;

pub use codec::{Blob, Decode, DecodeError, Encode, List, Reader, Text};
pub use domain::{Domain, digest, sha256};
pub use entropy::{Entropy, SeededEntropy};
pub use id::{
    AccountId, BlockId, ChainId, ChannelId, ConversationId, Digest, Epoch, InboxAddress, MessageId,
    Namespace, NodeId, RequestId, ServiceId, SessionId, SwarmId, TxId,
};
pub use machine::{Context, Machine};
pub use time::{Span, Time};
pub use workers::{Inline, Workers};
