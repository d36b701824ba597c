//! The last quorum certificates, for whoever wants to check a beacon without this node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use session_core::Epoch;
use session_runtime::files::{self, Existing, FileError};

/// Certificates that are kept.
const KEPT: usize = 64;
/// The directory, below the node's.
const DIRECTORY: &str = "certificates";
const SUFFIX: &str = ".certificate";
/// They are public.
const MODE: u32 = 0o644;
/// A committee of at most 21 signs.
const BYTES_MAX: usize = 1 << 20;

/// Certificate files by epoch.
pub(crate) struct Certificates {
    dir: Option<PathBuf>,
    kept: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Certificates {
    /// Takes what earlier runs kept below a node's data directory.
    pub(crate) fn open(data_dir: Option<PathBuf>) -> Result<Self, FileError> {
        let dir = data_dir.map(|dir| dir.join(DIRECTORY));
        let mut kept = BTreeMap::new();
        if let Some(dir) = &dir {
            files::create_private_directory(dir)?;
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let epoch = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
                let Some(epoch) = epoch.and_then(|epoch| epoch.parse().ok()) else { continue };
                // One that cannot be read is made again by nobody, and missed by nobody.
                if let Ok(bytes) = files::read(&entry.path(), BYTES_MAX) {
                    kept.insert(epoch, bytes);
                }
            }
        }
        Ok(Self { dir, kept: Mutex::new(kept) })
    }

    /// Keeps a certificate file, and forgets the oldest one.
    pub(crate) fn keep(&self, epoch: Epoch, bytes: Vec<u8>) -> Result<(), FileError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = &self.dir {
            let path = dir.join(format!("{}{SUFFIX}", epoch.0));
            files::write_atomic(&path, &bytes, MODE, Existing::Replace)?;
        }
        kept.insert(epoch.0, bytes);
        while kept.len() > KEPT {
            let Some((oldest, _)) = kept.pop_first() else { break };
            if let Some(dir) = &self.dir {
                // One that stays behind is counted at the next start.
                let _ = std::fs::remove_file(dir.join(format!("{oldest}{SUFFIX}")));
            }
        }
        Ok(())
    }

    /// Returns the certificate file of an epoch's beacon.
    pub(crate) fn get(&self, epoch: u64) -> Option<Vec<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned()
    }

    /// Returns the last epoch that has one.
    pub(crate) fn last(&self) -> Option<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last_key_value().map(|(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_found_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let open = || Certificates::open(Some(dir.path().to_owned())).unwrap();
        let certificates = open();
        for epoch in 0..KEPT as u64 + 3 {
            certificates.keep(Epoch(epoch), vec![epoch as u8; 3]).unwrap();
        }
        assert_eq!((certificates.get(2), certificates.get(3)), (None, Some(vec![3; 3])));
        assert_eq!(certificates.last(), Some(KEPT as u64 + 2));
        let again = open();
        assert_eq!((again.get(2), again.get(3)), (None, Some(vec![3; 3])));
        let files = std::fs::read_dir(dir.path().join(DIRECTORY)).unwrap().count();
        assert_eq!(files, KEPT);
    }

    #[test]
    fn a_node_in_memory_keeps_them_too() {
        let certificates = Certificates::open(None).unwrap();
        certificates.keep(Epoch(7), vec![7]).unwrap();
        assert_eq!(certificates.get(7), Some(vec![7]));
    }
}
