//! Asking one node something in an epoch: at a secret time, and again a few times if there is no
//! answer.

use session_core::{Domain, NodeId, Span, Time};
use session_protocol::roster::Target;
use session_protocol::schedule::Phase;

use super::desk::{Desk, Why};
use super::note::{Fault, Note, Verdict};
use super::scene::{Alarm, Scene};
use super::{Cx, Effect};

/// How often a node is asked before it has failed.
const TRIES: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting { at: Time },
    Connecting { until: Time },
    Asked { until: Time },
    Done(Verdict),
}

/// One node that is to be asked.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) node: NodeId,
    why: Why,
    stage: Stage,
    tries_left: u8,
}

impl Visit {
    /// Plans a visit at a time that only this node knows.
    pub(super) fn new(scene: &Scene<'_>, node: NodeId, why: Why) -> Self {
        let at = secret_time(scene, &node, why);
        Self { node, why, stage: Stage::Waiting { at }, tries_left: TRIES }
    }

    pub(super) const fn verdict(&self) -> Verdict {
        match self.stage {
            Stage::Done(verdict) => verdict,
            _ => Verdict::Open,
        }
    }

    pub(super) const fn is_asked(&self) -> bool {
        matches!(self.stage, Stage::Asked { .. })
    }

    /// Goes on with what is due. Returns true when the question is to be put now: the node is
    /// connected.
    pub(super) fn is_due(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        alarm: &mut Alarm,
    ) -> bool {
        match self.stage {
            Stage::Waiting { at } if at <= scene.now => {
                desk.want_again(cx, self.node, self.why);
                self.stage = Stage::Connecting { until: scene.now + scene.answer_time() };
            }
            Stage::Connecting { until } if until <= scene.now && !desk.is_up(&self.node) => {
                self.failed(cx, scene, desk, Fault::Unreachable);
            }
            Stage::Asked { until } if until <= scene.now => {
                self.failed(cx, scene, desk, Fault::Silent);
            }
            _ => {}
        }
        let ask = matches!(self.stage, Stage::Connecting { .. }) && desk.is_up(&self.node);
        if ask {
            self.wait(scene);
        }
        if let Stage::Waiting { at } = self.stage {
            alarm.at(at);
        }
        if let Stage::Connecting { until } | Stage::Asked { until } = self.stage {
            alarm.at(until);
        }
        ask
    }

    /// Waits for an answer, or the next part of it.
    pub(super) fn wait(&mut self, scene: &Scene<'_>) {
        self.stage = Stage::Asked { until: scene.now + scene.answer_time() };
    }

    /// The node cannot be reached, or is gone.
    pub(super) fn lost(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        if matches!(self.stage, Stage::Connecting { .. } | Stage::Asked { .. }) {
            self.failed(cx, scene, desk, Fault::Unreachable);
        }
    }

    /// One try failed: the others are spread over the time that is left.
    pub(super) fn failed(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        fault: Fault,
    ) {
        self.tries_left = self.tries_left.saturating_sub(1);
        let last = scene.schedule().begin(Phase::Recover) - scene.answer_time();
        if self.tries_left == 0 || last <= scene.now {
            return self.finish(cx, desk, Verdict::Failed(fault));
        }
        desk.release(cx, self.node, self.why);
        let step = last.since(scene.now).as_millis() / u64::from(self.tries_left);
        let at = scene.now + Span::from_millis(step.max(1));
        self.stage = Stage::Waiting { at };
    }

    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, desk: &mut Desk, verdict: Verdict) {
        desk.release(cx, self.node, self.why);
        self.stage = Stage::Done(verdict);
    }

    /// Ends a visit that time has run out for, with nothing to say if it never came to a question.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>, desk: &mut Desk) {
        let verdict = match self.stage {
            Stage::Done(_) => return,
            Stage::Waiting { .. } if self.tries_left == TRIES => Verdict::Unsure,
            Stage::Waiting { .. } | Stage::Connecting { .. } => Verdict::Failed(Fault::Unreachable),
            Stage::Asked { .. } => Verdict::Failed(Fault::Silent),
        };
        self.finish(cx, desk, verdict);
    }
}

/// Returns a time in the first five eighths of the epoch: it leaves time to ask again before the
/// votes, and nobody but this node can tell it.
fn secret_time(scene: &Scene<'_>, node: &NodeId, why: Why) -> Time {
    let epoch = scene.epoch().0.to_be_bytes();
    let parts: [&[u8]; 4] = [scene.view.chain.as_bytes(), &epoch, node.as_bytes(), &[why as u8]];
    let drawn = scene.config.keys.derive(Domain::ProbeTime, &parts.concat());
    let (first, _) = drawn.expose().split_first_chunk().expect("a key has 32 bytes");
    let span = scene.schedule().length.as_millis() / 8 * 5;
    let offset = u64::from_be_bytes(*first).checked_rem(span).unwrap_or(0);
    scene.begin(Phase::Deal) + Span::from_millis(offset)
}

/// Tells of a verdict that has just been reached.
pub(super) fn note(
    cx: &mut Cx<'_>,
    scene: &Scene<'_>,
    target: Target,
    before: Verdict,
    verdict: Verdict,
) {
    if before != verdict {
        let epoch = scene.epoch();
        cx.effects.push(Effect::Note(Note::Examined { epoch, target, verdict }));
    }
}
