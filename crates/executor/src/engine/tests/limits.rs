//! How far a program may go.

use super::super::{Runner, Stop};
use super::{LIMITS, fails, job, module, output, run, run_module};

#[test]
fn endless_loops_use_up_their_fuel() {
    assert_eq!(fails("(loop (br 0))"), "the fuel is used up");
    assert_eq!(run("(loop (br 0))").fuel, LIMITS.fuel);
    let calls = "(loop (drop (call $now)) (br 0))";
    assert_eq!((fails(calls).as_str(), run(calls).fuel), ("the fuel is used up", LIMITS.fuel));
    let fill = "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)) (br 0))";
    assert_eq!(fails(fill), "the fuel is used up");
    let random = "(loop (call $random (i32.const 0) (i32.const 131072)) (br 0))";
    assert_eq!(fails(random), "the fuel is used up");
}

#[test]
fn memory_does_not_grow_beyond_the_manifest() {
    let grow = |pages: i32| {
        format!(
            "(i32.store (i32.const 0) (memory.grow (i32.const {pages}))) (call $output (i32.const 0) (i32.const 4))"
        )
    };
    assert_eq!(output(&run(&grow(2))), 2_i32.to_le_bytes());
    assert_eq!(output(&run(&grow(3))), (-1_i32).to_le_bytes());
    assert_eq!(output(&run(&grow(-1))), (-1_i32).to_le_bytes());
    let hoard =
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (loop (br 0))";
    assert_eq!(fails(hoard), "the fuel is used up");
}

#[test]
fn tables_do_not_grow_without_end() {
    let module = module(
        r#"(table $t 1 funcref)
        (func (export "run")
            (i32.store (i32.const 0) (table.grow $t (ref.null func) (i32.const 65535)))
            (i32.store (i32.const 4) (table.grow $t (ref.null func) (i32.const 1)))
            (call $output (i32.const 0) (i32.const 8)))"#,
    );
    let ran = Runner::new(1).run(&job(&module));
    assert_eq!(output(&ran), b"\x01\0\0\0\xff\xff\xff\xff");
}

#[test]
fn deep_recursion_ends_the_program() {
    let module = module("(func $deep (export \"run\") (call $deep))");
    let ran = Runner::new(1).run(&job(&module));
    assert_eq!(ran.stop, Stop::Failed { reason: "the stack overflowed".into() });
    // Few calls with many locals fill the stack, too.
    let wide =
        format!("(func $wide (export \"run\") (local {}) (call $wide))", "i64 ".repeat(20_000));
    let ran = Runner::new(1).run(&job(&super::module(&wide)));
    assert_eq!(ran.stop, Stop::Failed { reason: "the stack overflowed".into() });
}

