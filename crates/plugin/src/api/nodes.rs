//! Who is a node, how nodes do their duties, and who is accused.

use std::collections::BTreeMap;

use serde_json::Value;
use session_core::{Digest, Epoch, NodeId, SwarmId};
use session_protocol::placement::moved_between;
use session_rpc::vm::ErrorCode;
use session_rpc::vm::api;
use session_rpc::vm::result::{self, CaseStatus, NodeStatus, Shape as _};
use session_vm::query;
use session_vm::records::{
    self, Case, Cases, Commitments, Failing, FormerSeats, Mark, Marks, NodeAliases,
    StorageCommitments, SwarmMembers, Table,
};
use session_vm::state::State;

use super::Answer;
use crate::http::App;

pub(super) fn node(app: &App, call: &api::GetNode) -> Answer {
    let chain = app.engine().chain();
    let (id, node) =
        query::node(chain.state(), &call.node).ok_or_else(|| ErrorCode::UnknownNode.error())?;
    let node =
        node_result(chain.state(), id, &node).ok_or_else(|| ErrorCode::UnknownNode.error())?;
    Ok(result::NodeReply { node }.to_json())
}

pub(super) fn nodes(app: &App, call: &api::ListNodes) -> Value {
    let chain = app.engine().chain();
    let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
    let (mut nodes, mut after, mut more) = (Vec::new(), call.after, true);
    // Filtered pages look at as many nodes as it takes to fill them.
    while more && nodes.len() <= limit {
        let page = query::nodes(chain.state(), after.as_ref(), limit + 1);
        more = page.len() > limit;
        after = page.last().map(|(id, _)| *id);
        nodes.extend(page.into_iter().filter(|(_, node)| {
            call.status.is_none_or(|status| status == node_status(&node.status))
        }));
    }
    let more = more || nodes.len() > limit;
    nodes.truncate(limit);
    let next = nodes.last().map(|(id, _)| *id).filter(|_| more);
    let nodes = nodes.iter().filter_map(|(id, node)| node_result(chain.state(), *id, node));
    result::NodePage { nodes: nodes.collect(), next }.to_json()
}

const fn node_status(status: &records::NodeStatus) -> NodeStatus {
    use records::NodeStatus as Of;
    match status {
        Of::Registered => NodeStatus::Registered,
        Of::Active { .. } => NodeStatus::Active,
        Of::Suspended { .. } => NodeStatus::Suspended,
        Of::Leaving { .. } => NodeStatus::Leaving,
        Of::Decommissioning { .. } => NodeStatus::Decommissioning,
        Of::Slashed { .. } => NodeStatus::Slashed,
        Of::Retired { .. } => NodeStatus::Retired,
    }
}

fn node_result(state: &State, id: NodeId, node: &records::ServiceNode) -> Option<result::Node> {
    use records::NodeStatus as Of;
    let keys = query::node_keys(state, &id)?;
    let (seat, back, unbonds) = match node.status {
        Of::Active { swarm, since } | Of::Leaving { swarm, since } => {
            (Some((swarm, since)), None, None)
        }
        Of::Suspended { swarm, since, until } => (Some((swarm, since)), Some(until), None),
        Of::Decommissioning { until } | Of::Slashed { until } => (None, None, Some(until)),
        Of::Registered | Of::Retired { .. } => (None, None, None),
    };
    Some(result::Node {
        id,
        operator: node.operator,
        public_key: keys.dsa().as_ref().to_vec(),
        encryption_key: keys.kem().as_ref().to_vec(),
        stake: node.stake.0,
        stake_original: node.stake_original.0,
        swarm: seat.map(|(swarm, _)| swarm),
        status: node_status(&node.status),
        since: seat.map(|(_, since)| since),
        suspended_until: back,
        misses: node.misses,
        registered: node.registered,
        last_ping: node.last_ping,
        unbonds,
        uptime_score: node.uptime_bps.into(),
        endpoint: node.endpoint.to_string(),
    })
}

/// Returns the last marks of a node, the last one first. Those of epochs in which it had another
/// id are kept under that one.
fn last_marks(state: &State, node: &NodeId, limit: usize) -> Vec<(Epoch, Mark)> {
    let aliases = query::entries::<NodeAliases>(state).map(|(former, _)| former);
    let former = aliases.filter(|former| query::current_id(state, former) == Some(*node));
    let mut marks: Vec<(Epoch, Mark)> = former
        .chain([*node])
        .flat_map(|id| below::<Marks>(state, id.as_bytes()))
        .map(|(at, mark)| (at.epoch, mark))
        .collect();
    marks.sort_by_key(|(epoch, _)| core::cmp::Reverse(*epoch));
    marks.truncate(limit);
    marks
}

