//! How the members of a committee agree on one step that asks the world.
//!
//! [`Round`] is PBFT for one decision, with the seed's retry index as the view. An attempt has a
//! leader and one proposal; members *prepare* it; who sees a quorum prepare it is *locked* to it and
//! *attests* it; a quorum of attestations is the decision. Who waited too long moves on to the next
//! attempt, says what it is locked to, and has no vote before any more. The next leader shows a
//! quorum of such moves, and proposes the latest lock among them if there is one.
//!
//! So two commits of one step are never both attested by quorums while less than a third of the
//! members lie. Let attempt r be the first in which a quorum attests, for X. It shares an honest
//! member with every quorum that moves on beyond r; that member attested before it moved on, was
//! locked to X then, and says so. So the latest lock that any later leader can show is of r or later,
//! and by induction to X: nothing else is prepared again. This holds for "no consensus", too, which
//! is proposed like everything else. Attestations of different attempts have different subjects
//! (request ids): an honest member attests once for each, and never contradicts itself.
//!
//! | module | holds |
//! |---|---|
//! | `scene` | what follows from a step alone |
//! | `check` | proposals, locks and decisions of others |
//! | `attempt` | what is known of one attempt |
//! | `pace` | which attempt is current, and who moved on |
//! | `work` | what a member does in an attempt |
//!
//! *Relied upon:* the caller lets in what members sent, and who sent it is known from the
//! connection. The signatures of records, votes and advances were checked with the keys of
//! [`Facts::members`], alone and inside proposals. Entries are durable before what follows them
//! leaves. *Checked here:* everything else: what a quorum signed, the records in locks and
//! decisions, that ids fit.
//!
//! *Provided:* with a quorum of honest members that reach each other the step ends. Of each member
//! one record, one vote of each phase and one attestation is kept for an attempt, for the current
//! attempt, the one before and [`AHEAD`] ahead, and one move; the rest is dropped and asked for again
//! (`Talk::At`). *Not provided:* evidence against a member that forgets its lock; knowledge whether
//! a write happened when there is no consensus about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{Entropy, NodeId, RequestId, Span, Time, choice};
use session_crypto::{Signer, Verifier};
use session_protocol::attestation::Vote;
use session_protocol::evidence::Evidence;
use session_protocol::workload::message::{Decision, Message, OpenRequest, RecordOf};
use session_protocol::workload::oracle::{Commit, OracleCall, Pin, RequestKind, SignedRecord};
use session_protocol::workload::round::{Advance, Lock, Phase, Prepared, Proposal, RoundVote};

use crate::executor::Outcome;
use crate::facts::{Facts, Purpose};

use attempt::Attempt;
use pace::Pace;

mod attempt;
mod check;
mod pace;
mod scene;
mod work;

/// How many attempts ahead of the current one messages are kept for.
const AHEAD: u32 = 2;
/// After how long others are first asked for what may have been lost.
const ASK_FIRST: Span = Span::from_millis(500);
/// How long is waited between two such questions at most.
const ASK_SPAN_MAX: Span = Span::from_secs(4);
/// How long a leader is given to propose once the records agree; in later attempts that many times
/// longer.
const LEADER_SPAN: Span = Span::from_secs(2);
/// A member that asks is answered no sooner than this after the last time.
const ANSWER_SPAN: Span = Span::from_millis(300);

/// What one step is about, and who takes part in it.
#[derive(Clone)]
pub(crate) struct Scene {
    /// The session.
    pub facts: Arc<Facts>,
    /// This member.
    pub me: NodeId,
    /// Its keys: of the committee of `facts`.
    pub keys: Arc<dyn Signer>,
    /// Checks what a quorum signed.
    pub verifier: Arc<dyn Verifier>,
    /// The step.
    pub step: u32,
    /// What it does to the world.
    pub kind: RequestKind,
    /// What is asked.
    pub call: OracleCall,
    /// The agreed time of the step before.
    pub before: Time,
}

/// The doors of a call.
pub(crate) struct Cx<'a> {
    /// The time of this call.
    pub now: Time,
    /// For signatures.
    pub rng: &'a mut dyn Entropy,
    /// What is to be done, in this order; all of it once every entry is durable.
    pub out: &'a mut Vec<RoundEffect>,
}

