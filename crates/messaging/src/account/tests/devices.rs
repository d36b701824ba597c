//! Devices that join the account, leave it, or begin it anew.

use session_core::Blob;
use session_crypto::legacy::{LegacyId, LegacyKey};

use super::super::intro::make_letters;
use super::super::link::{Reply, Request, answer_route};
use super::*;
use crate::intro::{Intro, IntroBody};
use crate::say::Standing;

/// A device that asks, and what it shows.
fn asking(seed: u64) -> (MemoryVault, SeededEntropy, String) {
    let (mut vault, mut rng) = (MemoryVault::new(), SeededEntropy::new(seed));
    let text = new_device(&mut vault, &mut rng, network_id("test"), "laptop").expect("empty");
    (vault, rng, text)
}

fn add(world: &mut World, to: &mut Person, text: &str, name: &str) -> Result<Vec<Todo>, Error> {
    world.run(to, |cx, outbox, me| add_device(cx, outbox, me, text, name))
}

/// Has a device read its answer.
fn answered(world: &World, mut vault: MemoryVault, rng: SeededEntropy) -> Person {
    let source = linking(&vault).expect("it asks");
    let mut account = None;
    for item in world.swarm.read(world.now, &source) {
        account = account.or(arrived_link(&mut vault, world.now, &item).expect("in order"));
    }
    let me = open(&vault).expect("there is an answer");
    assert_eq!(account, Some(me.account));
    assert!(linking(&vault).is_none(), "it asks no more");
    Person { outbox: Outbox::open(&vault), vault, rng, me }
}

/// Alice with two devices, and Bob.
fn three() -> (World, Person, Person, Person) {
    let (mut world, mut alice, bob) = pair();
    let (vault, rng, text) = asking(11);
    let todo = add(&mut world, &mut alice, &text, "").expect("in order");
    let laptop = answered(&world, vault, rng);
    assert_eq!(todo, vec![Todo::ShareKeys, Todo::Admit { device: laptop.me.device }]);
    (world, alice, laptop, bob)
}

#[test]
fn a_device_joins_the_account() {
    let (mut world, alice, mut laptop, mut bob) = three();
    assert_eq!(laptop.me.account, alice.me.account);
    assert!(!laptop.me.holds_keys());
    assert_eq!(laptop.me.credential.manifest, alice.me.credential.manifest);
    let listed = devices(&laptop.vault);
    let names: Vec<_> = listed.iter().map(|it| (&*it.name, it.here)).collect();
    assert_eq!(names, vec![("first", false), ("laptop", true)]);
    // It offers key packages of its own, in the same place, and reads the same introductions.
    world.publish(&mut laptop, false);
    assert_eq!(sources(&laptop.vault), sources(&alice.vault));
    let learned = world.look_up(&mut bob, &alice.me.account);
    assert_eq!(learned.added, vec![laptop.me.device]);
    let manifest = learned.manifest.expect("published");
    let items = world.swarm.read(world.now, &package_source(&manifest));
    let kx = OpenMls::new();
    let chosen = choose_packages(&mut bob.vault, &mut bob.rng, NOON, &manifest, &items, &kx);
    let devices: Vec<_> = chosen.expect("both").into_iter().map(|(device, _)| device).collect();
    assert_eq!(devices, vec![alice.me.device, laptop.me.device]);
    let again = open(&laptop.vault).expect("it is somebody now");
    assert_eq!(again.device, laptop.me.device);
}

#[test]
fn an_answer_with_keys_that_the_account_does_not_publish_is_refused() {
    let (mut world, mut alice, _) = pair();
    let (mut vault, rng, text) = asking(11);
    add(&mut world, &mut alice, &text, "").expect("in order");
    // Whoever saw the request shows the account's own manifest, and keys of his own.
    let mut mallory = person(66);
    world.publish(&mut mallory, false);
    let keys = export_keys(&mallory.vault).expect("published");
    let payload = Blob::new(Reply { version: 1, keys }.to_bytes()).expect("short");
    let to = answer_route(&text).expect("in order");
    let body = IntroBody::Link { payload };
    let letters =
        make_letters(&mut alice.rng, &alice.vault, &alice.me, &to, BOXES, body).expect("short");
    let genuine = core::mem::take(&mut world.swarm.items);
    world.send(letters);
    let before = vault.clone();
    let items = world.swarm.read(world.now, &linking(&vault).expect("it asks"));
    assert_eq!(items.len(), 1);
    let answer = arrived_link(&mut vault, world.now, &items[0]);
    assert!(matches!(answer, Err(Refused::Invalid { field: "answer", .. })), "{answer:?}");
    assert!(before.entries().eq(vault.entries()), "a refusal changes nothing");
    world.swarm.items = genuine;
    answered(&world, vault, rng);
}

