//! What this node asks members for somebody else: questions about sessions that it does not run, and
//! the news that it has the program of one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use session_core::{Digest, NodeId, SessionId, Span, Time};
use session_protocol::chain::view::OpenSession;
use session_protocol::workload::Message;
use session_protocol::workload::message::{Answer, Question, SessionCreate, SessionRefusal, Talk};

use super::{Cx, Effect, answers};
use crate::session::send;

/// Questions that wait for members.
const QUESTIONS_MAX: usize = 1_024;
/// Sessions of which members are still to hear.
const CREATED_MAX: usize = 4_096;
/// Ended sessions whose members are remembered: 21 ids each.
const PAST_MAX: usize = 10_000;
/// How long a member may take for an answer, connecting included.
const MEMBER_TIMEOUT: Span = Span::from_secs(4);
/// How long the chain may take to show a session that was created.
const CHAIN_TIMEOUT: Span = Span::from_secs(30);

/// A question on its way.
struct Forward {
    caller: u64,
    question: Question,
    nodes: VecDeque<NodeId>,
    sent: bool,
    until: Time,
}

/// A session whose program is here.
struct Creation {
    create: SessionCreate,
    /// Who waits for the chain to show it.
    caller: Option<u64>,
    /// Members that have not heard yet.
    untold: BTreeSet<NodeId>,
    until: Time,
}

/// What is asked and told elsewhere.
#[derive(Default)]
pub(super) struct Forwards {
    next: u64,
    questions: BTreeMap<u64, Forward>,
    created: BTreeMap<SessionId, Creation>,
    past: BTreeMap<SessionId, Arc<[NodeId]>>,
    past_order: VecDeque<SessionId>,
}