#[test]
fn traps_are_told_in_our_words() {
    for (body, reason) in [
        ("unreachable", "unreachable code was reached"),
        ("(drop (i32.load (i32.const -4)))", "an address outside of the memory was used"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "an integer was divided by zero"),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            "an integer division overflowed",
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            "a float that is no integer was converted to one",
        ),
    ] {
        assert_eq!(fails(body), reason, "{body}");
    }
    let indirect = |element: &str, call: &str| {
        let module = module(&format!(
            "(type $f (func)) (type $g (func (param i32)))
            (func $one (type $g)) (table 2 funcref) (elem (i32.const 0) {element})
            (func (export \"run\") {call})"
        ));
        match Runner::new(1).run(&job(&module)).stop {
            Stop::Failed { reason } => reason,
            stop => panic!("{stop:?}"),
        }
    };
    let call = |index: u32| format!("(call_indirect (type $f) (i32.const {index}))");
    assert_eq!(indirect("$one", &call(0)), "a function was called as one of another type");
    assert_eq!(indirect("$one", &call(1)), "an empty element of a table was called");
    assert_eq!(indirect("$one", &call(2)), "an element outside of a table was used");
}

#[test]
fn start_functions_are_metered_and_cannot_wait() {
    let start = |body: &str| {
        let module = module(&format!(
            "(data (i32.const 0) \"{{\\\"source\\\":\\\"price\\\"}}\")
            (func $start {body}) (start $start)
            (func (export \"run\") (call $output (i32.const 200) (i32.const 2)))"
        ));
        Runner::new(1).run(&job(&module)).stop
    };
    let failed = |reason: &str| Stop::Failed { reason: reason.into() };
    let store = "(drop (call $input (i32.const 200) (i32.const 2)))";
    assert_eq!(start(store), Stop::Finished { output: b"th".to_vec() });
    assert_eq!(start("(loop (br 0))"), failed("the fuel is used up"));
    assert_eq!(start("unreachable"), failed("unreachable code was reached"));
    assert_eq!(start("(call $abort (i32.const 0) (i32.const 1))"), failed("aborted: {"));
    let read = "(drop (call $read (i32.const 0) (i32.const 18) (i32.const 0) (i32.const 0)))";
    assert_eq!(start(read), failed("the start function asks the world"));
    let checkpoint = "(call $checkpoint (i32.const 0) (i32.const 1))";
    assert_eq!(start(checkpoint), failed("the start function makes a checkpoint"));
}

#[test]
fn every_nan_is_the_same() {
    const CANONICAL: [u8; 4] = 0x7fc0_0000_u32.to_le_bytes();
    const CANONICAL64: [u8; 8] = 0x7ff8_0000_0000_0000_u64.to_le_bytes();
    for nan in [
        "(f32.add (f32.const nan:0x12345) (f32.const 1))",
        "(f32.sub (f32.const -nan:0x12345) (f32.const nan:0x1))",
        "(f32.mul (f32.const inf) (f32.const 0))",
        "(f32.div (f32.const 0) (f32.const 0))",
        "(f32.sqrt (f32.const -1))",
        "(f32.min (f32.const nan:0x12345) (f32.const 1))",
        "(f32.max (f32.const 1) (f32.const -nan:0x54321))",
        "(f32.ceil (f32.const nan:0x12345))",
        "(f32.floor (f32.const -nan:0x12345))",
        "(f32.trunc (f32.const nan:0x12345))",
        "(f32.nearest (f32.const nan:0x12345))",
        "(f32.demote_f64 (f64.const -nan:0x123456789))",
    ] {
        let ran = run(&format!(
            "(f32.store (i32.const 0) {nan}) (call $output (i32.const 0) (i32.const 4))"
        ));
        assert_eq!(output(&ran), CANONICAL, "{nan}");
    }
    for nan in [
        "(f64.add (f64.const nan:0x12345) (f64.const 1))",
        "(f64.div (f64.const -inf) (f64.const inf))",
        "(f64.sqrt (f64.const -4))",
        "(f64.nearest (f64.const -nan:0x12345))",
        "(f64.promote_f32 (f32.const -nan:0x12345))",
    ] {
        let ran = run(&format!(
            "(f64.store (i32.const 0) {nan}) (call $output (i32.const 0) (i32.const 8))"
        ));
        assert_eq!(output(&ran), CANONICAL64, "{nan}");
    }
}

#[test]
fn fuel_is_what_it_was() {
    // Fuel is part of what members agree on: a change of these numbers is a change of the profile.
    let loops = "(local $i i32) (loop $again (br_if $again (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))";
    let output = "(call $output (i32.const 0) (i32.const 100))";
    let grow = "(drop (memory.grow (i32.const 1)))";
    let random = "(call $random (i32.const 0) (i32.const 100))";
    let fuel = ["", loops, output, grow, random].map(|body| run(body).fuel);
    assert_eq!(fuel, [1, 8001, 360, 1027, 1416]);
}

#[test]
fn the_profile_is_that_of_the_engine_in_use() {
    let lock = include_str!("../../../../../Cargo.lock");
    for (name, version) in [("wasmi", "2.0.0"), ("wasmi_core", "2.0.0"), ("wasmi_ir", "2.0.0")] {
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{name} is not {version}: the profile must say so");
    }
    assert_eq!(super::profile().to_string().len(), 64);
    assert_eq!(run_module(""), run_module(""));
}
