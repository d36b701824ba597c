//! Limits, the engine's set-up, and the name of both.

use session_core::{Digest, Domain, digest};
use session_protocol::workload::manifest::Limits;
use session_protocol::workload::{INPUT_BYTES_MAX, MODULE_BYTES_MAX, OUTPUT_BYTES_MAX};
use wasmi::{CompilationMode, Config, EnforcedLimits};

use super::program::BadModule;

/// The engine. Fuel and the texts of its faults are specific to its version.
const ENGINE: &str = "wasmi 2.0.0 deterministic";

/// Most fuel of a segment: about a minute of a core.
pub const FUEL_MAX: u64 = 20_000_000_000;
/// Most fuel of a guest transform: about two seconds of a core.
pub(super) const TRANSFORM_FUEL_MAX: u64 = 500_000_000;
/// Most pages of memory: 64 MiB.
pub const MEMORY_PAGES_MAX: u32 = 1024;
/// Most bytes that a program keeps between its steps.
pub const STATE_BYTES_MAX: u32 = 1024 * 1024;
/// The longest key under which a program keeps something.
pub const KEY_BYTES_MAX: usize = 256;
/// Most bytes that a program logs from its start or a checkpoint on.
pub const LOG_BYTES_MAX: u32 = 256 * 1024;
/// The longest line of the log; the rest of a longer one is left out.
pub(super) const LINE_BYTES_MAX: usize = 1024;
/// Most messages that a program emits from its start or a checkpoint on.
pub(super) const EMITTED_MAX: usize = 1024;
/// The longest reason of a failure.
pub const REASON_BYTES_MAX: usize = 256;
/// The longest request.
pub(super) use crate::call::REQUEST_BYTES_MAX;
/// The longest message that a program emits: as large as what it may output.
pub(super) const MESSAGE_BYTES_MAX: usize = OUTPUT_BYTES_MAX;

/// Most imports: each of ours a few times.
pub(super) const IMPORTS_MAX: usize = 64;
/// Most tables, and most elements of one.
pub(super) const TABLES_MAX: usize = 8;
/// See [`TABLES_MAX`]: a module with 10,000 functions needs no more.
pub(super) const TABLE_ELEMENTS_MAX: usize = 65_536;
/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 64 * 1024;

/// Most calls inside each other.
const DEPTH_MAX: usize = 1000;
/// Bytes of the stack of values at the start of a call, and at most.
const STACK_BYTES: [usize; 2] = [1_000, 1_000_000];

/// Fuel of one call of ours.
pub(super) const CALL_FUEL: u64 = 256;
/// Fuel of one byte that is copied.
pub(super) const COPY_FUEL: u64 = 1;
/// Fuel of one byte that is hashed or parsed.
pub(super) const HASH_FUEL: u64 = 8;

/// Returns the name of the engine and its set-up: two members with the same one run every program
/// alike.
#[must_use]
pub fn profile() -> Digest {
    let numbers: [u64; 21] = [
        FUEL_MAX,
        TRANSFORM_FUEL_MAX,
        MEMORY_PAGES_MAX.into(),
        STATE_BYTES_MAX.into(),
        KEY_BYTES_MAX as u64,
        LOG_BYTES_MAX.into(),
        LINE_BYTES_MAX as u64,
        EMITTED_MAX as u64,
        REQUEST_BYTES_MAX as u64,
        MESSAGE_BYTES_MAX as u64,
        IMPORTS_MAX as u64,
        TABLES_MAX as u64,
        TABLE_ELEMENTS_MAX as u64,
        DEPTH_MAX as u64,
        STACK_BYTES[1] as u64,
        CALL_FUEL,
        COPY_FUEL,
        HASH_FUEL,
        MODULE_BYTES_MAX as u64,
        INPUT_BYTES_MAX as u64,
        OUTPUT_BYTES_MAX as u64,
    ];
    let numbers = numbers.map(u64::to_be_bytes).concat();
    let parts: [&[u8]; 3] = [ENGINE.as_bytes(), super::MODULE.as_bytes(), &numbers];
    digest(Domain::EngineProfile, &parts)
}

/// Returns the set-up. Threads, SIMD and 64-bit memories are not even compiled in.
pub(super) fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Eager)
        .enforced_limits(EnforcedLimits::strict())
        .ignore_custom_sections(true)
        .set_min_stack_height(STACK_BYTES[0])
        .set_max_stack_height(STACK_BYTES[1])
        .set_max_recursion_depth(DEPTH_MAX)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

/// Checks what a manifest asks for against what anybody may have.
pub(super) fn check_limits(limits: &Limits) -> Result<(), BadModule> {
    let Limits { fuel, memory_pages, state_bytes, log_bytes, .. } = *limits;
    let asked = [
        ("fuel", fuel, FUEL_MAX),
        ("memory_pages", memory_pages.into(), MEMORY_PAGES_MAX.into()),
        ("state_bytes", state_bytes.into(), STATE_BYTES_MAX.into()),
        ("log_bytes", log_bytes.into(), LOG_BYTES_MAX.into()),
    ];
    match asked.into_iter().find(|(_, got, limit)| got > limit) {
        Some((field, got, limit)) => Err(BadModule::Limit { field, got, limit }),
        None => Ok(()),
    }
}

/// Returns a reason of a failure, cut to its bound.
pub(super) fn reason(text: &str) -> String {
    cut(text, REASON_BYTES_MAX).to_owned()
}

/// Returns as much of a text as fits, in whole characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
