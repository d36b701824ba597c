//! What nodes need to know of the chain: the snapshot that their machines get after a block.
//!
//! A view shares with the one before whatever did not change. That is seen from the digests of the
//! tables, which are known once the state's root is: a block that changes nothing of the nodes
//! costs some searches in the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{ChainId, Digest, Epoch, NodeId, SessionId, SwarmId, Text};
use session_protocol::attestation::committee_root;
use session_protocol::chain::transaction::bit;
use session_protocol::chain::view::{
    BeaconView, ChainMembership, ChainView, EpochView, OpenCase, OpenSession, RegisteredKeys,
    SeatView, SessionCommittee,
};
use session_protocol::commitment::Window;
use session_protocol::membership::{
    ADDRESS_BYTES_MAX, Membership as _, NO_SWARM, NodeRecord, network_id,
};
use session_protocol::schedule::Schedule;

use crate::chain::BlockInfo;
use crate::query::{self, entries, get};
use crate::records::{
    Acknowledgements, Ballots, BeaconKeys, Case, CaseStatus, Cases, CurrentEpoch, DealerList,
    Dealers, Dealings, EpochRecord, FormerSeats, NodeAliases, NodeKeys, NodeStatus, Nodes, Only,
    OpenAnchor, OpenSessions, Params, Reveals, SeedStatus, ShownShares, StorageCommitments,
    SwarmMembers, Table, WorkloadSession,
};
use crate::state::State;

/// The tables that views are read from.
const READ: [u8; 15] = [
    CurrentEpoch::TAG,
    Nodes::TAG,
    SwarmMembers::TAG,
    FormerSeats::TAG,
    BeaconKeys::TAG,
    Dealers::TAG,
    Dealings::TAG,
    Acknowledgements::TAG,
    Reveals::TAG,
    ShownShares::TAG,
    Ballots::TAG,
    StorageCommitments::TAG,
    Cases::TAG,
    OpenSessions::TAG,
    NodeAliases::TAG,
];

/// Returns what nodes need to know of the state after `block`. `last` is the view after an earlier
/// block, if there is one: what did not change since is shared with it.
///
/// # Panics
/// When the state does not come from a [`Genesis`](crate::genesis::Genesis).
#[must_use]
pub fn chain_view(
    state: &State,
    chain: ChainId,
    block: &BlockInfo,
    last: Option<&ChainView>,
) -> ChainView {
    let read: Vec<Digest> = READ.iter().map(|tag| state.digest_of(&[*tag])).collect();
    let last = last.filter(|last| last.chain == chain && last.read.len() == read.len());
    // Height 0 is that of a network without a chain.
    let height = query::network_changed(state).saturating_add(1);
    let reader = Reader { state, height, read: &read, last };
    let (record, params) = (query::chain(state), query::params(state));
    let epoch = query::epoch(state);
    let membership = reader.membership(|| network_id(&record.name));
    let former = reader.former(&membership, &epoch);
    ChainView {
        chain,
        genesis: record.genesis,
        height: block.height,
        block: block.id,
        time: block.time,
        params: params.duties,
        epoch: epoch_view(&epoch, &params),
        former,
        membership,
        roster: reader.shared(
            &[CurrentEpoch::TAG, SwarmMembers::TAG],
            |v| &v.roster,
            || query::roster(state),
        ),
        seats: reader.shared(&[Nodes::TAG, SwarmMembers::TAG], |v| &v.seats, || seats(state)),
        commitments: reader.shared(
            &[StorageCommitments::TAG],
            |v| &v.commitments,
            || entries::<StorageCommitments>(state).collect(),
        ),
        beacon: reader.beacon(&epoch),
        voted: reader.shared(
            &[Ballots::TAG],
            |v| &v.voted,
            || entries::<Ballots>(state).map(|(node, _)| node).collect(),
        ),
        beacon_keys: reader.shared(
            &[BeaconKeys::TAG],
            |v| &v.beacon_keys,
            || entries::<BeaconKeys>(state).collect(),
        ),
        accused: reader.shared(&[Cases::TAG, Nodes::TAG], |v| &v.accused, || open_cases(state)),
        sessions: reader.sessions(),
        read,
    }
}

/// Returns an epoch as nodes know it.
#[must_use]
pub fn epoch_view(epoch: &EpochRecord, params: &Params) -> EpochView {
    EpochView {
        number: epoch.number,
        schedule: Schedule { start: epoch.start, length: params.epoch },
        randomness: epoch.randomness,
        beacon: epoch.beacon,
        mode: epoch.mode,
        attesters: epoch.attesters,
    }
}

/// A state, and the view before.
struct Reader<'a> {
    state: &'a State,
    /// Of the membership: the same for all that read this state.
    height: u64,
    read: &'a [Digest],
    last: Option<&'a ChainView>,
}

/// A node that may connect, its place and its swarm.
type Place = (NodeId, Text<ADDRESS_BYTES_MAX>, SwarmId);

