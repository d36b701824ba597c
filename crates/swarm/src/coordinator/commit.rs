//! Storage commitments: what this node says it keeps in each epoch, and the answers to audits.
//!
//! The leaves of a commitment are stored until it can no longer be audited: after a restart the
//! items alone would not give them back, because owners may have removed some since. For those the
//! owner's order is shown instead.

use std::collections::VecDeque;

use session_core::merkle::Tree;
use session_core::{Decode as _, Encode as _, Epoch, InboxAddress, List, NodeId, SwarmId, Time};
use session_protocol::chain::Action;
use session_protocol::commitment::{
    Absence, Commitment, Leaf, Opening, Place, Shown, Window, answer, removes, tree,
};
use session_protocol::duty::Duty;
use session_protocol::limits::PAGE_BYTES_MAX;
use session_protocol::membership::Membership;
use session_protocol::owner::OwnerOperation;
use session_protocol::placement;
use session_protocol::request::ItemBytes;
use session_protocol::roster::AUDIT_LEAVES;
use session_protocol::schedule::Phase;
use session_storage::{Store, StoreError, Table};

use super::desk::{Desk, Post};
use super::lie::{self, Lie};
use super::note::Note;
use super::scene::{Alarm, Scene};
use super::{Cx, Effect};

/// Commitments whose leaves are in memory: the one that is audited, the current one, and the one
/// that may replace it.
const KEPT_MAX: usize = 3;

/// Leaves of one record.
const LEAVES_PER_RECORD: usize = 1000;

/// Bytes of a leaf: inbox and item.
const LEAF_BYTES: usize = 64;

/// Where leaves are stored.
const LEAVES_PREFIX: &[u8] = b"duty/leaves/";

/// What this node committed to.
#[derive(Default)]
pub(super) struct Commit {
    /// The last is the newest.
    kept: Vec<Kept>,
    stage: Stage,
    /// Whether nothing of what the swarm acknowledged can be missing here: whoever lost its store
    /// would commit to less than it promised.
    pub(super) is_complete: bool,
    pub(super) wake: Option<Time>,
}

/// How far the commitment of an epoch is.
#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    epoch: Option<Epoch>,
    scanned: bool,
    compared: bool,
    rescanned: bool,
    /// Mates were asked to compare before the next window closes.
    prepared: bool,
}

/// A commitment and its leaves.
pub(super) struct Kept {
    pub(super) commitment: Commitment,
    leaves: Vec<Leaf>,
    tree: Tree,
}

