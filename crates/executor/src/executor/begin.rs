//! How sessions begin: from the chain's view or from their journals, once their programs are here.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::{Digest, List, NodeId, SessionId};
use session_protocol::chain::view::{OpenSession, SessionCommittee};
use session_protocol::workload::message::SessionCreate;
use session_protocol::workload::{INPUT_BYTES_MAX, MODULE_BYTES_MAX};

use super::queue::Need;
use super::{Cx, Effect, Executor, Message, Note};
use crate::blobs::{Blobs, PULLS_MAX};
use crate::bundle::Member;
use crate::facts::Facts;
use crate::journal::{self, Created, Entry, Journal};
use crate::session::Session;
use crate::session::state::State;

/// The longest workload, as its creator uploads it.
const WORKLOAD_BYTES_MAX: usize = MODULE_BYTES_MAX;

impl Executor {
    /// Reads the journals, once, and goes on with what was interrupted.
    pub(super) fn recover(&mut self, cx: &mut Cx<'_>) {
        if self.recovered {
            return;
        }
        self.recovered = true;
        self.blobs = Blobs::open(cx.store, cx.now);
        for (id, expiry) in journal::sessions(cx.store) {
            if let Some(at) = super::ended::ended_at(cx.store, &id) {
                self.ended.note(id, at);
                continue;
            }
            match journal::read(cx.store, &id, 0) {
                Some(Entry::Created { facts }) => {
                    let open = Arc::new(open_session(&facts));
                    self.take_up(cx, id, open, &facts);
                }
                // Its first entry was never durable: nobody heard of it.
                _ if journal::remove(cx.store, &id).is_ok() => {}
                _ => self.ended.note_until(id, expiry),
            }
        }
    }

