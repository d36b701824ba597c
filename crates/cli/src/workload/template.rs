//! `session workload new`: a folder that builds and runs as it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::args::Lang;
use crate::exit::{Doing, Failure, Result};
use crate::out::Out;

/// The version of AssemblyScript that the build line names.
const ASSEMBLYSCRIPT: &str = "assemblyscript@0.28.20";

/// What AssemblyScript is built with: no collector, our own abort, and only what every engine has.
const ASC_FLAGS: &str = "-O --runtime stub --use abort=lux/onAbort \
                         --disable bulk-memory,sign-extension,nontrapping-f2i";

/// The longest name of a workload.
const NAME_MAX: usize = 64;

const MODULE: &str = "module.wasm";

/// A file of a template.
type File = (&'static str, &'static str);

/// What every template has; `@NAME@` and `@BUILD@` are filled in.
const COMMON: [File; 4] = [
    ("workload.toml", include_str!("template/workload.toml")),
    ("world.toml", include_str!("template/world.toml")),
    ("README.md", include_str!("template/README.md")),
    ("input", "BTC"),
];

pub(super) fn run(out: Out, dir: &Path, lang: Lang) -> Result<()> {
    let name = name(dir)?;
    available(lang)?;
    if dir.exists() && fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::usage(format!("{} is there and not empty", dir.display())));
    }
    fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
    let own = files(lang);
    for (file, text) in COMMON.iter().chain(own) {
        let text = text.replace("@NAME@", name).replace("@BUILD@\n", &build(lang, own[0].0));
        let text = text.replace("@SOURCE@", own[0].0);
        let path = dir.join(file);
        fs::write(&path, text).doing(|| format!("cannot write {}", path.display()))?;
    }
    let shown = dir.display();
    out.result(
        || {
            format!(
                "{shown} is there. Now:\n  session workload build {shown}\n  session workload dev \
                 {shown}"
            )
        },
        || json!({ "dir": dir, "name": name }),
    );
    Ok(())
}

/// Returns the name of a workload: the last part of its folder.
fn name(dir: &Path) -> Result<&str> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(good) {
        return Err(Failure::usage(format!(
            "{:?} does not name a workload: letters, digits, - and _ do, at most {NAME_MAX}",
            dir.display()
        )));
    }
    Ok(name)
}

/// The files of a language; the first one is the source.
const fn files(lang: Lang) -> &'static [File] {
    match lang {
        Lang::Wat => &[("main.wat", include_str!("template/wat/main.wat"))],
        Lang::Assemblyscript => &[
            ("main.ts", include_str!("template/assemblyscript/main.ts")),
            ("lux.ts", include_str!("template/assemblyscript/lux.ts")),
        ],
        Lang::Rust => &[
            ("main.rs", include_str!("template/rust/main.rs")),
            ("lux.rs", include_str!("template/rust/lux.rs")),
        ],
        Lang::C => &[
            ("main.c", include_str!("template/c/main.c")),
            ("lux.h", include_str!("template/c/lux.h")),
        ],
    }
}

/// Returns the table [build] of the manifest's file.
fn build(lang: Lang, source: &str) -> String {
    let command = match lang {
        Lang::Wat => None,
        Lang::Assemblyscript => Some(format!(
            "npx --yes --package {ASSEMBLYSCRIPT} -- asc {source} -o {MODULE} {ASC_FLAGS}"
        )),
        Lang::Rust => Some(format!(
            "rustc --edition 2024 --target {RUST_TARGET} --crate-type cdylib -C opt-level=s \
             -C lto -C panic=abort -C strip=symbols -C link-arg=-zstack-size=65536 {source} -o {MODULE}"
        )),
        Lang::C => Some(format!(
            "clang --target=wasm32 -Os -nostdlib -Wl,--no-entry -Wl,--strip-all {source} -o {MODULE}"
        )),
    };
    let mut text = format!("[build]\nsource = \"{source}\"\nmodule = \"{MODULE}\"\n");
    if let Some(command) = command {
        text.push_str(&format!("command = \"{command}\"\n"));
    }
    text
}

/// The target of Rust programs.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Fails where a language cannot be built, and says what is missing.
fn available(lang: Lang) -> Result<()> {
    let missing = |what: &str| {
        Err(Failure::usage(format!(
            "{what}; --lang wat needs nothing, --lang assemblyscript needs npm"
        )))
    };
    match lang {
        Lang::Wat => Ok(()),
        Lang::Assemblyscript if says("npm", &["--version"]).is_none() => {
            missing("there is no npm, with which AssemblyScript is built")
        }
        Lang::Rust => {
            let libdir = says("rustc", &["--print", "target-libdir", "--target", RUST_TARGET]);
            match libdir.is_some_and(|dir| Path::new(dir.trim()).exists()) {
                true => Ok(()),
                false => missing(
                    "Rust's target wasm32-unknown-unknown is not installed ('rustup target add \
                     wasm32-unknown-unknown')",
                ),
            }
        }
        Lang::C if says("clang", &["--version"]).is_none() => missing("there is no clang"),
        Lang::C if says("wasm-ld", &["--version"]).is_none() => {
            missing("there is no wasm-ld (part of LLVM's lld), which clang links with")
        }
        Lang::Assemblyscript | Lang::C => Ok(()),
    }
}

/// Returns what a program says if it is there and succeeds.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
