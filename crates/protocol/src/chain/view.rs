//! What a node needs to know of the chain to do its duties: a snapshot after one block.
//!
//! `session-vm` makes it from its state; the machines of nodes see nothing else of the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{
    BlockId, ChainId, Digest, Epoch, NodeId, ServiceId, SessionId, Span, SwarmId, Time, TxId,
    choice, record,
};
use session_crypto::DsaPublicKey;

use crate::beacon::{BeaconKey, Dealing, Round};
use crate::commitment::{Commitment, Leaf};
use crate::membership::{Membership, NetworkId, NodeRecord, key_hash};
use crate::roster::Roster;
use crate::schedule::Schedule;

choice! {
    /// How the randomness of an epoch came about.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum BeaconMode {
        /// From dealings that a quorum held shares of: nobody could bias it.
        1 => Shared,
        /// Too few acknowledged: from those who revealed; the last ones could leave theirs out.
        2 => Revealed,
        /// Nobody contributed; it follows from the one before.
        3 => Degraded,
        /// The first epoch.
        4 => Genesis,
    }
}

record! {
    /// The numbers of the rules that nodes need for their duties.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DutyParams {
        /// How old items are at least before a commitment holds them.
        pub settle: Span,
        /// Nodes that examine each node.
        pub examiners: u8,
        /// Examiners that must have reached a node for it to count as up.
        pub min_peers: u8,
        /// Bytes that a node must be able to take.
        pub free_bytes_min: u64,
    }
}

/// An epoch, as the chain says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochView {
    /// Which.
    pub number: Epoch,
    /// Its place in time.
    pub schedule: Schedule,
    /// Its randomness.
    pub randomness: Digest,
    /// The id of its beacon.
    pub beacon: Digest,
    /// How the randomness came about.
    pub mode: BeaconMode,
    /// Root of the committee that attests the beacon.
    pub attesters: Digest,
}

/// A node, as the chain says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatView {
    /// Its swarm.
    pub swarm: SwarmId,
    /// Since which epoch.
    pub since: Epoch,
    /// Whether it said that it is away.
    pub draining: bool,
    /// Whether it leaves at the end of the epoch.
    pub leaving: bool,
}

/// The beacon of the next epoch, as far as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BeaconView {
    /// Who deals, in the order of ids.
    pub dealers: Vec<NodeId>,
    /// The keys of those dealers that registered any for it.
    pub keys: BTreeMap<NodeId, BeaconKey>,
    /// What was dealt, by the dealer's place.
    pub dealings: BTreeMap<u16, Dealing>,
    /// The places of those that acknowledged, and which dealings.
    pub acknowledged: BTreeMap<u16, BTreeSet<u16>>,
    /// The dealers that revealed what makes their dealing, by place.
    pub revealed: BTreeSet<u16>,
    /// Shares that were shown: dealer and holder.
    pub shown: BTreeSet<(u16, u16)>,
}

impl BeaconView {
    /// Returns the places of the dealings that enough have acknowledged.
    #[must_use]
    pub fn valid(&self) -> BTreeSet<u16> {
        let needed = crate::beacon::acknowledgements(self.dealers.len());
        let holders = |dealing: &u16| {
            self.acknowledged.values().filter(|held| held.contains(dealing)).count()
        };
        self.dealings.keys().copied().filter(|dealing| holders(dealing) >= needed).collect()
    }
}

record! {
    /// The last two commitments of a node.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Commitments {
        /// That of this epoch.
        pub current: Option<Commitment>,
        /// That of the epoch before: what is audited now.
        pub previous: Option<Commitment>,
        /// Epochs in a row that ended with another root than that of two thirds of the swarm.
        pub deviant: u8,
    }
}

/// The nodes and swarms of the chain at a block.
#[derive(Clone, Debug)]
pub struct ChainMembership {
    network: NetworkId,
    height: u64,
    nodes: Arc<BTreeMap<NodeId, NodeRecord>>,
    keys: Arc<BTreeMap<[u8; 32], NodeId>>,
    swarms: Arc<BTreeMap<SwarmId, Vec<NodeId>>>,
}

impl ChainMembership {
    /// Makes the view of a network. `nodes` are all that may connect, also those that wait for a
    /// seat or have just left one; `seats` are the members of swarms. `height` must grow whenever
    /// one of both changes.
    #[must_use]
    pub fn new(
        network: NetworkId,
        height: u64,
        nodes: impl IntoIterator<Item = NodeRecord>,
        seats: impl IntoIterator<Item = (SwarmId, NodeId)>,
    ) -> Self {
        let nodes: BTreeMap<NodeId, NodeRecord> =
            nodes.into_iter().map(|record| (record.id(), record)).collect();
        let keys = nodes.iter().map(|(id, record)| (key_hash(record.keys.dsa()), *id)).collect();
        let mut swarms: BTreeMap<SwarmId, Vec<NodeId>> = BTreeMap::new();
        for (swarm, node) in seats {
            swarms.entry(swarm).or_default().push(node);
        }
        swarms.values_mut().for_each(|members| members.sort_unstable());
        let (nodes, keys, swarms) = (Arc::new(nodes), Arc::new(keys), Arc::new(swarms));
        Self { network, height, nodes, keys, swarms }
    }
}