#[test]
fn asked_twice_the_account_answers_twice_and_changes_once() {
    let (mut world, mut alice, _) = pair();
    let (mut vault, mut rng, text) = asking(11);
    let again = new_device(&mut vault, &mut rng, network_id("test"), "laptop").expect("empty");
    assert_eq!(again, text, "a request stays the same");
    add(&mut world, &mut alice, &text, "named here").expect("in order");
    add(&mut world, &mut alice, &format!(" {}\n{}", &text[..40], &text[40..]), "")
        .expect("in order");
    assert_eq!(newest(&alice, &alice.me.account).manifest.seq, 2);
    let laptop = answered(&world, vault, rng);
    assert_eq!(&*devices(&laptop.vault)[1].name, "named here");
}

#[test]
fn requests_that_are_cut_altered_or_foreign_are_refused() {
    let (mut world, mut alice, _) = pair();
    let (_, _, text) = asking(11);
    let seq = newest(&alice, &alice.me.account).manifest.seq;
    for length in 0..text.len() {
        assert!(add(&mut world, &mut alice, &text[..length], "").is_err(), "{length}");
    }
    for place in 0..text.len() {
        let mut bad = text.clone().into_bytes();
        bad[place] = if bad[place] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).expect("still ASCII");
        assert!(add(&mut world, &mut alice, &bad, "").is_err(), "{place}");
    }
    let mut vault = MemoryVault::new();
    let mut rng = SeededEntropy::new(1);
    let foreign = new_device(&mut vault, &mut rng, network_id("another"), "").expect("empty");
    let error = add(&mut world, &mut alice, &foreign, "").expect_err("another network");
    assert!(error.to_string().contains("another network"), "{error}");
    let long = "x".repeat(65);
    assert!(matches!(add(&mut world, &mut alice, &text, &long), Err(Error::TooMany { .. })));
    assert_eq!(newest(&alice, &alice.me.account).manifest.seq, seq, "nothing was changed");
}

#[test]
fn ten_devices_and_no_more() {
    let (mut world, mut alice, _) = pair();
    for seed in 0..9 {
        add(&mut world, &mut alice, &asking(100 + seed).2, "").expect("there is room");
    }
    let before = alice.vault.clone();
    let error = add(&mut world, &mut alice, &asking(200).2, "");
    assert!(matches!(error, Err(Error::TooMany { got: 11, limit: 10, .. })), "{error:?}");
    assert!(before.entries().eq(alice.vault.entries()));
}

#[test]
fn without_the_keys_of_the_account_nothing_is_signed() {
    let (mut world, alice, mut laptop, _) = three();
    let (_, _, text) = asking(12);
    assert_eq!(add(&mut world, &mut laptop, &text, ""), Err(Error::NoAccountKeys));
    let device = alice.me.device;
    let result = world.run(&mut laptop, |cx, outbox, me| revoke_device(cx, outbox, me, &device));
    assert_eq!(result, Err(Error::NoAccountKeys));
    world.publish(&mut laptop, true);
    assert_eq!(newest(&laptop, &laptop.me.account).manifest.seq, 2);
    assert_eq!(world.manifests(&laptop.me.account).len(), 2, "those that alice made");
}

