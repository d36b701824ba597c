//! What becomes due: new keys, repetitions, ends.

use session_core::{Span, Time};
use session_protocol::limits::TTL_MAX;

use super::seal::{kind, seal_piece_as};
use super::state::{Cargo, Held, Part, Partial, Phase, Queued, Recent, State, Unchecked, Unheard};
use super::{Author, Groups, HORIZON, Heard, RETAIN, Wish, open, routes, wishes};
use crate::Cx;
use crate::boxes;
use crate::outbox::{Outbox, Purpose};
use crate::say::GroupId;
use crate::thread;

/// How often a group is looked at while something waits that nothing else awakens.
const PACE: Span = Span::from_secs(30);

/// How often it is looked whether what waits has waited for too long.
const HELD_PACE: Span = Span::from_secs(3600);

impl Groups {
    /// Does what is due: commits what is wanted, renews keys, reads what is missing, sends again,
    /// and erases what is too old.
    pub(crate) fn tick(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
    ) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut due = Vec::new();
        while let Some(group) = self.timers.pop(cx.now) {
            due.push(group);
        }
        for group in due {
            self.serve(cx, outbox, me, &group, &mut heard);
        }
        open::forget_seen(cx.store, cx.now);
        heard
    }

    fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        heard: &mut Vec<Heard>,
    ) {
        let Some(mut state) = State::load(cx.store, group) else { return };
        for id in core::mem::take(&mut state.care.stale) {
            outbox.done(cx, id, None);
        }
        if state.is_member() {
            self.serve_member(cx, outbox, me, group, &mut state, heard);
        } else if state.phase == Phase::Lost {
            self.ask_again(cx, group, &mut state, heard);
        }
        state.save(cx.store, group);
        if let Some(next) = self.next(cx, group, &state).filter(|_| state.is_member()) {
            self.timers.set(*group, next);
        }
    }

    fn serve_member(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        self.expire(cx, group, state);
        forget_waiting(cx, group);
        self.settle(cx, me, group, state, heard);
        self.keep_up(cx, group, state, heard);
        if !state.is_member() {
            return;
        }
        if state.behind.as_ref().is_some_and(|behind| cx.now >= behind.next) {
            self.read_slots(cx, group, state);
        }
        let rotate = state.usage.rotate;
        if rotate != Time::ZERO && cx.now >= rotate {
            wishes::want(cx, group, 0, Wish::Update, cx.now);
            state.usage.rotate = Time::ZERO;
        }
        self.stop_filling(cx, group, state);
        self.press(cx, outbox, me, group, state, heard);
        self.say_again(cx, outbox, me, group, state);
        self.fill_slot(cx, outbox, group, state);
        match state.phase {
            Phase::Leaving => self.depart(cx, outbox, me, group, state, heard),
            _ => self.grant(cx, outbox, me, group, state, heard),
        }
    }

    /// A commit of ours that nobody follows is sent again, beside the slot, where a swarm keeps it
    /// that has not withheld it; after a long time, its owner is told.
    fn press(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        let Some(mut unheard) = state.unheard.clone() else { return };
        if !unheard.told && cx.now >= unheard.since + self.rotation.blocked {
            unheard.told = true;
            heard.push(Heard::HealingBlocked { group: *group, since: unheard.since });
        }
        let late = cx.now >= unheard.sent + self.rotation.resend;
        if late || unheard.behind >= self.rotation.resend_messages {
            unheard.sent = cx.now;
            unheard.behind = 0;
            send_commits(cx, outbox, me, group, state, &unheard);
        }
        state.unheard = Some(unheard);
    }

    /// What was said in an epoch that has lost is said again.
    fn say_again(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
    ) {
        for (key, recent) in Part::Recent.list::<Recent>(cx.store, group) {
            let Recent { epoch, authenticator, purpose, ttl, said, .. } = recent;
            if state.epochs.iter().any(|keys| keys.authenticator == authenticator) {
                continue;
            }
            cx.store.remove(&key);
            // Of an epoch that is only too old, nothing was lost.
            if state.epochs.first().is_none_or(|oldest| epoch < oldest.epoch) {
                continue;
            }
            // What was promised for the other branch says nothing any more.
            if let Purpose::Said { thread, id } = purpose {
                thread::sealed_again(cx.store, thread, id);
            }
            let sealed = self.seal(cx, outbox, me, group, state, purpose, &said, ttl);
            if let (Purpose::Said { thread, id }, Ok(items)) = (purpose, sealed) {
                thread::sent(cx.store, thread, id, items);
            }
        }
    }

    /// When the group is to be looked at again.
    fn next(&self, cx: &Cx<'_>, group: &GroupId, state: &State) -> Option<Time> {
        let mut times = Vec::new();
        for (_, queued) in Part::Wish.list::<Queued>(cx.store, group) {
            times.push(queued.after.max(state.commit_after));
        }
        if state.phase == Phase::Leaving {
            times.extend([state.commit_after, cx.now + PACE]);
        }
        if Part::Held.any(cx.store, group) {
            times.push(cx.now + HELD_PACE);
        }
        times.extend(self.keep_up_at(cx, state));
        times.extend(state.behind.as_ref().map(|behind| behind.next));
        times.push(state.usage.rotate);
        let flight = state.flight.as_ref().filter(|flight| flight.since != Time::MAX);
        times.extend(flight.map(|flight| flight.since + wishes::FILLING));
        if let Some(Unheard { since, sent, told, .. }) = &state.unheard {
            times.push(*sent + self.rotation.resend);
            times.extend((!told).then_some(*since + self.rotation.blocked));
        }
        let ends = state.epochs.iter().map(|keys| keys.ended);
        let ends = ends.chain(state.routes.iter().map(|route| route.ended));
        let ends = ends.filter(|ended| *ended != Time::MAX);
        times.extend(ends.flat_map(|ended| [ended + HORIZON, ended + RETAIN]));
        times.extend(state.current().map(|keys| keys.began + HORIZON));
        times.into_iter().filter(|time| *time > cx.now).min()
    }
}

