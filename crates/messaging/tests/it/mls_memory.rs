//! Groups that stay in memory change nothing but time: whatever becomes of a transaction, what is
//! said and agreed is the same as if every call read the vault.

use session_core::{AccountId, Digest, Entropy as _, SeededEntropy};
use session_messaging::Secret;
use session_messaging::mls::{
    Change, Credential, DeviceKey, Doors, KeyAgreement as _, OpenMls, Processed,
};
use session_messaging::say::GroupId;
use session_messaging::vault::MemoryVault;

use crate::mls::agreed;

const GROUP: GroupId = GroupId { bytes: [7; 32] };
const DEVICES: usize = 3;

/// What stays in memory.
#[derive(Clone, Copy, Debug)]
enum Memory {
    Nothing,
    /// Each device has its own.
    Own,
    /// All devices, which are in the same group, share one.
    Shared,
}

struct Device {
    key: DeviceKey,
    who: Credential,
    vault: MemoryVault,
    rng: SeededEntropy,
}

impl Device {
    fn new(number: u8) -> Self {
        let key = DeviceKey::from_seed(&Secret::from([number; 32]));
        let who = Credential {
            account: AccountId::from([number; 32]),
            device: key.id(),
            manifest: Digest::from([number; 32]),
            again: None,
        };
        let rng = SeededEntropy::new(number.into());
        Self { key, who, vault: MemoryVault::new(), rng }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Doors<'_>, &DeviceKey) -> T) -> T {
        call(&mut Doors { vault: &mut self.vault, rng: &mut self.rng }, &self.key)
    }
}

struct World {
    memory: Memory,
    kept: [OpenMls; DEVICES],
    devices: [Device; DEVICES],
    dice: SeededEntropy,
    /// What every call answered.
    log: Vec<String>,
    dropped: usize,
}

impl World {
    fn new(memory: Memory, seed: u64) -> Self {
        let mut world = Self {
            memory,
            kept: std::array::from_fn(|_| OpenMls::new()),
            devices: [1, 2, 3].map(Device::new),
            dice: SeededEntropy::new(seed),
            log: Vec::new(),
            dropped: 0,
        };
        let who = world.devices[0].who;
        world.act(0, |mls, d, key| mls.create(d, key, &who, &GROUP, &agreed(""))).unwrap();
        for new in 1..DEVICES {
            let who = world.devices[new].who;
            let package = world.act(new, |mls, d, key| mls.key_package(d, key, &who)).unwrap().0;
            let change = Change { add: vec![package], ..Change::default() };
            let made = world.act(0, |mls, d, key| mls.commit(d, key, &GROUP, &change)).unwrap();
            world.act(0, |mls, d, _| mls.merge(d, &GROUP)).unwrap();
            for old in 1..new {
                world.follow(old, &made.message);
            }
            let welcome = made.welcome.unwrap();
            world.act(new, |mls, d, _| mls.join(d, &welcome, &made.tree)).unwrap();
        }
        world
    }

    fn one_of(&mut self, many: u64) -> u64 {
        self.dice.below(many)
    }

