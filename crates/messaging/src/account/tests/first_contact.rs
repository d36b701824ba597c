//! From nothing to a group of two, and everything that may come into an intro mailbox instead.

use session_core::{Blob, Digest, Entropy as _, List, Text};
use session_crypto::xwing::XWingSecret;

use super::*;
use crate::group::{Agreed, Kind};
use crate::intro::{self, Intro, IntroBody, rejoin_statement};
use crate::mls::{Change, Doors, KeyAgreement as _, MlsError};
use crate::say::{Disappear, GroupId, Standing};

fn agreed(creator: AccountId, other: AccountId) -> Agreed {
    Agreed {
        version: 1,
        kind: Kind::Direct { creator, other },
        name: Text::default(),
        admins: List::default(),
        disappear: Disappear::Never,
        history: 0,
    }
}

/// Alice makes a group with these key packages of Bob's devices. Returns her introduction.
pub(super) fn welcome(
    alice: &mut Person,
    bob: &AccountId,
    group: u8,
    add: Vec<Vec<u8>>,
) -> IntroBody {
    let (kx, group) = (OpenMls::new(), GroupId { bytes: [group; 32] });
    let agreed = agreed(alice.me.account, *bob);
    let mut doors = Doors { vault: &mut alice.vault, rng: &mut alice.rng };
    kx.create(&mut doors, &alice.me.key, &alice.me.credential, &group, &agreed).expect("new");
    let change = Change { add, ..Change::default() };
    let made = kx.commit(&mut doors, &alice.me.key, &group, &change).expect("in order");
    kx.merge(&mut doors, &group).expect("it is pending");
    IntroBody::Welcome {
        group,
        epoch: 1,
        route: Secret::from([9; 32]),
        welcome: Blob::new(made.welcome.expect("somebody joins")).expect("small"),
        tree: Blob::new(made.tree).expect("small"),
        history: List::default(),
    }
}

fn packages_of(world: &World, alice: &mut Person, bob: &AccountId) -> Vec<(DeviceId, Vec<u8>)> {
    let manifest = newest(alice, bob);
    let items = world.swarm.read(world.now, &package_source(&manifest));
    let (kx, now) = (OpenMls::new(), world.now);
    choose_packages(&mut alice.vault, &mut alice.rng, now, &manifest, &items, &kx).expect("there")
}

fn introduce(world: &mut World, alice: &mut Person, bob: &AccountId, body: IntroBody) {
    let to = newest(alice, bob);
    let letters = make_intro(&mut alice.rng, &alice.vault, &alice.me, &to, body).expect("fits");
    world.send(letters);
}

pub(super) fn join(person: &mut Person, body: &IntroBody) -> Result<(GroupId, Digest), MlsError> {
    let IntroBody::Welcome { welcome, tree, .. } = body else { panic!("not a welcome") };
    let mut doors = Doors { vault: &mut person.vault, rng: &mut person.rng };
    let joined = OpenMls::new().join(&mut doors, welcome, tree)?;
    Ok((joined.group, joined.key_package))
}

#[test]
fn strangers_begin_to_talk() {
    let (mut world, mut alice, mut bob) = pair();
    let packages = packages_of(&world, &mut alice, &bob.me.account);
    assert_eq!(packages.len(), 1);
    assert_eq!(packages[0].0, bob.me.device);
    let add = packages.into_iter().map(|(_, package)| package).collect();
    let body = welcome(&mut alice, &bob.me.account, 1, add);
    introduce(&mut world, &mut alice, &bob.me.account, body);

    let mut arrived = world.intros(&mut bob);
    assert_eq!(arrived.len(), 1);
    let incoming = arrived.remove(0).expect("in order").expect("new");
    assert_eq!((incoming.from, incoming.device), (alice.me.account, alice.me.device));
    let (group, reference) = join(&mut bob, &incoming.body).expect("for bob");
    let members = OpenMls::new().info(&bob.vault, &group).expect("joined").members;
    assert_eq!(members.len(), 2);
    assert!(members.iter().all(|it| belongs(&bob.vault, &it.credential, &it.key_hash)));
    assert_eq!(world.run(&mut bob, |cx, _, _| used_package(cx, &reference)), None);

    // The same again, also from a swarm that keeps it: once is enough.
    assert_eq!(world.intros(&mut bob), vec![Ok(None)]);
}

