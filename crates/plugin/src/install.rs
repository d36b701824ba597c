//! Copying this program into a host's plugin directory.
//!
//! Hosts read every file name in that directory as a VM id, extension cut off: one bad name, or a
//! second file of the same stem, and no plugin of theirs loads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use session_rpc::vm::{VMID, check_vmid};
use session_runtime::failure::{Failure, Result};

/// Installs `program` into `dir`. Returns where it is, and what an operator should know.
///
/// # Errors
/// When `dir` is not a directory, or the program cannot be copied.
pub fn install(program: &Path, dir: &Path) -> Result<(PathBuf, Vec<String>)> {
    if !dir.is_dir() {
        let at = dir.display();
        return Err(Failure::usage(format!("{at} is not a directory: make it, or name another")));
    }
    let warnings = warnings(dir)?;
    let target = dir.join(VMID);
    // Beside the plugins a half-copied file would itself be a plugin of a bad name: its name begins
    // with a dot, so its stem is empty and hosts skip it.
    let fresh = dir.join(".sessionvm-new");
    let failed = |what: &'static str| {
        let target = target.display().to_string();
        move |error| Failure::runtime(format!("cannot {what} {target}: {error}"))
    };
    fs::copy(program, &fresh).map_err(failed("write"))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(failed("mark"))?;
    fs::rename(&fresh, &target).map_err(failed("replace"))?;
    Ok((target, warnings))
}

fn warnings(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir)
        .map_err(|error| Failure::runtime(format!("cannot read {}: {error}", dir.display())))?;
    let mut warnings = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() || name == VMID || name.starts_with('.') {
            continue;
        }
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        if stem == VMID {
            warnings.push(format!(
                "{name}: hosts cut off the extension and see a second plugin for this VM: remove it"
            ));
        } else if let Err(error) = check_vmid(stem)
            && session_core::id::from_cb58(stem).is_err()
        {
            warnings.push(format!(
                "{name}: not a VM id, hosts refuse the whole directory unless it is an alias: {error}"
            ));
        }
    }
    warnings.sort();
    Ok(warnings)
}

#[cfg(test)]
mod tests;
