//! A chain in memory: one ledger that executes what nodes order, block by block.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use session_core::{
    AccountId, BlockId, ChainId, Domain, Encode, Entropy, Epoch, NodeId, Span, Text, Time, digest,
};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::chain::transaction::{Possession, TRANSACTION_VERSION, Transaction};
use session_protocol::chain::view::ChainView;
use session_protocol::chain::{Action, Amount, ReceivedTransaction};
use session_vm::chain::BlockInfo;
use session_vm::genesis::{BadGenesis, Genesis};
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::query;
use session_vm::state::State;
use session_vm::view::chain_view;

/// Most transactions of a block: about what fits into 2 MiB.
const TRANSACTIONS_MAX: usize = 512;

/// What operators pay at most for an order.
const FEE_MAX: Amount = Amount::lux(1);

/// How long an order may take to its block.
const LIFE: Span = Span::from_secs(60);

struct Order {
    sender: AccountId,
    action: Action,
}

/// What the chain has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Orders that the rules forbade, by action and reason.
    pub rejected: BTreeMap<String, u64>,
}

/// The chain.
pub struct Blocks {
    chain: ChainId,
    state: State,
    block: BlockInfo,
    view: Arc<ChainView>,
    keys: BTreeMap<AccountId, Arc<FakeIdentity>>,
    operator: AccountId,
    waiting: VecDeque<Order>,
    /// Signed transactions of the commitments that count.
    commitments: BTreeMap<(NodeId, Epoch), Vec<u8>>,
    pub(crate) counts: Counts,
}

impl Blocks {
    /// Begins a chain. `operator` owns all nodes.
    ///
    /// # Errors
    /// When the genesis breaks a rule.
    pub(crate) fn new(
        genesis: &Genesis,
        operator: Arc<FakeIdentity>,
        nodes: impl IntoIterator<Item = Arc<FakeIdentity>>,
    ) -> Result<Self, BadGenesis> {
        let chain = genesis.chain_id();
        let state = genesis.state()?;
        let block = block_info(&state, None, genesis.time, 0);
        let view = Arc::new(chain_view(&state, chain, &block, None));
        let operator_id = operator.public().account_id();
        let keys = nodes.into_iter().chain([operator]);
        let keys = keys.map(|identity| (identity.public().account_id(), identity)).collect();
        Ok(Self {
            chain,
            state,
            block,
            view,
            keys,
            operator: operator_id,
            waiting: VecDeque::new(),
            commitments: BTreeMap::new(),
            counts: Counts::default(),
        })
    }

    /// Returns the state after the last block.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Returns what the last block says to nodes.
    #[must_use]
    pub const fn view(&self) -> &Arc<ChainView> {
        &self.view
    }

    /// Makes the same view without the help of the ones before.
    #[must_use]
    pub fn fresh_view(&self) -> ChainView {
        chain_view(&self.state, self.chain, &self.block, None)
    }

    /// Takes an order of a node's own account.
    pub(crate) fn order(&mut self, node: &NodeId, action: Action) {
        let sender = AccountId::from(*node.as_bytes());
        self.waiting.push_back(Order { sender, action });
    }

    /// Takes an order of who owns the nodes.
    pub(crate) fn order_as_operator(&mut self, action: Action) {
        self.waiting.push_back(Order { sender: self.operator, action });
    }

    /// Orders the registration of a node.
    pub(crate) fn register(&mut self, node: &FakeIdentity, endpoint: &str, rng: &mut dyn Entropy) {
        let endpoint = Text::new(endpoint).expect("an IPv4 address and a port are short");
        let (chain, operator) = (self.chain, self.operator);
        let id = node.public().node_id();
        let possession = Possession { chain, operator, node: id, endpoint: endpoint.clone() };
        let possession = possession.sign(node, rng);
        let (keys, stake) = (node.public().clone(), query::params(&self.state).stake_min);
        self.order_as_operator(Action::RegisterServiceNode { keys, endpoint, stake, possession });
    }