/// Returns the entries of a table whose keys begin with `part`, in the order of keys.
fn below<T: Table>(state: &State, part: &[u8]) -> Vec<(T::Key, T::Value)> {
    let prefix = [&[T::TAG], part].concat();
    let key = |key: &[u8]| {
        session_core::Decode::decode_exact(&key[1..]).expect("the ledger wrote every key")
    };
    state.range(&prefix).map(|(at, value)| (key(at), T::value(value))).collect()
}

pub(super) fn marks(app: &App, call: &api::GetMarks) -> Answer {
    let chain = app.engine().chain();
    let state = chain.state();
    let node =
        query::current_id(state, &call.node).ok_or_else(|| ErrorCode::UnknownNode.error())?;
    let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
    let marks = last_marks(state, &node, limit);
    let marks = marks.into_iter().map(|(epoch, mark)| mark_result(epoch, mark)).collect();
    Ok(result::MarksReply { node, marks }.to_json())
}

fn mark_result(epoch: Epoch, mark: Mark) -> result::Mark {
    let count = |count: records::Count| result::VoteCount {
        assigned: count.assigned.into(),
        passed: count.passed.into(),
        failed: count.failed.into(),
    };
    let failings = Failing::of(mark.failings);
    let votes = mark.votes.iter();
    result::Mark {
        epoch,
        failings: failings.into_iter().map(|failing| failing.name().to_owned()).collect(),
        reach: count(mark.reach),
        keep: count(mark.keep),
        misses: mark.misses,
        penalty: mark.penalty.0,
        votes: votes
            .map(|vote| result::VoteAgainst { examiner: vote.examiner, tx: vote.tx })
            .collect(),
    }
}

pub(super) fn commitments(app: &App, call: &api::GetCommitments) -> Answer {
    let chain = app.engine().chain();
    let state = chain.state();
    let mut swarms: BTreeMap<SwarmId, Vec<NodeId>> = BTreeMap::new();
    for (swarm, node) in query::active_nodes(state) {
        swarms.entry(swarm).or_default().push(node);
    }
    if let Some(wanted) = call.swarm {
        swarms.retain(|swarm, _| *swarm == wanted);
        if swarms.is_empty() {
            return Err(ErrorCode::UnknownSwarm.error());
        }
    }
    let epoch = query::epoch(state).number;
    let mut all = BTreeMap::new();
    for (swarm, members) in swarms {
        let of = |node: &NodeId| query::get::<StorageCommitments>(state, node).unwrap_or_default();
        let of: Vec<(NodeId, Commitments)> =
            members.into_iter().map(|node| (node, of(&node))).collect();
        let agreed = agreed_root(&of, epoch);
        for (node, commitments) in of {
            all.insert(node, commitments_result(node, swarm, &commitments, agreed, epoch));
        }
    }
    let behind = all.into_iter().filter(|(node, _)| call.after.is_none_or(|after| *node > after));
    let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
    let mut page: Vec<_> = behind.map(|(_, one)| one).take(limit.saturating_add(1)).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().map(|one| one.node).filter(|_| more);
    Ok(result::CommitmentPage { epoch, commitments: page, next }.to_json())
}

/// Returns the root that two thirds of the members of a swarm have committed to in this epoch.
fn agreed_root(members: &[(NodeId, Commitments)], epoch: Epoch) -> Option<Digest> {
    let mut roots: BTreeMap<Digest, usize> = BTreeMap::new();
    let current = members.iter().filter_map(|(_, commitments)| commitments.current);
    for commitment in current.filter(|commitment| commitment.epoch == epoch) {
        *roots.entry(commitment.root).or_default() += 1;
    }
    roots.into_iter().find(|(_, count)| count * 3 >= members.len() * 2).map(|(root, _)| root)
}

fn commitments_result(
    node: NodeId,
    swarm: SwarmId,
    of: &Commitments,
    agreed: Option<Digest>,
    epoch: Epoch,
) -> result::NodeCommitments {
    let write = |it: session_protocol::commitment::Commitment| result::Commitment {
        epoch: it.epoch,
        swarm: it.swarm,
        count: it.count,
        bytes: it.bytes,
        root: it.root,
    };
    let current = of.current.filter(|commitment| commitment.epoch == epoch);
    result::NodeCommitments {
        node,
        swarm,
        current: current.map(write),
        previous: of.previous.map(write),
        agrees: agreed.zip(current).map(|(agreed, current)| agreed == current.root),
        deviant: of.deviant.into(),
    }
}

