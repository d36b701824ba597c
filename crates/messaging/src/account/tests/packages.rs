//! Key packages: what a malicious mailbox may show, and which one is taken.

use session_core::{Blob, Decode as _, Domain, Entropy as _};

use super::super::packages::{ONE_TIME, PublishedPackage, Statement};
use super::*;
use crate::mls::KeyAgreement as _;

fn offered(world: &World, by: &Person) -> Vec<Item> {
    world.swarm.read(world.now, &package_source(&newest(by, &by.me.account)))
}

fn package(item: &Item) -> PublishedPackage {
    PublishedPackage::decode_exact(&item.data).expect("one of ours")
}

fn item(package: &PublishedPackage, like: &Item) -> Item {
    Item { data: ItemBytes::new(package.to_bytes()).expect("small"), ..like.clone() }
}

fn choose(alice: &mut Person, bob: &Person, now: Time, items: &[Item]) -> Result<Vec<u8>, Error> {
    let manifest = newest(alice, &bob.me.account);
    let kx = OpenMls::new();
    let mut chosen = choose_packages(&mut alice.vault, &mut alice.rng, now, &manifest, items, &kx)?;
    assert_eq!(chosen.len(), 1);
    let (device, key_package) = chosen.remove(0);
    assert_eq!(device, bob.me.device);
    Ok(key_package)
}

#[test]
fn twenty_for_one_use_and_one_of_last_resort() {
    let (world, _, bob) = pair();
    let items = offered(&world, &bob);
    let last = items.iter().filter(|item| package(item).statement.last_resort).count();
    assert_eq!((items.len(), last), (ONE_TIME + 1, 1));
    assert!(items.iter().all(|item| item.data.len() < 17_000), "{}", items[0].data.len());
}

#[test]
fn old_ones_lie_there_until_the_new_ones_do() {
    let (mut world, _, mut bob) = pair();
    let source = package_source(&newest(&bob, &bob.me.account));
    let before: Vec<_> = offered(&world, &bob).iter().map(|item| item.id).collect();
    world.watched = Some((source, usize::MAX));
    world.publish(&mut bob, true);
    let after: Vec<_> = offered(&world, &bob).iter().map(|item| item.id).collect();
    assert_eq!(after.len(), ONE_TIME + 1);
    assert!(after.iter().all(|id| !before.contains(id)));
    let (_, fewest) = world.watched.expect("set above");
    assert_eq!(fewest, ONE_TIME + 1, "whoever looks meanwhile finds as many as ever");
}

#[test]
fn what_a_published_package_is_encoded_as() {
    let published = PublishedPackage {
        statement: Statement {
            version: 1,
            device: DeviceId([2; 16]),
            last_resort: true,
            expires: Time::from_millis(3),
            key_package: Blob::new([4, 5, 6]).expect("short"),
        },
        key: [7; 1952].into(),
        signature: [8; 3309].into(),
    };
    let (key, signature) = ("07".repeat(1952), "08".repeat(3309));
    let golden = format!(
        "0001 # version
         02020202020202020202020202020202 # device
         01 # last resort
         0000000000000003 # expires
         00000003 040506 # key package
         {key}
         {signature}"
    );
    session_core::testing::check_codec(&published, &golden);
}

#[test]
fn each_is_taken_once_and_the_last_resort_when_there_is_no_other() {
    let (world, mut alice, bob) = pair();
    let items = offered(&world, &bob);
    let last = items.iter().map(package).find(|it| it.statement.last_resort).expect("one");
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..ONE_TIME {
        let chosen = choose(&mut alice, &bob, NOON, &items).expect("enough");
        assert!(!taken.contains(&chosen), "nothing is taken twice");
        assert_ne!(chosen, last.statement.key_package.to_vec());
        taken.push(chosen);
    }
    let chosen = choose(&mut alice, &bob, NOON, &items).expect("the last resort");
    assert_eq!(chosen, last.statement.key_package.to_vec());
    let without: Vec<_> =
        items.iter().filter(|it| !package(it).statement.last_resort).cloned().collect();
    let chosen = choose(&mut alice, &bob, NOON, &without).expect("better twice than never");
    assert!(taken.contains(&chosen));
}

