//! Two accounts and a swarm that keeps what it is given.

mod devices;
mod first_contact;
mod manifests;
mod packages;
mod time;

use std::collections::BTreeMap;

use session_core::{
    AccountId, Encode as _, InboxAddress, MessageId, Namespace, SeededEntropy, Span, Time,
};
use session_protocol::inbox::{AccessRule, BOXES, MANIFESTS, message_id};
use session_protocol::manifest::SignedManifest;
use session_protocol::membership::network_id;
use session_protocol::request::{Item, ItemBytes};

use super::contacts::forget_contact;
use super::intro::Letter;
use super::known::is_listed;
use super::*;
use crate::Cx;
use crate::messenger::api::{Effect, Target, Warning};
use crate::mls::OpenMls;
use crate::outbox::Outbox;
use crate::vault::MemoryVault;

const NOON: Time = Time::from_millis(1_800_000_000_000);
const DAY: Span = Span::from_days(1);

/// A swarm that does as it is told, and forgets when it should.
#[derive(Default)]
struct Swarm {
    items: BTreeMap<(InboxAddress, Namespace), BTreeMap<MessageId, Item>>,
}

impl Swarm {
    fn put(&mut self, now: Time, to: &Target, ttl: Span, data: ItemBytes) {
        let address = to.rule.address();
        if let AccessRule::Mailbox { writer, .. } = to.rule {
            let write = to.write.as_ref().expect("a mailbox takes a capability");
            assert!(write.opens(&writer), "the capability is that of the mailbox");
        }
        let id = message_id(&address, to.namespace, &data);
        let (namespace, expiry) = (to.namespace, now + ttl);
        let item = Item { id, namespace, timestamp: now, expiry, arrival: 0, data };
        self.items.entry((address, namespace)).or_default().insert(id, item);
    }

    fn read(&self, now: Time, from: &Source) -> Vec<Item> {
        if let AccessRule::Mailbox { reader, .. } = from.rule {
            let read = from.read.as_ref().expect("a mailbox takes a capability");
            assert!(read.opens(&reader), "the capability is that of the mailbox");
        }
        let items = self.items.get(&(from.rule.address(), from.namespace));
        let alive = items.into_iter().flat_map(BTreeMap::values).filter(|item| now < item.expiry);
        alive.cloned().collect()
    }

    fn erase(&mut self, rule: &AccessRule, ids: &[MessageId]) {
        if let Some(items) = self.items.get_mut(&(rule.address(), BOXES)) {
            items.retain(|id, _| !ids.contains(id));
        }
    }
}

/// A device with everything that belongs to it.
struct Person {
    vault: MemoryVault,
    rng: SeededEntropy,
    outbox: Outbox,
    me: Me,
}

/// All that happens at one time.
struct World {
    swarm: Swarm,
    now: Time,
    /// A mailbox, and how few items it held at any moment.
    watched: Option<(Source, usize)>,
}

impl World {
    fn new() -> Self {
        Self { swarm: Swarm::default(), now: NOON, watched: None }
    }

