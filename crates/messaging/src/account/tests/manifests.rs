//! What is believed of what others publish.

use session_core::{Digest, Entropy as _};
use session_protocol::manifest::Manifest;

use super::*;
use crate::say::Standing;

/// An account that says whatever a test wants.
struct Teller {
    keys: Identity,
    rng: SeededEntropy,
    first: SignedManifest,
}

impl Teller {
    fn new(of: &Person, seed: u8) -> Self {
        let first = newest(of, &of.me.account);
        Self { keys: Identity::from_seed(&[seed; 32]), rng: SeededEntropy::new(77), first }
    }

    fn account(&self) -> AccountId {
        self.first.account()
    }

    /// Signs the first manifest, changed.
    fn say(&mut self, change: impl FnOnce(&mut Manifest)) -> SignedManifest {
        let mut manifest = self.first.manifest.clone();
        change(&mut manifest);
        manifest.sign(&self.keys, &mut self.rng)
    }

    fn next(&mut self, before: &SignedManifest) -> SignedManifest {
        let (seq, previous) = (before.manifest.seq + 1, before.digest());
        self.say(|it| (it.seq, it.previous) = (seq, previous))
    }
}

fn tell(to: &mut Person, account: &AccountId, said: &[&SignedManifest]) -> Learned {
    let items: Vec<_> = said.iter().map(|it| shown(it)).collect();
    learn(&mut to.vault, NOON, &mut to.me, account, &items)
}

fn seq_known(of: &Person, account: &AccountId) -> u64 {
    newest(of, account).manifest.seq
}

#[test]
fn the_highest_number_wins_in_any_order() {
    let (alice, mut bob) = (person(1), person(2));
    let mut teller = Teller::new(&alice, 1);
    let (one, account) = (teller.first.clone(), teller.account());
    let two = teller.next(&one);
    let three = teller.next(&two);
    let learned = tell(&mut bob, &account, &[&three, &one, &two]);
    assert!(learned.new && learned.warnings.is_empty());
    assert_eq!((learned.manifest, learned.added), (Some(three.clone()), vec![alice.me.device]));
    // Older ones are ignored, also when they are all that is shown.
    let learned = tell(&mut bob, &account, &[&one]);
    assert!(!learned.new && learned.warnings.is_empty() && learned.added.is_empty());
    assert_eq!((learned.manifest, learned.refused), (Some(three), 0));
}

#[test]
fn two_manifests_of_one_number_are_reported_once() {
    let (alice, mut bob) = (person(1), person(2));
    let mut teller = Teller::new(&alice, 1);
    let (one, account) = (teller.first.clone(), teller.account());
    let two = teller.next(&one);
    let fork = teller.next(&one);
    let forked = |seq| vec![Warning::ForkedManifest { account, seq }];
    assert!(tell(&mut bob, &account, &[&one, &two]).warnings.is_empty());
    let learned = tell(&mut bob, &account, &[&fork, &two]);
    assert_eq!((learned.new, learned.warnings), (false, forked(2)));
    assert_eq!(learned.manifest, Some(two.clone()), "the first one stays");
    assert!(tell(&mut bob, &account, &[&fork, &two]).warnings.is_empty(), "once");
    // Also long after, for numbers that are remembered.
    let three = teller.next(&two);
    assert!(tell(&mut bob, &account, &[&three]).warnings.is_empty());
    let another = teller.next(&one);
    assert_eq!(tell(&mut bob, &account, &[&another]).warnings, forked(2));
}

#[test]
fn a_manifest_that_does_not_name_the_one_before_is_reported_and_followed() {
    let (alice, mut bob) = (person(1), person(2));
    let mut teller = Teller::new(&alice, 1);
    let (one, account) = (teller.first.clone(), teller.account());
    tell(&mut bob, &account, &[&one]);
    let two = teller.say(|it| (it.seq, it.previous) = (2, Digest::from([1; 32])));
    let learned = tell(&mut bob, &account, &[&two]);
    assert_eq!(learned.warnings, vec![Warning::ForkedManifest { account, seq: 1 }]);
    assert!(learned.new);
    // Of numbers that were left out nothing is known, so nothing is wrong.
    let nine = teller.say(|it| (it.seq, it.previous) = (9, Digest::from([1; 32])));
    let learned = tell(&mut bob, &account, &[&nine]);
    assert!(learned.new && learned.warnings.is_empty());
}

