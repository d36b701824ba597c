//! The swarm and the devices.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_core::{
    AccountId, Context, Digest, Encode as _, Entropy as _, InboxAddress, List, SeededEntropy, Span,
    Text, Time,
};
use session_protocol::inbox::{BOXES, COMMITS, message_id, slot_of};
use session_protocol::request::{Item, ItemBytes};

use super::super::state::{Aside, Stamp, State};
use super::super::{
    Agreed, Author, Groups, Heard, Inviter, Kind, Listing, Package, Rotation, Welcome, Wish, adds,
    epoch, roster,
};
use crate::Cx;
use crate::messenger::api::{Effect, Error, NetFailure, Source, Stored, Target, Warning};
use crate::mls::{Change, Credential, DeviceKey, Doors, KeyAgreement as _, OpenMls};
use crate::outbox::{Outbox, Purpose};
use crate::say::{Disappear, GroupId};
use crate::secret::Secret;
use crate::vault::MemoryVault;

pub(super) const DAY: Span = Span::from_days(1);
pub(super) const TTL: Span = Span::from_days(14);

/// Of a commit that says it was made earlier than every honest one.
pub(super) fn early(slot: u32) -> Aside {
    Aside { stamp: Stamp { slot, made: Time::ZERO }, asked: None }
}

pub(super) fn account(number: u8) -> AccountId {
    AccountId::from([number; 32])
}

/// Mailboxes that take and give without doubt, except for what a test tells them.
#[derive(Default)]
pub(super) struct Swarm {
    pub(super) items: BTreeMap<InboxAddress, Vec<Item>>,
    /// Items that nobody is shown.
    pub(super) withheld: BTreeSet<session_core::MessageId>,
    /// What of ten items is lost at first, delivered twice; whether the order is kept.
    pub(super) lossy: u64,
    pub(super) twice: u64,
    pub(super) shuffled: bool,
    /// A swarm that signs for any number of items of a slot.
    pub(super) slots_ignored: bool,
    /// What comes second to a slot is not kept.
    pub(super) drops_losers: bool,
    /// Stores nothing while this holds; no boxes; stores, and does not say so.
    pub(super) down: bool,
    pub(super) boxes_down: bool,
    pub(super) mute: bool,
    /// Does not answer when it is read.
    pub(super) unreadable: bool,
    /// Shows no boxes to those who watch: commits come first.
    pub(super) boxes_late: bool,
    /// How often it was read.
    pub(super) reads: usize,
    /// What expires before is not shown.
    now: Time,
    pub(super) stored: Vec<(InboxAddress, Item)>,
    arrivals: u64,
}

impl Swarm {
    fn store(&mut self, now: Time, to: &Target, ttl: Span, data: &ItemBytes) -> Outcome {
        if self.down || (self.boxes_down && to.namespace == BOXES) {
            return Err(NetFailure::Unreachable("nobody is there".to_owned()));
        }
        let session_protocol::inbox::AccessRule::Mailbox { writer, .. } = to.rule else {
            panic!("groups store in mailboxes only");
        };
        assert_eq!(to.write.as_ref().map(|write| write.commitment()), Some(writer));
        let address = to.rule.address();
        let id = message_id(&address, to.namespace, data);
        let items = self.items.entry(address).or_default();
        let slot = |item: &Item| item.namespace == COMMITS && slot_of(&item.data) == slot_of(data);
        let there = items.iter().any(|item| item.id == id);
        let holder = items.iter().find(|item| slot(item)).map(|item| item.id);
        let taken = to.namespace == COMMITS && holder.is_some_and(|holder| holder != id);
        let dropped = taken && self.drops_losers;
        if !(there || dropped) {
            self.arrivals += 1;
            let (namespace, arrival) = (to.namespace, self.arrivals);
            let (timestamp, expiry, data) = (now, now + ttl, data.clone());
            let item = Item { id, namespace, timestamp, expiry, arrival, data };
            items.push(item.clone());
            self.stored.push((address, item));
        }
        if taken && !self.slots_ignored {
            return Err(NetFailure::SlotTaken);
        }
        if self.mute {
            return Err(NetFailure::Unreachable("the answer is lost".to_owned()));
        }
        let expiry = now + ttl;
        Ok(Stored { item: id, expiry, good: 5, needed: 4, of: 5, proof: Vec::new() })
    }

