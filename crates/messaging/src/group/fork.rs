//! Two commits that end one epoch: a way back to the better one, while there is one.
//!
//! Slots of the swarm make this rare: it takes a swarm that signs for two items of one slot, or for
//! none, or members who lost patience with a slot at different times. What decides is known of the
//! commits alone, so that the choice is the same on every device, whenever it is made:
//!
//! 1. the commit that removes the device that made the other;
//! 2. the one that was stored soon after it was made;
//! 3. the one for the lower slot;
//! 4. the one that was made earlier, by the clock of who made it;
//! 5. an admin's, then the one with the lower digest.
//!
//! All but the second is signed by who made it: it does not depend on where and when a commit is
//! found. Whoever lies about the time has others go back a few minutes, and keeps nobody from
//! removing it.

use session_core::{Digest, MessageId, Time};

use super::commits::{Candidate, Examined, Rejected};
use super::epochs::{Origin, edit};
use super::open::{Found, Taken};
use super::routes::{What, split_slot};
use super::state::{EpochKeys, Flight, Held, Part, Roster, Snapshot, Stamp, State};
use super::wishes::{digest_of, want};
use super::{Groups, HORIZON, Heard, doors, epochs};
use crate::Cx;
use crate::mls::{KeyAgreement as _, Summary};
use crate::say::GroupId;
use crate::vault;

/// What decides between commits that end one epoch.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    late: bool,
    stamp: Stamp,
    admin: bool,
    digest: Digest,
    /// The device that made it.
    by: Digest,
    /// The devices that it removes for good.
    removes: Vec<Digest>,
}

impl Claim {
    /// The claim of a commit that was just examined.
    pub(super) fn new(before: &Roster, admin: bool, summary: &Summary, origin: &Origin) -> Self {
        let back = |key: &Digest| summary.added.iter().any(|joiner| joiner.key_hash == *key);
        let removed = summary.removed.iter().map(|member| member.key_hash);
        Self {
            late: origin.late,
            stamp: origin.stamp,
            admin,
            digest: origin.commit,
            by: before.at(summary.by).map(|leaf| leaf.key).unwrap_or_default(),
            removes: removed.filter(|key| !back(key)).collect(),
        }
    }

    /// The claim of our own commit.
    pub(super) fn own(before: &Roster, state: &State, flight: &Flight, stored: Time) -> Self {
        let own = before.at(state.own_leaf);
        Self {
            late: flight.stamp.is_late(stored),
            stamp: flight.stamp,
            admin: own.is_some_and(|leaf| super::is_admin(&state.agreed, &leaf.account)),
            digest: flight.digest,
            by: own.map(|leaf| leaf.key).unwrap_or_default(),
            removes: flight.removes.to_vec(),
        }
    }

    /// Whether it removes whoever made the other, and not the other way round.
    fn undoes(&self, other: &Self) -> bool {
        self.removes.contains(&other.by) && !other.removes.contains(&self.by)
    }

    /// What decides between two of which none undoes the other: the lower one counts.
    fn rank(&self) -> (bool, u32, Time, bool, Digest) {
        (self.late, self.stamp.slot, self.stamp.made, !self.admin, self.digest)
    }

    fn beats(&self, other: &Self) -> bool {
        let (wins, loses) = (self.undoes(other), other.undoes(self));
        if wins || loses { wins } else { self.rank() < other.rank() }
    }

    /// Returns the place of the one that counts among several.
    pub(super) fn best(claims: &[Self]) -> Option<usize> {
        let beaten = |claim: &Self| claims.iter().filter(|other| other.beats(claim)).count();
        (0..claims.len()).min_by_key(|index| (beaten(&claims[*index]), claims[*index].rank()))
    }
}

/// A branch that was tried.
struct Walk {
    there: Box<State>,
    told: Vec<Heard>,
    /// Devices that come in on it.
    added: Vec<Digest>,
    /// The wish, if it begins with our own commit.
    wish: Option<u64>,
}

impl Walk {
    /// From the end of an epoch on, whatever was used and wanted since.
    fn begin(mut there: State, state: &State) -> Self {
        there.usage = state.usage.clone();
        there.phase = state.phase;
        Self { there: Box::new(there), told: Vec::new(), added: Vec::new(), wish: None }
    }
}

