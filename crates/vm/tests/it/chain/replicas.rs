//! Three replicas, a driver that decides at random, and what must hold then.

use session_core::{Entropy, SeededEntropy, Span, Time};
use session_crypto::Signer;
use session_storage::kv::{Batch, MemoryDatabase};
use session_vm::chain::{BlockInfo, BuildError, Chain};
use session_vm::{ledger, query};

use super::harness::{World, at};

const REPLICAS: u64 = 3;

struct Cluster {
    world: World,
    chains: Vec<Chain<MemoryDatabase>>,
    dice: SeededEntropy,
    now: Time,
    included: usize,
    forks: usize,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let chains = (0..REPLICAS).map(|_| world.chain()).collect();
        let dice = SeededEntropy::new(!seed);
        Self { world, chains, dice, now: at(0), included: 0, forks: 0 }
    }

    fn submit(&mut self) {
        let state = self.chains[0].state();
        let accounts = self.world.people.iter().map(|it| it.public().account_id());
        let nonces: Vec<u64> = accounts.map(|id| query::account(state, &id).nonce).collect();
        let bytes = self.world.random(|person| nonces[person]);
        for chain in &mut self.chains {
            // Not everybody hears of everything; and not everything is acceptable.
            if self.dice.below(3) > 0 {
                let _ = chain.submit(&bytes, self.now);
            }
        }
    }

    /// One proposer's turn: one block, or two for one height of which one loses.
    fn decide(&mut self) {
        let mut candidates = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let proposer = self.dice.below(REPLICAS) as usize;
            match self.chains[proposer].build(self.now) {
                Ok(block) if candidates.contains(&block) => {}
                Ok(block) => candidates.push(block),
                Err(BuildError::NothingToBuild) => {}
                Err(other) => panic!("own blocks are valid: {other}"),
            }
        }
        if candidates.is_empty() {
            return;
        }
        self.forks += usize::from(candidates.len() > 1);
        let winner = self.dice.below(candidates.len() as u64) as usize;
        for replica in 0..self.chains.len() {
            self.follow(replica, &candidates, winner);
        }
        self.included += candidates[winner].transactions;
        self.check();
    }

    /// What one replica's engine does with the candidates.
    fn follow(&mut self, replica: usize, candidates: &[BlockInfo], winner: usize) {
        let chain = &mut self.chains[replica];
        for block in candidates {
            chain.verify(&block.bytes, self.now).expect("all built on the same block");
            if self.dice.below(2) == 0 {
                chain.set_preference(&block.id).expect("it is verified");
            }
            // Sometimes it builds on a block that may lose.
            if self.dice.below(3) == 0 {
                let _ = chain.build(self.now);
            }
        }
        chain.accept(&candidates[winner].id, Batch::new()).expect("it is verified");
        for (index, block) in candidates.iter().enumerate() {
            if index != winner && self.dice.below(4) > 0 {
                chain.reject(&block.id, self.now).expect("the chain is open");
            }
        }
        chain.set_preference(&candidates[winner].id).expect("it is accepted");
        // A block that was built on the winner may be dropped by the engine.
        if self.dice.below(2) == 0
            && let Ok(block) = chain.build(self.now)
        {
            chain.reject(&block.id, self.now).expect("the chain is open");
        }
    }

    fn check(&self) {
        let last = self.chains[0].last_accepted();
        for chain in &self.chains {
            assert_eq!(chain.last_accepted(), last);
            assert_eq!(chain.state().root(), last.state_root);
            ledger::invariants::supply_is_conserved(chain.state())
                .expect("nothing is made or lost");
        }
    }

    /// All blocks anew, from genesis.
    fn replay(&self) {
        let mut again = self.world.chain();
        let chain = &self.chains[0];
        for height in 1..=chain.last_accepted().height {
            let id = chain.id_at_height(height).expect("memory").expect("it was accepted");
            let block = chain.block(&id).expect("memory").expect("it was accepted");
            again.verify(&block.bytes, self.now).expect("it was valid");
            again.accept(&id, Batch::new()).expect("it is the next one");
        }
        assert_eq!(again.last_accepted(), chain.last_accepted());
        assert_eq!(again.state().root(), chain.state().root());
    }
}

#[test]
fn replicas_agree_whatever_is_decided_in_whatever_order() {
    let (mut included, mut forks, mut turned) = (0, 0, 0);
    for seed in 0..24 {
        let mut cluster = Cluster::new(seed);
        for _ in 0..160 {
            let secs = cluster.dice.below(90);
            cluster.now = cluster.now + Span::from_secs(secs);
            match cluster.dice.below(3) {
                0 => cluster.decide(),
                _ => cluster.submit(),
            }
        }
        cluster.replay();
        included += cluster.included;
        forks += cluster.forks;
        turned += query::epoch(cluster.chains[0].state()).number.0;
    }
    // The test means something: there were transactions, forks and turns of epochs.
    assert!(included > 300 && forks > 50 && turned >= 24, "{included}, {forks}, {turned}");
}

#[test]
fn the_same_transactions_and_times_give_the_same_blocks() {
    let run = || {
        let mut cluster = Cluster::new(77);
        for round in 0..40 {
            cluster.now = at(round * 60);
            cluster.submit();
            if round % 4 == 3 {
                cluster.decide();
            }
        }
        cluster.chains[0].last_accepted().clone()
    };
    let first = run();
    assert!(first.height > 5);
    assert_eq!(first, run());
}
