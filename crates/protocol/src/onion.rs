//! Onion packets on links, keys of hops, and what an exit is asked.
//!
//! What it is: the records around packets. The packets themselves, and everything that opens one,
//! are `session_network::onion`; here they are bytes of one of three lengths.

use session_core::{Blob, DecodeError, List, Span, choice, record};

use crate::request::{Reply, Request};

mod hop_key;

pub use hop_key::{BadHopKey, HopKey, HopKeyRecord, KEY_LIFE_MAX, SignedHopKey};

/// The version of packets and of the records about their keys.
pub const VERSION: u8 = 1;

/// Lengths of packets, the smallest first. There is nothing between.
pub const PACKET_BYTES: [usize; 3] = [8_192, 32_768, PACKET_BYTES_MAX];

/// The longest packet: the longest item fits into one over five hops, and into an answer.
pub const PACKET_BYTES_MAX: usize = 98_304;

/// Most hop keys in one message, 4.6 KB each.
pub const HOP_KEYS_MAX: usize = 64;

/// Buckets in which nodes compare the hop keys that they have.
pub const BUCKETS: usize = 256;

/// Most bits of an id that hop keys are asked by: more would name a node.
pub const BUCKET_BITS_MAX: u8 = 16;

/// Longest time that an exit is asked to wait for an item.
pub const WAIT_MAX: Span = Span::from_secs(60);

/// What exits do with a payload: the numbers in the routing of a packet.
pub mod service {
    /// The payload is a [`Request`](crate::request::Request), the answer an
    /// [`ExitAnswer`](super::ExitAnswer).
    pub const REQUEST: u16 = 1;
    /// The payload is a [`Wait`](super::Wait), the answer an [`ExitAnswer`](super::ExitAnswer).
    pub const WAIT: u16 = 2;
    /// The payload is ignored, the answer empty: cover that comes back.
    pub const ECHO: u16 = 3;
}

record! {
    /// A packet on a link. A request or return opens the circuit, an answer closes it; what is
    /// handed over belongs to none.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Onion {
        /// Drawn at random by whoever opens it, for this link alone.
        pub circuit: u64,
        /// The packet: one of [`PACKET_BYTES`].
        pub packet: Blob<PACKET_BYTES_MAX>,
    }

    /// Asks an exit to answer as soon as there is an item, or when the time is over.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Wait {
        /// How long at most; at most [`WAIT_MAX`].
        pub wait: Span,
        /// Subscriptions, and behind them the reads whose outcomes are waited for.
        pub request: Request,
    }
}

choice! {
    /// What nodes say to each other about hop keys. A bucket are the nodes whose ids begin with the
    /// same byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum HopKeys {
        /// Keys, of the sender or handed on.
        1 => Keys {
            /// In any order.
            keys: List<SignedHopKey, HOP_KEYS_MAX>,
        },
        /// What the sender has, said when two nodes meet.
        2 => Have {
            /// One sum for each bucket, in order; equal sums are equal keys.
            sums: List<u64, BUCKETS>,
        },
        /// Asks for all keys of some buckets, because their sums differ.
        3 => Want {
            /// First bytes of ids.
            buckets: List<u8, BUCKETS>,
        },
    }

    /// What an exit answers, sealed so that nobody on the way can read it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum ExitAnswer {
        /// The request was done.
        1 => Reply {
            /// The answer to it.
            reply: Reply,
        },
        /// The request was done, but its reply does not fit the answer.
        2 => TooLarge {
            /// Bytes of answer that it takes.
            bytes: u32,
        },
        /// The exit has no such service.
        3 => NoService,
        /// The payload is not what the service takes.
        4 => Malformed,
        /// The exit has as much to do as it takes on; nothing was done.
        5 => Busy,
    }
}

impl Onion {
    /// Checks what a link can know of a packet: its length.
    ///
    /// # Errors
    /// When there are no packets of this length.
    pub fn check_size(&self) -> Result<(), DecodeError> {
        if PACKET_BYTES.contains(&self.packet.len()) {
            Ok(())
        } else {
            Err(DecodeError::Invalid { field: "Onion::packet", why: "no size of packets" })
        }
    }
}