impl Groups {
    /// A commit ends an epoch that this device has left by another one.
    pub(super) fn rival(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        candidate: &Candidate,
        heard: &mut Vec<Heard>,
    ) -> Taken {
        let Candidate { epoch, found, message } = candidate;
        let epoch = *epoch;
        let digest = digest_of(message);
        let Some(ours) = claim(cx, group, state, epoch) else { return Taken::Done };
        if ours.digest == digest {
            return Taken::Keep;
        }
        if let Some(kept) = own_commit(cx, group, state, epoch, |own| own.digest == digest) {
            let stored = found.map_or(Time::ZERO, |(_, stored)| stored);
            self.own_branch(cx, group, state, &kept, stored, heard);
            return Taken::Keep;
        }
        let Some(snapshot) = way_back(cx, group, state, epoch) else { return Taken::Done };
        let before = self.mls.snapshot(cx.store, group);
        let mut there = snapshot.state.clone();
        if self.mls.restore(&mut doors(cx), group, &snapshot.mls).is_err() {
            self.go_back(cx, group, state, &there, &before, heard);
            return Taken::Done;
        }
        let examined = self.examine(cx, group, &there, message, *found);
        let Ok(Examined { summary, origin, claim }) = examined else {
            self.go_back(cx, group, state, &there, &before, heard);
            if matches!(examined, Err(Rejected::Forgotten)) {
                self.lose(cx, group, state, heard);
            }
            return Taken::Done;
        };
        if !claim.beats(&ours) {
            self.mls.refuse(&mut doors(cx), group);
            self.go_back(cx, group, state, &there, &before, heard);
            return Taken::Keep;
        }
        there.land();
        if summary.removes_me {
            abandon(cx, group, state, &there);
            *state = there;
            self.adopt(cx, group, state, &summary, origin, heard);
            return Taken::Done;
        }
        let mut walk = Walk::begin(there, state);
        walk.added.extend(summary.added.iter().map(|joiner| joiner.key_hash));
        let Walk { there, told, .. } = &mut walk;
        if self.step(cx, group, there, &summary, origin, told).is_none() {
            self.go_back(cx, group, state, &walk.there, &before, heard);
            return Taken::Done;
        }
        self.change_to(cx, group, state, walk, epoch, heard);
        Taken::Keep
    }

    /// Our own commit is stored, and we have gone on without it: the same choice, the other way.
    pub(super) fn won_late(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        epoch: u64,
        item: MessageId,
        heard: &mut Vec<Heard>,
    ) {
        let kept = own_commit(cx, group, state, epoch, |own| own.item == item);
        match kept {
            Some(_) if epoch == state.epoch => self.read_slots(cx, group, state),
            Some(kept) => self.own_branch(cx, group, state, &kept, cx.now, heard),
            None => {}
        }
    }

    /// Whether our own commit counts, after all.
    fn own_branch(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        snapshot: &Snapshot,
        stored: Time,
        heard: &mut Vec<Heard>,
    ) {
        let there = &snapshot.state;
        let Some(flight) = &there.flight else { return };
        let Some(theirs) = claim(cx, group, state, there.epoch) else { return };
        let ours = Claim::own(&roster_of(cx, group, there), there, flight, stored);
        if theirs.digest == ours.digest || !ours.beats(&theirs) {
            return;
        }
        let before = self.mls.snapshot(cx.store, group);
        let (epoch, mut walk) = (there.epoch, Walk::begin(there.clone(), state));
        if self.mls.restore(&mut doors(cx), group, &snapshot.mls).is_ok() {
            let Walk { there, told, .. } = &mut walk;
            walk.wish = self.step_own(cx, group, there, stored, told);
        }
        if walk.wish.is_none() {
            return self.go_back(cx, group, state, &walk.there, &before, heard);
        }
        unpack(cx, group, snapshot);
        self.change_to(cx, group, state, walk, epoch, heard);
    }

    /// The other branch, whose first epoch was entered, is the better one: it is followed as far as it
    /// is known. Wishes and welcomes stayed untouched until then. What our commits on this one, from the one that ended
    /// `epoch` on, were made for is wanted again.
    fn change_to(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        walk: Walk,
        epoch: u64,
        heard: &mut Vec<Heard>,
    ) {
        let Walk { mut there, mut told, mut added, wish } = walk;
        self.follow_on(cx, group, &mut there, &mut told, &mut added);
        let undone: Vec<u64> = state
            .epochs
            .iter()
            .map(|keys| keys.epoch)
            .filter(|left| *left > epoch || (*left == epoch && wish.is_none()))
            .collect();
        let mine = undone.into_iter().filter_map(|left| way_back(cx, group, state, left)?.mine);
        let mine: Vec<_> = mine.collect();
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
        for mine in mine {
            want(cx, group, 0, mine.wish, cx.now);
        }
        self.touch(*group, cx.now);
    }

