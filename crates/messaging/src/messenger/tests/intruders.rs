//! Welcomes of those who are not who they say they are.

use session_core::{AccountId, Blob, Digest, List, Text};

use super::world::World;
use crate::account;
use crate::group::{Agreed, Kind};
use crate::intro::{IntroBody, Past};
use crate::messenger::links;
use crate::mls::{Change, Credential, DeviceKey, Doors, KeyAgreement as _, OpenMls};
use crate::say::{Disappear, GroupId, Said, Say, SayId};
use crate::secret::Secret;
use crate::vault::MemoryVault;

/// A device that invites, and what it says it is.
struct Inviting {
    vault: MemoryVault,
    key: DeviceKey,
    who: Credential,
}

impl Inviting {
    /// Somebody with keys of his own who claims to be a device of another account.
    fn claiming(account: AccountId) -> Self {
        let key = DeviceKey::from_seed(&Secret::from([66; 32]));
        let (device, manifest) = (key.id(), Digest::default());
        let who = Credential { account, device, manifest, again: None };
        Self { vault: MemoryVault::new(), key, who }
    }

    /// The device itself.
    fn device(world: &World, who: usize) -> Self {
        let me = account::open(&world.devices[who].vault).unwrap();
        Self { vault: MemoryVault::new(), who: me.credential, key: me.key }
    }

    /// Makes a group and brings the device of a key package in.
    fn welcome(
        &mut self,
        world: &mut World,
        kind: Kind,
        package: Vec<u8>,
        history: Vec<Past>,
    ) -> IntroBody {
        let mls = OpenMls::new();
        // Lower than every other: of two conversations it would be the one to write to.
        let group = GroupId { bytes: [0; 32] };
        let agreed = Agreed {
            version: 1,
            kind,
            name: Text::default(),
            admins: List::new(vec![self.who.account]).unwrap(),
            disappear: Disappear::Never,
            history: 100,
        };
        let mut doors = Doors { vault: &mut self.vault, rng: &mut world.rng };
        mls.create(&mut doors, &self.key, &self.who, &group, &agreed).unwrap();
        let change = Change { add: vec![package], ..Change::default() };
        let made = mls.commit(&mut doors, &self.key, &group, &change).unwrap();
        mls.merge(&mut doors, &group).unwrap();
        IntroBody::Welcome {
            group,
            epoch: 1,
            route: Secret::from([7; 32]),
            welcome: Blob::new(made.welcome.unwrap()).unwrap(),
            tree: Blob::new(made.tree).unwrap(),
            history: List::new(history).unwrap(),
        }
    }
}

fn direct(creator: AccountId, other: AccountId) -> Kind {
    Kind::Direct { creator, other }
}

#[test]
fn a_stranger_is_not_taken_for_a_contact() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello bob").unwrap();
    world.text(1, alice, "hello alice").unwrap();
    let before = links::primary(&world.devices[1].vault, &world.account(0));
    assert!(before.is_some());

    let claims = world.account(0);
    let package = world.package_of(1);
    let kind = direct(claims, world.account(1));
    let body = Inviting::claiming(claims).welcome(&mut world, kind, package, vec![]);
    world.slip(1, 0, body);
    assert_eq!(links::primary(&world.devices[1].vault, &claims), before);
    let warnings = world.warnings(1);
    assert!(warnings.iter().any(|it| it.contains("not signed by the device")), "{warnings:?}");
    world.text(1, alice, "for alice alone").unwrap();
    assert_eq!(world.texts(0, &bob).last().unwrap(), "for alice alone");
}

#[test]
fn a_stranger_is_not_taken_for_an_own_device() {
    let mut world = World::new(2);
    let (own, other) = (world.account(1), world.account(0));
    for kind in [Kind::Devices { account: own }, direct(other, own)] {
        let package = world.package_of(1);
        let body = Inviting::claiming(own).welcome(&mut world, kind, package, vec![]);
        world.slip(1, 1, body);
        let vault = &world.devices[1].vault;
        assert_eq!(links::devices(vault), None, "{kind:?}");
        assert!(account::contact(vault, &other).is_none(), "nobody accepts himself: {kind:?}");
    }
}

#[test]
fn a_contact_puts_no_words_into_the_mouth_of_others() {
    let mut world = World::new(2);
    let (alice, bob) = (world.peer(0), world.peer(1));
    world.text(0, bob, "hello bob").unwrap();
    world.text(1, alice, "I keep what I said").unwrap();

    let (own, from) = (world.account(1), world.account(0));
    let kept = world.messages(1, &alice).into_iter().find(|it| it.own).unwrap();
    let past = |author, say| {
        let said = Said { id: SayId([5; 16]), sent_at: world.now, say };
        Past { author, said: Blob::new(session_core::Encode::to_bytes(&said)).unwrap() }
    };
    let text = |text: &str| Say::Text { body: Text::new(text).unwrap(), reply_to: None };
    let history = vec![
        past(own, text("I owe you a thousand")),
        past(own, Say::Unsend { of: kept.id }),
        past(from, text("of somebody else")),
    ];
    // The real device of the contact, so the welcome is good.
    let package = world.package_of(1);
    let inviting = &mut Inviting::device(&world, 0);
    let body = inviting.welcome(&mut world, direct(from, own), package, history);
    world.slip(1, 0, body);
    assert_eq!(world.texts(1, &alice), ["hello bob", "I keep what I said"]);
}

#[test]
fn strangers_bring_into_few_groups() {
    let mut world = World::new(2);
    let own = vec![world.account(1)];
    let mut made = Vec::new();
    for number in 0..6 {
        made.push(world.group(0, &format!("group {number}"), own.clone()));
    }
    let there = |world: &World| {
        let threads = world.threads(1);
        made.iter().filter(|it| threads.iter().any(|thread| thread.peer == **it)).count()
    };
    assert_eq!(there(&world), 4, "{:?}", world.warnings(1));
    assert!(world.warnings(1).iter().any(|it| it.contains("groups of one stranger")));
}
