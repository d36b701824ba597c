//! What nodes do for free, on its way through the mempool into blocks.

use session_core::seed_ids::session_id;
use session_core::{Encode, Epoch, SessionId, Span, SwarmId, Text, Time};
use session_crypto::Signer;
use session_crypto::fake::FakeIdentity;
use session_protocol::chain::transaction::TRANSACTION_VERSION;
use session_protocol::chain::{Action, Amount, Block, Transaction};
use session_protocol::commitment::Commitment;
use session_protocol::schedule::Phase;
use session_storage::kv::MemoryDatabase;
use session_vm::chain::{BuildError, Chain, InvalidBlock, SubmitError};
use session_vm::genesis::GenesisNode;
use session_vm::ledger::Rejection;
use session_vm::mempool::{Limits, Refused};
use session_vm::query;
use session_vm::records::{NotAllowed, SessionPhase, StorageCommitments};

use super::harness::{World, at, id_of, ids, parsed, step};

const SWARM: SwarmId = SwarmId(1);

struct Nodes {
    world: World,
    nodes: Vec<FakeIdentity>,
}

impl Nodes {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let nodes: Vec<_> = (0..4).map(|_| FakeIdentity::generate(&mut world.rng)).collect();
        world.genesis.nodes = nodes
            .iter()
            .enumerate()
            .map(|(number, node)| GenesisNode {
                operator: world.people[0].public().account_id(),
                keys: node.public().clone(),
                endpoint: Text::new(format!("node:{}", number + 1)).expect("short"),
                stake: Amount::lux(100),
                swarm: SWARM,
            })
            .collect();
        Self { world, nodes }
    }

    fn duty(&mut self, node: usize, nonce: u64, expires: Time, action: Action) -> Vec<u8> {
        let body = Transaction {
            version: TRANSACTION_VERSION,
            chain: self.world.genesis.chain_id(),
            sender: self.nodes[node].public().account_id(),
            nonce,
            fee_max: Amount::ZERO,
            expires,
            action,
        };
        body.sign(&self.nodes[node], false, &mut self.world.rng).to_bytes()
    }

    fn commit(&mut self, node: usize, nonce: u64, epoch: u64) -> Vec<u8> {
        let root = [nonce as u8; 32].into();
        let commitment = Commitment { epoch: Epoch(epoch), swarm: SWARM, count: 0, bytes: 0, root };
        self.duty(node, nonce, at(20_000), Action::StorageCommitment { commitment })
    }

    fn committed(&self, chain: &Chain<MemoryDatabase>, node: usize) -> Option<Commitment> {
        let id = self.nodes[node].public().node_id();
        query::get::<StorageCommitments>(chain.state(), &id)?.current
    }
}