#[test]
fn what_is_expired_foreign_or_garbage_is_refused() {
    let (alice, mallory, mut bob) = (person(1), person(3), person(2));
    let mut teller = Teller::new(&alice, 1);
    let (one, account) = (teller.first.clone(), teller.account());
    let expired = teller.say(|it| {
        (it.seq, it.made, it.expiry) = (5, NOON - Span::from_days(31), NOON);
    });
    let elsewhere = teller.say(|it| it.network = network_id("another"));
    let mut unsigned = one.clone();
    unsigned.manifest.seq = 9;
    let others = newest(&mallory, &mallory.me.account);
    for bad in [&expired, &elsewhere, &unsigned, &others] {
        let learned = tell(&mut bob, &account, &[bad]);
        assert_eq!(learned, Learned { refused: 1, ..Learned::default() });
    }
    let mut rng = SeededEntropy::new(1);
    let bytes = one.to_bytes();
    for round in 0..100 {
        let mut bad = bytes.clone();
        let place = rng.below(bad.len() as u64) as usize;
        if round % 2 == 0 {
            bad.truncate(place)
        } else {
            bad[place] ^= 1 << rng.below(8)
        }
        let items = [shown_bytes(account, bad)];
        let learned = learn(&mut bob.vault, NOON, &mut bob.me, &account, &items);
        assert_eq!(learned, Learned { refused: 1, ..Learned::default() }, "at {place}");
    }
    assert_eq!(known(&bob.vault, &account), None, "nothing of it was kept");
    let learned = tell(&mut bob, &account, &[&expired, &one, &elsewhere]);
    assert_eq!((learned.manifest, learned.refused), (Some(one), 2));
}

#[test]
fn a_manifest_that_expires_is_still_known_but_not_given_out() {
    let (alice, mut bob) = (person(1), person(2));
    let one = newest(&alice, &alice.me.account);
    tell(&mut bob, &alice.me.account, &[&one]);
    let later = one.manifest.expiry;
    let learned = learn(&mut bob.vault, later, &mut bob.me, &alice.me.account, &[shown(&one)]);
    assert_eq!(learned.manifest, None);
    assert_eq!(seq_known(&bob, &alice.me.account), 1);
}

#[test]
fn who_was_verified_is_not_any_more_with_other_devices() {
    let (alice, mut bob) = (person(1), person(2));
    let mut teller = Teller::new(&alice, 1);
    let (one, account) = (teller.first.clone(), teller.account());
    tell(&mut bob, &account, &[&one]);
    let accepted = Standing::Accepted;
    let verify = |bob: &mut Person| {
        set_contact(&mut bob.vault, NOON, &account, accepted, None, Some(true)).expect("known")
    };
    assert!(verify(&mut bob).is_verified());
    let two = teller.next(&one);
    assert!(tell(&mut bob, &account, &[&two]).warnings.is_empty(), "the devices are the same");
    assert!(contact(&bob.vault, &account).expect("known").is_verified());
    let mut device = one.manifest.devices[0].clone();
    let key = DeviceKey::from_seed(&Secret::from([8; 32]));
    (device.id, device.key) = (key.id().0, key.key_hash());
    let devices = vec![one.manifest.devices[0].clone(), device];
    let more =
        |it: &mut Manifest| it.devices = session_core::List::new(devices.clone()).expect("two");
    let three = teller.say(|it| {
        (it.seq, it.previous) = (3, two.digest());
        more(it);
    });
    let warning = Warning::SafetyNumberChanged { account };
    assert_eq!(tell(&mut bob, &account, &[&three]).warnings, vec![warning]);
    assert!(!contact(&bob.vault, &account).expect("known").is_verified());
    let four = teller.say(|it| {
        (it.seq, it.previous) = (4, three.digest());
        more(it);
    });
    assert!(tell(&mut bob, &account, &[&four]).warnings.is_empty(), "it is said once");
    assert!(verify(&mut bob).is_verified(), "compared again");
    let unverified = set_contact(&mut bob.vault, NOON, &account, accepted, None, Some(false));
    assert_eq!(unverified.expect("known").verified, None);
}

