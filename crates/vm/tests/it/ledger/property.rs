//! Long random histories: most transactions make sense, many do not, some are hostile.

use std::collections::BTreeMap;

use session_core::committee::quorum;
use session_core::merkle::Tree;
use session_core::seed_ids::session_id;
use session_core::{
    AccountId, ChannelId, ConversationId, Domain, Entropy as _, NodeId, SessionId, Span, Text,
    TxId, digest,
};
use session_crypto::fake::FakeVerifier;
use session_protocol::attestation::{failure_root, outcome_root};
use session_protocol::chain::{Action, Amount, Transaction};
use session_vm::ledger::invariants::{indexes_agree, supply_is_conserved};
use session_vm::ledger::{BlockContext, Changes, Ledger, Rejection};
use session_vm::query;
use session_vm::records::{NodeStatus, Params};
use session_vm::state::State;

use super::world::{Checked, PEOPLE, World, genesis};

const NODES: usize = 4;
const BLOCKS: usize = 150;
const SEEDS: u64 = 12;
const SALT: [u8; 32] = [4; 32];

/// What was executed, to do it again.
struct Block {
    context: BlockContext,
    executed: Vec<Checked>,
    root: session_core::Digest,
}

struct Walk {
    world: World,
    ids: Vec<NodeId>,
    sessions: Vec<SessionId>,
    conversations: Vec<(ConversationId, Tree)>,
    channels: Vec<ChannelId>,
    blocks: Vec<Block>,
    /// What the changes of all blocks add up to.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    outcomes: BTreeMap<&'static str, u64>,
}