#[test]
fn a_malicious_mailbox_makes_nothing_up() {
    let (mut world, mut alice, bob) = pair();
    let mut mallory = person(3);
    world.publish(&mut mallory, false);
    let items = offered(&world, &bob);
    let good = package(&items[0]);

    let mut flipped = good.clone();
    flipped.statement.last_resort = !good.statement.last_resort;
    let mut longer = good.clone();
    longer.statement.expires = Time::MAX;
    let mut renamed = package(&offered(&world, &mallory)[0]);
    renamed.statement.device = bob.me.device;
    // Mallory's package under Bob's statement, and Bob's package signed by Mallory.
    let mut swapped = good.clone();
    swapped.statement.key_package = renamed.statement.key_package.clone();
    let mut resigned = good.clone();
    resigned.key = mallory.me.key.public().clone();
    let bytes = resigned.statement.to_bytes();
    resigned.signature = mallory.me.key.sign(Domain::PublishedPackage, &bytes, &mut mallory.rng);
    let mut later = good.clone();
    later.statement.version = 2;
    let bytes = later.statement.to_bytes();
    later.signature = bob.me.key.sign(Domain::PublishedPackage, &bytes, &mut mallory.rng);
    // A package of Mallory's device that claims to be one of Bob's account.
    let mut doors = crate::mls::Doors { vault: &mut mallory.vault, rng: &mut mallory.rng };
    let claimed = Credential { device: mallory.me.device, ..bob.me.credential };
    let kx = OpenMls::new();
    let (bytes, _) = kx.key_package(&mut doors, &mallory.me.key, &claimed).expect("made");
    let mut impostor = resigned.clone();
    impostor.statement.key_package = Blob::new(bytes).expect("small");
    let bytes = impostor.statement.to_bytes();
    impostor.signature = mallory.me.key.sign(Domain::PublishedPackage, &bytes, &mut mallory.rng);

    let mut bad: Vec<Item> = [flipped, longer, renamed, swapped, resigned, later, impostor]
        .iter()
        .map(|it| item(it, &items[0]))
        .collect();
    bad.extend(offered(&world, &mallory));
    let mut rng = SeededEntropy::new(5);
    for _ in 0..60 {
        let mut bytes = items[0].data.to_vec();
        let place = rng.below(bytes.len() as u64) as usize;
        if rng.below(2) == 0 {
            bytes.truncate(place)
        } else {
            bytes[place] ^= 0x40
        }
        bad.push(Item { data: ItemBytes::new(bytes).expect("not longer"), ..items[0].clone() });
    }
    let refused = choose(&mut alice, &bob, NOON, &bad);
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    // One good one among them all, shown many times, is found.
    bad.extend(core::iter::repeat_n(items[0].clone(), 5));
    assert_eq!(
        choose(&mut alice, &bob, NOON, &bad).expect("one"),
        good.statement.key_package.to_vec()
    );
}

#[test]
fn what_has_expired_is_not_used() {
    let (world, mut alice, bob) = pair();
    let items = offered(&world, &bob);
    let expires = package(&items[0]).statement.expires;
    assert!(choose(&mut alice, &bob, expires - Span::from_millis(1), &items).is_ok());
    assert!(matches!(choose(&mut alice, &bob, expires, &items), Err(Error::Unreachable { .. })));
}

#[test]
fn used_ones_are_withdrawn_and_made_up_for() {
    let (mut world, mut alice, mut bob) = pair();
    let manifest = newest(&alice, &bob.me.account);
    for used in 1..=ONE_TIME - 10 + 1 {
        let items = world.swarm.read(world.now, &package_source(&manifest));
        let chosen = choose(&mut alice, &bob, world.now, &items).expect("there");
        let (_, _, reference) = OpenMls::new().read_key_package(&chosen).expect("in order");
        assert_eq!(world.run(&mut bob, |cx, _, _| used_package(cx, &reference)), None);
        assert_eq!(offered(&world, &bob).len(), 1 + ONE_TIME - used);
        assert_eq!(publish_due(&bob.vault, &bob.me, world.now), ONE_TIME - used < 10, "{used}");
    }
    world.publish(&mut bob, false);
    assert_eq!(offered(&world, &bob).len(), 1 + ONE_TIME);
    assert!(!publish_due(&bob.vault, &bob.me, world.now));
}

#[test]
fn the_last_resort_is_counted_and_stays() {
    let (mut world, _, mut bob) = pair();
    let items = offered(&world, &bob);
    let last = items.iter().map(package).find(|it| it.statement.last_resort).expect("one");
    let (_, _, reference) =
        OpenMls::new().read_key_package(&last.statement.key_package).expect("in order");
    for hits in 1..4 {
        let warning = world.run(&mut bob, |cx, _, _| used_package(cx, &reference));
        assert_eq!(warning, Some(Warning::LastResort { hits }));
    }
    assert_eq!(offered(&world, &bob).len(), 1 + ONE_TIME);
    let unknown = session_core::Digest::from([1; 32]);
    assert_eq!(world.run(&mut bob, |cx, _, _| used_package(cx, &unknown)), None);
}

#[test]
fn forced_publishing_replaces_everything() {
    let (mut world, _, mut bob) = pair();
    let before = offered(&world, &bob);
    world.now = world.now + Span::from_secs(60);
    world.publish(&mut bob, true);
    let after = offered(&world, &bob);
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|item| !before.contains(item)));
    assert_eq!(newest(&bob, &bob.me.account).manifest.seq, 2);
}
