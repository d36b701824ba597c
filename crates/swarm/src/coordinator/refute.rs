//! Answers to accusations: the owner's order that removed the item which a node is said to have
//! lost.
//!
//! The accused answers at once; mates, who keep the same orders, a while later: a node that is away
//! pays for no lie that it did not tell.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Digest, Span, Time};
use session_protocol::chain::Action;
use session_protocol::chain::view::OpenCase;

use super::commit::order;
use super::note::Note;
use super::scene::{Alarm, Scene};
use super::{Cx, Effect};

/// Answers to accusations.
#[derive(Default)]
pub(super) struct Refutes {
    /// When to look at each case next.
    open: BTreeMap<Digest, Time>,
    pub(super) wake: Option<Time>,
}

impl Refutes {
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>) {
        let mut alarm = Alarm::new(scene.now);
        let accused = &scene.view.accused;
        let open: BTreeSet<Digest> = accused.iter().map(|open| open.case).collect();
        self.open.retain(|case, _| open.contains(case));
        // Only who has a seat answers without a fee.
        if scene.view.seats.contains_key(&scene.me()) {
            for case in accused.iter() {
                self.answer(cx, scene, case, &mut alarm);
            }
        }
        self.wake = alarm.next();
    }

    /// Posts the order, again until the chain shows the case as closed; it may come only later.
    fn answer(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, open: &OpenCase, alarm: &mut Alarm) {
        let Some(leaf) = open.missing else { return };
        let (case, node) = (open.case, open.accused);
        let next = self.open.entry(case).or_insert_with(|| scene.now + head_start(scene, open));
        if *next <= scene.now {
            *next = scene.now + scene.patience();
            if let Some(operation) = order(cx.store, scene, &leaf, open.lives_until) {
                cx.effects.push(Effect::Note(Note::Refuted { case, node }));
                let operation = Box::new(operation);
                cx.effects.push(Effect::Submit { action: Action::Refute { case, operation } });
            }
        }
        alarm.at(*next);
    }
}

/// Returns how long this node leaves it to others to answer: one after the other, so that the chain
/// gets one answer.
fn head_start(scene: &Scene<'_>, open: &OpenCase) -> Span {
    if open.accused == scene.me() {
        return Span::ZERO;
    }
    let mates = scene.view.roster.mates(&open.accused);
    let place = mates.iter().position(|mate| *mate == scene.me()).unwrap_or(mates.len()) as u64;
    Span::from_millis(scene.patience().as_millis().saturating_mul(2 + place))
}
