//! The vault of a simulated device: it knows what is not committed yet.

use session_messaging::vault::{MemoryVault, Vault};

/// A vault that a crash takes back to its last commit, and that can be copied as a thief would, or
/// whoever restores an old image of a disk.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    vault: MemoryVault,
    /// What was there before each change since the last commit.
    before: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Journal {
    /// Takes up what is on a disk.
    pub(crate) const fn over(vault: MemoryVault) -> Self {
        Self { vault, before: Vec::new() }
    }

    pub(crate) const fn is_written(&self) -> bool {
        !self.before.is_empty()
    }

    pub(crate) fn commit(&mut self) {
        self.before.clear();
    }

    /// Loses what was not committed.
    pub(crate) fn crash(&mut self) {
        while let Some((key, value)) = self.before.pop() {
            match value {
                Some(value) => self.vault.put(&key, &value),
                None => self.vault.remove(&key),
            }
        }
    }

    /// Copies what a crash would leave.
    pub(crate) fn image(&self) -> MemoryVault {
        let mut copy = Self { vault: self.vault.clone(), before: self.before.clone() };
        copy.crash();
        copy.vault
    }
}

impl Vault for Journal {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.vault.get(key)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.before.push((key.to_vec(), self.vault.get(key)));
        self.vault.put(key, value);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(value) = self.vault.get(key) {
            self.before.push((key.to_vec(), Some(value)));
            self.vault.remove(key);
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        self.vault.scan(prefix, from, backwards, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_goes_back_to_the_last_commit() {
        let mut journal = Journal::default();
        journal.put(b"kept", b"1");
        journal.put(b"gone", b"1");
        journal.commit();
        assert!(!journal.is_written());
        journal.put(b"kept", b"2");
        journal.put(b"kept", b"3");
        journal.put(b"new", b"1");
        journal.remove(b"gone");
        let image = journal.image();
        journal.crash();
        for vault in [&image as &dyn Vault, &journal] {
            assert_eq!(vault.get(b"kept").as_deref(), Some(&b"1"[..]));
            assert_eq!(vault.get(b"gone").as_deref(), Some(&b"1"[..]));
            assert_eq!(vault.get(b"new"), None);
        }
    }
}
