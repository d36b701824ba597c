//! What a running program has, apart from its memory.

use std::fmt;
use std::sync::Arc;

use session_core::Time;
use session_protocol::workload::manifest::Limits;
use session_protocol::workload::oracle::{OracleResult, RequestKind};
use session_protocol::workload::{OracleCall, manifest::Manifest};
use wasmi::errors::{HostError, MemoryError, TableError};
use wasmi::{Memory, ResourceLimiter, StoreContextMut, TrapCode};
use wasmi_core::LimiterError;

use super::bounds::{
    CALL_FUEL, COPY_FUEL, LINE_BYTES_MAX, PAGE_BYTES, TABLE_ELEMENTS_MAX, TABLES_MAX, cut, reason,
};
use super::{Emitted, Job};
use crate::facts::{Answer, Facts, State};

/// The last line of a log that is full.
const LOG_FULL: &str = "(the rest of the log is left out)";

/// What a running program has.
pub(super) struct Host {
    /// What it is run for.
    pub(super) task: Task,
    /// What it is given.
    pub(super) input: Arc<[u8]>,
    /// What it will end with.
    pub(super) output: Vec<u8>,
    /// Its log since the last answer.
    pub(super) log: Log,
    /// What the world answered last, as the program reads it.
    pub(super) answer: Vec<u8>,
    /// Its memory, once one of our functions was called.
    pub(super) memory: Option<Memory>,
    /// Whether its `start` function is running: it cannot be interrupted.
    pub(super) starting: bool,
    /// Whether the machine had no memory for what the program may have.
    pub(super) out_of_memory: bool,
    memory_pages: u32,
}

/// What a program is run for.
pub(super) enum Task {
    /// A session.
    Session(Box<Session>),
    /// A transform: it has nothing but its input.
    Transform,
}

/// What the program of a session has.
pub(super) struct Session {
    /// The session.
    pub(super) facts: Arc<Facts>,
    /// How many checkpoints came before.
    pub(super) segment: u32,
    /// Requests of earlier segments.
    pub(super) calls_before: u32,
    /// What the world answered in this segment.
    pub(super) answers: Arc<Vec<Answer>>,
    /// How many of them the program has.
    pub(super) answered: u32,
    /// The last of those.
    pub(super) last: Option<Answer>,
    /// Where the program wants the answer: pointer and capacity.
    pub(super) buffer: (u32, u32),
    /// The agreed time.
    pub(super) now: Time,
    /// Blocks of randomness that were drawn.
    pub(super) drawn: u32,
    /// What it keeps.
    pub(super) state: Arc<State>,
    /// Bytes of its keys and values.
    pub(super) state_bytes: u64,
    /// What it emitted since the last answer.
    pub(super) emitted: Vec<Emitted>,
    /// How much it emitted before that.
    pub(super) emitted_before: usize,
}

/// What a program logged.
pub(super) struct Log {
    /// Since the last answer.
    pub(super) lines: Vec<String>,
    bytes_left: usize,
    full: bool,
}

/// Why a program does not go on from one of our functions.
#[derive(Clone, Debug)]
pub(super) enum Halt {
    /// It asks the world.
    Asks { kind: RequestKind, call: OracleCall },
    /// It goes on as new.
    Checkpoint,
    /// It failed.
    Failed(String),
    /// It used up its fuel.
    OutOfFuel,
}

impl Halt {
    /// Makes a failure.
    pub(super) fn failed(text: impl AsRef<str>) -> Self {
        Self::Failed(reason(text.as_ref()))
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asks { .. } => f.write_str("the program asks the world"),
            Self::Checkpoint => f.write_str("the program goes on as new"),
            Self::Failed(reason) => f.write_str(reason),
            Self::OutOfFuel => f.write_str(trap_text(TrapCode::OutOfFuel)),
        }
    }
}

impl HostError for Halt {}

