//! Devices, and the swarm between them, in one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use session_core::{
    AccountId, Blob, Context, Digest, InboxAddress, MessageId, SeededEntropy, Time,
};
use session_messaging::Secret;
use session_messaging::account::Setup;
use session_messaging::messenger::api::{
    Answer, Command, Effect, Event, Input, NetFailure, Source, Stored, Target,
};
use session_messaging::messenger::{Config, Messenger};
use session_messaging::say::Peer;
use session_messaging::vault::{MemoryVault, Vault};
use session_protocol::inbox::{COMMITS, message_id, slot_of};
use session_protocol::membership::network_id;
use session_protocol::request::Item;
use session_sdk::vault::{FileVault, KEY_FILE, VaultKey};

/// A day, far from midnight.
pub(crate) const BEGIN: Time = Time::from_millis(1_800_000_000_000);

pub(crate) const VAULT: &str = "bench.vault";

/// Bytes of a promise of a swarm, about what seven signatures and their paths take.
const PROOF: usize = 25_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    File,
}

/// A vault of either kind.
pub(crate) enum Store {
    Memory(MemoryVault),
    File(Box<FileVault>),
}

impl Store {
    pub(crate) fn open(kind: Kind, home: &Path) -> Self {
        if kind == Kind::Memory {
            return Self::Memory(MemoryVault::new());
        }
        let key = home.join(KEY_FILE);
        let key =
            if key.exists() { VaultKey::read(&key, None) } else { VaultKey::create(&key, None) };
        let vault = FileVault::open(&home.join(VAULT), key.expect("a key")).expect("a vault");
        Self::File(Box::new(vault))
    }

    pub(crate) fn vault(&self) -> &dyn Vault {
        match self {
            Self::Memory(vault) => vault,
            Self::File(vault) => &**vault,
        }
    }

    pub(crate) fn transaction<T>(&mut self, work: impl FnOnce(&mut dyn Vault) -> T) -> T {
        match self {
            Self::Memory(vault) => work(vault),
            Self::File(vault) => {
                vault.begin().expect("a transaction begins");
                let result = work(&mut **vault);
                vault.commit().expect("and is durable");
                result
            }
        }
    }
}

/// Makes an account.
pub(crate) fn create(vault: &mut dyn Vault, number: usize) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let setup = Setup {
        seed: Secret::from(seed),
        network: network_id("bench"),
        device_name: "laptop".into(),
        restored: false,
    };
    let mut rng = SeededEntropy::new(number as u64);
    Messenger::create(vault, &mut rng, BEGIN, &setup).expect("an account");
}

/// A device.
pub(crate) struct Device {
    store: Store,
    messenger: Messenger,
    rng: SeededEntropy,
    watched: BTreeMap<InboxAddress, Source>,
    /// How many items of each mailbox were handed over.
    seen: BTreeMap<InboxAddress, usize>,
    answers: BTreeMap<u64, Answer>,
    shown: BTreeSet<u64>,
    commands: u64,
    /// Items stored, by size, and bytes read.
    stored: BTreeMap<usize, usize>,
    read: usize,
}

impl Device {
    pub(crate) fn open(kind: Kind, home: &Path) -> Self {
        Self::of(Store::open(kind, home), 99)
    }

    fn of(store: Store, seed: u64) -> Self {
        let messenger = Messenger::open(store.vault(), Config::default()).expect("an account");
        Self {
            store,
            messenger,
            rng: SeededEntropy::new(seed),
            watched: BTreeMap::new(),
            seen: BTreeMap::new(),
            answers: BTreeMap::new(),
            shown: BTreeSet::new(),
            commands: 0,
            stored: BTreeMap::new(),
            read: 0,
        }
    }

    pub(crate) fn vault(&self) -> &dyn Vault {
        self.store.vault()
    }

    pub(crate) fn account(&self) -> AccountId {
        self.messenger.account()
    }

    /// Messages of others that were shown.
    pub(crate) fn shown(&self) -> usize {
        self.shown.len()
    }

    /// Does commands in one transaction.
    pub(crate) fn say(&mut self, now: Time, commands: Vec<Command>) -> Vec<Effect> {
        let first = self.commands + 1;
        self.commands += commands.len() as u64;
        let inputs = (first..).zip(commands);
        self.handle(now, inputs.map(|(id, command)| Input::Command { id, command }).collect())
    }

    /// Handles inputs and what is due, in one transaction.
    pub(crate) fn handle(&mut self, now: Time, inputs: Vec<Input>) -> Vec<Effect> {
        let Self { store, messenger, rng, .. } = self;
        let mut effects = Vec::new();
        store.transaction(|vault| {
            for input in inputs {
                messenger
                    .handle(&mut Context { now, store: vault, rng, effects: &mut effects }, input);
            }
            for _ in 0..100 {
                if messenger.deadline(vault).is_none_or(|due| due > now) {
                    return;
                }
                messenger.tick(&mut Context { now, store: vault, rng, effects: &mut effects });
            }
            panic!("what is due stays due");
        });
        effects
    }
}

/// What the swarm holds.
#[derive(Default)]
pub(crate) struct Post {
    boxes: BTreeMap<InboxAddress, Vec<Item>>,
    ids: BTreeSet<MessageId>,
    slots: BTreeMap<(InboxAddress, Digest), MessageId>,
}

