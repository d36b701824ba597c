//! Channels: named groups whose members may hold conversations under a common name.
//!
//! Whoever knows a channel's id may join it: the id is random, and telling it is inviting. What is
//! signed names the channel's revision, so that nobody can bring a member in again who has left.

use std::collections::BTreeMap;
use std::ops::Bound;

use session_core::{AccountId, ChannelId, Domain, Encode, List, Text, Time, digest};
use session_crypto::signer::Verifier;
use session_crypto::{PublicIdentity, Signature};
use session_storage::{Store, Table};

use super::check::{Check, Proved};
use super::config::{NAME_BYTES_MAX, PARTICIPANTS_MAX};
use super::error::{Refusal, Unauthorized, within};
use super::people::{People, PersonNumber};
use super::record::{ChannelRecord, ParticipantKey, PersonRecord, VERSION, key};
use super::signed::{ChannelAction, SignedChannelAction};
use super::{Cx, Event, Mailbox};

/// Channels that one call of [`Mailbox::list_channels`] returns.
const LIST_MAX: usize = 1000;

/// A signed wish about a channel.
#[derive(Clone, Debug)]
pub struct ChannelRequest {
    /// Who wishes, with both keys.
    pub member: PublicIdentity,
    /// What.
    pub action: ChannelAction,
    /// Over the bytes of a [`SignedChannelAction`] under `Domain::ChannelAction`.
    pub signature: Signature,
}

/// A wish about a channel, between preparing and applying.
#[derive(Clone, Debug)]
pub struct ChannelIntent {
    member: PublicIdentity,
    action: ChannelAction,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    id: ChannelId,
    name: Text<NAME_BYTES_MAX>,
    owner: AccountId,
    created: Time,
    revision: u64,
    members: BTreeMap<AccountId, PersonNumber>,
}

impl Channel {
    /// Returns the id.
    #[must_use]
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// Returns the name that its owner gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns who made it, who may have left since.
    #[must_use]
    pub const fn owner(&self) -> AccountId {
        self.owner
    }

    /// Returns when it was made.
    #[must_use]
    pub const fn created(&self) -> Time {
        self.created
    }

    /// Returns how often its members have changed: what the next join or leave signs.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = AccountId> + '_ {
        self.members.keys().copied()
    }

    /// Returns whether an account is a member.
    #[must_use]
    pub fn is_member(&self, account: &AccountId) -> bool {
        self.members.contains_key(account)
    }

    fn write(&self, store: &mut dyn Store, people: &People) -> Result<(), Refusal> {
        let members: Vec<_> =
            self.members.values().map(|number| people.reference(*number)).collect();
        let record = ChannelRecord {
            version: VERSION,
            name: self.name.clone(),
            created: self.created,
            revision: self.revision,
            owner: self.owner,
            members: List::new(members).expect("checked when the last one joined"),
        };
        let name = key::tagged(key::CHANNEL, self.id.as_bytes());
        Ok(store.put_record(Table::Conversation, &name, &record.to_bytes(), Time::MAX)?)
    }
}

#[derive(Debug, Default)]
pub(super) struct Channels {
    by_id: BTreeMap<ChannelId, Channel>,
    by_name: BTreeMap<(AccountId, String), ChannelId>,
}

impl Channels {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.by_id.get(id)
    }

    fn insert(&mut self, channel: Channel) {
        self.by_name.insert((channel.owner, channel.name.to_string()), channel.id);
        self.by_id.insert(channel.id, channel);
    }

    fn remove(&mut self, id: &ChannelId) {
        if let Some(channel) = self.by_id.remove(id) {
            self.by_name.remove(&(channel.owner, channel.name.to_string()));
        }
    }

    /// Takes a channel read from the store. Members that are no longer known are left out; false
    /// when none is left.
    pub(super) fn restore(
        &mut self,
        id: ChannelId,
        record: ChannelRecord,
        people: &mut People,
    ) -> bool {
        let mut members = BTreeMap::new();
        for reference in &record.members {
            if let Some(number) = people.refer_loaded(*reference) {
                members.insert(people.get(number).account, number);
            }
        }
        let some = !members.is_empty();
        if some {
            let ChannelRecord { name, created, revision, owner, .. } = record;
            self.insert(Channel { id, name, owner, created, revision, members });
        }
        some
    }
}

impl Mailbox {
    /// Checks a wish about a channel, all but the signature.
    ///
    /// # Errors
    /// When the channel is unknown or has changed, the member is in already or not at all, the
    /// owner has a channel of this name, or a limit is reached.
    pub fn prepare_channel(
        &self,
        request: ChannelRequest,
    ) -> Result<Check<ChannelIntent>, Refusal> {
        let ChannelRequest { member, action, signature } = request;
        self.check_channel(&member.account_id(), &action)?;
        let signed = SignedChannelAction {
            scope: self.config.scope,
            member: member.account_id(),
            action: action.clone(),
        };
        Ok(Check {
            domain: Domain::ChannelAction,
            message: signed.to_bytes(),
            key: member.dsa().clone(),
            signature,
            // Both keys were given, and the id is their hash.
            binding: None,
            intent: ChannelIntent { member, action },
        })
    }

