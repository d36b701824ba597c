//! Duties of nodes: free, and refused when they are not due.
//!
//! A node signs its duties itself, with the keys that make its id: the sender's account has the
//! same 32 bytes. Its seat, and so its place in the [`Roster`], is fixed within an epoch.

use std::sync::Arc;

use session_core::{Epoch, List, NodeId, Time};
use session_protocol::chain::transaction::{Bitmap, bit};
use session_protocol::chain::{Action, ReceivedTransaction};
use session_protocol::commitment::Commitment;
use session_protocol::roster::Roster;
use session_protocol::schedule::{Phase, Schedule};

use super::epochs::epoch_at;
use super::{Execution, Rejection, sessions};
use crate::query;
use crate::records::{
    Ballot, Ballots, EPOCHS_KEPT, NodeStatus, Nodes, SeatOf, ServiceNode, StorageCommitments,
};
use crate::state::State;

/// Commitments of one epoch: one, and another after the members compared what they have.
const COMMITMENTS_MAX: u8 = 2;

/// Orders of one epoch to be away or back: they cost nothing.
const DRAINS_MAX: u8 = 4;

/// Returns whether a transaction offers nothing and may be executed all the same.
pub(crate) fn is_free(tx: &ReceivedTransaction) -> bool {
    let body = &tx.signed.transaction;
    let dispute = matches!(body.action, Action::Accuse { .. } | Action::Refute { .. });
    let by_choice = dispute || body.action.begins_or_ends().is_some();
    body.action.is_duty() || by_choice && body.fee_max.0 == 0
}

/// Says whether a free transaction may still be executed in a block of this time or later; what
/// comes too early is not refused.
///
/// # Errors
/// When its sender has no such duty, or the time for it is over; of a workload session also when
/// the sender is no member of its committee, so that it would have to pay.
pub(crate) fn check_due(
    state: &State,
    tx: &ReceivedTransaction,
    time: Time,
) -> Result<(), Rejection> {
    let (sender, action) = (tx.sender(), &tx.signed.transaction.action);
    if let Some(session) = action.begins_or_ends() {
        sessions::check_due(state, tx, session, time)?;
    }
    let id = NodeId::from(*sender.as_bytes());
    let node = query::get::<Nodes>(state, &id).ok_or(Rejection::NotANode { sender })?;
    let waits = matches!(node.status, NodeStatus::Registered);
    let registers = matches!(action, Action::RegisterBeaconKey { .. });
    if node.status.seat().is_none() && !(waits && registers) {
        return Err(Rejection::NodeNotActive { status: node.status.name() });
    }
    let (genesis, length) = (query::chain(state).genesis, query::params(state).epoch);
    let now = epoch_at(genesis, length, time);
    let phase = Schedule::of(genesis, length, now).phase(time);
    let Some((epoch, last)) = due_until(action) else { return Ok(()) };
    if epoch < now {
        return Err(Rejection::WrongEpoch { got: epoch, due: now });
    }
    if epoch == now && phase > last {
        return Err(Rejection::WrongPhase { phase });
    }
    Ok(())
}

/// Returns the epoch in which a duty is due, and the last phase of it; nothing if it is always.
fn due_until(action: &Action) -> Option<(Epoch, Phase)> {
    // Steps of the beacon name the epoch that it is made for.
    let before = |epoch: &Epoch| Epoch(epoch.0.saturating_sub(1));
    match action {
        Action::UptimeVote { epoch, .. } => Some((*epoch, Phase::Recover)),
        Action::StorageCommitment { commitment } => Some((commitment.epoch, Phase::Ack)),
        Action::BeaconDeal { epoch, .. } => Some((before(epoch), Phase::Deal)),
        Action::BeaconAck { epoch, .. } => Some((before(epoch), Phase::Ack)),
        Action::BeaconReveal { epoch, .. } => Some((before(epoch), Phase::Reveal)),
        Action::BeaconShares { epoch, .. } => Some((before(epoch), Phase::Recover)),
        _ => None,
    }
}