impl Forwards {
    /// Returns whom it needs to reach.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let asked = self.questions.values().filter_map(|forward| forward.nodes.front().copied());
        asked.chain(self.created.values().flat_map(|creation| creation.untold.iter().copied()))
    }

    /// Remembers the members of sessions that the chain no longer shows.
    pub(super) fn ended<'a>(
        &mut self,
        before: impl Iterator<Item = (&'a SessionId, &'a Arc<OpenSession>)>,
        now: &BTreeMap<SessionId, Arc<OpenSession>>,
    ) {
        for (id, open) in before.filter(|(id, _)| !now.contains_key(id)) {
            let members = open.committee.members.iter().map(|(node, _)| *node).collect();
            if self.past.insert(*id, members).is_none() {
                self.past_order.push_back(*id);
            }
            if self.past_order.len() > PAST_MAX
                && let Some(oldest) = self.past_order.pop_front()
            {
                self.past.remove(&oldest);
            }
        }
    }

    /// Returns the members of a session that the chain no longer shows.
    pub(super) fn past(&self, id: &SessionId) -> Option<Vec<NodeId>> {
        self.past.get(id).map(|members| members.to_vec())
    }

    /// Asks members one after the other.
    pub(super) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        up: &BTreeSet<NodeId>,
        caller: u64,
        question: Question,
        nodes: Vec<NodeId>,
    ) {
        if self.questions.len() >= QUESTIONS_MAX || nodes.is_empty() {
            return refuse(cx, caller, answers::other("too many questions wait; try later"));
        }
        // Who is connected answers first.
        let (mut near, far): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| up.contains(node));
        near.extend(far);
        let id = self.next;
        self.next += 1;
        let until = cx.now + MEMBER_TIMEOUT;
        let mut forward = Forward { caller, question, nodes: near.into(), sent: false, until };
        forward.send(cx, up, id);
        self.questions.insert(id, forward);
    }

    /// A member answered.
    pub(super) fn answered(&mut self, cx: &mut Cx<'_>, node: NodeId, id: u64, answer: Answer) {
        let Some(forward) = self.questions.get_mut(&id) else { return };
        if forward.nodes.front() != Some(&node) || !forward.sent {
            return;
        }
        let unknown = matches!(answer, Answer::Refused { refusal: SessionRefusal::NotFound });
        if unknown && forward.nodes.len() > 1 {
            // The next member is asked with the next tick.
            forward.until = cx.now;
            return;
        }
        if let Some(forward) = self.questions.remove(&id) {
            cx.effects.push(Effect::Answer { id: forward.caller, answer });
        }
    }

    /// A node can be reached: it hears what it was not told.
    pub(super) fn peer_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let up = BTreeSet::from([node]);
        for (id, forward) in &mut self.questions {
            forward.send(cx, &up, *id);
        }
        for creation in self.created.values_mut() {
            creation.tell(cx, &up);
        }
        self.created.retain(|_, creation| !creation.is_done());
    }

    /// Tells the members of a session that its program is here.
    pub(super) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        up: &BTreeSet<NodeId>,
        create: SessionCreate,
        members: BTreeSet<NodeId>,
        deadline: Time,
    ) {
        let session = create.session;
        let mut creation = Creation { create, caller: None, untold: members, until: deadline };
        creation.tell(cx, up);
        if !creation.is_done() && self.created.len() < CREATED_MAX {
            self.created.insert(session, creation);
        }
    }

    /// Waits for the chain to show a session.
    pub(super) fn await_chain(&mut self, cx: &mut Cx<'_>, caller: u64, create: SessionCreate) {
        if self.created.len() >= CREATED_MAX {
            return refuse(cx, caller, answers::other("too many sessions wait; try later"));
        }
        let (session, until) = (create.session, cx.now + CHAIN_TIMEOUT);
        let untold = BTreeSet::new();
        let creation = Creation { create, caller: Some(caller), untold, until };
        if let Some(Creation { caller: Some(before), .. }) = self.created.insert(session, creation)
        {
            refuse(cx, before, answers::other("the session was created again"));
        }
    }

    /// Takes out those that wait for a session that the chain shows now.
    pub(super) fn take_shown(
        &mut self,
        shown: &BTreeMap<SessionId, Arc<OpenSession>>,
    ) -> Vec<(u64, SessionCreate)> {
        let ids: Vec<SessionId> = self
            .created
            .iter()
            .filter(|(id, creation)| creation.caller.is_some() && shown.contains_key(id))
            .map(|(id, _)| *id)
            .collect();
        let take = |id| {
            let creation = self.created.remove(&id)?;
            Some((creation.caller?, creation.create))
        };
        ids.into_iter().filter_map(take).collect()
    }

    /// Returns when [`Forwards::tick`] wants to run.
    pub(super) fn deadline(&self) -> Option<Time> {
        let questions = self.questions.values().map(|forward| forward.until);
        questions.chain(self.created.values().map(|creation| creation.until)).min()
    }

    /// Asks the next member where one was silent, and gives up what took too long.
    pub(super) fn tick(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>) {
        self.questions.retain(|id, forward| {
            if forward.until > cx.now {
                return true;
            }
            forward.nodes.pop_front();
            (forward.sent, forward.until) = (false, cx.now + MEMBER_TIMEOUT);
            if forward.nodes.is_empty() {
                refuse(cx, forward.caller, answers::other("no member of the session answers"));
                return false;
            }
            forward.send(cx, up, *id);
            true
        });
        self.created.retain(|_, creation| {
            let keep = creation.until > cx.now;
            if let (false, Some(caller)) = (keep, creation.caller) {
                refuse(cx, caller, SessionRefusal::NotFound);
            }
            keep
        });
    }
}

impl Forward {
    fn send(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>, id: u64) {
        if let Some(node) = self.nodes.front().filter(|node| up.contains(node) && !self.sent) {
            let question = self.question.clone();
            send(cx, vec![*node], Message::Talk(Box::new(Talk::Ask { id, question })));
            self.sent = true;
        }
    }
}

impl Creation {
    fn tell(&mut self, cx: &mut Cx<'_>, up: &BTreeSet<NodeId>) {
        let nodes: Vec<NodeId> = self.untold.intersection(up).copied().collect();
        self.untold.retain(|node| !up.contains(node));
        send(cx, nodes, Message::Create(self.create.clone()));
    }

    fn is_done(&self) -> bool {
        self.caller.is_none() && self.untold.is_empty()
    }
}

fn refuse(cx: &mut Cx<'_>, id: u64, refusal: SessionRefusal) {
    cx.effects.push(Effect::Answer { id, answer: Answer::Refused { refusal } });
}

/// Returns the session that a question is about.
pub(super) const fn session_of(question: &Question) -> SessionId {
    match question {
        Question::Session { session }
        | Question::Logs { session, .. }
        | Question::Bundle { session, .. }
        | Question::Start { session }
        | Question::Finalize { session } => *session,
    }
}

/// Returns the names of the blobs that a creation names.
pub(super) const fn blobs_of(create: &SessionCreate) -> [Digest; 2] {
    [create.program, create.input]
}
