//! Commits: which one counts, and what happens when one does.

use session_core::{Blob, Decode as _, Digest, Span, Time};

use super::epochs::{Origin, checks, difference, edit};
use super::fork::{self, Claim, own_commit};
use super::open::{Taken, look_soon};
use super::policy::{self, Refusal};
use super::state::{
    Aside, Ask, Came, Cargo, Flight, Part, Phase, Queued, Roster, Snapshot, Stamp, State, Unheard,
    Wish,
};
use super::wishes::{digest_of, finish, finish_updates};
use super::{Author, Groups, HORIZON, Heard, Welcome, doors, is_admin, refused};
use crate::Cx;
use crate::messenger::api::{Error, NetFailure, Stored};
use crate::mls::{Credential, KeyAgreement as _, MlsError, Processed, Summary};
use crate::say::GroupId;
use crate::vault;

/// How long a commit waits for what would make it acceptable.
pub(super) const PATIENCE: Span = Span::from_secs(120);

/// A device that came in so short a while ago is not let in again: several are asked, and one is
/// enough.
pub(super) const SETTLED: Span = Span::from_secs(3600);

/// Own commits of one epoch that are kept after they were given up.
const GIVEN_UP_MAX: usize = 4;

/// A commit that may end an epoch.
pub(super) struct Candidate {
    pub(super) epoch: u64,
    /// The slot in which it lay, and when it was stored there, says who stored it; `None` for one
    /// that was sent again beside it.
    pub(super) found: Option<(u32, Time)>,
    pub(super) message: Vec<u8>,
}

/// A commit that may be followed.
pub(super) struct Examined {
    pub(super) summary: Summary,
    pub(super) origin: Origin,
    pub(super) claim: Claim,
}

/// Why a commit is not taken.
pub(super) enum Rejected {
    /// It is this device's, which does not know it any more: its vault was put back, and others may
    /// have followed.
    Forgotten,
    Never(String),
}

impl Groups {
    /// The swarm answered to [`Purpose::Commit`](crate::outbox::Purpose::Commit). After
    /// [`NetFailure::SlotTaken`] and [`NetFailure::Refused`] the item is not to be sent again.
    pub(crate) fn commit_stored(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        epoch: u64,
        outcome: Result<&Stored, &NetFailure>,
    ) -> Vec<Heard> {
        let mut heard = Vec::new();
        let state = State::load(cx.store, group).filter(State::is_member);
        let Some(mut state) = state else { return heard };
        let flight = state.flight.clone().filter(|flight| flight.epoch == epoch);
        match (flight, outcome) {
            (Some(flight), Ok(stored)) if flight.rest.contains(&stored.item) => {
                if let Some(flight) = &mut state.flight {
                    edit(&mut flight.rest, |rest| rest.retain(|item| *item != stored.item));
                }
            }
            (Some(flight), Ok(stored)) if flight.item == stored.item => {
                self.merged(cx, group, &mut state, cx.now, &mut heard);
                self.settle(cx, me, group, &mut state, &mut heard);
            }
            (_, Ok(stored)) => {
                self.won_late(cx, group, &mut state, epoch, stored.item, &mut heard);
            }
            (Some(_), Err(NetFailure::SlotTaken)) => {
                if let Some(flight) = &mut state.flight {
                    flight.taken = true;
                }
                self.read_slots(cx, group, &mut state);
            }
            (Some(flight), Err(NetFailure::Refused(why))) => {
                state.land();
                self.mls.discard(&mut doors(cx), group);
                let why = Error::NotStored(why.clone());
                finish(cx, group, flight.wish, Err(why), &mut heard);
            }
            (_, Err(_)) => {}
        }
        state.save(cx.store, group);
        self.touch(*group, cx.now);
        heard
    }

