//! The folder of a workload.
//!
//! ```text
//! DIR/workload.toml     the manifest, and in [build] how the module is made
//! DIR/SOURCE            the program
//! DIR/MODULE            what it becomes; made by 'session workload build'
//! DIR/input             the input when none is named
//! DIR/world.toml        the outside world of 'session workload dev'
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;
use session_core::{Digest, Encode};
use session_executor::{engine, transform};
use session_protocol::workload::manifest::WORKLOAD_VERSION;
use session_protocol::workload::{
    INPUT_BYTES_MAX, MODULE_BYTES_MAX, Manifest, Workload, blob_id, file,
};

use crate::exit::{Doing, Failure, Result};

/// The name of the manifest.
pub(super) const MANIFEST: &str = "workload.toml";
/// The name of the input.
const INPUT: &str = "input";

/// How the module of a folder is made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Build {
    /// The program's text.
    pub(super) source: PathBuf,
    /// The module that is made of it.
    pub(super) module: PathBuf,
    /// The line for `sh` that makes it, in the folder; WebAssembly text needs none.
    pub(super) command: Option<String>,
}

/// The folder of a workload, read.
#[derive(Clone, Debug)]
pub(super) struct Project {
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
    /// A folder may hold a module that was made elsewhere.
    pub(super) build: Option<Build>,
}

/// All that a session is made of.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) manifest: Manifest,
    pub(super) module: Vec<u8>,
    /// The canonical bytes of the workload.
    pub(super) workload: Vec<u8>,
    pub(super) input: Vec<u8>,
}

#[derive(Deserialize)]
struct OnlyBuild {
    build: Option<Build>,
}

impl Project {
    /// Reads the folder.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Err(Failure::usage(format!(
                "{} is not there: name the folder of a workload, or make one with 'session \
                 workload new'",
                path.display()
            )));
        }
        let (manifest, build) = read(&path)?;
        Ok(Self { dir: dir.to_owned(), manifest, build })
    }

    /// Returns where the module is.
    pub(super) fn module_path(&self) -> Result<PathBuf> {
        let build = self.build.as_ref().ok_or_else(|| {
            Failure::usage(format!(
                "{} has no table [build] that names source and module",
                self.dir.join(MANIFEST).display()
            ))
        })?;
        Ok(self.dir.join(&build.module))
    }
}

/// Reads the file of a manifest.
pub(super) fn read(path: &Path) -> Result<(Manifest, Option<Build>)> {
    let text = std::fs::read_to_string(path).doing(|| format!("cannot read {}", path.display()))?;
    let wrong = |why: String| Failure::usage(format!("{}: {}", path.display(), why.trim()));
    let OnlyBuild { build } = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let manifest = file::parse(&text).map_err(|error| wrong(error.to_string()))?;
    transform::check(&manifest).map_err(|error| wrong(error.to_string()))?;
    Ok((manifest, build))
}

impl Package {
    /// Puts together what a session needs, and checks it as nodes do.
    pub(super) fn new(manifest: Manifest, module: Vec<u8>, input: Vec<u8>) -> Result<Self> {
        let over = |what: &str, got: usize, max: usize| match got > max {
            true => Err(Failure::usage(format!("the {what} has {got} bytes, the limit is {max}"))),
            false => Ok(()),
        };
        over("module", module.len(), MODULE_BYTES_MAX)?;
        over("input", input.len(), INPUT_BYTES_MAX)?;
        check(&module, &manifest)?;
        let workload = Workload {
            version: WORKLOAD_VERSION,
            module: blob_id(&module),
            profile: engine::profile(),
            manifest: manifest.clone(),
        };
        Ok(Self { manifest, module, workload: workload.to_bytes(), input })
    }

    /// Takes a folder, or a module with its manifest.
    pub(super) fn find(
        module: &Path,
        manifest: Option<&Path>,
        input: Option<&Path>,
    ) -> Result<Self> {
        if module.is_dir() {
            let project = Project::open(module)?;
            let of_folder = project.module_path()?;
            super::build::ensure(&project)?;
            let manifest = match manifest {
                Some(named) => read(named)?.0,
                None => project.manifest.clone(),
            };
            return Self::new(manifest, read_module(&of_folder)?, read_input(input, module)?);
        }
        let beside = module.with_file_name(MANIFEST);
        let (manifest, _) = read(manifest.unwrap_or(&beside))?;
        let dir = module.parent().unwrap_or(Path::new("."));
        Self::new(manifest, read_module(module)?, read_input(input, dir)?)
    }

    /// Returns what the chain calls the program.
    pub(super) fn program(&self) -> Digest {
        blob_id(&self.workload)
    }
}

/// Checks a module as nodes do.
pub(super) fn check(module: &[u8], manifest: &Manifest) -> Result<()> {
    engine::check(module, manifest)
        .map_err(|error| Failure::refused(format!("no node would run the module: {error}")))
}

/// Reads a module in either of its forms.
fn read_module(path: &Path) -> Result<Vec<u8>> {
    let bytes = crate::home::read_input(path)?;
    if bytes.starts_with(b"\0asm") {
        return Ok(bytes);
    }
    let module = wat::parse_bytes(&bytes)
        .map_err(|error| Failure::usage(format!("{} is no module: {error}", path.display())))?;
    Ok(module.into_owned())
}

/// Reads the input: the one that was named, the one in the folder, or none.
fn read_input(named: Option<&Path>, dir: &Path) -> Result<Vec<u8>> {
    match named {
        Some(path) => crate::home::read_input(path),
        None if dir.join(INPUT).exists() => crate::home::read_input(&dir.join(INPUT)),
        None => Ok(Vec::new()),
    }
}
