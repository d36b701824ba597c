//! Months in seconds: what is renewed, and what is erased when.

use session_core::Decode as _;
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;

use super::super::{keys, known};
use super::*;
use crate::mls::{Doors, KeyAgreement as _};

/// The secrets of the current intro key, as they lie in the vault.
fn intro_secrets(person: &Person) -> [Secret; 2] {
    let key = keys::current(&person.vault).expect("there is one");
    [key.seed, key.route]
}

#[test]
fn intro_keys_are_drawn_weekly_and_erased_sixteen_days_later() {
    let (mut world, mut alice, mut bob) = pair();
    let first = intro_secrets(&alice);
    let old = newest(&bob, &alice.me.account);
    let body = crate::intro::IntroBody::Link { payload: session_core::Blob::default() };
    let letters = make_intro(&mut bob.rng, &bob.vault, &bob.me, &old, body).expect("fits");
    let mut addresses = std::collections::BTreeSet::new();
    for day in 1..=60 {
        world.now = NOON + Span::from_days(day);
        if publish_due(&alice.vault, &alice.me, world.now) {
            world.publish(&mut alice, false);
        }
        assert!(!publish_due(&alice.vault, &alice.me, world.now), "done at day {day}");
        let manifest = newest(&alice, &alice.me.account);
        addresses.insert(manifest.manifest.intro.rule.address());
        // Day 7 replaces it; until day 23 somebody may still have written to it.
        assert_eq!(first.iter().all(|it| vault_holds(&alice, it.expose())), day < 23, "{day}");
        assert_eq!(first.iter().any(|it| vault_holds(&alice, it.expose())), day < 23, "{day}");
        assert!(sources(&alice.vault).len() <= 4, "{}", sources(&alice.vault).len());
        if day == 22 {
            world.send(letters.clone());
            assert!(matches!(&world.intros(&mut alice)[..], [Ok(Some(_))]), "late, but in time");
        }
        assert!(world.look_up(&mut bob, &alice.me.account).manifest.is_some());
    }
    assert_eq!(addresses.len(), 9, "one at the beginning, and one each week");
    assert_eq!(newest(&bob, &alice.me.account).manifest.seq, 9);
    let seen = Table::Seen.key(&[b"i"]);
    let seen = alice.vault.entries().filter(|(key, _)| key.starts_with(&seen)).count();
    assert_eq!(seen, 0, "what came to a key is forgotten with it");
}

#[test]
fn key_packages_are_renewed_before_they_expire_and_erased_after() {
    let (mut world, alice, mut bob) = pair();
    drop(alice);
    let (mut most_kept, mut most_offered) = (0, 0);
    for day in 1..=90 {
        world.now = NOON + Span::from_days(day);
        world.publish(&mut bob, false);
        let manifest = newest(&bob, &bob.me.account);
        let items = world.swarm.read(world.now, &package_source(&manifest));
        let usable = items.iter().filter(|item| {
            let package = super::super::packages::PublishedPackage::decode_exact(&item.data);
            world.now + Span::from_days(6) < package.expect("ours").statement.expires
        });
        assert!(usable.count() >= 11, "day {day}");
        let kept =
            bob.vault.entries().filter(|(key, _)| key.starts_with(&Table::Prekey.key(&[b"p"])));
        most_kept = most_kept.max(kept.count());
        most_offered = most_offered.max(items.len());
    }
    assert_eq!((most_kept, most_offered), (84, 21));
    let mls = bob.vault.entries().filter(|(key, _)| key[0] == Table::Mls as u8).count();
    assert!(mls <= 4 * 84, "private halves are erased: {mls} entries");
}

#[test]
fn a_used_key_package_opens_a_second_welcome_for_a_day() {
    let (mut world, mut alice, mut bob) = pair();
    let manifest = newest(&alice, &bob.me.account);
    let items = world.swarm.read(world.now, &package_source(&manifest));
    let kx = OpenMls::new();
    let mut chosen =
        choose_packages(&mut alice.vault, &mut alice.rng, NOON, &manifest, &items, &kx)
            .expect("there");
    let (_, package) = chosen.remove(0);
    let mut welcomes = Vec::new();
    for group in 1..=3 {
        welcomes.push(super::first_contact::welcome(
            &mut alice,
            &bob.me.account,
            group,
            vec![package.clone()],
        ));
    }
    let (_, reference) = super::first_contact::join(&mut bob, &welcomes[0]).expect("for bob");
    world.run(&mut bob, |cx, _, _| used_package(cx, &reference));
    world.now = NOON + Span::from_secs(86_399);
    world.publish(&mut bob, false);
    let (_, again) = super::first_contact::join(&mut bob, &welcomes[1]).expect("still there");
    assert_eq!(again, reference);
    world.now = NOON + DAY;
    assert!(publish_due(&bob.vault, &bob.me, world.now));
    world.publish(&mut bob, false);
    super::first_contact::join(&mut bob, &welcomes[2]).expect_err("erased");
    let mut doors = Doors { vault: &mut bob.vault, rng: &mut bob.rng };
    kx.forget_key_package(&mut doors, &reference); // again: nothing happens
}