    /// Does what somebody wishes of a channel. With its last member a channel is gone.
    ///
    /// # Errors
    /// As [`Mailbox::prepare_channel`], by now, or when the store fails.
    pub fn apply_channel(
        &mut self,
        cx: &mut Cx<'_>,
        proved: Proved<ChannelIntent>,
    ) -> Result<ChannelId, Refusal> {
        let ChannelIntent { member, action } = proved.intent;
        self.check_channel(&member.account_id(), &action)?;
        let channel = match action {
            ChannelAction::Create { name } => self.create_channel(cx, &member, name)?,
            ChannelAction::Join { channel, .. } => self.join(cx.store, channel, &member)?,
            ChannelAction::Leave { channel, .. } => self.leave(cx.store, channel, &member)?,
        };
        cx.effects.push(Event::Channel { channel });
        Ok(channel)
    }

    /// Prepares, verifies and applies in one call.
    ///
    /// # Errors
    /// As each of the three.
    pub fn change_channel(
        &mut self,
        cx: &mut Cx<'_>,
        verifier: &dyn Verifier,
        request: ChannelRequest,
    ) -> Result<ChannelId, Refusal> {
        let proved = self.prepare_channel(request)?.verify(verifier)?;
        self.apply_channel(cx, proved)
    }

    /// Returns a channel.
    ///
    /// # Errors
    /// [`Refusal::UnknownChannel`].
    pub fn channel(&self, id: &ChannelId) -> Result<&Channel, Refusal> {
        self.channels.get(id).ok_or(Refusal::UnknownChannel)
    }

    /// Returns up to `limit` channels, and never more than 1000, in the order of their ids.
    pub fn list_channels(
        &self,
        after: Option<ChannelId>,
        limit: usize,
    ) -> impl Iterator<Item = &Channel> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.channels.by_id.range((start, Bound::Unbounded));
        range.map(|(_, channel)| channel).take(limit.min(LIST_MAX))
    }

    fn check_channel(&self, member: &AccountId, action: &ChannelAction) -> Result<(), Refusal> {
        let at = |id: &ChannelId, got: u64| {
            let channel = self.channel(id)?;
            let expected = channel.revision;
            if got == expected { Ok(channel) } else { Err(Refusal::Revision { expected, got }) }
        };
        match action {
            ChannelAction::Create { name } => {
                if name.is_empty() {
                    return Err(Refusal::Invalid { field: "name", why: "it is empty" });
                }
                if self.channels.by_name.contains_key(&(*member, name.to_string())) {
                    let why = "its owner has a channel of this name already";
                    return Err(Refusal::Invalid { field: "name", why });
                }
                let (got, limit) = (self.channels.len() as u64 + 1, self.config.channels_max);
                if got > limit {
                    return Err(Refusal::Limit { field: "channels", got, limit });
                }
                Ok(())
            }
            ChannelAction::Join { channel, revision } => {
                let channel = at(channel, *revision)?;
                if channel.is_member(member) {
                    return Err(Refusal::Invalid { field: "member", why: "it is one already" });
                }
                within("members", channel.members.len() + 1, PARTICIPANTS_MAX)
            }
            ChannelAction::Leave { channel, revision } => {
                Unauthorized::NotAMember.unless(at(channel, *revision)?.is_member(member))
            }
        }
    }

    fn create_channel(
        &mut self,
        cx: &mut Cx<'_>,
        owner: &PublicIdentity,
        name: Text<NAME_BYTES_MAX>,
    ) -> Result<ChannelId, Refusal> {
        let drawn = digest(Domain::Channel, &[&cx.rng.bytes32(), self.config.scope.as_bytes()]);
        let id = ChannelId::from(*drawn.as_bytes());
        let number = self.known(cx.store, owner)?;
        let owner = owner.account_id();
        let members = BTreeMap::from([(owner, number)]);
        let channel = Channel { id, name, owner, created: cx.now, revision: 0, members };
        if let Err(error) = channel.write(cx.store, &self.people) {
            self.people.release(cx.store, number);
            return Err(error);
        }
        self.channels.insert(channel);
        Ok(id)
    }

    fn join(
        &mut self,
        store: &mut dyn Store,
        id: ChannelId,
        member: &PublicIdentity,
    ) -> Result<ChannelId, Refusal> {
        let mut changed = self.channel(&id)?.clone();
        let number = self.known(store, member)?;
        changed.members.insert(member.account_id(), number);
        changed.revision += 1;
        if let Err(error) = changed.write(store, &self.people) {
            self.people.release(store, number);
            return Err(error);
        }
        self.channels.insert(changed);
        Ok(id)
    }

    fn leave(
        &mut self,
        store: &mut dyn Store,
        id: ChannelId,
        member: &PublicIdentity,
    ) -> Result<ChannelId, Refusal> {
        let mut changed = self.channel(&id)?.clone();
        let number = changed.members.remove(&member.account_id());
        changed.revision += 1;
        if changed.members.is_empty() {
            store.remove_record(Table::Conversation, &key::tagged(key::CHANNEL, id.as_bytes()))?;
            self.channels.remove(&id);
        } else {
            changed.write(store, &self.people)?;
            self.channels.insert(changed);
        }
        if let Some(number) = number {
            self.people.release(store, number);
        }
        Ok(id)
    }

    /// Refers to a person whose two keys are known.
    fn known(
        &mut self,
        store: &mut dyn Store,
        identity: &PublicIdentity,
    ) -> Result<PersonNumber, Refusal> {
        let key = ParticipantKey::Kem { key: identity.kem().clone() };
        let person = PersonRecord { account: identity.account_id(), key };
        let number = self.people.acquire(store, person, self.config.people_max)?;
        if let Err(error) = self.people.learn(store, number, identity.dsa()) {
            self.people.release(store, number);
            return Err(error);
        }
        Ok(number)
    }
}
