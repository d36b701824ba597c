//! Key agreement between devices, as networks and enemies may treat it.

use session_core::{AccountId, Digest, Domain, List, SeededEntropy, Text, digest};
use session_messaging::Secret;
use session_messaging::group::{Agreed, Kind};
use session_messaging::mls::{
    AGREED_EXTENSION, CHAIN_COMPONENT, Change, Credential, DeviceKey, Doors, EpochInfo,
    KeyAgreement as _, Made, MlsError, OpenMls, PAST_EPOCHS, Processed, SUITE, Summary, TOLERANCE,
    Welcomed,
};
use session_messaging::say::{Disappear, GroupId};
use session_messaging::vault::MemoryVault;

/// One for all devices of all tests, which use the same group id.
static MLS: OpenMls = OpenMls::new();
const GROUP: GroupId = GroupId { bytes: [7; 32] };

pub(crate) fn agreed(name: &str) -> Agreed {
    Agreed {
        version: 1,
        kind: Kind::Group,
        name: Text::new(name).unwrap(),
        admins: List::new(vec![AccountId::from([1; 32])]).unwrap(),
        disappear: Disappear::Never,
        history: 0,
    }
}

/// A device with a vault of its own.
#[derive(Clone)]
struct Device {
    number: u8,
    who: Credential,
    vault: MemoryVault,
    rng: SeededEntropy,
}

impl Device {
    fn new(number: u8) -> Self {
        let who = Credential {
            account: AccountId::from([number; 32]),
            device: key(number).id(),
            manifest: Digest::from([number; 32]),
            again: None,
        };
        let rng = SeededEntropy::new(number.into());
        Self { number, who, vault: MemoryVault::new(), rng }
    }

    fn key(&self) -> DeviceKey {
        key(self.number)
    }

    fn doors(&mut self) -> Doors<'_> {
        Doors { vault: &mut self.vault, rng: &mut self.rng }
    }

    fn package(&mut self) -> (Vec<u8>, Digest) {
        let (key, who) = (self.key(), self.who);
        MLS.key_package(&mut self.doors(), &key, &who).unwrap()
    }

    fn create(&mut self) {
        let (key, who) = (self.key(), self.who);
        MLS.create(&mut self.doors(), &key, &who, &GROUP, &agreed("")).unwrap();
    }

    fn commit(&mut self, change: &Change) -> Made {
        let key = self.key();
        MLS.commit(&mut self.doors(), &key, &GROUP, change).unwrap()
    }

    fn merge(&mut self) {
        MLS.merge(&mut self.doors(), &GROUP).unwrap();
    }

    fn process(&mut self, message: &[u8]) -> Result<Processed, MlsError> {
        let before = self.vault.clone();
        let result = MLS.process(&mut self.doors(), &GROUP, message);
        if result.is_err() {
            assert!(before.entries().eq(self.vault.entries()), "a refusal changes nothing");
        }
        result
    }

    fn follow(&mut self, message: &[u8]) -> Summary {
        let Processed::Commit(summary) = self.process(message).unwrap() else {
            panic!("a commit was sent")
        };
        MLS.accept(&mut self.doors(), &GROUP).unwrap();
        summary
    }

    fn join(&mut self, made: &Made) -> Result<Welcomed, MlsError> {
        let before = self.vault.clone();
        let welcome = made.welcome.as_ref().unwrap();
        let result = MLS.join(&mut self.doors(), welcome, &made.tree);
        if result.is_err() {
            assert!(before.entries().eq(self.vault.entries()), "a refusal changes nothing");
        }
        result
    }

    fn say(&mut self, text: &str) -> Vec<u8> {
        let key = self.key();
        MLS.encrypt(&mut self.doors(), &key, &GROUP, text.as_bytes()).unwrap()
    }

    fn hear(&mut self, message: &[u8]) -> Result<(u32, String), MlsError> {
        match self.process(message)? {
            Processed::Said { leaf, bytes, .. } => Ok((leaf, String::from_utf8(bytes).unwrap())),
            other => panic!("{other:?} was not said"),
        }
    }

    fn info(&self) -> EpochInfo {
        MLS.info(&self.vault, &GROUP).unwrap()
    }

    fn rotate(&mut self) -> Made {
        self.commit(&Change::default())
    }

    fn export(&mut self, label: &str) -> Secret {
        MLS.export(&mut self.doors(), &GROUP, label).unwrap()
    }
}