#[test]
fn a_device_without_keys_keeps_the_manifest_alive() {
    let (mut world, mut alice, _) = pair();
    let (mut vault, mut rng) = (MemoryVault::new(), SeededEntropy::new(4));
    let text = new_device(&mut vault, &mut rng, network_id("test"), "laptop").expect("empty");
    world
        .run(&mut alice, |cx, outbox, me| add_device(cx, outbox, me, &text, ""))
        .expect("in order");
    let source = linking(&vault).expect("it asks");
    let item = world.swarm.read(world.now, &source).remove(0);
    arrived_link(&mut vault, NOON, &item).expect("in order").expect("answered");
    let me = open(&vault).expect("it was answered");
    let mut laptop = Person { outbox: Outbox::open(&vault), vault, rng, me };
    world.publish(&mut laptop, false);
    // A swarm that lost it is given it again after half of its life; nobody extends it beyond that.
    world.swarm.items.retain(|(_, namespace), _| *namespace != MANIFESTS);
    world.now = NOON + Span::from_days(14);
    world.publish(&mut laptop, false);
    assert!(world.manifests(&laptop.me.account).is_empty());
    world.now = NOON + Span::from_days(15);
    assert!(publish_due(&laptop.vault, &laptop.me, world.now));
    world.publish(&mut laptop, false);
    assert_eq!(world.manifests(&laptop.me.account).len(), 1);
    for day in 16..60 {
        world.now = NOON + Span::from_days(day);
        world.publish(&mut laptop, false);
    }
    assert!(world.manifests(&laptop.me.account).is_empty(), "it has expired");
}

#[test]
fn what_was_chosen_is_forgotten_when_it_expires() {
    let (mut world, mut alice, bob) = pair();
    let manifest = newest(&alice, &bob.me.account);
    let items = world.swarm.read(world.now, &package_source(&manifest));
    let kx = OpenMls::new();
    choose_packages(&mut alice.vault, &mut alice.rng, NOON, &manifest, &items, &kx).expect("there");
    let chosen = |alice: &Person| {
        let prefix = Table::Seen.key(&[b"k"]);
        alice.vault.entries().filter(|(key, _)| key.starts_with(&prefix)).count()
    };
    assert_eq!(chosen(&alice), 1);
    world.now = NOON + Span::from_days(14);
    world.publish(&mut alice, false);
    assert_eq!(chosen(&alice), 0);
}

#[test]
fn nothing_grows_without_end() {
    let (mut world, mut alice, mut bob) = pair();
    for n in 0..60 {
        keys::draw_intro(&mut alice.vault, &mut alice.rng, NOON + Span::from_secs(n), n as u32);
    }
    assert_eq!(sources(&alice.vault).len(), 48);
    assert!(export_keys(&alice.vault).is_some_and(|keys| keys.len() < 8192));

    // Bob has taken, and chosen, as much as is remembered.
    let address = sources(&bob.vault)[0].rule.address();
    let taken = Table::Seen.key(&[b"i", address.as_ref()]);
    let chosen = Table::Seen.key(&[b"k"]);
    for n in 0..5000_u128 {
        vault::save(&mut bob.vault, &[&taken[..], &n.to_be_bytes()].concat(), &NOON);
    }
    for n in 0..4096_u64 {
        let reference = [&n.to_be_bytes()[..], &[0; 24]].concat();
        vault::save(&mut bob.vault, &[&chosen[..], &reference].concat(), &(NOON + DAY));
    }
    let body = crate::intro::IntroBody::Link { payload: session_core::Blob::default() };
    let to = newest(&alice, &bob.me.account);
    world.send(make_intro(&mut alice.rng, &alice.vault, &alice.me, &to, body).expect("fits"));
    assert!(matches!(&world.intros(&mut bob)[..], [Ok(Some(_))]));
    let (kx, now) = (OpenMls::new(), world.now);
    let items = world.swarm.read(now, &package_source(&to));
    choose_packages(&mut bob.vault, &mut bob.rng, now, &to, &items, &kx).expect("there");
    let count = |prefix: &[u8]| bob.vault.entries().filter(|it| it.0.starts_with(prefix)).count();
    assert_eq!((count(&taken), count(&chosen)), (5000, 4096));
}

#[test]
fn acquaintances_are_bounded_contacts_stay() {
    let (_, alice, mut bob) = pair();
    let accepted = crate::say::Standing::Accepted;
    set_contact(&mut bob.vault, NOON, &alice.me.account, accepted, None, None).expect("no name");
    let like = newest(&bob, &alice.me.account);
    for n in 0..known::ACQUAINTANCES_MAX + 200 {
        let mut other = like.clone();
        other.manifest.keys = FakeIdentity::generate(&mut bob.rng).public().clone();
        known::keep_shown(&mut bob.vault, NOON + Span::from_millis(n + 1), other);
    }
    let manifests = Table::Account.key(&[b"m"]);
    let kept = bob.vault.entries().filter(|(key, _)| key.starts_with(&manifests)).count() as u64;
    assert!(
        (known::ACQUAINTANCES_MAX - 100..=known::ACQUAINTANCES_MAX + 1).contains(&kept),
        "{kept}"
    );
    assert!(known(&bob.vault, &alice.me.account).is_some(), "a contact");
    assert!(known(&bob.vault, &bob.me.account).is_some(), "the own account");
}
