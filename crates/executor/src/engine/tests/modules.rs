//! What is no program.

use session_core::{Entropy as _, SeededEntropy, Text};
use session_protocol::workload::MODULE_BYTES_MAX;
use session_protocol::workload::manifest::Limits;

use super::super::{BadModule, FUEL_MAX, Job, MEMORY_PAGES_MAX, Program, Runner, Stop, check};
use super::{LIMITS, facts, job_of, manifest, module, run_module};

#[track_caller]
fn refused(source: &str) -> BadModule {
    let bytes = wat::parse_str(source).unwrap_or_else(|error| panic!("{error}"));
    Program::compile(&bytes, &LIMITS).err().expect("it is no program")
}

/// A module with a memory and a `run` that does nothing, and these definitions.
#[track_caller]
fn with(definitions: &str) -> Result<Program, BadModule> {
    let source =
        format!(r#"(module {definitions} (memory (export "memory") 1) (func (export "run")))"#);
    let bytes = wat::parse_str(source).unwrap_or_else(|error| panic!("{error}"));
    Program::compile(&bytes, &LIMITS)
}

#[track_caller]
fn invalid(definitions: &str, why: &str) {
    let error = with(definitions).err().expect("it is no program");
    assert_eq!(error.reason(), "the module is not valid");
    assert!(matches!(error, BadModule::Invalid { .. }), "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn a_small_program_is_taken() {
    assert!(with("").is_ok());
    assert_eq!(check(&run_module(""), &manifest(LIMITS)), Ok(()));
}

#[test]
fn only_our_functions_are_imported() {
    let error = with(r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#).err();
    let unknown = |module: &str, name: &str| {
        Some(BadModule::UnknownImport { module: module.into(), name: name.into() })
    };
    assert_eq!(error, unknown("wasi_snapshot_preview1", "fd_write"));
    assert_eq!(
        error.expect("an error").to_string(),
        "there is no import wasi_snapshot_preview1.fd_write: only the functions of \
         lux_session_v1 can be imported"
    );
    let ours = |name: &str| with(&format!(r#"(import "lux_session_v1" "{name}" (func))"#)).err();
    assert_eq!(ours("sleep"), unknown("lux_session_v1", "sleep"));
    // A name of ours in somebody else's module.
    let error = with(r#"(import "env" "abort" (func (param i32 i32)))"#).err();
    assert_eq!(error, unknown("env", "abort"));
}

#[test]
fn imports_have_our_types() {
    let error = with(r#"(import "lux_session_v1" "now" (func (result f64)))"#).err();
    let expected = "() -> (i64)".to_owned();
    assert_eq!(
        error,
        Some(BadModule::ImportType { name: "now", expected, got: "() -> (f64)".into() })
    );
    let error = with(r#"(import "lux_session_v1" "now" (global i64))"#).err();
    let expected = "() -> (i64)".to_owned();
    assert_eq!(
        error,
        Some(BadModule::ImportType { name: "now", expected, got: "a global".into() })
    );
    let error = with(r#"(import "lux_session_v1" "log" (func (param i32 i64)))"#).err();
    assert_eq!(
        error.expect("an error").to_string(),
        "the import lux_session_v1.log is (i32, i32) -> (), the module wants (i32, i64) -> ()"
    );
}

#[test]
fn memory_and_run_are_exported() {
    let names = |source: &str| match refused(source) {
        BadModule::MissingExport { name, .. } => name,
        BadModule::ExportType { name, got, .. } => format!("{name} is {got}"),
        other => panic!("{other}"),
    };
    assert_eq!(names(r#"(module (func (export "run")))"#), "memory");
    assert_eq!(names(r#"(module (memory (export "memory") 1))"#), "run");
    assert_eq!(names(r#"(module (func (export "memory")) )"#), "memory is () -> ()");
    let source = r#"(module (memory (export "memory") 1) (func (export "run") (param i32)))"#;
    assert_eq!(names(source), "run is (i32) -> ()");
    let source = r#"(module (memory (export "memory") 1) (global (export "run") i32 i32.const 0))"#;
    assert_eq!(names(source), "run is a global");
}

#[test]
fn what_is_not_the_same_everywhere_is_not_valid() {
    invalid("(func (drop (v128.const i64x2 0 0)))", "SIMD");
    invalid("(func $tail return_call $tail)", "tail call");
    let threads = r#"(module (memory (export "memory") 1 1 shared) (func (export "run")))"#;
    assert!(matches!(refused(threads), BadModule::Invalid { .. }));
    let wide = r#"(module (memory (export "memory") i64 1) (func (export "run")))"#;
    assert!(matches!(refused(wide), BadModule::Invalid { .. }));
    let atomic = r#"(module (memory (export "memory") 1)
        (func (export "run") (drop (i32.atomic.load (i32.const 0)))))"#;
    assert!(matches!(refused(atomic), BadModule::Invalid { .. }));
    let ill_typed = r#"(module (memory (export "memory") 1) (func (export "run") i32.const 1))"#;
    assert!(matches!(refused(ill_typed), BadModule::Invalid { .. }));
}

#[test]
fn shapes_are_bounded() {
    let shape = |definitions: &str, limit: &str| {
        let error = with(definitions).err().expect("it is no program");
        assert_eq!(error.reason(), "the module's shape is refused");
        assert!(matches!(error, BadModule::Shape { .. }), "{error}");
        assert!(error.to_string().contains(limit), "{error}");
    };
    shape("(memory $second 1)", "memories");
    shape(&format!("(func (local {}))", "i64 ".repeat(49_000)), "too many function parameters");
    shape(&"(func)".repeat(10_001), "10000");
    shape(&"(global i32 i32.const 0)".repeat(1001), "1000");
    shape(&"(table 1 funcref)".repeat(101), "100");
    shape(&"(data \"\")".repeat(1001), "1000");
    shape(&"(elem func)".repeat(1001), "1000");
    shape(&format!("(func (param {}))", "i32 ".repeat(33)), "32");
    shape(&"(func)".repeat(600), "bytes per function");
    let imports = r#"(import "lux_session_v1" "now" (func (result i64)))"#.repeat(65);
    let error = with(&imports).err();
    assert_eq!(error, Some(BadModule::TooManyImports { got: 65, limit: 64 }));
}

#[test]
fn tables_and_segments_must_fit() {
    let why = |definitions: &str| match with(definitions).err() {
        Some(BadModule::Start { why }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why("(table 65537 funcref)"), "a table is too large");
    assert_eq!(why(&"(table 1 funcref)".repeat(9)), "it has too many tables");
    assert_eq!(why("(data (i32.const 65536) \"x\")"), "a segment does not fit its memory or table");
    let elements = "(func $f) (table 1 funcref) (elem (i32.const 1) $f)";
    assert!(why(elements).contains("a segment does not fit"), "{}", why(elements));
}

#[test]
fn memory_is_bounded_by_the_manifest() {
    let source = r#"(module (memory (export "memory") 5) (func (export "run")))"#;
    assert_eq!(refused(source), BadModule::Memory { got: 5, limit: 4 });
    // A module that was compiled for another manifest is not let through by the cache.
    let bytes = wat::parse_str(source).expect("it is text");
    let mut runner = Runner::new(1);
    let wider = Limits { memory_pages: 5, ..LIMITS };
    let stop = |runner: &mut Runner, limits| {
        let ran = runner.run(&job_of(facts(&bytes, b"", limits), Vec::new()));
        ran.stop
    };
    assert_eq!(stop(&mut runner, wider), Stop::Finished { output: Vec::new() });
    let reason = "the module begins with 5 pages of memory, the manifest allows 4".to_owned();
    assert_eq!(stop(&mut runner, LIMITS), Stop::Failed { reason });
}

#[test]
fn manifests_may_not_ask_for_more_than_there_is() {
    let bytes = run_module("");
    let error = |limits| Program::compile(&bytes, &limits).err().expect("too much").to_string();
    let fuel = Limits { fuel: FUEL_MAX + 1, ..LIMITS };
    assert_eq!(error(fuel), "the manifest's fuel is 20000000001, the limit is 20000000000");
    let memory = Limits { memory_pages: MEMORY_PAGES_MAX + 1, ..LIMITS };
    assert_eq!(error(memory), "the manifest's memory_pages is 1025, the limit is 1024");
    let state = Limits { state_bytes: u32::MAX, ..LIMITS };
    assert!(error(state).contains("state_bytes"));
    let log = Limits { log_bytes: u32::MAX, ..LIMITS };
    assert!(error(log).contains("log_bytes"));
}

#[test]
fn long_modules_are_not_read() {
    let bytes = vec![0; MODULE_BYTES_MAX + 1];
    let error = Program::compile(&bytes, &LIMITS).err();
    let (got, limit) = (MODULE_BYTES_MAX + 1, MODULE_BYTES_MAX);
    assert_eq!(error, Some(BadModule::TooLarge { got, limit }));
}

#[test]
fn transforms_must_be_exported() {
    let mut manifest = manifest(LIMITS);
    let mut sources = manifest.sources.into_vec();
    sources[0].transform.guest = Some(Text::new("shorten").expect("short"));
    manifest.sources = session_core::List::new(sources).expect("two");
    let check = |definitions: &str| {
        check(&module(&format!("(func (export \"run\")) {definitions}")), &manifest)
    };
    assert!(matches!(check(""), Err(BadModule::MissingExport { name, .. }) if name == "shorten"));
    assert_eq!(check("(func (export \"shorten\"))"), Ok(()));
    let wrong = check("(func (export \"shorten\") (result i32) i32.const 0)");
    assert!(matches!(wrong, Err(BadModule::ExportType { .. })));
}

#[test]
fn truncated_and_altered_modules_are_refused_or_run() {
    let bytes = run_module(
        "(call $log (i32.const 0) (i32.const 8)) (call $output (i32.const 0) (i32.const 9))",
    );
    let mut rng = SeededEntropy::new(7);
    // The last section holds names for people.
    let taken = (0..bytes.len()).filter(|&end| Program::compile(&bytes[..end], &LIMITS).is_ok());
    assert!(taken.count() <= 1, "a module that was cut is taken");
    let mut taken = 0;
    for _ in 0..2000 {
        let mut altered = bytes.clone();
        for _ in 0..=rng.below(3) {
            let place = rng.below(altered.len() as u64) as usize;
            altered[place] = rng.next_u64() as u8;
        }
        let job: Job = job_of(facts(&altered, b"", LIMITS), Vec::new());
        let [first, second] = [(); 2].map(|()| Runner::new(0).run(&job));
        assert_eq!(first, second);
        taken += u32::from(Program::compile(&altered, &LIMITS).is_ok());
    }
    assert!(taken > 100, "only {taken} were programs");
}

#[test]
fn the_module_is_the_one_that_the_workload_names() {
    let mut facts = facts(&run_module(""), b"", LIMITS);
    facts.module = run_module("unreachable").into();
    let ran = Runner::new(1).run(&job_of(facts, Vec::new()));
    let reason = "the module is not the one that the workload names".to_owned();
    assert_eq!(ran.stop, Stop::Failed { reason });
}