    /// Takes a commit, if it is the one that counts.
    pub(super) fn offer(
        &mut self,
        cx: &mut Cx<'_>,
        state: &mut State,
        group: &GroupId,
        candidate: Candidate,
        heard: &mut Vec<Heard>,
    ) -> Taken {
        if candidate.epoch < state.epoch {
            return self.rival(cx, group, state, &candidate, heard);
        }
        let Candidate { epoch, found, message } = candidate;
        let slot = found.map(|(slot, _)| slot);
        let digest = digest_of(&message);
        if state.flight.as_ref().is_some_and(|flight| flight.digest == digest) {
            return Taken::Keep;
        }
        let own = |flight: &Flight| flight.digest == digest;
        if epoch == state.epoch && own_commit(cx, group, state, epoch, own).is_some() {
            // Ours, which was given up: the slot tells whether it counts.
            look_soon(cx, state);
            return Taken::Hold;
        }
        let number = slot.unwrap_or(state.burned);
        // What came beside its slot counts if there is nothing in the slot.
        let empty = state.behind.as_ref().is_some_and(|behind| behind.answers > 0);
        let beside = slot.is_none() && epoch == state.epoch && !empty;
        state.care.beside |= slot.is_none() && epoch == state.epoch;
        if epoch > state.epoch || state.flight.is_some() || number > state.burned || beside {
            look_soon(cx, state);
            return Taken::Hold;
        }
        let given_up = number < state.burned;
        match self.examine(cx, group, state, &message, found) {
            Ok(_) if self.too_soon(cx, state) => Taken::Hold,
            // Others may have had more patience with the slot: the lowest one counts.
            Ok(Examined { summary, origin, .. }) => {
                self.adopt(cx, group, state, &summary, origin, heard);
                Taken::Keep
            }
            Err(Rejected::Forgotten) => {
                self.lose(cx, group, state, heard);
                Taken::Done
            }
            Err(_) if given_up => Taken::Done,
            Err(Rejected::Never(why)) => reject(state, slot, why, heard),
        }
    }

    /// Checks a commit of the current epoch that lay in that slot, or beside it.
    pub(super) fn examine(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        message: &[u8],
        found: Option<(u32, Time)>,
    ) -> Result<Examined, Rejected> {
        let never = |why: &str| Rejected::Never(why.to_owned());
        let keys = state.current().ok_or_else(|| never("there is no group"))?;
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let summary = self.commit_in(cx, group, message)?;
        let examined = self.check(cx, group, state, (&keys.authenticator, &roster), &summary);
        let stamp = match examined {
            // The other member's wish was opened in between.
            Ok(stamp) if stamp.1 => self.commit_in(cx, group, message).map(|_| stamp.0)?,
            Ok(stamp) => stamp.0,
            Err(why) => {
                self.mls.refuse(&mut doors(cx), group);
                return Err(Rejected::Never(why));
            }
        };
        if found.is_some_and(|(slot, _)| slot != stamp.slot) {
            self.mls.refuse(&mut doors(cx), group);
            return Err(never("a commit lies in another slot than it names"));
        }
        let late = found.is_some_and(|(_, stored)| stamp.is_late(stored));
        let origin = Origin { commit: digest_of(message), by: Some(summary.by), stamp, late };
        let by = roster.at(summary.by);
        let admin = by.is_some_and(|leaf| is_admin(&state.agreed, &leaf.account));
        let claim = Claim::new(&roster, admin, &summary, &origin);
        Ok(Examined { summary, origin, claim })
    }

    fn commit_in(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        message: &[u8],
    ) -> Result<Summary, Rejected> {
        const OTHER: &str = "a slot holds something else than a commit";
        if !self.mls.is_handshake(message) {
            return Err(Rejected::Never(OTHER.to_owned()));
        }
        match self.mls.process(&mut doors(cx), group, message) {
            Ok(Processed::Commit(summary)) => Ok(summary),
            Ok(Processed::Said { .. } | Processed::Proposal { .. }) => {
                Err(Rejected::Never(OTHER.to_owned()))
            }
            Err(MlsError::Own) => Err(Rejected::Forgotten),
            Err(why) => Err(Rejected::Never(why.to_string())),
        }
    }