/// What happened. Whoever is not a member is not let in here.
#[derive(Debug)]
pub(crate) enum RoundInput {
    /// A member observed something.
    Record {
        /// Who sent it.
        from: NodeId,
        /// What.
        of: Box<RecordOf>,
    },
    /// A leader opened an attempt.
    Open {
        /// Who sent it.
        from: NodeId,
        /// How.
        request: OpenRequest,
    },
    /// A leader proposes.
    Proposal {
        /// Who sent it.
        from: NodeId,
        /// What.
        proposal: Box<Proposal>,
    },
    /// A member voted inside an attempt.
    RoundVote {
        /// The attempt.
        retry: u32,
        /// What.
        vote: RoundVote,
    },
    /// A member moves on.
    Advance {
        /// Where to.
        advance: Advance,
        /// What it is locked to.
        lock: Option<Box<Lock>>,
    },
    /// A member attests.
    Vote {
        /// The attempt.
        retry: u32,
        /// What.
        vote: Vote,
    },
    /// Somebody says what was decided.
    Decided {
        /// Who sent it.
        from: NodeId,
        /// What.
        decision: Box<Decision>,
    },
    /// A member waits at this step.
    At {
        /// Who.
        from: NodeId,
    },
    /// The answer to [`RoundEffect::Fetch`].
    Fetched {
        /// Its request.
        request: RequestId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A member can be reached.
    PeerUp {
        /// Who.
        node: NodeId,
    },
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum RoundEffect {
    /// Write it down. Nothing that follows may happen before it is durable.
    Journal(RoundEntry),
    /// Send it to all other members.
    ToAll(Message),
    /// Send it to one.
    To(NodeId, Message),
    /// Ask the world; answered by [`RoundInput::Fetched`].
    Fetch {
        /// The attempt.
        retry: u32,
        /// Its id.
        request: RequestId,
        /// What for.
        purpose: Purpose,
    },
    /// It is decided: write the decision down, and go on with it. Comes once.
    Decided(Box<Decision>),
    /// Keep evidence.
    Accuse(Box<Evidence>),
    /// A node broke the rules.
    Misbehaved {
        /// Who.
        node: NodeId,
        /// How.
        why: &'static str,
    },
}

choice! {
    /// What a member writes down about one step.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum RoundEntry {
        /// It wants this written.
        1 => Intended {
            /// Its vote.
            vote: RoundVote,
        },
        /// A quorum wants it written.
        2 => Intent {
            /// Who.
            prepared: Prepared,
        },
        /// As the leader it chose the block to look at.
        3 => Pinned {
            /// The attempt.
            retry: u32,
            /// The block.
            pin: Pin,
        },
        /// As the writer it is about to write.
        4 => Writing {
            /// The attempt.
            retry: u32,
        },
        /// What it observed.
        5 => Record {
            /// The attempt.
            retry: u32,
            /// What.
            record: SignedRecord,
        },
        /// As the leader it proposes.
        6 => Proposed {
            /// What.
            proposal: Box<Proposal>,
        },
        /// It would attest this.
        7 => Prepared {
            /// The attempt.
            retry: u32,
            /// What.
            commit: Box<Commit>,
            /// Its vote.
            vote: RoundVote,
        },
        /// A quorum would attest this.
        8 => Locked {
            /// What.
            lock: Box<Lock>,
        },
        /// It attests what it is locked to.
        9 => Attested {
            /// The attempt.
            retry: u32,
            /// Its vote.
            vote: Vote,
        },
        /// It moves on.
        10 => Advanced {
            /// Where to.
            advance: Advance,
        },
    }
}

/// The agreement on one step.
pub(crate) struct Round {
    scene: Scene,
    attempts: BTreeMap<u32, Attempt>,
    pace: Pace,
    intents: BTreeMap<NodeId, RoundVote>,
    /// That a quorum wants the write.
    intent: Option<Prepared>,
    /// What this member is locked to.
    lock: Option<Lock>,
    decided: Option<Box<Decision>>,
    restored: bool,
    /// The attempt in which this member was about to write when it stopped.
    interrupted: Option<u32>,
    /// When the current attempt has taken too long.
    ends: Option<Time>,
    /// When others are asked again.
    asks: Option<Time>,
    ask_span: Span,
    answered: BTreeMap<NodeId, Time>,
    accused: BTreeSet<(NodeId, &'static str)>,
}

impl Round {
    /// Makes the agreement on a step that begins.
    pub(crate) fn new(scene: Scene) -> Self {
        Self {
            scene,
            attempts: BTreeMap::new(),
            pace: Pace::default(),
            intents: BTreeMap::new(),
            intent: None,
            lock: None,
            decided: None,
            restored: false,
            interrupted: None,
            ends: None,
            asks: None,
            ask_span: ASK_FIRST,
            answered: BTreeMap::new(),
            accused: BTreeSet::new(),
        }
    }

