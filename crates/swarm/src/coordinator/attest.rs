//! Attesting the beacon of each epoch: votes among the committee, and the certificate that they
//! make.
//!
//! What this node attested last is stored before anybody is told. It never attests an epoch before
//! that one, nor something else for that one, whatever happens to it in between: so no crash and no
//! change of the chain's mind makes two votes that contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Decode as _, Encode as _, Epoch, Inline, NodeId, Span, Time};
use session_crypto::DsaPublicKey;
use session_protocol::attestation::{Kind, QuorumCertificate, Statement, Vote, committee_root};
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::membership::Membership as _;
use session_protocol::schedule::Phase;
use session_storage::{StoreError, Table};

use super::accuse::Accusations;
use super::desk::{Desk, Why};
use super::lie::{self, Lie};
use super::note::{Note, fault};
use super::scene::{Alarm, Scene};
use super::{Cx, Effect};

/// Epochs before this one whose votes are kept: contradictions may come late.
const ROUNDS_KEPT: u64 = 1;

/// Certificates kept, for mates and for whoever asks: at most 70 KB each.
const CERTIFICATES_MAX: usize = 8;

/// Nodes that wait for a certificate: those that examine this one, those it examines, its mates.
const WAITING_MAX: usize = 128;

/// Votes and certificates that one node is answered in an epoch.
const ANSWERS_MAX: u8 = 16;

/// Where the last statement that was attested is stored.
const ATTESTED_PREFIX: &[u8] = b"duty/attested/";

/// Attestations of beacons.
#[derive(Default)]
pub(super) struct Attest {
    epoch: Option<Epoch>,
    /// Of the epochs in which this node is a member.
    rounds: BTreeMap<Epoch, Round>,
    certificates: BTreeMap<Epoch, QuorumCertificate>,
    /// Nodes known to have the certificate of this epoch.
    holders: BTreeSet<NodeId>,
    /// Nodes that were asked for it.
    asked: BTreeSet<NodeId>,
    /// Nodes that asked before it came about.
    waiting: BTreeSet<NodeId>,
    pub(super) wake: Option<Time>,
}

struct Round {
    statement: Statement,
    committee: Vec<(NodeId, DsaPublicKey)>,
    own: Option<Vote>,
    refused: bool,
    votes: BTreeMap<NodeId, Vote>,
    answered: BTreeMap<NodeId, (u8, Time)>,
    send_at: Time,
}

