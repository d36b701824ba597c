//! A chain without consensus: people and nodes with fake keys, and one state.

use std::collections::BTreeMap;

use session_core::{
    AccountId, Blob, BlockId, ChainId, Domain, Encode as _, Entropy as _, NodeId, SeededEntropy,
    SessionId, Span, SwarmId, Text, Time, TxId, digest,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::Verified;
use session_protocol::attestation::{Kind, QuorumCertificate, Scheme, Statement, committee_root};
use session_protocol::chain::transaction::{Possession, TRANSACTION_VERSION, bitmap};
use session_protocol::chain::{Action, Amount, ReceivedTransaction, Transaction};
use session_vm::genesis::{Genesis, GenesisAccount, GenesisNode};
use session_vm::ledger::invariants::{indexes_agree, supply_is_conserved};
use session_vm::ledger::{BlockContext, Ledger, Rejection};
use session_vm::query;
use session_vm::records::Params;
use session_vm::state::State;

pub(crate) const PEOPLE: usize = 6;
pub(crate) const START: Time = Time::from_millis(1_700_000_000_000);
pub(crate) const HOUR: Span = Span::from_secs(3600);

pub(crate) type Checked = Verified<ReceivedTransaction>;

pub(crate) struct World {
    pub(crate) chain: ChainId,
    pub(crate) state: State,
    pub(crate) now: Time,
    pub(crate) height: u64,
    pub(crate) rng: SeededEntropy,
    pub(crate) people: Vec<FakeIdentity>,
    /// Every node identity that was made, by its id.
    pub(crate) nodes: BTreeMap<NodeId, FakeIdentity>,
}

pub(crate) fn person(number: usize) -> FakeIdentity {
    FakeIdentity::new(&[number as u8 + 1; 32])
}

pub(crate) fn genesis_node(number: usize) -> FakeIdentity {
    FakeIdentity::new(&[0x80 + number as u8; 32])
}

/// Six people with 10,000 LUX each and `nodes` nodes of the first one in one swarm.
pub(crate) fn genesis(nodes: usize) -> Genesis {
    let accounts = (0..PEOPLE).map(|number| GenesisAccount {
        account: person(number).public().account_id(),
        balance: Amount::lux(10_000),
        keys: None,
    });
    let nodes = (0..nodes).map(|number| GenesisNode {
        operator: person(0).public().account_id(),
        keys: genesis_node(number).public().clone(),
        endpoint: Text::new(format!("genesis{number}:9651")).unwrap(),
        stake: Amount::lux(100),
        swarm: SwarmId(7),
    });
    Genesis {
        name: Text::new("test").unwrap(),
        time: START,
        params: Params::default(),
        sequencer: None,
        accounts: accounts.collect(),
        nodes: nodes.collect(),
        authority: None,
        supply: None,
    }
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        Self::of(&genesis(nodes), nodes, 0)
    }

    pub(crate) fn of(genesis: &Genesis, nodes: usize, seed: u64) -> Self {
        let of_genesis = (0..nodes).map(genesis_node);
        Self {
            chain: genesis.chain_id(),
            state: genesis.state().unwrap(),
            now: START,
            height: 0,
            rng: SeededEntropy::new(seed),
            people: (0..PEOPLE).map(person).collect(),
            nodes: of_genesis.map(|node| (node.public().node_id(), node)).collect(),
        }
    }

    pub(crate) fn id(&self, who: usize) -> AccountId {
        self.people[who].public().account_id()
    }

    pub(crate) fn balance(&self, who: usize) -> Amount {
        query::account(&self.state, &self.id(who)).balance
    }

    pub(crate) fn context(&self) -> BlockContext {
        // Any id that depends on the height will do for a parent.
        let parent = digest(Domain::Block, &[&self.height.to_be_bytes()]);
        BlockContext {
            chain: self.chain,
            parent: BlockId::from(*parent.as_bytes()),
            height: self.height + 1,
            time: self.now,
        }
    }

    /// A transaction with nothing wrong about its head.
    pub(crate) fn draft(&self, who: usize, action: Action) -> Transaction {
        Transaction {
            version: TRANSACTION_VERSION,
            chain: self.chain,
            sender: self.id(who),
            nonce: query::account(&self.state, &self.id(who)).nonce,
            fee_max: Amount::lux(1),
            expires: self.now + HOUR,
            action,
        }
    }

    pub(crate) fn sign(&mut self, who: usize, tx: Transaction) -> Checked {
        let with_keys = query::keys(&self.state, &self.id(who)).is_none();
        checked(tx, &self.people[who], with_keys, &mut self.rng)
    }

    /// A block of one transaction. Whatever is refused changes nothing.
    pub(crate) fn try_tx(&mut self, who: usize, tx: Transaction) -> Result<TxId, Rejection> {
        let tx = self.sign(who, tx);
        let mut ledger = Ledger::begin(&self.state, self.context());
        let result = ledger.execute(&tx, &FakeVerifier);
        let (state, changes) = ledger.finish();
        if result.is_err() {
            let (untouched, turn) = Ledger::begin(&self.state, self.context()).finish();
            assert_eq!((state.root(), changes), (untouched.root(), turn));
        }
        self.adopt(state);
        result.map(|()| tx.id)
    }

    pub(crate) fn run(&mut self, who: usize, action: Action) -> Result<TxId, Rejection> {
        let tx = self.draft(who, action);
        self.try_tx(who, tx)
    }

    /// Lets time pass, and an empty block.
    pub(crate) fn pass(&mut self, span: Span) {
        self.now = self.now + span;
        let (state, _) = Ledger::begin(&self.state, self.context()).finish();
        self.adopt(state);
    }

    pub(crate) fn adopt(&mut self, state: State) {
        self.height += 1;
        self.state = state;
        supply_is_conserved(&self.state).unwrap();
        indexes_agree(&self.state).unwrap();
    }

    pub(crate) fn make_node(&mut self) -> NodeId {
        let node = FakeIdentity::generate(&mut self.rng);
        let id = node.public().node_id();
        self.nodes.insert(id, node);
        id
    }

    pub(crate) fn register(&mut self, who: usize, node: &NodeId, endpoint: &str) -> Action {
        let endpoint = Text::new(endpoint).unwrap();
        let possession = self.possession(who, node, endpoint.clone());
        let keys = self.nodes[node].public().clone();
        Action::RegisterServiceNode { keys, endpoint, stake: Amount::lux(100), possession }
    }

    pub(crate) fn rotate(&mut self, who: usize, node: NodeId, new: &NodeId) -> Action {
        let possession = self.possession(who, new, Text::default());
        Action::RotateNodeKeys { node, keys: self.nodes[new].public().clone(), possession }
    }

    fn possession(
        &mut self,
        who: usize,
        node: &NodeId,
        endpoint: Text<256>,
    ) -> session_crypto::Signature {
        let statement =
            Possession { chain: self.chain, operator: self.id(who), node: *node, endpoint };
        statement.sign(&self.nodes[node], &mut self.rng)
    }

    /// A certificate of the first `signers` members of a session's committee.
    pub(crate) fn certify(
        &mut self,
        session: &SessionId,
        root: session_core::Digest,
        signers: usize,
    ) -> QuorumCertificate {
        let anchor = query::session(&self.state, session).unwrap();
        let committee = query::session_committee(&self.state, &anchor);
        let statement = Statement {
            chain: self.chain,
            committee: committee_root(&committee),
            kind: Kind::SessionComplete,
            subject: (*session.as_bytes()).into(),
            root,
            epoch: anchor.epoch,
        };
        let current = |member| query::current_id(&self.state, member).unwrap();
        let signatures: Vec<_> = anchor.committee[..signers]
            .iter()
            .map(|member| statement.sign(&self.nodes[&current(member)], &mut self.rng).signature)
            .collect();
        QuorumCertificate {
            scheme: Scheme::MlDsa65List,
            statement,
            signers: Blob::new(&*bitmap(committee.len(), 0..signers)).unwrap(),
            signatures: session_core::List::new(signatures).unwrap(),
        }
    }

    pub(crate) fn bytes32(&mut self) -> [u8; 32] {
        self.rng.bytes32()
    }
}

/// Sends a transaction through its bytes, as everybody gets it.
pub(crate) fn checked(
    tx: Transaction,
    signer: &FakeIdentity,
    with_keys: bool,
    rng: &mut SeededEntropy,
) -> Checked {
    let chain = tx.chain;
    let bytes = tx.sign(signer, with_keys, rng).to_bytes();
    let received = ReceivedTransaction::parse(&bytes).unwrap();
    received.check(&chain, Some(signer.public()), &FakeVerifier).unwrap()
}
