//! What the end of an epoch means for its nodes: marks, penalties, and who is out.
//!
//! *Provided:* a node is found failing by others only if a majority of *all* that could vote says
//! so, so silence protects the accused; a miss costs an exact share of the original stake, once
//! an epoch. *Not provided:* judgement of an epoch in which the chain stood still: what fewer than
//! half of the nodes could do is nobody's failing.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Digest, Epoch, List, NodeId, SwarmId, Time};
use session_protocol::chain::Amount;
use session_protocol::chain::transaction::bit;
use session_protocol::roster::{Duty, Roster, TARGETS_MAX, Target};

use super::draft::Draft;
use super::{cases, nodes};
use crate::query::{self, entries};
use crate::records::{
    Ballot, Ballots, Commitments, Count, Dealers, EPOCHS_KEPT, EpochRecord, Failing, Mark, MarkAt,
    Marks, NodeStatus, Nodes, Only, Params, ServiceNode, StorageCommitments, Table, Treasury,
    VoteAgainst,
};

/// All of something, in ten-thousandths.
const FULL_BPS: u16 = 10_000;
/// Epochs in a row with another root than two thirds of the swarm that are too many.
const DEVIANT_MAX: u8 = 3;

/// Ends the epoch `last`: judges every node with a seat, lets the accused pay, moves commitments
/// on, clears the votes, and gives nodes their new keys. `failings` are those at the beacon; `end`
/// is when the epoch ended by the clock.
///
/// Seats stay as they are: the rebalancing that follows must take away those whose nodes are
/// neither active nor suspended.
pub(super) fn tally(
    draft: &mut Draft<'_>,
    params: &Params,
    last: &EpochRecord,
    failings: BTreeMap<NodeId, u8>,
    end: Time,
) {
    let next = Epoch(last.number.0.saturating_add(1));
    let roster = query::roster(draft.base());
    let judge = Judge::new(draft, params, last.number, &roster, failings);
    for id in roster.nodes() {
        let Some(mut node) = draft.get::<Nodes>(id) else { continue };
        let mut commitments = draft.get::<StorageCommitments>(id).unwrap_or_default();
        if judge.judges(&node) {
            commitments.deviant = judge.deviant(id, &commitments);
        }
        let mut mark = judge.mark(id, &node, &commitments);
        if judge.judges(&node) || mark.failings != 0 {
            judge.punish(draft, &mut node, &mut mark, end);
        }
        rest(&mut node, next, end, params);
        draft.put::<Marks>(&MarkAt { node: *id, epoch: last.number }, &mark);
        draft.put::<Nodes>(id, &node);
        let moved = Commitments { current: None, previous: commitments.current, ..commitments };
        draft.put::<StorageCommitments>(id, &moved);
    }
    cases::settle(draft, params, end);
    forget(draft, last.number, &roster);
    rotate(draft, &roster);
}

/// Votes about one duty of one node.
#[derive(Debug, Default)]
struct Poll {
    passed: u8,
    against: Vec<VoteAgainst>,
}

/// All votes of an epoch.
struct Votes {
    polls: BTreeMap<Target, Poll>,
    voted: BTreeSet<NodeId>,
}

impl Votes {
    fn count(draft: &Draft<'_>, roster: &Roster) -> Self {
        let (mut polls, mut voted): (BTreeMap<Target, Poll>, _) = Default::default();
        for (examiner, Ballot { passed, failed, tx, .. }) in entries::<Ballots>(draft.base()) {
            for (at, target) in roster.targets(&examiner).into_iter().enumerate() {
                if bit(&passed, at) {
                    polls.entry(target).or_default().passed += 1;
                } else if bit(&failed, at) {
                    let against = VoteAgainst { examiner, tx };
                    polls.entry(target).or_default().against.push(against);
                }
            }
            BTreeSet::insert(&mut voted, examiner);
        }
        Self { polls, voted }
    }

    fn poll(&self, node: &NodeId, duty: Duty) -> Option<&Poll> {
        self.polls.get(&Target { node: *node, duty })
    }

