//! The compatibility profile: what calls of the Go reference send, which proves nothing.
//!
//! Off unless the operator says so. Its conversations are marked for ever: participants are opaque
//! ids, keys are any bytes, whoever names a participant is taken for it. They and the verified ones
//! never mix: neither kind of call works on the other kind of conversation.

use std::collections::BTreeMap;

use session_core::{AccountId, Blob, ConversationId};

use super::config::COMPAT_BYTES_MAX;
use super::conversation::{check_participants, extras};
use super::error::{Refusal, Unauthorized, within};
use super::message::check_ciphertext;
use super::record::{ParticipantKey, PersonRecord};
use super::table::Slot;
use super::{Created, Cx, Mailbox, Sent, Status};

/// A conversation to be made as the Go reference does.
#[derive(Clone, Debug, Default)]
pub struct CompatConversation {
    /// Opaque ids.
    pub participants: Vec<AccountId>,
    /// A key of each, in the same order: any bytes, at most 4,096.
    pub keys: Vec<Vec<u8>>,
    /// What the makers want to remember.
    pub metadata: BTreeMap<String, String>,
}

impl Mailbox {
    /// Makes a conversation that proves nothing and is active at once.
    ///
    /// # Errors
    /// [`Unauthorized::CompatOff`], or participants and keys that are not in order.
    pub fn create_compat(
        &mut self,
        cx: &mut Cx<'_>,
        new: CompatConversation,
    ) -> Result<Created, Refusal> {
        Unauthorized::CompatOff.unless(self.config.compat)?;
        check_participants(new.participants.iter().copied())?;
        if new.participants.len() != new.keys.len() {
            let why = "each participant has one key, in the same order";
            return Err(Refusal::Invalid { field: "publicKeys", why });
        }
        let mut people = Vec::with_capacity(new.participants.len());
        for (account, key) in new.participants.into_iter().zip(new.keys) {
            let bytes = compat_bytes("public key", key)?;
            people.push(PersonRecord { account, key: ParticipantKey::Raw { bytes } });
        }
        let signing = vec![None; people.len()];
        let extras = extras(None, new.metadata)?;
        self.insert_new(cx, people.into_iter(), signing, extras, true)
    }

    /// Takes a message under a signature that nobody looks at.
    ///
    /// # Errors
    /// As [`Mailbox::apply_send`], and when the conversation is a verified one.
    pub fn send_compat(
        &mut self,
        cx: &mut Cx<'_>,
        conversation: &ConversationId,
        sender: &AccountId,
        ciphertext: &[u8],
        signature: &[u8],
    ) -> Result<Sent, Refusal> {
        check_ciphertext(ciphertext)?;
        within("signature", signature.len(), COMPAT_BYTES_MAX)?;
        let slot = self.compat_slot(cx, conversation)?;
        let member = self.member(self.entries.entry(slot), sender)?;
        self.make_room(cx.store, slot, cx.now)?;
        self.append(cx, slot, member, signature, ciphertext)
    }

    /// Closes a conversation for whoever asks.
    ///
    /// # Errors
    /// When it is unknown, over, or a verified one.
    pub fn close_compat(
        &mut self,
        cx: &mut Cx<'_>,
        conversation: &ConversationId,
    ) -> Result<Status, Refusal> {
        let slot = self.compat_slot(cx, conversation)?;
        self.close(cx, slot)?;
        Ok(Status::Closed)
    }

    fn compat_slot(&self, cx: &Cx<'_>, conversation: &ConversationId) -> Result<Slot, Refusal> {
        Unauthorized::CompatOff.unless(self.config.compat)?;
        let slot = self.open_slot(conversation, cx.now)?;
        Unauthorized::OtherProfile.unless(self.entries.entry(slot).compat)?;
        Ok(slot)
    }
}

fn compat_bytes(field: &'static str, bytes: Vec<u8>) -> Result<Blob<COMPAT_BYTES_MAX>, Refusal> {
    within(field, bytes.len(), COMPAT_BYTES_MAX)?;
    Ok(Blob::new(bytes).expect("checked a line above"))
}
