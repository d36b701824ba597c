//! Audits: whether mates keep what they committed to in the epoch before; and answering theirs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_core::{Blob, Epoch, List, NodeId, Span, Time};
use session_protocol::commitment::{Absence, Answer, Commitment, Leaf, SignedOpening, tree};
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::membership::Membership as _;
use session_protocol::roster::{AUDIT_LEAVES, Duty as Examined, Target, audit_leaves};
use session_protocol::schedule::Phase;
use session_storage::Store;

use super::accuse::Accusations;
use super::commit::{Commit, order};
use super::desk::{Desk, Why};
use super::note::{Fault, Verdict, fault};
use super::promise::{self, Promise};
use super::scene::{Alarm, Scene};
use super::visit::{Visit, note};
use super::{Cx, Effect};

/// Leaves that one mate is shown in an epoch: it may ask for all of them a few times.
const SHOWN_MAX: usize = 4 * AUDIT_LEAVES;

/// Items that one mate may ask about in an epoch: all of them a few times.
const HOLDS_MAX: usize = 4 * promise::ASKED_MAX;

/// From one page of an answer to the next, so that other work has its turn.
const PAUSE: Span = Span::from_millis(1);

/// The audits of one epoch.
#[derive(Default)]
pub(super) struct Audits {
    epoch: Option<Epoch>,
    visits: BTreeMap<NodeId, Audit>,
    /// What contradicts commitments that are being looked up.
    bad: BTreeMap<NodeId, (Epoch, Contradiction)>,
    pub(super) wake: Option<Time>,
}

struct Audit {
    visit: Visit,
    commitment: Commitment,
    missing: BTreeSet<u64>,
    /// What the mate promised that it must hold, and has not shown yet.
    promises: BTreeMap<Leaf, Promise>,
    answered: bool,
}

/// What contradicts a commitment.
enum Contradiction {
    /// A leaf that does not fit it.
    Opening(Box<SignedOpening>),
    /// A promise that it does not keep.
    Promise(Box<Promise>, Box<Absence>),
}

impl Audits {
    /// Begins the audits of an epoch.
    pub(super) fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        commit: &mut Commit,
    ) {
        if self.epoch == Some(scene.epoch()) {
            return;
        }
        self.epoch = Some(scene.epoch());
        desk.release_all(cx, Why::Audit);
        self.bad.clear();
        let mates = scene.view.roster.mates(&scene.me()).into_iter();
        self.visits = mates
            .filter_map(|mate| Some((mate, Audit::new(cx, scene, desk, commit, mate)?)))
            .collect();
    }

    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let mut alarm = Alarm::new(scene.now);
        let ends = scene.schedule().begin(Phase::Recover);
        alarm.at(ends);
        for (node, audit) in &mut self.visits {
            let before = audit.verdict(scene);
            if ends <= scene.now {
                audit.visit.close(cx, desk);
            } else if audit.visit.is_due(cx, scene, desk, &mut alarm) {
                audit.ask(cx, desk, *node);
            }
            note(cx, scene, target(*node), before, audit.verdict(scene));
        }
        self.wake = alarm.next();
    }

    /// Takes leaves that a mate shows.
    pub(super) fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        node: NodeId,
        answer: &Answer,
    ) {
        let Some(audit) = self.visits.get_mut(&node) else { return };
        let Some(record) = scene.view.membership.node(&node) else { return };
        if !audit.visit.is_asked() || answer.epoch != audit.commitment.epoch {
            return;
        }
        let ground = scene.ground();
        let (window, commitment) = (ground.window(&audit.commitment), audit.commitment);
        let key = (node, record.keys.dsa());
        if answer.verify(&ground.chain, &commitment, key, ground.verifier).is_err() {
            return fault(cx, node, "leaves that it did not sign");
        }
        let before = audit.verdict(scene);
        for (place, opening) in answer.openings.iter().enumerate() {
            if opening.verify(&commitment, &window, ground.network, ground.verifier).is_ok() {
                audit.missing.remove(&opening.path.index);
                audit.promises.remove(&opening.leaf);
                continue;
            }
            audit.visit.finish(cx, desk, Verdict::Failed(Fault::Wrong));
            if let Some(signed) = answer.signed(node, place) {
                let epoch = answer.epoch;
                self.bad.insert(node, (epoch, Contradiction::Opening(Box::new(signed))));
                cx.effects.push(Effect::FetchCommitment { node, epoch });
            }
            break;
        }
        audit.go_on(cx, scene, desk);
        note(cx, scene, target(node), before, audit.verdict(scene));
        self.drive(cx, scene, desk);
    }

    /// Takes a mate's word that its commitment does not hold what it promised to keep. If the owner
    /// did not remove the item, it lied when it signed the receipt, or has lost it since.
    pub(super) fn absent(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        node: NodeId,
        (epoch, leaf): (Epoch, Leaf),
        absence: Box<Absence>,
    ) {
        let Some(audit) = self.visits.get_mut(&node) else { return };
        if !audit.visit.is_asked()
            || epoch != audit.commitment.epoch
            || !audit.promises.contains_key(&leaf)
        {
            return;
        }
        if absence.verify(&leaf, &audit.commitment.root).is_err() {
            return fault(cx, node, "an absence that it does not show");
        }
        let Some(promise) = audit.promises.remove(&leaf) else { return };
        let before = audit.verdict(scene);
        let window = scene.ground().window(&audit.commitment);
        if order(cx.store, scene, &leaf, window.expire_after).is_none() {
            audit.visit.finish(cx, desk, Verdict::Failed(Fault::Missing));
            let broken = Contradiction::Promise(Box::new(promise), absence);
            self.bad.insert(node, (epoch, broken));
            cx.effects.push(Effect::FetchCommitment { node, epoch });
        }
        audit.go_on(cx, scene, desk);
        note(cx, scene, target(node), before, audit.verdict(scene));
        self.drive(cx, scene, desk);
    }

    /// Takes the transaction of a commitment that something contradicts.
    pub(super) fn looked_up(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        accusations: &mut Accusations,
        (node, epoch): (NodeId, Epoch),
        bytes: Vec<u8>,
    ) {
        let Some((_, bad)) = self.bad.remove(&node).filter(|(of, _)| *of == epoch) else {
            return;
        };
        let Ok(commitment) = Blob::new(bytes) else { return };
        let evidence = match bad {
            Contradiction::Opening(opening) => Evidence::BadOpening { commitment, opening },
            Contradiction::Promise(promise, absence) => {
                let Promise { receipt, root, path } = *promise;
                let root = Box::new(root);
                Evidence::FalseReceipt { receipt, root, path, commitment, absence }
            }
        };
        accusations.accuse(cx, scene, evidence);
    }

    pub(super) fn lost(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        node: NodeId,
    ) {
        let Some(audit) = self.visits.get_mut(&node) else { return };
        let before = audit.verdict(scene);
        audit.visit.lost(cx, scene, desk);
        note(cx, scene, target(node), before, audit.verdict(scene));
    }

    pub(super) fn verdict(&self, scene: &Scene<'_>, node: &NodeId) -> Verdict {
        self.visits.get(node).map_or(Verdict::Unsure, |audit| audit.verdict(scene))
    }
}