fn key(number: u8) -> DeviceKey {
    DeviceKey::from_seed(&Secret::from([number; 32]))
}

fn adding(package: Vec<u8>) -> Change {
    Change { add: vec![package], ..Change::default() }
}

fn add(by: &mut Device, others: &mut [&mut Device], new: &mut Device) -> Made {
    let made = by.commit(&adding(new.package().0));
    by.merge();
    for other in others {
        other.follow(&made.message);
    }
    new.join(&made).unwrap();
    made
}

fn two() -> (Device, Device) {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.create();
    add(&mut alice, &mut [], &mut bob);
    (alice, bob)
}

fn three() -> (Device, Device, Device) {
    let (mut alice, mut bob) = two();
    let mut carol = Device::new(3);
    add(&mut alice, &mut [&mut bob], &mut carol);
    (alice, bob, carol)
}

fn assert_together(devices: &[&Device]) {
    let first = devices[0].info();
    for device in devices {
        let info = device.info();
        let own = info.members.iter().find(|it| it.leaf == info.own_leaf).unwrap();
        assert_eq!((own.credential, own.key_hash), (device.who, device.key().key_hash()));
        assert_eq!(EpochInfo { own_leaf: 0, ..info }, EpochInfo { own_leaf: 0, ..first.clone() });
    }
}

#[test]
fn members_talk() {
    let (mut alice, mut bob, mut carol) = three();
    assert_together(&[&alice, &bob, &carol]);
    assert_eq!(alice.info().members.len(), 3);
    let said = bob.say("hello");
    assert_eq!(alice.hear(&said), Ok((1, "hello".to_owned())));
    assert_eq!(carol.hear(&said), Ok((1, "hello".to_owned())));
    assert_eq!(bob.hear(&said), Err(MlsError::Own));
    assert_eq!(alice.hear(&said), Err(MlsError::NotOpened), "each message once");
    assert_eq!(alice.export("x"), carol.export("x"));
    assert_ne!(alice.export("x"), carol.export("y"));
}

#[test]
fn a_commit_says_what_it_does() {
    let (mut alice, mut bob, mut carol) = three();
    let mut dave = Device::new(4);
    let change = Change {
        add: vec![dave.package().0],
        remove: vec![2],
        agreed: Some(agreed("new name")),
        aside: b"beside it".to_vec(),
    };
    let made = bob.commit(&change);
    let said = bob.say("nothing beside this");
    assert!(MLS.is_handshake(&made.message) && !MLS.is_handshake(&said));
    assert!(bob.info().pending);
    bob.merge();
    let summary = alice.follow(&made.message);
    assert_eq!((summary.by, summary.epoch, summary.removes_me), (1, 3, false));
    assert_eq!(summary.agreed, agreed("new name"));
    assert_eq!(summary.aside, b"beside it");
    assert_eq!(summary.added[0].credential, dave.who);
    assert_eq!(summary.added[0].key_hash, dave.key().key_hash());
    assert_eq!(summary.removed[0].credential, carol.who);
    assert!(carol.follow(&made.message).removes_me);
    assert_eq!(MLS.info(&carol.vault, &GROUP), None);
    let left = carol.vault.entries().filter(|(key, _)| key.starts_with(&[2, 1])).count();
    assert_eq!(left, 0, "nothing of the group stays with those who go");
    dave.join(&made).unwrap();
    assert_together(&[&alice, &bob, &dave]);
    assert_eq!(dave.info().agreed, agreed("new name"));
}

