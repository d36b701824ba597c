//! What one person says to another, and how it becomes an item in an inbox.
//!
//! The envelope's context is the network id: a message of one network does not open in another.

use session_core::{Decode as _, DecodeError, Encode as _, Entropy, Text, Time, choice};
use session_crypto::envelope::{self, EnvelopeError, Opened};
use session_crypto::{Identity, PublicIdentity, RealVerifier, Signer, Verifier};
use session_protocol::NetworkId;
use session_protocol::request::ItemBytes;

use crate::attachment::Manifest;

/// Longest text in one message; with the envelope around it, it fills an item.
pub const TEXT_BYTES_MAX: usize = 60_000;

choice! {
    /// The body of a message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Content {
        /// Something to read.
        1 => Text {
            /// When it was sent, says the sender.
            sent_at: Time,
            /// The text.
            body: Text<TEXT_BYTES_MAX>,
        },
        /// A file, whose chunks lie in the same inbox.
        2 => File {
            /// When it was sent, says the sender.
            sent_at: Time,
            /// How to find and open the chunks.
            manifest: Manifest,
        },
    }

    /// Content under the version of its format.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Versioned {
        1 => V1 {
            content: Content,
        },
    }
}

/// The text does not fit into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text holds {got} bytes, a message takes {TEXT_BYTES_MAX}: send it as a file")]
pub struct TextTooLong {
    /// Bytes of the text.
    pub got: usize,
}

/// Why an item is not a message for this recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not for this recipient or network, or altered on the way.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Sealed by its sender with content that this program does not read.
    #[error("the message is authentic, but its content is not understood: {0}")]
    Content(#[from] DecodeError),
}

/// A message and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender, proven by signature.
    pub sender: PublicIdentity,
    /// What was said.
    pub content: Content,
}

impl Content {
    /// Makes the content of a text message.
    ///
    /// # Errors
    /// When the text is longer than [`TEXT_BYTES_MAX`].
    pub fn text(sent_at: Time, body: impl Into<String>) -> Result<Self, TextTooLong> {
        let body = Text::new(body).map_err(|over| TextTooLong { got: over.got })?;
        Ok(Self::Text { sent_at, body })
    }

    /// Returns when it was sent, says the sender.
    #[must_use]
    pub const fn sent_at(&self) -> Time {
        match self {
            Self::Text { sent_at, .. } | Self::File { sent_at, .. } => *sent_at,
        }
    }
}

/// Seals content into the item that goes into the recipient's inbox.
///
/// # Errors
/// When it does not fit; a longest text and a longest manifest do.
pub fn seal_message(
    sender: &dyn Signer,
    recipient: &PublicIdentity,
    network: NetworkId,
    content: &Content,
    rng: &mut dyn Entropy,
) -> Result<ItemBytes, EnvelopeError> {
    let plain = Versioned::V1 { content: content.clone() }.to_bytes();
    let sealed = envelope::seal(sender, recipient, network.as_ref(), &plain, rng)?;
    Ok(ItemBytes::new(sealed).expect("the largest envelope is as large as the largest item"))
}

/// Opens an item of the recipient's inbox and proves its sender.
///
/// # Errors
/// When it was not sealed for this recipient on this network, or holds unknown content.
pub fn open_message(
    recipient: &Identity,
    network: NetworkId,
    item: &[u8],
) -> Result<Message, OpenError> {
    open_message_with(recipient, &RealVerifier, network, item)
}

/// As [`open_message`], with any signer and verifier.
///
/// # Errors
/// As [`open_message`].
pub fn open_message_with(
    recipient: &dyn Signer,
    verifier: &dyn Verifier,
    network: NetworkId,
    item: &[u8],
) -> Result<Message, OpenError> {
    let Opened { sender, content } =
        envelope::open_with(recipient, verifier, network.as_ref(), item)?;
    let Versioned::V1 { content } = Versioned::decode_exact(&content)?;
    Ok(Message { sender, content })
}

#[cfg(test)]
mod tests;