    /// Does something in a transaction, which is dropped now and then: then it is done again.
    fn act<T: std::fmt::Debug>(
        &mut self,
        at: usize,
        call: impl Fn(&OpenMls, &mut Doors<'_>, &DeviceKey) -> T,
    ) -> T {
        loop {
            let before = self.devices[at].vault.clone();
            let new = OpenMls::new();
            let mls = match self.memory {
                Memory::Nothing => &new,
                Memory::Own => &self.kept[at],
                Memory::Shared => &self.kept[0],
            };
            let answer = self.devices[at].call(|d, key| call(mls, d, key));
            self.log.push(format!("{at}: {answer:?}"));
            if self.one_of(3) > 0 {
                return answer;
            }
            self.devices[at].vault = before;
            self.dropped += 1;
        }
    }

    fn follow(&mut self, at: usize, message: &[u8]) {
        let processed = self.act(at, |mls, d, _| mls.process(d, &GROUP, message));
        assert!(matches!(processed, Ok(Processed::Commit(_))), "{processed:?}");
        if self.one_of(3) == 0 {
            // Whatever comes between, the commit is accepted as it was processed.
            self.act(at, |mls, d, _| mls.info(&*d.vault, &GROUP));
            self.act(at, |mls, d, key| mls.encrypt(d, key, &GROUP, b"between")).unwrap();
        }
        self.act(at, |mls, d, _| mls.accept(d, &GROUP)).unwrap();
    }

    fn say(&mut self, at: usize) {
        let said = self.act(at, |mls, d, key| mls.encrypt(d, key, &GROUP, b"hello")).unwrap();
        for other in (0..DEVICES).filter(|it| *it != at) {
            let heard = self.act(other, |mls, d, _| mls.process(d, &GROUP, &said));
            assert!(matches!(heard, Ok(Processed::Said { .. })), "{heard:?}");
            let again = self.act(other, |mls, d, _| mls.process(d, &GROUP, &said));
            assert!(again.is_err(), "each message is given out once");
        }
    }

    fn rotate(&mut self, at: usize) {
        let rest = Change::default();
        let commit =
            |mls: &OpenMls, d: &mut Doors<'_>, key: &DeviceKey| mls.commit(d, key, &GROUP, &rest);
        if self.one_of(3) == 0 {
            let lost = self.act(at, commit).unwrap();
            let other = (at + 1) % DEVICES;
            self.act(other, |mls, d, _| mls.process(d, &GROUP, &lost.message)).unwrap();
            self.act(other, |mls, d, _| mls.refuse(d, &GROUP));
            self.act(at, |mls, d, _| mls.discard(d, &GROUP));
        }
        let made = self.act(at, commit).unwrap();
        self.act(at, |mls, d, _| mls.merge(d, &GROUP)).unwrap();
        for other in (0..DEVICES).filter(|it| *it != at) {
            self.follow(other, &made.message);
        }
    }

    /// Goes back to a snapshot, and forward again.
    fn back(&mut self, at: usize) {
        let made = self
            .act((at + 1) % DEVICES, |mls, d, key| mls.commit(d, key, &GROUP, &Change::default()));
        let made = made.unwrap();
        let mls = OpenMls::new();
        let before = mls.snapshot(&self.devices[at].vault, &GROUP);
        self.follow(at, &made.message);
        self.act(at, |mls, d, _| mls.restore(d, &GROUP, &before)).unwrap();
        self.act((at + 1) % DEVICES, |mls, d, _| mls.merge(d, &GROUP)).unwrap();
        for other in (0..DEVICES).filter(|it| *it != (at + 1) % DEVICES) {
            self.follow(other, &made.message);
        }
    }

    fn run(memory: Memory, seed: u64) -> Vec<String> {
        let mut world = Self::new(memory, seed);
        for _ in 0..12 {
            let at = usize::try_from(world.one_of(3)).unwrap();
            match world.one_of(6) {
                0..=2 => world.say(at),
                3 | 4 => world.rotate(at),
                _ => world.back(at),
            }
        }
        for at in 0..DEVICES {
            let export = |mls: &OpenMls, d: &mut Doors<'_>, _: &DeviceKey| {
                mls.export_once(d, &GROUP).map(|it| it.expose().to_vec())
            };
            world.act(at, export).unwrap();
        }
        let ends: Vec<_> = world
            .devices
            .iter()
            .map(|it| OpenMls::new().info(&it.vault, &GROUP).unwrap().authenticator)
            .collect();
        assert!(ends.iter().all(|it| *it == ends[0]), "all are in the same state");
        assert!(world.dropped > 0);
        world.log
    }
}

#[test]
fn what_stays_in_memory_changes_no_answer() {
    for seed in 0..4 {
        let read = World::run(Memory::Nothing, seed);
        for memory in [Memory::Own, Memory::Shared] {
            let kept = World::run(memory, seed);
            let differs = read.iter().zip(&kept).position(|(read, kept)| read != kept);
            assert_eq!(differs, None, "{memory:?}, seed {seed}");
            assert_eq!(read.len(), kept.len());
        }
    }
}

/// A key that encrypted is never used for anything else, or two messages are under one key.
#[test]
fn what_was_said_in_a_dropped_transaction_was_not_said() {
    let mut world = World::new(Memory::Own, 1);
    let [alice, bob, _] = &mut world.devices;
    let (at_alice, at_bob) = (&world.kept[0], &world.kept[1]);
    let before = alice.vault.clone();
    let lost = alice.call(|d, key| at_alice.encrypt(d, key, &GROUP, b"lost")).unwrap();
    alice.vault = before;
    let said = alice.call(|d, key| at_alice.encrypt(d, key, &GROUP, b"said")).unwrap();
    let heard = bob.call(|d, _| at_bob.process(d, &GROUP, &said));
    assert!(matches!(heard, Ok(Processed::Said { bytes, .. }) if bytes == b"said"));
    // Both are the first message of the epoch: the vault, which was put back, counts.
    assert!(bob.call(|d, _| at_bob.process(d, &GROUP, &lost)).is_err());
}
