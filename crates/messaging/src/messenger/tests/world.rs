//! Devices, and the swarm between them, in one thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_core::{
    AccountId, Context, Digest, InboxAddress, MessageId, SeededEntropy, Span, Text, Time,
};
use session_protocol::inbox::{AccessRule, COMMITS, MANIFESTS, message_id, slot_of};
use session_protocol::membership::network_id;
use session_protocol::request::Item;

use crate::Secret;
use crate::account::{self, Setup};
use crate::intro::{Intro, IntroBody};
use crate::messenger::api::{
    Answer, Command, Effect, Error, Event, Input, NetFailure, Source, Stored, Target,
};
use crate::messenger::{Config, Messenger};
use crate::mls::OpenMls;
use crate::say::{Peer, Say};
use crate::thread::{self, Body, Message, Summary, ThreadId};
use crate::vault::MemoryVault;

/// When tests begin: a day that is far from midnight.
pub(super) const BEGIN: Time = Time::from_millis(1_800_000_000_000);

/// A swarm.
#[derive(Default)]
pub(super) struct Post {
    pub(super) boxes: BTreeMap<InboxAddress, Vec<Item>>,
    slots: BTreeMap<(InboxAddress, Digest), MessageId>,
    /// Stores that fail, although the item may have been kept.
    pub(super) broken: bool,
}

impl Post {
    fn store(
        &mut self,
        now: Time,
        to: &Target,
        ttl: Span,
        data: &[u8],
    ) -> Result<Stored, NetFailure> {
        if self.broken {
            return Err(NetFailure::Unreachable("nobody answers".into()));
        }
        if let AccessRule::Mailbox { writer, .. } = to.rule {
            assert_eq!(to.write.as_ref().unwrap().commitment(), writer, "nodes check it");
        } else {
            assert_eq!(to.namespace, MANIFESTS);
        }
        let address = to.rule.address();
        let id = message_id(&address, to.namespace, data);
        if to.namespace == COMMITS {
            let slot = slot_of(data).unwrap();
            if *self.slots.entry((address, slot)).or_insert(id) != id {
                return Err(NetFailure::SlotTaken);
            }
        }
        let expiry = now + ttl;
        let items = self.boxes.entry(address).or_default();
        if items.iter().all(|item| item.id != id) {
            let arrival = items.len() as u64 + 1;
            let data = session_core::Blob::new(data).unwrap();
            let (namespace, timestamp) = (to.namespace, now);
            items.push(Item { id, namespace, timestamp, expiry, arrival, data });
        }
        Ok(Stored { item: id, expiry, good: 7, needed: 7, of: 10, proof: vec![1, 2, 3] })
    }

    pub(super) fn read(&self, source: &Source, now: Time) -> Vec<Item> {
        if let AccessRule::Mailbox { reader, .. } = source.rule {
            assert_eq!(source.read.as_ref().unwrap().commitment(), reader, "nodes check it");
        }
        let items = self.boxes.get(&source.rule.address()).into_iter().flatten();
        let wanted = |item: &&Item| item.namespace == source.namespace && item.expiry > now;
        items.filter(wanted).cloned().collect()
    }
}

/// A device.
pub(super) struct Device {
    pub(super) vault: MemoryVault,
    pub(super) messenger: Messenger,
    config: Config,
    watched: BTreeMap<InboxAddress, Source>,
    seen: BTreeSet<(InboxAddress, MessageId)>,
    pub(super) answers: BTreeMap<u64, Result<Answer, Error>>,
    pub(super) events: Vec<Event>,
    inputs: VecDeque<Input>,
    commands: u64,
    caught_up: Option<Time>,
    /// Whether it is reached and reaches anybody.
    pub(super) offline: bool,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) rng: SeededEntropy,
    pub(super) post: Post,
    pub(super) devices: Vec<Device>,
}

impl World {
    /// Makes as many accounts with one device each, all published.
    pub(super) fn new(people: usize) -> Self {
        let mut world = Self {
            now: BEGIN,
            rng: SeededEntropy::new(7),
            post: Post::default(),
            devices: Vec::new(),
        };
        for number in 0..people {
            world.join(number as u8 + 1);
        }
        world.run();
        world
    }

    pub(super) fn join(&mut self, seed: u8) -> usize {
        let mut vault = MemoryVault::new();
        let setup = Setup {
            seed: Secret::from([seed; 32]),
            network: network_id("test"),
            device_name: "laptop".into(),
            restored: false,
        };
        Messenger::create(&mut vault, &mut self.rng, self.now, &setup).unwrap();
        self.enter(vault)
    }

