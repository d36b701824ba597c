//! Commits: which one counts, and what happens when one does.

use session_core::{Blob, Decode as _, Digest, Span, Time};
use session_protocol::inbox::{BOXES, COMMITS};
use session_protocol::request::Item;

use super::epochs::{Origin, checks, difference, edit};
use super::open::{Found, Taken, awaits_epoch, collect, look_soon};
use super::policy::{self, Refusal};
use super::routes::{CommitBox, SLOTS_MAX, split_slot};
use super::state::{Cargo, Flight, Part, Phase, Queued, Roster, Snapshot, State, Unheard};
use super::wishes::{back_off, digest_of, finish, finish_updates};
use super::{Author, Groups, HORIZON, Heard, Reading, Welcome, doors, is_admin, refused};
use crate::Cx;
use crate::boxes::{self, Piece};
use crate::messenger::api::{Effect, Error, NetFailure, Stored};
use crate::mls::{KeyAgreement as _, MlsError, Processed, Summary};
use crate::say::GroupId;
use crate::vault;

/// How long a commit waits for what would make it acceptable.
const PATIENCE: Span = Span::from_secs(120);

/// How long the first repetition of a read waits, and the longest.
const AGAIN: Span = Span::from_secs(15);
const AGAIN_MAX: Span = Span::from_secs(3600);

/// Commits that are missing for so long, and after so many reads, will not come.
const LOST_AFTER: Span = Span::from_days(1);
const LOST_TRIES: u32 = 8;

/// The longest life of an item.
const KEPT: Span = session_protocol::limits::TTL_MAX;

/// A commit that may end an epoch.
pub(super) struct Candidate {
    pub(super) epoch: u64,
    /// The slot in which it lay; `None` for one that was sent again beside it.
    pub(super) slot: Option<u32>,
    pub(super) message: Vec<u8>,
}

/// Why a commit is not taken.
pub(super) enum Rejected {
    /// Not yet.
    Wait,
    Never(String),
}