    /// Whether whoever made a commit may do what it does. Returns what it says of itself, and whether
    /// something else was opened to find that out.
    fn check(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        (epoch, roster): (&Digest, &Roster),
        summary: &Summary,
    ) -> Result<(Stamp, bool), String> {
        let aside = Aside::decode_exact(&summary.aside);
        let aside =
            aside.map_err(|why| format!("a commit does not say its slot and time: {why}"))?;
        let agreed = &state.agreed;
        let check = |leavers: &[u32]| policy::check(group, roster, agreed, leavers, summary);
        match (check(&leavers(cx, group, epoch)), &aside.asked) {
            (Err(Refusal::NotAsked), Some(asked)) => {
                self.hear_leaver(cx, group, epoch, asked);
                let checked = check(&leavers(cx, group, epoch));
                checked.map(|()| (aside.stamp, true)).map_err(|why| why.to_string())
            }
            (checked, _) => checked.map(|()| (aside.stamp, false)).map_err(|why| why.to_string()),
        }
    }

    /// Takes the wish of a member of the current epoch to be removed; returns its leaf.
    pub(super) fn hear_leaver(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        epoch: &Digest,
        asked: &[u8],
    ) -> Option<u32> {
        if !self.mls.is_handshake(asked) {
            return None;
        }
        let processed = self.mls.process(&mut doors(cx), group, asked);
        let leaf = match processed {
            Ok(Processed::Proposal { leaf, leaves }) if leaves == [leaf] => leaf,
            _ => {
                self.mls.refuse(&mut doors(cx), group);
                return None;
            }
        };
        let ask = Ask::new(asked).ok()?;
        vault::save(cx.store, &leaver_key(group, epoch, leaf), &ask);
        Some(leaf)
    }

    /// Follows a commit that was just examined.
    pub(super) fn adopt(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        summary: &Summary,
        origin: Origin,
        heard: &mut Vec<Heard>,
    ) {
        let Some(keys) = state.current().cloned() else { return };
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        if summary.removes_me {
            let back = roster.at(state.own_leaf).map(|own| own.key);
            if summary.added.iter().any(|joiner| Some(joiner.key_hash) == back) {
                // Somebody lets this device in again that had not lost anything.
                return self.lose(cx, group, state, heard);
            }
            let by = roster.at(summary.by).map(|leaf| leaf.account);
            let _gone = self.mls.accept(&mut doors(cx), group);
            self.out(cx, group, state);
            return heard.push(Heard::Removed { group: *group, by });
        }
        if self.step(cx, group, state, summary, origin, heard).is_none() {
            return self.lose(cx, group, state, heard);
        }
        let added: Vec<Digest> = summary.added.iter().map(|joiner| joiner.key_hash).collect();
        self.came(cx, group, &added, heard);
    }

    /// Enters the epoch of a commit that was just examined; `None` if that fails. Touches nothing
    /// that belongs to no branch.
    pub(super) fn step(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        summary: &Summary,
        origin: Origin,
        heard: &mut Vec<Heard>,
    ) -> Option<()> {
        let keys = state.current().cloned()?;
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let agreed = state.agreed.clone();
        self.keep_way_back(cx, group, state, None);
        self.mls.accept(&mut doors(cx), group).ok()?;
        let info = self.mls.info(cx.store, group)?;
        state.land();
        self.enter(cx, group, state, info, origin).ok()?;
        // Whoever commits on top of ours has followed it.
        state.unheard = None;
        self.report(cx, group, state, (&agreed, &roster), Some(summary.by), heard);
        Some(())
    }

    /// Our commit is real.
    pub(super) fn merged(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        stored: Time,
        heard: &mut Vec<Heard>,
    ) {
        if state.flight.is_none() {
            return;
        }
        match self.step_own(cx, group, state, stored, heard) {
            Some(wish) => self.granted(cx, group, state, wish, heard),
            None => self.lose(cx, group, state, heard),
        }
    }