/// Returns the reason of a failure: ours, so that no version of the engine changes it.
pub(super) const fn trap_text(code: TrapCode) -> &'static str {
    match code {
        TrapCode::UnreachableCodeReached => "unreachable code was reached",
        TrapCode::MemoryOutOfBounds => "an address outside of the memory was used",
        TrapCode::TableOutOfBounds => "an element outside of a table was used",
        TrapCode::IndirectCallToNull => "an empty element of a table was called",
        TrapCode::IntegerDivisionByZero => "an integer was divided by zero",
        TrapCode::IntegerOverflow => "an integer division overflowed",
        TrapCode::BadConversionToInteger => "a float that is no integer was converted to one",
        TrapCode::StackOverflow => "the stack overflowed",
        TrapCode::BadSignature => "a function was called as one of another type",
        TrapCode::OutOfFuel => "the fuel is used up",
        // Only this machine's: see `Guest`, which lets no session end with them.
        TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory => "out of memory",
    }
}

impl Host {
    pub(super) fn session(job: &Job) -> Self {
        let limits = &job.facts.workload.manifest.limits;
        let bytes = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.len() + value.len()) as u64;
        // Compute steps and requests take turns, and a checkpoint leaves out one request.
        let calls_before = job.first_step.saturating_sub(job.segment) / 2;
        let session = Session {
            facts: Arc::clone(&job.facts),
            segment: job.segment,
            calls_before,
            answers: Arc::clone(&job.answers),
            answered: 0,
            last: None,
            buffer: (0, 0),
            now: job.began,
            drawn: 0,
            state: Arc::clone(&job.state),
            state_bytes: job.state.iter().map(bytes).sum(),
            emitted: Vec::new(),
            emitted_before: 0,
        };
        Self::new(Task::Session(Box::new(session)), Arc::clone(&job.facts.input), limits)
    }

    pub(super) fn transform(input: &[u8], limits: &Limits) -> Self {
        Self::new(Task::Transform, input.into(), limits)
    }

    fn new(task: Task, input: Arc<[u8]>, limits: &Limits) -> Self {
        Self {
            task,
            input,
            output: Vec::new(),
            log: Log { lines: Vec::new(), bytes_left: limits.log_bytes as usize, full: false },
            answer: Vec::new(),
            memory: None,
            starting: true,
            out_of_memory: false,
            memory_pages: limits.memory_pages,
        }
    }

    /// Stops the program when this machine, and it alone, has no memory.
    const fn failed_to_grow(&mut self, out_of_memory: bool) -> Result<(), LimiterError> {
        self.out_of_memory |= out_of_memory;
        if out_of_memory {
            return Err(LimiterError::ResourceLimiterDeniedAllocation);
        }
        Ok(())
    }

    /// Returns what only the program of a session has.
    pub(super) fn of_session(&mut self) -> Result<&mut Session, Halt> {
        match &mut self.task {
            Task::Session(session) => Ok(session),
            Task::Transform => Err(Halt::failed("a transform has its input only")),
        }
    }
}

impl Session {
    pub(super) fn manifest(&self) -> &Manifest {
        &self.facts.workload.manifest
    }

    /// Checks that the program may ask once more.
    pub(super) fn may_ask(&self) -> Result<(), Halt> {
        let calls = self.manifest().limits.calls;
        if self.calls_before.saturating_add(self.answered) >= calls {
            return Err(Halt::failed(format!("more than {calls} requests to the world")));
        }
        Ok(())
    }
}