impl Attest {
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let mut alarm = Alarm::new(scene.now);
        let begin = scene.begin(Phase::Deal);
        alarm.at(begin);
        if begin <= scene.now {
            self.begin(cx, scene, desk);
            self.vote(cx, scene, &mut alarm);
            self.exchange(cx, scene, desk, &mut alarm);
            self.certify(cx, scene, desk, scene.epoch());
        }
        self.wake = alarm.next();
    }

    pub(super) fn certificate(&self, epoch: Epoch) -> Option<&QuorumCertificate> {
        self.certificates.get(&epoch)
    }

    pub(super) fn last(&self) -> Option<Epoch> {
        self.certificates.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Greets a node that came up.
    pub(super) fn peer_up(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        node: NodeId,
    ) {
        let Some(round) = self.rounds.get(&scene.epoch()) else { return };
        let lacks = round.is_member(&node) && !round.votes.contains_key(&node);
        if lacks && !self.certificates.contains_key(&scene.epoch()) {
            round.send(cx, scene, desk, node);
        }
    }

    /// Asks a node that this one speaks with for the certificate of the epoch, once: those who do
    /// not attest get it from their examiners and from those whom they examine.
    pub(super) fn meet(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &Desk, node: NodeId) {
        let epoch = scene.epoch();
        let lacks = self.epoch == Some(epoch) && !self.certificates.contains_key(&epoch);
        if lacks && desk.is_up(&node) && self.asked.insert(node) {
            desk.send(cx, node, false, Duty::WantCertificate { epoch });
        }
    }

    /// Gives a node the certificate that it asks for, once, as soon as it is there.
    pub(super) fn wanted(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        node: NodeId,
        epoch: Epoch,
    ) {
        if self.epoch != Some(epoch) || epoch != scene.epoch() {
            return;
        }
        match self.certificates.get(&epoch) {
            Some(certificate) => give(cx, desk, &mut self.holders, node, certificate),
            None if self.waiting.len() < WAITING_MAX => drop(self.waiting.insert(node)),
            None => {}
        }
    }

    /// The same for nodes that were just visited.
    pub(super) fn meet_all(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        nodes: &mut Vec<NodeId>,
    ) {
        for node in nodes.drain(..) {
            self.meet(cx, scene, desk, node);
        }
    }

    /// Takes a vote: of the sender, or one that the sender passes on because it is another one than
    /// its own.
    pub(super) fn voted(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        accusations: &mut Accusations,
        from: NodeId,
        vote: Vote,
    ) {
        let epoch = vote.statement.epoch;
        let Some(round) = self.rounds.get_mut(&epoch) else { return };
        let node = vote.node;
        if !round.is_of(&vote.statement) {
            return fault(cx, from, "a vote about another beacon or committee");
        }
        let known = round.votes.get(&node);
        if known != Some(&vote) {
            let key = round.key(&node);
            if !key.is_some_and(|key| vote.verify(key, &*scene.config.verifier)) {
                return fault(cx, from, "a vote that nobody of the committee signed");
            }
        }
        let is_first = known.is_none();
        if let Some(known) = known.filter(|known| known.contradicts(&vote)) {
            let (first, second) = (Box::new(known.clone()), Box::new(vote));
            return accusations.accuse(cx, scene, Evidence::Equivocation { first, second });
        }
        if is_first {
            if vote.statement != round.statement {
                round.pass_on(cx, desk, &vote, from);
            }
            round.votes.insert(node, vote);
        }
        if from == node {
            self.answer(cx, scene, desk, epoch, node, is_first);
        }
        self.certify(cx, scene, desk, epoch);
    }

    /// Takes the certificate of an epoch whose committee this node can name.
    pub(super) fn certified(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        from: NodeId,
        certificate: QuorumCertificate,
    ) {
        let epoch = certificate.statement.epoch;
        if epoch == scene.epoch() {
            self.holders.insert(from);
        }
        if self.certificates.contains_key(&epoch) {
            return;
        }
        let other;
        let round = match self.rounds.get(&epoch) {
            Some(round) => round,
            None if epoch == scene.epoch() => {
                other = Round::new(scene, scene.view.roster.attesters());
                &other
            }
            None => return,
        };
        let good = certificate.statement == round.statement
            && certificate.verify(&round.committee, &*scene.config.verifier, &Inline).is_ok();
        if !good {
            return fault(cx, from, "a certificate that proves nothing");
        }
        self.keep(cx, scene, desk, certificate);
    }

    fn begin(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let epoch = scene.epoch();
        if self.epoch == Some(epoch) {
            return;
        }
        self.epoch = Some(epoch);
        self.holders.clear();
        self.asked.clear();
        self.waiting.clear();
        desk.release_all(cx, Why::Attest);
        self.rounds.retain(|of, _| of.0 + ROUNDS_KEPT >= epoch.0);
        let attesters = scene.view.roster.attesters();
        if attesters.contains(&scene.me()) {
            self.rounds.insert(epoch, Round::new(scene, attesters));
        }
    }

    fn vote(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, alarm: &mut Alarm) {
        let Some(round) = self.rounds.get_mut(&scene.epoch()) else { return };
        // A member whose committee is not that of the chain would sign what nobody can use.
        if round.own.is_some() || round.refused || !round.is_member(&scene.me()) {
            return;
        }
        match persist(cx, &round.statement) {
            Ok(true) => {
                let vote = round.statement.sign(&*scene.config.keys, cx.rng);
                round.votes.insert(vote.node, vote.clone());
                round.own = Some(vote);
            }
            Ok(false) => {
                round.refused = true;
                let epoch = scene.epoch();
                cx.effects.push(Effect::Note(Note::VoteRefused { epoch }));
            }
            Err(_) => {
                alarm.at(scene.now + scene.patience());
                cx.effects.push(Effect::Note(Note::StoreFailed { doing: "keeping a vote" }));
            }
        }
    }

    /// Sends the own vote to members whose votes did not come: they may lack it too.
    fn exchange(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        let is_certified = self.certificates.contains_key(&scene.epoch());
        let Some(round) = self.rounds.get_mut(&scene.epoch()) else { return };
        if round.own.is_none() || is_certified {
            return;
        }
        if round.send_at > scene.now {
            return alarm.at(round.send_at);
        }
        round.send_at = scene.now + scene.patience();
        alarm.at(round.send_at);
        let lacking = round.committee.iter().map(|(node, _)| *node);
        let lacking: Vec<NodeId> = lacking.filter(|node| !round.votes.contains_key(node)).collect();
        for node in lacking {
            desk.want_again(cx, node, Why::Attest);
            round.send(cx, scene, desk, node);
        }
    }

    /// Answers a member's vote with what it lacks.
    fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        epoch: Epoch,
        node: NodeId,
        is_first: bool,
    ) {
        let Some(round) = self.rounds.get_mut(&epoch) else { return };
        // Who speaks for the first time is told the own vote; who repeats itself lacks a quorum.
        let certificate = self.certificates.get(&epoch).filter(|_| !is_first);
        let (answers, next) = round.answered.entry(node).or_default();
        // Two that answer each other's answers would never end.
        if *answers >= ANSWERS_MAX || *next > scene.now {
            return;
        }
        *answers += 1;
        *next = scene.now + Span::from_millis(scene.patience().as_millis() / 2);
        match certificate {
            Some(certificate) => {
                let certificate = Box::new(certificate.clone());
                desk.send(cx, node, true, Duty::Certified { certificate });
            }
            None => round.send(cx, scene, desk, node),
        }
    }

    fn certify(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, epoch: Epoch) {
        let Some(round) = self.rounds.get(&epoch) else { return };
        if self.certificates.contains_key(&epoch) || round.own.is_none() {
            return;
        }
        let Some(certificate) =
            QuorumCertificate::assemble(&round.statement, &round.committee, round.votes.values())
        else {
            return;
        };
        let (mut members, mut others) = (Vec::new(), Vec::new());
        for mate in scene.view.roster.mates(&scene.me()) {
            if round.is_member(&mate) { members.push(mate) } else { others.push(mate) }
        }
        // One of the swarm is enough to give it to those who do not attest.
        if epoch == scene.epoch() && members.iter().all(|mate| *mate > scene.me()) {
            self.waiting.extend(others);
        }
        self.keep(cx, scene, desk, certificate);
        if epoch == scene.epoch() {
            desk.release_all(cx, Why::Attest);
        }
    }

    fn keep(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        certificate: QuorumCertificate,
    ) {
        let epoch = certificate.statement.epoch;
        if epoch == scene.epoch() {
            for node in core::mem::take(&mut self.waiting) {
                give(cx, desk, &mut self.holders, node, &certificate);
            }
        }
        cx.effects.push(Effect::Note(Note::Certified { epoch }));
        cx.effects.push(Effect::Certified { certificate: Box::new(certificate.clone()) });
        self.certificates.insert(epoch, certificate);
        while self.certificates.len() > CERTIFICATES_MAX {
            self.certificates.pop_first();
        }
    }
}

