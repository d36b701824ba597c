//! Nodes that do their duties, or do not, as tests want it.

use std::collections::BTreeSet;

use session_core::{Digest, Epoch, NodeId, Span, TxId};
use session_crypto::Signer as _;
use session_crypto::fake::FakeVerifier;
use session_protocol::chain::transaction::{TRANSACTION_VERSION, bitmap};
use session_protocol::chain::{Action, Amount, Transaction};
use session_protocol::commitment::Commitment;
use session_protocol::roster::{Roster, Target};
use session_protocol::schedule::{Phase, Schedule};
use session_vm::ledger::{Ledger, Rejection};
use session_vm::query;
use session_vm::records::{Account, Accounts, Mark, MarkAt, Marks, ServiceNode};

use super::world::{Checked, World, checked};

/// What everybody commits to who keeps what it should.
pub(crate) const ROOT: [u8; 32] = [0xaa; 32];

impl World {
    pub(crate) fn schedule(&self) -> Schedule {
        let epoch = query::epoch(&self.state);
        Schedule { start: epoch.start, length: query::params(&self.state).epoch }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        query::epoch(&self.state).number
    }

    pub(crate) fn roster(&self) -> Roster {
        query::roster(&self.state)
    }

    pub(crate) fn node(&self, id: &NodeId) -> ServiceNode {
        query::node(&self.state, id).unwrap().1
    }

    /// Lets time pass until a phase of this epoch begins.
    pub(crate) fn until(&mut self, phase: Phase) {
        let begin = self.schedule().begin(phase);
        self.pass(begin.since(self.now));
    }

    /// Lets time pass until the next epoch begins.
    pub(crate) fn next_epoch(&mut self) {
        let end = self.schedule().end();
        self.pass(end.since(self.now));
    }

    /// A node's transaction, which offers nothing.
    pub(crate) fn duty_of(&self, node: &NodeId, nonce: u64, action: Action) -> Transaction {
        Transaction {
            version: TRANSACTION_VERSION,
            chain: self.chain,
            sender: self.nodes[node].public().account_id(),
            nonce,
            fee_max: Amount::ZERO,
            expires: self.now + Span::from_secs(60),
            action,
        }
    }

    fn nonce_of(&self, node: &NodeId) -> u64 {
        let account = self.nodes[node].public().account_id();
        let account: Option<Account> = query::get::<Accounts>(&self.state, &account);
        account.unwrap_or_default().nonce
    }

    /// A node's transaction, signed with its own keys, which the chain knows.
    pub(crate) fn signed_duty(&mut self, node: &NodeId, action: Action) -> Checked {
        let tx = self.duty_of(node, self.nonce_of(node), action);
        checked(tx, &self.nodes[node], false, &mut self.rng)
    }

    /// A block with one duty. Whatever is refused changes nothing.
    pub(crate) fn duty(&mut self, node: &NodeId, action: Action) -> Result<TxId, Rejection> {
        let tx = self.signed_duty(node, action);
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

    /// A block with a duty of each of these nodes.
    pub(crate) fn duties(&mut self, duties: Vec<(NodeId, Action)>) {
        let mut ledger = Ledger::begin(&self.state, self.context());
        for (node, action) in duties {
            let tx = self.signed_duty(&node, action);
            ledger.execute(&tx, &FakeVerifier).unwrap();
        }
        let (state, _) = ledger.finish();
        self.adopt(state);
    }

    pub(crate) fn commitment(&self, node: &NodeId, root: impl Into<Digest>) -> Commitment {
        let swarm = self.node(node).status.seat().unwrap().swarm;
        Commitment { epoch: self.epoch(), swarm, count: 1, bytes: 1, root: root.into() }
    }

    pub(crate) fn commit(&self, node: &NodeId) -> (NodeId, Action) {
        (*node, Action::StorageCommitment { commitment: self.commitment(node, ROOT) })
    }

    /// A ballot of a node, as `say` has it about each of its targets.
    pub(crate) fn vote(
        &self,
        roster: &Roster,
        node: &NodeId,
        say: impl Fn(&Target) -> Option<bool>,
    ) -> (NodeId, Action) {
        let targets = roster.targets(node);
        let found = |wanted: bool| {
            let places =
                targets.iter().enumerate().filter(|(_, target)| say(target) == Some(wanted));
            bitmap(targets.len(), places.map(|(place, _)| place).collect::<Vec<_>>())
        };
        let (passed, failed) = (found(true), found(false));
        (*node, Action::UptimeVote { epoch: roster.epoch(), passed, failed })
    }

    /// An epoch in which all but the dead do everything, and say that the dead do nothing.
    pub(crate) fn run_epoch(&mut self, dead: &BTreeSet<NodeId>) {
        let roster = self.roster();
        let alive = |id: &&NodeId| !dead.contains(id);
        let commits = roster.nodes().iter().filter(alive).map(|id| self.commit(id)).collect();
        self.duties(commits);
        self.until(Phase::Recover);
        let say = |target: &Target| Some(!dead.contains(&target.node));
        let votes = roster.nodes().iter().filter(alive).map(|id| self.vote(&roster, id, say));
        let votes = votes.collect();
        self.duties(votes);
        self.next_epoch();
    }

    /// The node's mark of the epoch before this one.
    pub(crate) fn last_mark(&self, node: &NodeId) -> Mark {
        let epoch = Epoch(self.epoch().0 - 1);
        query::get::<Marks>(&self.state, &MarkAt { node: *node, epoch }).unwrap()
    }
}
