//! Making, accepting, closing and finding conversations.

use std::collections::BTreeMap;

use session_core::{
    AccountId, ChannelId, ConversationId, Domain, Encode, List, Text, Time, digest,
};
use session_crypto::signer::Verifier;
use session_crypto::{DsaPublicKey, KemPublicKey, Signature};
use session_storage::{Store, Table};

use super::check::{Check, Proved};
use super::config::{
    METADATA_ENTRIES_MAX, METADATA_VALUE_BYTES_MAX, NAME_BYTES_MAX, PARTICIPANTS_MAX,
};
use super::error::{Refusal, Unauthorized, within};
use super::people::{People, PersonNumber, check_binding};
use super::record::{
    ConversationRecord, MemberRecord, MetadataEntry, ParticipantKey, PersonRecord, StandingRecord,
    VERSION, key,
};
use super::signed::{Action, SignedAction};
use super::table::{Entry, Extras, Member, Slot, Standing};
use super::{Cx, Event, Mailbox, Status};

/// Conversations that one call of [`Mailbox::list`] looks at.
const LIST_SCAN_MAX: usize = 10_000;
/// Conversations that one call of [`Mailbox::list`] returns.
const LIST_MAX: usize = 1000;

/// A participant of a conversation to be made.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Its id: the hash of its two keys.
    pub account: AccountId,
    /// The key that secrets for it are encapsulated to.
    pub kem: KemPublicKey,
    /// Its signing key, when it is known: then it counts as proved.
    pub signing: Option<DsaPublicKey>,
}

impl Invitation {
    /// Pairs the lists of a request, in their order.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when they have different lengths.
    pub fn pair(
        accounts: Vec<AccountId>,
        kem_keys: Vec<KemPublicKey>,
    ) -> Result<Vec<Self>, Refusal> {
        if accounts.len() != kem_keys.len() {
            let why = "each participant has one key, in the same order";
            return Err(Refusal::Invalid { field: "publicKeys", why });
        }
        let pairs = accounts.into_iter().zip(kem_keys);
        Ok(pairs.map(|(account, kem)| Self { account, kem, signing: None }).collect())
    }
}

/// A conversation to be made.
#[derive(Clone, Debug, Default)]
pub struct NewConversation {
    /// Who takes part.
    pub participants: Vec<Invitation>,
    /// The channel it belongs to: all participants must be members.
    pub channel: Option<ChannelId>,
    /// What the makers want to remember.
    pub metadata: BTreeMap<String, String>,
}

/// A conversation that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id, drawn at random.
    pub conversation: ConversationId,
    /// When it expires.
    pub expires: Time,
    /// Active when all participants came with their signing key, else pending.
    pub status: Status,
}

/// A participant's signed wish.
#[derive(Clone, Debug)]
pub struct ActionRequest {
    /// The conversation.
    pub conversation: ConversationId,
    /// Who wishes.
    pub participant: AccountId,
    /// What.
    pub action: Action,
    /// The signing key, unless it is known already.
    pub key: Option<DsaPublicKey>,
    /// Over the bytes of a [`SignedAction`] under `Domain::ConversationAction`.
    pub signature: Signature,
}

/// What a participant wishes, between preparing and applying.
#[derive(Clone, Copy, Debug)]
pub struct ActionIntent {
    conversation: ConversationId,
    member: usize,
    action: Action,
}

/// Which conversations to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListRequest {
    /// Only those of this account.
    pub participant: Option<AccountId>,
    /// Only those that stand so.
    pub status: Option<Status>,
    /// Only those behind this one in the list's order.
    pub after: Option<ConversationId>,
    /// At most this many, and never more than 1000.
    pub limit: usize,
}

/// Conversations in the order of the list, which is that of nothing in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Their ids.
    pub conversations: Vec<ConversationId>,
    /// Where to go on; `None` at the end. A page may be short, even empty, before the end.
    pub next: Option<ConversationId>,
}

/// A participant as a conversation knows it.
#[derive(Clone, Copy, Debug)]
pub struct Participant<'a> {
    /// Its id.
    pub account: AccountId,
    /// The key that secrets for it are encapsulated to.
    pub key: &'a ParticipantKey,
    /// Its signing key, once known.
    pub signing: Option<&'a DsaPublicKey>,
    /// Whether it is in.
    pub standing: Standing,
    /// The counter that its next message must have.
    pub counter: u64,
}