    /// Returns the votes against a node at what it failed.
    fn against(&self, id: &NodeId, mark: &Mark) -> List<VoteAgainst, TARGETS_MAX> {
        let duties = [(Failing::Unreachable, Duty::Reach), (Failing::Storage, Duty::Keep)];
        let failed = duties.into_iter().filter(|(failing, _)| mark.failed_at(*failing));
        let polls = failed.filter_map(|(_, duty)| self.poll(id, duty));
        let votes: Vec<VoteAgainst> =
            polls.flat_map(|poll| &poll.against).take(TARGETS_MAX).copied().collect();
        List::new(votes).expect("no more than its bound were taken")
    }

    fn counted(&self, node: &NodeId, duty: Duty, assigned: usize) -> Count {
        let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let poll = self.poll(node, duty);
        let passed = poll.map_or(0, |poll| poll.passed);
        let failed = poll.map_or(0, |poll| small(poll.against.len()));
        Count { assigned: small(assigned), passed, failed }
    }
}

/// Whether at least half of the nodes did what they all had to do. What fewer did is nobody's
/// failing: the chain may have been away when it was due.
#[derive(Clone, Copy, Debug, Default)]
struct Turnout {
    ballots: bool,
    commitments: bool,
    dealings: bool,
}

/// What is known of all nodes at the end of an epoch.
struct Judge<'a> {
    params: &'a Params,
    epoch: Epoch,
    roster: &'a Roster,
    votes: Votes,
    turnout: Turnout,
    /// The root that two thirds of a swarm committed to, where there is one.
    roots: BTreeMap<SwarmId, Digest>,
    /// What dealers failed at.
    beacon: BTreeMap<NodeId, u8>,
}

impl<'a> Judge<'a> {
    fn new(
        draft: &Draft<'_>,
        params: &'a Params,
        epoch: Epoch,
        roster: &'a Roster,
        beacon: BTreeMap<NodeId, u8>,
    ) -> Self {
        let votes = Votes::count(draft, roster);
        let (turnout, roots) = (Turnout::default(), swarm_roots(draft, roster));
        let mut judge = Self { params, epoch, roster, votes, turnout, roots, beacon };
        judge.turnout = judge.turnout(draft);
        judge
    }

    fn turnout(&self, draft: &Draft<'_>) -> Turnout {
        let judged = |id: &&NodeId| draft.get::<Nodes>(id).is_some_and(|node| self.judges(&node));
        let judged: Vec<&NodeId> = self.roster.nodes().iter().filter(judged).collect();
        let half = |did: usize, of: usize| did * 2 >= of;
        let voted = judged.iter().filter(|id| self.votes.voted.contains(id)).count();
        let committed = judged.iter().filter(|id| {
            let commitments = draft.get::<StorageCommitments>(id);
            commitments.is_some_and(|it| it.current.is_some())
        });
        let dealers = draft.get::<Dealers>(&Only {}).unwrap_or_default().dealers;
        let silent = |id: &&NodeId| self.at_beacon(id) & Failing::BeaconSilent as u8 != 0;
        let spoke = dealers.len() - dealers.iter().filter(silent).count();
        Turnout {
            ballots: half(voted, judged.len()),
            commitments: half(committed.count(), judged.len()),
            dealings: half(spoke, dealers.len()),
        }
    }

    /// A node that took its seat in this epoch had no time to get its data; one that said that it
    /// is away is expected to be.
    fn judges(&self, node: &ServiceNode) -> bool {
        let seated = node.status.seat().is_some_and(|seat| seat.since < self.epoch);
        seated && !node.is_away(self.epoch)
    }

    fn at_beacon(&self, id: &NodeId) -> u8 {
        self.beacon.get(id).copied().unwrap_or_default()
    }