    /// Links another device to the account of a device that holds its keys.
    pub(super) fn link(&mut self, to: usize) -> usize {
        let mut vault = MemoryVault::new();
        let network = network_id("test");
        let request = account::new_device(&mut vault, &mut self.rng, network, "phone").unwrap();
        let name = "phone".into();
        self.order(to, Command::AddDevice { request, name }).unwrap();
        let source = account::linking(&vault).unwrap();
        let linked = self
            .post
            .read(&source, self.now)
            .iter()
            .any(|item| account::arrived_link(&mut vault, self.now, item).unwrap().is_some());
        assert!(linked);
        self.enter(vault)
    }

    pub(super) fn enter(&mut self, vault: MemoryVault) -> usize {
        let config =
            Config { receipt_delay: Span::from_secs(2), read_receipts: true, ..Config::default() };
        let messenger = Messenger::open(&vault, config.clone()).unwrap();
        self.devices.push(Device {
            vault,
            messenger,
            config,
            watched: BTreeMap::new(),
            seen: BTreeSet::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            inputs: VecDeque::new(),
            commands: 0,
            caught_up: None,
            offline: false,
        });
        self.devices.len() - 1
    }

    pub(super) fn account(&self, who: usize) -> AccountId {
        self.devices[who].messenger.account()
    }

    pub(super) fn peer(&self, who: usize) -> Peer {
        Peer::Account { account: self.account(who) }
    }

    /// Gives a command and runs until nothing moves; returns the answer.
    pub(super) fn order(&mut self, who: usize, command: Command) -> Result<Answer, Error> {
        let device = &mut self.devices[who];
        device.commands += 1;
        let id = device.commands;
        device.inputs.push_back(Input::Command { id, command });
        self.run();
        self.devices[who].answers.remove(&id).expect("every command is answered")
    }

    pub(super) fn text(&mut self, who: usize, to: Peer, text: &str) -> Result<Answer, Error> {
        let say = Say::Text { body: Text::new(text).unwrap(), reply_to: None };
        self.order(who, Command::Say { to, say })
    }