#[test]
fn what_is_remembered_of_an_account_is_bounded() {
    let (alice, mut bob) = (person(1), person(2));
    let mut teller = Teller::new(&alice, 1);
    let (mut last, account) = (teller.first.clone(), teller.account());
    tell(&mut bob, &account, &[&last]);
    for _ in 0..40 {
        last = teller.next(&last);
        tell(&mut bob, &account, &[&last]);
    }
    let first = teller.first.clone();
    let another = teller.next(&first);
    assert!(tell(&mut bob, &account, &[&another]).warnings.is_empty(), "too long ago");
    let size = bob.vault.entries().map(|(_, value)| value.len()).max().expect("not empty");
    assert!(size < 12_000, "{size}");
}

#[test]
fn the_own_account_tells_of_devices_that_others_added() {
    let mut alice = person(1);
    let mut teller = Teller::new(&alice, 1);
    let (one, account) = (teller.first.clone(), teller.account());
    let key = DeviceKey::from_seed(&Secret::from([8; 32]));
    let mut ghost = one.manifest.devices[0].clone();
    (ghost.id, ghost.key) = (key.id().0, key.key_hash());
    ghost.name = Text::new("ghost").expect("short");
    let both = vec![one.manifest.devices[0].clone(), ghost.clone()];
    let two = teller.say(|it| {
        (it.seq, it.previous) = (2, one.digest());
        it.devices = session_core::List::new(both).expect("two");
    });
    let learned = tell(&mut alice, &account, &[&two]);
    let added = Warning::DeviceAdded { device: key.id(), name: "ghost".to_owned() };
    assert_eq!(learned.warnings, vec![added]);
    assert_eq!(alice.me.credential.manifest, two.digest(), "this device follows");
    let three = teller.say(|it| {
        (it.seq, it.previous) = (3, two.digest());
        it.devices = session_core::List::new(vec![ghost]).expect("one");
    });
    let learned = tell(&mut alice, &account, &[&three]);
    assert_eq!(learned.warnings, vec![Warning::Revoked]);
    assert_eq!(learned.removed, vec![alice.me.device]);
    // An excluded device publishes nothing more.
    let mut world = World::new();
    world.publish(&mut alice, true);
    assert!(world.swarm.items.is_empty());
}

#[test]
fn the_audit_says_what_is_wrong() {
    let mut world = World::new();
    let mut alice = person(1);
    let look = |alice: &Person, said: &[&SignedManifest]| {
        let items: Vec<_> = said.iter().map(|it| shown(it)).collect();
        audit(&alice.vault, NOON, &items)
    };
    assert_eq!(look(&alice, &[]), vec![Finding::Nothing]);
    world.publish(&mut alice, false);
    let items = world.manifests(&alice.me.account);
    assert_eq!(audit(&alice.vault, NOON, &items), vec![], "all is well");

    let mut teller = Teller::new(&alice, 1);
    let one = teller.first.clone();
    let fork = teller.say(|_| {});
    let findings = look(&alice, &[&one, &fork]);
    assert_eq!(findings, vec![Finding::Forked { seq: 1 }, Finding::NotMadeHere { seq: 1 }]);
    let key = DeviceKey::from_seed(&Secret::from([8; 32]));
    let mut ghost = one.manifest.devices[0].clone();
    (ghost.id, ghost.key) = (key.id().0, key.key_hash());
    let two = teller.say(|it| {
        (it.seq, it.previous) = (2, Digest::from([1; 32]));
        it.devices = session_core::List::new(vec![ghost]).expect("one");
    });
    let findings = look(&alice, &[&one, &two]);
    let foreign = Finding::ForeignDevice { device: key.id(), name: "first".to_owned(), seq: 2 };
    assert_eq!(
        findings,
        vec![
            Finding::Gap { before: 1, seq: 2 },
            Finding::NotMadeHere { seq: 2 },
            foreign,
            Finding::NotListed { seq: 2 },
        ]
    );
    assert!(findings[2].to_string().contains(&key.id().to_string()), "{}", findings[2]);

    world.publish(&mut alice, true);
    assert_eq!(look(&alice, &[&one]), vec![Finding::Stale { shown: 1, newest: 2 }]);
    let garbage = [shown_bytes(alice.me.account, vec![1, 2, 3])];
    let findings = audit(&alice.vault, NOON, &garbage);
    assert_eq!(findings, vec![Finding::NotManifests { count: 1 }, Finding::Nothing]);
    let two = newest(&alice, &alice.me.account);
    let expiry = two.manifest.expiry;
    let findings = audit(&alice.vault, expiry, &[shown(&one), shown(&two)]);
    assert_eq!(findings, vec![Finding::Expired { seq: 2, expiry }]);
}
