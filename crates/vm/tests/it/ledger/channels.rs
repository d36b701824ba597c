use session_core::{ChannelId, Domain, Text, digest};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::chain::{Action, Amount};
use session_vm::genesis::GenesisAccount;
use session_vm::ledger::{CHANNEL_MEMBERS_MAX, Ledger, Rejection};
use session_vm::query;

use super::world::{World, checked, genesis};

fn create(name: &str) -> Action {
    Action::CreateChannel { name: Text::new(name).unwrap() }
}

fn made(world: &mut World, who: usize, name: &str) -> ChannelId {
    let tx = world.run(who, create(name)).unwrap();
    let made = digest(Domain::Channel, &[world.chain.as_bytes(), tx.as_bytes()]);
    let id = ChannelId::from(*made.as_bytes());
    assert_eq!(query::channel_named(&world.state, name), Some(id));
    id
}

#[test]
fn people_join_and_leave_and_the_last_one_takes_it_away() {
    let mut world = World::new(0);
    let channel = made(&mut world, 1, "général 7");
    let (join, leave) = (Action::JoinChannel { channel }, Action::LeaveChannel { channel });
    assert_eq!(world.run(1, join.clone()), Err(Rejection::AlreadyMember));
    assert_eq!(world.run(2, leave.clone()), Err(Rejection::NotMember));
    world.run(2, join.clone()).unwrap();
    assert_eq!(query::channel(&world.state, &channel).unwrap().members, 2);
    let mut members = vec![(world.id(1), world.now), (world.id(2), world.now)];
    members.sort();
    assert_eq!(query::channel_members(&world.state, &channel, None, 10), members);
    let behind = query::channel_members(&world.state, &channel, Some(&members[0].0), 10);
    assert_eq!(behind, members[1..]);

    assert_eq!(world.run(3, create("général 7")), Err(Rejection::ChannelExists { channel }));
    // The owner may leave; the channel stays with the others.
    world.run(1, leave.clone()).unwrap();
    assert_eq!(query::channel(&world.state, &channel).unwrap().owner, world.id(1));
    world.run(2, leave.clone()).unwrap();
    assert_eq!(query::channel(&world.state, &channel), None);
    assert_eq!(world.run(2, join), Err(Rejection::UnknownChannel { channel }));
    assert_ne!(made(&mut world, 3, "général 7"), channel);
}

#[test]
fn manifests_are_anchored_by_rising_numbers_each_by_its_own_account() {
    let mut world = World::new(0);
    let anchor = |seq: u64, byte: u8| Action::AnchorManifest { seq, manifest: [byte; 32].into() };
    let before = |got: u64, before: u64| Err(Rejection::ManifestSeq { got, before });
    assert_eq!(world.run(1, anchor(0, 1)), before(0, 0));
    world.run(1, anchor(3, 1)).unwrap();
    assert_eq!(world.run(1, anchor(3, 2)), before(3, 3), "the same number with another manifest");
    assert_eq!(world.run(1, anchor(2, 2)), before(2, 3));
    world.run(2, anchor(1, 9)).unwrap();
    world.run(1, anchor(4, 2)).unwrap();
    let shown = |who: usize| {
        let anchor = query::manifest(&world.state, &world.id(who)).unwrap();
        (anchor.seq, anchor.manifest)
    };
    assert_eq!(shown(1), (4, [2; 32].into()));
    assert_eq!(shown(2), (1, [9; 32].into()));
    assert_eq!(query::manifest(&world.state, &world.id(3)), None);
}

#[test]
fn names_are_readable() {
    let mut world = World::new(0);
    for bad in ["", "a\nb", "\u{7f}", "\u{85}"] {
        assert_eq!(world.run(1, create(bad)), Err(Rejection::ChannelName), "{bad:?}");
    }
    made(&mut world, 1, &"x".repeat(64));
}

#[test]
fn a_full_channel_takes_nobody_else() {
    let crowd: Vec<FakeIdentity> = (0..CHANNEL_MEMBERS_MAX)
        .map(|number| {
            let mut seed = [0xee; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            FakeIdentity::new(&seed)
        })
        .collect();
    let mut genesis = genesis(0);
    genesis.accounts.extend(crowd.iter().map(|one| GenesisAccount {
        account: one.public().account_id(),
        balance: Amount::lux(1),
        keys: Some(one.public().clone()),
    }));
    let mut world = World::of(&genesis, 0, 0);
    let channel = made(&mut world, 1, "crowd");

    let mut ledger = Ledger::begin(&world.state, world.context());
    let mut results = Vec::new();
    for one in &crowd {
        let mut tx = world.draft(1, Action::JoinChannel { channel });
        (tx.sender, tx.nonce) = (one.public().account_id(), 0);
        let tx = checked(tx, one, false, &mut world.rng);
        results.push(ledger.execute(&tx, &FakeVerifier));
    }
    let (state, _) = ledger.finish();
    world.adopt(state);
    // The owner is a member too: one of the crowd is too many.
    assert_eq!(results.pop(), Some(Err(Rejection::ChannelFull)));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(query::channel(&world.state, &channel).unwrap().members, CHANNEL_MEMBERS_MAX);
}
