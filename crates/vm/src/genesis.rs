//! Where a chain begins.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{
    AccountId, BlockId, ChainId, Digest, Domain, Encode, Epoch, List, NodeId, SwarmId, Text, Time,
    digest,
};
use session_crypto::PublicIdentity;
use session_protocol::chain::block::BLOCK_VERSION;
use session_protocol::chain::{Amount, Block};
use session_protocol::limits::SWARM_MEMBERS_MAX;
use session_protocol::membership::{ADDRESS_BYTES_MAX, NO_SWARM};

use crate::ledger::{genesis_epoch, is_endpoint};
use crate::records::{
    Account, AccountKeys, Accounts, Authority, BadParams, Chain, ChainRecord, Endpoints,
    NetworkChanged, NodeKeys, NodeStatus, Nodes, Only, Parameters, Params, Seat, Sequencer,
    ServiceNode, SigningKeys, SwarmMembers, Table, Treasury, endpoint_digest, signing_key_digest,
};
use crate::state::State;

/// What a chain begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// What people call the chain.
    pub name: Text<64>,
    /// When it begins.
    pub time: Time,
    /// The numbers that the rules use.
    pub params: Params,
    /// Who seals blocks while the chain runs alone.
    pub sequencer: Option<PublicIdentity>,
    /// Who owns what.
    pub accounts: Vec<GenesisAccount>,
    /// The nodes that are active from the beginning.
    pub nodes: Vec<GenesisNode>,
    /// Who may drop accusations while they wait.
    pub authority: Option<AccountId>,
    /// What balances and stakes sum up to: a check against slips.
    pub supply: Option<Amount>,
}

/// An account of the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisAccount {
    /// The account.
    pub account: AccountId,
    /// What it owns.
    pub balance: Amount,
    /// Its keys, so that its first transaction need not carry them.
    pub keys: Option<PublicIdentity>,
}

/// A node of the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisNode {
    /// Who may order things for it.
    pub operator: AccountId,
    /// Its keys.
    pub keys: PublicIdentity,
    /// Where it is reached: `host:port`.
    pub endpoint: Text<ADDRESS_BYTES_MAX>,
    /// What it stakes, besides all balances.
    pub stake: Amount,
    /// The swarm that it serves.
    pub swarm: SwarmId,
}

/// Why a chain cannot begin like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadGenesis {
    /// The rules cannot work with these numbers.
    #[error("params.{0}")]
    Params(#[from] BadParams),
    /// An account is listed twice.
    #[error("account {account} is listed twice")]
    DuplicateAccount {
        /// The account.
        account: AccountId,
    },
    /// Keys are not those of their account.
    #[error("the keys of account {account} make account {derived}")]
    AccountKeys {
        /// The account.
        account: AccountId,
        /// The account of the keys.
        derived: AccountId,
    },
    /// A node is listed twice.
    #[error("node {node}: node already registered")]
    DuplicateNode {
        /// The node.
        node: NodeId,
    },
    /// Two nodes prove themselves with one key.
    #[error("node {node}: signing key already registered")]
    DuplicateSigningKey {
        /// The second one.
        node: NodeId,
    },
    /// Two nodes are reached at one place.
    #[error("node {node}: endpoint already registered: {endpoint}")]
    DuplicateEndpoint {
        /// The second one.
        node: NodeId,
        /// The place.
        endpoint: String,
    },
    /// An endpoint is no address.
    #[error("node {node}: {endpoint:?} is not host:port")]
    Endpoint {
        /// The node.
        node: NodeId,
        /// What it has instead.
        endpoint: String,
    },
    /// A node stakes too little.
    #[error("node {node}: a stake of {got} LUX is too small, the least is {min}")]
    Stake {
        /// The node.
        node: NodeId,
        /// What it stakes.
        got: Amount,
        /// The least that is.
        min: Amount,
    },
    /// A node serves the swarm that stands for none.
    #[error("node {node}: {NO_SWARM} is no swarm")]
    NoSwarm {
        /// The node.
        node: NodeId,
    },
    /// More nodes in a swarm than its members can work with.
    #[error("swarm {swarm} has more than {SWARM_MEMBERS_MAX} nodes")]
    SwarmTooLarge {
        /// The swarm.
        swarm: SwarmId,
    },
    /// Balances and stakes are more than can be counted.
    #[error("balances and stakes sum up to more than {} LUX", Amount(u64::MAX))]
    Overflow,
    /// Balances and stakes are not what they should be.
    #[error("balances and stakes sum up to {got} LUX, the supply is said to be {supply}")]
    Supply {
        /// Their sum.
        got: Amount,
        /// What it is said to be.
        supply: Amount,
    },
}

impl Genesis {
    /// Returns the id of the chain that begins like this, when no host gives it one. The order of
    /// accounts and nodes makes no difference.
    #[must_use]
    pub fn chain_id(&self) -> ChainId {
        ChainId::from(*digest(Domain::ChainId, &[&self.canonical()]).as_bytes())
    }

    fn canonical(&self) -> Vec<u8> {
        let mut accounts: Vec<&GenesisAccount> = self.accounts.iter().collect();
        accounts.sort_by_key(|entry| entry.account);
        let mut nodes: Vec<&GenesisNode> = self.nodes.iter().collect();
        nodes.sort_by_key(|entry| entry.keys.node_id());

        let mut out = Vec::new();
        self.name.encode(&mut out);
        self.time.encode(&mut out);
        self.params.encode(&mut out);
        self.sequencer.encode(&mut out);
        (accounts.len() as u64).encode(&mut out);
        for GenesisAccount { account, balance, keys } in accounts {
            account.encode(&mut out);
            balance.encode(&mut out);
            keys.encode(&mut out);
        }
        (nodes.len() as u64).encode(&mut out);
        for GenesisNode { operator, keys, endpoint, stake, swarm } in nodes {
            operator.encode(&mut out);
            keys.encode(&mut out);
            endpoint.encode(&mut out);
            stake.encode(&mut out);
            swarm.encode(&mut out);
        }
        self.supply.encode(&mut out);
        self.authority.encode(&mut out);
        out
    }

