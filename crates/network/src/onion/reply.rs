//! Answers: how the exit seals one, hops lay over it, and the client opens it.
//!
//! The exit seals, each hop adds a key stream, the client takes all off and checks the exit's code.
//! Hops check nothing on the way back, because there is nothing that they could know; nor is there
//! anything to gain by a mark in an answer, because whoever could see it removed is the client.

use session_core::Epoch;
use session_crypto::SymmetricKey;
use session_crypto::aead::{self, NotOpened};

use super::geometry::{Kind, LENGTH, Prefix, Size};
use super::layer::{self, Keys, NONCE};
use super::packet::{Packet, TooLong};

/// What a hop lays over the one answer to a request that it forwarded. Never printed or copied.
#[derive(Debug)]
pub struct BackKey(pub(super) SymmetricKey);

impl BackKey {
    /// Lays over an answer what only the client can take off.
    ///
    /// # Errors
    /// When the packet is no answer.
    pub fn wrap_reply(self, answer: &Packet) -> Result<Packet, NotAnAnswer> {
        if answer.kind() != Kind::Answer {
            return Err(NotAnAnswer { got: answer.kind() });
        }
        let mut rest = answer.rest().to_vec();
        aead::apply_keystream(&self.0, &NONCE, 0, &mut rest);
        Ok(Packet::join(answer.size(), answer.prefix(), &[&rest]))
    }
}

/// A packet of another kind came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of kind {got:?} is no answer")]
pub struct NotAnAnswer {
    /// Its kind.
    pub got: Kind,
}

/// What the exit seals its one answer with. Never printed or copied.
#[derive(Debug)]
pub struct AnswerKey {
    key: SymmetricKey,
    prefix: Prefix,
    size: Size,
}

impl AnswerKey {
    pub(super) fn new(keys: &Keys, epoch: Epoch, size: Size) -> Self {
        Self { key: keys.answer(), prefix: Prefix { kind: Kind::Answer, epoch }, size }
    }

    /// Returns how long the answer will be, whatever it says.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Seals the answer.
    ///
    /// # Errors
    /// When it is longer than [`Size::answer_bytes_max`]; there is no second attempt.
    pub fn seal_reply(self, content: &[u8]) -> Result<Packet, TooLong> {
        let limit = self.size.answer_bytes_max();
        TooLong::check(content, limit)?;
        let sealed = seal_padded(&self.key, self.prefix, content, limit);
        Ok(Packet::join(self.size, self.prefix, &[&sealed]))
    }
}

/// What opens the one answer to a request. Never printed or copied.
#[derive(Debug)]
pub struct ReplyKeys {
    prefix: Prefix,
    size: Size,
    layers: Layers,
}

impl ReplyKeys {
    pub(super) fn of_request(epoch: Epoch, size: Size, keys: &[Keys]) -> Self {
        let (exit, before) = keys.split_last().expect("a path has at least one hop");
        let layers =
            Layers { over: before.iter().map(Keys::back).collect(), sealed: exit.answer() };
        Self { prefix: Prefix { kind: Kind::Answer, epoch }, size, layers }
    }

    /// Opens the answer.
    ///
    /// # Errors
    /// When it is not what the exit of the request sealed, laid over by each hop once.
    pub fn open(self, answer: &Packet) -> Result<Vec<u8>, NotOpened> {
        if answer.prefix() != self.prefix || answer.size() != self.size {
            return Err(NotOpened);
        }
        self.layers.open(self.prefix, answer.rest())
    }
}

/// What lies over a content on its way back, and what it is sealed with.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) over: Vec<SymmetricKey>,
    pub(super) sealed: SymmetricKey,
}

impl Layers {
    /// Takes all off and returns the content without its padding.
    pub(super) fn open(self, prefix: Prefix, bytes: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let mut bytes = bytes.to_vec();
        for key in &self.over {
            aead::apply_keystream(key, &NONCE, 0, &mut bytes);
        }
        let plain = aead::open(&self.sealed, &NONCE, &prefix.bytes(), &bytes)?;
        layer::unframed(&plain).map(<[u8]>::to_vec).ok_or(NotOpened)
    }
}

/// Seals a content of at most `limit` bytes as if it had so many. The key is used for this alone.
pub(super) fn seal_padded(
    key: &SymmetricKey,
    prefix: Prefix,
    content: &[u8],
    limit: usize,
) -> Vec<u8> {
    let mut plain = layer::framed(content);
    plain.resize(LENGTH + limit, 0);
    aead::seal(key, &NONCE, &prefix.bytes(), &plain)
}