#[test]
fn both_see_the_same_safety_number() {
    let (_, alice, bob) = pair();
    let number = safety_number(&alice.vault, &bob.me.account).expect("both manifests are known");
    assert_eq!(Some(&number), safety_number(&bob.vault, &alice.me.account).as_ref());
    assert_eq!(number.len(), 60);
    assert_eq!(safety_number(&alice.vault, &AccountId::from([7; 32])), None);
}

#[test]
fn a_welcome_of_a_device_that_does_not_belong_is_seen_as_such() {
    let (_, alice, mut bob) = pair();
    let stolen = alice.me.credential;
    let mallory = DeviceKey::from_seed(&Secret::from([66; 32]));
    assert!(belongs(&bob.vault, &stolen, &alice.me.key.key_hash()));
    assert!(!belongs(&bob.vault, &stolen, &mallory.key_hash()));
    let own = Credential { device: mallory.id(), ..stolen };
    assert!(!belongs(&bob.vault, &own, &mallory.key_hash()));
    forget_contact(&mut bob.vault, &alice.me.account);
    assert!(!belongs(&bob.vault, &stolen, &alice.me.key.key_hash()));
}

#[test]
fn a_blocked_account_introduces_itself_to_nobody() {
    let (mut world, mut alice, mut bob) = pair();
    let blocked = Standing::Blocked;
    set_contact(&mut bob.vault, NOON, &alice.me.account, blocked, None, None).expect("no name");
    let body = IntroBody::Link { payload: Blob::default() };
    introduce(&mut world, &mut alice, &bob.me.account, body);
    assert_eq!(world.intros(&mut bob), vec![Ok(None)]);
}

/// Seals an introduction to Bob as it is, whoever it claims to be from.
fn forge(world: &mut World, bob: &Person, intro: &Intro) {
    let to = newest(bob, &bob.me.account).manifest.intro;
    let mut rng = SeededEntropy::new(99);
    for data in intro::seal(intro, &to, &mut rng).expect("fits") {
        let (rule, write) = (to.rule, Some(to.write.clone()));
        let target = Target { rule, write, namespace: session_protocol::inbox::INTRODUCTIONS };
        world.swarm.put(world.now, &target, DAY, data);
    }
}

#[test]
fn introductions_that_are_not_in_order_change_nothing() {
    let (mut world, mut alice, mut bob) = pair();
    let sender = newest(&bob, &alice.me.account);
    let body = IntroBody::Link { payload: Blob::default() };
    let good = Intro { version: 1, sender, device: alice.me.device, body };
    let stranger = Intro { device: DeviceId([1; 16]), ..good.clone() };
    let mut unsigned = good.clone();
    unsigned.sender.manifest.seq += 1;
    let mut expired = good.clone();
    let old = Me { keys: Some(Identity::from_seed(&[1; 32])), ..open(&alice.vault).expect("made") };
    expired.sender.manifest.made = NOON - Span::from_days(40);
    expired.sender.manifest.expiry = NOON;
    expired.sender = expired.sender.manifest.sign(old.keys().expect("held"), &mut alice.rng);
    for (bad, is_it) in [
        (stranger, (|why| matches!(why, Refused::Impostor { .. })) as fn(&Refused) -> bool),
        (unsigned, |why| matches!(why, Refused::Manifest(BadManifest::Signature { .. }))),
        (expired, |why| matches!(why, Refused::Expired { .. })),
        (Intro { version: 2, ..good.clone() }, |why| matches!(why, Refused::Introduction(_))),
    ] {
        let before = bob.vault.clone();
        world.swarm.items.retain(|(_, namespace), _| *namespace == MANIFESTS);
        forge(&mut world, &bob, &bad);
        let arrived = world.intros(&mut bob);
        assert!(matches!(&arrived[..], [Err(why)] if is_it(why)), "{arrived:?}");
        assert!(before.entries().eq(bob.vault.entries()), "{arrived:?} left something behind");
    }
    world.swarm.items.clear();
    forge(&mut world, &bob, &good);
    assert!(matches!(&world.intros(&mut bob)[..], [Ok(Some(_))]), "the good one is taken");
}