#[test]
fn the_loser_of_a_race_follows_the_winner() {
    let (mut alice, mut bob, mut carol) = three();
    let (winner, loser) = (alice.rotate(), bob.rotate());
    alice.merge();
    carol.follow(&winner.message);
    let said = alice.say("after");
    bob.follow(&winner.message);
    assert!(!bob.info().pending);
    assert_together(&[&alice, &bob, &carol]);
    assert_eq!(bob.hear(&said).unwrap().1, "after");
    assert_eq!(alice.process(&loser.message), Err(MlsError::Epoch { got: 2, current: 3 }));
    let again = bob.rotate();
    bob.merge();
    alice.follow(&again.message);
    carol.follow(&again.message);
    assert_together(&[&alice, &bob, &carol]);
}

#[test]
fn commits_wait_until_they_are_accepted() {
    let (mut alice, mut bob) = two();
    let made = alice.rotate();
    let before = bob.info();
    assert!(matches!(bob.process(&made.message), Ok(Processed::Commit(_))));
    assert!(matches!(bob.process(&made.message), Ok(Processed::Commit(_))), "as often as wanted");
    assert_eq!(bob.info(), before);
    MLS.refuse(&mut bob.doors(), &GROUP);
    assert_eq!(MLS.accept(&mut bob.doors(), &GROUP), Err(MlsError::NothingPending));
    let said = alice.say("meanwhile");
    assert_eq!(bob.hear(&said).unwrap().1, "meanwhile");
    bob.follow(&made.message);
    assert_eq!(bob.info().epoch, before.epoch + 1);
}

#[test]
fn an_own_commit_is_merged_or_discarded() {
    let (mut alice, mut bob) = two();
    let key = alice.key();
    let nothing = MLS.merge(&mut alice.doors(), &GROUP);
    assert_eq!(nothing, Err(MlsError::NothingPending));
    let first = alice.rotate();
    let second = MLS.commit(&mut alice.doors(), &key, &GROUP, &Change::default());
    assert_eq!(second, Err(MlsError::Pending));
    assert_eq!(alice.process(&first.message), Err(MlsError::Own));
    MLS.discard(&mut alice.doors(), &GROUP);
    assert!(!alice.info().pending);
    let made = alice.rotate();
    alice.merge();
    bob.follow(&made.message);
    assert_together(&[&alice, &bob]);
    MLS.discard(&mut alice.doors(), &GROUP);
    assert_together(&[&alice, &bob]);
}

#[test]
fn messages_arrive_in_any_order_within_the_window() {
    let (mut alice, mut bob) = two();
    let said: Vec<_> = (0..=TOLERANCE).map(|n| alice.say(&n.to_string())).collect();
    let (old, rest) = said.split_first().unwrap();
    for (n, message) in rest.iter().enumerate().rev() {
        assert_eq!(bob.hear(message).unwrap().1, (n + 1).to_string());
    }
    assert_eq!(bob.hear(old), Err(MlsError::NotOpened), "too old");
}

#[test]
fn messages_of_past_epochs_open_for_a_while() {
    let (mut alice, mut bob) = two();
    let said: Vec<_> = (0..2).map(|_| alice.say("late")).collect();
    for _ in 0..PAST_EPOCHS {
        let made = alice.rotate();
        alice.merge();
        bob.follow(&made.message);
    }
    let Ok(Processed::Said { epoch, author, .. }) = bob.process(&said[0]) else { panic!() };
    assert_eq!((epoch, author), (1, alice.who));
    let made = alice.rotate();
    alice.merge();
    let (last, first) = (PAST_EPOCHS as u64 + 2, 1);
    assert_eq!(alice.info().epoch, last);
    let early = alice.say("early");
    assert_eq!(bob.hear(&early), Err(MlsError::Epoch { got: last, current: last - 1 }));
    bob.follow(&made.message);
    assert_eq!(bob.hear(&said[1]), Err(MlsError::Epoch { got: first, current: last }));
    assert_eq!(bob.hear(&early).unwrap().1, "early");
}