    /// Makes it out of what was written down of it, in order.
    pub(crate) fn restore(scene: Scene, entries: impl IntoIterator<Item = RoundEntry>) -> Self {
        let mut round = Self::new(scene);
        for entry in entries {
            round.restored = true;
            round.remember(entry);
        }
        round.prune();
        round
    }

    fn remember(&mut self, entry: RoundEntry) {
        let me = self.scene.me;
        match entry {
            RoundEntry::Intended { vote } => {
                self.intents.insert(me, vote);
            }
            RoundEntry::Intent { prepared } => self.intent = Some(prepared),
            RoundEntry::Pinned { retry, pin } => self.began(retry).opened = Some(Some(pin)),
            RoundEntry::Writing { retry } => {
                self.began(retry);
                self.interrupted = Some(retry);
            }
            RoundEntry::Record { retry, record } => {
                self.began(retry).records.insert(me, record);
            }
            RoundEntry::Proposed { proposal } => {
                let commit = (self.scene.root(&proposal.commit), proposal.commit.clone());
                let attempt = self.began(proposal.retry);
                attempt.commit = Some(commit);
                attempt.proposed = Some(proposal);
            }
            RoundEntry::Prepared { retry, commit, vote } => {
                let attempt = self.began(retry);
                attempt.commit = Some((vote.ballot.root, *commit));
                attempt.prepares.insert(me, vote);
            }
            RoundEntry::Locked { lock } => self.lock = Some(*lock),
            RoundEntry::Attested { retry, vote } => {
                if let Some(lock) = self.lock.as_ref().filter(|lock| lock.retry == retry) {
                    let commit = (vote.statement.root, lock.commit.clone());
                    self.began(retry).commit = Some(commit);
                }
                self.began(retry).votes.insert(me, vote);
            }
            RoundEntry::Advanced { advance } => self.pace.moved(advance, self.lock.clone()),
        }
    }

    fn began(&mut self, retry: u32) -> &mut Attempt {
        self.pace.began(retry);
        self.attempts.entry(retry).or_default()
    }

    /// Begins it, or goes on after [`Round::restore`].
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        if self.pace.votes() {
            self.ends = Some(cx.now + self.scene.attempt_span(self.pace.current));
        }
        self.asks = Some(cx.now + self.ask_span);
        if self.restored {
            cx.out.push(RoundEffect::ToAll(self.scene.at()));
        }
        self.leave_interrupted_write(cx);
        self.progress(cx);
    }

    /// Nobody knows whether it was written, and others may long have decided: to write now could
    /// put an old value over a new one. The next writer writes with the same key.
    fn leave_interrupted_write(&mut self, cx: &mut Cx<'_>) {
        let Some(retry) = self.interrupted.filter(|retry| *retry == self.pace.current) else {
            return;
        };
        let known = self.attempts.get(&retry);
        let came_to_something =
            known.is_some_and(|it| it.commit.is_some() || it.records.contains_key(&self.scene.me));
        if !came_to_something {
            self.move_on(cx);
        }
    }

    /// Handles one input.
    pub(crate) fn handle(&mut self, cx: &mut Cx<'_>, input: RoundInput) {
        match input {
            RoundInput::Record { from, of } => self.on_record(cx, from, *of),
            RoundInput::Open { from, request } => self.on_open(cx, from, &request),
            RoundInput::Proposal { from, proposal } => self.on_proposal(cx, from, *proposal),
            RoundInput::RoundVote { retry, vote } => self.on_round_vote(cx, retry, vote),
            RoundInput::Advance { advance, lock } => self.on_advance(cx, advance, lock),
            RoundInput::Vote { retry, vote } => self.on_vote(cx, retry, vote),
            RoundInput::Decided { from, decision } => self.on_decided(cx, from, decision),
            RoundInput::At { from } => self.answer(cx, from),
            RoundInput::Fetched { request, outcome } => self.on_fetched(cx, request, outcome),
            RoundInput::PeerUp { node } => {
                if self.decided.is_none() {
                    cx.out.push(RoundEffect::To(node, self.scene.at()));
                }
            }
        }
        self.progress(cx);
    }

