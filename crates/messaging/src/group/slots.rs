//! The slots of an epoch, read one after another until one holds what everybody takes.

use std::collections::BTreeMap;

use session_core::{Decode as _, Digest, Span, Time};
use session_protocol::inbox::{BOXES, COMMITS, slot_of};
use session_protocol::request::Item;

use super::open::{Found, collect, look_soon};
use super::routes::{CommitBox, slot};
use super::state::{Snapshot, State};
use super::wishes::back_off;
use super::{Author, Groups, Heard, Reading, doors, fork};
use crate::Cx;
use crate::boxes::{self, Piece};
use crate::messenger::api::{Effect, NetFailure};
use crate::mls::KeyAgreement as _;
use crate::say::GroupId;

use super::commits::{Examined, PATIENCE, Rejected, burn};
use super::fork::Claim;

/// How long the first repetition of a read waits, and the longest.
const AGAIN: Span = Span::from_secs(15);
const AGAIN_MAX: Span = Span::from_secs(3600);

/// How long boxes have to be read before the epoch that opens them gives way to another.
pub(super) const UNREAD: Span = Span::from_secs(30);

/// What of the contents of a slot counts.
enum Choice {
    Taken(Vec<u8>, Time),
    Wait,
    None,
    /// There is one of ours that this device does not know any more.
    Lost,
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
        let items = match outcome {
            Ok(items) => items.as_slice(),
            Err(NetFailure::Missing) => &[],
            // Nobody answered: that tells nothing, and it is read again when its time has come.
            Err(_) => return Some(heard),
        };
        match reading {
            Reading::Slots { epoch, .. } if epoch == state.epoch => {
                self.slots_read(cx, me, &group, &mut state, items, &mut heard);
            }
            Reading::Rest { epoch, id, .. } => {
                self.rest_read(cx, me, (&group, epoch, id), &mut state, items, &mut heard);
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

    /// Looks whether the epoch has ended, without a sign of that.
    pub(super) fn look(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &State) {
        let reading = Reading::Slots { group: *group, epoch: state.epoch };
        let Some(commits) = CommitBox::of(group, state, state.epoch) else { return };
        self.order(cx, reading, commits.slot_source());
    }

    /// Looks whether there are commits of an epoch that many steps ahead.
    pub(super) fn look_ahead(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        steps: u64,
    ) {
        let ahead = CommitBox::of(group, state, state.epoch.saturating_add(steps));
        let Some(ahead) = ahead else { return };
        let reading = Reading::Ahead { group: *group, epoch: state.epoch };
        self.order(cx, reading, ahead.slot_source());
    }

    /// Reads the other pieces of a commit that has this name.
    pub(super) fn read_rest(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &State,
        epoch: u64,
        id: [u8; 16],
    ) {
        let Some(commits) = CommitBox::of(group, state, epoch) else { return };
        self.order(cx, Reading::Rest { group: *group, epoch, id }, commits.rest_source());
    }

    fn order(&mut self, cx: &mut Cx<'_>, reading: Reading, from: super::Source) {
        if self.reads.values().any(|it| *it == reading) {
            return;
        }
        let id = crate::counter(cx.store, b"read");
        self.reads.insert(id, reading);
        cx.effects.push(Effect::Read { id, from });
    }

    /// The pieces beside a slot are known. Only those of the commit that was asked for count:
    /// others could crowd them out.
    fn rest_read(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        (group, epoch, id): (&GroupId, u64, [u8; 16]),
        state: &mut State,
        items: &[Item],
        heard: &mut Vec<Heard>,
    ) {
        let Some(commits) = CommitBox::of(group, state, epoch) else { return };
        let keys = state.epochs.iter().find(|keys| keys.epoch == epoch).cloned();
        let Some(keys) = keys else { return };
        let mut whole = false;
        for item in items.iter().filter(|item| item.namespace == BOXES) {
            let place = commits.place.at(keys.epoch);
            let content = boxes::open_header(&keys.header.key(), &place, &item.data);
            let piece = content.ok().and_then(|content| Piece::decode_exact(&content).ok());
            if let Some(piece) = piece.filter(|piece| piece.id == id) {
                whole |= matches!(collect(cx, group, piece), Found::Whole(_));
            }
        }
        // What is not whole is read again later, or not at all: never at once.
        if whole && epoch == state.epoch {
            self.read_slots(cx, group, state);
        } else if whole {
            state.care.tried = Digest::default();
            self.settle(cx, me, group, state, heard);
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
        if let Some(behind) = &mut state.behind {
            behind.answers = behind.answers.saturating_add(1);
        }
        let mut found: BTreeMap<Digest, Vec<(Time, &[u8])>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.namespace == COMMITS) {
            if let (Some(slot), Some(data)) = (slot_of(&item.data), item.data.get(32..)) {
                found.entry(slot).or_default().push((item.timestamp, data));
            }
        }
        // Each slot that is burned was filled by somebody: there are no more of them than items.
        for number in 0.. {
            let Some(there) = found.get(&slot(group, epoch, number)) else { break };
            let (mut whole, mut half) = (Vec::new(), None);
            self.late = there.iter().all(|(at, _)| cx.now >= *at + UNREAD);
            for (stored, data) in there {
                match self.commit_of(cx, state, &commits.place, epoch, data) {
                    Found::Whole(message) => whole.push((message, *stored)),
                    Found::Part(id) => half = Some(id),
                    Found::Unknown | Found::Bad(_) => {}
                }
            }
            match self.choose(cx, group, state, (number, whole), half.is_some()) {
                Choice::Taken(message, stored) => {
                    if self.too_soon(cx, state) {
                        return;
                    }
                    self.take_winner(cx, group, state, (&message, (number, stored)), heard);
                    return self.settle(cx, me, group, state, heard);
                }
                Choice::Lost => return self.lose(cx, group, state, heard),
                // It was given up before; what others took after all still counts.
                Choice::Wait | Choice::None if number < state.burned => {}
                Choice::Wait => {
                    if let Some(id) = half {
                        self.read_rest(cx, group, state, epoch, id);
                    }
                    return wait(cx, state);
                }
                Choice::None => {
                    self.give_up(cx, group, state);
                    burn(state);
                }
            }
        }
        self.nothing_found(cx, me, group, state, heard);
    }

    /// Whether the next epoch has to wait, because another would be closed whose boxes may not be
    /// read yet: whoever comes back reads mailboxes of messages and of commits at the same time.
    pub(super) fn too_soon(&self, cx: &Cx<'_>, state: &mut State) -> bool {
        let full = self.late && state.epochs.len() >= state.room();
        let Some(oldest) = state.epochs.first().filter(|_| full) else { return false };
        let until = if oldest.ended == Time::MAX { cx.now } else { oldest.ended + UNREAD };
        if cx.now >= until {
            return false;
        }
        look_soon(cx, state);
        if let Some(behind) = &mut state.behind {
            behind.next = until;
        }
        true
    }

    /// Of several commits in one slot, finds the one that everybody takes. `half`: whether there is
    /// one of which pieces are missing.
    fn choose(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        (number, messages): (u32, Vec<(Vec<u8>, Time)>),
        half: bool,
    ) -> Choice {
        let own = state.flight.clone().filter(|flight| flight.stamp.slot == number);
        let roster = fork::roster_of(cx, group, state);
        let (mut claims, mut good) = (Vec::new(), Vec::new());
        let unseen = own.as_ref().filter(|own| !messages.iter().any(|(it, _)| own.is(it)));
        let unseen = unseen.map(|own| own.taken);
        let alone = messages.len() == 1;
        for (message, stored) in messages {
            if own.as_ref().is_some_and(|own| own.is(&message) && !own.taken) && alone {
                // Alone in its slot, our own commit waits for its quorum.
                return Choice::Wait;
            }
            let kept = || fork::own_commit(cx, group, state, state.epoch, |it| it.is(&message));
            let known = own.clone().filter(|own| own.is(&message));
            let known = known.or_else(|| kept().and_then(|snapshot| snapshot.state.flight));
            if let Some(own) = known {
                claims.push(Claim::own(&roster, state, &own, stored));
                good.push((message, stored));
                continue;
            }
            match self.examine(cx, group, state, &message, Some((number, stored))) {
                Ok(Examined { claim, .. }) => {
                    claims.push(claim);
                    good.push((message, stored));
                }
                Err(Rejected::Forgotten) => return Choice::Lost,
                Err(Rejected::Never(_)) => {}
            }
        }
        match Claim::best(&claims) {
            Some(best) => {
                let (message, stored) = good.swap_remove(best);
                Choice::Taken(message, stored)
            }
            // Others may take ours: it is not given up while it may come to lie there.
            None if unseen == Some(false) => Choice::Wait,
            None if (half || unseen.is_some()) && number >= state.burned => {
                let since = *state.care.doubt.get_or_insert(cx.now);
                let patience = if half { PATIENCE } else { UNREAD };
                if cx.now < since + patience { Choice::Wait } else { Choice::None }
            }
            None => Choice::None,
        }
    }

    fn take_winner(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        (message, found): (&[u8], (u32, Time)),
        heard: &mut Vec<Heard>,
    ) {
        if state.flight.as_ref().is_some_and(|flight| flight.is(message)) {
            return self.merged(cx, group, state, found.1, heard);
        }
        if let Some(kept) = fork::own_commit(cx, group, state, state.epoch, |it| it.is(message)) {
            return self.take_up(cx, group, state, &kept, found.1, heard);
        }
        if state.flight.is_some() {
            state.lost_races = state.lost_races.saturating_add(1);
            state.commit_after = cx.now + back_off(cx, state.lost_races);
        }
        if let Ok(Examined { summary, origin, .. }) =
            self.examine(cx, group, state, message, Some(found))
        {
            self.adopt(cx, group, state, &summary, origin, heard);
        }
    }

    /// A commit of ours that was given up counts, after all.
    fn take_up(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        kept: &Snapshot,
        stored: Time,
        heard: &mut Vec<Heard>,
    ) {
        self.give_up(cx, group, state);
        // Left at once: nothing is sealed with what was used since.
        if self.mls.restore(&mut doors(cx), group, &kept.mls).is_err() {
            return self.lose(cx, group, state, heard);
        }
        fork::unpack(cx, group, kept);
        state.flight = kept.state.flight.clone();
        self.merged(cx, group, state, stored, heard);
    }

    /// The commit in flight is given up; should others follow it, so will this device.
    pub(super) fn give_up(&self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        if state.flight.is_some() {
            self.keep_flight(cx, group, state);
            state.land();
            self.mls.discard(&mut doors(cx), group);
        }
    }
}

/// What lies in a slot may become acceptable: it is looked at again, at the latest when patience
/// ends.
fn wait(cx: &Cx<'_>, state: &mut State) {
    look_soon(cx, state);
    let until = state.care.doubt.map(|since| since + PATIENCE);
    if let (Some(behind), Some(until)) = (&mut state.behind, until) {
        behind.next = behind.next.max(cx.now + AGAIN).min(until.max(cx.now + AGAIN));
    }
}
