//! How large a group may become.

use session_core::{AccountId, Context, SeededEntropy, Time};
use session_messaging::Secret;
use session_messaging::account::Setup;
use session_messaging::group::MEMBERS_MAX;
use session_messaging::messenger::api::{Command, Effect, Error, Input};
use session_messaging::messenger::{Config, Messenger};
use session_messaging::vault::{MemoryVault, Vault};
use session_protocol::membership::network_id;

const NOW: Time = Time::from_millis(1_800_000_000_000);

/// Returns as many accounts as that, none of them our own.
fn others(count: usize) -> Vec<AccountId> {
    let account = |number: usize| {
        let mut bytes = [0xee; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        AccountId::from(bytes)
    };
    (0..count).map(account).collect()
}

#[test]
fn a_group_beyond_its_limit_is_refused_before_anything_is_written() {
    assert_eq!(MEMBERS_MAX, 250, "docs/performance.md says what groups of that size cost");
    let (mut vault, mut rng) = (MemoryVault::new(), SeededEntropy::new(1));
    let setup = Setup {
        seed: Secret::from([1; 32]),
        network: network_id("test"),
        device_name: "laptop".into(),
        restored: false,
    };
    Messenger::create(&mut vault, &mut rng, NOW, &setup).unwrap();
    let mut messenger = Messenger::open(&vault, Config::default()).unwrap();
    let mut command = |vault: &mut MemoryVault, command: Command| {
        let mut effects = Vec::new();
        let store: &mut dyn Vault = vault;
        let mut cx = Context { now: NOW, store, rng: &mut rng, effects: &mut effects };
        messenger.handle(&mut cx, Input::Command { id: 1, command });
        effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { result, .. } => Some(result),
            _ => None,
        })
    };
    let make = |members| Command::CreateGroup { name: "all".into(), members, history: 0 };
    // The first call also takes up what a restart interrupted.
    let blank = command(
        &mut vault,
        Command::CreateGroup { name: String::new(), members: Vec::new(), history: 0 },
    );
    assert!(matches!(blank, Some(Err(Error::Invalid { field: "name", .. }))), "{blank:?}");
    let before = vault.clone();
    let limit = MEMBERS_MAX - 1;
    let refused = command(&mut vault, make(others(MEMBERS_MAX)));
    let expected = Error::TooMany { field: "members", got: MEMBERS_MAX, limit };
    assert_eq!(refused, Some(Err(expected)));
    assert!(before.entries().eq(vault.entries()));
    let waits = command(&mut vault, make(others(limit)));
    assert_eq!(waits, None, "as many as allowed are looked for");
}