    /// Returns the next time at which [`Round::tick`] wants to run.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let ends = self.ends.filter(|_| self.pace.votes());
        ends.into_iter().chain(self.asks).min().filter(|_| self.decided.is_none())
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.decided.is_some() {
            return;
        }
        if self.pace.votes() && self.ends.is_some_and(|at| at <= cx.now) {
            self.move_on(cx);
        }
        if self.asks.is_some_and(|at| at <= cx.now) {
            self.ask_span = Span::from_millis(2 * self.ask_span.as_millis()).min(ASK_SPAN_MAX);
            self.asks = Some(cx.now + self.ask_span);
            cx.out.push(RoundEffect::ToAll(self.scene.at()));
        }
        self.progress(cx);
    }

    /// Returns what was decided, once it is.
    #[cfg(test)]
    pub(crate) fn decided(&self) -> Option<&Decision> {
        self.decided.as_deref()
    }

    /// Returns the attempt if messages for it are kept.
    fn kept(&mut self, retry: u32) -> Option<&mut Attempt> {
        let current = self.pace.current;
        let near = retry >= current.saturating_sub(1) && retry <= current.saturating_add(AHEAD);
        near.then(|| self.attempts.entry(retry).or_default())
    }

    fn prune(&mut self) {
        let first = self.pace.current.saturating_sub(1);
        self.attempts = self.attempts.split_off(&first);
    }

    fn on_record(&mut self, cx: &mut Cx<'_>, from: NodeId, of: RecordOf) {
        let RecordOf { session, step, retry, committee, request, record } = of;
        let facts = &self.scene.facts;
        let ours = (session, step, committee) == (facts.session, self.scene.step, facts.committee);
        let due = request == self.scene.request(retry) && from == record.submitter;
        if ours && due && !self.scene.writes() {
            self.note_record(cx, retry, record);
        }
    }

    /// Keeps a record whose signature was checked, unless it is of an attempt far off, or the second
    /// of its member.
    fn note_record(&mut self, cx: &mut Cx<'_>, retry: u32, record: SignedRecord) {
        let node = record.submitter;
        if node == self.scene.me || self.scene.key(&node).is_none() {
            return;
        }
        let (chain, committee) = (self.scene.facts.chain, self.scene.facts.committee);
        let request = self.scene.request(retry);
        let Some(attempt) = self.kept(retry) else { return };
        let Some(first) = attempt.records.get(&node) else {
            attempt.records.insert(node, record);
            return;
        };
        let [first, second] =
            [first, &record].map(|it| Box::new(it.head(chain, committee, request)));
        if first.contradicts(&second) {
            self.accuse(cx, node, Evidence::Records { first, second });
        }
    }

    fn on_open(&mut self, cx: &mut Cx<'_>, from: NodeId, request: &OpenRequest) {
        let OpenRequest { session, step, retry, input_hash, pin } = request;
        if (*session, *step) != (self.scene.facts.session, self.scene.step) {
            return;
        }
        if *input_hash != self.scene.call.input_hash() {
            cx.out
                .push(RoundEffect::Misbehaved { node: from, why: "asks the world another thing" });
            return;
        }
        let fits = from == self.scene.leader(*retry) && pin.is_some() == self.scene.pins();
        if let Some(attempt) = self.kept(*retry).filter(|_| fits) {
            attempt.opened.get_or_insert(*pin);
        }
    }

    fn on_round_vote(&mut self, cx: &mut Cx<'_>, retry: u32, vote: RoundVote) {
        let RoundVote { ballot, node, .. } = &vote;
        let (node, root) = (*node, ballot.root);
        if node == self.scene.me || self.scene.key(&node).is_none() {
            return;
        }
        let votes = match ballot.phase {
            Phase::Intent if self.scene.writes() => {
                let ours = *ballot == self.scene.ballot(0, Phase::Intent, root);
                ours.then_some(&mut self.intents)
            }
            Phase::Intent => None,
            Phase::Prepare => {
                let ours = *ballot == self.scene.ballot(retry, Phase::Prepare, root);
                self.kept(retry).filter(|_| ours).map(|attempt| &mut attempt.prepares)
            }
        };
        let Some(votes) = votes else { return };
        let first = votes.entry(node).or_insert_with(|| vote.clone());
        if first.contradicts(&vote) {
            let (first, second) = (Box::new(first.clone()), Box::new(vote));
            self.accuse(cx, node, Evidence::RoundVotes { first, second });
        }
    }