#[test]
fn a_device_that_was_excluded_is_not_let_in_by_an_old_manifest() {
    let (mut world, mut alice, mut bob) = pair();
    let old = newest(&bob, &alice.me.account);
    // Alice's account goes on with another device in the place of this one.
    let mut manifest = old.manifest.clone();
    let key = DeviceKey::from_seed(&Secret::from([8; 32]));
    let mut device = manifest.devices[0].clone();
    (device.id, device.key) = (key.id().0, key.key_hash());
    (manifest.seq, manifest.previous) = (2, old.digest());
    manifest.devices = List::new(vec![device]).expect("one");
    let next = manifest.sign(&Identity::from_seed(&[1; 32]), &mut alice.rng);
    let learned = learn(&mut bob.vault, NOON, &mut bob.me, &alice.me.account, &[shown(&next)]);
    assert_eq!((learned.added, learned.removed), (vec![key.id()], vec![alice.me.device]));
    let body = IntroBody::Link { payload: Blob::default() };
    let intro = Intro { version: 1, sender: old, device: alice.me.device, body };
    forge(&mut world, &bob, &intro);
    let arrived = world.intros(&mut bob);
    assert!(matches!(&arrived[..], [Err(Refused::Impostor { .. })]), "{arrived:?}");
}

#[test]
fn every_truncation_and_change_of_an_item_is_refused() {
    let (mut world, mut alice, mut bob) = pair();
    let body = IntroBody::Link { payload: Blob::default() };
    introduce(&mut world, &mut alice, &bob.me.account, body);
    let source = sources(&bob.vault).remove(0);
    let item = world.swarm.read(NOON, &source).remove(0);
    let address = source.rule.address();
    let mut rng = SeededEntropy::new(3);
    for round in 0..200 {
        let mut bytes = item.data.to_vec();
        if round % 2 == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        } else {
            let place = rng.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << rng.below(8);
        }
        let bad = Item { data: ItemBytes::new(bytes).expect("not longer"), ..item.clone() };
        let before = bob.vault.clone();
        let result =
            world.run(&mut bob, |cx, _, me| arrived_intro(cx, me, &OpenMls::new(), &address, &bad));
        assert_eq!(result, Err(Refused::NotOpened));
        assert!(before.entries().eq(bob.vault.entries()));
    }
    assert!(matches!(&world.intros(&mut bob)[..], [Ok(Some(_))]));
}

#[test]
fn only_the_device_itself_asks_to_be_added_again() {
    let (mut world, mut alice, mut bob) = pair();
    let (kx, group) = (OpenMls::new(), GroupId { bytes: [4; 32] });
    let mut doors = Doors { vault: &mut alice.vault, rng: &mut alice.rng };
    let (to, now) = (bob.me.account, world.now);
    let mut package =
        |who: Credential| kx.key_package(&mut doors, &alice.me.key, &who).expect("in order").0;
    let published = package(alice.me.credential);
    let for_another = package(alice.me.credential.again(GroupId { bytes: [5; 32] }, now));
    let package = package(alice.me.credential.again(group, now));
    let mut rejoin = |key: &DeviceKey, package: &[u8], said: &GroupId, to: &AccountId, at| {
        let statement = rejoin_statement(said, to, at, package);
        let signature = key.sign(session_core::Domain::Rejoin, &statement, &mut alice.rng);
        let key_package = Blob::new(package).expect("small");
        IntroBody::Rejoin { group, at, key_package, signature }
    };
    let mallory = DeviceKey::from_seed(&Secret::from([66; 32]));
    let good = rejoin(&alice.me.key, &package, &group, &to, now);
    let others = rejoin(&mallory, &package, &group, &to, now);
    let elsewhere = rejoin(&alice.me.key, &package, &GroupId { bytes: [5; 32] }, &to, now);
    let passed_on = rejoin(&alice.me.key, &package, &group, &AccountId::from([6; 32]), now);
    let old = rejoin(&alice.me.key, &package, &group, &to, now - Span::from_days(15));
    let published = rejoin(&alice.me.key, &published, &group, &to, now);
    let for_another = rejoin(&alice.me.key, &for_another, &group, &to, now);
    let broken = rejoin(&alice.me.key, &package[1..], &group, &to, now);
    for bad in [others, elsewhere, passed_on, old, broken, published, for_another] {
        world.swarm.items.retain(|(_, namespace), _| *namespace == MANIFESTS);
        introduce(&mut world, &mut alice, &bob.me.account, bad);
        let arrived = world.intros(&mut bob);
        assert!(matches!(&arrived[..], [Err(Refused::Invalid { .. })]), "{arrived:?}");
    }
    world.swarm.items.clear();
    introduce(&mut world, &mut alice, &bob.me.account, good);
    assert!(matches!(&world.intros(&mut bob)[..], [Ok(Some(_))]));
}