impl Audit {
    /// Plans the audit of a mate; nothing if it committed to nothing in the epoch before, or for
    /// another swarm: what it kept there is not for this node to see.
    fn new(
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        commit: &mut Commit,
        mate: NodeId,
    ) -> Option<Self> {
        let commitment = scene.view.commitments.get(&mate)?.previous?;
        let is_ours = scene.view.roster.swarm_of(&mate) == Some(commitment.swarm);
        if !is_ours || commitment.epoch.0 + 1 != scene.epoch().0 {
            return None;
        }
        let leaves = audit_leaves(&scene.view.epoch.randomness, &mate, commitment.count);
        let mut visit = Visit::new(scene, mate, Why::Audit);
        let promises = questions(cx.store, scene, commit, mate, &commitment);
        if leaves.is_empty() {
            let verdict = match commitment.root == tree(&[]).root() {
                true if promises.is_empty() => Verdict::Passed,
                true => Verdict::Open,
                false => Verdict::Failed(Fault::Wrong),
            };
            if verdict != Verdict::Open {
                visit.finish(cx, desk, verdict);
            }
            note(cx, scene, target(mate), Verdict::Open, verdict);
        }
        let missing = leaves.into_iter().collect();
        Some(Self { visit, commitment, missing, promises, answered: false })
    }

    /// Asks for what has not been shown yet.
    fn ask(&self, cx: &mut Cx<'_>, desk: &Desk, node: NodeId) {
        let epoch = self.commitment.epoch;
        let leaves: Vec<u64> = self.missing.iter().copied().collect();
        if let Ok(leaves) = List::new(leaves)
            && !leaves.is_empty()
        {
            desk.send(cx, node, true, Duty::Audit { epoch, leaves });
        }
        for leaf in self.promises.keys().copied() {
            desk.send(cx, node, true, Duty::Holds { epoch, leaf });
        }
    }

    /// Goes on after an answer: waits for the next, or ends.
    fn go_on(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        if !self.visit.is_asked() {
            return;
        }
        self.answered = true;
        if self.missing.is_empty() && self.promises.is_empty() {
            self.visit.finish(cx, desk, Verdict::Passed);
        } else {
            self.visit.wait(scene);
        }
    }

