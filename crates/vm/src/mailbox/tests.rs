//! One mailbox over a store in memory, with persons whose signatures cost nothing.

mod channel;
mod compat;
mod conversation;
mod message;
mod model;
mod restart;

use std::collections::BTreeMap;

use session_core::{AccountId, ConversationId, Digest, Domain, Encode, SeededEntropy, Span, Time};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_storage::MemoryStore;

use super::signed::{Action, SignedAction, message_bytes};
use super::*;

const START: Time = Time::from_millis(1_700_000_000_000);
const TTL: Span = Span::from_secs(3600);
const RETENTION: Span = Span::from_secs(7200);

fn config() -> Config {
    Config {
        session_ttl: TTL,
        retention: RETENTION,
        messages_max: 5,
        channels_max: 2,
        scope: Digest::from([7; 32]),
        ..Config::default()
    }
}

fn person(number: u64) -> FakeIdentity {
    FakeIdentity::generate(&mut SeededEntropy::new(1000 + number))
}

fn account(person: &FakeIdentity) -> AccountId {
    person.public().account_id()
}

fn invite(person: &FakeIdentity) -> Invitation {
    let kem = person.public().kem().clone();
    Invitation { account: account(person), kem, signing: None }
}

fn introduce(person: &FakeIdentity) -> Invitation {
    Invitation { signing: Some(person.public().dsa().clone()), ..invite(person) }
}

struct World {
    store: MemoryStore,
    mailbox: Mailbox,
    rng: SeededEntropy,
    now: Time,
    events: Vec<Event>,
    config: Config,
}

impl World {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let mut store = MemoryStore::new(1);
        let (mailbox, report) = Mailbox::load(config.clone(), &mut store, START).expect("loads");
        assert_eq!(report, LoadReport::default());
        let rng = SeededEntropy::new(1);
        Self { store, mailbox, rng, now: START, events: Vec::new(), config }
    }

    /// Calls the mailbox with the doors it needs, as the shell does.
    fn call<T>(&mut self, call: impl FnOnce(&mut Mailbox, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: self.now,
            store: &mut self.store,
            rng: &mut self.rng,
            effects: &mut self.events,
        };
        call(&mut self.mailbox, &mut cx)
    }

    fn reload(&mut self) -> LoadReport {
        let loaded = Mailbox::load(self.config.clone(), &mut self.store, self.now);
        let (mailbox, report) = loaded.expect("loads");
        self.mailbox = mailbox;
        report
    }

    fn tick(&mut self) {
        self.call(|mailbox, cx| mailbox.tick(cx)).expect("ticks");
    }

    fn create(&mut self, participants: Vec<Invitation>) -> Result<Created, Refusal> {
        let new = NewConversation { participants, ..NewConversation::default() };
        self.call(|mailbox, cx| mailbox.create(cx, new))
    }

    /// A conversation of known persons.
    fn conversation(&mut self, people: &[&FakeIdentity]) -> ConversationId {
        let invitations = people.iter().map(|person| introduce(person)).collect();
        self.create(invitations).expect("is made").conversation
    }

    fn signed(
        &mut self,
        conversation: ConversationId,
        from: &FakeIdentity,
        counter: u64,
        text: &[u8],
    ) -> SendRequest {
        let sender = account(from);
        let bytes = message_bytes(&self.config.scope, &conversation, &sender, counter, text);
        SendRequest {
            conversation,
            sender,
            counter: Some(counter),
            ciphertext: text.to_vec(),
            signature: from.sign(Domain::ConversationMessage, &bytes, &mut self.rng),
            key: None,
        }
    }

    fn submit(&mut self, request: SendRequest) -> Result<Sent, Refusal> {
        self.call(|mailbox, cx| mailbox.send(cx, &FakeVerifier, request))
    }

    fn send(
        &mut self,
        conversation: ConversationId,
        from: &FakeIdentity,
        counter: u64,
        text: &[u8],
    ) -> Result<u64, Refusal> {
        let request = self.signed(conversation, from, counter, text);
        self.submit(request).map(|sent| sent.sequence)
    }

    fn action(
        &mut self,
        conversation: ConversationId,
        from: &FakeIdentity,
        action: Action,
    ) -> ActionRequest {
        let participant = account(from);
        let view = self.mailbox.get(&conversation, self.now);
        let expires = view.map_or(Time::ZERO, |view| view.expires());
        let scope = self.config.scope;
        let bytes = SignedAction { scope, conversation, action, participant, expires }.to_bytes();
        ActionRequest {
            conversation,
            participant,
            action,
            key: Some(from.public().dsa().clone()),
            signature: from.sign(Domain::ConversationAction, &bytes, &mut self.rng),
        }
    }

    fn act(
        &mut self,
        conversation: ConversationId,
        from: &FakeIdentity,
        action: Action,
    ) -> Result<Status, Refusal> {
        let request = self.action(conversation, from, action);
        self.call(|mailbox, cx| mailbox.act(cx, &FakeVerifier, request))
    }

    fn status(&self, conversation: ConversationId) -> Status {
        self.mailbox.get(&conversation, self.now).expect("is known").status()
    }

    fn texts(&self, conversation: ConversationId) -> BTreeMap<u64, Vec<u8>> {
        let page = self
            .mailbox
            .messages(&self.store, self.now, &conversation, None, 1000)
            .expect("is known");
        page.messages.into_iter().map(|message| (message.sequence, message.ciphertext)).collect()
    }
}

#[test]
fn every_refusal_has_its_own_name_and_the_seeds_texts() {
    let refusals = [
        Refusal::UnknownConversation,
        Refusal::Expired,
        Refusal::Closed,
        Refusal::Unauthorized(Unauthorized::Signature),
        Refusal::Replayed { expected: 1, got: 0 },
        Refusal::CounterGap { expected: 1, got: 2 },
        Refusal::Limit { field: "messages", got: 6, limit: 5 },
        Refusal::Invalid { field: "participants", why: "there are none" },
        Refusal::KeyNeeded,
        Refusal::UnknownChannel,
        Refusal::Revision { expected: 1, got: 0 },
        Refusal::Store(session_storage::StoreError::Full { needed: 1, free: 0 }),
        Refusal::Damaged { what: "message" },
    ];
    let seed: Vec<String> = refusals[..4].iter().map(ToString::to_string).collect();
    assert_eq!(seed, ["unknown session", "session expired", "session closed", "unauthorized"]);
    let names: std::collections::BTreeSet<_> = refusals.iter().map(Refusal::name).collect();
    assert_eq!(names.len(), refusals.len());
}

#[test]
fn a_configuration_is_refused_by_the_name_of_its_key() {
    let refused = |change: fn(&mut Config)| {
        let mut changed = config();
        change(&mut changed);
        Mailbox::load(changed, &mut MemoryStore::new(1), START).expect_err("is refused").to_string()
    };
    assert!(Config::default().check().is_ok());
    assert!(refused(|config| config.session_ttl = Span::ZERO).starts_with("sessionTTL is 0 ms"));
    assert!(refused(|config| config.retention = Span::from_days(9999)).contains("retentionDays"));
    assert!(refused(|config| config.messages_max = 0).contains("maxMessages is 0"));
    assert!(refused(|config| config.channels_max = u64::MAX).contains("maxChannels"));
    assert!(refused(|config| config.conversations_max = 0).contains("maxConversations"));
    assert!(refused(|config| config.people_max = 0).contains("maxPeople"));
    assert!(refused(|config| config.id_prefix = "05".to_owned()).contains("idPrefix is \"05\""));
}