impl Reader<'_> {
    /// Returns the last view if none of these tables changed.
    fn unchanged(&self, tables: &[u8]) -> Option<&ChainView> {
        self.last.filter(|last| {
            let mut parts = READ.iter().zip(self.read.iter().zip(&last.read));
            parts.all(|(tag, (now, then))| now == then || !tables.contains(tag))
        })
    }

    /// Returns a part of the last view if none of its tables changed, or reads it anew.
    fn shared<T>(
        &self,
        tables: &[u8],
        part: fn(&ChainView) -> &Arc<T>,
        new: impl FnOnce() -> T,
    ) -> Arc<T> {
        self.unchanged(tables).map_or_else(|| Arc::new(new()), |last| Arc::clone(part(last)))
    }

    fn membership(&self, network: impl FnOnce() -> Digest) -> Arc<ChainMembership> {
        if let Some(last) = self.unchanged(&[Nodes::TAG, SwarmMembers::TAG]) {
            return Arc::clone(&last.membership);
        }
        let swarms: BTreeMap<NodeId, SwarmId> =
            query::active_nodes(self.state).map(|(swarm, node)| (node, swarm)).collect();
        let places: Vec<Place> = entries::<Nodes>(self.state)
            .filter(|(_, node)| !matches!(node.status, NodeStatus::Retired { .. }))
            .map(|(id, node)| (id, node.endpoint, swarms.get(&id).copied().unwrap_or(NO_SWARM)))
            .collect();
        // Most changes of nodes are about stakes and uptime: nobody is to connect anew for them.
        if let Some(last) = self.last.filter(|last| same_places(&last.membership, &places)) {
            return Arc::clone(&last.membership);
        }
        let records = places.into_iter().map(|(id, address, swarm)| {
            let keys = get::<NodeKeys>(self.state, &id).expect("every node has keys");
            NodeRecord { keys, address, swarm }
        });
        let seats = query::active_nodes(self.state);
        Arc::new(ChainMembership::new(network(), self.height, records, seats))
    }

    /// Returns the swarms of the epoch before.
    fn former(
        &self,
        membership: &Arc<ChainMembership>,
        epoch: &EpochRecord,
    ) -> Arc<ChainMembership> {
        let same = self.last.filter(|last| Arc::ptr_eq(&last.membership, membership));
        let tables = [CurrentEpoch::TAG, SwarmMembers::TAG, FormerSeats::TAG];
        if let Some(last) = same.and_then(|_| self.unchanged(&tables)) {
            return Arc::clone(&last.former);
        }
        let mut swarms: BTreeMap<NodeId, SwarmId> = entries::<SwarmMembers>(self.state)
            .filter(|(_, since)| *since < epoch.number || epoch.number == Epoch(0))
            .map(|(seat, _)| (seat.node, seat.swarm))
            .collect();
        swarms.extend(entries::<FormerSeats>(self.state));
        swarms.retain(|node, _| membership.node(node).is_some());
        let nodes = membership.nodes().into_iter();
        let places: Vec<(NodeId, SwarmId)> =
            nodes.map(|(id, _)| (id, swarms.get(&id).copied().unwrap_or(NO_SWARM))).collect();
        let current = membership.nodes().into_iter().map(|(id, record)| (id, record.swarm));
        if current.eq(places.iter().copied()) {
            return Arc::clone(membership);
        }
        let records = membership
            .nodes()
            .into_iter()
            .zip(&places)
            .map(|((_, record), (_, swarm))| NodeRecord { swarm: *swarm, ..record.clone() });
        let seats = swarms.iter().map(|(node, swarm)| (*swarm, *node));
        let height = self.height.saturating_sub(1);
        Arc::new(ChainMembership::new(membership.network(), height, records, seats))
    }

    /// Returns the workload sessions that have not ended. What is known of one is read once: only
    /// its beginning, and the keys of its members, change.
    fn sessions(&self) -> Arc<BTreeMap<SessionId, Arc<OpenSession>>> {
        // Whoever takes new keys takes a new id.
        let same_ids = self.unchanged(&[NodeAliases::TAG]);
        if let Some(last) = same_ids.and_then(|_| self.unchanged(&[OpenSessions::TAG])) {
            return Arc::clone(&last.sessions);
        }
        let mut committees = Committees { state: self.state, known: same_ids, of: None };
        let open = entries::<OpenSessions>(self.state).map(|(id, anchor)| {
            let known = same_ids.and_then(|last| last.sessions.get(&id));
            let session = match known {
                Some(known) if known.started == anchor.started => Arc::clone(known),
                Some(known) => {
                    Arc::new(OpenSession { started: anchor.started, ..OpenSession::clone(known) })
                }
                None => Arc::new(committees.open(&id, anchor)),
            };
            (id, session)
        });
        Arc::new(open.collect())
    }

    fn beacon(&self, epoch: &EpochRecord) -> BeaconView {
        let tables = [
            CurrentEpoch::TAG,
            BeaconKeys::TAG,
            Dealers::TAG,
            Dealings::TAG,
            Acknowledgements::TAG,
            Reveals::TAG,
            ShownShares::TAG,
        ];
        if let Some(last) = self.unchanged(&tables) {
            return last.beacon.clone();
        }
        beacon_view(self.state, epoch)
    }
}

