//! The slots of an epoch, read one after another until one holds what everybody takes.

use std::collections::BTreeMap;

use session_core::{Decode as _, Digest, Span, Time};
use session_protocol::inbox::{BOXES, COMMITS, slot_of};
use session_protocol::request::Item;

use super::open::{Found, collect, look_soon};
use super::routes::{CommitBox, slot};
use super::state::State;
use super::wishes::{back_off, digest_of};
use super::{Author, Groups, Heard, Reading, doors, is_admin};
use crate::Cx;
use crate::boxes::{self, Piece};
use crate::messenger::api::{Effect, NetFailure};
use crate::mls::KeyAgreement as _;
use crate::say::GroupId;

use super::commits::{PATIENCE, Rejected};

/// How long the first repetition of a read waits, and the longest.
const AGAIN: Span = Span::from_secs(15);
const AGAIN_MAX: Span = Span::from_secs(3600);

/// How long boxes have to be read before the epoch that opens them gives way to another.
pub(super) const UNREAD: Span = Span::from_secs(30);

/// What of the contents of a slot counts.
enum Choice {
    Taken(Vec<u8>),
    Wait,
    None,
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
        while let Some(there) = found.get(&slot(group, epoch, state.burned)) {
            let (mut whole, mut half) = (Vec::new(), None);
            self.late = there.iter().all(|(at, _)| cx.now >= *at + UNREAD);
            for (_, data) in there {
                match self.commit_of(cx, state, &commits.place, epoch, data) {
                    Found::Whole(message) => whole.push(message),
                    Found::Part(id) => half = Some(id),
                    Found::Unknown | Found::Bad(_) => {}
                }
            }
            match self.choose(cx, me, group, state, &whole, half.is_some()) {
                Choice::Taken(message) => {
                    if self.too_soon(cx, state) {
                        return;
                    }
                    self.take_winner(cx, group, state, &message, heard);
                    return self.settle(cx, me, group, state, heard);
                }
                Choice::Wait => {
                    if let Some(id) = half {
                        self.read_rest(cx, group, state, epoch, id);
                    }
                    return wait(cx, state);
                }
                Choice::None => self.burn(cx, group, state),
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

    /// The slot that counted holds nothing acceptable: the next one counts.
    pub(super) fn burn(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        state.burned = state.burned.saturating_add(1);
        state.care.doubt = None;
        state.care.tried = Digest::default();
        if state.flight.is_some() {
            state.land();
            self.mls.discard(&mut doors(cx), group);
        }
    }

    /// Of several commits in one slot, finds the one that everybody takes: an admin's before
    /// others, then the lower digest. `half`: whether there is one of which pieces are missing.
    fn choose(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        messages: &[Vec<u8>],
        half: bool,
    ) -> Choice {
        let mut best: Option<((bool, Digest), &[u8])> = None;
        let mut waits = half;
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
                .is_some_and(|flight| !flight.taken && digest_of(&messages[0]) == flight.digest);
        if own_alone {
            return Choice::Wait;
        }
        match best {
            Some((_, message)) => Choice::Taken(message.to_vec()),
            None if waits => {
                let since = *state.care.doubt.get_or_insert(cx.now);
                if cx.now < since + PATIENCE { Choice::Wait } else { Choice::None }
            }
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
        let slot = Some(state.burned);
        if let Ok((summary, _)) = self.examine(cx, group, state, message) {
            self.adopt(cx, group, state, &summary, (digest, slot), heard);
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