pub(super) fn swarms(app: &App) -> Value {
    let chain = app.engine().chain();
    let state = chain.state();
    let mut swarms: BTreeMap<SwarmId, Vec<result::SwarmMember>> = BTreeMap::new();
    for (seat, since) in query::entries::<SwarmMembers>(state) {
        let Some((_, node)) = query::node(state, &seat.node) else { continue };
        swarms.entry(seat.swarm).or_default().push(result::SwarmMember {
            node: seat.node,
            since,
            status: node_status(&node.status),
            endpoint: node.endpoint.to_string(),
            uptime_score: node.uptime_bps.into(),
        });
    }
    let ids: Vec<SwarmId> = swarms.keys().copied().collect();
    let swarms = swarms.into_iter().map(|(id, members)| {
        let share = share_per_million(&ids, id);
        result::Swarm { id, share, members }
    });
    let moved = query::entries::<FormerSeats>(state)
        .map(|(node, swarm)| result::FormerSeat { node, swarm });
    let epoch = query::epoch(state);
    result::SwarmsReply {
        epoch: epoch.number,
        swarms_since: epoch.swarms_since,
        swarm_size: query::params(state).swarm_size,
        swarms: swarms.collect(),
        moved: moved.collect(),
    }
    .to_json()
}

/// Returns of a million inboxes those that a swarm keeps: all that would move without it.
fn share_per_million(ids: &[SwarmId], swarm: SwarmId) -> u64 {
    let others: Vec<SwarmId> = ids.iter().copied().filter(|other| *other != swarm).collect();
    moved_between(ids, &others)
}

pub(super) fn cases(app: &App, call: &api::GetCases) -> Value {
    let chain = app.engine().chain();
    let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
    let fits = |id: &Digest, case: &Case| {
        call.after.is_none_or(|after| *id > after)
            && call.status.is_none_or(|status| status == case_status(&case.status))
            && call.accused.is_none_or(|accused| accused == case.accused)
    };
    let mut cases: Vec<_> = query::entries::<Cases>(chain.state())
        .filter(|(id, case)| fits(id, case))
        .take(limit.saturating_add(1))
        .map(|(id, case)| case_result(id, &case))
        .collect();
    let more = cases.len() > limit;
    cases.truncate(limit);
    let next = cases.last().map(|case| case.id).filter(|_| more);
    result::CasePage { cases, next }.to_json()
}

pub(super) fn case(app: &App, call: &api::GetCase) -> Answer {
    let chain = app.engine().chain();
    let case = query::get::<Cases>(chain.state(), &call.case)
        .ok_or_else(|| ErrorCode::UnknownCase.error())?;
    Ok(result::CaseReply { case: case_result(call.case, &case) }.to_json())
}

const fn case_status(status: &records::CaseStatus) -> CaseStatus {
    match status {
        records::CaseStatus::Open => CaseStatus::Open,
        records::CaseStatus::Paid { .. } => CaseStatus::Paid,
        records::CaseStatus::Vetoed { .. } => CaseStatus::Vetoed,
        records::CaseStatus::Refuted { .. } => CaseStatus::Refuted,
    }
}

fn case_result(id: Digest, case: &Case) -> result::Case {
    use records::CaseStatus as Of;
    let (closed, amount) = match case.status {
        Of::Open => (None, None),
        Of::Paid { at, amount } => (Some(at), Some(amount.0)),
        Of::Vetoed { at } | Of::Refuted { at } => (Some(at), None),
    };
    result::Case {
        id,
        accused: case.accused,
        kind: case.kind.name().to_owned(),
        epoch: case.epoch,
        accuser: case.accuser,
        tx: case.tx,
        opened: case.opened,
        until: case.until,
        missing: case
            .missing
            .map(|leaf| result::MissingItem { address: leaf.address, message: leaf.message }),
        status: case_status(&case.status),
        closed,
        amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_swarms_are_all_inboxes() {
        assert_eq!(share_per_million(&[SwarmId(7)], SwarmId(7)), 1_000_000);
        let quarter = u64::MAX / 4;
        let ids = [SwarmId(0), SwarmId(quarter), SwarmId(2 * quarter)];
        let shares: Vec<u64> = ids.iter().map(|id| share_per_million(&ids, *id)).collect();
        // Half of the ring lies between the last and the first.
        assert!(shares[0].abs_diff(375_000) <= 1 && shares[2].abs_diff(375_000) <= 1, "{shares:?}");
        assert!(shares[1].abs_diff(250_000) <= 1, "{shares:?}");
    }

    #[test]
    fn every_state_has_the_proposals_word_and_the_references() {
        use session_core::Time;
        let (swarm, since, until) = (SwarmId(1), Epoch(2), Time::ZERO);
        for status in [
            records::NodeStatus::Registered,
            records::NodeStatus::Active { swarm, since },
            records::NodeStatus::Suspended { swarm, since, until: Epoch(3) },
            records::NodeStatus::Leaving { swarm, since },
            records::NodeStatus::Decommissioning { until },
            records::NodeStatus::Slashed { until },
            records::NodeStatus::Retired { at: until },
        ] {
            let shown = node_status(&status);
            assert_eq!(shown.word(), status.name());
            assert_eq!(shown.lp_word(), status.lp().to_string().to_lowercase());
            let seed = records::NodeStatus::seed(Some(&status)).to_string();
            assert_eq!(shown.go_word(), seed, "{status:?}");
        }
    }
}