    /// Enters the epoch of our own commit and returns its wish; `None` if that fails. Touches
    /// nothing that belongs to no branch.
    pub(super) fn step_own(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        stored: Time,
        heard: &mut Vec<Heard>,
    ) -> Option<u64> {
        let keys = state.current().cloned()?;
        let flight = state.flight.clone()?;
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let agreed = state.agreed.clone();
        let by = state.own_leaf;
        let mine: Option<Queued> =
            vault::load(cx.store, &Part::Wish.key(group, &flight.wish.to_be_bytes()));
        self.keep_way_back(cx, group, state, mine);
        self.mls.merge(&mut doors(cx), group).ok()?;
        let info = self.mls.info(cx.store, group)?;
        let (commit, stamp) = (flight.digest, flight.stamp);
        let origin = Origin { commit, by: Some(by), stamp, late: stamp.is_late(stored) };
        self.enter(cx, group, state, info, origin).ok()?;
        state.usage.sent = 0;
        state.usage.rotate = Time::ZERO;
        state.lost_races = 0;
        let after = self.report(cx, group, state, (&agreed, &roster), Some(by), heard);
        let others = after.leaves.iter().any(|leaf| {
            leaf.leaf != state.own_leaf && roster.at(leaf.leaf).is_some_and(|it| it.key == leaf.key)
        });
        let (epoch, now) = (state.epoch, cx.now);
        let fresh = Unheard {
            epoch,
            since: now,
            behind: 0,
            sent: now,
            told: false,
            newest: epoch,
            renewed: now,
        };
        // A commit on top of one that nobody has followed does not make that one newer.
        let before = state.unheard.take();
        let stacked = before.map(|before| Unheard { newest: epoch, renewed: now, ..before });
        state.unheard = others.then(|| stacked.unwrap_or(fresh));
        Some(flight.wish)
    }

    /// What our commit was made for is done.
    pub(super) fn granted(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        wish: u64,
        heard: &mut Vec<Heard>,
    ) {
        self.welcome(cx, group, state, heard);
        finish(cx, group, wish, Ok(()), heard);
        finish_updates(cx, group, heard);
        super::upkeep::keep_cargo(cx, group, state);
    }

    /// Devices came in, perhaps not for the first time: who else was asked to let them in need not.
    pub(super) fn came(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        keys: &[Digest],
        heard: &mut Vec<Heard>,
    ) {
        for (key, came) in Part::Came.list::<Came>(cx.store, group) {
            if cx.now >= came.at + SETTLED {
                cx.store.remove(&key);
            }
        }
        for key in keys {
            vault::save(cx.store, &Part::Came.key(group, key.as_ref()), &Came { at: cx.now });
        }
        for (number, queued) in Part::Wish.list::<Queued>(cx.store, group) {
            let Wish::Readd { package } = &queued.wish else { continue };
            let read = self.mls.read_key_package(&package.bytes);
            let number = number.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let asks = |who: &Credential, key: &Digest| self.asks_again(cx, group, key, who);
            if read.is_ok_and(|(who, key, _)| keys.contains(&key) && !asks(&who, &key)) {
                finish(cx, group, number, Ok(()), heard);
            }
        }
    }

    /// Reports what an epoch brought; returns its roster.
    fn report(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        before: (&super::Agreed, &Roster),
        by: Option<u32>,
        heard: &mut Vec<Heard>,
    ) -> Roster {
        let Some(keys) = state.current() else { return Roster::default() };
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let changed = difference(group, before, state, &roster, by);
        heard.push(Heard::Changed(Box::new(changed)));
        heard.extend(checks(cx.store, &roster, state.own_leaf));
        roster
    }

    /// Hands out what those need who were brought in.
    fn welcome(&self, cx: &mut Cx<'_>, group: &GroupId, state: &State, heard: &mut Vec<Heard>) {
        let (Some(keys), Some(route)) = (state.current(), state.route()) else { return };
        let place = Part::Cargo.key(group, &keys.epoch.saturating_sub(1).to_be_bytes());
        let Some(mut cargo) = vault::load::<Cargo>(cx.store, &place) else { return };
        let ours = keys.commit == digest_of(&cargo.message);
        if ours {
            self.came(cx, group, &cargo.joiners, heard);
        }
        let after = Roster::load(cx.store, group, &keys.authenticator);
        let Some(welcome) = cargo.welcome.take().filter(|_| ours) else { return };
        let joined = |leaf: &&super::Leaf| cargo.joiners.contains(&leaf.key);
        let joiners = after.leaves.iter().filter(joined).cloned().collect();
        let tree = core::mem::take(&mut cargo.tree).into_vec();
        vault::save(cx.store, &place, &cargo);
        heard.push(Heard::Welcome(Box::new(Welcome {
            group: *group,
            joiners,
            welcome: welcome.into_vec(),
            tree,
            route: route.seed.clone(),
            epoch: state.epoch,
        })));
    }

