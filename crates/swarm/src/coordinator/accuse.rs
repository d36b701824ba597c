//! Accusations under way.
//!
//! An accusation is posted until the chain shows the case, a few times at most: the chain refuses
//! what it has closed already.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Digest, Span, Time};
use session_protocol::evidence::Evidence;
use session_protocol::membership::Membership as _;

use super::note::Note;
use super::scene::{Alarm, Scene};
use super::{Cx, Effect};

/// How often an accusation is posted.
const TIMES: u8 = 3;

/// Accusations under way at a time; more wait for nobody: others saw the same.
const OPEN_MAX: usize = 16;

/// Cases remembered, so that one deed is not reported for ever; then all are forgotten.
const KNOWN_MAX: usize = 1024;

/// Accusations.
#[derive(Default)]
pub(super) struct Accusations {
    open: BTreeMap<Digest, Open>,
    known: BTreeSet<Digest>,
    pub(super) wake: Option<Time>,
}

struct Open {
    evidence: Evidence,
    left: u8,
    at: Time,
}

impl Accusations {
    /// Accuses a node, if the evidence holds and is new.
    pub(super) fn accuse(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, evidence: Evidence) {
        let node = evidence.accused();
        let Some(record) = scene.view.membership.node(&node) else { return };
        let Ok(finding) = evidence.verify(&record.keys, &scene.ground()) else { return };
        if self.open.len() >= OPEN_MAX || self.known.contains(&finding.case) {
            return;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(finding.case);
        cx.effects.push(Effect::Note(Note::Accused { node, kind: evidence.name() }));
        self.open.insert(finding.case, Open { evidence, left: TIMES, at: scene.now });
        self.drive(cx, scene);
    }

    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>) {
        let again = scene.patience() + Span::from_secs(2);
        let mut alarm = Alarm::new(scene.now);
        let shown = |case: &Digest| scene.view.accused.iter().any(|open| open.case == *case);
        self.open.retain(|case, _| !shown(case));
        for open in self.open.values_mut() {
            if open.at <= scene.now {
                open.left -= 1;
                open.at = scene.now + again;
                let evidence = Box::new(open.evidence.clone());
                cx.effects.push(Effect::Accuse { evidence });
            }
        }
        self.open.retain(|_, open| open.left > 0);
        self.open.values().for_each(|open| alarm.at(open.at));
        self.wake = alarm.next();
    }
}