/// Sends commits of ours again, from the first that nobody has followed, in the boxes of what is
/// said.
fn send_commits(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: Author<'_>,
    group: &GroupId,
    state: &State,
    unheard: &Unheard,
) {
    // Those who are behind read the mailboxes of the epoch that they are in.
    let first = unheard.epoch.saturating_sub(1);
    let out = routes::outgoing_of(group, state, me.account(), cx.now, first);
    let Some((place, target)) = out else { return };
    for (_, cargo) in Part::Cargo.list::<Cargo>(cx.store, group) {
        let keys = state.epochs.iter().find(|keys| keys.epoch == cargo.epoch);
        let Some(keys) = keys.filter(|_| (first..state.epoch).contains(&cargo.epoch)) else {
            continue;
        };
        for piece in boxes::cut(kind::COMMIT, &cargo.message).unwrap_or_default() {
            if let Ok(item) = seal_piece_as(cx, keys, &place, &piece) {
                outbox.send(cx, Purpose::Quiet, target.clone(), TTL_MAX, item);
            }
        }
    }
}

/// Somebody else speaks in an epoch: the commits that led there have come through.
pub(super) fn heard_in(cx: &mut Cx<'_>, group: &GroupId, state: &mut State, epoch: u64) {
    if epoch == state.epoch {
        state.care.away = None;
    }
    let Some(unheard) = &mut state.unheard else { return };
    if epoch >= unheard.newest {
        state.unheard = None;
    } else if epoch >= unheard.epoch {
        let (epoch, since) = (epoch.saturating_add(1), unheard.renewed);
        *unheard = Unheard { epoch, since, sent: since, behind: 0, told: false, ..*unheard };
    } else {
        unheard.behind = unheard.behind.saturating_add(1);
        return;
    }
    keep_cargo(cx, group, state);
}

/// Forgets commits of ours that need not be sent again.
pub(super) fn keep_cargo(cx: &mut Cx<'_>, group: &GroupId, state: &State) {
    let unheard = state.unheard.as_ref().map(|unheard| unheard.epoch.saturating_sub(1));
    let flight = state.flight.as_ref().map(|flight| flight.epoch);
    for (key, cargo) in Part::Cargo.list::<Cargo>(cx.store, group) {
        let there = state.epochs.iter().any(|keys| keys.epoch == cargo.epoch);
        let wanted = unheard.is_some_and(|first| cargo.epoch >= first) && there;
        if !wanted && flight != Some(cargo.epoch) {
            cx.store.remove(&key);
        }
    }
}

/// Gives up what waits for too long.
fn forget_waiting(cx: &mut Cx<'_>, group: &GroupId) {
    let now = cx.now;
    let old = |at: Time| now >= at + RETAIN;
    let held = Part::Held.list::<Held>(cx.store, group).into_iter();
    let mut gone: Vec<Vec<u8>> =
        held.filter(|(_, held)| old(held.at)).map(|(key, _)| key).collect();
    for part in [Part::Fragment, Part::Half] {
        let parts = part.list::<Partial>(cx.store, group).into_iter();
        gone.extend(parts.filter(|(_, partial)| old(partial.at)).map(|(key, _)| key));
    }
    let said = Part::Unchecked.list::<Unchecked>(cx.store, group).into_iter();
    // A manifest may be kept back for as long as an item is kept.
    gone.extend(said.filter(|(_, said)| now >= said.at + TTL_MAX).map(|(key, _)| key));
    gone.iter().for_each(|key| cx.store.remove(key));
}
