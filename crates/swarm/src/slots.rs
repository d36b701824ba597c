//! Slots of commits: of the items of a slot this node signs a receipt for one only.
//!
//! Two quorums of a swarm share a member, and no member signs for two items of a slot: so at most
//! one has a quorum of receipts. Every item that other members have is kept all the same, so that
//! readers and reconciliation see every candidate.
//!
//! Who may have signed what is not seen from an item that comes by reconciliation. The only one of
//! its slot is signed when somebody asks; of several that came so, none. A node that may lack what
//! its swarm acknowledged signs nothing for slots.

use session_core::{Decode as _, Encode as _, InboxAddress, MessageId, Time, choice};
use session_protocol::inbox::{self, Policy};
use session_protocol::limits::TOMBSTONE_TTL;
use session_protocol::peer::{ItemKey, ReplicaItem};
use session_protocol::request::Refusal;
use session_storage::{Store, Table};

use crate::items::{self, Kept};
use crate::machine::{Cx, Swarm};

/// Starts the keys of slots in the table of single records.
const PREFIX: u8 = b's';

choice! {
    /// What this node knows of a slot. It outlives the items, also those that are deleted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Slot {
        /// This node signs for this item and no other.
        1 => Held {
            /// The item.
            holder: MessageId,
        },
        /// One item came by reconciliation: the first that is asked for holds the slot, if it is
        /// this one.
        2 => Heard {
            /// The item.
            holder: MessageId,
        },
        /// Several items came by reconciliation: others may have signed any of them.
        3 => Disputed {
            /// The first of them.
            holder: MessageId,
        },
    }
}

impl Slot {
    /// Returns the item that bars another one, if any does.
    fn bars(self, id: &MessageId) -> Option<MessageId> {
        match self {
            Self::Held { holder } | Self::Heard { holder } => (holder != *id).then_some(holder),
            Self::Disputed { holder } => Some(holder),
        }
    }

    fn read(store: &dyn Store, key: &[u8]) -> Result<Option<Self>, Refusal> {
        let value = store.record(Table::Meta, key).map_err(|error| items::refusal(&error))?;
        // What cannot be read may have been another item's.
        let decoded = value.map(|value| Self::decode_exact(&value)).transpose();
        decoded.map_err(|error| Refusal::internal(&format!("the record of a slot: {error}")))
    }

    fn write(self, store: &mut dyn Store, key: &[u8], now: Time) -> Result<(), Refusal> {
        // Longer than any copy of an item lives that nobody extends: an epoch is over long before.
        store
            .put_record(Table::Meta, key, &self.to_bytes(), now + TOMBSTONE_TTL)
            .map_err(|error| items::refusal(&error))
    }
}

/// Returns the key of an item's slot in the table; `None` where there are no slots.
fn key_of(item: &ReplicaItem) -> Option<Vec<u8>> {
    if inbox::policy(item.namespace) != Some(Policy::Slot) {
        return None;
    }
    let slot = inbox::slot_of(&item.data)?;
    Some([&[PREFIX], item.address.as_ref(), slot.as_ref()].concat())
}

impl Swarm {
    /// Refuses an item whose slot is another's, or cannot be decided here yet.
    pub(crate) fn check_slot(
        &self,
        cx: &Cx<'_>,
        item: &ReplicaItem,
        id: &MessageId,
    ) -> Result<(), Refusal> {
        let Some(key) = key_of(item) else { return Ok(()) };
        if self.may_lack(&item.address) {
            return Err(Refusal::not_ready("the slots of the inbox are not all known here yet"));
        }
        let slot = Slot::read(cx.store, &key)?;
        match slot.and_then(|slot| slot.bars(id)) {
            Some(holder) => Err(Refusal::SlotTaken { holder }),
            None => Ok(()),
        }
    }

    /// Gives an item that is kept here its slot, so that its receipt may be signed, or refuses.
    pub(crate) fn claim_slot(
        &self,
        cx: &mut Cx<'_>,
        item: &ReplicaItem,
        id: &MessageId,
    ) -> Result<(), Refusal> {
        let Some(key) = key_of(item) else { return Ok(()) };
        if let Err(refusal) = self.check_slot(cx, item, id) {
            if matches!(refusal, Refusal::NotReady { .. }) {
                hear_slot(cx, item, id)?;
            }
            return Err(refusal);
        }
        Slot::Held { holder: *id }.write(cx.store, &key, cx.now)
    }

    /// Keeps a copy that came by reconciliation.
    pub(crate) fn keep_compared(
        &mut self,
        cx: &mut Cx<'_>,
        item: &ReplicaItem,
    ) -> Result<(), Refusal> {
        let (ItemKey { message, .. }, kept) = self.keep_forwarded(cx, item)?;
        if kept == Kept::Deleted { Ok(()) } else { hear_slot(cx, item, &message) }
    }

    // On networks without a chain nothing says whether a store was lost.
    fn may_lack(&self, address: &InboxAddress) -> bool {
        let is_on_chain = self.view.membership().height() > 0;
        (is_on_chain && !self.is_complete()) || self.handover.is_blocked(address)
    }
}

/// Notes an item of a slot of which it is not known who signed for it.
fn hear_slot(cx: &mut Cx<'_>, item: &ReplicaItem, id: &MessageId) -> Result<(), Refusal> {
    let Some(key) = key_of(item) else { return Ok(()) };
    let known = Slot::read(cx.store, &key)?;
    let heard = match known {
        None => Slot::Heard { holder: *id },
        Some(Slot::Heard { holder }) if holder != *id => Slot::Disputed { holder },
        Some(_) => return Ok(()),
    };
    heard.write(cx.store, &key, cx.now)
}