#[test]
fn the_secret_of_an_epoch_is_had_once() {
    let (mut alice, mut bob) = two();
    let once = MLS.export_once(&mut alice.doors(), &GROUP).unwrap();
    assert_eq!(MLS.export_once(&mut bob.doors(), &GROUP).unwrap(), once);
    let again = MLS.export_once(&mut alice.doors(), &GROUP);
    assert_eq!(again, Err(MlsError::Exported));
    let made = bob.rotate();
    bob.merge();
    alice.follow(&made.message);
    let next = MLS.export_once(&mut alice.doors(), &GROUP).unwrap();
    assert_ne!(next, once);
    assert_eq!(MLS.export_once(&mut bob.doors(), &GROUP).unwrap(), next);
}

#[test]
fn leaving_is_a_wish_that_others_commit() {
    let (mut alice, mut bob, mut carol) = three();
    let key = carol.key();
    let wish = MLS.leave(&mut carol.doors(), &key, &GROUP).unwrap();
    let asked = Processed::Proposal { leaf: 2, leaves: vec![2] };
    assert_eq!(alice.process(&wish), Ok(asked.clone()));
    assert_eq!(bob.process(&wish), Ok(asked));
    let farewell = carol.say("bye");
    assert_eq!(alice.hear(&farewell).unwrap().1, "bye");
    assert_eq!(bob.hear(&farewell).unwrap().1, "bye");
    let made = bob.commit(&Change { remove: vec![2], ..Change::default() });
    bob.merge();
    alice.follow(&made.message);
    assert!(carol.follow(&made.message).removes_me);
    assert_together(&[&alice, &bob]);
}

#[test]
fn a_welcome_opens_once_and_only_in_order() {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.create();
    let (package, reference) = bob.package();
    let made = alice.commit(&adding(package));
    let welcome = made.welcome.clone().unwrap();

    let mut stranger = Device::new(3);
    stranger.package();
    assert_eq!(stranger.join(&made), Err(MlsError::NoKeyPackage));
    for length in (0..welcome.len()).step_by(97) {
        let cut = Made { welcome: Some(welcome[..length].to_vec()), ..made.clone() };
        assert!(bob.join(&cut).is_err());
    }
    for place in (0..welcome.len()).step_by(61) {
        let mut altered = welcome.clone();
        altered[place] ^= 1;
        assert!(bob.join(&Made { welcome: Some(altered), ..made.clone() }).is_err(), "{place}");
    }
    for place in (0..made.tree.len()).step_by(199) {
        let mut tree = made.tree.clone();
        tree[place] ^= 1;
        assert!(bob.join(&Made { tree, ..made.clone() }).is_err(), "{place}");
    }
    assert!(bob.join(&Made { tree: Vec::new(), ..made.clone() }).is_err());
    let welcomed = Welcomed { group: GROUP, key_package: reference, by: 0 };
    assert_eq!(bob.join(&made), Ok(welcomed));
    assert_eq!(bob.join(&made), Err(MlsError::Exists(GROUP)));
    MLS.forget(&mut bob.doors(), &GROUP);
    assert_eq!(bob.join(&made), Ok(welcomed), "until the package is forgotten");
    MLS.forget(&mut bob.doors(), &GROUP);
    MLS.forget_key_package(&mut bob.doors(), &reference);
    assert_eq!(bob.join(&made), Err(MlsError::NoKeyPackage));
    assert_eq!(bob.vault.entries().count(), 0, "nothing is left");
}