/// A look at one conversation.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    people: &'a People,
    entry: &'a Entry,
    status: Status,
}

impl<'a> View<'a> {
    /// Returns the id.
    #[must_use]
    pub const fn id(&self) -> ConversationId {
        self.entry.id
    }

    /// Returns the status at the time of looking.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Returns when it was made.
    #[must_use]
    pub const fn created(&self) -> Time {
        self.entry.created
    }

    /// Returns when it expires.
    #[must_use]
    pub const fn expires(&self) -> Time {
        self.entry.expires
    }

    /// Returns when a participant closed it.
    #[must_use]
    pub const fn closed(&self) -> Option<Time> {
        self.entry.closed
    }

    /// Returns the sequence number that the next message will have.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.entry.next
    }

    /// Returns whether it was made under the compatibility profile and proves nothing.
    #[must_use]
    pub const fn is_compat(&self) -> bool {
        self.entry.compat
    }

    /// Returns the channel it belongs to.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelId> {
        self.entry.extras.as_ref()?.channel
    }

    /// Returns the metadata, by key.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let entries = self.entry.extras.as_ref().map_or(&[][..], |extras| &extras.metadata);
        entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Returns the participants, in the order in which they were given.
    pub fn participants(&self) -> impl ExactSizeIterator<Item = Participant<'a>> + use<'a> {
        let people = self.people;
        self.entry.members.iter().map(move |member| {
            let person = people.get(member.person);
            Participant {
                account: person.account,
                key: &person.key,
                signing: person.signing.as_ref(),
                standing: member.standing,
                counter: member.counter,
            }
        })
    }
}

impl Entry {
    pub(super) fn status(&self, now: Time) -> Status {
        if self.closed.is_some() {
            Status::Closed
        } else if now >= self.expires {
            Status::Expired
        } else if self.invited > 0 {
            Status::Pending
        } else {
            Status::Active
        }
    }

    /// Returns what the conversation waits for in the order of deadlines.
    pub(super) const fn due(&self) -> Time {
        if self.told { self.keep_until } else { self.expires }
    }
}

impl Mailbox {
    /// Makes a conversation. Its id comes from `cx.rng` alone.
    ///
    /// # Errors
    /// When participants, metadata or channel are not in order, a signing key is not its
    /// account's, or a limit is reached.
    pub fn create(&mut self, cx: &mut Cx<'_>, new: NewConversation) -> Result<Created, Refusal> {
        check_participants(new.participants.iter().map(|invitation| invitation.account))?;
        if let Some(channel) = new.channel {
            let channel = self.channels.get(&channel).ok_or(Refusal::UnknownChannel)?;
            if !new.participants.iter().all(|invited| channel.is_member(&invited.account)) {
                return Err(Refusal::unauthorized(Unauthorized::NotAMember));
            }
        }
        for invitation in &new.participants {
            if let Some(signing) = &invitation.signing {
                check_binding(&invitation.account, &invitation.kem, signing)?;
            }
        }
        let signing = new.participants.iter().map(|invited| invited.signing.clone()).collect();
        let people = new.participants.into_iter().map(|invitation| PersonRecord {
            account: invitation.account,
            key: ParticipantKey::Kem { key: invitation.kem },
        });
        let extras = extras(new.channel, new.metadata)?;
        self.insert_new(cx, people, signing, extras, false)
    }

    /// Writes and remembers a conversation that is in order.
    pub(super) fn insert_new(
        &mut self,
        cx: &mut Cx<'_>,
        people: impl ExactSizeIterator<Item = PersonRecord>,
        signing: Vec<Option<DsaPublicKey>>,
        extras: Option<Box<Extras>>,
        compat: bool,
    ) -> Result<Created, Refusal> {
        let got = self.entries.len() as u64 + 1;
        if got > self.config.conversations_max {
            let limit = self.config.conversations_max;
            return Err(Refusal::Limit { field: "conversations", got, limit });
        }
        let mut numbers = Vec::with_capacity(people.len());
        let written = self
            .acquire_all(cx.store, people, &signing, &mut numbers)
            .and_then(|()| self.write_new(cx, &numbers, &signing, extras, compat));
        if written.is_err() {
            for number in numbers {
                self.people.release(cx.store, number);
            }
        }
        let entry = written?;
        let status = entry.status(cx.now);
        let created = Created { conversation: entry.id, expires: entry.expires, status };
        self.insert_entry(entry);
        cx.effects.push(Event::Status { conversation: created.conversation, status });
        Ok(created)
    }

