//! One program that runs.

use std::sync::Arc;

use session_protocol::workload::manifest::Limits;
use wasmi::{AsContextMut as _, Error, Store, TypedResumableCall, TypedResumableCallHostTrap, Val};

use super::bounds::TRANSFORM_FUEL_MAX;
use super::host::{Halt, Host, Session, Task, answer, trap_text};
use super::program::{Program, RUN, start_text};
use super::{Job, Ran, Stop, state_digest};

type Waiting = TypedResumableCallHostTrap<()>;
type Call = TypedResumableCall<()>;

/// A program that waits for an answer.
pub(super) struct Guest {
    store: Store<Host>,
    call: Waiting,
}

impl Guest {
    /// Runs the program of a session from the start of a segment, as far as the answers go.
    pub(super) fn begin(program: &Program, job: &Job) -> (Ran, Option<Self>) {
        let fuel = job.facts.workload.manifest.limits.fuel;
        let mut store = program.store(Host::session(job), fuel);
        let result = start(program, &mut store, RUN);
        Self::settle(store, result)
    }

    /// Runs it on with more answers.
    pub(super) fn go_on(self, job: &Job) -> (Ran, Option<Self>) {
        let Self { mut store, call } = self;
        if let Task::Session(session) = &mut store.data_mut().task {
            session.answers = Arc::clone(&job.answers);
        }
        let result = match answer(&mut store.as_context_mut()) {
            Ok(Some(length)) => {
                call.resume(&mut store, &[Val::I32(length.cast_signed())]).map_err(Failure::from)
            }
            Ok(None) => Ok(Call::HostTrap(call)),
            Err(halt) => Err(Failure::Halt(halt)),
        };
        Self::settle(store, result)
    }

    /// Returns whether this waits at a place before the job's last answer, of the same history.
    pub(super) fn can_go_on(&self, job: &Job) -> bool {
        let Some(session) = session(&self.store) else { return false };
        let answered = session.answered as usize;
        let last = answered.checked_sub(1).and_then(|last| job.answers.get(last));
        session.segment == job.segment
            && answered < job.answers.len()
            && session.last.as_ref() == last
    }

    /// Makes the report of a session's program.
    fn settle(mut store: Store<Host>, result: Result<Call, Failure>) -> (Ran, Option<Self>) {
        assert!(!store.data().out_of_memory, "the machine has no memory for a program");
        let (halt, call) = match result {
            Ok(Call::Finished(())) => (None, None),
            Ok(Call::HostTrap(call)) => (Some(halt_of(call.host_error())), Some(call)),
            Ok(Call::OutOfFuel(_)) => (Some(Halt::OutOfFuel), None),
            Err(failure) => (Some(failure.halt()), None),
        };
        let fuel_left = match halt {
            Some(Halt::OutOfFuel) => 0,
            _ => store.get_fuel().expect("fuel is metered"),
        };
        let host = store.data_mut();
        let logs = host.log.lines.clone();
        let Task::Session(session) = &mut host.task else { unreachable!("a session's program") };
        // Whoever has them goes on adding to them, without a copy for us.
        session.answers = Arc::default();
        let stop = match halt {
            None => Stop::Finished { output: std::mem::take(&mut host.output) },
            Some(Halt::Asks { kind, call }) => Stop::Asks { kind, call },
            Some(Halt::Checkpoint) => Stop::Checkpoint { state: Arc::clone(&session.state) },
            Some(Halt::Failed(reason)) => Stop::Failed { reason },
            Some(halt @ Halt::OutOfFuel) => Stop::Failed { reason: halt.to_string() },
        };
        let ran = Ran {
            session: session.facts.session,
            segment: session.segment,
            answers: session.answered,
            fuel: session.facts.workload.manifest.limits.fuel - fuel_left,
            state: state_digest(&session.state),
            emitted: session.emitted.clone(),
            logs,
            stop,
        };
        let guest = match (&ran.stop, call) {
            (Stop::Asks { .. }, Some(call)) => Some(Self { store, call }),
            _ => None,
        };
        (ran, guest)
    }
}

fn session(store: &Store<Host>) -> Option<&Session> {
    match &store.data().task {
        Task::Session(session) => Some(session),
        Task::Transform => None,
    }
}

/// Runs a transform.
pub(super) fn transform(
    program: &Program,
    limits: &Limits,
    function: &str,
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let fuel = limits.fuel.min(TRANSFORM_FUEL_MAX);
    let mut store = program.store(Host::transform(input, limits), fuel);
    let result = start(program, &mut store, function);
    assert!(!store.data().out_of_memory, "the machine has no memory for a transform");
    match result {
        Ok(Call::Finished(())) => Ok(store.into_data().output),
        Ok(Call::HostTrap(call)) => Err(halt_of(call.host_error()).to_string()),
        Ok(Call::OutOfFuel(_)) => Err(Halt::OutOfFuel.to_string()),
        Err(failure) => Err(failure.halt().to_string()),
    }
}

/// Why a program did not even wait.
enum Failure {
    /// It was stopped.
    Halt(Halt),
    /// The engine stopped it.
    Engine(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    fn halt(self) -> Halt {
        match self {
            Self::Halt(halt) => halt,
            Self::Engine(error) => halt_of(&error),
        }
    }
}

fn start(program: &Program, store: &mut Store<Host>, function: &str) -> Result<Call, Failure> {
    let instance = program.instantiate(store)?;
    let function = instance.get_typed_func::<(), ()>(&*store, function)?;
    Ok(function.call_resumable(&mut *store, ())?)
}

/// Returns why the program stopped, in our words.
fn halt_of(error: &Error) -> Halt {
    if let Some(halt) = error.downcast_ref::<Halt>() {
        return halt.clone();
    }
    match error.as_trap_code() {
        Some(wasmi::TrapCode::OutOfFuel) => Halt::OutOfFuel,
        Some(wasmi::TrapCode::OutOfSystemMemory) => {
            panic!("the machine has no memory for a program")
        }
        Some(code) => Halt::failed(trap_text(code)),
        None => Halt::failed(start_text(error)),
    }
}
