//! No transaction makes the chain panic, makes or destroys LUX, or changes anything when refused.
//!
//! The input is either a whole signed transaction or, behind a first byte that is no version, actions
//! that one of three people orders. Every signature counts as good, so that what is fuzzed is what is
//! executed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{
    BlockId, ChainId, Decode as _, Digest, Encode as _, Reader, SeededEntropy, Span,
    SwarmId, Text, Time,
};
use session_crypto::fake::{CredulousVerifier, FakeIdentity};
use session_crypto::Signer as _;
use session_protocol::chain::{Action, Amount, ReceivedTransaction, Transaction};
use session_vm::genesis::{Genesis, GenesisAccount, GenesisNode};
use session_vm::ledger::invariants::{indexes_agree, supply_is_conserved};
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::query;
use session_vm::records::Params;
use session_vm::state::State;

const START: Time = Time::from_millis(1_700_000_000_000);
const CHAIN: [u8; 32] = [0xc1; 32];

static PEOPLE: LazyLock<[FakeIdentity; 3]> =
    LazyLock::new(|| [1, 2, 3].map(|seed| FakeIdentity::new(&[seed; 32])));

/// Three people with nodes of their own, a session, a conversation and a channel.
static STATE: LazyLock<State> = LazyLock::new(|| {
    let accounts = PEOPLE.iter().map(|person| GenesisAccount {
        account: person.public().account_id(),
        balance: Amount::lux(1_000),
        keys: Some(person.public().clone()),
    });
    let nodes = PEOPLE.iter().zip(0x80..).map(|(person, seed)| GenesisNode {
        operator: person.public().account_id(),
        keys: FakeIdentity::new(&[seed; 32]).public().clone(),
        endpoint: Text::new(format!("node{seed}:1")).expect("short"),
        stake: Amount::lux(100),
        swarm: SwarmId(1),
    });
    let genesis = Genesis {
        name: Text::default(),
        time: START,
        params: Params::default(),
        sequencer: None,
        accounts: accounts.collect(),
        nodes: nodes.collect(),
        authority: None,
        supply: None,
    };
    let mut ledger = Ledger::begin(&genesis.state().expect("a good genesis"), context(START));
    let day = Span::from_days(1);
    let zero = Digest::default();
    let actions = [
        Action::CreateSession {
            service: [0; 32].into(),
            program: zero,
            input: zero,
            time_max: day,
        },
        Action::OpenConversation { participants_root: zero, participants: 1, ttl: day },
        Action::CreateChannel { name: Text::new("fuzz").expect("short") },
    ];
    for (person, action) in PEOPLE.iter().zip(actions) {
        assert!(execute(&mut ledger, &order(person, 0, START, action)));
    }
    ledger.finish().0
});

fn context(time: Time) -> BlockContext {
    BlockContext { chain: ChainId::from(CHAIN), parent: BlockId::default(), height: 1, time }
}

fn order(sender: &FakeIdentity, nonce: u64, time: Time, action: Action) -> Vec<u8> {
    let tx = Transaction {
        version: 1,
        chain: ChainId::from(CHAIN),
        sender: sender.public().account_id(),
        nonce,
        fee_max: Amount::lux(10),
        expires: time,
        action,
    };
    tx.sign(sender, false, &mut SeededEntropy::new(1)).to_bytes()
}

/// The first byte chooses the sender and whether an epoch turns; actions follow one another.
fn actions(choice: u8, bytes: &[u8]) {
    let time = if choice & 4 == 0 { START } else { START + Span::from_days(1) };
    let sender = &PEOPLE[usize::from(choice % 3)];
    let account = sender.public().account_id();
    let mut nonce = query::account(&STATE, &account).nonce;
    let mut ledger = Ledger::begin(&STATE, context(time));
    let mut reader = Reader::new(bytes);
    while let Ok(action) = Action::decode(&mut reader) {
        nonce += u64::from(execute(&mut ledger, &order(sender, nonce, time, action)));
    }
    let state = ledger.finish().0;
    assert_eq!(query::account(&state, &account).nonce, nonce);
    check(&state);
}

fn check(state: &State) {
    supply_is_conserved(state).expect("no transaction makes or destroys LUX");
    indexes_agree(state).expect("every index follows its records");
}

/// Parses, checks and executes; what is refused changes nothing.
fn execute(ledger: &mut Ledger, bytes: &[u8]) -> bool {
    let Ok(received) = ReceivedTransaction::parse(bytes) else { return false };
    assert_eq!(received.signed.to_bytes(), bytes);
    let mut people = PEOPLE.iter().map(|person| person.public());
    let known = people.find(|keys| keys.account_id() == received.sender());
    let Ok(checked) = received.check(&ChainId::from(CHAIN), known, &CredulousVerifier) else { return false };
    let before = ledger.clone();
    let executed = ledger.execute(&checked, &CredulousVerifier).is_ok();
    if !executed {
        assert_eq!(before.finish().1, ledger.clone().finish().1);
    }
    executed
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((1, _)) => {
            let mut ledger = Ledger::begin(&STATE, context(START));
            execute(&mut ledger, input);
            check(&ledger.finish().0);
        }
        Some((choice, rest)) => actions(*choice, rest),
        None => {}
    }
});
