use std::path::Path;

use super::{LINES_MAX, Source, complaints, tracked, unlisted_wire_documents};

fn source(path: &str, text: impl Into<String>) -> Source {
    Source { path: path.to_owned(), text: text.into() }
}

fn count(path: &str, text: impl Into<String>) -> usize {
    complaints(&source(path, text)).len()
}

#[test]
fn long_rust_files_are_refused() {
    assert_eq!(count("a.rs", "x\n".repeat(LINES_MAX)), 0);
    assert_eq!(count("a.rs", "x\n".repeat(LINES_MAX + 1)), 1);
    assert_eq!(count("Cargo.lock", "x\n".repeat(LINES_MAX + 1)), 0);
}

#[test]
fn tests_that_do_not_run_are_refused() {
    let refused = complaints(&source("a.rs", "#[test]\n    #[ignore = \"slow\"]\nfn f() {}\n"));
    assert_eq!(refused, ["a.rs:2: a test that does not run proves nothing"]);
    assert_eq!(count("a.md", "#[ignore]"), 0);
    assert_eq!(count("a.rs", "// why there is no #[ignore] here"), 0);
}

#[test]
fn stubs_are_refused() {
    for stub in super::STUBS {
        assert_eq!(count("a.rs", format!("fn f() {{ {stub}() }}")), 1);
    }
    assert_eq!(count("a.rs", "fn todo() {}"), 0);
}

#[test]
fn machine_paths_are_refused_in_every_file() {
    for root in super::MACHINE_ROOTS {
        for path in ["a.rs", "b.md", "Cargo.toml"] {
            assert_eq!(count(path, format!("see {root}x")), 1);
            assert_eq!(count(path, format!("\"{root}x\"")), 1);
            assert_eq!(count(path, format!("{root}x")), 1);
        }
        assert_eq!(count("b.md", format!("https://example.org{root}x")), 0);
        assert_eq!(count("b.md", format!("..{root}x")), 0);
        assert_eq!(count("b.md", format!("${{HOME}}{root}x")), 0);
    }
    assert_eq!(count("b.md", "/var/lib/session"), 0);
}

#[test]
fn wire_documents_are_listed_once_there_is_a_list() {
    let document = || source("docs/wire/codec.md", "");
    assert!(unlisted_wire_documents(&[document()]).is_empty());
    let listed = source("docs/wire/README.md", "- [codec](codec.md)");
    assert!(unlisted_wire_documents(&[listed, document()]).is_empty());
    let unlisted = [source("docs/wire/README.md", "nothing yet"), document()];
    assert_eq!(unlisted_wire_documents(&unlisted), ["docs/wire/README.md does not name codec.md"]);
}

#[test]
fn the_files_of_this_repository_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let paths: Vec<_> = tracked(root).unwrap().into_iter().map(|source| source.path).collect();
    assert!(paths.iter().any(|path| path == "xtask/src/tidy/sources/tests.rs"));
    assert!(!paths.iter().any(|path| path.starts_with("target/")), "ignored files are left out");
}