    fn verdict(&self, scene: &Scene<'_>) -> Verdict {
        match self.visit.verdict() {
            // It answered, though not everything. Where inboxes have just moved, it may have handed
            // on what is missing.
            Verdict::Failed(Fault::Silent) if self.answered && !has_moved(scene) => {
                Verdict::Failed(Fault::Missing)
            }
            Verdict::Failed(Fault::Silent) if has_moved(scene) => Verdict::Unsure,
            verdict => verdict,
        }
    }
}

/// Returns which promises of a mate to ask about. One that committed to the same as this node has
/// what this node has, or the owner removed it; nor is it asked about what is known to be removed.
fn questions(
    store: &dyn Store,
    scene: &Scene<'_>,
    commit: &mut Commit,
    mate: NodeId,
    commitment: &Commitment,
) -> BTreeMap<Leaf, Promise> {
    let own = commit.kept(store, scene, commitment.epoch).map(|kept| kept.commitment.root);
    if own == Some(commitment.root) {
        return BTreeMap::new();
    }
    let until = scene.ground().window(commitment).expire_after;
    promise::bound(store, scene, &mate, commitment)
        .into_iter()
        .filter(|promise| order(store, scene, &promise.leaf(), until).is_none())
        .map(|promise| (promise.leaf(), promise))
        .collect()
}

/// Returns whether inboxes moved between swarms when the epoch began.
fn has_moved(scene: &Scene<'_>) -> bool {
    scene.view.former.swarms() != scene.view.membership.swarms()
}

const fn target(node: NodeId) -> Target {
    Target { node, duty: Examined::Keep }
}

/// Leaves that mates asked for.
#[derive(Default)]
pub(super) struct Shows {
    epoch: Option<Epoch>,
    wanted: BTreeMap<NodeId, Wanted>,
    /// Items that each mate asked about.
    holds: BTreeMap<NodeId, usize>,
    pub(super) wake: Option<Time>,
}

struct Wanted {
    epoch: Epoch,
    leaves: VecDeque<u64>,
    left: usize,
}

impl Shows {
    /// Takes an audit; the first page of the answer goes out at once.
    pub(super) fn asked(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        (desk, commit): (&Desk, &mut Commit),
        node: NodeId,
        (epoch, leaves): (Epoch, &[u64]),
    ) {
        self.begin(scene);
        if !scene.view.roster.mates(&scene.me()).contains(&node) {
            return fault(cx, node, "an audit by a node of another swarm");
        }
        let fresh = Wanted { epoch, leaves: VecDeque::new(), left: SHOWN_MAX };
        let wanted = self.wanted.entry(node).or_insert(fresh);
        if wanted.left < leaves.len() {
            return fault(cx, node, "more audits than an epoch needs");
        }
        wanted.left -= leaves.len();
        wanted.epoch = epoch;
        // What was asked before is asked again if it is still wanted.
        wanted.leaves = leaves.iter().copied().collect();
        self.drive(cx, scene, desk, commit);
    }

    /// Answers whether a commitment of this node holds an item.
    pub(super) fn holds(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        (desk, commit): (&Desk, &mut Commit),
        node: NodeId,
        (epoch, leaf): (Epoch, Leaf),
    ) {
        self.begin(scene);
        if !scene.view.roster.mates(&scene.me()).contains(&node) {
            return fault(cx, node, "an audit by a node of another swarm");
        }
        let asked = self.holds.entry(node).or_default();
        *asked += 1;
        if *asked > HOLDS_MAX {
            return fault(cx, node, "more audits than an epoch needs");
        }
        let Some(kept) = commit.kept(cx.store, scene, epoch) else { return };
        if let Some(duty) = kept.holds(cx, scene, leaf) {
            desk.send(cx, node, true, duty);
        }
    }

    fn begin(&mut self, scene: &Scene<'_>) {
        if self.epoch != Some(scene.epoch()) {
            self.epoch = Some(scene.epoch());
            self.wanted.clear();
            self.holds.clear();
        }
    }

    /// Sends one page to each mate that waits.
    pub(super) fn drive(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        commit: &mut Commit,
    ) {
        let mut alarm = Alarm::new(scene.now);
        for (node, wanted) in &mut self.wanted {
            if wanted.leaves.is_empty() {
                continue;
            }
            let Some(kept) = commit.kept(cx.store, scene, wanted.epoch) else {
                wanted.leaves.clear();
                continue;
            };
            if let Some(duty) = kept.page(cx, scene, &mut wanted.leaves) {
                desk.send(cx, *node, true, duty);
            }
            if !wanted.leaves.is_empty() {
                alarm.at(scene.now + PAUSE);
            }
        }
        self.wake = alarm.next();
    }
}