    fn acquire_all(
        &mut self,
        store: &mut dyn Store,
        people: impl Iterator<Item = PersonRecord>,
        signing: &[Option<DsaPublicKey>],
        numbers: &mut Vec<PersonNumber>,
    ) -> Result<(), Refusal> {
        for (person, signing) in people.zip(signing) {
            let number = self.people.acquire(store, person, self.config.people_max)?;
            numbers.push(number);
            if let Some(signing) = signing {
                self.people.learn(store, number, signing)?;
            }
        }
        Ok(())
    }

    fn write_new(
        &self,
        cx: &mut Cx<'_>,
        numbers: &[PersonNumber],
        signing: &[Option<DsaPublicKey>],
        extras: Option<Box<Extras>>,
        compat: bool,
    ) -> Result<Entry, Refusal> {
        let drawn =
            digest(Domain::Conversation, &[&cx.rng.bytes32(), self.config.scope.as_bytes()]);
        let id = ConversationId::from(*drawn.as_bytes());
        let members = numbers.iter().zip(signing).map(|(&person, signing)| {
            // Nobody ever accepts under the compatibility profile: all are in from the start.
            let proved = compat || signing.is_some();
            let standing = if proved { Standing::Proved } else { Standing::Invited };
            Member { person, standing, counter: 0 }
        });
        let entry = new_entry(id, cx.now, &self.config, members.collect(), extras, compat);
        let value = self.conversation_record(&entry).to_bytes();
        let name = key::tagged(key::CONVERSATION, id.as_bytes());
        cx.store.put_record(Table::Conversation, &name, &value, entry.keep_until)?;
        Ok(entry)
    }

    fn conversation_record(&self, entry: &Entry) -> ConversationRecord {
        let members = entry.members.iter().map(|member| MemberRecord {
            person: self.people.reference(member.person),
            proved: member.standing == Standing::Proved,
        });
        let metadata = entry.extras.iter().flat_map(|extras| &extras.metadata);
        let metadata = metadata.map(|(key, value)| MetadataEntry {
            key: Text::new(&**key).expect("checked when it was given"),
            value: Text::new(&**value).expect("checked when it was given"),
        });
        ConversationRecord {
            version: VERSION,
            compat: entry.compat,
            created: entry.created,
            expires: entry.expires,
            keep_until: entry.keep_until,
            members: List::new(members.collect::<Vec<_>>()).expect("checked when it was made"),
            channel: entry.extras.as_ref().and_then(|extras| extras.channel),
            metadata: List::new(metadata.collect::<Vec<_>>()).expect("checked when it was made"),
        }
    }

    /// Remembers a conversation; its people are referred to already.
    pub(super) fn insert_entry(&mut self, entry: Entry) -> Slot {
        if !entry.told && entry.closed.is_none() {
            self.open += 1;
        }
        let accounts: Vec<AccountId> =
            entry.members.iter().map(|member| self.people.get(member.person).account).collect();
        let due = entry.due();
        self.entries.insert(entry, due, accounts.into_iter())
    }

    /// Checks a participant's wish, all but the signature.
    ///
    /// # Errors
    /// When the conversation is unknown or over, or the account takes no part in it. Reading is
    /// allowed for as long as the conversation is known.
    pub fn prepare_action(
        &self,
        now: Time,
        request: ActionRequest,
    ) -> Result<Check<ActionIntent>, Refusal> {
        let ActionRequest { conversation, participant, action, key, signature } = request;
        let slot = self.slot_for(&conversation, action, now)?;
        let entry = self.entries.entry(slot);
        let member = self.member(entry, &participant)?;
        let (key, binding) = self.signing_key(entry, member, key)?;
        let message = SignedAction {
            scope: self.config.scope,
            conversation,
            action,
            participant,
            expires: entry.expires,
        };
        Ok(Check {
            intent: ActionIntent { conversation, member, action },
            domain: Domain::ConversationAction,
            message: message.to_bytes(),
            key,
            signature,
            binding,
        })
    }

