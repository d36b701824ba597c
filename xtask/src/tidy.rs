//! The rules of the house, checked.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;

use crate::output;

mod edges;
mod sources;

/// What was looked at, so that a check of nothing is noticed.
pub(crate) struct Checked {
    edges: usize,
    trees: usize,
    files: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edges, trees, files } = self;
        write!(f, "{edges} dependencies, {trees} dependency trees and {files} files are in order")
    }
}

/// Checks the repository at `root` and returns one line for each rule that is broken.
pub(crate) fn check(root: &Path) -> anyhow::Result<(Checked, Vec<String>)> {
    let metadata = output(root, "cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
    let edges = edges::parse(&metadata)?;
    let mut complaints = edges::complaints(&edges);

    let pure = edges::pure_packages(&edges);
    for package in &pure {
        let arguments = [
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ];
        let tree = String::from_utf8(output(root, "cargo", &arguments)?)?;
        complaints.extend(edges::reaches_the_world(package, &tree));
    }

    let files = sources::tracked(root).context("cannot list the files of the repository")?;
    complaints.extend(files.iter().flat_map(sources::complaints));
    complaints.extend(sources::unlisted_wire_documents(&files));
    Ok((Checked { edges: edges.len(), trees: pure.len(), files: files.len() }, complaints))
}
