//! Probes: whether the nodes behind this one in the ring are there, with room to spare.

use std::collections::BTreeMap;

use session_core::{Epoch, NodeId, Text, Time};
use session_protocol::duty::Duty;
use session_protocol::limits::CLOCK_TOLERANCE;
use session_protocol::roster::{Duty as Examined, Target};
use session_protocol::schedule::Phase;

use super::Cx;
use super::desk::{Desk, Why};
use super::note::{Fault, Verdict};
use super::scene::{Alarm, Scene};
use super::visit::{Visit, note};

/// What a node said when it was probed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) nonce: u64,
    pub(super) time: Time,
    pub(super) free_bytes: u64,
}

/// The probes of one epoch.
#[derive(Default)]
pub(super) struct Probes {
    epoch: Option<Epoch>,
    visits: BTreeMap<NodeId, Probe>,
    /// Nodes that were just visited.
    pub(super) visited: Vec<NodeId>,
    pub(super) wake: Option<Time>,
}

struct Probe {
    visit: Visit,
    nonce: u64,
}

impl Probes {
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let mut alarm = Alarm::new(scene.now);
        self.begin(cx, scene, desk);
        let ends = scene.schedule().begin(Phase::Recover);
        alarm.at(ends);
        for (node, probe) in &mut self.visits {
            let before = probe.visit.verdict();
            if ends <= scene.now {
                probe.visit.close(cx, desk);
            } else if probe.visit.is_due(cx, scene, desk, &mut alarm) {
                probe.nonce = cx.rng.next_u64();
                let duty = Duty::Probe { epoch: scene.epoch(), nonce: probe.nonce };
                desk.send(cx, *node, false, duty);
                self.visited.push(*node);
            }
            note(cx, scene, target(*node), before, probe.visit.verdict());
        }
        self.wake = alarm.next();
    }

    pub(super) fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        node: NodeId,
        answer: Answer,
    ) {
        let Some(probe) = self.visits.get_mut(&node) else { return };
        if !probe.visit.is_asked() || answer.nonce != probe.nonce {
            return;
        }
        let before = probe.visit.verdict();
        if answer.time.distance(cx.now) > CLOCK_TOLERANCE {
            probe.visit.failed(cx, scene, desk, Fault::Clock);
        } else if answer.free_bytes < scene.view.params.free_bytes_min {
            probe.visit.failed(cx, scene, desk, Fault::NoRoom);
        } else {
            probe.visit.finish(cx, desk, Verdict::Passed);
        }
        note(cx, scene, target(node), before, probe.visit.verdict());
        self.drive(cx, scene, desk);
    }

    pub(super) fn lost(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        node: NodeId,
    ) {
        let Some(probe) = self.visits.get_mut(&node) else { return };
        let before = probe.visit.verdict();
        probe.visit.lost(cx, scene, desk);
        note(cx, scene, target(node), before, probe.visit.verdict());
    }

    pub(super) fn verdict(&self, node: &NodeId) -> Verdict {
        self.visits.get(node).map_or(Verdict::Unsure, |probe| probe.visit.verdict())
    }

    fn begin(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        if self.epoch == Some(scene.epoch()) {
            return;
        }
        self.epoch = Some(scene.epoch());
        desk.release_all(cx, Why::Probe);
        let targets = scene.view.roster.reaches(&scene.me()).into_iter();
        self.visits = targets
            .map(|node| (node, Probe { visit: Visit::new(scene, node, Why::Probe), nonce: 0 }))
            .collect();
    }
}

/// Answers a probe.
pub(super) fn alive(
    cx: &mut Cx<'_>,
    scene: &Scene<'_>,
    desk: &Desk,
    node: NodeId,
    (epoch, nonce): (Epoch, u64),
    free_bytes: u64,
) {
    let version = Text::new(scene.config.version.clone()).unwrap_or_default();
    let (time, height) = (cx.now, scene.view.height);
    desk.send(cx, node, false, Duty::Alive { epoch, nonce, time, free_bytes, height, version });
}

const fn target(node: NodeId) -> Target {
    Target { node, duty: Examined::Reach }
}