impl Commit {
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let mut alarm = Alarm::new(scene.now);
        if self.stage.epoch != Some(scene.epoch()) {
            self.stage = Stage { epoch: Some(scene.epoch()), ..Stage::default() };
        }
        if let Some(swarm) = scene.view.roster.swarm_of(&scene.me()) {
            self.scan_when_due(cx, scene, desk, swarm, &mut alarm);
            self.compare_when_due(cx, scene, &mut alarm);
            self.post(cx, scene, desk, &mut alarm);
            self.prepare(cx, scene, &mut alarm);
        }
        self.wake = alarm.next();
    }

    pub(super) fn is_posted(&self, scene: &Scene<'_>) -> bool {
        posted(scene, &scene.me()).is_some()
    }

    /// Commits to what is kept shortly after the epoch began, and once more after comparing.
    fn scan_when_due(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        swarm: SwarmId,
        alarm: &mut Alarm,
    ) {
        let first = scene.begin(Phase::Deal) + scene.share(16);
        let second = scene.begin(Phase::Ack) + scene.share(8);
        let ends = scene.end(Phase::Ack);
        alarm.at(first);
        if !self.is_complete {
            return;
        }
        if !self.stage.scanned && first <= scene.now && scene.now < ends {
            self.stage.scanned = true;
            // What was posted before a restart still stands.
            let is_known = self.kept(cx.store, scene, scene.epoch()).is_some();
            if !is_known {
                self.scan(cx, scene, swarm);
            }
        }
        if !self.stage.compared || self.stage.rescanned {
            return;
        }
        alarm.at(second);
        if second <= scene.now && scene.now < ends {
            self.stage.rescanned = true;
            let before = self.newest(scene);
            self.scan(cx, scene, swarm);
            if before != self.newest(scene) {
                desk.renew(Post::Commitment);
            }
        }
    }

    fn scan(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, swarm: SwarmId) {
        let view = scene.view;
        let window = Window::of(&scene.schedule(), view.params.settle);
        let (leaves, bytes) = scan(cx.store, &*view.membership, swarm, &window);
        let kept = Kept::new(scene, swarm, leaves, bytes);
        let Commitment { epoch, count, root, .. } = kept.commitment;
        if kept.store(cx.store, scene).is_err() {
            // The commitment stands; a restart before the audit would cost this node a miss.
            cx.effects.push(Effect::Note(Note::StoreFailed { doing: "keeping leaves" }));
        }
        cx.effects.push(Effect::Note(Note::Committed { epoch, count, root }));
        self.keep(kept);
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.retain(|other| other.commitment != kept.commitment);
        self.kept.push(kept);
        if self.kept.len() > KEPT_MAX {
            self.kept.remove(0);
        }
    }

    /// Returns what this node last found itself to keep in this epoch.
    fn newest(&self, scene: &Scene<'_>) -> Option<Commitment> {
        let mut all = self.kept.iter().rev().map(|kept| kept.commitment);
        all.find(|commitment| commitment.epoch == scene.epoch())
    }

    /// Compares with mates that committed to something else.
    fn compare_when_due(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, alarm: &mut Alarm) {
        if self.stage.compared || !scene.is_in(Phase::Ack, alarm) {
            return;
        }
        let Some(own) = posted(scene, &scene.me()) else { return };
        let mates = scene.view.roster.mates(&scene.me());
        let others: Vec<(NodeId, Commitment)> = mates
            .iter()
            .filter_map(|mate| posted(scene, mate).map(|theirs| (*mate, theirs)))
            .filter(|(_, theirs)| theirs.root != own.root)
            .collect();
        if others.is_empty() {
            return;
        }
        self.stage.compared = true;
        let members = mates.len() + 1;
        let agree = |root| others.iter().filter(|(_, theirs)| theirs.root == root).count();
        let most =
            others.iter().map(|(_, theirs)| theirs.root).find(|r| 3 * agree(*r) >= 2 * members);
        if let Some(root) = most {
            cx.effects.push(Effect::Note(Note::Differs { epoch: scene.epoch(), root }));
        }
        let wanted =
            |(_, theirs): &&(NodeId, Commitment)| most.is_none_or(|root| theirs.root == root);
        let nodes = others.iter().filter(wanted).map(|(node, _)| *node).collect();
        cx.effects.push(Effect::Compare { nodes });
        alarm.at(scene.begin(Phase::Ack) + scene.share(8));
    }

    fn post(&self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        let Some(commitment) = self.newest(scene) else { return };
        let is_due = scene.now < scene.end(Phase::Ack);
        if is_due && posted(scene, &scene.me()) != Some(commitment) {
            let action = || Action::StorageCommitment { commitment };
            desk.offer(cx, scene, alarm, Post::Commitment, action);
        }
    }

    /// Repairs differences before the next commitments are made.
    fn prepare(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, alarm: &mut Alarm) {
        let at = scene.schedule().end() - scene.share(8);
        alarm.at(at);
        if self.stage.prepared || at > scene.now {
            return;
        }
        self.stage.prepared = true;
        // One of each two asks: comparing repairs both sides.
        let mates = scene.view.roster.mates(&scene.me()).into_iter();
        let nodes: Vec<NodeId> = mates.filter(|mate| *mate > scene.me()).collect();
        if !nodes.is_empty() {
            cx.effects.push(Effect::Compare { nodes });
        }
    }

    /// Returns the commitment of an epoch that counts in the chain, from the store if a restart
    /// forgot it.
    pub(super) fn kept(
        &mut self,
        store: &dyn Store,
        scene: &Scene<'_>,
        epoch: Epoch,
    ) -> Option<&Kept> {
        let posted = scene.view.commitments.get(&scene.me())?;
        let mut both = [posted.previous, posted.current].into_iter().flatten();
        let commitment = both.find(|commitment| commitment.epoch == epoch)?;
        if !self.kept.iter().any(|kept| kept.commitment == commitment) {
            self.keep(Kept::load(store, scene, commitment)?);
        }
        self.kept.iter().find(|kept| kept.commitment == commitment)
    }
}