    /// Runs for a while: whatever becomes due happens at its time.
    pub(super) fn pass(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            self.run();
            let due = |it: &Device| it.messenger.deadline(&it.vault);
            let next = self.devices.iter().filter(|it| !it.offline).filter_map(due).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next) + Span::from_millis(1),
                _ => break,
            }
        }
        self.now = end;
        self.run();
    }

    /// Runs until nothing moves any more.
    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for who in 0..self.devices.len() {
                if !self.devices[who].offline {
                    moved |= self.step(who);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Runs one call of a device's machine.
    pub(super) fn call(
        &mut self,
        who: usize,
        call: impl FnOnce(&mut Messenger, &mut crate::Cx<'_>),
    ) {
        let device = &mut self.devices[who];
        let mut effects = Vec::new();
        let mut cx = Context {
            now: self.now,
            store: &mut device.vault as &mut dyn crate::vault::Vault,
            rng: &mut self.rng,
            effects: &mut effects,
        };
        call(&mut device.messenger, &mut cx);
    }

    fn step(&mut self, who: usize) -> bool {
        let device = &mut self.devices[who];
        let mut effects = Vec::new();
        let mut moved = false;
        let mut tries = 0;
        while device.messenger.deadline(&device.vault).is_some_and(|due| due <= self.now) {
            let mut cx = Context {
                now: self.now,
                store: &mut device.vault as &mut dyn crate::vault::Vault,
                rng: &mut self.rng,
                effects: &mut effects,
            };
            device.messenger.tick(&mut cx);
            moved = true;
            tries += 1;
            assert!(
                tries < 100,
                "a deadline that is not met: {:?}",
                device.messenger.deadline(&device.vault)
            );
        }
        for (address, source) in &device.watched {
            let fresh: Vec<Item> = self
                .post
                .read(source, self.now)
                .into_iter()
                .filter(|item| device.seen.insert((*address, item.id)))
                .collect();
            if !fresh.is_empty() {
                device.inputs.push_back(Input::Arrived { address: *address, items: fresh });
            }
        }
        if device.caught_up.is_none_or(|at| self.now >= at + Span::from_secs(60)) {
            device.caught_up = Some(self.now);
            device.inputs.push_back(Input::CaughtUp { at: self.now });
        }
        while let Some(input) = device.inputs.pop_front() {
            let mut cx = Context {
                now: self.now,
                store: &mut device.vault as &mut dyn crate::vault::Vault,
                rng: &mut self.rng,
                effects: &mut effects,
            };
            device.messenger.handle(&mut cx, input);
            moved = true;
        }
        for effect in effects {
            match effect {
                Effect::Store { id, to, ttl, data } => {
                    let outcome = self.post.store(self.now, &to, ttl, &data);
                    device.inputs.push_back(Input::Stored { id, outcome });
                }
                Effect::Read { id, from } => {
                    let outcome = Ok(self.post.read(&from, self.now));
                    device.inputs.push_back(Input::Read { id, outcome });
                }
                Effect::Watch { sources } => device.watched = sources,
                Effect::Erase { rule, erase, ids } => {
                    if let AccessRule::Mailbox { eraser, .. } = rule {
                        assert_eq!(erase.commitment(), eraser);
                    }
                    let items = self.post.boxes.entry(rule.address()).or_default();
                    items.retain(|item| !ids.contains(&item.id));
                }
                Effect::Answer { id, result } => drop(device.answers.insert(id, result)),
                Effect::Event(event) => device.events.push(event),
            }
        }
        moved
    }

    /// Makes a group.
    pub(super) fn group(&mut self, who: usize, name: &str, members: Vec<AccountId>) -> Peer {
        let create = Command::CreateGroup { name: name.into(), members, history: 0 };
        let Ok(Answer::Group { group, .. }) = self.order(who, create) else { panic!("not made") };
        Peer::Group { group }
    }

    /// Takes a key package that a device has published.
    pub(super) fn package_of(&mut self, who: usize) -> Vec<u8> {
        let device = &self.devices[who];
        let manifest = account::known(&device.vault, &device.messenger.account()).unwrap();
        let items = self.post.read(&account::package_source(&manifest), self.now);
        let (mut vault, now) = (MemoryVault::new(), self.now);
        let (rng, kx) = (&mut self.rng, OpenMls::new());
        account::choose_packages(&mut vault, rng, now, &manifest, &items, &kx).unwrap().remove(0).1
    }

    /// Puts an introduction into the mailbox of a device's account, as from a device whose manifest
    /// everybody can read.
    pub(super) fn slip(&mut self, to: usize, of: usize, body: IntroBody) {
        let manifest = |world: &Self, who: usize| {
            let device = &world.devices[who];
            account::known(&device.vault, &device.messenger.account()).unwrap()
        };
        let (sender, device) = (manifest(self, of), self.devices[of].messenger.device());
        let route = manifest(self, to).manifest.intro;
        let intro = Intro { version: 1, sender, device, body };
        for data in crate::intro::seal(&intro, &route, &mut self.rng).unwrap() {
            let (rule, write) = (route.rule, Some(route.write.clone()));
            let to = Target { rule, write, namespace: session_protocol::inbox::INTRODUCTIONS };
            self.post.store(self.now, &to, Span::from_days(14), &data).unwrap();
        }
        self.run();
    }

    /// Puts the vault of a device back to what it was.
    pub(super) fn put_back(&mut self, who: usize, vault: &MemoryVault) {
        self.devices[who].vault = vault.clone();
        self.devices[who].seen.clear();
        self.restart(who);
    }

    /// Kills a device and starts it again from its vault.
    pub(super) fn restart(&mut self, who: usize) {
        let device = &mut self.devices[who];
        device.messenger = Messenger::open(&device.vault, device.config.clone()).unwrap();
        device.inputs.clear();
        device.watched.clear();
        device.caught_up = None;
    }

    pub(super) fn threads(&self, who: usize) -> Vec<Summary> {
        thread::threads(&self.devices[who].vault)
    }

    pub(super) fn thread(&self, who: usize, peer: &Peer) -> ThreadId {
        thread::thread_of(&self.devices[who].vault, peer).expect("a thread")
    }

    pub(super) fn messages(&self, who: usize, peer: &Peer) -> Vec<Message> {
        let thread = self.thread(who, peer);
        thread::messages(&self.devices[who].vault, thread, None, 1000)
    }

    /// Returns the texts of a thread, in the order in which they are shown.
    pub(super) fn texts(&self, who: usize, peer: &Peer) -> Vec<String> {
        let texts = self.messages(who, peer).into_iter().filter_map(|message| match message.body {
            Body::Text { body } => Some(body.to_string()),
            _ => None,
        });
        texts.collect()
    }

    pub(super) fn warnings(&self, who: usize) -> Vec<String> {
        let warning = |event: &Event| match event {
            Event::Warning(warning) => Some(warning.to_string()),
            _ => None,
        };
        self.devices[who].events.iter().filter_map(warning).collect()
    }
}
