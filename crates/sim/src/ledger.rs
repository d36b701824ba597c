//! What persons were promised: the truth that invariants compare nodes with.

use std::collections::BTreeMap;

use session_core::{InboxAddress, MessageId, SwarmId, Time};

/// A message that somebody was shown a quorum of receipts for.
#[derive(Clone, Debug)]
pub struct Message {
    /// The recipient's inbox.
    pub address: InboxAddress,
    /// The swarm that keeps it.
    pub swarm: SwarmId,
    /// A quorum keeps it until then, or until an earlier time that the owner asked for.
    pub keep_until: Time,
    /// Nobody keeps it longer.
    pub gone_after: Time,
    /// The owner has asked to delete it.
    pub deleting: bool,
    /// A quorum has committed the deletion.
    pub deleted: bool,
}

/// What an owner asked for before the sender was shown its receipts.
#[derive(Clone, Copy, Debug)]
struct Early {
    shorten: Time,
    extend: Time,
    deleting: bool,
    deleted: bool,
}

/// Every acknowledged message of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    messages: BTreeMap<MessageId, Message>,
    early: BTreeMap<MessageId, Early>,
}

impl Ledger {
    /// Returns the acknowledged messages.
    pub fn messages(&self) -> impl Iterator<Item = (&MessageId, &Message)> {
        self.messages.iter()
    }

    /// Returns an acknowledged message.
    #[must_use]
    pub fn message(&self, id: &MessageId) -> Option<&Message> {
        self.messages.get(id)
    }

    pub(crate) fn stored(
        &mut self,
        id: MessageId,
        address: InboxAddress,
        swarm: SwarmId,
        (until, latest): (Time, Time),
    ) {
        let early = self.early.get(&id).copied().unwrap_or(Early::NONE);
        let message = self.messages.entry(id).or_insert(Message {
            address,
            swarm,
            keep_until: until.min(early.shorten),
            gone_after: latest.max(early.extend),
            deleting: early.deleting,
            deleted: early.deleted,
        });
        message.gone_after = message.gone_after.max(latest);
    }

    pub(crate) fn deleting(&mut self, ids: &[MessageId]) {
        self.touch(ids, |early| early.deleting = true, |message| message.deleting = true);
    }

    pub(crate) fn deleted(&mut self, ids: &[MessageId]) {
        self.touch(ids, |early| early.deleted = true, |message| message.deleted = true);
    }

    pub(crate) fn expiring(&mut self, ids: &[MessageId], expiry: Time, later: bool) {
        if later {
            self.touch(
                ids,
                |early| early.extend = early.extend.max(expiry),
                |message| message.gone_after = message.gone_after.max(expiry),
            );
        } else {
            self.touch(
                ids,
                |early| early.shorten = early.shorten.min(expiry),
                |message| message.keep_until = message.keep_until.min(expiry),
            );
        }
    }

    fn touch(
        &mut self,
        ids: &[MessageId],
        early: impl Fn(&mut Early),
        known: impl Fn(&mut Message),
    ) {
        for id in ids {
            early(self.early.entry(*id).or_insert(Early::NONE));
            if let Some(message) = self.messages.get_mut(id) {
                known(message);
            }
        }
    }
}

impl Early {
    const NONE: Self =
        Self { shorten: Time::MAX, extend: Time::ZERO, deleting: false, deleted: false };
}
