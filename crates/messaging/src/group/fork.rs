//! Two commits that end one epoch: a way back to the better one, while there is one.
//!
//! Slots of the swarm make this rare: it takes a swarm that signs for two items of one slot. The
//! choice is the same on every device: the longer branch; then the one whose first commit an admin
//! made; then the one whose first commit has the lower digest.

use session_core::{Digest, Time};
use zeroize::Zeroizing;

use super::commits::Rejected;
use super::open::{Found, Taken};
use super::routes::{What, split_slot};
use super::state::{EpochKeys, Held, Part, Queued, Snapshot, State};
use super::wishes::{digest_of, want};
use super::{Groups, HORIZON, Heard, doors, epochs};
use crate::Cx;
use crate::mls::KeyAgreement as _;
use crate::say::GroupId;
use crate::vault;

/// What trying another branch changes.
struct Before {
    mls: Zeroizing<Vec<u8>>,
    wishes: Vec<(Vec<u8>, Queued)>,
}

/// What decides between branches: the lower one is better.
type Rank = (core::cmp::Reverse<u64>, bool, Digest);

impl Groups {
    /// Somebody else's commit ends an epoch that this device has left by another one.
    pub(super) fn rival(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        epoch: u64,
        message: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Taken {
        let Some(ours) = rank(state, epoch) else { return Taken::Done };
        let Some(snapshot) = way_back(cx, group, state, epoch) else { return Taken::Done };
        let digest = digest_of(message);
        if ours.2 == digest {
            return Taken::Keep;
        }
        let before = self.remember(cx, group);
        match self.walk(cx, group, state, &snapshot, digest, Some(message)) {
            Ok((there, told)) if rank(&there, epoch).is_some_and(|theirs| theirs < ours) => {
                abandon(cx, group, state, &there);
                if let Some(mine) = snapshot.mine {
                    want(cx, group, 0, mine.wish, cx.now);
                }
                *state = *there;
                heard.extend(told);
                self.touch(*group, cx.now);
                Taken::Keep
            }
            Ok((there, _)) => {
                self.go_back(cx, group, state, &there, &before, heard);
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
        heard: &mut Vec<Heard>,
    ) {
        let Some(snapshot) = way_back(cx, group, state, epoch) else { return };
        let Some(flight) = &snapshot.state.flight else { return };
        let Some(ours) = rank(state, epoch).filter(|ours| ours.2 != flight.digest) else { return };
        let digest = flight.digest;
        let before = self.remember(cx, group);
        let (there, told) = match self.walk(cx, group, state, &snapshot, digest, None) {
            Ok((there, told)) if rank(&there, epoch).is_some_and(|theirs| theirs < ours) => {
                (there, told)
            }
            Ok((there, _)) | Err(there) => {
                return self.go_back(cx, group, state, &there, &before, heard);
            }
        };
        abandon(cx, group, state, &there);
        *state = *there;
        heard.extend(told);
    }

    /// Goes back, and down the other branch as far as it is known: along our own commit if that is
    /// what the digest names. `Err` if it leads nowhere.
    fn walk(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        snapshot: &Snapshot,
        digest: Digest,
        message: Option<&[u8]>,
    ) -> Result<(Box<State>, Vec<Heard>), Box<State>> {
        let mut there = snapshot.state.clone();
        if self.mls.restore(&mut doors(cx), group, &snapshot.mls).is_err() {
            return Err(Box::new(there));
        }
        there.usage = state.usage.clone();
        there.phase = state.phase;
        let mut told = Vec::new();
        if there.flight.as_ref().is_some_and(|flight| flight.digest == digest) {
            self.merged(cx, group, &mut there, &mut told);
        } else {
            there.flight = None;
            let Some(message) = message else { return Err(Box::new(there)) };
            match self.examine(cx, group, &there, message) {
                Ok((summary, _)) if !summary.removes_me => {
                    self.adopt(cx, group, &mut there, &summary, digest, &mut told);
                }
                Ok(_) | Err(Rejected::Wait | Rejected::Never(_)) => return Err(Box::new(there)),
            }
        }
        self.follow_on(cx, group, &mut there, &mut told);
        if there.is_member() { Ok((Box::new(there), told)) } else { Err(Box::new(there)) }
    }

    /// Follows the commits that wait, on the branch that this is.
    fn follow_on(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        there: &mut State,
        told: &mut Vec<Heard>,
    ) {
        let held = Part::Held.list::<Held>(cx.store, group);
        for _ in 0..held.len() {
            let epoch = there.epoch;
            for (_, Held { place, data, .. }) in &held {
                let here = place.what == What::Commits { epoch: there.epoch };
                let Some((_, data)) = split_slot(group, there.epoch, data).filter(|_| here) else {
                    continue;
                };
                let found = self.commit_of(cx, there, place, there.epoch, data);
                let Found::Whole(message) = found else { continue };
                match self.examine(cx, group, there, &message) {
                    Ok((summary, _)) if !summary.removes_me => {
                        self.adopt(cx, group, there, &summary, digest_of(&message), told);
                    }
                    Ok(_) => self.mls.refuse(&mut doors(cx), group),
                    Err(Rejected::Wait | Rejected::Never(_)) => {}
                }
            }
            if there.epoch == epoch {
                return;
            }
        }
    }

    /// Remembers what trying another branch changes.
    fn remember(&self, cx: &Cx<'_>, group: &GroupId) -> Before {
        let mls = self.mls.snapshot(cx.store, group);
        Before { mls, wishes: Part::Wish.list(cx.store, group) }
    }

    /// The branch that was tried is worse: everything is as before.
    fn go_back(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        tried: &State,
        before: &Before,
        heard: &mut Vec<Heard>,
    ) {
        abandon(cx, group, tried, state);
        // Those that the tried branch fulfilled wait again: nobody was told.
        for (key, queued) in &before.wishes {
            vault::save(cx.store, key, queued);
        }
        if let Err(why) = self.mls.restore(&mut doors(cx), group, &before.mls) {
            heard.push(super::refused(why));
        }
    }
}

/// How good the branch of a state is, from the commit that ended `epoch` on.
fn rank(state: &State, epoch: u64) -> Option<Rank> {
    let first = state.epochs.iter().find(|keys| keys.epoch == epoch.saturating_add(1))?;
    let length = state.epoch.checked_sub(epoch)?;
    Some((core::cmp::Reverse(length), !first.by_admin, first.commit))
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
