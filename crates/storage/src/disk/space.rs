//! Room on the disk: reserved before it is used, so that a full disk is met when something is
//! stored and not when it is written.

use std::fs::File;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::format::Class;
use crate::error::StoreError;

/// Items leave this much room, or a thirty-second of the whole if that is less, to removals and
/// records, so that a full store can still be tidied by its owners.
const MARGIN_MAX: u64 = 16 * 1024 * 1024;

/// The room that all segments together have, and may have.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    pub(crate) allocated: u64,
    max: u64,
    margin: u64,
}

impl Space {
    pub(crate) fn new(dir: PathBuf, max: u64) -> Self {
        let whole =
            statvfs(&dir).map_or(max, |disk| disk.f_blocks.saturating_mul(disk.f_frsize).min(max));
        Self { dir, allocated: 0, max, margin: (whole / 32).min(MARGIN_MAX) }
    }

    /// Extends a segment file from `from` to `to` bytes of reserved room.
    pub(crate) fn extend(
        &mut self,
        class: Class,
        file: &File,
        from: u32,
        to: u32,
    ) -> Result<(), StoreError> {
        let needed = u64::from(to.saturating_sub(from));
        let margin = if class.holds_items() { self.margin } else { 0 };
        let free = self.free();
        if needed + margin > free {
            return Err(StoreError::Full { needed, free });
        }
        match fallocate(file, FallocateFlags::empty(), from.into(), needed) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => {
                return Err(StoreError::Full { needed, free });
            }
            // Not every file system can reserve; there a full disk is met by the committer.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file
                .set_len(to.into())
                .map_err(|error| StoreError::io("extending a segment", &error))?,
            Err(errno) => {
                return Err(StoreError::io("reserving room for a segment", &errno.into()));
            }
        }
        self.allocated += needed;
        Ok(())
    }

    /// Notes that room was given back.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.allocated = self.allocated.saturating_sub(bytes);
    }

    /// Returns how many bytes new segments could still take.
    pub(crate) fn free(&self) -> u64 {
        let disk = statvfs(&self.dir).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        disk.min(self.max.saturating_sub(self.allocated))
    }
}