    /// Returns for how many epochs in a row a node stood alone. Committing to nothing ends no row.
    fn deviant(&self, id: &NodeId, commitments: &Commitments) -> u8 {
        let common = self.roster.swarm_of(id).and_then(|swarm| self.roots.get(&swarm));
        match (commitments.current, common) {
            (Some(own), Some(common)) if own.root != *common => {
                commitments.deviant.saturating_add(1)
            }
            (None, Some(_)) => commitments.deviant,
            _ => 0,
        }
    }

    /// Returns the mark of a node without misses and penalty.
    fn mark(&self, id: &NodeId, node: &ServiceNode, commitments: &Commitments) -> Mark {
        let reach = self.votes.counted(id, Duty::Reach, self.roster.examiners(id).len());
        let keep = self.votes.counted(id, Duty::Keep, self.roster.mates(id).len());
        // Dealing badly is a deed, not an absence.
        let mut failings = self.at_beacon(id) & Failing::BeaconBad as u8;
        if self.judges(node) {
            failings |= self.failings(id, commitments, &reach, &keep);
        }
        let mut mark = Mark {
            failings,
            reach,
            keep,
            misses: node.misses,
            penalty: Amount::ZERO,
            votes: List::new([]).expect("nothing is within every bound"),
        };
        mark.votes = self.votes.against(id, &mark);
        mark
    }

    fn failings(&self, id: &NodeId, commitments: &Commitments, reach: &Count, keep: &Count) -> u8 {
        let unreachable = reach.failed > reach.assigned / 2;
        // Mates stay the same for long: three liars among nine must not decide, nor one alone.
        let lost = keep.failed >= 2 && u16::from(keep.failed) * 3 >= u16::from(keep.assigned) * 2;
        let silent = !self.votes.voted.contains(id) && !self.roster.targets(id).is_empty();
        let no_beacon = self.at_beacon(id) & Failing::BeaconSilent as u8 != 0;
        let Commitments { current, previous, deviant } = commitments;
        let found = [
            (Failing::Unreachable, unreachable),
            (Failing::Storage, previous.is_some() && lost),
            (Failing::NoVote, self.turnout.ballots && silent),
            (Failing::NoCommitment, self.turnout.commitments && current.is_none()),
            (Failing::Deviant, *deviant >= DEVIANT_MAX),
            (Failing::BeaconSilent, self.turnout.dealings && no_beacon),
        ];
        let set = found.into_iter().filter(|(_, found)| *found);
        set.fold(0, |bits, (failing, _)| bits | failing as u8)
    }

    /// Counts a miss or ends a row of them, and takes what it costs.
    fn punish(&self, draft: &mut Draft<'_>, node: &mut ServiceNode, mark: &mut Mark, end: Time) {
        let Self { params, .. } = self;
        let failed = mark.failings & !(Failing::Deviant as u8) != 0;
        node.misses = if failed { node.misses.saturating_add(1) } else { 0 };
        mark.misses = node.misses;
        let bad = mark.failed_at(Failing::BeaconBad);
        if failed && (bad || node.misses > u32::from(params.misses_free)) {
            let left = params.penalty_max_bps.saturating_sub(node.lost_bps);
            mark.penalty = lose(draft, node, params.penalty_bps.min(left));
            if node.lost_bps >= params.penalty_max_bps {
                put_out(node, end + params.unbonding);
            }
        }
        if !self.turnout.ballots {
            return;
        }
        let Count { assigned, passed, .. } = mark.reach;
        let up = passed >= params.duties.min_peers.min(assigned)
            && !mark.failed_at(Failing::Unreachable);
        if up {
            node.last_ping = end;
        }
        node.uptime_bps = score(node.uptime_bps, up && !failed);
    }
}

fn swarm_roots(draft: &Draft<'_>, roster: &Roster) -> BTreeMap<SwarmId, Digest> {
    let root = |id: &NodeId| Some(draft.get::<StorageCommitments>(id)?.current?.root);
    let common = |members: &[NodeId]| {
        let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
        for root in members.iter().filter_map(root) {
            *counts.entry(root).or_default() += 1;
        }
        let (root, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 3 >= members.len() * 2).then_some(root)
    };
    let swarms = roster.swarms().iter();
    swarms.filter_map(|(swarm, members)| Some((*swarm, common(members)?))).collect()
}

