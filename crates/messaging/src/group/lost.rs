//! Whoever cannot follow any more: noticed, and asked for again and again.

use session_core::{Span, Time};

use super::epochs::edit;
use super::open::awaits_epoch;
use super::state::{Part, Phase, Queued, Roster, State};
use super::{Author, Groups, Heard, Kind, doors};
use crate::Cx;
use crate::messenger::api::Error;
use crate::mls::KeyAgreement as _;
use crate::say::GroupId;
use crate::secret::Secret;

use super::commits::PATIENCE;

/// Commits that are missing for so long, and after so many reads, will not come.
const LOST_AFTER: Span = Span::from_days(1);
const LOST_TRIES: u32 = 8;

/// After so many reads that found nothing a commit of ours is made again.
const EMPTY_TRIES: u32 = 3;

/// The longest life of an item.
const KEPT: Span = session_protocol::limits::TTL_MAX;

/// How often it is looked whether an epoch has ended, without a sign of that.
const LOOK: Span = Span::from_days(1);

/// Who was away for longer than items are kept, and hears nobody for so long, asks to be let in
/// anew.
const SILENCE: Span = Span::from_days(3);

/// When a device that is lost asks again for the first time; later ones wait twice as long each.
const ASK: Span = Span::from_secs(2 * 3600);
const ASK_MAX: Span = Span::from_days(7);

impl Groups {
    /// Nobody has stored a commit of this epoch, as far as the swarm tells.
    pub(super) fn nothing_found(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        // A commit lies in its slot for so long: it may have come and gone while nobody looked.
        if cx.now >= state.care.looked + KEPT && has_others(cx, group, state) {
            state.care.away.get_or_insert(cx.now);
        }
        state.care.looked = cx.now;
        state.care.doubt = None;
        if core::mem::take(&mut state.care.beside) {
            let epoch = state.epoch;
            state.care.tried = Default::default();
            self.settle(cx, me, group, state, heard);
            if state.epoch != epoch || !state.is_member() {
                return;
            }
        }
        let Some(behind) = state.behind.clone() else { return };
        let missed = awaits_epoch(cx, group);
        if missed && self.gave_up(cx, state) {
            return self.lose(cx, group, state, heard);
        }
        if missed && behind.answers >= 2 {
            self.look_ahead(cx, group, state, 1 + u64::from(behind.answers % 3));
        }
        let taken = state.flight.as_ref().filter(|flight| flight.taken).map(|flight| flight.since);
        if taken.is_some_and(|since| cx.now >= since + PATIENCE) && behind.answers >= EMPTY_TRIES {
            // The slot was said to be taken, by nothing that anyone has, or nobody has what was sent:
            // it is tried again.
            self.give_up(cx, group, state);
            state.behind = None;
        } else if !missed && taken.is_none() {
            state.behind = None;
        }
    }

    /// Whether the commits that are missing will not come any more. Boxes that do not open may also
    /// be old, or rubbish: what counts is that others went on, or may have when nobody looked.
    fn gave_up(&self, cx: &Cx<'_>, state: &State) -> bool {
        let Some(behind) = &state.behind else { return false };
        let waited = cx.now >= behind.since + LOST_AFTER && behind.answers >= LOST_TRIES;
        let expired = state.current().is_some_and(|keys| cx.now >= keys.began + KEPT);
        let patient = cx.now >= behind.since + PATIENCE && behind.answers >= 2;
        (behind.ahead && (waited || expired)) || (state.care.away.is_some() && patient)
    }

    /// Looks from time to time whether others went on; gives up on a group that is silent after
    /// this device was away for too long, because its mailboxes may be others by now.
    pub(super) fn keep_up(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        if !has_others(cx, group, state) {
            state.care.looked = cx.now;
        }
        let idle = state.flight.is_none() && state.behind.is_none();
        if idle && cx.now >= state.care.looked + LOOK {
            self.look(cx, group, state);
        }
        let Some(since) = state.care.away else { return };
        let silent = match state.agreed.kind {
            // Two may be silent for months; who has said something should have been answered.
            Kind::Direct { .. } => state.usage.said >= since && cx.now >= since + KEPT,
            Kind::Group | Kind::Devices { .. } => cx.now >= since + SILENCE,
        };
        if silent {
            self.lose(cx, group, state, heard);
        }
    }

    /// When [`keep_up`](Self::keep_up) has something to do.
    pub(super) fn keep_up_at(&self, cx: &Cx<'_>, state: &State) -> Vec<Time> {
        let mut times = vec![(state.care.looked + LOOK).max(cx.now + Span::from_secs(3600))];
        times.extend(state.care.away.map(|since| match state.agreed.kind {
            Kind::Direct { .. } => since + KEPT,
            Kind::Group | Kind::Devices { .. } => since + SILENCE,
        }));
        times
    }

    /// Gives up. Of the group stays who was in it, to ask them, and nothing that opens anything.
    pub(super) fn lose(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        let mut last = state.current().cloned();
        let roster = last.as_ref().map(|keys| Roster::load(cx.store, group, &keys.authenticator));
        let mut tickets: Vec<u64> = Part::Wish
            .list::<Queued>(cx.store, group)
            .into_iter()
            .map(|(_, queued)| queued.ticket)
            .filter(|ticket| *ticket != 0)
            .collect();
        tickets.dedup();
        state.land();
        self.mls.forget(&mut doors(cx), group);
        self.wipe(cx, group);
        if let (Some(keys), Some(roster)) = (&mut last, roster) {
            keys.header = Secret::from([0; 32]);
            roster.save(cx.store, group, &keys.authenticator);
        }
        edit(&mut state.epochs, |epochs| *epochs = last.into_iter().collect());
        edit(&mut state.routes, Vec::clear);
        state.phase = Phase::Lost;
        state.unheard = None;
        state.behind = None;
        state.care.away = None;
        (state.care.asked, state.care.ask) = (0, cx.now + ASK);
        let lost = |ticket| Heard::Done { ticket, result: Err(Error::Lost) };
        heard.extend(tickets.into_iter().map(lost));
        heard.push(Heard::Lost { group: *group });
    }

    /// A device that is lost asks again, later each time; in a conversation of two, a new one takes
    /// the place of the one that was lost.
    pub(super) fn ask_again(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        if matches!(state.agreed.kind, Kind::Direct { .. }) {
            return;
        }
        if cx.now >= state.care.ask {
            state.care.asked = state.care.asked.saturating_add(1);
            let wait = ASK.as_millis() << state.care.asked.min(10);
            state.care.ask = cx.now + Span::from_millis(wait.min(ASK_MAX.as_millis()));
            heard.push(Heard::StillLost { group: *group, times: state.care.asked });
        }
        self.timers.set(*group, state.care.ask);
    }
}

fn has_others(cx: &Cx<'_>, group: &GroupId, state: &State) -> bool {
    let roster = state.current().map(|keys| Roster::load(cx.store, group, &keys.authenticator));
    roster.is_some_and(|roster| roster.leaves.len() > 1)
}