impl Post {
    fn store(&mut self, now: Time, to: &Target, data: &[u8]) -> Result<MessageId, NetFailure> {
        let address = to.rule.address();
        let id = message_id(&address, to.namespace, data);
        if to.namespace == COMMITS {
            let slot = slot_of(data).expect("a slot");
            if *self.slots.entry((address, slot)).or_insert(id) != id {
                return Err(NetFailure::SlotTaken);
            }
        }
        if self.ids.insert(id) {
            let items = self.boxes.entry(address).or_default();
            let arrival = items.len() as u64 + 1;
            let data = Blob::new(data).expect("an item");
            let (namespace, timestamp) = (to.namespace, now);
            items.push(Item { id, namespace, timestamp, expiry: Time::MAX, arrival, data });
        }
        Ok(id)
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) devices: Vec<Device>,
    post: Post,
    /// What a device is told next.
    inputs: Vec<Vec<Input>>,
}

impl World {
    pub(crate) fn new(post: Post) -> Self {
        Self { now: BEGIN, devices: Vec::new(), post, inputs: Vec::new() }
    }

    /// Makes a device with an account of its own.
    pub(crate) fn join(&mut self, number: usize, kind: Kind, home: &Path) -> usize {
        let home = home.join(number.to_string());
        let home = if number == 1 { home.parent().expect("it has one") } else { &home };
        if kind == Kind::File {
            std::fs::create_dir_all(home).expect("a directory");
        }
        let mut store = Store::open(kind, home);
        store.transaction(|vault| create(vault, number));
        self.devices.push(Device::of(store, number as u64));
        self.inputs.resize_with(self.devices.len(), Vec::new);
        self.devices.len() - 1
    }

    pub(crate) fn peer(&self, who: usize) -> Peer {
        Peer::Account { account: self.devices[who].account() }
    }

    /// Gives a command and runs until nothing moves.
    pub(crate) fn order(&mut self, who: usize, command: Command) -> Answer {
        let effects = self.devices[who].say(self.now, vec![command]);
        self.keep(who, effects);
        self.run();
        let device = &mut self.devices[who];
        device.answers.remove(&device.commands).expect("every command is answered")
    }

    /// Runs until nothing moves any more.
    pub(crate) fn run(&mut self) {
        loop {
            let mut moved = false;
            for who in 0..self.devices.len() {
                let mut inputs = std::mem::take(&mut self.inputs[who]);
                inputs.extend(self.arrived(who));
                let device = &mut self.devices[who];
                let due = device.messenger.deadline(device.store.vault());
                if inputs.is_empty() && due.is_none_or(|due| due > self.now) {
                    continue;
                }
                moved = true;
                let effects = device.handle(self.now, inputs);
                self.keep(who, effects);
            }
            if !moved {
                return;
            }
        }
    }

    /// Does what a device ordered, and keeps what it is told of it for later.
    pub(crate) fn keep(&mut self, who: usize, effects: Vec<Effect>) {
        let inputs = self.post(who, effects);
        self.inputs[who].extend(inputs);
    }

    /// Does what a device ordered.
    pub(crate) fn post(&mut self, who: usize, effects: Vec<Effect>) -> Vec<Input> {
        let Self { now, devices, post, .. } = self;
        let device = &mut devices[who];
        let mut inputs = Vec::new();
        for effect in effects {
            match effect {
                Effect::Store { id, to, ttl, data } => {
                    *device.stored.entry(data.len()).or_default() += 1;
                    let outcome = post.store(*now, &to, &data).map(|item| Stored {
                        item,
                        expiry: *now + ttl,
                        good: 7,
                        needed: 7,
                        of: 10,
                        proof: vec![0; PROOF],
                    });
                    inputs.push(Input::Stored { id, outcome });
                }
                Effect::Read { id, from } => {
                    let items = post.boxes.get(&from.rule.address()).into_iter().flatten();
                    let items: Vec<_> =
                        items.filter(|it| it.namespace == from.namespace).cloned().collect();
                    device.read += items.iter().map(|it| it.data.len()).sum::<usize>();
                    inputs.push(Input::Read { id, outcome: Ok(items) });
                }
                Effect::Watch { sources } => device.watched = sources,
                Effect::Answer { id, result } => {
                    device.answers.insert(id, result.expect("nothing is refused"));
                }
                Effect::Event(Event::Changed { places, alert: true, .. }) => {
                    device.shown.extend(places);
                }
                _ => {}
            }
        }
        inputs
    }

    /// Returns what is new in the mailboxes that a device watches.
    pub(crate) fn arrived(&mut self, who: usize) -> Vec<Input> {
        let device = &mut self.devices[who];
        let mut inputs = Vec::new();
        for (address, source) in &device.watched {
            let Some(items) = self.post.boxes.get(address) else { continue };
            let seen = device.seen.entry(*address).or_default();
            let fresh = items[*seen..].iter().filter(|it| it.namespace == source.namespace);
            let fresh: Vec<_> = fresh.cloned().collect();
            *seen = items.len();
            if !fresh.is_empty() {
                device.read += fresh.iter().map(|it| it.data.len()).sum::<usize>();
                inputs.push(Input::Arrived { address: *address, items: fresh });
            }
        }
        inputs
    }

    pub(crate) fn clear_sizes(&mut self) {
        for device in &mut self.devices {
            device.stored.clear();
            device.read = 0;
        }
    }

    /// Returns how many items of which size a device stored.
    pub(crate) fn sizes(&self, who: usize) -> String {
        let stored = &self.devices[who].stored;
        let all: usize = stored.iter().map(|(size, count)| size * count).sum();
        let each = stored.iter().map(|(size, count)| format!("{count} × {size}"));
        format!("{all} ({})", each.collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn reads(&self, who: usize) -> usize {
        self.devices[who].read
    }
}
