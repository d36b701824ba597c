//! Workloads as their authors meet them: templates that build, sessions on real processes in a
//! scripted world, proofs that hold and proofs that do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use session_executor::bundle::{self, Bundle};
use session_protocol::workload::oracle::OracleResult;
use tempfile::TempDir;

use crate::chains::path;
use crate::harness::{Network, Person};

/// Somebody with a folder for workloads.
struct Author {
    dir: TempDir,
    person: Person,
}

impl Author {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let person = Person::new(dir.path(), "home", None);
        Self { dir, person }
    }

    fn path(&self, name: &str) -> String {
        path(&self.dir.path().join(name)).to_owned()
    }

    /// Copies an example; its module comes last, so that it is no older than its source.
    fn example(&self, name: &str) -> String {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let to = self.dir.path().join(name);
        fs::create_dir(&to).expect("a folder");
        let mut files: Vec<PathBuf> = fs::read_dir(from)
            .expect("an example")
            .map(|file| file.expect("a file").path())
            .collect();
        files.sort_by_key(|file| file.extension().is_some_and(|kind| kind == "wasm"));
        for file in files {
            let name = file.file_name().expect("a name");
            fs::write(to.join(name), fs::read(&file).expect("a file")).expect("a copy");
        }
        path(&to).to_owned()
    }

    /// Runs an example on a network of its own; returns what was said.
    fn dev(&self, folder: &str) -> Vec<Value> {
        let keep = format!("{folder}.network");
        self.person.json(&["workload", "dev", folder, "--keep", &keep])
    }
}

/// Returns the end of a run.
fn ended(said: &[Value]) -> &Value {
    said.iter().find(|line| line["state"].is_string() && line["steps"].is_u64()).expect("an end")
}