impl Membership for ChainMembership {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn height(&self) -> u64 {
        self.height
    }

    fn node(&self, id: &NodeId) -> Option<&NodeRecord> {
        self.nodes.get(id)
    }

    fn nodes(&self) -> Vec<(NodeId, &NodeRecord)> {
        self.nodes.iter().map(|(id, record)| (*id, record)).collect()
    }

    fn swarms(&self) -> Vec<SwarmId> {
        self.swarms.keys().copied().collect()
    }

    fn members(&self, swarm: SwarmId) -> Vec<NodeId> {
        self.swarms.get(&swarm).cloned().unwrap_or_default()
    }

    fn node_of_key(&self, key: &DsaPublicKey) -> Option<NodeId> {
        self.keys.get(&key_hash(key)).copied()
    }
}

/// An accusation that nobody has answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCase {
    /// Its id.
    pub case: Digest,
    /// Who is accused, by the id that it has now.
    pub accused: NodeId,
    /// The item that is said to be missing, if one is: its owner's order refutes the case.
    pub missing: Option<Leaf>,
    /// Until when the item had to live: an order that shortened its life to a later time is none.
    pub lives_until: Time,
}

/// The members of a workload session with the keys that they have now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCommittee {
    /// Its root.
    pub root: Digest,
    /// Members in the order of the chain, by the ids that they have now.
    pub members: Arc<Vec<(NodeId, DsaPublicKey)>>,
}

/// A workload session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The service that it belongs to.
    pub service: ServiceId,
    /// The epoch in which it was created.
    pub epoch: Epoch,
    /// The transaction that created it.
    pub tx: TxId,
    /// The workload: [`blob_id`](crate::workload::blob_id) of its encoding.
    pub program: Digest,
    /// The input.
    pub input: Digest,
    /// Who runs it.
    pub committee: Arc<SessionCommittee>,
    /// The randomness of its epoch.
    pub randomness: Digest,
    /// When it was created.
    pub created: Time,
    /// When it must have ended.
    pub deadline: Time,
    /// Since when it runs, if it does.
    pub started: Option<Time>,
}

/// A snapshot of the chain after one block.
#[derive(Clone, Debug)]
pub struct ChainView {
    /// The chain.
    pub chain: ChainId,
    /// When it began.
    pub genesis: Time,
    /// The block's height.
    pub height: u64,
    /// The block.
    pub block: BlockId,
    /// The block's time.
    pub time: Time,
    /// Numbers of the rules.
    pub params: DutyParams,
    /// The epoch.
    pub epoch: EpochView,
    /// Nodes and swarms.
    pub membership: Arc<ChainMembership>,
    /// The swarms of the epoch before: what is handed over now. The same as `membership` when
    /// nothing moved.
    pub former: Arc<ChainMembership>,
    /// The duties of the epoch.
    pub roster: Arc<Roster>,
    /// Every node with a seat.
    pub seats: Arc<BTreeMap<NodeId, SeatView>>,
    /// What nodes committed to.
    pub commitments: Arc<BTreeMap<NodeId, Commitments>>,
    /// The beacon of the next epoch.
    pub beacon: BeaconView,
    /// Who has voted in this epoch.
    pub voted: Arc<BTreeSet<NodeId>>,
    /// Registered one-time secrets of all nodes: those in force, and those that will be.
    pub beacon_keys: Arc<BTreeMap<NodeId, RegisteredKeys>>,
    /// The accusations that wait.
    pub accused: Arc<Vec<OpenCase>>,
    /// Workload sessions that have not ended.
    pub sessions: Arc<BTreeMap<SessionId, Arc<OpenSession>>>,
    /// Digests of the tables that all this was read from: the next view takes over what did not
    /// change. Only who reads the chain's state looks at them; empty where nobody did.
    pub read: Vec<Digest>,
}

record! {
    /// A node's one-time secrets.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RegisteredKeys {
        /// Those in force.
        pub current: Option<BeaconKey>,
        /// Those that follow, and from which epoch on.
        pub next: Option<NextKey>,
    }

    /// One-time secrets that are not in force yet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct NextKey {
        /// The secrets.
        pub key: BeaconKey,
        /// The first epoch whose randomness they may make.
        pub from: Epoch,
    }
}

impl RegisteredKeys {
    /// Returns the secrets that may make the randomness of an epoch.
    #[must_use]
    pub fn at(&self, epoch: Epoch) -> Option<BeaconKey> {
        let next = self.next.filter(|next| next.from <= epoch).map(|next| next.key);
        next.or(self.current).filter(|key| key.index(epoch).is_ok())
    }
}

impl ChainView {
    /// Returns the round in which the beacon of the next epoch is made.
    #[must_use]
    pub fn round(&self) -> Round<'_> {
        Round {
            chain: self.chain,
            epoch: Epoch(self.epoch.number.0 + 1),
            previous: self.epoch.beacon,
            dealers: &self.beacon.dealers,
        }
    }
}