#[test]
fn cut_and_altered_messages_change_nothing() {
    let (mut alice, mut bob) = two();
    let (said, made) = (alice.say("hello"), alice.rotate());
    for message in [&said, &made.message] {
        for length in (0..message.len()).step_by(131) {
            assert!(bob.process(&message[..length]).is_err());
        }
        for place in (0..message.len()).step_by(101) {
            let mut altered = message.clone();
            altered[place] ^= 1;
            assert!(bob.process(&altered).is_err(), "byte {place}");
        }
        assert!(bob.process(&[&message[..], &[0]].concat()).is_err(), "a byte too many");
    }
    assert_eq!(bob.hear(&said).unwrap().1, "hello");
    bob.follow(&made.message);
}

#[test]
fn foreign_messages_are_named() {
    let (mut alice, mut bob) = two();
    let other = GroupId { bytes: [8; 32] };
    let said = alice.say("hello");
    assert_eq!(MLS.process(&mut bob.doors(), &other, &said), Err(MlsError::NoGroup));
    let (key, who) = (bob.key(), bob.who);
    MLS.create(&mut bob.doors(), &key, &who, &other, &agreed("")).unwrap();
    assert_eq!(MLS.process(&mut bob.doors(), &other, &said), Err(MlsError::WrongGroup));
    let twice = MLS.create(&mut bob.doors(), &key, &who, &other, &agreed(""));
    assert_eq!(twice, Err(MlsError::Exists(other)));
}

#[test]
fn a_key_package_must_be_in_order() {
    let mut bob = Device::new(2);
    let (package, reference) = bob.package();
    let read = MLS.read_key_package(&package).unwrap();
    assert_eq!(read, (bob.who, bob.key().key_hash(), reference));
    for length in (0..package.len()).step_by(257) {
        assert!(MLS.read_key_package(&package[..length]).is_err());
    }
    for place in (0..package.len()).step_by(83) {
        let mut altered = package.clone();
        altered[place] ^= 1;
        assert!(MLS.read_key_package(&altered).is_err(), "byte {place}");
    }
    bob.who.device.0[0] ^= 1;
    let (package, _) = bob.package();
    let refused = MLS.read_key_package(&package);
    assert!(matches!(refused, Err(MlsError::Refused { .. })), "{refused:?}");
}

#[test]
fn impossible_changes_are_refused() {
    let (mut alice, mut bob) = two();
    let key = alice.key();
    let mut attempt = |change: Change| {
        let before = alice.vault.clone();
        let result = MLS.commit(&mut alice.doors(), &key, &GROUP, &change);
        assert!(before.entries().eq(alice.vault.entries()), "a refusal changes nothing");
        result
    };
    for leaf in [0, 2, 77, u32::MAX >> 1, u32::MAX] {
        let result = attempt(Change { remove: vec![leaf], ..Change::default() });
        assert!(matches!(result, Err(MlsError::Refused { .. })), "{leaf}: {result:?}");
    }
    let (member, _) = bob.package();
    assert!(matches!(attempt(adding(member)), Err(MlsError::Refused { .. })), "a member again");
    assert!(matches!(attempt(adding(vec![1, 2, 3])), Err(MlsError::Malformed { .. })));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let (mut alice, mut bob, mut carol) = three();
        let (package, _) = Device::new(4).package();
        let made = alice.commit(&adding(package.clone()));
        alice.merge();
        bob.follow(&made.message);
        carol.follow(&made.message);
        let said = carol.say("hello");
        (package, made, said, bob.info())
    };
    let first = run();
    assert_eq!(first, run());
    let mut other = Device::new(4);
    other.rng = SeededEntropy::new(99);
    assert_ne!(other.package().0, first.0);
}