#[test]
fn an_answer_to_somebody_else_is_not_taken() {
    let (mut world, mut alice, mut bob) = pair();
    let (mut vault, _, text) = asking(11);
    let source = linking(&vault).expect("it asks");
    add(&mut world, &mut bob, &text, "").expect("in order");
    let answers = world.swarm.read(world.now, &source);
    let mut stolen = MemoryVault::new();
    let mut rng = SeededEntropy::new(50);
    new_device(&mut stolen, &mut rng, network_id("test"), "thief").expect("empty");
    for item in &answers {
        // Whoever sees the text, and so the mailbox, opens nothing there.
        assert_eq!(arrived_link(&mut stolen, NOON, item).err(), Some(Refused::NotOpened));
    }
    let to = super::super::link::answer_route(&text).expect("in order");
    let sender = newest(&alice, &alice.me.account);
    let wrong = [
        IntroBody::Link { payload: Blob::default() },
        IntroBody::Link { payload: Blob::new(vec![0; 100]).expect("short") },
    ];
    for body in wrong {
        let intro = Intro { version: 1, sender: sender.clone(), device: alice.me.device, body };
        let items = crate::intro::seal(&intro, &to, &mut alice.rng).expect("fits");
        let like = &answers[0];
        for data in items {
            let item = Item { data, ..like.clone() };
            let refused = arrived_link(&mut vault, NOON, &item);
            assert!(matches!(refused, Err(Refused::Malformed { .. })), "{refused:?}");
        }
    }
    assert!(open(&vault).is_none() && linking(&vault).is_some(), "it still asks");
}

#[test]
fn an_excluded_device_learns_no_new_keys() {
    let (mut world, mut alice, mut laptop, mut bob) = three();
    world.publish(&mut laptop, false);
    world.look_up(&mut bob, &alice.me.account);
    let accepted = Standing::Accepted;
    set_contact(&mut bob.vault, NOON, &alice.me.account, accepted, None, Some(true))
        .expect("known");
    let device = laptop.me.device;
    let todo = world
        .run(&mut alice, |cx, outbox, me| revoke_device(cx, outbox, me, &device))
        .expect("it holds the keys");
    assert_eq!(todo, vec![Todo::Exclude { device }, Todo::ShareKeys]);
    world.publish(&mut alice, false);
    assert_eq!(world.look_up(&mut laptop, &alice.me.account).warnings, vec![Warning::Revoked]);
    let learned = world.look_up(&mut bob, &alice.me.account);
    assert_eq!(learned.removed, vec![device]);
    let changed = Warning::SafetyNumberChanged { account: alice.me.account };
    assert_eq!(learned.warnings, vec![changed]);
    let manifest = learned.manifest.expect("published");
    let intro = manifest.manifest.intro.rule.address();
    let at = |person: &Person| -> Vec<_> {
        sources(&person.vault).iter().map(|source| source.rule.address()).collect()
    };
    assert!(at(&alice).contains(&intro) && !at(&laptop).contains(&intro));
    // In the new place for key packages are those of Alice's first device only.
    let items = world.swarm.read(world.now, &package_source(&manifest));
    let kx = OpenMls::new();
    let chosen = choose_packages(&mut bob.vault, &mut bob.rng, NOON, &manifest, &items, &kx);
    assert_eq!(chosen.expect("there").len(), 1);
    let before = world.swarm.items.clone();
    world.publish(&mut laptop, true);
    assert_eq!(world.swarm.items, before, "an excluded device is silent");
}

#[test]
fn a_device_neither_excludes_itself_nor_strangers() {
    let (mut world, mut alice, _) = pair();
    for device in [alice.me.device, DeviceId([1; 16])] {
        let result = world.run(&mut alice, |cx, outbox, me| revoke_device(cx, outbox, me, &device));
        assert!(
            matches!(result, Err(Error::Invalid { .. } | Error::NotFound { .. })),
            "{result:?}"
        );
    }
}

#[test]
fn shared_keys_lead_to_the_same_places() {
    let (mut world, mut alice, mut laptop, _) = three();
    world.now = world.now + Span::from_days(8);
    assert_eq!(world.publish(&mut alice, false), vec![Todo::ShareKeys]);
    world.look_up(&mut laptop, &alice.me.account);
    assert_ne!(sources(&laptop.vault), sources(&alice.vault));
    let keys = export_keys(&alice.vault).expect("it is published");
    for length in 0..keys.len() {
        assert!(import_keys(&mut laptop.vault, world.now, &keys[..length]).is_err(), "{length}");
    }
    import_keys(&mut laptop.vault, world.now, &keys).expect("in order");
    assert_eq!(export_keys(&laptop.vault), Some(keys));
    // What a late copy says of before changes nothing.
    let newer = export_keys(&alice.vault).expect("there");
    world.now = world.now + Span::from_days(8);
    world.publish(&mut alice, false);
    let newest = export_keys(&alice.vault).expect("there");
    import_keys(&mut laptop.vault, world.now, &newest).expect("in order");
    import_keys(&mut laptop.vault, world.now, &newer).expect("ignored");
    assert_eq!(export_keys(&laptop.vault), Some(newest));
}

