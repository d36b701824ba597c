//! What hosts of the chain's world say to each other. Real ones say the same over HTTP.

use session_core::{Blob, Decode, Encode, TxId, choice};
use session_protocol::chain::SealedBlock;
use session_protocol::chain::transaction::TRANSACTION_BYTES_MAX;

choice! {
    /// One packet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Message {
        /// A transaction, from a person or handed on by a follower.
        0 => Submit {
            transaction: Blob<TRANSACTION_BYTES_MAX>,
        },
        /// A node will never take this transaction.
        1 => Refused {
            transaction: TxId,
        },
        /// Asks for the sealed block at a height.
        2 => Ask {
            number: u64,
            height: u64,
        },
        /// The block that was asked for, or that there is none.
        3 => Answer {
            number: u64,
            sealed: Option<SealedBlock>,
        },
    }
}

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::decode_exact(bytes).ok()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

/// Returns the name of a message from its first byte.
pub(crate) fn kind_name(code: u8) -> &'static str {
    match code {
        0 => "Submit",
        1 => "Refused",
        2 => "Ask",
        3 => "Answer",
        _ => "garbage",
    }
}