    /// Runs one call of a device, and everything that it orders.
    fn run<T>(
        &mut self,
        person: &mut Person,
        call: impl FnOnce(&mut Cx<'_>, &mut Outbox, &mut Me) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let Person { vault, rng, outbox, me } = person;
        let mut cx = Cx { now: self.now, store: vault, rng, effects: &mut effects };
        let result = call(&mut cx, outbox, me);
        while !effects.is_empty() {
            for effect in core::mem::take(&mut effects) {
                let mut cx = Cx { now: self.now, store: vault, rng, effects: &mut effects };
                match effect {
                    Effect::Store { id, to, ttl, data } => {
                        self.swarm.put(self.now, &to, ttl, data);
                        outbox.done(&mut cx, id, None);
                        published(&mut cx, outbox);
                    }
                    Effect::Erase { rule, ids, .. } => self.swarm.erase(&rule, &ids),
                    other => panic!("an account does not order {other:?}"),
                }
                if let Some((source, fewest)) = &mut self.watched {
                    *fewest = self.swarm.read(self.now, source).len().min(*fewest);
                }
            }
        }
        result
    }

    fn publish(&mut self, person: &mut Person, force: bool) -> Vec<Todo> {
        self.run(person, |cx, outbox, me| publish(cx, outbox, me, &OpenMls::new(), force))
    }

    /// What a swarm shows of an account.
    fn manifests(&self, account: &AccountId) -> Vec<Item> {
        self.swarm.read(self.now, &find_source(account))
    }

    /// Has a device look up an account.
    fn look_up(&self, person: &mut Person, account: &AccountId) -> Learned {
        let items = self.manifests(account);
        learn(&mut person.vault, self.now, &mut person.me, account, &items)
    }

    fn send(&mut self, letters: Vec<Letter>) {
        for Letter { to, ttl, data } in letters {
            self.swarm.put(self.now, &to, ttl, data);
        }
    }

    /// Has a device read its intro mailboxes.
    fn intros(&mut self, person: &mut Person) -> Vec<Result<Option<Incoming>, Refused>> {
        let mut results = Vec::new();
        for source in sources(&person.vault) {
            let address = source.rule.address();
            for item in self.swarm.read(self.now, &source) {
                results.push(self.run(person, |cx, _, me| {
                    arrived_intro(cx, me, &OpenMls::new(), &address, &item)
                }));
            }
        }
        results
    }
}

fn setup(seed: u8, name: &str) -> Setup {
    Setup {
        seed: Secret::from([seed; 32]),
        network: network_id("test"),
        device_name: name.to_owned(),
        restored: false,
    }
}

/// A device of a new account that has published nothing yet.
fn person(seed: u8) -> Person {
    made(seed, &setup(seed, "first"))
}

fn made(seed: u8, setup: &Setup) -> Person {
    let mut vault = MemoryVault::new();
    let mut rng = SeededEntropy::new(u64::from(seed));
    let me = create(&mut vault, &mut rng, NOON, setup).expect("the vault is empty");
    Person { outbox: Outbox::open(&vault), vault, rng, me }
}

/// Two accounts that have published, and know each other's manifest.
fn pair() -> (World, Person, Person) {
    let (mut world, mut alice, mut bob) = (World::new(), person(1), person(2));
    world.publish(&mut alice, false);
    world.publish(&mut bob, false);
    assert!(world.look_up(&mut alice, &bob.me.account).new);
    assert!(world.look_up(&mut bob, &alice.me.account).new);
    (world, alice, bob)
}

fn newest(person: &Person, account: &AccountId) -> SignedManifest {
    known(&person.vault, account).expect("it was looked up")
}

/// An item as it would lie in the place of manifests.
fn shown(manifest: &SignedManifest) -> Item {
    shown_bytes(manifest.account(), manifest.to_bytes())
}

fn shown_bytes(account: AccountId, bytes: Vec<u8>) -> Item {
    let data = ItemBytes::new(bytes).expect("small enough");
    let id = message_id(&AccessRule::from(account).address(), MANIFESTS, &data);
    let expiry = NOON + Span::from_days(3000);
    Item { id, namespace: MANIFESTS, timestamp: NOON, expiry, arrival: 0, data }
}

fn publish_due(vault: &dyn Vault, me: &Me, now: Time) -> bool {
    next_due(vault, me) <= now
}

/// Whether the newest manifest that is known of an account lists a device with this key.
fn belongs(vault: &dyn Vault, who: &Credential, key_hash: &session_core::Digest) -> bool {
    known(vault, &who.account).is_some_and(|it| is_listed(&it, &who.device, key_hash))
}

fn vault_holds(person: &Person, secret: &[u8]) -> bool {
    person.vault.entries().any(|(_, value)| value.windows(secret.len()).any(|it| it == secret))
}

#[test]
fn a_device_is_the_same_after_it_was_opened_again() {
    let (mut world, mut alice, _) = pair();
    let again = open(&alice.vault).expect("it was made");
    assert_eq!(again.account, alice.me.account);
    assert_eq!(again.credential, alice.me.credential);
    assert!(again.holds_keys());
    assert_eq!(account(&alice.vault), Some(alice.me.account));
    let listed = devices(&alice.vault);
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id, listed[0].here, &*listed[0].name), (alice.me.device, true, "first"));
    // What was published and is young is not published again.
    let before = world.swarm.items.clone();
    assert!(!publish_due(&alice.vault, &alice.me, world.now));
    assert_eq!(world.publish(&mut alice, false), vec![]);
    assert_eq!(world.swarm.items, before);
}

#[test]
fn a_vault_has_one_device() {
    let mut alice = person(1);
    let error = create(&mut alice.vault, &mut alice.rng, NOON, &setup(2, "other"));
    assert!(matches!(error, Err(Error::Invalid { field: "device", .. })), "{error:?}");
    let text = new_device(&mut alice.vault, &mut alice.rng, network_id("test"), "other");
    assert!(matches!(text, Err(Error::Invalid { field: "device", .. })), "{text:?}");
    let mut vault = MemoryVault::new();
    let long = Setup { device_name: "x".repeat(65), ..setup(3, "") };
    let error = create(&mut vault, &mut alice.rng, NOON, &long);
    assert!(matches!(error, Err(Error::TooMany { got: 65, limit: 64, .. })), "{error:?}");
    assert_eq!(vault.entries().count(), 0, "nothing is left of it");
}
