//! People who bring sessions: they order them on the chain, upload them anywhere, and try again
//! until they begin.

use session_core::{Digest, Entropy, SessionId, Span, Time};
use session_executor::Input;
use session_protocol::chain::Action;
use session_protocol::workload::blob_id;

use super::programs::{self, Program};
use super::world::{Broken, Event, World};

/// Time between two looks at how it goes.
const LOOK_EVERY: Span = Span::from_secs(2);
/// After this long somebody tries another node.
const PATIENCE: Span = Span::from_secs(8);

/// A session that somebody wants.
pub(crate) struct Errand {
    program: usize,
    input: Vec<u8>,
    ordered: Option<Time>,
    pub(crate) session: Option<SessionId>,
    brought: Option<Time>,
}

impl Errand {
    pub(crate) fn input_id(&self) -> Digest {
        blob_id(&self.input)
    }
}

/// Everybody, and what each wants.
pub(crate) struct People {
    programs: Vec<Program>,
    errands: Vec<Errand>,
    /// Everybody orders one session only.
    once: bool,
    /// Nobody orders anything new.
    pub(crate) silent: bool,
    /// The number of the next input and the next question.
    next: u64,
}

impl People {
    pub(crate) fn new(people: usize) -> Self {
        let empty = || Errand {
            program: 0,
            input: Vec::new(),
            ordered: None,
            session: None,
            brought: None,
        };
        let errands = (0..people).map(|_| empty()).collect();
        Self { programs: programs::all(), errands, once: false, silent: false, next: 0 }
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl World {
    pub(super) fn begin_errands(&mut self) {
        for number in 0..self.people.errands.len() {
            self.new_errand(number);
        }
    }

    fn new_errand(&mut self, number: usize) {
        let input = format!("input {}", self.people.number());
        let program = self.rng.below(self.people.programs.len() as u64) as usize;
        self.people.errands[number] = Errand {
            program,
            input: input.into_bytes(),
            ordered: None,
            session: None,
            brought: None,
        };
        let later = Span::from_millis(1_000 + self.rng.below(9_000));
        self.queue.plan(self.now + later, Event::Errand(number));
    }

    /// Nobody wants anything but that this program runs once.
    #[cfg(test)]
    pub(super) fn only_errand(&mut self, program: usize) {
        self.people.errands[0].program = program;
        self.people.once = true;
    }

    pub(super) fn errand(&mut self, number: usize) -> Result<(), Broken> {
        let errand = &self.people.errands[number];
        let Some(session) = errand.session else {
            self.order_or_find(number);
            self.queue.plan(self.now + LOOK_EVERY, Event::Errand(number));
            return Ok(());
        };
        let Some(open) = self.view().sessions.get(&session).cloned() else {
            if !self.people.silent && !self.people.once {
                self.new_errand(number);
            }
            return Ok(());
        };
        let tired = errand.brought.is_none_or(|at| self.now >= at + PATIENCE);
        if open.started.is_none() && tired {
            self.people.errands[number].brought = Some(self.now);
            self.bring(number, session)?;
        }
        self.queue.plan(self.now + LOOK_EVERY, Event::Errand(number));
        Ok(())
    }

    fn order_or_find(&mut self, number: usize) {
        let errand = &self.people.errands[number];
        if let Some((id, _)) = self.open_with(errand) {
            self.people.errands[number].session = Some(id);
        } else if errand.ordered.is_none() && !self.people.silent {
            let program = blob_id(&self.people.programs[errand.program].workload);
            let input = errand.input_id();
            // Some are in more of a hurry than their programs.
            let hurry = self.rng.below(12) == 0 && !self.people.once;
            let seconds = if hurry { 6 } else { 60 + self.rng.below(120) };
            let (service, time_max) =
                ([self.rng.below(3) as u8; 32].into(), Span::from_secs(seconds));
            let action = Action::CreateSession { service, program, input, time_max };
            self.blocks.order_as_operator(action);
            self.people.errands[number].ordered = Some(self.now);
        }
    }

    /// Uploads everything to some node, and tells it of the session.
    fn bring(&mut self, number: usize, session: SessionId) -> Result<(), Broken> {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let errand = &self.people.errands[number];
        let program = self.people.programs[errand.program].clone();
        let bytes = errand.input.clone();
        let (workload, input) = (blob_id(&program.workload), blob_id(&bytes));
        for bytes in [program.module.to_vec(), program.workload, bytes] {
            let id = self.people.number();
            self.input(node, Input::Put { id, bytes })?;
            self.nodes[node].stored.remove(&id);
        }
        let id = self.people.number();
        self.input(node, Input::Create { id, session, program: workload, input })
    }
}
