//! Two commits that end one epoch: a way back to the better one, while there is one.
//!
//! Slots of the swarm make this rare: it takes a swarm that signs for two items of one slot, or
//! members who lost patience with a slot at different times. The choice is the same on every
//! device:
//!
//! 1. the branch whose first commit removes the device that made the other's;
//! 2. the one whose first commit lay in the lower slot, those beside their slot last;
//! 3. the longer one;
//! 4. the one whose first commit an admin made, then the one whose first commit has the lower
//!    digest.

use core::cmp::Reverse;

use session_core::{Digest, MessageId, Time};

use super::commits::Rejected;
use super::epochs::edit;
use super::open::{Found, Taken};
use super::routes::{What, split_slot};
use super::state::{EpochKeys, Held, Part, Roster, Snapshot, State};
use super::wishes::{digest_of, want};
use super::{Groups, HORIZON, Heard, doors, epochs};
use crate::Cx;
use crate::mls::KeyAgreement as _;
use crate::say::GroupId;
use crate::vault;

/// What decides between branches of which neither removes the other's author: the lower one is
/// better.
type Rank = (u32, Reverse<u64>, bool, Digest);

/// A branch that was tried.
struct Walk {
    there: Box<State>,
    told: Vec<Heard>,
    /// Devices that come in on it.
    added: Vec<Digest>,
    /// The wish, if it begins with our own commit.
    wish: Option<u64>,
}