/// Moves a score by a twenty-fourth of the way to its end, rounded up so that it arrives.
fn score(score: u16, good: bool) -> u16 {
    let step = |way: u16| way.div_ceil(EPOCHS_KEPT as u16);
    let score = score.min(FULL_BPS);
    if good { score + step(FULL_BPS - score) } else { score - step(score) }
}

/// Returns a share of an amount, rounded down.
pub(super) fn share(amount: Amount, bps: u16) -> Amount {
    let share = u128::from(amount.0) * u128::from(bps.min(FULL_BPS)) / u128::from(FULL_BPS);
    Amount(u64::try_from(share).expect("a share is not more than the whole"))
}

/// Takes a share of the original stake for the treasury, as far as there is something left.
///
/// What is lost is counted in shares: a hundred times half a percent is half, to the unit.
pub(super) fn lose(draft: &mut Draft<'_>, node: &mut ServiceNode, bps: u16) -> Amount {
    let before = share(node.stake_original, node.lost_bps);
    node.lost_bps = node.lost_bps.saturating_add(bps).min(FULL_BPS);
    let after = share(node.stake_original, node.lost_bps);
    let amount = after.checked_sub(before).expect("a larger share is not less");
    node.stake = node.stake.checked_sub(amount).expect("the stake is what was not lost");
    let treasury = draft.get::<Treasury>(&Only {}).unwrap_or(Amount::ZERO);
    let treasury = treasury.checked_add(amount).expect("stakes are part of the supply");
    draft.put::<Treasury>(&Only {}, &treasury);
    amount
}

/// Takes a node out for ever; what is left of its stake is bound until then.
pub(super) fn put_out(node: &mut ServiceNode, until: Time) {
    if !matches!(node.status, NodeStatus::Slashed { .. }) {
        node.status = NodeStatus::Slashed { until };
    }
}

/// Ends what was for this epoch only.
fn rest(node: &mut ServiceNode, next: Epoch, end: Time, params: &Params) {
    node.status = match node.status {
        NodeStatus::Leaving { .. } => NodeStatus::Decommissioning { until: end + params.unbonding },
        NodeStatus::Suspended { swarm, since, until } if until <= next => {
            NodeStatus::Active { swarm, since }
        }
        status => status,
    };
    node.posted = 0;
    node.drains = 0;
    let counts = |epoch: &Epoch| epoch.0.saturating_add(EPOCHS_KEPT) > next.0;
    let drained: Vec<Epoch> = node.drained.iter().copied().filter(counts).collect();
    node.drained = List::new(drained).expect("no more than before");
}

/// Removes votes, old marks, and commitments of those who have no seat any more.
fn forget(draft: &mut Draft<'_>, last: Epoch, roster: &Roster) {
    let base = draft.base();
    for (examiner, _) in entries::<Ballots>(base) {
        draft.remove::<Ballots>(&examiner);
    }
    // The keys alone: there are 24 marks for each node.
    for (key, _) in base.range(&[Marks::TAG]) {
        let at = query::key_of::<Marks>(key);
        if at.epoch.0.saturating_add(EPOCHS_KEPT) <= last.0 {
            draft.remove::<Marks>(&at);
        }
    }
    for (id, _) in entries::<StorageCommitments>(base) {
        if roster.swarm_of(&id).is_none() {
            draft.remove::<StorageCommitments>(&id);
        }
    }
}

/// Gives nodes the keys that they asked for; those that are out keep the old ones.
fn rotate(draft: &mut Draft<'_>, roster: &Roster) {
    for old in roster.nodes() {
        let Some(mut node) = draft.get::<Nodes>(old) else { continue };
        let Some(new) = node.next.take() else { continue };
        if node.status.seat().is_some() {
            nodes::take_id(draft, *old, &node, new);
        } else {
            draft.put::<Nodes>(old, &node);
        }
    }
}

#[cfg(test)]
mod tests;
