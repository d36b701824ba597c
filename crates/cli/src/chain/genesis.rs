//! From the genesis file that people write to the genesis of the rules, whose hash names the chain.

use std::path::Path;

use session_rpc::vm::Genesis as GenesisFile;
use session_rpc::vm::genesis::GENESIS_BYTES_MAX;
use session_runtime::files;
use session_vm::genesis::Genesis;
use session_vm::genesis_file;

use crate::exit::{Failure, Result};

/// Reads a genesis file, and makes the genesis of it.
pub(crate) fn read(path: &Path) -> Result<Genesis> {
    let text = files::read(path, GENESIS_BYTES_MAX).map_err(Failure::usage)?;
    let wrong = |why: String| Failure::usage(format!("the genesis {}: {why}", path.display()));
    let (file, unknown) = GenesisFile::parse(&text).map_err(|error| wrong(error.to_string()))?;
    for key in unknown {
        tracing::warn!("the genesis {}: nobody knows the key {key}", path.display());
    }
    genesis_file::from_file(&file).map_err(|error| wrong(error.to_string()))
}
