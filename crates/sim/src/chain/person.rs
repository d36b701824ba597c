//! People who use the chain: they read the state of a node, order things, and send what they
//! signed to one node after the other until it is in a block.
//!
//! Reading takes no time here; what is submitted travels like everything else.

use std::collections::BTreeMap;

use session_core::{
    AccountId, Blob, ChainId, ChannelId, Digest, Encode, Entropy, List, NodeId, SeededEntropy,
    SessionId, Span, Text, Time, TxId, committee,
};
use session_crypto::Signer;
use session_crypto::fake::FakeIdentity;
use session_protocol::attestation::{
    Kind, QuorumCertificate, Statement, Vote, committee_root, failure_root, outcome_root,
};
use session_protocol::chain::transaction::{Possession, TRANSACTION_VERSION};
use session_protocol::chain::{Action, Amount, Transaction};
use session_vm::query::{self, entries};
use session_vm::records::{
    Channels, NodeStatus, Nodes, ServiceNode, SessionPhase, Sessions, WorkloadSession,
};
use session_vm::state::State;

use super::message::Message;

/// Transactions of one person under way.
const PENDING_MAX: usize = 4;
/// How long a transaction is good for.
const LIFE: Span = Span::from_secs(90);
/// Channels that people make: so few that names clash.
const ROOMS: u64 = 6;

/// Keys of all nodes that anybody ever made: committees sign where the simulation does not look.
pub(crate) type Keyring = BTreeMap<NodeId, FakeIdentity>;

/// Who uses the chain.
pub struct Person {
    keys: FakeIdentity,
    /// By nonce.
    pending: BTreeMap<u64, Pending>,
    /// What its next nonce is, as far as it has seen: nodes may be behind.
    next: u64,
    rng: SeededEntropy,
    /// What became of all.
    pub(crate) tally: Tally,
}

struct Pending {
    id: TxId,
    bytes: Vec<u8>,
    expires: Time,
}

/// What people did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Transactions signed.
    pub signed: u64,
    /// Transactions seen in a block.
    pub seen: u64,
    /// Transactions that a node said can never be.
    pub refused: u64,
    /// Transactions whose nonce another one took.
    pub replaced: u64,
    /// Transactions that became too old.
    pub expired: u64,
}

impl Tally {
    pub(crate) const fn plus(self, other: &Self) -> Self {
        Self {
            signed: self.signed + other.signed,
            seen: self.seen + other.seen,
            refused: self.refused + other.refused,
            replaced: self.replaced + other.replaced,
            expired: self.expired + other.expired,
        }
    }
}