impl Log {
    /// Takes a line as long as there is room; from the first that has none on, nothing.
    pub(super) fn push(&mut self, line: &[u8]) {
        if self.full {
            return;
        }
        let text = String::from_utf8_lossy(line);
        let line = cut(&text, LINE_BYTES_MAX);
        // An empty line takes room, too.
        match self.bytes_left.checked_sub(line.len() + 1) {
            Some(left) => {
                self.bytes_left = left;
                self.lines.push(line.to_owned());
            }
            None => {
                self.full = true;
                self.lines.push(LOG_FULL.to_owned());
            }
        }
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        Ok(desired <= self.memory_pages as usize * PAGE_BYTES)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn memory_grow_failed(&mut self, error: &MemoryError) -> Result<(), LimiterError> {
        self.failed_to_grow(matches!(error, MemoryError::OutOfSystemMemory))
    }

    fn table_grow_failed(&mut self, error: &TableError) -> Result<(), LimiterError> {
        self.failed_to_grow(matches!(error, TableError::OutOfSystemMemory))
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        1
    }
}

/// Takes fuel for a call of ours.
pub(super) fn charge(
    cx: &mut StoreContextMut<'_, Host>,
    bytes: usize,
    each: u64,
) -> Result<(), Halt> {
    let price = CALL_FUEL.saturating_add(each.saturating_mul(bytes as u64));
    let left = cx.get_fuel().expect("fuel is metered");
    match left.checked_sub(price) {
        Some(left) => {
            cx.set_fuel(left).expect("fuel is metered");
            Ok(())
        }
        None => Err(Halt::OutOfFuel),
    }
}

/// Gives the program the next answer, if there is one, and returns its length.
pub(super) fn answer(cx: &mut StoreContextMut<'_, Host>) -> Result<Option<u32>, Halt> {
    let session = cx.data_mut().of_session()?;
    let Some(next) = session.answers.get(session.answered as usize).cloned() else {
        return Ok(None);
    };
    let bytes = match &next.result {
        OracleResult::Value { bytes } => [&[0], &**bytes].concat(),
        OracleResult::Failed { fault } => format!("\u{1}{fault}").into_bytes(),
        OracleResult::NoConsensus => b"\x01no consensus".to_vec(),
    };
    session.now = session.now.max(next.time);
    session.answered += 1;
    session.last = Some(next);
    session.emitted_before += session.emitted.len();
    session.emitted.clear();
    let buffer = session.buffer;
    let host = cx.data_mut();
    host.log.lines.clear();
    host.answer = bytes;
    fetch_answer(cx, buffer).map(Some)
}

/// Copies the last answer to the program and returns its length.
pub(super) fn fetch_answer(
    cx: &mut StoreContextMut<'_, Host>,
    (pointer, capacity): (u32, u32),
) -> Result<u32, Halt> {
    let answer = std::mem::take(&mut cx.data_mut().answer);
    let length = give(cx, &answer, pointer, capacity);
    cx.data_mut().answer = answer;
    length
}

/// Copies as much of `bytes` to the program as its buffer holds, and returns their full length.
pub(super) fn give(
    cx: &mut StoreContextMut<'_, Host>,
    bytes: &[u8],
    pointer: u32,
    capacity: u32,
) -> Result<u32, Halt> {
    let memory = cx.data().memory.ok_or_else(outside)?;
    let part = &bytes[..bytes.len().min(capacity as usize)];
    charge(cx, part.len(), COPY_FUEL)?;
    let start = pointer as usize;
    let room = memory.data_mut(&mut *cx).get_mut(start..start + capacity as usize);
    room.ok_or_else(outside)?[..part.len()].copy_from_slice(part);
    Ok(u32::try_from(bytes.len()).expect("nothing that a program gets is that long"))
}

/// Checks that a buffer is inside the memory.
pub(super) fn check_room(
    cx: &mut StoreContextMut<'_, Host>,
    (pointer, capacity): (u32, u32),
) -> Result<(), Halt> {
    let memory = cx.data().memory.ok_or_else(outside)?;
    let end = u64::from(pointer) + u64::from(capacity);
    if end > memory.data(&*cx).len() as u64 {
        return Err(outside());
    }
    Ok(())
}

/// Returns the failure of a pointer that leads nowhere.
pub(super) fn outside() -> Halt {
    Halt::failed(trap_text(TrapCode::MemoryOutOfBounds))
}