    /// Goes on with a session that has a journal, or waits for what it needs.
    fn take_up(&mut self, cx: &mut Cx<'_>, id: SessionId, open: Arc<OpenSession>, made: &Created) {
        match self.facts(cx, id, &open, made.chain) {
            Ok(facts) => self.resume(cx, facts),
            Err(need) => self.queue.put(id, open, need),
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>, facts: Facts) {
        let (id, expiry) = (facts.session, journal::expiry(facts.deadline));
        let resumed = match Journal::open(cx.store, id) {
            Ok(read) => Session::resume(cx, Arc::clone(&self.config), Arc::new(facts), read)
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match resumed {
            Ok(session) => self.enter(cx, session),
            Err(why) => {
                self.ended.note_until(id, expiry);
                cx.effects.push(Effect::Note(Note::BadJournal { session: id, why }));
            }
        }
    }

    fn enter(&mut self, cx: &mut Cx<'_>, session: Session) {
        let id = session.id();
        let rank = super::chain::rank_of(session.facts(), &self.config.node);
        self.submissions.add(id, super::chain::turn(cx.now, rank));
        self.watch.begin(session.facts().members.iter().map(|(node, _)| *node));
        self.active.insert(id, Box::new(session));
        self.moved(cx, id, State::Pending);
    }

    /// Lets sessions begin, in the order of their creation, while there is room.
    pub(super) fn fill(&mut self, cx: &mut Cx<'_>) {
        while self.active.len() < self.config.sessions_max
            && let Some((id, open)) = self.queue.next()
        {
            self.begin(cx, id, open);
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, id: SessionId, open: Arc<OpenSession>) {
        let journaled = match journal::read(cx.store, &id, 0) {
            Some(Entry::Created { facts }) => Some(facts),
            _ => None,
        };
        let chain = journaled.as_ref().map(|created| created.chain);
        let Some(chain) = chain.or(self.view.as_ref().map(|view| view.chain)) else { return };
        let facts = match self.facts(cx, id, &open, chain) {
            Ok(facts) => facts,
            // A blob is damaged, as it turns out now.
            Err(need) => return self.queue.put(id, open, need),
        };
        if journaled.is_some() {
            return self.resume(cx, facts);
        }
        let Some(created) = created(&facts, &open) else { return };
        let session = Session::begin(cx, Arc::clone(&self.config), Arc::new(facts), created);
        self.enter(cx, session);
    }

    /// Returns what a session is made of, or what it lacks.
    fn facts(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        open: &OpenSession,
        chain: session_core::ChainId,
    ) -> Result<Facts, Need> {
        match self.need(cx, open) {
            Need::Turn => {}
            need => return Err(need),
        }
        let lacks = |blob: &Digest| Need::Blob(*blob);
        let workload = match self.cache.workload(&mut self.blobs, cx.store, &open.program) {
            Some(Ok(workload)) => workload,
            Some(Err(_)) => return Err(Need::Never),
            None => return Err(lacks(&open.program)),
        };
        let module = self.cache.blob(&mut self.blobs, cx.store, &workload.module);
        let module = module.ok_or(lacks(&workload.module))?;
        let input = self.cache.blob(&mut self.blobs, cx.store, &open.input);
        let input = input.ok_or(lacks(&open.input))?;
        Ok(Facts {
            chain,
            session: id,
            service: open.service,
            epoch: open.epoch,
            tx: open.tx,
            randomness: open.randomness,
            created: open.created,
            deadline: open.deadline,
            committee: open.committee.root,
            members: Arc::clone(&open.committee.members),
            workload: (*workload).clone(),
            module,
            input,
        })
    }

    /// Returns what a session needs to begin, and keeps for it what is here.
    pub(super) fn need(&mut self, cx: &mut Cx<'_>, open: &OpenSession) -> Need {
        let until = journal::expiry(open.deadline);
        let program = match self.held(cx, &open.program, WORKLOAD_BYTES_MAX, until) {
            Need::Turn => self.cache.workload(&mut self.blobs, cx.store, &open.program),
            need => return need,
        };
        let module = match program {
            Some(Ok(workload)) => workload.module,
            Some(Err(_)) => return Need::Never,
            None => return Need::Blob(open.program),
        };
        match self.held(cx, &module, MODULE_BYTES_MAX, until) {
            Need::Turn => self.held(cx, &open.input, INPUT_BYTES_MAX, until),
            need => need,
        }
    }

    fn held(
        &mut self,
        cx: &mut Cx<'_>,
        blob: &Digest,
        max: usize,
        until: session_core::Time,
    ) -> Need {
        match self.blobs.length(blob) {
            None => Need::Blob(*blob),
            Some(length) if length as usize > max => Need::Never,
            Some(_) => {
                if self.blobs.pin(cx.store, blob, until).is_err() {
                    let doing = "keeping a program or an input for a session";
                    cx.effects.push(Effect::Note(Note::StoreFailed { doing }));
                }
                // A damaged one is found when it is written anew.
                if self.blobs.has(blob) { Need::Turn } else { Need::Blob(*blob) }
            }
        }
    }

    /// A node has the program of a session.
    pub(super) fn offered(&mut self, cx: &mut Cx<'_>, node: NodeId, create: &SessionCreate) {
        let id = create.session;
        if self.queue.has(&id) {
            self.queue.offer(id, node);
            for blob in [&create.program, &create.input] {
                self.blobs.offered(cx, &self.up, node, blob);
            }
        } else if !self.active.contains_key(&id) && !self.ended.has(&id) {
            self.early.keep(cx.now, id, node, Message::Create(create.clone()));
        }
    }

    /// Takes in a session that the chain shows, with who offered its program before.
    pub(super) fn wait(&mut self, cx: &mut Cx<'_>, id: SessionId, open: &Arc<OpenSession>) {
        let need = self.need(cx, open);
        self.queue.put(id, Arc::clone(open), need);
        if !self.queue.has(&id) {
            return;
        }
        for (node, message) in self.early.take(&id) {
            match message {
                Message::Create(_) => self.queue.offer(id, node),
                other => self.early.keep(cx.now, id, node, other),
            }
        }
    }

    /// A blob is here now: sessions that needed it need something else.
    pub(super) fn blob_came(&mut self, cx: &mut Cx<'_>, blob: &Digest) {
        for (id, open) in self.queue.needing(blob) {
            let need = self.need(cx, &open);
            self.queue.put(id, open, need);
        }
    }

    /// Pulls what the oldest sessions lack.
    pub(super) fn pull_missing(&mut self, cx: &mut Cx<'_>) {
        let lacking = self.queue.oldest_lacking(PULLS_MAX);
        let needed: BTreeSet<Digest> = lacking.iter().map(|(_, _, blob)| *blob).collect();
        self.blobs.retain_pulls(&needed);
        for (id, open, blob) in lacking {
            let max = if blob == open.input { INPUT_BYTES_MAX } else { MODULE_BYTES_MAX };
            let offers = self.queue.offers(&id).iter().copied();
            let members = open.committee.members.iter().map(|(node, _)| *node);
            let me = self.config.node;
            let sources = offers.chain(members).filter(|node| *node != me);
            self.blobs.pull(cx, &self.up, blob, max, sources);
        }
    }
}

fn created(facts: &Facts, open: &OpenSession) -> Option<Box<Created>> {
    let member = |(node, key): &(NodeId, _)| Member { node: *node, key: Clone::clone(key) };
    let members: Vec<Member> = facts.members.iter().map(member).collect();
    Some(Box::new(Created {
        chain: facts.chain,
        session: facts.session,
        service: facts.service,
        epoch: facts.epoch,
        tx: facts.tx,
        randomness: facts.randomness,
        created: facts.created,
        deadline: facts.deadline,
        committee: facts.committee,
        members: List::new(members).ok()?,
        program: open.program,
        input: open.input,
    }))
}

/// Returns what the chain showed of a session, from its journal.
fn open_session(created: &Created) -> OpenSession {
    let members = created.members.iter().map(|one| (one.node, one.key.clone())).collect();
    let committee = SessionCommittee { root: created.committee, members: Arc::new(members) };
    OpenSession {
        service: created.service,
        epoch: created.epoch,
        tx: created.tx,
        program: created.program,
        input: created.input,
        committee: Arc::new(committee),
        randomness: created.randomness,
        created: created.created,
        deadline: created.deadline,
        started: None,
    }
}