    /// Keeps the state before an epoch, for the case that another commit turns out to count.
    fn keep_way_back(&self, cx: &mut Cx<'_>, group: &GroupId, state: &State, mine: Option<Queued>) {
        let Some(keys) = state.current() else { return };
        let key = Part::Snapshot.key(group, keys.authenticator.as_ref());
        if let Some(known) = vault::load::<Snapshot>(cx.store, &key) {
            // Left for the second time: what is kept of the first leads to more branches.
            if mine.is_some() {
                vault::save(cx.store, &key, &Snapshot { mine, ..known });
            }
            return self.keep_flight(cx, group, state);
        }
        for (key, snapshot) in Part::Snapshot.list::<Snapshot>(cx.store, group) {
            if cx.now >= snapshot.at + HORIZON {
                cx.store.remove(&key);
            }
        }
        if let Some(snapshot) = self.way_back_now(cx, group, state, mine) {
            vault::save(cx.store, &key, &snapshot);
        }
    }

    /// Keeps a commit of ours that is given up: others may find it after all, and follow it.
    pub(super) fn keep_flight(&self, cx: &mut Cx<'_>, group: &GroupId, state: &State) {
        let (Some(keys), Some(flight)) = (state.current(), &state.flight) else { return };
        let name = [keys.authenticator.as_ref(), flight.digest.as_ref()].concat();
        let mut kept = fork::commits_kept(cx, group, &keys.authenticator);
        kept.sort_by_key(|(_, snapshot)| snapshot.at);
        let surplus = (kept.len() + 1).saturating_sub(GIVEN_UP_MAX);
        kept.iter().take(surplus).for_each(|(key, _)| cx.store.remove(key));
        let mine = vault::load(cx.store, &Part::Wish.key(group, &flight.wish.to_be_bytes()));
        if let Some(snapshot) = self.way_back_now(cx, group, state, mine) {
            vault::save(cx.store, &Part::Snapshot.key(group, &name), &snapshot);
        }
    }

    fn way_back_now(
        &self,
        cx: &Cx<'_>,
        group: &GroupId,
        state: &State,
        mine: Option<Queued>,
    ) -> Option<Snapshot> {
        let mls = Blob::new(self.mls.snapshot(cx.store, group).to_vec()).ok()?;
        let flight = state.flight.as_ref();
        let cargo = flight.and_then(|flight| {
            vault::load::<Cargo>(cx.store, &Part::Cargo.key(group, &flight.epoch.to_be_bytes()))
        });
        Some(Snapshot { at: cx.now, mls, state: state.clone(), cargo, mine })
    }

    /// This device is out: only that it was in stays.
    pub(super) fn out(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        self.wipe(cx, group);
        state.phase = Phase::Removed;
        edit(&mut state.epochs, Vec::clear);
        edit(&mut state.routes, Vec::clear);
        state.land();
        state.unheard = None;
        state.behind = None;
    }
}

/// Where the wish of a leaf of an epoch to be removed is kept.
pub(super) fn leaver_key(group: &GroupId, epoch: &Digest, leaf: u32) -> Vec<u8> {
    Part::Leaver.key(group, &[epoch.as_ref(), &leaf.to_be_bytes()].concat())
}

/// Leaves that asked in an epoch to be removed.
pub(super) fn leavers(cx: &Cx<'_>, group: &GroupId, epoch: &Digest) -> Vec<u32> {
    let mut leaves = Vec::new();
    let prefix = Part::Leaver.key(group, epoch.as_ref());
    cx.store.scan(&prefix, &[], false, &mut |key, _| {
        leaves.extend(key.last_chunk::<4>().map(|leaf| u32::from_be_bytes(*leaf)));
        true
    });
    leaves
}

/// What lies in the slot that counts is none.
fn reject(state: &mut State, slot: Option<u32>, why: String, heard: &mut Vec<Heard>) -> Taken {
    heard.push(refused(why));
    if slot == Some(state.burned) {
        burn(state);
    }
    Taken::Done
}

/// The slot that counted holds nothing acceptable: the next one counts.
pub(super) fn burn(state: &mut State) {
    state.burned = state.burned.saturating_add(1);
    state.care.doubt = None;
    state.care.tried = Digest::default();
}