impl Kept {
    fn new(scene: &Scene<'_>, swarm: SwarmId, leaves: Vec<Leaf>, bytes: u64) -> Self {
        let leaves = lie::remembered(scene, leaves);
        let all = tree(&leaves);
        let (count, root) = match scene.config.lie {
            Some(Lie::CommitElse) => {
                let some = lie::half(&leaves);
                (some.len() as u64, tree(some).root())
            }
            _ => (all.count(), all.root()),
        };
        let commitment = Commitment { epoch: scene.epoch(), swarm, count, bytes, root };
        Self { commitment, leaves, tree: all }
    }

    fn store(&self, store: &mut dyn Store, scene: &Scene<'_>) -> Result<(), StoreError> {
        let until = scene.schedule().end() + scene.schedule().length;
        let prefix = leaves_prefix(&self.commitment);
        for (number, leaves) in (0_u64..).zip(self.leaves.chunks(LEAVES_PER_RECORD)) {
            let key = [prefix.as_slice(), &number.to_be_bytes()].concat();
            let value: Vec<u8> = leaves.iter().flat_map(Leaf::to_bytes).collect();
            store.put_record(Table::Meta, &key, &value, until)?;
        }
        Ok(())
    }

    fn load(store: &dyn Store, scene: &Scene<'_>, commitment: Commitment) -> Option<Self> {
        let mut leaves = Vec::new();
        for (key, _) in store.records(Table::Meta, &leaves_prefix(&commitment)) {
            let value = store.record(Table::Meta, &key).ok()??;
            for bytes in value.chunks(LEAF_BYTES) {
                leaves.push(Leaf::decode_exact(bytes).ok()?);
            }
        }
        let tree = tree(&leaves);
        let is_it = tree.root() == commitment.root || scene.config.lie == Some(Lie::CommitElse);
        is_it.then_some(Self { commitment, leaves, tree })
    }

    /// Opens one leaf; nothing beyond the last, or if neither the item nor an order is here.
    fn open(&self, store: &dyn Store, scene: &Scene<'_>, index: u64) -> Option<Opening> {
        let leaf = *self.leaves.get(usize::try_from(index).ok()?)?;
        if lie::is_lost(scene.config.lie, &scene.me(), &leaf) {
            return None;
        }
        let ground = scene.ground();
        let window = ground.window(&self.commitment);
        let shown = shown(store, scene, &leaf, window.expire_after)?;
        let opening = Opening { leaf, path: self.tree.prove(index)?, shown };
        if scene.config.lie == Some(Lie::CommitElse) {
            return Some(opening);
        }
        // What is signed here is evidence: a disk that altered an item must not make it.
        let good = opening.verify(&self.commitment, &window, ground.network, ground.verifier);
        good.is_ok().then_some(opening)
    }

    /// Answers whether an item is among the leaves: shows it, or that it is not; nothing if it is
    /// and cannot be shown.
    pub(super) fn holds(&self, cx: &mut Cx<'_>, scene: &Scene<'_>, leaf: Leaf) -> Option<Duty> {
        let after = match self.leaves.binary_search(&leaf) {
            Ok(index) => return self.page(cx, scene, &mut VecDeque::from([index as u64])),
            Err(after) => after,
        };
        let place = |index: usize| {
            let leaf = *self.leaves.get(index)?;
            Some(Place { leaf, path: self.tree.prove(index as u64)? })
        };
        let before = after.checked_sub(1).and_then(place);
        let absence = Box::new(Absence { before, after: place(after) });
        Some(Duty::Absent { epoch: self.commitment.epoch, leaf, absence })
    }

