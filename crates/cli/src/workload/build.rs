//! `session workload build`: from the source to a module that nodes would run.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use session_executor::engine;
use session_protocol::workload::blob_id;

use super::project::{Package, Project, check};
use super::wasm;
use crate::exit::{Doing, Failure, Result};
use crate::out::{Out, rows};

/// Makes the module of a folder, checks it, and shows what it is.
pub(super) fn run(out: Out, dir: &Path) -> Result<()> {
    let project = Project::open(dir)?;
    make(&project)?;
    let path = project.module_path()?;
    let module = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    let package = Package::new(project.manifest, module, Vec::new())?;
    tell(out, &path, &package);
    Ok(())
}

fn tell(out: Out, path: &Path, package: &Package) {
    let module = &package.module;
    let imports = wasm::imports(module).unwrap_or_default();
    let (hash, program, profile) = (blob_id(module), package.program(), engine::profile());
    out.result(
        || {
            rows(&[
                ("module", path.display().to_string()),
                ("bytes", module.len().to_string()),
                ("hash", hash.to_string()),
                ("program", format!("{program} (module, profile and manifest)")),
                ("profile", profile.to_string()),
                ("imports", imports.join(", ")),
            ])
        },
        || {
            json!({ "module": path, "bytes": module.len(), "hash": hash.to_string(),
                    "program": program.to_string(), "profile": profile.to_string(),
                    "imports": imports })
        },
    );
}

/// Makes the module of a folder if it is not there, or a source is younger.
pub(super) fn ensure(project: &Project) -> Result<()> {
    let Some(build) = &project.build else { return Ok(()) };
    let age = |path: &Path| std::fs::metadata(path).and_then(|of| of.modified()).ok();
    let made = age(&project.dir.join(&build.module));
    let kind = build.source.extension();
    let files = std::fs::read_dir(&project.dir).into_iter().flatten().filter_map(Result::ok);
    let sources = files.map(|file| file.path()).filter(|path| path.extension() == kind);
    let newest = sources.filter_map(|path| age(&path)).max();
    if made.is_some() && newest <= made { Ok(()) } else { make(project) }
}

/// Makes the module of a folder from its source.
pub(super) fn make(project: &Project) -> Result<()> {
    let path = project.module_path()?;
    let Some(build) = &project.build else { return Ok(()) };
    let source = project.dir.join(&build.source);
    match &build.command {
        Some(line) => shell(line, &project.dir)?,
        None => {
            let text =
                std::fs::read(&source).doing(|| format!("cannot read {}", source.display()))?;
            let module = wat::parse_bytes(&text)
                .map_err(|error| Failure::failed(format!("{}: {error}", source.display())))?;
            std::fs::write(&path, module).doing(|| format!("cannot write {}", path.display()))?;
        }
    }
    if !path.exists() {
        return Err(Failure::failed(format!("the build did not make {}", path.display())));
    }
    let module = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    check(&module, &project.manifest)
}

/// Runs a line of the folder's author; what it says goes to standard error.
fn shell(line: &str, dir: &Path) -> Result<()> {
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(dir)
        .output()
        .doing(|| "cannot start sh".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = [output.stdout, output.stderr]
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    Err(Failure::failed(format!(
        "the build line failed ({}): {line}\n{}",
        output.status,
        said.trim()
    )))
}
