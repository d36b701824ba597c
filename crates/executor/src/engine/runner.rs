//! All programs that run in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{Digest, SessionId};
use session_protocol::workload::blob_id;
use session_protocol::workload::manifest::Limits;

use super::guest::{self, Guest};
use super::program::Program;
use super::{BadModule, Job, Ran, Stop, bounds, state_digest};

/// Bytes of the modules that are kept compiled; compiled they are several times as large.
const MODULE_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// Runs programs, and keeps some of them where they wait.
pub struct Runner {
    live_max: usize,
    live: BTreeMap<SessionId, (u64, Guest)>,
    programs: BTreeMap<Digest, Compiled>,
    /// Rises with every use.
    clock: u64,
}

struct Compiled {
    program: Arc<Program>,
    /// The bytes in which a transform's module was found, so that they are hashed once.
    source: Arc<[u8]>,
    used: u64,
}

impl Runner {
    /// Makes a runner that keeps at most so many programs where they wait. The one that waits
    /// longest goes first; it is then run again from the start of its segment.
    #[must_use]
    pub const fn new(live_max: usize) -> Self {
        Self { live_max, live: BTreeMap::new(), programs: BTreeMap::new(), clock: 0 }
    }

    /// Returns how many programs are kept where they wait.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Drops what is kept of a session.
    pub fn forget(&mut self, session: &SessionId) {
        self.live.remove(session);
    }

    /// Runs a program as far as the answers go.
    pub fn run(&mut self, job: &Job) -> Ran {
        let session = job.facts.session;
        let kept = self.live.remove(&session).filter(|(_, guest)| guest.can_go_on(job));
        let (ran, guest) = match kept {
            Some((_, guest)) => guest.go_on(job),
            None => match self.program_of(job) {
                Ok(program) => Guest::begin(&program, job),
                Err(reason) => (not_run(job, reason), None),
            },
        };
        if let Some(guest) = guest {
            self.keep(session, guest);
        }
        ran
    }

    /// Runs an exported function over an answer of the world.
    ///
    /// # Errors
    /// Why it failed: the same text on every machine.
    pub fn transform(
        &mut self,
        module: &Arc<[u8]>,
        limits: &Limits,
        function: &str,
        input: &[u8],
    ) -> Result<Vec<u8>, String> {
        let known = self.programs.iter().find(|(_, one)| Arc::ptr_eq(&one.source, module));
        let name = known.map_or_else(|| blob_id(module), |(name, _)| *name);
        let program = self.program(name, module, limits).map_err(|error| error.reason())?;
        program.check_function(function).map_err(|error| error.reason())?;
        guest::transform(&program, limits, function, input)
    }

    fn keep(&mut self, session: SessionId, guest: Guest) {
        let now = self.tick();
        self.live.insert(session, (now, guest));
        while self.live.len() > self.live_max {
            let oldest = self.live.iter().min_by_key(|(_, (used, _))| *used);
            let Some(session) = oldest.map(|(session, _)| *session) else { break };
            self.live.remove(&session);
        }
    }

    fn program_of(&mut self, job: &Job) -> Result<Arc<Program>, String> {
        let workload = &job.facts.workload;
        let known = self.programs.contains_key(&workload.module);
        if !known && blob_id(&job.facts.module) != workload.module {
            return Err("the module is not the one that the workload names".into());
        }
        let limits = &workload.manifest.limits;
        self.program(workload.module, &job.facts.module, limits).map_err(|error| error.reason())
    }

    /// Returns the module of this name, compiled now or before.
    fn program(
        &mut self,
        name: Digest,
        module: &Arc<[u8]>,
        limits: &Limits,
    ) -> Result<Arc<Program>, BadModule> {
        let now = self.tick();
        if let Some(known) = self.programs.get_mut(&name) {
            known.used = now;
            known.program.admit(limits)?;
            return Ok(Arc::clone(&known.program));
        }
        let program = Arc::new(Program::compile(module, limits)?);
        let source = Arc::clone(module);
        let compiled = Compiled { program: Arc::clone(&program), source, used: now };
        self.programs.insert(name, compiled);
        self.drop_programs();
        Ok(program)
    }

    /// Drops the compiled modules that were not used for longest, but never the last one.
    fn drop_programs(&mut self) {
        let mut bytes: usize = self.programs.values().map(|one| one.program.bytes()).sum();
        while bytes > MODULE_BYTES_KEPT && self.programs.len() > 1 {
            let oldest = self.programs.iter().min_by_key(|(_, one)| one.used);
            let Some(name) = oldest.map(|(name, _)| *name) else { break };
            if let Some(dropped) = self.programs.remove(&name) {
                bytes -= dropped.program.bytes();
            }
        }
    }

    const fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// Reports a program that cannot even begin.
fn not_run(job: &Job, reason: String) -> Ran {
    Ran {
        session: job.facts.session,
        segment: job.segment,
        answers: 0,
        fuel: 0,
        state: state_digest(&job.state),
        emitted: Vec::new(),
        logs: Vec::new(),
        stop: Stop::Failed { reason: bounds::reason(&reason) },
    }
}