    /// Answers with as many of the leaves as fit one message, and removes those from `wanted`.
    ///
    /// A leaf that cannot be shown is left out; whoever asked sees that it is missing.
    pub(super) fn page(
        &self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        wanted: &mut VecDeque<u64>,
    ) -> Option<Duty> {
        let (mut openings, mut bytes) = (Vec::new(), 0);
        while let Some(index) = wanted.front().copied() {
            if let Some(opening) = self.open(cx.store, scene, index) {
                let size = opening.to_bytes().len();
                if !openings.is_empty() && bytes + size > PAGE_BYTES_MAX {
                    break;
                }
                bytes += size;
                openings.push(opening);
            }
            wanted.pop_front();
        }
        let openings: List<Opening, AUDIT_LEAVES> = List::new(openings).ok()?;
        if openings.is_empty() {
            return None;
        }
        let keys = &*scene.config.keys;
        let answer = answer(&scene.view.chain, &self.commitment, openings, keys, cx.rng);
        Some(Duty::Opened { answer: Box::new(answer) })
    }
}

/// Returns the leaves of a swarm's items in a window, sorted, and how many bytes the items have.
#[must_use]
pub fn scan(
    store: &dyn Store,
    membership: &dyn Membership,
    swarm: SwarmId,
    window: &Window,
) -> (Vec<Leaf>, u64) {
    let swarms = membership.swarms();
    let (mut leaves, mut bytes) = (Vec::new(), 0);
    let mut last: Option<(InboxAddress, bool)> = None;
    let all = InboxAddress::from([0; 32])..=InboxAddress::from([0xff; 32]);
    store.scan(all, &mut |address, meta| {
        // Items come inbox by inbox.
        let is_ours = match last {
            Some((of, is_ours)) if of == *address => is_ours,
            _ => placement::nearest(address, &swarms) == Some(swarm),
        };
        last = Some((*address, is_ours));
        if is_ours && window.holds(meta.timestamp, meta.expiry) {
            bytes += u64::from(meta.size);
            leaves.push(Leaf { address: *address, message: meta.id });
        }
    });
    leaves.sort_unstable();
    (leaves, bytes)
}

/// Returns the item behind a leaf, or the owner's order that removed it.
fn shown(store: &dyn Store, scene: &Scene<'_>, leaf: &Leaf, until: Time) -> Option<Shown> {
    if let Ok(Some(item)) = store.item(&leaf.address, &leaf.message) {
        let data = ItemBytes::new(item.data).ok()?;
        return Some(Shown::Item { namespace: item.meta.namespace, data });
    }
    let operation = Box::new(order(store, scene, leaf, until)?);
    Some(Shown::Removed { operation })
}

/// Returns the owner's order that removed an item, at the latest by `until`.
pub(super) fn order(
    store: &dyn Store,
    scene: &Scene<'_>,
    leaf: &Leaf,
    until: Time,
) -> Option<OwnerOperation> {
    let (network, verifier) = (scene.view.membership.network(), &*scene.config.verifier);
    let operation = |(key, _): (Vec<u8>, Time)| {
        let value = store.record(Table::Operation, &key).ok()??;
        let operation = OwnerOperation::decode_exact(&value).ok()?;
        removes(&operation, leaf, until, network, verifier).ok()?;
        Some(operation)
    };
    store.records(Table::Operation, leaf.address.as_ref()).into_iter().find_map(operation)
}

fn posted(scene: &Scene<'_>, node: &NodeId) -> Option<Commitment> {
    let commitments = scene.view.commitments.get(node)?;
    commitments.current.filter(|commitment| commitment.epoch == scene.epoch())
}

// Two commitments of one epoch may both be under way: each has its own leaves.
fn leaves_prefix(commitment: &Commitment) -> Vec<u8> {
    let epoch = commitment.epoch.0.to_be_bytes();
    [LEAVES_PREFIX, &epoch, commitment.root.as_bytes()].concat()
}