impl Reading {
    pub(super) fn group(&self) -> GroupId {
        match self {
            Self::Slots { group, .. } | Self::Rest { group, .. } | Self::Ahead { group, .. } => {
                *group
            }
        }
    }
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
        if let Some(flight) = state.flight.clone().filter(|flight| flight.epoch == epoch) {
            match outcome {
                Ok(_) => {
                    self.merged(cx, group, &mut state, &mut heard);
                    self.settle(cx, me, group, &mut state, &mut heard);
                }
                Err(NetFailure::SlotTaken) => {
                    state.flight = Some(Flight { taken: true, ..flight });
                    self.read_slots(cx, group, &mut state);
                }
                Err(NetFailure::Refused(why)) => {
                    self.mls.discard(&mut doors(cx), group);
                    state.flight = None;
                    let why = Error::NotStored(why.clone());
                    finish(cx, group, flight.wish, Err(why), &mut heard);
                }
                Err(_) => {}
            }
        } else if outcome.is_ok() {
            self.won_late(cx, group, &mut state, epoch, &mut heard);
        }
        state.save(cx.store, group);
        self.touch(*group, cx.now);
        heard
    }

    /// A read came back; `None` if it is not one of ours.
    pub(crate) fn read(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        id: u64,
        outcome: &Result<Vec<Item>, NetFailure>,
    ) -> Option<Vec<Heard>> {
        let reading = self.reads.remove(&id)?;
        let mut heard = Vec::new();
        let group = reading.group();
        let state = State::load(cx.store, &group).filter(State::is_member);
        let Some(mut state) = state else { return Some(heard) };
        let items = outcome.as_deref().unwrap_or_default();
        match reading {
            Reading::Slots { epoch, .. } if epoch == state.epoch => {
                self.slots_read(cx, me, &group, &mut state, items, &mut heard);
            }
            Reading::Rest { epoch, .. } if epoch == state.epoch => {
                self.rest_read(cx, &group, &mut state, items);
            }
            Reading::Ahead { epoch, .. } if epoch == state.epoch => {
                if let Some(behind) = &mut state.behind {
                    behind.ahead |= !items.is_empty();
                }
            }
            _ => {}
        }
        state.save(cx.store, &group);
        self.touch(group, cx.now);
        Some(heard)
    }

    /// Reads the slots of the current epoch.
    pub(super) fn read_slots(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        let reading = Reading::Slots { group: *group, epoch: state.epoch };
        look_soon(cx, state);
        if let Some(behind) = &mut state.behind {
            behind.tries = behind.tries.saturating_add(1);
            let wait = AGAIN.as_millis() << behind.tries.min(10);
            behind.next = cx.now + Span::from_millis(wait.min(AGAIN_MAX.as_millis()));
        }
        let Some(commits) = CommitBox::of(group, state, state.epoch) else { return };
        self.order(cx, reading, commits.slot_source());
    }

    /// Reads the other pieces of a commit.
    pub(super) fn read_rest(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        epoch: u64,
    ) {
        if epoch != state.epoch {
            return;
        }
        look_soon(cx, state);
        let Some(commits) = CommitBox::of(group, state, epoch) else { return };
        self.order(cx, Reading::Rest { group: *group, epoch }, commits.rest_source());
    }

    fn order(&mut self, cx: &mut Cx<'_>, reading: Reading, from: super::Source) {
        if self.reads.values().any(|it| *it == reading) {
            return;
        }
        let id = crate::counter(cx.store, b"read");
        self.reads.insert(id, reading);
        cx.effects.push(Effect::Read { id, from });
    }

    fn rest_read(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State, items: &[Item]) {
        let Some(commits) = CommitBox::of(group, state, state.epoch) else { return };
        let Some(keys) = state.current().cloned() else { return };
        let mut whole = false;
        for item in items.iter().filter(|item| item.namespace == BOXES) {
            let place = commits.place.at(keys.epoch);
            let content = boxes::open_header(&keys.header.key(), &place, &item.data);
            let piece = content.ok().and_then(|content| Piece::decode_exact(&content).ok());
            if let Some(piece) = piece {
                whole |= matches!(collect(cx, group, piece), Found::Whole(_));
            }
        }
        // The first piece lies in the slot. If it came before the others, they are whole now.
        let there = Part::Fragment.any(cx.store, group);
        if whole || there {
            self.read_slots(cx, group, state);
        }
    }

    /// What lies in the slots of the current epoch is known: the best that is acceptable counts.
    fn slots_read(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        items: &[Item],
        heard: &mut Vec<Heard>,
    ) {
        let epoch = state.epoch;
        let Some(commits) = CommitBox::of(group, state, epoch) else { return };
        let mut found = Vec::new();
        for item in items.iter().filter(|item| item.namespace == COMMITS) {
            let Some((number, data)) = split_slot(group, epoch, &item.data) else { continue };
            match self.commit_of(cx, state, &commits.place, epoch, data) {
                Found::Whole(message) => found.push((number, Some(message))),
                Found::Part => return self.read_rest(cx, group, state, epoch),
                Found::Unknown | Found::Bad(_) => found.push((number, None)),
            }
        }
        while found.iter().any(|(number, _)| *number == state.burned) {
            let number = state.burned;
            let here = found.iter().filter(|(it, _)| *it == number);
            let here: Vec<_> = here.filter_map(|(_, message)| message.as_deref()).collect();
            match self.choose(cx, me, group, state, &here) {
                Choice::Taken(message) => {
                    self.take_winner(cx, group, state, &message, heard);
                    return self.settle(cx, me, group, state, heard);
                }
                Choice::Wait => return,
                Choice::None => self.burn(cx, group, state),
            }
            if state.burned >= SLOTS_MAX {
                return self.lose(cx, group, state, heard);
            }
        }
        self.nothing_found(cx, group, state, heard);
    }

    /// Nobody has stored a commit of this epoch, as far as the swarm tells.
    fn nothing_found(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        let Some(behind) = state.behind.clone() else { return };
        let expired = state.current().is_some_and(|keys| cx.now >= keys.began + KEPT);
        let waited = cx.now >= behind.since + LOST_AFTER && behind.tries >= LOST_TRIES;
        let missed = awaits_epoch(cx, group);
        // Boxes that do not open may also be old, or rubbish: what counts is that others went on.
        if missed && behind.ahead && (waited || expired) {
            self.lose(cx, group, state, heard);
        } else if missed && behind.tries >= 2 {
            let step = 1 + u64::from(behind.tries % 3);
            let ahead = CommitBox::of(group, state, state.epoch.saturating_add(step));
            let Some(ahead) = ahead else { return };
            let reading = Reading::Ahead { group: *group, epoch: state.epoch };
            self.order(cx, reading, ahead.slot_source());
        } else if state.flight.is_some() && behind.tries >= LOST_TRIES {
            // The slot was said to be taken, by nothing that anyone has: it is tried again.
            self.mls.discard(&mut doors(cx), group);
            state.flight = None;
            state.behind = None;
        } else if !missed && state.flight.is_none() {
            state.behind = None;
        }
    }

    /// The slot that counted holds nothing acceptable: the next one counts.
    fn burn(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        state.burned = state.burned.saturating_add(1);
        if state.flight.take().is_some() {
            self.mls.discard(&mut doors(cx), group);
        }
    }

    pub(super) fn lose(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        state.phase = Phase::Lost;
        state.behind = None;
        heard.push(Heard::Lost { group: *group });
        self.touch(*group, cx.now);
    }

    /// Of several commits in one slot, finds the one that everybody takes: an admin's before others,
    /// then the lower digest.
    fn choose(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &State,
        messages: &[&[u8]],
    ) -> Choice {
        let mut best: Option<((bool, Digest), &[u8])> = None;
        let mut waits = false;
        for message in messages {
            let digest = digest_of(message);
            let own = state.flight.as_ref().is_some_and(|flight| flight.digest == digest);
            let admin = if own {
                Ok(is_admin(&state.agreed, me.account()))
            } else {
                self.examine(cx, group, state, message).map(|(_, admin)| admin)
            };
            match admin {
                Ok(admin) => {
                    let rank = (!admin, digest);
                    if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                        best = Some((rank, message));
                    }
                }
                Err(Rejected::Wait) => waits = true,
                Err(Rejected::Never(_)) => {}
            }
        }
        // Alone in its slot, our own commit waits for its quorum.
        let own_alone = messages.len() == 1
            && state
                .flight
                .as_ref()
                .is_some_and(|flight| !flight.taken && digest_of(messages[0]) == flight.digest);
        if own_alone {
            return Choice::Wait;
        }
        let patient = state.behind.as_ref().is_some_and(|it| cx.now < it.since + PATIENCE);
        match best {
            Some((_, message)) => Choice::Taken(message.to_vec()),
            None if waits && patient => Choice::Wait,
            None => Choice::None,
        }
    }

    fn take_winner(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        message: &[u8],
        heard: &mut Vec<Heard>,
    ) {
        let digest = digest_of(message);
        if state.flight.as_ref().is_some_and(|flight| flight.digest == digest) {
            return self.merged(cx, group, state, heard);
        }
        if state.flight.is_some() {
            state.lost_races = state.lost_races.saturating_add(1);
            state.commit_after = cx.now + back_off(cx, state.lost_races);
        }
        if let Ok((summary, _)) = self.examine(cx, group, state, message) {
            self.adopt(cx, group, state, &summary, digest, heard);
        }
    }

    /// Takes a commit, if it is the one that counts.
    pub(super) fn offer(
        &mut self,
        cx: &mut Cx<'_>,
        state: &mut State,
        group: &GroupId,
        candidate: Candidate,
        since: Time,
        heard: &mut Vec<Heard>,
    ) -> Taken {
        let Candidate { epoch, slot, message } = candidate;
        let digest = digest_of(&message);
        if epoch < state.epoch {
            return self.rival(cx, group, state, epoch, &message, heard);
        }
        if state.flight.as_ref().is_some_and(|flight| flight.digest == digest) {
            return Taken::Keep;
        }
        let number = slot.unwrap_or(state.burned);
        if epoch > state.epoch || state.flight.is_some() || number > state.burned {
            look_soon(cx, state);
            return Taken::Hold;
        }
        if number < state.burned {
            return Taken::Done;
        }
        match self.examine(cx, group, state, &message) {
            Ok((summary, _)) => {
                self.adopt(cx, group, state, &summary, digest, heard);
                Taken::Keep
            }
            Err(Rejected::Wait) if cx.now < since + PATIENCE => Taken::Hold,
            Err(Rejected::Wait) => {
                self.reject(cx, group, state, slot, Refusal::NotAsked.to_string(), heard)
            }
            Err(Rejected::Never(why)) => self.reject(cx, group, state, slot, why, heard),
        }
    }

    fn reject(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        slot: Option<u32>,
        why: String,
        heard: &mut Vec<Heard>,
    ) -> Taken {
        heard.push(refused(why));
        if slot == Some(state.burned) {
            self.burn(cx, group, state);
        }
        Taken::Done
    }

    /// Checks a commit of the current epoch. Returns what it does, and whether an admin made it.
    pub(super) fn examine(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        message: &[u8],
    ) -> Result<(Summary, bool), Rejected> {
        let never = |why: String| Rejected::Never(why);
        let processed = self.mls.process(&mut doors(cx), group, message);
        let summary = match processed.map_err(|why| never(why.to_string()))? {
            Processed::Commit(summary) => summary,
            Processed::Said { .. } | Processed::Proposal { .. } => {
                return Err(never("a slot holds something else than a commit".to_owned()));
            }
        };
        let keys = state.current().ok_or_else(|| never(MlsError::NoGroup.to_string()))?;
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        if let Err(why) = policy::check(&roster, &state.agreed, &state.leavers, &summary) {
            self.mls.refuse(&mut doors(cx), group);
            return Err(if why.may_pass() { Rejected::Wait } else { never(why.to_string()) });
        }
        let by = roster.at(summary.by);
        let admin = by.is_some_and(|leaf| is_admin(&state.agreed, &leaf.account));
        Ok((summary, admin))
    }

    /// Enters the epoch of a commit that was just examined.
    pub(super) fn adopt(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        summary: &Summary,
        digest: Digest,
        heard: &mut Vec<Heard>,
    ) {
        let Some(keys) = state.current().cloned() else { return };
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        if summary.removes_me {
            let by = roster.at(summary.by).map(|leaf| leaf.account);
            let _gone = self.mls.accept(&mut doors(cx), group);
            self.out(cx, group, state);
            return heard.push(Heard::Removed { group: *group, by });
        }
        let agreed = state.agreed.clone();
        self.keep_way_back(cx, group, state, None);
        let accepted = self.mls.accept(&mut doors(cx), group);
        let info = self.mls.info(cx.store, group);
        let (Ok(()), Some(info)) = (accepted, info) else {
            return self.lose(cx, group, state, heard);
        };
        let origin = Origin { commit: digest, by: Some(summary.by) };
        if self.enter(cx, group, state, info, origin).is_err() {
            return self.lose(cx, group, state, heard);
        }
        // Whoever commits on top of ours has followed it.
        state.unheard = None;
        self.report(cx, group, state, (&agreed, &roster), Some(summary.by), heard);
    }

    /// Our commit is real.
    pub(super) fn merged(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        let Some(keys) = state.current().cloned() else { return };
        let Some(Flight { digest, wish, .. }) = state.flight.clone() else { return };
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let agreed = state.agreed.clone();
        let by = state.own_leaf;
        let mine: Option<Queued> =
            vault::load(cx.store, &Part::Wish.key(group, &wish.to_be_bytes()));
        self.keep_way_back(cx, group, state, mine);
        let merged = self.mls.merge(&mut doors(cx), group);
        let info = self.mls.info(cx.store, group);
        let (Ok(()), Some(info)) = (merged, info) else {
            return self.lose(cx, group, state, heard);
        };
        let origin = Origin { commit: digest, by: Some(by) };
        if self.enter(cx, group, state, info, origin).is_err() {
            return self.lose(cx, group, state, heard);
        }
        state.usage.sent = 0;
        state.usage.rotate = Time::ZERO;
        state.lost_races = 0;
        let after = self.report(cx, group, state, (&agreed, &roster), Some(by), heard);
        let others = after.leaves.iter().any(|leaf| {
            leaf.leaf != state.own_leaf && roster.at(leaf.leaf).is_some_and(|it| it.key == leaf.key)
        });
        let (epoch, since, sent) = (state.epoch, cx.now, cx.now);
        state.unheard = others.then_some(Unheard { epoch, since, behind: 0, sent, told: false });
        self.welcome(cx, group, state, &after, heard);
        finish(cx, group, wish, Ok(()), heard);
        finish_updates(cx, group, heard);
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
    fn welcome(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        after: &Roster,
        heard: &mut Vec<Heard>,
    ) {
        let Some(mut cargo) = vault::load::<Cargo>(cx.store, &Part::Cargo.key(group, &[])) else {
            return;
        };
        let Some(route) = state.route() else { return };
        let ours = state.current().is_some_and(|keys| keys.commit == digest_of(&cargo.message));
        let Some(welcome) = cargo.welcome.take().filter(|_| ours) else { return };
        let joined = |leaf: &&super::Leaf| cargo.joiners.contains(&leaf.key);
        let joiners = after.leaves.iter().filter(joined).cloned().collect();
        let tree = core::mem::take(&mut cargo.tree).into_vec();
        vault::save(cx.store, &Part::Cargo.key(group, &[]), &cargo);
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
        if cx.store.get(&key).is_some() {
            return;
        }
        let old = Part::Snapshot.list::<Snapshot>(cx.store, group);
        for (key, snapshot) in old {
            if cx.now >= snapshot.at + HORIZON {
                cx.store.remove(&key);
            }
        }
        let Ok(mls) = Blob::new(self.mls.snapshot(cx.store, group).to_vec()) else { return };
        let snapshot = Snapshot { at: cx.now, mls, state: state.clone(), mine };
        vault::save(cx.store, &key, &snapshot);
    }

    /// This device is out: only that it was in stays.
    pub(super) fn out(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        self.wipe(cx, group);
        state.phase = Phase::Removed;
        edit(&mut state.epochs, Vec::clear);
        edit(&mut state.routes, Vec::clear);
        state.flight = None;
        state.unheard = None;
        state.behind = None;
    }
}

/// What of the contents of a slot counts.
enum Choice {
    Taken(Vec<u8>),
    Wait,
    None,
}
