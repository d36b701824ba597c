//! Entries about the beacon, votes, commitments and accusations.

use serde_json::json;
use session_core::{NodeId, SwarmId};
use session_crypto::AccountRef;
use session_protocol::beacon::{BeaconKey, Dealing};
use session_protocol::chain::transaction::bit;
use session_protocol::commitment::Commitment;
use session_vm::records::{
    Ballot, Case, CaseStatus, Commitments, Count, DealerList, Failing, Mark, MarkAt,
    RegisteredKeys, Revealed, ShownAt,
};

use super::{Cell, Rows, node_key, text, time};

pub(super) fn former_seat(swarm: SwarmId) -> Rows {
    vec![("swarmId", text(swarm))]
}

pub(super) fn beacon_keys(keys: RegisteredKeys) -> Rows {
    let mut rows = Vec::new();
    rows.extend(keys.current.map(|key| ("current", beacon_key(&key))));
    if let Some(next) = keys.next {
        rows.extend([("next", beacon_key(&next.key)), ("nextFrom", next.from.0.into())]);
    }
    rows
}

fn beacon_key(key: &BeaconKey) -> Cell {
    let BeaconKey { root, first, count } = key;
    format!("{count} secrets from epoch {first} under {root}").into()
}

pub(super) fn dealers(list: DealerList) -> Rows {
    let dealers: Vec<String> = list.dealers.iter().map(ToString::to_string).collect();
    vec![("dealers", json!(dealers).into())]
}

pub(super) fn dealing(dealing: Dealing) -> Rows {
    vec![("sharesRoot", text(dealing.shares)), ("commitment", text(dealing.commitment))]
}

pub(super) fn place(place: u16) -> Rows {
    vec![("dealer", place.into())]
}

pub(super) fn revealed(revealed: Revealed) -> Rows {
    match revealed.contribution {
        Some(contribution) => vec![("contribution", hex::encode(contribution).into())],
        None => vec![("contribution", "none: it does not make the dealing".into())],
    }
}

pub(super) fn shown_at(at: ShownAt) -> Rows {
    vec![("dealer", at.dealer.into()), ("holder", at.holder.into())]
}

/// The places of the bits that are set.
pub(super) fn bits(bitmap: &[u8]) -> Cell {
    let set = (0..bitmap.len() * 8).filter(|place| bit(bitmap, *place));
    let places: Vec<String> = set.map(|place| place.to_string()).collect();
    json!(places).into()
}

pub(super) fn ballot(ballot: Ballot) -> Rows {
    vec![
        ("epoch", ballot.epoch.0.into()),
        ("passed", bits(&ballot.passed)),
        ("failed", bits(&ballot.failed)),
        ("txId", text(ballot.tx)),
    ]
}

pub(super) fn commitments(of: Commitments) -> Rows {
    let mut rows = Vec::new();
    rows.extend(of.current.map(|commitment| ("current", committed(&commitment))));
    rows.extend(of.previous.map(|commitment| ("previous", committed(&commitment))));
    rows.push(("deviant", u16::from(of.deviant).into()));
    rows
}

fn committed(it: &Commitment) -> Cell {
    let Commitment { epoch, swarm, count, bytes, root } = it;
    format!("epoch {epoch}, swarm {swarm}, {count} items of {bytes} bytes, root {root}").into()
}

pub(super) fn mark_at(at: MarkAt) -> Rows {
    let mut rows = node_key(at.node);
    rows.push(("epoch", at.epoch.0.into()));
    rows
}

pub(super) fn mark(mark: Mark) -> Rows {
    let failings: Vec<&str> = Failing::of(mark.failings).into_iter().map(Failing::name).collect();
    let against: Vec<String> = mark.votes.iter().map(|vote| vote.tx.to_string()).collect();
    vec![
        ("failings", json!(failings).into()),
        ("reach", count(mark.reach)),
        ("keep", count(mark.keep)),
        ("misses", u64::from(mark.misses).into()),
        ("penalty", mark.penalty.into()),
        ("votesAgainst", json!(against).into()),
    ]
}

fn count(votes: Count) -> Cell {
    let Count { assigned, passed, failed } = votes;
    format!("{passed} yes and {failed} no of {assigned}").into()
}

pub(super) fn case(case: Case) -> Rows {
    let accused: NodeId = case.accused;
    let mut rows = vec![
        ("accused", text(accused)),
        ("kind", case.kind.name().into()),
        ("epoch", case.epoch.0.into()),
        ("accuser", text(AccountRef(case.accuser))),
        ("txId", text(case.tx)),
        ("opened", time(case.opened)),
        ("until", time(case.until)),
        ("status", case.status.name().into()),
    ];
    rows.extend(case.missing.map(|leaf| ("missing", text(leaf.message))));
    match case.status {
        CaseStatus::Open => {}
        CaseStatus::Paid { at, amount } => {
            rows.extend([("closed", time(at)), ("paid", amount.into())]);
        }
        CaseStatus::Vetoed { at } | CaseStatus::Refuted { at } => rows.push(("closed", time(at))),
    }
    rows
}