impl Round {
    fn new(scene: &Scene<'_>, attesters: Vec<NodeId>) -> Self {
        let view = scene.view;
        let member = |node: NodeId| {
            let record = view.membership.node(&node)?;
            Some((node, record.keys.dsa().clone()))
        };
        let members: Option<Vec<(NodeId, DsaPublicKey)>> =
            attesters.into_iter().map(member).collect();
        // Without all keys, or with others than the chain has, no vote could count.
        let committee = members
            .filter(|members| committee_root(members) == view.epoch.attesters)
            .unwrap_or_default();
        let statement = Statement {
            chain: view.chain,
            committee: view.epoch.attesters,
            kind: Kind::EpochBeacon,
            subject: view.epoch.beacon,
            root: view.epoch.randomness,
            epoch: view.epoch.number,
        };
        Self {
            statement,
            committee,
            own: None,
            refused: false,
            votes: BTreeMap::new(),
            answered: BTreeMap::new(),
            send_at: scene.now,
        }
    }

    fn key(&self, node: &NodeId) -> Option<&DsaPublicKey> {
        self.committee.iter().find(|(member, _)| member == node).map(|(_, key)| key)
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.key(node).is_some()
    }

    /// Returns whether a statement is about the beacon of this epoch, whatever it says of it, and
    /// whatever id it gives it: an epoch has one beacon.
    fn is_of(&self, statement: &Statement) -> bool {
        let Statement { subject, root, .. } = self.statement;
        Statement { subject, root, ..*statement } == self.statement
    }

    fn send(&self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &Desk, node: NodeId) {
        let Some(own) = &self.own else { return };
        if scene.config.lie == Some(Lie::Equivocate) {
            let other = lie::contradiction(&self.statement);
            let vote = Box::new(other.sign(&*scene.config.keys, cx.rng));
            desk.send(cx, node, false, Duty::Voted { vote });
        }
        desk.send(cx, node, false, Duty::Voted { vote: Box::new(own.clone()) });
    }

    /// Shows the others a vote for another root: its author may have told them something else.
    fn pass_on(&self, cx: &mut Cx<'_>, desk: &Desk, vote: &Vote, from: NodeId) {
        let others = self.committee.iter().map(|(node, _)| *node);
        for node in others.filter(|node| *node != from && *node != vote.node) {
            desk.send(cx, node, false, Duty::Voted { vote: Box::new(vote.clone()) });
        }
    }
}

/// Sends a certificate to a node that is connected and is not known to have it.
fn give(
    cx: &mut Cx<'_>,
    desk: &Desk,
    holders: &mut BTreeSet<NodeId>,
    node: NodeId,
    certificate: &QuorumCertificate,
) {
    if desk.is_up(&node) && holders.insert(node) {
        let certificate = Box::new(certificate.clone());
        desk.send(cx, node, true, Duty::Certified { certificate });
    }
}

/// Stores what is about to be attested; false if that must not be.
fn persist(cx: &mut Cx<'_>, statement: &Statement) -> Result<bool, StoreError> {
    let key = [ATTESTED_PREFIX, statement.chain.as_bytes()].concat();
    let last = cx.store.record(Table::Meta, &key)?;
    if let Some(bytes) = last {
        // A record that cannot be read may say anything.
        let Ok(last) = Statement::decode_exact(&bytes) else { return Ok(false) };
        if last.epoch > statement.epoch {
            return Ok(false);
        }
        if last.epoch == statement.epoch {
            return Ok(last == *statement);
        }
    }
    cx.store.put_record(Table::Meta, &key, &statement.to_bytes(), Time::MAX)?;
    Ok(true)
}
