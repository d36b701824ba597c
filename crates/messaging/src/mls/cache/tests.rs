use std::cell::RefCell;

use session_core::{AccountId, Digest, List, SeededEntropy, Text};

use super::*;
use crate::Secret;
use crate::group::{Agreed, Kind};
use crate::mls::{Change, Credential, DeviceKey, Doors, KeyAgreement as _, OpenMls};
use crate::say::Disappear;
use crate::vault::{MemoryVault, Vault};

fn group(number: usize) -> GroupId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    GroupId { bytes }
}

struct Device {
    mls: OpenMls,
    key: DeviceKey,
    vault: Watched,
    rng: SeededEntropy,
}

/// A vault that remembers the sizes of what was read and written.
#[derive(Default)]
struct Watched {
    vault: MemoryVault,
    read: RefCell<Vec<usize>>,
    written: Vec<usize>,
}

impl Vault for Watched {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let value = self.vault.get(key);
        self.read.borrow_mut().extend(value.iter().map(Vec::len));
        value
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.written.push(value.len());
        self.vault.put(key, value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.vault.remove(key);
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        self.vault.scan(prefix, from, backwards, visit);
    }
}

impl Device {
    fn new() -> Self {
        Self {
            mls: OpenMls::new(),
            key: DeviceKey::from_seed(&Secret::from([1; 32])),
            vault: Watched::default(),
            rng: SeededEntropy::new(1),
        }
    }

    fn call<T>(&mut self, call: impl FnOnce(&OpenMls, &mut Doors<'_>, &DeviceKey) -> T) -> T {
        call(&self.mls, &mut Doors { vault: &mut self.vault, rng: &mut self.rng }, &self.key)
    }

    fn create(&mut self, group: GroupId) {
        let who = Credential {
            account: AccountId::from([1; 32]),
            device: self.key.id(),
            manifest: Digest::from([1; 32]),
            again: None,
        };
        let agreed = Agreed {
            version: 1,
            kind: Kind::Group,
            name: Text::new("").unwrap(),
            admins: List::new(vec![who.account]).unwrap(),
            disappear: Disappear::Never,
            history: 0,
        };
        self.call(|mls, d, key| mls.create(d, key, &who, &group, &agreed)).unwrap();
    }

    fn say(&mut self, group: GroupId) -> (usize, usize) {
        self.vault.read.borrow_mut().clear();
        self.vault.written.clear();
        self.call(|mls, d, key| mls.encrypt(d, key, &group, b"hello")).unwrap();
        (self.vault.read.borrow().iter().sum(), self.vault.written.iter().sum())
    }

    fn kept(&self) -> Vec<GroupId> {
        self.mls.cache.entries().iter().map(|it| it.id).collect()
    }
}

#[test]
fn the_groups_used_last_stay() {
    let mut device = Device::new();
    let all: Vec<_> = (0..GROUPS_MAX + 3).map(group).collect();
    for id in &all {
        device.create(*id);
    }
    assert_eq!(device.kept(), all[3..]);
    device.say(all[3]);
    device.say(all[0]);
    let mut last = all[5..].to_vec();
    last.extend([all[3], all[0]]);
    assert_eq!(device.kept(), last, "whatever is gone is read again");
    device.call(|mls, d, _| mls.forget(d, &all[0]));
    assert_eq!(device.kept().len(), GROUPS_MAX - 1);
}

#[test]
fn a_message_reads_and_writes_little() {
    let mut device = Device::new();
    let id = group(1);
    device.create(id);
    for _ in 0..5 {
        device.call(|mls, d, key| mls.commit(d, key, &id, &Change::default())).unwrap();
        device.call(|mls, d, _| mls.merge(d, &id)).unwrap();
    }
    let whole: usize = device.vault.vault.entries().map(|(_, value)| value.len()).sum();
    device.mls = OpenMls::new();
    let (read, _) = device.say(id);
    assert!(read > whole / 2, "read anew: {read} of {whole}");
    let (read, written) = device.say(id);
    assert!(read < 500 && written < 1500, "{read} and {written} of {whole}");
    device.vault.vault.remove(&crate::mls::store::staged_key(&id.bytes));
    assert!(device.say(id).0 < 500, "which commit waits is no part of the stamp");
}

#[test]
fn a_group_without_its_stamp_is_read() {
    let mut device = Device::new();
    let id = group(1);
    device.create(id);
    let before = device.vault.vault.clone();
    device.say(id);
    device.vault.vault = before;
    assert!(device.say(id).0 > 1500, "the vault was put back");
    assert!(device.say(id).0 < 500);
    device.vault.vault = MemoryVault::new();
    assert!(device.call(|mls, d, key| mls.encrypt(d, key, &id, b"hello")).is_err());
    assert!(device.kept().is_empty());
}