impl Person {
    pub(crate) fn new(keys: FakeIdentity, rng: SeededEntropy) -> Self {
        Self { keys, pending: BTreeMap::new(), next: 0, rng, tally: Tally::default() }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.keys.public().account_id()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// A node says that a transaction can never be.
    pub(crate) fn refused(&mut self, id: &TxId) {
        let before = self.pending.len();
        self.pending.retain(|_, pending| pending.id != *id);
        self.tally.refused += (before - self.pending.len()) as u64;
    }

    /// Compares what is under way with what a node has. `included` says whether a transaction is
    /// in a block there.
    pub(crate) fn look(&mut self, state: &State, now: Time, included: impl Fn(&TxId) -> bool) {
        let nonce = query::account(state, &self.account()).nonce;
        let before = self.tally;
        let tally = &mut self.tally;
        self.pending.retain(|at, pending| {
            if included(&pending.id) {
                tally.seen += 1;
                return false;
            }
            let (replaced, expired) = (*at < nonce, pending.expires < now);
            tally.replaced += u64::from(replaced);
            tally.expired += u64::from(expired && !replaced);
            !replaced && !expired
        });
        // Too old: it may have believed a node that is on no chain any more.
        let lost = self.tally.expired > before.expired;
        self.next = if lost { nonce } else { nonce.max(self.next) };
    }

    /// Signs something new, if not too much is under way. Whoever falls silent only closes the gap
    /// that a refused transaction left: those after it wait for its nonce.
    pub(crate) fn order(
        &mut self,
        chain: &ChainId,
        state: &State,
        now: Time,
        ring: &mut Keyring,
        silent: bool,
    ) {
        let sender = self.account();
        let mut nonce = self.next;
        while self.pending.contains_key(&nonce) {
            nonce += 1;
        }
        let gap = self.pending.last_key_value().is_some_and(|(last, _)| nonce < *last);
        if !gap && (silent || self.pending.len() >= PENDING_MAX) {
            return;
        }
        let action = if gap { self.transfer(state) } else { self.choose(chain, state, ring) };
        let body = Transaction {
            version: TRANSACTION_VERSION,
            chain: *chain,
            sender,
            nonce,
            fee_max: Amount(1_000_000 + self.rng.below(1_000_000)),
            expires: now + LIFE,
            action,
        };
        let (id, expires) = (body.id(), body.expires);
        let with_keys = query::keys(state, &sender).is_none();
        let bytes = body.sign(&self.keys, with_keys, &mut self.rng).to_bytes();
        self.pending.insert(nonce, Pending { id, bytes, expires });
        self.tally.signed += 1;
    }

    /// Returns what to send: the newest, and any of the others.
    pub(crate) fn submissions(&mut self) -> Vec<Message> {
        let count = self.pending.len();
        if count == 0 {
            return Vec::new();
        }
        let any = self.rng.below(count as u64) as usize;
        let both = [count - 1, any].into_iter().filter_map(|at| self.pending.values().nth(at));
        let message = |pending: &Pending| {
            Some(Message::Submit { transaction: Blob::new(pending.bytes.as_slice()).ok()? })
        };
        both.filter_map(message).collect()
    }

    fn choose(&mut self, chain: &ChainId, state: &State, ring: &mut Keyring) -> Action {
        let action = match self.rng.below(20) {
            0 | 1 => Some(self.register(chain, ring)),
            2 => self.tend_node(chain, state, ring),
            3 => Some(Action::CreateChannel { name: text(&format!("room {}", self.below(ROOMS))) }),
            4 => self.join_or_leave(state),
            5 | 6 => Some(self.create_session()),
            7..=9 => self.start_session(state),
            10..=12 => self.end_session(chain, state, ring),
            13 => Some(Action::OpenConversation {
                participants_root: self.rng.bytes32().into(),
                participants: 2,
                ttl: Span::from_secs(120),
            }),
            _ => None,
        };
        action.unwrap_or_else(|| self.transfer(state))
    }

    fn transfer(&mut self, state: &State) -> Action {
        let people = entries::<session_vm::records::Accounts>(state).count() as u64;
        let at = self.below(people) as usize;
        let to = entries::<session_vm::records::Accounts>(state).nth(at);
        let to = to.map_or_else(|| AccountId::from(self.rng.bytes32()), |(account, _)| account);
        // Now and then more than anybody has.
        let most = if self.below(30) == 0 { u64::MAX } else { Amount::lux(2).0 };
        Action::Transfer { to, amount: Amount(1 + self.below(most)) }
    }

    fn new_node(&mut self, ring: &mut Keyring) -> FakeIdentity {
        let node = FakeIdentity::generate(&mut self.rng);
        ring.insert(node.public().node_id(), node.clone());
        node
    }

    fn register(&mut self, chain: &ChainId, ring: &mut Keyring) -> Action {
        let node = self.new_node(ring);
        let endpoint = text(&format!("host{}:{}", self.below(40), 9_000 + self.below(10)));
        let (operator, id) = (self.account(), node.public().node_id());
        let proof = Possession { chain: *chain, operator, node: id, endpoint: endpoint.clone() };
        let possession = proof.sign(&node, &mut self.rng);
        let (keys, stake) = (node.public().clone(), Amount::lux(100));
        Action::RegisterServiceNode { keys, endpoint, stake, possession }
    }

    /// Rotates, decommissions or pays out a node of its own.
    fn tend_node(&mut self, chain: &ChainId, state: &State, ring: &mut Keyring) -> Option<Action> {
        let operator = self.account();
        let own: Vec<(NodeId, ServiceNode)> =
            entries::<Nodes>(state).filter(|(_, node)| node.operator == operator).collect();
        let (node, record) = self.pick(own)?;
        if let NodeStatus::Decommissioning { .. }
        | NodeStatus::Slashed { .. }
        | NodeStatus::Retired { .. } = record.status
        {
            return Some(Action::Withdraw { node });
        }
        if self.below(2) == 0 {
            return Some(Action::Decommission { node });
        }
        let new = self.new_node(ring);
        let endpoint = Text::default();
        let proof = Possession { chain: *chain, operator, node: new.public().node_id(), endpoint };
        let possession = proof.sign(&new, &mut self.rng);
        Some(Action::RotateNodeKeys { node, keys: new.public().clone(), possession })
    }

    fn join_or_leave(&mut self, state: &State) -> Option<Action> {
        let channels: Vec<ChannelId> = entries::<Channels>(state).map(|(id, _)| id).collect();
        let channel = self.pick(channels)?;
        let join = self.below(3) > 0;
        Some(if join { Action::JoinChannel { channel } } else { Action::LeaveChannel { channel } })
    }

    fn create_session(&mut self) -> Action {
        Action::CreateSession {
            service: [self.below(3) as u8; 32].into(),
            program: self.rng.bytes32().into(),
            input: self.rng.bytes32().into(),
            time_max: Span::from_secs(10 + self.below(60)),
        }
    }

    fn session_in(
        &mut self,
        state: &State,
        phase: SessionPhase,
    ) -> Option<(SessionId, WorkloadSession)> {
        let fits = |(_, it): &(SessionId, WorkloadSession)| it.state.phase() == phase;
        let all = entries::<Sessions>(state).filter(fits).collect();
        self.pick(all)
    }

    fn start_session(&mut self, state: &State) -> Option<Action> {
        let (session, _) = self.session_in(state, SessionPhase::Pending)?;
        Some(Action::StartSession { session })
    }

    /// Ends a session with the certificate of its committee, sometimes one that is too small; or,
    /// when it is late, without.
    fn end_session(&mut self, chain: &ChainId, state: &State, ring: &Keyring) -> Option<Action> {
        let (session, record) = self.session_in(state, SessionPhase::Running)?;
        if self.below(4) == 0 {
            return Some(Action::FailSession {
                session,
                reason: text("deadline"),
                certificate: None,
            });
        }
        let [output, oracle_root, receipts_root] =
            [(); 3].map(|()| Digest::from(self.rng.bytes32()));
        let failed = self.below(4) == 0;
        let reason = text("no answer");
        let root = if failed {
            failure_root(&reason)
        } else {
            outcome_root(&output, &oracle_root, &receipts_root)
        };
        let end = Statement {
            chain: *chain,
            committee: committee_root(&query::session_committee(state, &record)),
            kind: Kind::SessionComplete,
            subject: Digest::from(*session.as_bytes()),
            root,
            epoch: record.epoch,
        };
        let certificate = self.certify(&end, &record, state, ring)?;
        Some(if failed {
            Action::FailSession { session, reason, certificate: Some(certificate) }
        } else {
            Action::FinalizeSession { session, output, oracle_root, receipts_root, certificate }
        })
    }

    fn certify(
        &mut self,
        end: &Statement,
        record: &WorkloadSession,
        state: &State,
        ring: &Keyring,
    ) -> Option<QuorumCertificate> {
        let committee = query::session_committee(state, record);
        let quorum = committee::quorum(committee.len()).ok()?;
        let mut votes = Vec::new();
        for (member, _) in &committee[..quorum] {
            let keys = ring.get(&query::current_id(state, member)?)?;
            votes.push(Vote { node: *member, ..end.sign(keys, &mut self.rng) });
        }
        let mut certificate = QuorumCertificate::assemble(end, &committee, &votes)?;
        if self.below(6) == 0 {
            let mut signatures = certificate.signatures.into_vec();
            signatures.pop();
            certificate.signatures = List::new(signatures).ok()?;
        }
        Some(certificate)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn pick<T>(&mut self, mut from: Vec<T>) -> Option<T> {
        let at = self.below(from.len() as u64) as usize;
        (at < from.len()).then(|| from.swap_remove(at))
    }
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("it is short")
}