#[test]
fn a_restored_account_looks_before_it_speaks() {
    let (mut world, alice, laptop, mut bob) = three();
    let before = newest(&alice, &alice.me.account).manifest.seq;
    world.look_up(&mut bob, &alice.me.account);
    let restored = Setup { restored: true, ..setup(1, "restored") };
    let mut again = made(70, &restored);
    assert_eq!(again.me.account, alice.me.account);
    world.now = world.now + DAY;
    let shown = world.swarm.items.clone();
    assert_eq!(world.publish(&mut again, true), vec![Todo::LookUpSelf]);
    assert_eq!(world.swarm.items, shown, "nothing was published");
    assert!(next_due(&again.vault, &again.me) > world.now, "it asks again later");
    let learned = world.look_up(&mut again, &alice.me.account);
    assert!(learned.warnings.is_empty(), "{:?}", learned.warnings);
    assert_eq!(world.publish(&mut again, false), vec![]);
    let own = newest(&again, &alice.me.account);
    assert!(own.manifest.seq > before);
    assert_eq!(devices(&again.vault).len(), 1);
    let learned = world.look_up(&mut bob, &alice.me.account);
    assert_eq!((learned.new, learned.added), (true, vec![again.me.device]));
    assert!(learned.removed.contains(&laptop.me.device));
    assert!(learned.warnings.is_empty(), "{:?}", learned.warnings);
}

#[test]
fn a_restored_account_is_heard_even_if_the_swarm_has_forgotten_it() {
    let (mut world, alice, mut bob) = pair();
    let restored = Setup { restored: true, ..setup(1, "restored") };
    let mut again = made(70, &restored);
    world.swarm.items.clear();
    world.publish(&mut again, false);
    world.look_up(&mut again, &alice.me.account);
    world.publish(&mut again, false);
    let learned = world.look_up(&mut bob, &alice.me.account);
    assert_eq!((learned.new, learned.added), (true, vec![again.me.device]));
}

#[test]
fn a_classical_account_is_linked_by_both_keys() {
    let (mut world, mut alice, mut bob) = pair();
    let classical = LegacyKey::from_seed(&[5; 32]);
    world
        .run(&mut alice, |cx, outbox, me| link_legacy(cx, outbox, me, &classical))
        .expect("it holds the keys");
    let manifest = world.look_up(&mut bob, &alice.me.account).manifest.expect("published");
    let link = manifest.manifest.legacy.clone().expect("linked");
    assert_eq!(link.id(), Some(LegacyId::from_ed25519_seed(&[5; 32])));
    // It stays when the manifest is renewed, and nobody else can claim it.
    world.now = world.now + Span::from_days(8);
    world.publish(&mut alice, false);
    assert_eq!(newest(&alice, &alice.me.account).manifest.legacy, Some(link.clone()));
    let mut theft = newest(&bob, &bob.me.account).manifest;
    (theft.seq, theft.legacy) = (2, Some(link));
    let theft = theft.sign(&Identity::from_seed(&[2; 32]), &mut bob.rng);
    let items = [shown(&theft)];
    let learned = learn(&mut alice.vault, world.now, &mut alice.me, &bob.me.account, &items);
    assert_eq!((learned.new, learned.refused), (false, 1));
}

#[test]
fn what_a_request_is_encoded_as() {
    let seal = session_crypto::xwing::XWingSecret::from_seed(&[3; 32]).public();
    let hex: String = seal.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = Request {
        version: 1,
        network: NetworkId::from([1; 32]),
        key: session_core::Digest::from([2; 32]),
        seal,
        route: Secret::from([4; 32]),
        name: Text::new("desk").expect("short"),
    };
    let (network, key, route) = ("01".repeat(32), "02".repeat(32), "04".repeat(32));
    let golden = format!(
        "0001 # version
         {network}
         {key}
         {hex}
         {route}
         00000004 6465736b # name"
    );
    session_core::testing::check_codec(&request, &golden);
    assert_eq!(request.text().len(), 1776, "a text that a QR code holds");
    assert!(request.text().starts_with("luxlink1AAEBAQ"), "{}", request.text());
}