    /// Does what a participant wishes. Accepting twice changes nothing; reading changes nothing
    /// but that the signing key is known.
    ///
    /// # Errors
    /// When the conversation is over by now, or the store fails.
    pub fn apply_action(
        &mut self,
        cx: &mut Cx<'_>,
        proved: Proved<ActionIntent>,
    ) -> Result<Status, Refusal> {
        let ActionIntent { conversation, member, action } = proved.intent;
        let slot = self.slot_for(&conversation, action, cx.now)?;
        match action {
            Action::Accept => self.accept(cx, slot, member, &proved.key)?,
            Action::Close => self.close(cx, slot)?,
            Action::Read => {
                let person = self.entries.entry(slot).members[member].person;
                self.people.learn(cx.store, person, &proved.key)?;
            }
        }
        Ok(self.entries.entry(slot).status(cx.now))
    }

    /// Prepares, verifies and applies in one call.
    ///
    /// # Errors
    /// As each of the three.
    pub fn act(
        &mut self,
        cx: &mut Cx<'_>,
        verifier: &dyn Verifier,
        request: ActionRequest,
    ) -> Result<Status, Refusal> {
        let proved = self.prepare_action(cx.now, request)?.verify(verifier)?;
        self.apply_action(cx, proved)
    }

    /// Counts a participant as in, now that its signature over something here was verified.
    pub(super) fn accept(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
        member: usize,
        key: &DsaPublicKey,
    ) -> Result<(), Refusal> {
        let entry = self.entries.entry(slot);
        let Member { person, standing, .. } = entry.members[member];
        self.people.learn(cx.store, person, key)?;
        if standing == Standing::Accepted {
            return Ok(());
        }
        write_standing(cx.store, entry, entry.closed, Some(member))?;
        let before = entry.status(cx.now);
        let entry = self.entries.entry_mut(slot);
        entry.members[member].standing = Standing::Accepted;
        entry.invited -= u16::from(standing == Standing::Invited);
        let (conversation, status) = (entry.id, entry.status(cx.now));
        if status != before {
            cx.effects.push(Event::Status { conversation, status });
        }
        Ok(())
    }

    pub(super) fn close(&mut self, cx: &mut Cx<'_>, slot: Slot) -> Result<(), Refusal> {
        write_standing(cx.store, self.entries.entry(slot), Some(cx.now), None)?;
        let entry = self.entries.entry_mut(slot);
        entry.closed = Some(cx.now);
        self.open = self.open.saturating_sub(u64::from(!entry.told));
        let conversation = entry.id;
        cx.effects.push(Event::Status { conversation, status: Status::Closed });
        Ok(())
    }

    /// Looks at a conversation, open or over.
    ///
    /// # Errors
    /// [`Refusal::UnknownConversation`].
    pub fn get(&self, conversation: &ConversationId, now: Time) -> Result<View<'_>, Refusal> {
        let slot = self.entries.slot(conversation).ok_or(Refusal::UnknownConversation)?;
        let entry = self.entries.entry(slot);
        Ok(View { people: &self.people, entry, status: entry.status(now) })
    }

    /// Lists conversations, looking at no more than 10,000 of them in one call.
    ///
    /// # Errors
    /// [`Refusal::UnknownConversation`] when the one to go on after is no longer known.
    pub fn list(&self, now: Time, request: &ListRequest) -> Result<ListPage, Refusal> {
        let after = match &request.after {
            Some(id) => Some(self.entries.slot(id).ok_or(Refusal::UnknownConversation)?),
            None => None,
        };
        let limit = request.limit.clamp(1, LIST_MAX);
        let mut page = ListPage::default();
        let mut last = None;
        let slots = self.entries.after(after, request.participant.as_ref());
        for (looked_at, slot) in slots.enumerate() {
            if page.conversations.len() == limit || looked_at == LIST_SCAN_MAX {
                page.next = last;
                break;
            }
            let entry = self.entries.entry(slot);
            last = Some(entry.id);
            let stands = request.status.is_none_or(|status| entry.status(now) == status);
            let takes_part = request.participant.is_none_or(|account| {
                entry.members.iter().any(|member| self.people.get(member.person).account == account)
            });
            if stands && takes_part {
                page.conversations.push(entry.id);
            }
        }
        Ok(page)
    }

    /// Finds a conversation that is open, or for reading any that is known.
    fn slot_for(
        &self,
        conversation: &ConversationId,
        action: Action,
        now: Time,
    ) -> Result<Slot, Refusal> {
        if action == Action::Read {
            self.entries.slot(conversation).ok_or(Refusal::UnknownConversation)
        } else {
            self.open_slot(conversation, now)
        }
    }

    pub(super) fn open_slot(
        &self,
        conversation: &ConversationId,
        now: Time,
    ) -> Result<Slot, Refusal> {
        let slot = self.entries.slot(conversation).ok_or(Refusal::UnknownConversation)?;
        match self.entries.entry(slot).status(now) {
            Status::Pending | Status::Active => Ok(slot),
            Status::Expired => Err(Refusal::Expired),
            Status::Closed => Err(Refusal::Closed),
        }
    }

    pub(super) fn member(&self, entry: &Entry, account: &AccountId) -> Result<usize, Refusal> {
        let mut members = entry.members.iter();
        members
            .position(|member| self.people.get(member.person).account == *account)
            .ok_or(Refusal::Unauthorized(Unauthorized::NotAParticipant))
    }

    /// Returns the key that a participant's signature is checked under, and what it must hash to
    /// when it was not known before.
    pub(super) fn signing_key(
        &self,
        entry: &Entry,
        member: usize,
        given: Option<DsaPublicKey>,
    ) -> Result<(DsaPublicKey, Option<(AccountId, KemPublicKey)>), Refusal> {
        let person = self.people.get(entry.members[member].person);
        let ParticipantKey::Kem { key: kem } = &person.key else {
            return Err(Refusal::unauthorized(Unauthorized::OtherProfile));
        };
        match (&person.signing, given) {
            (Some(known), Some(given)) if *known != given => {
                Err(Refusal::unauthorized(Unauthorized::WrongKey))
            }
            (Some(known), _) => Ok((known.clone(), None)),
            (None, Some(given)) => Ok((given, Some((person.account, kem.clone())))),
            (None, None) => Err(Refusal::KeyNeeded),
        }
    }
}

