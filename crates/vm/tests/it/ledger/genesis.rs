use session_core::{BlockId, ChainId, Span, SwarmId, Text};
use session_crypto::PublicIdentity;
use session_crypto::Signer as _;
use session_protocol::chain::Amount;
use session_vm::genesis::{BadGenesis, Genesis};
use session_vm::ledger::invariants::{indexes_agree, supply_is_conserved};
use session_vm::query;

use super::world::{START, genesis, genesis_node, person};

type Change = fn(&mut Genesis);

fn refused(change: impl FnOnce(&mut Genesis)) -> BadGenesis {
    let mut changed = genesis(3);
    change(&mut changed);
    let refused = changed.state().unwrap_err();
    assert_eq!(changed.block(ChainId::default()).unwrap_err(), refused);
    refused
}

#[test]
fn a_chain_begins_with_what_genesis_says() {
    let mut genesis = genesis(3);
    genesis.supply = Some(Amount::lux(6 * 10_000 + 3 * 100));
    genesis.sequencer = Some(person(5).public().clone());
    genesis.accounts[1].keys = Some(person(1).public().clone());
    let state = genesis.state().unwrap();
    supply_is_conserved(&state).unwrap();
    indexes_agree(&state).unwrap();
    assert_eq!(query::supply(&state), Amount::lux(60_300));
    assert_eq!(query::sequencer(&state), genesis.sequencer);
    assert_eq!(query::params(&state), genesis.params);
    assert_eq!(query::chain(&state).genesis, START);
    assert_eq!(query::nodes(&state, None, 9).len(), 3);
    assert_eq!(query::keys(&state, &genesis.accounts[1].account), genesis.accounts[1].keys);
    assert_eq!(query::account(&state, &genesis.accounts[2].account).balance, Amount::lux(10_000));

    let chain = genesis.chain_id();
    let block = genesis.block(chain).unwrap();
    assert_eq!((block.height, block.parent, block.time), (0, BlockId::default(), START));
    assert_eq!((block.chain, block.state_root), (chain, state.root()));
    assert!(block.transactions.is_empty());
}

#[test]
fn the_chain_id_covers_everything_but_the_order() {
    let base = genesis(3);
    let mut turned = base.clone();
    turned.accounts.reverse();
    turned.nodes.reverse();
    assert_eq!(turned.chain_id(), base.chain_id());
    assert_eq!(turned.state().unwrap().root(), base.state().unwrap().root());

    let changes: [Change; 10] = [
        |g| g.name = Text::new("other").unwrap(),
        |g| g.time = g.time + Span::from_millis(1),
        |g| g.params.fee_base = Amount(7),
        |g| g.sequencer = Some(person(1).public().clone()),
        |g| g.accounts[0].balance = Amount(7),
        |g| g.accounts[0].keys = Some(person(0).public().clone()),
        |g| g.nodes[0].endpoint = Text::new("h:1").unwrap(),
        |g| g.nodes[0].swarm.0 += 1,
        |g| g.supply = Some(Amount::lux(60_300)),
        |g| drop(g.nodes.pop()),
    ];
    let mut ids: Vec<ChainId> = vec![base.chain_id()];
    for change in changes {
        let mut changed = base.clone();
        change(&mut changed);
        ids.push(changed.chain_id());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), changes.len() + 1);
}

#[test]
fn wrong_sums_are_refused() {
    let got = Amount::lux(60_300);
    let supply = Amount::lux(60_301);
    assert_eq!(refused(|g| g.supply = Some(supply)), BadGenesis::Supply { got, supply });
    assert_eq!(refused(|g| g.accounts[1].balance = Amount(u64::MAX)), BadGenesis::Overflow);
}

#[test]
fn entries_that_clash_are_named() {
    let account = person(0).public().account_id();
    assert_eq!(
        refused(|g| g.accounts[1].account = account),
        BadGenesis::DuplicateAccount { account }
    );
    let keys = person(1).public().clone();
    let derived = keys.account_id();
    assert_eq!(
        refused(|g| g.accounts[0].keys = Some(keys)),
        BadGenesis::AccountKeys { account, derived }
    );
    let node = genesis_node(0).public().node_id();
    assert_eq!(
        refused(|g| g.nodes[1].keys = g.nodes[0].keys.clone()),
        BadGenesis::DuplicateNode { node }
    );
    let (kem, dsa) =
        (genesis_node(9).public().kem().clone(), genesis_node(0).public().dsa().clone());
    let mixed = PublicIdentity::new(kem, dsa);
    let node = mixed.node_id();
    assert_eq!(refused(|g| g.nodes[1].keys = mixed), BadGenesis::DuplicateSigningKey { node });
    let node = genesis_node(2).public().node_id();
    let endpoint = "GENESIS0:9651".to_owned();
    assert_eq!(
        refused(|g| g.nodes[2].endpoint = Text::new("GENESIS0:9651").unwrap()),
        BadGenesis::DuplicateEndpoint { node, endpoint }
    );
    assert_eq!(
        refused(|g| g.nodes[2].endpoint = Text::new("nowhere").unwrap()),
        BadGenesis::Endpoint { node, endpoint: "nowhere".to_owned() }
    );
    let (got, min) = (Amount::lux(99), Amount::lux(100));
    assert_eq!(refused(|g| g.nodes[2].stake = got), BadGenesis::Stake { node, got, min });
}

#[test]
fn a_swarm_is_no_larger_than_its_members_can_work_with() {
    genesis(32).state().unwrap();
    let swarm = SwarmId(7);
    assert_eq!(refused(|g| *g = genesis(33)), BadGenesis::SwarmTooLarge { swarm });
}

#[test]
fn params_have_ranges() {
    let changes: [(&str, Change); 6] = [
        ("epoch", |g| g.params.epoch = Span::ZERO),
        ("epoch", |g| g.params.epoch = Span::from_days(31)),
        ("unbonding", |g| g.params.unbonding = Span::from_days(366)),
        ("session_time_max", |g| g.params.session_time_max = Span::ZERO),
        ("swarm_size", |g| g.params.swarm_size = 0),
        ("stake_min", |g| g.params.stake_min = Amount::ZERO),
    ];
    for (name, change) in changes {
        let BadGenesis::Params(bad) = refused(change) else { panic!("not about params") };
        assert_eq!(bad.field, name);
    }
    assert_eq!(
        refused(|g| g.params.swarm_size = 33).to_string(),
        "params.swarm_size is 33, it must be 1 to 32"
    );
}