    fn on_vote(&mut self, cx: &mut Cx<'_>, retry: u32, vote: Vote) {
        let node = vote.node;
        let ours = vote.statement == self.scene.statement(retry, vote.statement.root);
        if node == self.scene.me || self.scene.key(&node).is_none() || !ours {
            return;
        }
        let Some(attempt) = self.kept(retry) else { return };
        let first = attempt.votes.entry(node).or_insert_with(|| vote.clone());
        if first.contradicts(&vote) {
            let (first, second) = (Box::new(first.clone()), Box::new(vote));
            self.accuse(cx, node, Evidence::Equivocation { first, second });
        }
    }

    fn on_advance(&mut self, cx: &mut Cx<'_>, advance: Advance, lock: Option<Box<Lock>>) {
        let node = advance.node;
        if node == self.scene.me {
            return;
        }
        if self.decided.is_some() {
            self.answer(cx, node);
        } else if let Err(why) = self.pace.note(&self.scene, advance, lock) {
            cx.out.push(RoundEffect::Misbehaved { node, why });
        }
    }

    fn on_decided(&mut self, cx: &mut Cx<'_>, from: NodeId, decision: Box<Decision>) {
        let known = self.decided.as_ref().map(|it| it.certificate.statement.root);
        if known == Some(decision.certificate.statement.root) {
            return;
        }
        if let Err(why) = self.scene.check_decision(&decision) {
            cx.out.push(RoundEffect::Misbehaved { node: from, why });
            return;
        }
        self.note_signers(cx, &decision);
        if self.decided.is_none() {
            self.settle(cx, decision);
        }
    }

    /// Compares the votes in a certificate with those that came alone.
    fn note_signers(&mut self, cx: &mut Cx<'_>, decision: &Decision) {
        let certificate = &decision.certificate;
        let signed = |index: usize| {
            certificate.signers.get(index / 8).is_some_and(|b| b >> (index % 8) & 1 == 1)
        };
        let facts = Arc::clone(&self.scene.facts);
        let nodes = facts.members.iter().enumerate().filter(|(index, _)| signed(*index));
        for ((_, (node, _)), signature) in nodes.zip(&certificate.signatures) {
            let (statement, signature) = (certificate.statement, signature.clone());
            self.on_vote(cx, decision.retry, Vote { statement, node: *node, signature });
        }
    }

    /// Hands over evidence, once of each kind for a member.
    fn accuse(&mut self, cx: &mut Cx<'_>, node: NodeId, evidence: Evidence) {
        if self.accused.insert((node, evidence.name())) {
            cx.out.push(RoundEffect::Accuse(Box::new(evidence)));
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>, decision: Box<Decision>) {
        self.decided = Some(decision.clone());
        cx.out.push(RoundEffect::Decided(decision));
    }

    /// Sends a member that waits all that this one has said.
    fn answer(&mut self, cx: &mut Cx<'_>, to: NodeId) {
        let last = self.answered.get(&to);
        let soon = last.is_some_and(|last| cx.now < *last + ANSWER_SPAN);
        if soon || to == self.scene.me || self.scene.key(&to).is_none() {
            return;
        }
        self.answered.insert(to, cx.now);
        let messages = match &self.decided {
            Some(decision) => vec![self.scene.settled(decision)],
            None => self.said(),
        };
        cx.out.extend(messages.into_iter().map(|message| RoundEffect::To(to, message)));
    }

    /// Returns what this member has said that still matters.
    fn said(&self) -> Vec<Message> {
        let (scene, me, retry) = (&self.scene, &self.scene.me, self.pace.current);
        let mut said = Vec::new();
        if let Some((advance, lock)) = self.pace.latest(me) {
            said.push(scene.moving(advance, lock));
        }
        said.extend(self.intents.get(me).map(|vote| scene.voting(0, vote)));
        let Some(attempt) = self.attempts.get(&retry) else { return said };
        if scene.leads(retry) {
            said.extend(attempt.opened.map(|pin| scene.opening(retry, pin)));
        }
        let proposed = attempt.proposed.as_ref();
        said.extend(proposed.map(|proposal| Message::Commit(proposal.clone())));
        let record = attempt.records.get(me).filter(|_| !scene.writes());
        said.extend(record.map(|record| scene.observing(retry, record)));
        said.extend(attempt.prepares.get(me).map(|vote| scene.voting(retry, vote)));
        said.extend(attempt.votes.get(me).map(|vote| scene.attesting(retry, vote)));
        said
    }
}

#[cfg(test)]
mod tests;
