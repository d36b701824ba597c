//! No bytes make the chain panic or change its state before a decision; what it reads as a block is
//! canonical.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use session_core::{Blob, Encode, List, SeededEntropy, Span, Text, Time};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::chain::{Action, Amount, Block, Transaction};
use session_storage::kv::MemoryDatabase;
use session_vm::chain::{Chain, Config};
use session_vm::genesis::{Genesis, GenesisAccount};
use session_vm::records::Params;

const START: Time = Time::from_millis(1_700_000_000_000);
const NOW: Time = Time::from_millis(1_700_000_001_000);

struct World {
    chain: Chain<MemoryDatabase>,
    /// A valid block, rejected again.
    block: Vec<u8>,
}

fn world() -> World {
    let mut rng = SeededEntropy::new(1);
    let person = FakeIdentity::generate(&mut rng);
    let account = person.public().account_id();
    let genesis = Genesis {
        name: Text::new("fuzz").expect("short"),
        time: START,
        params: Params::default(),
        sequencer: None,
        accounts: vec![GenesisAccount { account, balance: Amount::lux(1_000), keys: None }],
        nodes: Vec::new(),
        authority: None,
        supply: None,
    };
    let id = genesis.chain_id();
    let config = Config::new(Arc::new(FakeVerifier));
    let mut chain = Chain::open(MemoryDatabase::default(), &genesis, id, config).expect("it opens");
    for nonce in 0..2 {
        let body = Transaction {
            version: 1,
            chain: id,
            sender: account,
            nonce,
            fee_max: Amount::lux(1),
            expires: NOW + Span::from_secs(60),
            action: Action::Transfer { to: [1; 32].into(), amount: Amount::lux(1) },
        };
        let bytes = body.sign(&person, nonce == 0, &mut rng).to_bytes();
        chain.submit(&bytes, NOW).expect("it is fine");
    }
    let block = chain.build(NOW).expect("two wait");
    chain.reject(&block.id, NOW).expect("the chain is open");
    World { chain, block: block.bytes.to_vec() }
}

/// Verifies, and takes it back.
fn offer(world: &mut World, bytes: &[u8]) {
    let root = world.chain.state().root();
    if let Ok(info) = world.chain.parse(bytes) {
        let block = Block::parse(bytes, world.chain.id()).expect("it was just parsed");
        assert_eq!(block.to_bytes(), bytes, "accepted, but not what encoding produces");
        assert_eq!(block.id(), info.id);
    }
    if let Ok(info) = world.chain.verify(bytes, NOW) {
        assert_eq!(info.bytes[..], *bytes);
        world.chain.reject(&info.id, NOW).expect("the chain is open");
    }
    assert_eq!(world.chain.undecided(), 0);
    assert_eq!(world.chain.state().root(), root);
}

/// The valid block with some bytes changed: place (3 bytes), what to xor (1 byte).
fn altered(world: &World, edits: &[u8]) -> Vec<u8> {
    let mut bytes = world.block.clone();
    for edit in edits.chunks_exact(4) {
        let place = u32::from_be_bytes([0, edit[0], edit[1], edit[2]]) as usize % bytes.len();
        bytes[place] ^= edit[3];
    }
    bytes
}

/// A block with a right head and arbitrary transactions of up to 255 bytes each.
fn filled(world: &World, mut bytes: &[u8]) -> Vec<u8> {
    let block = Block::parse(&world.block, world.chain.id()).expect("it is valid");
    let mut transactions = block.transactions.to_vec();
    while let Some((&length, rest)) = bytes.split_first() {
        let (transaction, rest) = rest.split_at(usize::from(length).min(rest.len()));
        transactions.push(Blob::new(transaction).expect("short"));
        bytes = rest;
        if transactions.len() == 16 {
            break;
        }
    }
    Block { transactions: List::new(transactions).expect("few"), ..block }.to_bytes()
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(world());
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    WORLD.with_borrow_mut(|world| match kind % 4 {
        0 => offer(world, bytes),
        1 => offer(world, &altered(world, bytes)),
        2 => offer(world, &filled(world, bytes)),
        _ => {
            let waiting = world.chain.mempool_stats().transactions;
            // The signer's key is not in the input: nothing new can be signed.
            assert!(world.chain.submit(bytes, NOW).is_err());
            assert_eq!(world.chain.mempool_stats().transactions, waiting);
        }
    });
});