/// Committees of sessions: those with the same members are the same.
struct Committees<'a> {
    state: &'a State,
    /// The view before, if every node still has the id that it had.
    known: Option<&'a ChainView>,
    of: Option<BTreeMap<Vec<NodeId>, Arc<SessionCommittee>>>,
}

impl Committees<'_> {
    fn open(
        &mut self,
        id: &SessionId,
        OpenAnchor { randomness, started }: OpenAnchor,
    ) -> OpenSession {
        let session = query::session(self.state, id).expect("an open session is a session");
        let committee = self.committee(query::session_members(self.state, &session).collect());
        let WorkloadSession { service, epoch, tx, program, input, created, deadline, .. } = session;
        OpenSession {
            service,
            epoch,
            tx,
            program,
            input,
            committee,
            randomness,
            created,
            deadline,
            started,
        }
    }

    fn committee(&mut self, members: Vec<NodeId>) -> Arc<SessionCommittee> {
        let known = self.known;
        let of = self.of.get_or_insert_with(|| {
            let sessions = known.into_iter().flat_map(|view| view.sessions.values());
            let ids =
                |committee: &SessionCommittee| committee.members.iter().map(|it| it.0).collect();
            sessions.map(|open| (ids(&open.committee), Arc::clone(&open.committee))).collect()
        });
        if let Some(committee) = of.get(&members) {
            return Arc::clone(committee);
        }
        let keys = query::with_keys(self.state, members.iter().copied());
        let committee = SessionCommittee { root: committee_root(&keys), members: Arc::new(keys) };
        let committee = Arc::new(committee);
        of.insert(members, Arc::clone(&committee));
        committee
    }
}

fn same_places(membership: &ChainMembership, places: &[Place]) -> bool {
    let known = membership.nodes();
    known.len() == places.len()
        && known.iter().zip(places).all(|((known, record), (id, address, swarm))| {
            known == id && record.address == *address && record.swarm == *swarm
        })
}

/// Returns how the beacon of the next epoch stands.
#[must_use]
pub fn beacon_view(state: &State, epoch: &EpochRecord) -> BeaconView {
    let DealerList { dealers } = get::<Dealers>(state, &Only {}).unwrap_or_default();
    let next = Epoch(epoch.number.0.saturating_add(1));
    let key = |dealer: &NodeId| {
        let keys: RegisteredKeys = get::<BeaconKeys>(state, dealer)?;
        keys.at(next).map(|key| (*dealer, key))
    };
    let places = 0_u16..;
    let acknowledged = entries::<Acknowledgements>(state).map(|(holder, bitmap)| {
        let held = places.clone().take(dealers.len());
        (holder, held.filter(|dealing| bit(&bitmap, usize::from(*dealing))).collect())
    });
    BeaconView {
        keys: dealers.iter().filter_map(key).collect(),
        dealings: entries::<Dealings>(state).collect(),
        acknowledged: acknowledged.collect(),
        revealed: entries::<Reveals>(state)
            .filter(|(_, revealed)| revealed.contribution.is_some())
            .map(|(dealer, _)| dealer)
            .collect(),
        shown: entries::<ShownShares>(state).map(|(at, _)| (at.dealer, at.holder)).collect(),
        dealers: dealers.into_vec(),
    }
}

fn open_cases(state: &State) -> Vec<OpenCase> {
    let (chain, params) = (query::chain(state), query::params(state));
    let open = |(id, case): (Digest, Case)| {
        let schedule = Schedule::of(chain.genesis, params.epoch, case.epoch);
        let Window { expire_after, .. } = Window::of(&schedule, params.duties.settle);
        let Case { accused, missing, .. } = case;
        let accused = query::current_id(state, &accused).unwrap_or(accused);
        OpenCase { case: id, accused, missing, lives_until: expire_after }
    };
    query::cases(state).filter(|(_, case)| case.status == CaseStatus::Open).map(open).collect()
}

fn seats(state: &State) -> BTreeMap<NodeId, SeatView> {
    entries::<SwarmMembers>(state)
        .map(|(seat, since)| {
            let status = get::<Nodes>(state, &seat.node).map(|node| node.status);
            let status = NodeStatus::seed(status.as_ref());
            let leaving = matches!(status, SeedStatus::Exited | SeedStatus::Slashed);
            let draining = status == SeedStatus::Suspended;
            (seat.node, SeatView { swarm: seat.swarm, since, draining, leaving })
        })
        .collect()
}
