//! What may not be in a file of the repository.

use std::path::Path;

use anyhow::Context as _;

use crate::output;

/// Longer files hold more than one concept.
const LINES_MAX: usize = 800;

/// Directories that exist on one machine only. Written in pieces: this file is checked too.
const MACHINE_ROOTS: [&str; 3] =
    [concat!("/", "work/"), concat!("/", "home/"), concat!("/", "root/")];

/// Macros that stand for code nobody wrote.
const STUBS: [&str; 2] = [concat!("todo", "!"), concat!("unimplemented", "!")];

/// A text file of the repository.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// Reads the text files that git tracks or would track; others are skipped.
pub(super) fn tracked(root: &Path) -> anyhow::Result<Vec<Source>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = String::from_utf8(output(root, "git", &arguments)?)?;
    let mut sources = Vec::new();
    for path in listed.split_terminator('\0') {
        let full = root.join(path);
        // Deleted but not yet staged, or a link that leads elsewhere.
        if !full.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source { path: path.to_owned(), text });
        }
    }
    Ok(sources)
}

/// Returns one line for each rule that a file breaks.
pub(super) fn complaints(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut complaints = Vec::new();
    let rust = path.ends_with(".rs");
    let lines = text.lines().count();
    if rust && lines > LINES_MAX {
        complaints.push(format!("{path}: {lines} lines, the limit is {LINES_MAX}"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(root) = MACHINE_ROOTS.iter().find(|root| names_machine_path(line, root)) {
            complaints
                .push(format!("{path}:{number}: a path below {root} exists on one machine only"));
        }
        if !rust {
            continue;
        }
        if line.trim_start().starts_with("#[ignore") {
            complaints.push(format!("{path}:{number}: a test that does not run proves nothing"));
        }
        if let Some(stub) = STUBS.iter().find(|stub| line.contains(**stub)) {
            complaints.push(format!("{path}:{number}: {stub} is not an implementation"));
        }
    }
    complaints
}

/// Returns one line for each wire document that their README does not name.
pub(super) fn unlisted_wire_documents(sources: &[Source]) -> Vec<String> {
    const FOLDER: &str = "docs/wire/";
    let readme = sources.iter().find(|source| source.path == "docs/wire/README.md");
    let Some(readme) = readme else { return Vec::new() };
    sources
        .iter()
        .filter_map(|source| source.path.strip_prefix(FOLDER))
        .filter(|name| name.ends_with(".md") && *name != "README.md")
        .filter(|name| !readme.text.contains(*name))
        .map(|name| format!("docs/wire/README.md does not name {name}"))
        .collect()
}

/// Whether `root` starts a path in this line, as opposed to being part of a URL or another path.
fn names_machine_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | ')' | '*'))
    })
}

#[cfg(test)]
mod tests;
