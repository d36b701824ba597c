//! How much room a disk has, and whether it keeps what it is given.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::files::{self, Existing, FileError, SECRET_MODE};

/// What is written to see how long the disk takes.
const PROBE: &[u8] = b"written to see how long the disk takes; may be removed\n";
/// The file that it is written to.
const PROBE_FILE: &str = ".disk-probe";

/// Returns how many bytes a program without privileges may still write below `path`.
///
/// # Errors
/// When the operating system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Writes a small file in a directory, waits until it is on disk, and removes it. Returns how long
/// writing took.
///
/// # Errors
/// When it cannot be written or removed.
#[allow(clippy::disallowed_methods)] // a stopwatch
pub fn write_latency(directory: &Path) -> Result<Duration, FileError> {
    let path = directory.join(PROBE_FILE);
    let begun = Instant::now();
    files::write_atomic(&path, PROBE, SECRET_MODE, Existing::Replace)?;
    let took = begun.elapsed();
    std::fs::remove_file(&path).map_err(|source| FileError::Io {
        action: "remove",
        path,
        source,
    })?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_writes() {
        let dir = tempfile::TempDir::new().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert!(write_latency(dir.path()).unwrap() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left over");
        assert!(free_bytes(&dir.path().join("absent")).is_err());
        assert!(write_latency(&dir.path().join("absent")).is_err());
    }
}