impl Execution<'_> {
    /// Returns the node whose keys signed.
    pub(super) fn signer(&self) -> Result<(NodeId, ServiceNode), Rejection> {
        let sender = self.sender();
        let id = NodeId::from(*sender.as_bytes());
        let node = self.draft.get::<Nodes>(&id).ok_or(Rejection::NotANode { sender })?;
        Ok((id, node))
    }

    /// Returns the node whose keys signed, and its seat.
    pub(super) fn seat(&self) -> Result<(NodeId, ServiceNode, SeatOf), Rejection> {
        let (id, node) = self.signer()?;
        let status = node.status.name();
        let seat = node.status.seat().ok_or(Rejection::NodeNotActive { status })?;
        Ok((id, node, seat))
    }

    /// Checks that `got` is the epoch for which this is due.
    pub(super) fn due_for(&self, got: Epoch, due: Epoch) -> Result<(), Rejection> {
        if got == due { Ok(()) } else { Err(Rejection::WrongEpoch { got, due }) }
    }

    /// Checks that the block is in one of these parts of the epoch.
    pub(super) fn due_in(&self, phases: &[Phase]) -> Result<(), Rejection> {
        let schedule = Schedule { start: self.epoch.start, length: self.params.epoch };
        let phase = schedule.phase(self.context.time);
        if phases.contains(&phase) { Ok(()) } else { Err(Rejection::WrongPhase { phase }) }
    }

    /// Returns who does what in this epoch.
    pub(super) fn roster(&self) -> Arc<Roster> {
        self.roster.get_or_init(|| Arc::new(query::roster(self.draft.base()))).clone()
    }

    pub(super) fn uptime_vote(
        &mut self,
        epoch: Epoch,
        passed: &Bitmap,
        failed: &Bitmap,
    ) -> Result<(), Rejection> {
        let (id, ..) = self.seat()?;
        self.due_for(epoch, self.epoch.number)?;
        self.due_in(&[Phase::Recover])?;
        if self.draft.has::<Ballots>(&id) {
            return Err(Rejection::DutyDone);
        }
        let targets = self.roster().targets(&id).len();
        check_bitmap(passed, targets)?;
        check_bitmap(failed, targets)?;
        if let Some(target) = (0..targets).find(|at| bit(passed, *at) && bit(failed, *at)) {
            return Err(Rejection::VoteBoth { target });
        }
        let (passed, failed) = (passed.clone(), failed.clone());
        self.draft.put::<Ballots>(&id, &Ballot { epoch, passed, failed, tx: self.tx.id });
        Ok(())
    }

    pub(super) fn storage_commitment(&mut self, commitment: &Commitment) -> Result<(), Rejection> {
        let (id, mut node, seat) = self.seat()?;
        self.due_for(commitment.epoch, self.epoch.number)?;
        self.due_in(&[Phase::Deal, Phase::Ack])?;
        let (got, swarm) = (commitment.swarm, seat.swarm);
        if got != swarm {
            return Err(Rejection::WrongSwarm { got, swarm });
        }
        let mut commitments = self.draft.get::<StorageCommitments>(&id).unwrap_or_default();
        // The same again says nothing new.
        if node.posted >= COMMITMENTS_MAX || commitments.current == Some(*commitment) {
            return Err(Rejection::DutyDone);
        }
        node.posted += 1;
        commitments.current = Some(*commitment);
        self.draft.put::<StorageCommitments>(&id, &commitments);
        self.draft.put::<Nodes>(&id, &node);
        Ok(())
    }

    /// Says that the node is away for `epochs`, this one included, or is back (0). It keeps its
    /// seat; nobody judges it for an epoch in which it said so.
    pub(super) fn drain(&mut self, epochs: u8) -> Result<(), Rejection> {
        let (id, mut node, seat) = self.seat()?;
        let SeatOf { swarm, since } = seat;
        let now = self.epoch.number;
        if !matches!(node.status, NodeStatus::Active { .. } | NodeStatus::Suspended { .. }) {
            return Err(Rejection::NodeNotActive { status: node.status.name() });
        }
        if node.drains >= DRAINS_MAX {
            return Err(Rejection::DutyDone);
        }
        node.drains += 1;
        // What lies ahead is given back; the current epoch counts.
        let counts = |epoch: &Epoch| *epoch <= now && epoch.0 + EPOCHS_KEPT > now.0;
        let mut drained: Vec<Epoch> = node.drained.iter().copied().filter(counts).collect();
        if epochs == 0 {
            if !matches!(node.status, NodeStatus::Suspended { .. }) {
                return Err(Rejection::NotSuspended { status: node.status.name() });
            }
            node.status = NodeStatus::Active { swarm, since };
        } else {
            let until = Epoch(now.0.saturating_add(epochs.into()));
            let ahead = (now.0..until.0).map(Epoch);
            drained.extend(ahead.filter(|epoch| !node.drained.contains(epoch) || *epoch > now));
            self.check_budget(&drained)?;
            node.status = NodeStatus::Suspended { swarm, since, until };
        }
        node.drained = List::new(drained).expect("the budget is within the epochs that count");
        self.draft.put::<Nodes>(&id, &node);
        Ok(())
    }

    /// Checks that no [`EPOCHS_KEPT`] epochs in a row hold more of these than allowed.
    fn check_budget(&self, drained: &[Epoch]) -> Result<(), Rejection> {
        let max = usize::from(self.params.drain_epochs_max).min(EPOCHS_KEPT as usize / 2);
        let within = |last: &Epoch| {
            let first = last.0.saturating_sub(EPOCHS_KEPT - 1);
            drained.iter().filter(|epoch| (first..=last.0).contains(&epoch.0)).count()
        };
        let got = drained.iter().map(within).max().unwrap_or_default();
        if got <= max {
            Ok(())
        } else {
            Err(Rejection::DrainBudget { got, within: EPOCHS_KEPT, max })
        }
    }
}

fn check_bitmap(bitmap: &Bitmap, bits: usize) -> Result<(), Rejection> {
    let stray = (bits..bitmap.len() * 8).any(|at| bit(bitmap, at));
    if bitmap.len() == bits.div_ceil(8) && !stray {
        Ok(())
    } else {
        Err(Rejection::Bitmap { bits })
    }
}
