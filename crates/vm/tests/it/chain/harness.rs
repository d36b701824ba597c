use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use session_core::{Domain, Encode, Entropy, SeededEntropy, Span, Text, Time, TxId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{BadSignature, DsaPublicKey, Signature, Signer, Verifier};
use session_protocol::chain::transaction::TRANSACTION_VERSION;
use session_protocol::chain::{Action, Amount, Block, ReceivedTransaction, Transaction};
use session_storage::kv::{Batch, Database, MemoryDatabase};
use session_vm::chain::{BlockInfo, Chain, Config};
use session_vm::genesis::{Genesis, GenesisAccount};
use session_vm::mempool::Limits;
use session_vm::records::Params;

pub(crate) const START: Time = Time::from_millis(1_700_000_000_000);

/// A time in seconds after genesis.
pub(crate) fn at(secs: u64) -> Time {
    START + Span::from_secs(secs)
}

/// Counts how many signatures it checks.
#[derive(Default)]
pub(crate) struct Counting(AtomicUsize);

impl Counting {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Verifier for Counting {
    fn verify(
        &self,
        key: &DsaPublicKey,
        domain: Domain,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        FakeVerifier.verify(key, domain, message, signature)
    }
}

/// People with 1000 LUX each, and the chain that they use. Even ones have their keys in genesis.
pub(crate) struct World {
    pub(crate) people: Vec<FakeIdentity>,
    pub(crate) genesis: Genesis,
    pub(crate) rng: SeededEntropy,
    pub(crate) verifier: Arc<Counting>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let people: Vec<_> = (0..8).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let accounts = people.iter().enumerate().map(|(i, person)| GenesisAccount {
            account: person.public().account_id(),
            balance: Amount::lux(1_000),
            keys: i.is_multiple_of(2).then(|| person.public().clone()),
        });
        let genesis = Genesis {
            name: Text::new("test").expect("short"),
            time: START,
            params: Params::default(),
            sequencer: None,
            accounts: accounts.collect(),
            nodes: Vec::new(),
            authority: None,
            supply: None,
        };
        Self { people, genesis, rng, verifier: Arc::default() }
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.verifier.clone())
    }

    pub(crate) fn chain(&self) -> Chain<MemoryDatabase> {
        self.open(MemoryDatabase::default())
    }

    pub(crate) fn open<D: Database>(&self, database: D) -> Chain<D> {
        self.open_with(database, Limits::default())
    }

    pub(crate) fn open_with<D: Database>(&self, database: D, mempool: Limits) -> Chain<D> {
        let config = Config { mempool, ..self.config() };
        Chain::open(database, &self.genesis, self.genesis.chain_id(), config).expect("it opens")
    }

    /// What a person signs; the first transaction carries the keys.
    pub(crate) fn body(&self, person: usize, nonce: u64, action: Action) -> Transaction {
        Transaction {
            version: TRANSACTION_VERSION,
            chain: self.genesis.chain_id(),
            sender: self.people[person].public().account_id(),
            nonce,
            fee_max: Amount::lux(1),
            expires: at(20_000),
            action,
        }
    }

    pub(crate) fn sign(&mut self, person: usize, body: Transaction) -> Vec<u8> {
        let with_keys = body.nonce == 0 && !person.is_multiple_of(2);
        body.sign(&self.people[person], with_keys, &mut self.rng).to_bytes()
    }

    pub(crate) fn give(&self, to: usize, lux: u64) -> Action {
        let to = self.people[to].public().account_id();
        Action::Transfer { to, amount: Amount::lux(lux) }
    }

    pub(crate) fn transfer(&mut self, from: usize, nonce: u64) -> Vec<u8> {
        self.transfer_for(from, nonce, Amount::lux(1))
    }

    pub(crate) fn transfer_for(&mut self, from: usize, nonce: u64, fee_max: Amount) -> Vec<u8> {
        let to = (from + 1) % self.people.len();
        let body = Transaction { fee_max, ..self.body(from, nonce, self.give(to, 1)) };
        self.sign(from, body)
    }

    /// Some transaction of a person: mostly fine, sometimes refused.
    pub(crate) fn random(&mut self, nonce_of: impl Fn(usize) -> u64) -> Vec<u8> {
        let person = self.rng.below(8) as usize;
        let nonce = nonce_of(person) + self.rng.below(3);
        let to = self.rng.below(8) as usize;
        let action = match self.rng.below(6) {
            0 => Action::CreateChannel { name: channel_name(self.rng.below(40)) },
            1 => Action::OpenConversation {
                participants_root: self.rng.bytes32().into(),
                participants: 2,
                ttl: Span::from_secs(3600),
            },
            2 => self.give(to, 900),
            _ => {
                let lux = 1 + self.rng.below(20);
                self.give(to, lux)
            }
        };
        let fee_max = Amount(50_000 + self.rng.below(50_000));
        let body = Transaction { fee_max, ..self.body(person, nonce, action) };
        self.sign(person, body)
    }
}

fn channel_name(number: u64) -> Text<64> {
    Text::new(format!("room {number}")).expect("short")
}

pub(crate) fn id_of(transaction: &[u8]) -> TxId {
    ReceivedTransaction::parse(transaction).expect("it is one").id
}

pub(crate) fn ids(block: &BlockInfo) -> Vec<TxId> {
    parsed(block).transactions.iter().map(|bytes| id_of(bytes)).collect()
}

pub(crate) fn parsed(block: &BlockInfo) -> Block {
    use session_core::Decode;
    Block::decode_exact(&block.bytes).expect("it is one")
}

/// Accepts without entries of a shell.
pub(crate) fn accept<D: Database>(chain: &mut Chain<D>, block: &BlockInfo) {
    chain.accept(&block.id, Batch::new()).expect("it is the next one");
}

/// Builds and accepts.
pub(crate) fn step<D: Database>(chain: &mut Chain<D>, now: Time) -> BlockInfo {
    let block = chain.build(now).expect("there is something to build");
    accept(chain, &block);
    block
}
