//! What a client keeps from one start to the next. What is there is private: it tells through whom
//! somebody is reached, and over whom.
//!
//! Whatever is missing or broken is found out again: that takes longer, and other guards are chosen.

use std::path::{Path, PathBuf};

use session_client::onion::{GuardList, Health, HopKeyList, Kept};
use session_core::{Decode, Encode};
use session_runtime::files::{self, Existing, Loose, SECRET_MODE};

/// The nodes that packets are given to.
pub const GUARDS_FILE: &str = "guards";

/// How hops and guards were in the last minutes.
pub const HEALTH_FILE: &str = "hops";

/// The keys of hops.
pub const HOP_KEYS_FILE: &str = "hop-keys";

/// A list of guards has less than 500 bytes.
const GUARDS_BYTES_MAX: usize = 4 * 1024;

/// The state of 128 hops has less than 8,000 bytes.
const HEALTH_BYTES_MAX: usize = 16 * 1024;

/// 1,024 keys have 4.7 MB.
const HOP_KEYS_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Where it is kept; nowhere, where nobody said.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptFiles(pub(crate) Option<PathBuf>);

impl KeptFiles {
    /// Reads what was kept, and says what of it cannot be used.
    pub(crate) fn load(&self) -> (Kept, Vec<String>) {
        let mut broken = Vec::new();
        let guards = self.read(GUARDS_FILE, GUARDS_BYTES_MAX, "other guards are chosen");
        let health = self.read(HEALTH_FILE, HEALTH_BYTES_MAX, "hops are tried anew");
        let keys = self.read(HOP_KEYS_FILE, HOP_KEYS_BYTES_MAX, "hop keys are read anew");
        let kept = Kept {
            guards: or_none(guards, &mut broken),
            health: or_none(health, &mut broken),
            hop_keys: or_none(keys, &mut broken),
        };
        (kept, broken)
    }

    /// The same, with what is broken told to the log.
    pub(crate) fn load_or_warn(&self) -> Kept {
        let (kept, broken) = self.load();
        broken.iter().for_each(|why| tracing::warn!("{why}"));
        kept
    }

    fn read<T: Decode + Default>(&self, name: &str, max: usize, then: &str) -> Result<T, String> {
        let Some(path) = self.path(name).filter(|path| path.exists()) else {
            return Ok(T::default());
        };
        let read = files::read_secret(&path, max, Loose::Warn).map_err(|error| error.to_string());
        let decoded =
            read.and_then(|bytes| T::decode_exact(&bytes).map_err(|error| error.to_string()));
        decoded.map_err(|why| format!("{}: {why}; {then}", path.display()))
    }

    pub(crate) fn save_guards(&self, guards: &GuardList) {
        self.write(GUARDS_FILE, guards);
    }

    pub(crate) fn save_health(&self, health: &Health) {
        self.write(HEALTH_FILE, health);
    }

    pub(crate) fn save_hop_keys(&self, keys: &HopKeyList) {
        self.write(HOP_KEYS_FILE, keys);
    }

    fn write(&self, name: &str, what: &impl Encode) {
        let Some(path) = self.path(name) else { return };
        let bytes = what.to_bytes();
        if let Err(error) = files::write_atomic(&path, &bytes, SECRET_MODE, Existing::Replace) {
            tracing::warn!("{name} is not kept for the next start: {error}");
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.as_deref().map(|folder: &Path| folder.join(name))
    }
}

fn or_none<T: Default>(read: Result<T, String>, broken: &mut Vec<String>) -> T {
    read.unwrap_or_else(|why| {
        broken.push(why);
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use session_core::{NodeId, Span, Time};

    use super::*;

    #[test]
    fn what_is_broken_is_named_and_read_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = KeptFiles(Some(folder.path().to_owned()));
        assert_eq!(files.load(), (Kept::default(), vec![]), "nothing is there yet");
        let guard = session_client::onion::Guard {
            node: NodeId::from([1; 32]),
            since: Time::ZERO,
            until: Time::ZERO + Span::from_days(40),
        };
        let guards = GuardList { guards: session_core::List::new(vec![guard]).unwrap() };
        let health = Health { usual: Some(Span::from_millis(3)), ..Health::default() };
        files.save_guards(&guards);
        files.save_health(&health);
        files.save_hop_keys(&HopKeyList::default());
        let kept = Kept { guards, health, hop_keys: HopKeyList::default() };
        assert_eq!(files.load(), (kept.clone(), vec![]));
        let path = folder.path().join(GUARDS_FILE);
        std::fs::write(&path, b"not a list").unwrap();
        let (read, broken) = files.load();
        assert_eq!(read, Kept { guards: GuardList::default(), ..kept });
        assert_eq!(broken.len(), 1);
        assert!(broken[0].contains("guards") && broken[0].contains("other guards are chosen"));
        std::fs::write(&path, vec![0; GUARDS_BYTES_MAX + 1]).unwrap();
        assert_eq!(files.load().1.len(), 1, "what is too long is not read");
        let nowhere = KeptFiles::default();
        nowhere.save_guards(&GuardList::default());
        assert_eq!(nowhere.load(), (Kept::default(), vec![]));
    }
}