fn new_entry(
    id: ConversationId,
    now: Time,
    config: &super::Config,
    members: Box<[Member]>,
    extras: Option<Box<Extras>>,
    compat: bool,
) -> Entry {
    let expires = now + config.session_ttl;
    let mut entry = Entry {
        id,
        created: now,
        expires,
        keep_until: expires + config.retention,
        closed: None,
        next: 0,
        first: 0,
        last_expiry: Time::ZERO,
        members,
        extras,
        invited: 0,
        compat,
        dirty: false,
        told: false,
    };
    entry.count_invited();
    entry
}

impl Entry {
    pub(super) fn count_invited(&mut self) {
        let invited = self.members.iter().filter(|member| member.standing == Standing::Invited);
        self.invited = u16::try_from(invited.count()).expect("at most 1000 participants");
    }
}

fn write_standing(
    store: &mut dyn Store,
    entry: &Entry,
    closed: Option<Time>,
    accepts: Option<usize>,
) -> Result<(), Refusal> {
    let accepted = (0u16..).zip(&entry.members).filter(|(index, member)| {
        member.standing == Standing::Accepted || accepts == Some(usize::from(*index))
    });
    let accepted: Vec<u16> = accepted.map(|(index, _)| index).collect();
    let accepted = List::new(accepted).expect("at most as many as there are participants");
    let record = StandingRecord { version: VERSION, closed, accepted };
    let name = key::standing(&entry.id);
    store.put_record(Table::ConversationHead, &name, &record.to_bytes(), entry.keep_until)?;
    Ok(())
}

pub(super) fn check_participants(accounts: impl Iterator<Item = AccountId>) -> Result<(), Refusal> {
    let mut accounts: Vec<AccountId> = accounts.collect();
    if accounts.is_empty() {
        return Err(Refusal::Invalid { field: "participants", why: "there are none" });
    }
    within("participants", accounts.len(), PARTICIPANTS_MAX)?;
    accounts.sort_unstable();
    if accounts.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::Invalid { field: "participants", why: "one is named twice" });
    }
    Ok(())
}

pub(super) fn extras(
    channel: Option<ChannelId>,
    metadata: BTreeMap<String, String>,
) -> Result<Option<Box<Extras>>, Refusal> {
    within("metadata", metadata.len(), METADATA_ENTRIES_MAX)?;
    for (key, value) in &metadata {
        within("metadata key", key.len(), NAME_BYTES_MAX)?;
        within("metadata value", value.len(), METADATA_VALUE_BYTES_MAX)?;
    }
    if channel.is_none() && metadata.is_empty() {
        return Ok(None);
    }
    let metadata = metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    Ok(Some(Box::new(Extras { channel, metadata })))
}