fn rejected(result: Result<session_core::TxId, SubmitError>) -> Rejection {
    match result {
        Err(SubmitError::Rejected(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_duty_goes_into_the_next_block_without_a_fee() {
    let mut it = Nodes::new(1);
    let mut chain = it.world.chain();
    let duty = it.commit(0, 0, 0);
    let id = chain.submit(&duty, at(1)).expect("it is due");
    assert!(chain.pending(at(1)));
    let block = step(&mut chain, at(2));
    assert_eq!(ids(&block), [id]);
    assert!(it.committed(&chain, 0).is_some());
    assert_eq!(query::treasury(chain.state()), Amount::ZERO);
}

#[test]
fn the_way_in_is_closed_to_what_is_not_due() {
    let mut it = Nodes::new(2);
    let mut chain = it.world.chain();
    // A person has no duties, whatever it offers.
    let action = Action::Drain { epochs: 1 };
    let body = it.world.body(0, 0, action);
    let sender = body.sender;
    let stranger = it.world.sign(0, body);
    assert_eq!(rejected(chain.submit(&stranger, at(1))), Rejection::NotANode { sender });

    let signatures = it.world.verifier.count();
    let late = it.commit(0, 0, 0);
    let phase = Phase::Reveal;
    assert_eq!(rejected(chain.submit(&late, at(1_800))), Rejection::WrongPhase { phase });
    let (got, due) = (Epoch(0), Epoch(1));
    assert_eq!(rejected(chain.submit(&late, at(3_600))), Rejection::WrongEpoch { got, due });
    assert_eq!(it.world.verifier.count(), signatures, "refused before its signature");
    // Too early is known only when it is tried.
    let early = it.commit(0, 0, 1);
    let (got, due) = (Epoch(1), Epoch(0));
    assert_eq!(rejected(chain.submit(&early, at(1))), Rejection::WrongEpoch { got, due });
    // Behind the turn that the next block makes it is due.
    chain.submit(&early, at(3_600)).expect("it is due in the next block");
    step(&mut chain, at(3_600));
    assert!(it.committed(&chain, 0).is_some());
}

#[test]
fn a_node_that_is_out_has_no_free_way_in() {
    let mut it = Nodes::new(3);
    let mut chain = it.world.chain();
    let node = it.nodes[0].public().node_id();
    let body = it.world.body(0, 0, Action::Decommission { node });
    let decommission = it.world.sign(0, body);
    chain.submit(&decommission, at(1)).expect("it is fine");
    step(&mut chain, at(1));
    step(&mut chain, at(3_600));
    let duty = it.commit(0, 0, 1);
    let status = "decommissioning";
    assert_eq!(rejected(chain.submit(&duty, at(3_601))), Rejection::NodeNotActive { status });
}

#[test]
fn what_is_over_leaves_the_pool_with_the_next_block() {
    let mut it = Nodes::new(4);
    let mut chain = it.world.chain();
    chain.submit(&it.commit(0, 0, 0), at(1_700)).expect("it is due");
    chain.submit(&it.commit(0, 1, 0), at(1_700)).expect("it may be due");
    chain.submit(&it.commit(1, 0, 0), at(1_700)).expect("it is due");
    assert_eq!(chain.mempool_stats().free, 3);
    // Nobody builds until the time for it is over. What pays is still there.
    let paying = it.world.transfer(0, 0);
    chain.submit(&paying, at(1_900)).expect("it pays");
    let block = step(&mut chain, at(1_900));
    assert_eq!(ids(&block), [id_of(&paying)]);
    assert_eq!(chain.mempool_stats().transactions, 0);
    assert!(it.committed(&chain, 0).is_none());
}

#[test]
fn duties_are_not_crowded_out_and_crowd_nobody_out() {
    let mut it = Nodes::new(5);
    let limits = Limits { bytes_max: 100_000, sender_free_max: 2, ..Limits::default() };
    let mut chain = it.world.open_with(MemoryDatabase::default(), limits);
    // People fill the pool, at any price.
    let mut taken = 0;
    for nonce in 0..64 {
        for person in 0..8 {
            let transfer = it.world.transfer_for(person, nonce, Amount::lux(10));
            taken += usize::from(chain.submit(&transfer, at(1)).is_ok());
        }
    }
    let full = chain.mempool_stats();
    assert!(taken >= full.transactions && full.bytes > 90_000, "{full:?}");
    // The nodes' duties find room all the same, and are first in the block.
    let duties: Vec<_> = (0..4).map(|node| it.commit(node, 0, 0)).collect();
    for duty in &duties {
        chain.submit(duty, at(2)).expect("it is due");
    }
    // A node that leaves much waiting is stopped.
    chain.submit(&it.commit(0, 1, 0), at(2)).expect("it is due");
    let refused = chain.submit(&it.commit(0, 2, 0), at(2));
    let limit = SubmitError::Refused(Refused::SenderTransactions { limit: 2 });
    assert_eq!(refused, Err(limit));
    assert_eq!(chain.mempool_stats().transactions, full.transactions + 5);
    let block = step(&mut chain, at(2));
    let first: Vec<_> = ids(&block).into_iter().take(4).collect();
    assert!(duties.iter().all(|duty| ids(&block)[..5].contains(&id_of(duty))), "{first:?}");
    assert!(ids(&block).len() > 5, "who pays is there too");
}

impl Nodes {
    /// Creates a session of all four nodes.
    fn create(&mut self, chain: &mut Chain<MemoryDatabase>, nonce: u64) -> SessionId {
        let (service, time_max) = ([5; 32].into(), Span::from_secs(60));
        let (program, input) = ([6; 32].into(), [7; 32].into());
        let action = Action::CreateSession { service, program, input, time_max };
        let body = self.world.body(2, nonce, action);
        let create = self.world.sign(2, body);
        let tx = chain.submit(&create, at(1)).expect("it pays");
        step(chain, at(1));
        session_id(&service, Epoch(0), &tx)
    }

    fn start(&mut self, node: usize, nonce: u64, session: SessionId) -> Vec<u8> {
        self.duty(node, nonce, at(20_000), Action::StartSession { session })
    }

    fn give_up(&mut self, node: usize, nonce: u64, session: SessionId) -> Vec<u8> {
        let reason = Text::new("deadline").expect("short");
        let action = Action::FailSession { session, reason, certificate: None };
        self.duty(node, nonce, at(20_000), action)
    }
}

#[test]
fn members_begin_sessions_for_free_and_once() {
    let mut it = Nodes::new(11);
    let mut chain = it.world.chain();
    let id = it.create(&mut chain, 0);
    let fees = query::treasury(chain.state());
    let first = it.start(0, 0, id);
    let by = chain.submit(&first, at(2)).expect("a member may");
    // The same again would only wait.
    let again = SubmitError::SessionWaits { session: id, action: "StartSession", by };
    assert_eq!(chain.submit(&it.start(0, 1, id), at(2)), Err(again));
    // Whoever was slower leaves the pool once it is done.
    chain.submit(&it.start(1, 0, id), at(2)).expect("nobody knows who comes first");
    assert_eq!(chain.mempool_stats().free, 2);
    let block = step(&mut chain, at(2));
    assert_eq!(ids(&block), [by]);
    assert_eq!(chain.mempool_stats().transactions, 0);
    assert_eq!(query::treasury(chain.state()), fees);
    let late = rejected(chain.submit(&it.start(2, 0, id), at(3)));
    let running = NotAllowed { phase: SessionPhase::Running, event: "started" };
    assert_eq!(late, Rejection::SessionPhase(running));
}

#[test]
fn the_free_way_in_is_for_members_of_open_sessions() {
    let mut it = Nodes::new(12);
    let mut chain = it.world.chain();
    let id = it.create(&mut chain, 0);
    let signatures = it.world.verifier.count();
    let session = [9; 32].into();
    let unknown = rejected(chain.submit(&it.start(0, 0, session), at(2)));
    assert_eq!(unknown, Rejection::UnknownSession { session });
    // The operator of all nodes may, but pays.
    let body = it.world.body(0, 0, Action::StartSession { session: id });
    let for_nothing = it.world.sign(0, Transaction { fee_max: Amount::ZERO, ..body.clone() });
    let refused = rejected(chain.submit(&for_nothing, at(2)));
    assert!(matches!(refused, Rejection::Fee { max: Amount::ZERO, .. }), "{refused}");
    let deadline = at(61);
    let over = rejected(chain.submit(&it.start(0, 0, id), deadline));
    assert_eq!(over, Rejection::SessionOver { deadline, time: deadline });
    assert_eq!(it.world.verifier.count(), signatures, "refused before their signatures");
    let early = rejected(chain.submit(&it.give_up(0, 0, id), at(60)));
    assert_eq!(early, Rejection::SessionNotOver { deadline, time: at(60) });

    let paid = it.world.sign(0, body);
    chain.submit(&paid, at(2)).expect("the operator pays");
    step(&mut chain, at(2));
    // Time ends it, and no block has to pass before.
    chain.submit(&it.give_up(3, 0, id), deadline).expect("a member may");
    chain.submit(&it.give_up(2, 0, id), deadline).expect("another one as well");
    assert_eq!(ids(&step(&mut chain, deadline)).len(), 1);
    assert_eq!(chain.mempool_stats().transactions, 0);
    let ended = rejected(chain.submit(&it.give_up(1, 0, id), at(62)));
    let failed = NotAllowed { phase: SessionPhase::Failed, event: "failed" };
    assert_eq!(ended, Rejection::SessionPhase(failed));
}

#[test]
fn a_duty_that_cannot_be_done_any_more_blocks_nothing() {
    let mut it = Nodes::new(6);
    let mut chain = it.world.chain();
    // The second says the same as the first, and is found out when the block is built.
    let same = |it: &mut Nodes, nonce| {
        let root = [7; 32].into();
        let commitment = Commitment { epoch: Epoch(0), swarm: SWARM, count: 0, bytes: 0, root };
        it.duty(0, nonce, at(20_000), Action::StorageCommitment { commitment })
    };
    let first = same(&mut it, 0);
    let (second, third) = (same(&mut it, 1), it.commit(0, 2, 0));
    for duty in [&first, &second, &third] {
        chain.submit(duty, at(1)).expect("it may be due");
    }
    let block = step(&mut chain, at(1));
    assert_eq!(ids(&block), [id_of(&first)]);
    // The node's queue is empty: the next one takes the nonce.
    assert_eq!(chain.mempool_stats().transactions, 0);
    let third = it.commit(0, 1, 0);
    chain.submit(&third, at(2)).expect("it is due");
    let block = step(&mut chain, at(2));
    assert_eq!(ids(&block), [id_of(&third)]);
}

#[test]
fn a_chain_with_nodes_makes_a_block_for_each_quarter() {
    let it = Nodes::new(9);
    let mut chain = it.world.chain();
    for (due, epoch) in [(900, 0), (1_800, 0), (2_700, 0), (3_600, 1), (4_500, 1)] {
        assert_eq!(chain.next_due(), at(due));
        assert!(!chain.pending(at(due - 1)) && chain.pending(at(due)));
        assert_eq!(chain.build(at(due - 1)), Err(BuildError::NothingToBuild));
        let block = step(&mut chain, at(due));
        assert_eq!((block.transactions, block.time), (0, at(due)));
        assert_eq!(query::epoch(chain.state()).number, Epoch(epoch));
        assert!(!chain.pending(at(due)));
        // Another empty one in the same quarter changes nothing, and is refused.
        let empty = Block {
            parent: block.id,
            height: block.height + 1,
            time: at(due + 899),
            ..parsed(&block)
        };
        assert_eq!(chain.verify(&empty.to_bytes(), at(due + 899)), Err(InvalidBlock::Empty));
    }
    // One block stands for all the quarters that passed without any.
    let block = step(&mut chain, at(3 * 3_600 + 2_000));
    assert_eq!(query::epoch(chain.state()).number, Epoch(3));
    assert_eq!(chain.next_due(), at(3 * 3_600 + 2_700));
    assert_eq!(block.transactions, 0);
}