    /// Returns the signed transaction of a node's last commitment of an epoch.
    #[must_use]
    pub fn commitment(&self, node: NodeId, epoch: Epoch) -> Option<&Vec<u8>> {
        self.commitments.get(&(node, epoch))
    }

    /// Makes a block if there is anything to put into one. Returns whether there was, and whether
    /// an epoch turned in it.
    pub(crate) fn produce(&mut self, now: Time, rng: &mut dyn Entropy) -> Option<bool> {
        if self.waiting.is_empty() && now < query::next_due(&self.state, self.block.time) {
            return None;
        }
        let (parent, height) = (self.block.id, self.block.height + 1);
        let context = BlockContext { chain: self.chain, parent, height, time: now };
        let mut ledger = Ledger::begin(&self.state, context);
        let turned = ledger.turned();
        let mut nonces = BTreeMap::new();
        let mut transactions = 0;
        for _ in 0..TRANSACTIONS_MAX {
            let Some(Order { sender, action }) = self.waiting.pop_front() else { break };
            let known = query::account(&self.state, &sender).nonce;
            let nonce = nonces.entry(sender).or_insert(known);
            if self.execute(&mut ledger, now, (sender, *nonce), action, rng) {
                *nonce += 1;
                transactions += 1;
            }
        }
        let (state, _) = ledger.finish();
        self.counts.blocks += 1;
        self.counts.transactions += transactions as u64;
        self.block = block_info(&state, Some(&self.block), now, transactions);
        self.state = state;
        self.view = Arc::new(chain_view(&self.state, self.chain, &self.block, Some(&self.view)));
        if turned {
            let oldest = Epoch(self.view.epoch.number.0.saturating_sub(2));
            self.commitments.retain(|(_, epoch), _| *epoch >= oldest);
        }
        Some(turned)
    }

    /// Signs an order, as its sender's shell would, and executes it.
    fn execute(
        &mut self,
        ledger: &mut Ledger,
        now: Time,
        (sender, nonce): (AccountId, u64),
        action: Action,
        rng: &mut dyn Entropy,
    ) -> bool {
        let Some(identity) = self.keys.get(&sender) else { return false };
        let fee_max = if sender == self.operator { FEE_MAX } else { Amount::ZERO };
        let name = action.name();
        let commits = match &action {
            Action::StorageCommitment { commitment } => Some(commitment.epoch),
            _ => None,
        };
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: self.chain,
            sender,
            nonce,
            fee_max,
            expires: now + LIFE,
            action,
        };
        let signed = transaction.sign(&**identity, false, rng);
        let bytes = signed.to_bytes();
        let received = ReceivedTransaction::parse(&bytes);
        let checked = received.and_then(|received| {
            received.check(&self.chain, Some(identity.public()), &FakeVerifier)
        });
        let rejected = match checked {
            Err(bad) => variant(&bad),
            Ok(checked) => match ledger.execute(&checked, &FakeVerifier) {
                Err(rejection) => variant(&rejection),
                Ok(()) => {
                    self.counts.bytes += bytes.len() as u64;
                    if let Some(epoch) = commits {
                        let node = NodeId::from(*sender.as_bytes());
                        self.commitments.insert((node, epoch), bytes);
                    }
                    return true;
                }
            },
        };
        *self.counts.rejected.entry(format!("{name}: {rejected}")).or_default() += 1;
        false
    }
}

/// The name of an error's variant: what it says besides differs from case to case.
fn variant(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

fn block_info(
    state: &State,
    parent: Option<&BlockInfo>,
    time: Time,
    transactions: usize,
) -> BlockInfo {
    let state_root = state.root();
    let height = parent.map_or(0, |parent| parent.height + 1);
    let parent = parent.map_or_else(BlockId::default, |parent| parent.id);
    let parts: [&[u8]; 3] = [parent.as_bytes(), &height.to_be_bytes(), state_root.as_bytes()];
    let id = BlockId::from(*digest(Domain::Simulation, &parts).as_bytes());
    BlockInfo { id, parent, height, time, state_root, transactions, bytes: Arc::from([]) }
}