fn params() -> Params {
    // Everything happens within hours, so that a walk sees it.
    Params { unbonding: Span::from_secs(7200), swarm_size: 3, ..Params::default() }
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut genesis = genesis(NODES);
        genesis.params = params();
        let world = World::of(&genesis, NODES, seed);
        let entries = world.state.range(&[]).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        Self {
            ids: world.nodes.keys().copied().collect(),
            world,
            sessions: Vec::new(),
            conversations: Vec::new(),
            channels: Vec::new(),
            blocks: Vec::new(),
            entries,
            outcomes: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.world.rng.below(bound as u64) as usize
    }

    fn one<T: Copy + From<[u8; 32]>>(&mut self, of: &[T]) -> T {
        match of.len() {
            0 => self.world.bytes32().into(),
            len => of[self.below(len)],
        }
    }

    fn some_node(&mut self) -> NodeId {
        let at = self.below(self.ids.len());
        self.ids[at]
    }

    /// Old ones are over.
    fn recent_session(&mut self) -> SessionId {
        let recent: Vec<SessionId> = self.sessions.iter().rev().take(4).copied().collect();
        self.one(&recent)
    }

    /// The account that operates a node, or anybody.
    fn operator(&mut self, node: &NodeId) -> usize {
        let node = query::node(&self.world.state, node);
        let known =
            node.and_then(|(_, node)| (0..PEOPLE).find(|who| self.world.id(*who) == node.operator));
        match known {
            Some(who) if self.below(10) > 0 => who,
            _ => self.below(PEOPLE),
        }
    }

    fn order(&mut self) -> (usize, Action) {
        let who = self.below(PEOPLE);
        match self.below(16) {
            0 | 1 => {
                let to = self.below(PEOPLE + 1);
                let to = if to < PEOPLE { self.world.id(to) } else { self.world.bytes32().into() };
                let half = self.world.balance(who).0 / 2 + 1;
                let amount = Amount(self.world.rng.below(half * 3));
                (who, Action::Transfer { to, amount })
            }
            2 | 3 => {
                let node = self.world.make_node();
                self.ids.push(node);
                let place = self.below(30);
                (who, self.world.register(who, &node, &format!("node{place}:9651")))
            }
            4 => {
                let old = self.some_node();
                let new = if self.below(5) == 0 {
                    self.some_node()
                } else {
                    let new = self.world.make_node();
                    self.ids.push(new);
                    new
                };
                let who = self.operator(&old);
                (who, self.world.rotate(who, old, &new))
            }
            5 => {
                let node = self.some_node();
                (self.operator(&node), Action::Decommission { node })
            }
            6 => {
                let node = self.some_node();
                (self.operator(&node), Action::Withdraw { node })
            }
            7 | 8 => {
                let [service, program, input] = [(); 3].map(|()| self.world.bytes32());
                let time_max = Span::from_secs(self.world.rng.below(20_000));
                let [program, input] = [program.into(), input.into()];
                (who, Action::CreateSession { service: service.into(), program, input, time_max })
            }
            9 => {
                let session = self.recent_session();
                (0, Action::StartSession { session })
            }
            10 | 11 => (who, self.end_session()),
            12 => (who, self.open(who)),
            13 => (who, self.close()),
            14 => {
                let name = Text::new(format!("channel {}", self.below(6))).unwrap();
                (who, Action::CreateChannel { name })
            }
            _ => {
                let channel = self.one(&self.channels.clone());
                let join = self.below(2) == 0;
                let action = if join {
                    Action::JoinChannel { channel }
                } else {
                    Action::LeaveChannel { channel }
                };
                (who, action)
            }
        }
    }

    fn end_session(&mut self) -> Action {
        let session = self.recent_session();
        let [output, oracle_root, receipts_root] = [[1; 32], [2; 32], [3; 32]].map(Into::into);
        let well = self.below(2) == 0;
        let reason = ["deadline", "broken"][self.below(2)];
        let root = match well {
            true => outcome_root(&output, &oracle_root, &receipts_root),
            false => failure_root(reason),
        };
        let members = query::session(&self.world.state, &session).map(|it| it.committee.len());
        let certificate = members.map(|members| {
            // More than a quorum of a large committee would not fit a transaction.
            let quorum = quorum(members).unwrap();
            let signers = if self.below(4) == 0 { 1 + self.below(quorum) } else { quorum };
            self.world.certify(&session, root, signers)
        });
        match certificate {
            Some(certificate) if well => {
                Action::FinalizeSession { session, output, oracle_root, receipts_root, certificate }
            }
            certificate => {
                let certificate = certificate.filter(|_| reason != "deadline");
                Action::FailSession { session, reason: Text::new(reason).unwrap(), certificate }
            }
        }
    }

    fn open(&mut self, who: usize) -> Action {
        let other = self.below(PEOPLE);
        let leaf = |id: AccountId| digest(Domain::ConversationParticipant, &[&SALT, id.as_bytes()]);
        let tree = Tree::new([leaf(self.world.id(who)), leaf(self.world.id(other))]);
        let participants_root = tree.root();
        self.conversations.push((ConversationId::default(), tree));
        let bound = if self.below(8) == 0 { 60 } else { 100_000 };
        let ttl = Span::from_secs(self.world.rng.below(bound));
        Action::OpenConversation { participants_root, participants: 2, ttl }
    }

    fn close(&mut self) -> Action {
        let Some(at) = self.conversations.len().checked_sub(1) else {
            return Action::JoinChannel { channel: self.one::<ChannelId>(&[]) };
        };
        let at = self.below(at + 1);
        let (conversation, tree) = self.conversations[at].clone();
        let proof = tree.prove(self.below(2) as u64).unwrap();
        Action::CloseConversation { conversation, salt: SALT, proof }
    }

    /// Sometimes spoils the head.
    fn spoil(&mut self, tx: &mut Transaction) {
        match self.below(20) {
            0 => tx.nonce = tx.nonce.wrapping_sub(1),
            1 => tx.nonce = tx.nonce.wrapping_add(1),
            2 => tx.fee_max = Amount(self.world.rng.below(2_000)),
            3 => tx.expires = self.world.now - Span::from_millis(1),
            4 => tx.expires = tx.expires + Span::from_days(2),
            // A possession names the chain too, and its check comes first.
            5 if tx.possession().is_none() => tx.chain = self.world.bytes32().into(),
            _ => {}
        }
    }

    /// Remembers the ids of what a transaction made.
    fn remember(&mut self, tx: &Checked, id: TxId) {
        let new = |domain| {
            *digest(domain, &[tx.signed.transaction.chain.as_bytes(), id.as_bytes()]).as_bytes()
        };
        match &tx.signed.transaction.action {
            Action::CreateSession { service, .. } => {
                let epoch = query::epoch(&self.world.state).number;
                self.sessions.push(session_id(service, epoch, &id));
            }
            Action::OpenConversation { participants_root, .. } => {
                let named = self
                    .conversations
                    .iter_mut()
                    .rfind(|(_, tree)| tree.root() == *participants_root);
                named.unwrap().0 = new(Domain::Conversation).into();
            }
            Action::CreateChannel { .. } => self.channels.push(new(Domain::Channel).into()),
            _ => {}
        }
    }

    fn block(&mut self) {
        self.world.now = self.world.now + Span::from_millis(self.world.rng.below(1_200_000));
        let context = self.world.context();
        let mut ledger = Ledger::begin(&self.world.state, context);
        // What the walk knows is the state of the block before, and so the nonces are too.
        let mut made: BTreeMap<AccountId, u64> = BTreeMap::new();
        let mut executed = Vec::new();
        for _ in 0..self.below(8) {
            let (who, action) = self.order();
            let mut tx = self.world.draft(who, action);
            let nonces = made.entry(tx.sender).or_insert(tx.nonce);
            tx.nonce = *nonces;
            self.spoil(&mut tx);
            let tx = self.world.sign(who, tx);
            let before = ledger.clone();
            match ledger.execute(&tx, &FakeVerifier) {
                Ok(()) => {
                    *made.get_mut(&tx.sender()).unwrap() += 1;
                    *self.outcomes.entry(tx.signed.transaction.action.name()).or_default() += 1;
                    executed.push(tx);
                }
                Err(refused) => {
                    let (before, after) = (before.finish(), ledger.clone().finish());
                    assert_eq!(before.0.root(), after.0.root(), "{refused}");
                    assert_eq!(before.1, after.1, "{refused}");
                    *self.outcomes.entry(refused.code()).or_default() += 1;
                }
            }
        }
        let (state, changes) = ledger.finish();
        for (account, nonce) in made {
            assert_eq!(
                query::account(&state, &account).nonce,
                nonce,
                "a nonce counts what was executed"
            );
        }
        self.add_up(&state, changes);
        self.blocks.push(Block { context, executed: executed.clone(), root: state.root() });
        self.world.adopt(state);
        for tx in executed {
            self.remember(&tx, tx.id);
        }
    }

    fn add_up(&mut self, state: &State, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.entries.insert(key, value)),
                None => drop(self.entries.remove(&key)),
            }
        }
        assert_eq!(State::from_entries(&self.entries).root(), state.root());
    }

    /// Executes the whole history again.
    fn replay(&self) {
        let mut genesis = genesis(NODES);
        genesis.params = params();
        let mut state = genesis.state().unwrap();
        for block in &self.blocks {
            let mut ledger = Ledger::begin(&state, block.context);
            for tx in &block.executed {
                ledger.execute(tx, &FakeVerifier).unwrap();
            }
            state = ledger.finish().0;
            assert_eq!(state.root(), block.root, "block {}", block.context.height);
        }
    }
}