    /// Returns the state of the beginning.
    ///
    /// # Errors
    /// When an entry breaks a rule, is there twice, or the sums are wrong.
    pub fn state(&self) -> Result<State, BadGenesis> {
        self.params.check()?;
        let supply = self.sum()?;
        if let Some(said) = self.supply.filter(|said| *said != supply) {
            return Err(BadGenesis::Supply { got: supply, supply: said });
        }
        let mut state = State::new();
        let chain = ChainRecord { name: self.name.clone(), genesis: self.time, supply };
        put::<Chain>(&mut state, &Only {}, &chain);
        put::<Parameters>(&mut state, &Only {}, &self.params);
        put::<Treasury>(&mut state, &Only {}, &Amount::ZERO);
        put::<NetworkChanged>(&mut state, &Only {}, &0);
        if let Some(sequencer) = &self.sequencer {
            put::<Sequencer>(&mut state, &Only {}, sequencer);
        }
        if let Some(authority) = &self.authority {
            put::<Authority>(&mut state, &Only {}, authority);
        }
        self.put_accounts(&mut state)?;
        self.put_nodes(&mut state)?;
        let origin = Digest::from(*self.chain_id().as_bytes());
        genesis_epoch(&mut state, &self.params, self.time, &origin);
        Ok(state)
    }

    /// Returns the block of the beginning: height 0, no transactions, no parent.
    ///
    /// # Errors
    /// As [`Genesis::state`].
    pub fn block(&self, chain: ChainId) -> Result<Block, BadGenesis> {
        Ok(Block {
            version: BLOCK_VERSION,
            chain,
            parent: BlockId::default(),
            height: 0,
            time: self.time,
            state_root: self.state()?.root(),
            transactions: List::default(),
        })
    }

    fn sum(&self) -> Result<Amount, BadGenesis> {
        let balances = self.accounts.iter().map(|entry| entry.balance);
        let stakes = self.nodes.iter().map(|entry| entry.stake);
        balances
            .chain(stakes)
            .try_fold(Amount::ZERO, Amount::checked_add)
            .ok_or(BadGenesis::Overflow)
    }

    fn put_accounts(&self, state: &mut State) -> Result<(), BadGenesis> {
        let mut seen = BTreeSet::new();
        for GenesisAccount { account, balance, keys } in &self.accounts {
            let account = *account;
            if !seen.insert(account) {
                return Err(BadGenesis::DuplicateAccount { account });
            }
            put::<Accounts>(state, &account, &Account { balance: *balance, nonce: 0 });
            let Some(keys) = keys else { continue };
            if keys.account_id() != account {
                return Err(BadGenesis::AccountKeys { account, derived: keys.account_id() });
            }
            put::<AccountKeys>(state, &account, keys);
        }
        Ok(())
    }

    fn put_nodes(&self, state: &mut State) -> Result<(), BadGenesis> {
        let mut swarms: BTreeMap<SwarmId, usize> = BTreeMap::new();
        for entry in &self.nodes {
            let GenesisNode { operator, keys, endpoint, stake, swarm } = entry;
            let (node, text) = (keys.node_id(), endpoint.to_string());
            if !is_endpoint(endpoint) {
                return Err(BadGenesis::Endpoint { node, endpoint: text });
            }
            let (got, min) = (*stake, self.params.stake_min);
            if got < min {
                return Err(BadGenesis::Stake { node, got, min });
            }
            let (place, signing) = (endpoint_digest(endpoint), signing_key_digest(keys.dsa()));
            if has::<Nodes>(state, &node) {
                return Err(BadGenesis::DuplicateNode { node });
            }
            if has::<SigningKeys>(state, &signing) {
                return Err(BadGenesis::DuplicateSigningKey { node });
            }
            if has::<Endpoints>(state, &place) {
                return Err(BadGenesis::DuplicateEndpoint { node, endpoint: text });
            }
            if *swarm == NO_SWARM {
                return Err(BadGenesis::NoSwarm { node });
            }
            let members = swarms.entry(*swarm).or_default();
            *members += 1;
            if *members > SWARM_MEMBERS_MAX {
                return Err(BadGenesis::SwarmTooLarge { swarm: *swarm });
            }
            let since = Epoch(0);
            let status = NodeStatus::Active { swarm: *swarm, since };
            let record = ServiceNode::new(*operator, node, endpoint.clone(), *stake, self.time);
            put::<Nodes>(state, &node, &ServiceNode { status, ..record });
            put::<NodeKeys>(state, &node, keys);
            // It signs its duties with them.
            put::<AccountKeys>(state, &keys.account_id(), keys);
            put::<SigningKeys>(state, &signing, &node);
            put::<Endpoints>(state, &place, &node);
            put::<SwarmMembers>(state, &Seat { swarm: *swarm, node }, &since);
        }
        Ok(())
    }
}

fn put<T: Table>(state: &mut State, key: &T::Key, value: &T::Value) {
    state.put(&T::key(key), value.to_bytes());
}

fn has<T: Table>(state: &State, key: &T::Key) -> bool {
    state.get(&T::key(key)).is_some()
}