#[test]
fn a_large_introduction_comes_in_pieces_and_halves_are_bounded() {
    let (mut world, mut alice, mut bob) = pair();
    let to = newest(&alice, &bob.me.account);
    let large = |alice: &mut Person, fill: u8| {
        let mut tree = vec![fill; 300_000];
        alice.rng.fill(&mut tree[..16]);
        let body = IntroBody::Welcome {
            group: GroupId::default(),
            epoch: 1,
            route: Secret::from([9; 32]),
            welcome: Blob::default(),
            tree: Blob::new(tree).expect("below 4 MiB"),
            history: List::default(),
        };
        make_intro(&mut alice.rng, &alice.vault, &alice.me, &to, body).expect("fits")
    };
    let letters = large(&mut alice, 1);
    assert_eq!(letters.len(), 5);
    world.send(letters);
    let arrived = world.intros(&mut bob);
    let whole: Vec<_> = arrived.iter().filter(|it| matches!(it, Ok(Some(_)))).collect();
    assert_eq!((arrived.len(), whole.len()), (5, 1));
    // Late copies of its pieces are known, and begin nothing.
    assert!(world.intros(&mut bob).iter().all(|it| *it == Ok(None)));
    assert_eq!(halves(&bob), 0);

    for fill in 2..30 {
        let mut letters = large(&mut alice, fill);
        letters.pop();
        world.send(letters);
    }
    world.now = world.now + Span::from_secs(1);
    world.intros(&mut bob);
    assert_eq!(halves(&bob), 16, "the sixteen that came last");
}

fn halves(person: &Person) -> usize {
    let prefix = Table::Pending.key(&[b"i"]);
    person.vault.entries().filter(|(key, _)| key.starts_with(&prefix)).count()
}

#[test]
fn an_intro_for_another_key_or_mailbox_does_not_open() {
    let (mut world, mut alice, mut bob) = pair();
    let body = IntroBody::Link { payload: Blob::default() };
    introduce(&mut world, &mut alice, &bob.me.account, body);
    let source = sources(&bob.vault).remove(0);
    let item = world.swarm.read(NOON, &source).remove(0);
    let wrong = XWingSecret::from_seed(&[1; 32]);
    assert!(super::super::intro::open(&wrong, &source.rule.address(), &item).is_err());
    // Carried into the mailbox of somebody else, it opens there no more than anywhere.
    let elsewhere = sources(&alice.vault).remove(0).rule.address();
    let result = world
        .run(&mut alice, |cx, _, me| arrived_intro(cx, me, &OpenMls::new(), &elsewhere, &item));
    assert_eq!(result, Err(Refused::NotOpened));
    let nowhere = InboxAddress::from([1; 32]);
    let result =
        world.run(&mut bob, |cx, _, me| arrived_intro(cx, me, &OpenMls::new(), &nowhere, &item));
    assert_eq!(result, Ok(None));
}

#[test]
fn strangers_are_bounded_and_the_oldest_are_forgotten() {
    let mut bob = person(2);
    let stranger = |n: u64| {
        AccountId::from(
            *session_core::digest(session_core::Domain::DeviceSet, &[&n.to_be_bytes()]).as_bytes(),
        )
    };
    let friend = stranger(1000);
    set_contact(&mut bob.vault, NOON, &friend, Standing::Accepted, Some("friend"), None)
        .expect("short");
    for n in 0..150 {
        let now = NOON + Span::from_secs(n);
        let dropped = meet(&mut bob.vault, now, &stranger(n));
        let expected: Vec<_> = n.checked_sub(100).map(stranger).into_iter().collect();
        assert_eq!(dropped, expected, "at stranger {n}");
        assert!(meet(&mut bob.vault, now, &stranger(n)).is_empty(), "known by now");
    }
    let all = contacts(&bob.vault);
    assert_eq!(all.len(), 101);
    assert!(contact(&bob.vault, &friend).is_some_and(|it| &*it.name == "friend"));
    assert!(contact(&bob.vault, &stranger(49)).is_none());
}

#[test]
fn names_are_bounded_and_nothing_is_verified_unseen() {
    let mut bob = person(2);
    let (who, accepted) = (AccountId::from([5; 32]), Standing::Accepted);
    let long = "x".repeat(129);
    let error = set_contact(&mut bob.vault, NOON, &who, accepted, Some(&long), None);
    assert!(matches!(error, Err(Error::TooMany { got: 129, limit: 128, .. })), "{error:?}");
    let error = set_contact(&mut bob.vault, NOON, &who, accepted, None, Some(true));
    assert!(matches!(error, Err(Error::Unreachable { .. })), "{error:?}");
    assert!(contact(&bob.vault, &who).is_none());
}