#[test]
fn a_template_builds_and_what_makes_no_sense_is_refused() {
    let author = Author::new();
    let hello = author.path("hello");
    author.person.json(&["workload", "new", &hello]);
    let made = &author.person.json(&["workload", "build", &hello])[0];
    assert_eq!(made["imports"].as_array().unwrap().len(), 5, "{made}");
    let module = fs::read(Path::new(&hello).join("module.wasm")).unwrap();
    assert_eq!(made["bytes"], module.len());

    let fails = |args: &[&str]| author.person.fails(args);
    for (args, code, why) in [
        (&["workload", "new", &hello][..], 2, "not empty"),
        (&["workload", "new", "a b"], 2, "does not name a workload"),
        (&["workload", "new", "x", "--lang", "cobol"], 2, "cobol"),
        (&["workload", "build", &author.path("nowhere")], 2, "workload new"),
        (&["workload", "run", &hello], 3, "session up"),
        (&["workload", "status", "12"], 2, "12"),
        (&["verify"], 2, "FILE"),
        (&["verify", &author.path("hello/input")], 4, "NOT PROVEN"),
    ] {
        let (got, said) = fails(args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }

    // What nodes would refuse, the author hears first.
    let manifest = Path::new(&hello).join("workload.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let source = Path::new(&hello).join("main.wat");
    let wat = fs::read_to_string(&source).unwrap();
    for (manifest_text, wat_text, code, why) in [
        (good.replace("api.example.com\"\n\n", "10.0.0.1\"\n\n"), wat.clone(), 2, "10.0.0.1"),
        (good.replace("retries", "retrys"), wat.clone(), 2, "retrys"),
        (good.replace("[\"$.price\"]", "[\"$.[\"]"), wat.clone(), 2, "$.["),
        (good.clone(), wat.replace("\"log\"", "\"fork\""), 4, "lux_session_v1.fork"),
        (good.clone(), wat.replace("(module", "(modul"), 1, "main.wat"),
    ] {
        fs::write(&manifest, manifest_text).unwrap();
        fs::write(&source, wat_text).unwrap();
        let (got, said) = fails(&["workload", "build", &hello]);
        assert_eq!((got, said.contains(why)), (code, true), "{why}: {said}");
    }
}

#[test]
fn assemblyscript_builds_where_npm_is_and_examples_have_its_bindings() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let own = include_str!("../../src/workload/template/assemblyscript/lux.ts");
    for name in ["price-median", "url-watch", "sql-report"] {
        assert_eq!(fs::read_to_string(examples.join(name).join("lux.ts")).unwrap(), own);
    }
    let npm = Command::new("npm").args(["ping", "--fetch-timeout", "5000"]).output();
    if !npm.is_ok_and(|output| output.status.success()) {
        eprintln!("npm does not reach its registry: nothing is built");
        return;
    }
    let author = Author::new();
    let folder = author.path("prices");
    author.person.json(&["workload", "new", &folder, "--lang", "assemblyscript"]);
    author.person.json(&["workload", "build", &folder]);

    // The module of an example is what its source becomes.
    let folder = author.example("price-median");
    let module = Path::new(&folder).join("module.wasm");
    let shipped = fs::read(&module).unwrap();
    author.person.json(&["workload", "build", &folder]);
    assert_eq!(fs::read(&module).unwrap(), shipped);
}

#[test]
fn a_median_without_the_source_that_diverges_is_proven_and_altered_bundles_are_not() {
    let author = Author::new();
    let folder = author.example("price-median");
    let said = author.dev(&folder);
    let end = ended(&said);
    assert_eq!(end["state"], "finalized", "{said:#?}");
    let text = end["text"].as_str().unwrap();
    assert_eq!(text, r#"{"pair":"BTC-EUR","median":"91250.40000000","sources":3}"#);
    assert!(said.iter().any(|line| line["log"].as_str().is_some_and(|log| log.contains("west"))));
    assert!(said.iter().any(|line| line["saw"].is_string()), "{said:#?}");

    let file = format!("{folder}/bundle.json");
    let genesis = format!("{folder}.network/genesis.json");
    let proven = &author.person.json(&["verify", &file, "--genesis", &genesis])[0];
    assert_eq!((&proven["proven"], &proven["anchored"]), (&true.into(), &true.into()));
    let alone = &author.person.json(&["verify", &file])[0];
    assert_ne!(alone["trusted"], proven["trusted"]);

    // A digit of what people read; then of what is behind it, in one step.
    let text = fs::read_to_string(&file).unwrap();
    let other = author.path("other.json");
    let fails = |text: String| {
        fs::write(&other, text).unwrap();
        author.person.fails(&["verify", &other, "--genesis", &genesis])
    };
    let (code, why) = fails(text.replacen("91250.4", "91250.5", 1));
    assert_eq!((code, why.contains("says something else")), (4, true), "{why}");
    let bundle = bundle::from_json(&text).unwrap();
    let altered = |alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = bundle.clone();
        alter(&mut bundle);
        fails(bundle::to_json(&bundle))
    };
    let (code, why) = altered(&|bundle| {
        let mut steps = bundle.steps.to_vec();
        let decision = steps[3].decision.as_mut().expect("step 3 asks the world");
        let OracleResult::Value { bytes } = &mut decision.commit.result else { panic!("a value") };
        let mut other = bytes.to_vec();
        other[0] ^= 1;
        *bytes = session_core::Blob::new(other).unwrap();
        bundle.steps = session_core::List::new(steps).unwrap();
    });
    assert_eq!((code, why.contains("step 3")), (4, true), "{why}");
    let (code, why) = altered(&|bundle| bundle.anchor = session_core::Blob::default());
    assert_eq!((code, why.contains("ties it to the chain")), (4, true), "{why}");
    let (code, why) = altered(&|bundle| bundle.randomness = session_core::Digest::from([7; 32]));
    assert_eq!((code, why.contains("randomness")), (4, true), "{why}");
}

#[test]
fn a_page_is_watched_over_checkpoints_and_its_change_is_told() {
    let author = Author::new();
    let said = author.dev(&author.example("url-watch"));
    let end = ended(&said);
    assert_eq!(end["state"], "finalized", "{said:#?}");
    assert_eq!(end["text"], "1 changes\ndown for repairs", "{said:#?}");
    let told: Vec<&Value> = said.iter().filter(|line| line["to"] == "owner").collect();
    assert_eq!(told.len(), 1, "{said:#?}");
    assert!(told[0]["text"].as_str().unwrap().contains("down for repairs"), "{told:?}");
}

#[test]
fn a_report_is_written_once_although_its_writer_does_not_hear_of_it() {
    let author = Author::new();
    let said = author.dev(&author.example("sql-report"));
    let end = ended(&said);
    assert_eq!(end["state"], "finalized", "{said:#?}");
    let report = "region,orders,cents\neast,1,9900\nnorth,2,1550\n";
    assert_eq!(end["text"], report, "{said:#?}");
    let written: Vec<&Value> = said.iter().filter(|line| line["write"].is_string()).collect();
    assert_eq!(written.len(), 1, "{said:#?}");
    assert_eq!((&written[0]["effects"], &written[0]["body"]), (&1.into(), &report.into()));
    assert!(written[0]["requests"].as_u64().unwrap() > 1, "{said:#?}");
}

#[test]
fn a_network_that_stays_runs_what_it_is_given() {
    let network = Network::start(4);
    let (person, _) = network.person("author");
    let dir = network.dir.path().join("echo");
    fs::create_dir(&dir).unwrap();
    // Without I/O: what goes in comes out.
    fs::write(dir.join("workload.toml"), "name = \"echo\"\n").unwrap();
    let module = dir.join("module.wat");
    let wat = r#"(module
        (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
        (import "lux_session_v1" "output" (func $output (param i32 i32)))
        (import "lux_session_v1" "log" (func $log (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "run")
            (call $log (i32.const 0) (call $input (i32.const 0) (i32.const 100)))
            (call $output (i32.const 0) (call $input (i32.const 0) (i32.const 100)))))"#;
    fs::write(&module, wat).unwrap();
    fs::write(dir.join("input"), "hello").unwrap();
    let said = person.json(&["workload", "run", path(&module)]);
    let end = ended(&said);
    assert_eq!((&end["state"], &end["text"]), (&"finalized".into(), &"hello".into()));
    let session = end["sessionId"].as_str().unwrap();
    let status = &person.json(&["workload", "status", session])[0];
    assert_eq!(status["state"], "finalized", "{status}");
    assert_eq!(person.json(&["workload", "logs", session])[0]["log"], "hello");
    assert_eq!(person.output(&["workload", "result", session]).stdout, b"hello");
    let file = dir.join("bundle.json");
    person.json(&["workload", "bundle", session, "-o", path(&file)]);
    let genesis = network.genesis();
    let proven = person.output(&["verify", path(&file), "--genesis", path(&genesis), "--verbose"]);
    let text = String::from_utf8(proven.stdout).unwrap();
    assert!(text.starts_with("PROVEN") && text.contains("finalized at"), "{text}");
    let (code, why) = person.fails(&["workload", "status", &"ab".repeat(32)]);
    assert_eq!((code, why.contains("session not found")), (5, true), "{why}");
}
