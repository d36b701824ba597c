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
use crate::vault;

/// How often a group is looked at while something waits that nothing else awakens.
const PACE: Span = Span::from_secs(30);

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
        let state = State::load(cx.store, group).filter(State::is_member);
        let Some(mut state) = state else { return };
        self.expire(cx, group, &mut state);
        forget_waiting(cx, group);
        self.settle(cx, me, group, &mut state, heard);
        if state.behind.as_ref().is_some_and(|behind| cx.now >= behind.next) {
            self.read_slots(cx, group, &mut state);
        }
        let rotate = state.usage.rotate;
        if rotate != Time::ZERO && cx.now >= rotate {
            wishes::want(cx, group, 0, Wish::Update, cx.now);
            state.usage.rotate = Time::ZERO;
        }
        self.press(cx, outbox, me, group, &mut state, heard);
        self.say_again(cx, outbox, me, group, &mut state);
        match state.phase {
            Phase::Leaving => self.depart(cx, outbox, me, group, &mut state, heard),
            _ => self.grant(cx, outbox, me, group, &mut state, heard),
        }
        state.save(cx.store, group);
        if let Some(next) = self.next(cx, group, &state) {
            self.timers.set(*group, next);
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
            send_commit(cx, outbox, me, group, state, &unheard);
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
            let Recent { authenticator, purpose, ttl, said, .. } = recent;
            if state.epochs.iter().any(|keys| keys.authenticator == authenticator) {
                continue;
            }
            cx.store.remove(&key);
            let _ = self.seal(cx, outbox, me, group, state, purpose, &said, ttl);
        }
    }

    /// When the group is to be looked at again.
    fn next(&self, cx: &Cx<'_>, group: &GroupId, state: &State) -> Option<Time> {
        let mut times = Vec::new();
        for (_, queued) in Part::Wish.list::<Queued>(cx.store, group) {
            times.push(queued.after.max(state.commit_after));
        }
        if state.phase == Phase::Leaving || Part::Held.any(cx.store, group) {
            times.extend([state.commit_after, cx.now + PACE]);
        }
        times.extend(state.behind.as_ref().map(|behind| behind.next));
        times.push(state.usage.rotate);
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

/// Sends a commit of ours again, in the boxes of what is said.
fn send_commit(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: Author<'_>,
    group: &GroupId,
    state: &State,
    unheard: &Unheard,
) {
    let cargo = vault::load::<Cargo>(cx.store, &Part::Cargo.key(group, &[]));
    let Some(cargo) = cargo.filter(|cargo| cargo.epoch.saturating_add(1) == unheard.epoch) else {
        return;
    };
    let keys = state.epochs.iter().find(|keys| keys.epoch == cargo.epoch);
    // Those who are behind read the mailboxes of the epoch that they are in.
    let Some(out) = routes::outgoing_of(group, state, me.account(), cx.now, cargo.epoch) else {
        return;
    };
    let (Some(keys), (place, target)) = (keys, out) else { return };
    for piece in boxes::cut(kind::COMMIT, &cargo.message).unwrap_or_default() {
        if let Ok(item) = seal_piece_as(cx, keys, &place, &piece) {
            outbox.send(cx, Purpose::Quiet, target.clone(), TTL_MAX, item);
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
    let parts = Part::Fragment.list::<Partial>(cx.store, group).into_iter();
    gone.extend(parts.filter(|(_, partial)| old(partial.at)).map(|(key, _)| key));
    let said = Part::Unchecked.list::<Unchecked>(cx.store, group).into_iter();
    gone.extend(said.filter(|(_, said)| old(said.at)).map(|(key, _)| key));
    gone.iter().for_each(|key| cx.store.remove(key));
}