#[test]
fn a_snapshot_goes_back() {
    let (mut alice, mut bob) = two();
    let snapshot = MLS.snapshot(&bob.vault, &GROUP);
    let before = bob.vault.clone();
    let made = alice.rotate();
    bob.follow(&made.message);
    MLS.restore(&mut bob.doors(), &GROUP, &snapshot).unwrap();
    assert!(before.entries().eq(bob.vault.entries()));
    let broken = MLS.restore(&mut bob.doors(), &GROUP, &snapshot[1..]);
    assert!(matches!(broken, Err(MlsError::Malformed { .. })));
    assert!(before.entries().eq(bob.vault.entries()));
    bob.follow(&made.message);
    MLS.forget(&mut bob.doors(), &GROUP);
    assert_eq!(MLS.info(&bob.vault, &GROUP), None);
    assert!(MLS.snapshot(&bob.vault, &GROUP).is_empty());
}

#[test]
fn a_thief_of_the_vault_reads_nothing_from_before() {
    let (mut alice, mut bob) = two();
    let said = alice.say("read");
    bob.hear(&said).unwrap();
    let mut thief = bob.clone();
    assert_eq!(thief.hear(&said), Err(MlsError::NotOpened), "of this epoch");

    let skipped = alice.say("not read");
    for _ in 0..=PAST_EPOCHS {
        let made = alice.rotate();
        alice.merge();
        bob.follow(&made.message);
    }
    let mut late = bob.clone();
    assert!(late.hear(&skipped).is_err(), "of epochs that are forgotten");
}

#[test]
fn a_commit_locks_the_thief_out() {
    let (mut alice, mut bob) = two();
    let mut thief = bob.clone();
    let healed = bob.rotate();
    bob.merge();
    alice.follow(&healed.message);
    assert_eq!(thief.process(&healed.message), Err(MlsError::Own), "it has no path for itself");
    let said = alice.say("healed");
    assert_eq!(thief.hear(&said), Err(MlsError::Epoch { got: 2, current: 1 }));
    assert_eq!(bob.hear(&said).unwrap().1, "healed");
}

#[test]
fn no_private_key_stays_that_is_not_needed() {
    let (mut alice, mut bob) = two();
    let mut sizes = Vec::new();
    for _ in 0..12 {
        for (one, other) in [(true, false), (false, true)] {
            let made = if one { alice.rotate() } else { bob.rotate() };
            if one {
                alice.merge()
            } else {
                bob.merge()
            }
            if other {
                alice.follow(&made.message)
            } else {
                bob.follow(&made.message)
            };
        }
        sizes.push(alice.vault.entries().count());
    }
    // Two epochs each time: by then as many are kept as ever will be.
    let full = &sizes[PAST_EPOCHS / 2..];
    assert!(full.windows(2).all(|pair| pair[0] == pair[1]), "{sizes:?}");
}

#[test]
fn a_device_signs_for_itself() {
    let (key, mut rng) = (key(1), SeededEntropy::new(1));
    let signature = key.sign(Domain::Rejoin, b"message", &mut rng);
    let digest = digest(Domain::Rejoin, &[b"message"]);
    let context = session_crypto::signer::SIGNATURE_CONTEXT;
    assert_eq!(key.public().verify(context, digest.as_ref(), &signature), Ok(()));
    assert_eq!(key.id().0, key.key_hash().as_ref()[..16]);
}

#[test]
fn numbers_are_frozen() {
    assert_eq!((SUITE, AGREED_EXTENSION, CHAIN_COMPONENT), (0x0051, 0xF0A6, 0xFF01));
    // Private message, suite and extension as they are on the wire.
    let mut bob = Device::new(2);
    let (package, _) = bob.package();
    assert_eq!(package[..6], [0, 1, 0, 5, 0, 1], "version 1, a key package, version 1");
    assert_eq!(package[6..8], SUITE.to_be_bytes());
    let capabilities = [2, 0, 1, 2, 0, 0x51, 2, 0xF0, 0xA6, 0, 2, 0, 1];
    assert!(package.windows(capabilities.len()).any(|it| it == capabilities));
    let (mut alice, _) = two();
    assert_eq!(alice.say("hello")[..4], [0, 1, 0, 2], "version 1, a private message");
}
