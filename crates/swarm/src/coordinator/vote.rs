//! The ballot: what this node says in an epoch about the nodes that it examined.

use session_protocol::chain::Action;
use session_protocol::chain::transaction::bitmap;
use session_protocol::roster::{Duty, Target};
use session_protocol::schedule::Phase;

use super::Cx;
use super::audit::Audits;
use super::desk::{Desk, Post};
use super::lie::Lie;
use super::note::{Fault, Verdict};
use super::probe::Probes;
use super::scene::{Alarm, Scene};

/// Returns what became of each target of this node, in the order of the ballot.
pub(super) fn verdicts(
    scene: &Scene<'_>,
    probes: &Probes,
    audits: &Audits,
    heard: bool,
) -> Vec<(Target, Verdict)> {
    let targets = scene.view.roster.targets(&scene.me()).into_iter();
    let of = |target: Target| {
        let verdict = match target.duty {
            Duty::Reach => probes.verdict(&target.node),
            Duty::Keep => audits.verdict(scene, &target.node),
        };
        // Who reached nobody has lost its own network.
        let own_fault =
            !heard && matches!(verdict, Verdict::Failed(Fault::Unreachable | Fault::Silent));
        let seat = scene.view.seats.get(&target.node);
        let is_away = seat.is_some_and(|seat| seat.draining) && verdict != Verdict::Passed;
        (target, if own_fault || is_away { Verdict::Unsure } else { verdict })
    };
    targets.map(of).collect()
}

/// Posts the ballot.
pub(super) fn drive(
    cx: &mut Cx<'_>,
    scene: &Scene<'_>,
    desk: &mut Desk,
    (probes, audits): (&Probes, &Audits),
    heard: bool,
) -> Option<session_core::Time> {
    let mut alarm = Alarm::new(scene.now);
    let is_done = scene.view.voted.contains(&scene.me());
    if !is_done && scene.is_in(Phase::Recover, &mut alarm) {
        let verdicts = verdicts(scene, probes, audits, heard);
        if !verdicts.is_empty() {
            desk.offer(cx, scene, &mut alarm, Post::Vote, || ballot(scene, &verdicts));
        }
    }
    alarm.next()
}

fn ballot(scene: &Scene<'_>, verdicts: &[(Target, Verdict)]) -> Action {
    let places = |wanted: fn(&Verdict) -> bool| {
        let all = verdicts.iter().enumerate();
        all.filter(move |(_, (_, verdict))| wanted(verdict)).map(|(place, _)| place)
    };
    let passed = places(|verdict| *verdict == Verdict::Passed);
    let failed = places(|verdict| matches!(verdict, Verdict::Failed(_)));
    let bits = verdicts.len();
    let (passed, failed) = match scene.config.lie {
        Some(Lie::FalseFail) => (bitmap(bits, []), bitmap(bits, 0..bits)),
        _ => (bitmap(bits, passed), bitmap(bits, failed)),
    };
    Action::UptimeVote { epoch: scene.epoch(), passed, failed }
}