    pub(super) fn read(&self, from: &Source) -> Vec<Item> {
        let session_protocol::inbox::AccessRule::Mailbox { reader, .. } = from.rule else {
            panic!("groups read mailboxes only");
        };
        assert_eq!(from.read.as_ref().map(|read| read.commitment()), Some(reader));
        let items = self.items.get(&from.rule.address()).into_iter().flatten();
        let shown = |item: &&Item| {
            let there = item.namespace == from.namespace && item.expiry > self.now;
            there && !self.withheld.contains(&item.id)
        };
        items.filter(shown).cloned().collect()
    }
}

type Outcome = Result<Stored, NetFailure>;

/// One device.
pub(super) struct Device {
    pub(super) vault: MemoryVault,
    pub(super) groups: Groups,
    pub(super) outbox: Outbox,
    seed: Secret,
    pub(super) key: DeviceKey,
    pub(super) credential: Credential,
    rng: SeededEntropy,
    effects: VecDeque<Effect>,
    seen: BTreeSet<(InboxAddress, session_core::MessageId)>,
    pub(super) heard: Vec<Heard>,
    pub(super) said: Vec<(GroupId, AccountId, String)>,
    /// What its shell does not get through to: effects wait.
    pub(super) offline: bool,
    /// Nothing arrives.
    pub(super) blind: bool,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) swarm: Swarm,
    pub(super) devices: Vec<Device>,
    pub(super) rng: SeededEntropy,
    /// Welcomes on their way; in a real network, introductions.
    welcomes: VecDeque<(Inviter, Welcome)>,
    /// Whether accounts confirm their devices when asked.
    pub(super) confirms: bool,
    /// Whether somebody lets a lost device in again.
    pub(super) readds: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Time::ZERO + Span::from_days(20_000) + Span::from_secs(12 * 3600),
            swarm: Swarm::default(),
            devices: Vec::new(),
            rng: SeededEntropy::new(seed),
            welcomes: VecDeque::new(),
            confirms: true,
            readds: false,
        }
    }

    /// Adds a device of an account; returns its number.
    pub(super) fn device(&mut self, of: u8) -> usize {
        let seed = Secret::generate(&mut self.rng);
        let key = DeviceKey::from_seed(&seed);
        let (account, device, manifest) = (account(of), key.id(), Digest::default());
        let credential = Credential { account, device, manifest, again: None };
        let vault = MemoryVault::new();
        self.devices.push(Device {
            groups: Groups::open(&vault, self.now),
            outbox: Outbox::certain(&vault),
            vault,
            seed,
            key,
            credential,
            rng: SeededEntropy::from_bytes(self.rng.bytes32()),
            effects: VecDeque::new(),
            seen: BTreeSet::new(),
            heard: Vec::new(),
            said: Vec::new(),
            offline: false,
            blind: false,
        });
        self.devices.len() - 1
    }

    /// Runs one call of a device, and does with what it heard what a messenger would.
    pub(super) fn call<T>(
        &mut self,
        device: usize,
        call: impl FnOnce(&mut Groups, &mut Cx<'_>, &mut Outbox, Author<'_>) -> T,
    ) -> T {
        let now = self.now;
        let it = &mut self.devices[device];
        let mut effects = Vec::new();
        let Device { vault, groups, outbox, key, credential, rng, .. } = it;
        let mut cx: Cx<'_> = Context { now, store: vault, rng, effects: &mut effects };
        let result = call(groups, &mut cx, outbox, Author { key, credential });
        it.effects.extend(effects);
        result
    }

    fn listen(&mut self, device: usize, heard: Vec<Heard>) {
        for heard in heard {
            match &heard {
                Heard::Said { group, author, said, .. } => {
                    let said = String::from_utf8(said.clone()).unwrap();
                    self.devices[device].said.push((*group, *author, said));
                }
                Heard::Welcome(welcome) => {
                    let from = self.inviter(device);
                    self.welcomes.push_back((from, (**welcome).clone()));
                }
                Heard::Check { account, .. } if self.confirms => {
                    let account = *account;
                    self.confirm(device, account);
                }
                Heard::Lost { group } if self.readds => self.readd(device, *group),
                _ => {}
            }
            self.devices[device].heard.push(heard);
        }
    }

    /// The keys that the manifest of an account would list.
    pub(super) fn keys_of(&self, account: AccountId) -> Vec<Digest> {
        let devices = self.devices.iter().filter(|it| it.credential.account == account);
        devices.map(|it| it.key.key_hash()).collect()
    }

    pub(super) fn confirm(&mut self, device: usize, account: AccountId) {
        let keys = self.keys_of(account);
        let listing = self.listing(keys);
        let heard = self.call(device, |groups, cx, _, me| groups.known(cx, me, &account, &listing));
        self.listen(device, heard);
    }

    /// The manifest of an account that every leaf names, with these devices.
    pub(super) fn listing(&self, keys: Vec<Digest>) -> Listing {
        Listing { keys, made: self.now, seen: vec![Digest::default()] }
    }

    pub(super) fn readd(&mut self, device: usize, group: GroupId) {
        let package = self.asks(device, group);
        let helper = (0..self.devices.len()).find(|it| {
            *it != device
                && super::super::phase(&self.devices[*it].vault, &group)
                    == Some(super::super::Phase::Member)
        });
        let helper = helper.expect("somebody is left");
        self.change(helper, group, vec![Wish::Readd { package }]).unwrap();
    }

    /// A key package as devices publish them.
    pub(super) fn package(&mut self, device: usize) -> Package {
        self.package_saying(device, self.devices[device].credential)
    }

    /// A key package with which a device asks now to be let in again.
    pub(super) fn asks(&mut self, device: usize, group: GroupId) -> Package {
        self.package_saying(device, self.devices[device].credential.again(group, self.now))
    }

    fn package_saying(&mut self, device: usize, who: Credential) -> Package {
        let it = &mut self.devices[device];
        let mut doors = Doors { vault: &mut it.vault, rng: &mut it.rng };
        let made = OpenMls::default().key_package(&mut doors, &it.key, &who);
        let account = it.credential.account;
        Package { account, bytes: session_core::Blob::new(made.unwrap().0).unwrap() }
    }

    pub(super) fn change(
        &mut self,
        device: usize,
        group: GroupId,
        wishes: Vec<Wish>,
    ) -> Result<u64, Error> {
        self.call(device, |groups, cx, _, me| groups.change(cx, me, &group, wishes))
    }

    /// Makes a group by the first device, and brings the others in.
    pub(super) fn group(&mut self, kind: Kind, devices: &[usize]) -> GroupId {
        let creator = self.devices[devices[0]].credential.account;
        let agreed = Agreed {
            version: 1,
            kind,
            name: Text::new("").unwrap(),
            admins: List::new(vec![creator]).unwrap(),
            disappear: Disappear::Never,
            history: 0,
        };
        let group = self.call(devices[0], |groups, cx, _, me| groups.create(cx, me, agreed));
        let group = group.unwrap();
        self.add(devices[0], group, &devices[1..]);
        group
    }

    pub(super) fn add(&mut self, by: usize, group: GroupId, devices: &[usize]) {
        for device in devices.iter().filter(|_| self.confirms).collect::<Vec<_>>() {
            self.confirm(by, self.devices[*device].credential.account);
        }
        let packages = devices.iter().map(|device| self.package(*device)).collect();
        self.change(by, group, adds(packages)).unwrap();
        self.settle();
        for device in devices {
            assert_eq!(self.authenticator(*device, group), self.authenticator(by, group));
        }
    }

    pub(super) fn direct(&mut self) -> (usize, usize, GroupId) {
        let (a, b) = (self.device(1), self.device(2));
        let kind = Kind::Direct { creator: account(1), other: account(2) };
        let group = self.group(kind, &[a, b]);
        (a, b, group)
    }

    /// A group of so many accounts with a device each; the first one is its admin.
    pub(super) fn many(&mut self, count: u8) -> (Vec<usize>, GroupId) {
        let devices: Vec<usize> = (1..=count).map(|number| self.device(number)).collect();
        let group = self.group(Kind::Group, &devices);
        (devices, group)
    }

    pub(super) fn say(&mut self, device: usize, group: GroupId, text: &str) {
        self.try_say(device, group, text).unwrap();
    }

    pub(super) fn try_say(
        &mut self,
        device: usize,
        group: GroupId,
        text: &str,
    ) -> Result<u32, Error> {
        self.call(device, |groups, cx, outbox, me| {
            groups.say(cx, outbox, me, &group, Purpose::Quiet, text.as_bytes(), TTL)
        })
    }

    pub(super) fn authenticator(&self, device: usize, group: GroupId) -> Option<(u64, Digest)> {
        epoch(&self.devices[device].vault, &group)
    }

    pub(super) fn texts(&self, device: usize) -> Vec<&str> {
        self.devices[device].said.iter().map(|(_, _, text)| text.as_str()).collect()
    }

    pub(super) fn count(&self, device: usize, which: impl Fn(&Heard) -> bool) -> usize {
        self.devices[device].heard.iter().filter(|heard| which(heard)).count()
    }

    pub(super) fn refusals(&self, device: usize) -> usize {
        self.count(device, |it| matches!(it, Heard::Warning(Warning::Refused { .. })))
    }

    pub(super) fn key(&self, device: usize) -> Digest {
        self.devices[device].key.key_hash()
    }

    pub(super) fn accounts(&self, device: usize, group: GroupId) -> Vec<AccountId> {
        roster(&self.devices[device].vault, &group).accounts()
    }

    /// Puts a commit into the slot of the epoch, past all checks.
    pub(super) fn publish(&mut self, device: usize, group: GroupId, message: &[u8]) {
        self.publish_in(device, group, 0, message);
    }

    /// Puts the first piece of a commit into a slot of the epoch, past all checks.
    pub(super) fn publish_in(
        &mut self,
        device: usize,
        group: GroupId,
        number: u32,
        message: &[u8],
    ) {
        let vault = &self.devices[device].vault;
        let state = super::super::state::State::load(vault, &group).unwrap();
        let commits = super::super::routes::CommitBox::of(&group, &state, state.epoch).unwrap();
        let piece = self.call(device, |_, cx, _, _| {
            let kind = super::super::seal::kind::COMMIT;
            let pieces = super::super::seal::seal_pieces(cx, &state, &commits.place, kind, message);
            pieces.unwrap()[0].to_vec()
        });
        let slot = super::super::routes::slot(&group, state.epoch, number);
        let data = ItemBytes::new([slot.as_bytes(), &piece[..]].concat()).unwrap();
        self.swarm.store(self.now, &commits.slot_target(), TTL, &data).unwrap();
    }

    /// Puts rubbish into slots of an epoch.
    pub(super) fn fill_slots(&mut self, group: GroupId, state: &State, numbers: Range<u32>) {
        let commits = super::super::routes::CommitBox::of(&group, state, state.epoch).unwrap();
        for number in numbers {
            let slot = super::super::routes::slot(&group, state.epoch, number);
            let data = ItemBytes::new([slot.as_bytes(), &[1; 1024][..]].concat()).unwrap();
            self.swarm.store(self.now, &commits.slot_target(), TTL, &data).unwrap();
        }
    }

    pub(super) fn state(&self, device: usize, group: GroupId) -> State {
        State::load(&self.devices[device].vault, &group).expect("it was in the group")
    }

    /// A commit that a device makes of the state in a vault, past all checks.
    pub(super) fn forge(
        &mut self,
        device: usize,
        group: GroupId,
        vault: &MemoryVault,
        aside: Aside,
        change: Change,
    ) -> Vec<u8> {
        let mut rng = SeededEntropy::from_bytes(self.rng.bytes32());
        let mut vault = vault.clone();
        let mut doors = Doors { vault: &mut vault, rng: &mut rng };
        let key = &self.devices[device].key;
        let change = Change { aside: aside.to_bytes(), ..change };
        OpenMls::default().commit(&mut doors, key, &group, &change).unwrap().message
    }

    pub(super) fn clone_key(&self, device: usize) -> DeviceKey {
        DeviceKey::from_seed(&self.devices[device].seed)
    }

    /// Every device of this world believes every device of another one.
    pub(super) fn trusts_everyone(&mut self, other: &World) {
        let accounts: BTreeSet<AccountId> =
            other.devices.iter().map(|it| it.credential.account).collect();
        for account in accounts {
            let listing = self.listing(other.keys_of(account));
            for device in 0..self.devices.len() {
                self.call(device, |groups, cx, _, me| groups.known(cx, me, &account, &listing));
            }
        }
        self.confirms = false;
    }

    /// The process ends and starts again: only the vault is left.
    pub(super) fn restart(&mut self, device: usize) {
        let it = &mut self.devices[device];
        it.groups = Groups::open(&it.vault, self.now);
        it.outbox = Outbox::certain(&it.vault);
        it.effects.clear();
        it.seen.clear();
    }

    pub(super) fn rotate_by(&mut self, rotation: Rotation) {
        self.devices.iter_mut().for_each(|it| it.groups.rotate_by(rotation));
    }

    /// Lets everything happen that happens without time going on for long.
    pub(super) fn settle(&mut self) {
        self.run(Span::from_secs(20));
    }

    /// Lets time go on.
    pub(super) fn run(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let mut busy = 0;
            while self.round() {
                busy += 1;
                assert!(busy < 5000, "the devices never come to rest");
            }
            let next = self.devices.iter().filter(|it| !it.offline).filter_map(|it| {
                it.groups.deadline().into_iter().chain(it.outbox.deadline()).min()
            });
            match next.min() {
                Some(next) if next <= end => self.now = next.max(self.now + Span::from_millis(1)),
                _ => break,
            }
        }
        self.now = end;
    }

    /// The network does what a device ordered.
    pub(super) fn step(&mut self, device: usize) {
        while let Some(effect) = self.devices[device].effects.pop_front() {
            self.perform(device, effect);
        }
    }

    /// Welcomes on their way do not arrive.
    pub(super) fn drop_welcomes(&mut self) {
        self.welcomes.clear();
    }

    /// Everybody does what there is to do; returns whether there was anything.
    pub(super) fn round(&mut self) -> bool {
        let mut busy = false;
        for device in 0..self.devices.len() {
            if self.devices[device].offline {
                continue;
            }
            busy |= self.tick(device);
            while let Some(effect) = self.devices[device].effects.pop_front() {
                self.perform(device, effect);
                busy = true;
            }
            if !self.devices[device].blind {
                busy |= self.deliver(device);
            }
        }
        while let Some((from, welcome)) = self.welcomes.pop_front() {
            self.introduce(from, &welcome);
            busy = true;
        }
        busy
    }

    pub(super) fn tick(&mut self, device: usize) -> bool {
        let now = self.now;
        let it = &self.devices[device];
        let due = it.groups.deadline().into_iter().chain(it.outbox.deadline());
        if !due.into_iter().any(|at| at <= now) {
            return false;
        }
        let heard = self.call(device, |groups, cx, outbox, me| {
            let heard = groups.tick(cx, outbox, me);
            outbox.fly(cx);
            heard
        });
        self.listen(device, heard);
        let it = &mut self.devices[device];
        let sources =
            it.groups.sources(&it.vault, &it.credential.account, now, now - Span::from_days(1));
        assert!(sources.len() < 1000);
        true
    }

    fn perform(&mut self, device: usize, effect: Effect) {
        match effect {
            Effect::Store { id, to, ttl, data } => {
                let lost = self.rng.below(10) < self.swarm.lossy;
                let outcome = if lost {
                    Err(NetFailure::Unreachable("lost".to_owned()))
                } else {
                    self.swarm.store(self.now, &to, ttl, &data)
                };
                self.stored(device, id, &outcome);
            }
            Effect::Read { id, from } => {
                self.swarm.now = self.now;
                self.swarm.reads += 1;
                let found = self.swarm.read(&from);
                let outcome = if self.swarm.unreadable {
                    Err(NetFailure::Unreachable("nobody answers".to_owned()))
                } else if found.is_empty() {
                    Err(NetFailure::Missing)
                } else {
                    Ok(found)
                };
                let heard = self.call(device, |groups, cx, _, me| {
                    groups.read(cx, me, id, &outcome).unwrap_or_default()
                });
                self.listen(device, heard);
            }
            other => panic!("groups do not order {other:?}"),
        }
    }

    pub(super) fn stored(&mut self, device: usize, id: u64, outcome: &Outcome) {
        let heard = self.call(device, |groups, cx, outbox, me| {
            let Some(waiting) = outbox.waiting(cx.store, id) else { return Vec::new() };
            let heard = match waiting.purpose {
                Purpose::Commit { group, epoch } => {
                    groups.commit_stored(cx, me, &group, epoch, outcome.as_ref())
                }
                _ => Vec::new(),
            };
            match outcome {
                Err(NetFailure::Unreachable(_) | NetFailure::Missing) => outbox.again(cx, id),
                Ok(_) | Err(_) => outbox.done(cx, id, waiting.batch),
            }
            heard
        });
        self.listen(device, heard);
    }

    /// Shows a device what is new in its mailboxes.
    fn deliver(&mut self, device: usize) -> bool {
        let now = self.now;
        let it = &mut self.devices[device];
        let own = it.credential.account;
        let sources = it.groups.sources(&it.vault, &own, now, now - Span::from_days(14));
        let mut new = Vec::new();
        self.swarm.now = now;
        let late = self.swarm.boxes_late;
        for (address, source) in &sources {
            if late && source.namespace == BOXES {
                continue;
            }
            for item in self.swarm.read(source) {
                if it.seen.insert((*address, item.id)) {
                    new.push((*address, item.clone()));
                    if self.rng.below(10) < self.swarm.twice {
                        new.push((*address, item));
                    }
                }
            }
        }
        if self.swarm.shuffled {
            for last in (1..new.len()).rev() {
                new.swap(last, self.rng.below(last as u64 + 1) as usize);
            }
        }
        let busy = !new.is_empty();
        for (address, item) in new {
            self.arrive(device, address, &item);
        }
        busy
    }

    pub(super) fn arrive(&mut self, device: usize, address: InboxAddress, item: &Item) {
        let heard = self.call(device, |groups, cx, _, me| groups.arrived(cx, me, &address, item));
        self.listen(device, heard);
    }

    pub(super) fn inviter(&self, device: usize) -> Inviter {
        let it = &self.devices[device];
        Inviter { account: it.credential.account, key: it.key.key_hash() }
    }

    fn introduce(&mut self, from: Inviter, welcome: &Welcome) {
        for joiner in &welcome.joiners {
            let device = self.devices.iter().position(|it| it.key.key_hash() == joiner.key);
            let device = device.expect("only devices of this world are brought in");
            let joined = self.join(device, from, welcome);
            joined.unwrap();
            let accounts = self.accounts(device, welcome.group);
            if self.confirms {
                accounts.into_iter().for_each(|account| self.confirm(device, account));
            }
        }
    }

    pub(super) fn join(
        &mut self,
        device: usize,
        from: Inviter,
        welcome: &Welcome,
    ) -> Result<super::super::Joined, super::super::JoinError> {
        let Welcome { group, welcome, tree, route, .. } = welcome;
        self.call(device, |groups, cx, _, me| {
            groups.join(cx, me, group, &from, welcome, tree, route)
        })
    }

    /// All these devices are in the same epoch of the same branch.
    #[track_caller]
    pub(super) fn agree(&self, devices: &[usize], group: GroupId) -> u64 {
        let first = self.authenticator(devices[0], group).expect("the first one is in it");
        for device in devices {
            assert_eq!(self.authenticator(*device, group), Some(first), "device {device}");
        }
        first.0
    }
}