    /// Enters the epoch of a commit, if this device takes it and stays in the group.
    fn try_step(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        there: &mut State,
        (message, found): (&[u8], (u32, Time)),
        told: &mut Vec<Heard>,
        added: &mut Vec<Digest>,
    ) -> bool {
        match self.examine(cx, group, there, message, Some(found)) {
            Ok(Examined { summary, origin, .. }) if !summary.removes_me => {
                added.extend(summary.added.iter().map(|joiner| joiner.key_hash));
                self.step(cx, group, there, &summary, origin, told).is_some()
            }
            Ok(_) => {
                self.mls.refuse(&mut doors(cx), group);
                false
            }
            Err(_) => false,
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
            for (_, Held { place, data, stored, .. }) in &held {
                if place.what != (What::Commits { epoch }) {
                    continue;
                }
                if let Some((number, data)) = split_slot(group, epoch, there.slots(epoch), data) {
                    here.push(((number, *stored), place, data));
                }
            }
            here.sort_by_key(|(found, ..)| *found);
            for (found, place, data) in here {
                let opened = self.commit_of(cx, there, place, epoch, data);
                let Found::Whole(message) = opened else { continue };
                if self.try_step(cx, group, there, (&message, found), told, added) {
                    break;
                }
            }
            if there.epoch == epoch {
                return;
            }
        }
    }

    /// The branch that was tried leads nowhere: everything is as before.
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

pub(super) fn roster_of(cx: &Cx<'_>, group: &GroupId, state: &State) -> Roster {
    let keys = state.current();
    keys.map_or_else(Roster::default, |keys| Roster::load(cx.store, group, &keys.authenticator))
}

/// The claim of the commit by which this branch left an epoch.
fn claim(cx: &Cx<'_>, group: &GroupId, state: &State, epoch: u64) -> Option<Claim> {
    let of = |epoch: u64| state.epochs.iter().find(|keys| keys.epoch == epoch);
    let (before, after) = (of(epoch)?, of(epoch.saturating_add(1))?);
    let keys = |keys: &EpochKeys| {
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        roster.leaves.iter().map(|leaf| leaf.key).collect::<Vec<_>>()
    };
    let stay = keys(after);
    Some(Claim {
        late: after.late,
        stamp: after.stamp,
        admin: after.by_admin,
        digest: after.commit,
        by: after.by,
        removes: keys(before).into_iter().filter(|key| !stay.contains(key)).collect(),
    })
}

/// Returns the state at the end of an epoch of this branch, while it is kept.
fn way_back(cx: &Cx<'_>, group: &GroupId, state: &State, epoch: u64) -> Option<Snapshot> {
    let keys = state.epochs.iter().find(|keys| keys.epoch == epoch)?;
    let key = Part::Snapshot.key(group, keys.authenticator.as_ref());
    let snapshot = vault::load::<Snapshot>(cx.store, &key)?;
    (cx.now < snapshot.at + HORIZON && keys.ended != Time::MAX).then_some(snapshot)
}

/// Returns the state with a commit of ours that ends an epoch of this branch and was left for another
/// one, or given up.
pub(super) fn own_commit(
    cx: &Cx<'_>,
    group: &GroupId,
    state: &State,
    epoch: u64,
    which: impl Fn(&Flight) -> bool,
) -> Option<Snapshot> {
    let keys = state.epochs.iter().find(|keys| keys.epoch == epoch)?;
    let kept = snapshots(cx, group, &keys.authenticator).into_iter().map(|(_, snapshot)| snapshot);
    let mut kept = kept.filter(|snapshot| cx.now < snapshot.at + HORIZON);
    kept.find(|snapshot| snapshot.state.flight.as_ref().is_some_and(&which))
}

/// Commits of ours that ended an epoch and were given up.
pub(super) fn commits_kept(
    cx: &Cx<'_>,
    group: &GroupId,
    authenticator: &Digest,
) -> Vec<(Vec<u8>, Snapshot)> {
    let mut kept = snapshots(cx, group, authenticator);
    kept.retain(|(key, _)| *key != Part::Snapshot.key(group, authenticator.as_ref()));
    kept
}

/// What is kept of an epoch: how it was left, and commits that would have ended it.
fn snapshots(cx: &Cx<'_>, group: &GroupId, authenticator: &Digest) -> Vec<(Vec<u8>, Snapshot)> {
    let prefix = Part::Snapshot.key(group, authenticator.as_ref());
    vault::list(cx.store, &prefix, &[], false, usize::MAX)
}

/// Puts back what is to be sent when a commit of ours is real.
pub(super) fn unpack(cx: &mut Cx<'_>, group: &GroupId, snapshot: &Snapshot) {
    if let Some(cargo) = &snapshot.cargo {
        vault::save(cx.store, &Part::Cargo.key(group, &cargo.epoch.to_be_bytes()), cargo);
    }
}

/// Erases the epochs of one branch that another does not share.
fn abandon(cx: &mut Cx<'_>, group: &GroupId, left: &State, kept: &State) {
    let shared = |keys: &EpochKeys| {
        kept.epochs.iter().any(|other| other.authenticator == keys.authenticator)
    };
    let gone: Vec<EpochKeys> = left.epochs.iter().filter(|keys| !shared(keys)).cloned().collect();
    gone.iter().for_each(|keys| epochs::close(cx.store, group, keys));
}
