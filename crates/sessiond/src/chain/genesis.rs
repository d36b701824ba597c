//! The genesis file: which chain it is, and who seals its blocks.

use std::path::Path;

use session_rpc::vm::Genesis as GenesisFile;
use session_runtime::failure::{Failure, Result};
use session_runtime::files;
use session_vm::genesis::Genesis;
use session_vm::genesis_file;

/// The genesis in a node's data directory.
pub(crate) const FILE: &str = "genesis.json";

/// Far above every genesis; a wrong path must not fill the memory.
const BYTES_MAX: usize = 64 << 20;

/// Reads a genesis file. Returns it with its text, and warns of what nobody knows in it.
///
/// # Errors
/// When it cannot be read, or is no genesis.
pub(crate) fn read(path: &Path) -> Result<(Genesis, Vec<u8>)> {
    let at = path.display();
    let text = files::read(path, BYTES_MAX)
        .map_err(|error| Failure::usage(format!("the genesis: {error}")))?;
    let (file, warnings) = GenesisFile::parse(&text)
        .map_err(|error| Failure::usage(format!("the genesis {at}: {error}")))?;
    for warning in warnings {
        tracing::warn!("the genesis {at}: nobody knows the key {warning}");
    }
    let genesis = genesis_file::from_file(&file)
        .map_err(|error| Failure::usage(format!("the genesis {at}: {error}")))?;
    Ok((genesis, text))
}