#[test]
fn no_history_makes_or_destroys_lux() {
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut walk = Walk::new(seed);
        for _ in 0..BLOCKS {
            walk.block();
            supply_is_conserved(&walk.world.state)
                .unwrap_or_else(|error| panic!("{seed}: {error}"));
            indexes_agree(&walk.world.state).unwrap_or_else(|error| panic!("{seed}: {error}"));
        }
        walk.replay();
        for (name, count) in walk.outcomes {
            *outcomes.entry(name).or_default() += count;
        }
        let retired = query::nodes(&walk.world.state, None, 1000)
            .into_iter()
            .filter(|(_, node)| matches!(node.status, NodeStatus::Retired { .. }));
        *outcomes.entry("retired nodes").or_default() += retired.count() as u64;
    }
    // A walk that does nothing proves nothing.
    for name in ACTIONS.iter().chain(REFUSALS) {
        assert!(outcomes.contains_key(name), "no {name} in {outcomes:?}");
    }
    assert!(outcomes["retired nodes"] > 0);
}

const ACTIONS: &[&str] = &[
    "Transfer",
    "RegisterServiceNode",
    "RotateNodeKeys",
    "Decommission",
    "Withdraw",
    "CreateSession",
    "StartSession",
    "FinalizeSession",
    "FailSession",
    "OpenConversation",
    "CloseConversation",
    "CreateChannel",
    "JoinChannel",
    "LeaveChannel",
];

const REFUSALS: &[&str] = &[
    "nonce",
    "fee",
    "funds",
    "expired",
    "distant",
    "chain",
    "node_registered",
    "endpoint_registered",
    "not_owner",
    "node_not_active",
    "not_decommissioned",
    "unbonding",
    "session_phase",
    "session_over",
    "session_not_over",
    "certificate",
    "ttl",
    "not_participant",
    "channel_exists",
];

#[test]
fn a_seed_has_one_history() {
    let roots = |seed| {
        let mut walk = Walk::new(seed);
        (0..10).for_each(|_| walk.block());
        walk.blocks.iter().map(|block| block.root).collect::<Vec<_>>()
    };
    assert_eq!(roots(1), roots(1));
    assert_ne!(roots(1), roots(2));
}

#[test]
fn a_rejection_names_its_values() {
    let mut world = World::new(0);
    let amount = Amount::lux(1_000_000);
    let to = world.id(2);
    let refused = world.run(1, Action::Transfer { to, amount }).unwrap_err();
    assert!(matches!(refused, Rejection::Funds { needed, .. } if needed == amount));
    assert!(refused.to_string().starts_with("1000000 LUX are needed"), "{refused}");
}