impl Groups {
    /// Somebody else's commit ends an epoch that this device has left by another one. What did not
    /// lie in a slot of that epoch is none.
    pub(super) fn rival(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        (epoch, slot): (u64, Option<u32>),
        message: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Taken {
        let digest = digest_of(message);
        let Some(ours) = first(state, epoch).map(|keys| (keys.commit, keys.slot)) else {
            return Taken::Done;
        };
        if ours.0 == digest {
            if ours.1.is_none() {
                let after = epoch.saturating_add(1);
                edit(&mut state.epochs, |epochs| {
                    let ours = epochs.iter_mut().filter(|keys| keys.epoch == after);
                    ours.for_each(|keys| keys.slot = slot);
                });
            }
            return Taken::Keep;
        }
        if slot.is_none() {
            return Taken::Done;
        }
        let Some(snapshot) = way_back(cx, group, state, epoch) else { return Taken::Done };
        let before = self.mls.snapshot(cx.store, group);
        match self.walk(cx, group, state, &snapshot, (digest, slot), Some(message)) {
            Ok(walk) if better(cx, group, &walk.there, state, epoch) => {
                let mine = snapshot.mine.filter(|_| walk.wish.is_none());
                self.change_to(cx, group, state, walk, heard);
                if let Some(mine) = mine {
                    want(cx, group, 0, mine.wish, cx.now);
                }
                Taken::Keep
            }
            Ok(walk) => {
                self.go_back(cx, group, state, &walk.there, &before, heard);
                Taken::Keep
            }
            Err(there) => {
                self.go_back(cx, group, state, &there, &before, heard);
                Taken::Done
            }
        }
    }

    /// Our own commit is stored, and we have followed another one: the same choice, the other way.
    pub(super) fn won_late(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        epoch: u64,
        item: MessageId,
        heard: &mut Vec<Heard>,
    ) {
        let Some(snapshot) = way_back(cx, group, state, epoch) else { return };
        let Some(flight) = &snapshot.state.flight else { return };
        let taken = first(state, epoch).is_none_or(|ours| ours.commit == flight.digest);
        if taken || flight.item != item {
            return;
        }
        let commit = (flight.digest, Some(flight.slot));
        let before = self.mls.snapshot(cx.store, group);
        match self.walk(cx, group, state, &snapshot, commit, None) {
            Ok(walk) if better(cx, group, &walk.there, state, epoch) => {
                self.change_to(cx, group, state, walk, heard);
            }
            Ok(walk) => self.go_back(cx, group, state, &walk.there, &before, heard),
            Err(there) => self.go_back(cx, group, state, &there, &before, heard),
        }
    }

    /// The branch that was tried is better.
    fn change_to(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        walk: Walk,
        heard: &mut Vec<Heard>,
    ) {
        let Walk { there, told, added, wish } = walk;
        abandon(cx, group, state, &there);
        state.land();
        let stale = core::mem::take(&mut state.care.stale);
        *state = *there;
        edit(&mut state.care.stale, |known| known.extend(stale));
        heard.extend(told);
        if let Some(wish) = wish {
            self.granted(cx, group, state, wish, heard);
        }
        self.came(cx, group, &added, heard);
        self.touch(*group, cx.now);
    }

    /// Goes back, and down the other branch as far as it is known: along our own commit if that is
    /// what the digest names. `Err` if it leads nowhere. Wishes and welcomes stay untouched: the
    /// branch may turn out to be worse.
    fn walk(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        snapshot: &Snapshot,
        commit: (Digest, Option<u32>),
        message: Option<&[u8]>,
    ) -> Result<Walk, Box<State>> {
        let mut there = snapshot.state.clone();
        if self.mls.restore(&mut doors(cx), group, &snapshot.mls).is_err() {
            return Err(Box::new(there));
        }
        there.usage = state.usage.clone();
        there.phase = state.phase;
        let (mut told, mut added, mut wish) = (Vec::new(), Vec::new(), None);
        let own = there.flight.as_ref().is_some_and(|flight| flight.digest == commit.0);
        let entered = if own {
            wish = self.step_own(cx, group, &mut there, &mut told);
            wish.is_some()
        } else {
            there.land();
            message.is_some_and(|message| {
                self.try_step(cx, group, &mut there, (message, commit.1), &mut told, &mut added)
            })
        };
        if !entered {
            return Err(Box::new(there));
        }
        self.follow_on(cx, group, &mut there, &mut told, &mut added);
        Ok(Walk { there: Box::new(there), told, added, wish })
    }

    /// Enters the epoch of a commit, if this device takes it and stays in the group.
    fn try_step(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        there: &mut State,
        (message, slot): (&[u8], Option<u32>),
        told: &mut Vec<Heard>,
        added: &mut Vec<Digest>,
    ) -> bool {
        match self.examine(cx, group, there, message) {
            Ok((summary, _)) if !summary.removes_me => {
                added.extend(summary.added.iter().map(|joiner| joiner.key_hash));
                let commit = (digest_of(message), slot);
                self.step(cx, group, there, &summary, commit, told).is_some()
            }
            Ok(_) => {
                self.mls.refuse(&mut doors(cx), group);
                false
            }
            Err(Rejected::Wait | Rejected::Never(_)) => false,
        }
    }

    /// Follows the commits that wait, on the branch that this is.
    fn follow_on(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        there: &mut State,
        told: &mut Vec<Heard>,
        added: &mut Vec<Digest>,
    ) {
        let held = Part::Held.list::<Held>(cx.store, group);
        for _ in 0..held.len() {
            let epoch = there.epoch;
            let mut here = Vec::new();
            for (_, Held { place, data, .. }) in &held {
                if place.what != (What::Commits { epoch }) {
                    continue;
                }
                if let Some((number, data)) = split_slot(group, epoch, there.slots(epoch), data) {
                    here.push((number, place, data));
                }
            }
            here.sort_by_key(|(number, ..)| *number);
            for (number, place, data) in here {
                let found = self.commit_of(cx, there, place, epoch, data);
                let Found::Whole(message) = found else { continue };
                if self.try_step(cx, group, there, (&message, Some(number)), told, added) {
                    break;
                }
            }
            if there.epoch == epoch {
                return;
            }
        }
    }

    /// The branch that was tried is worse: everything is as before.
    fn go_back(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        tried: &State,
        before: &[u8],
        heard: &mut Vec<Heard>,
    ) {
        abandon(cx, group, tried, state);
        if let Err(why) = self.mls.restore(&mut doors(cx), group, before) {
            heard.push(super::refused(why));
        }
    }
}

/// What the commit that ended an epoch led to.
fn first(state: &State, epoch: u64) -> Option<&EpochKeys> {
    state.epochs.iter().find(|keys| keys.epoch == epoch.saturating_add(1))
}

/// Whether the branch of a state is better than another, from the commits that ended `epoch` on.
fn better(cx: &Cx<'_>, group: &GroupId, one: &State, other: &State, epoch: u64) -> bool {
    let (Some(it), Some(that)) = (first(one, epoch), first(other, epoch)) else { return false };
    let gone = |from: &EpochKeys, by: &Digest| {
        let roster = Roster::load(cx.store, group, &from.authenticator);
        roster.leaves.iter().all(|leaf| leaf.key != *by)
    };
    match (gone(it, &that.by), gone(that, &it.by)) {
        (true, false) => true,
        (false, true) => false,
        _ => rank(one, it, epoch) < rank(other, that, epoch),
    }
}

fn rank(state: &State, first: &EpochKeys, epoch: u64) -> Rank {
    let length = state.epoch.saturating_sub(epoch);
    (first.slot.unwrap_or(u32::MAX), Reverse(length), !first.by_admin, first.commit)
}

/// Returns the state at the end of an epoch of this branch, while it is kept.
fn way_back(cx: &Cx<'_>, group: &GroupId, state: &State, epoch: u64) -> Option<Snapshot> {
    let keys = state.epochs.iter().find(|keys| keys.epoch == epoch)?;
    let key = Part::Snapshot.key(group, keys.authenticator.as_ref());
    let snapshot = vault::load::<Snapshot>(cx.store, &key)?;
    (cx.now < snapshot.at + HORIZON && keys.ended != Time::MAX).then_some(snapshot)
}

/// Erases the epochs of one branch that another does not share.
fn abandon(cx: &mut Cx<'_>, group: &GroupId, left: &State, kept: &State) {
    let shared = |keys: &EpochKeys| {
        kept.epochs.iter().any(|other| other.authenticator == keys.authenticator)
    };
    let gone: Vec<EpochKeys> = left.epochs.iter().filter(|keys| !shared(keys)).cloned().collect();
    gone.iter().for_each(|keys| epochs::close(cx.store, group, keys));
}
