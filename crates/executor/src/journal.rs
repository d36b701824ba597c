//! What a member writes down about a session, in order.
//!
//! An entry is written before anybody hears of what it says; a session that was interrupted goes on
//! from its entries. Commits of the store are not atomic: an entry carries its length and a digest,
//! and what follows the first one that is torn or missing was never acted on and is dropped.
//!
//! | record | bytes |
//! |---|---|
//! | key | session (32) ‖ index `u32` ‖ part `u16` |
//! | part 0 | length of the entry `u32` ‖ digest (32) ‖ bytes |
//! | other parts | bytes |

use session_core::committee::MEMBERS_MAX;
use session_core::{
    Blob, ChainId, Decode, Digest, Domain, Encode, Epoch, List, ServiceId, SessionId, Span, Text,
    Time, TxId, choice, digest, record,
};
use session_protocol::attestation::{QuorumCertificate, Vote};
use session_protocol::workload::OracleCall;
use session_protocol::workload::message::Decision;
use session_protocol::workload::oracle::RequestKind;
use session_protocol::workload::step::StepLeaf;
use session_storage::{Store, StoreError, Table};

use crate::bundle::{Member, Outcome};
use crate::round::RoundEntry;

/// How long the journal of a session is kept after its end.
pub(crate) const RETENTION: Span = Span::from_days(7);
/// Bytes of one record: below the largest value of the store.
const PART_BYTES: usize = 60 * 1024;
/// Length and digest.
const HEAD_BYTES: usize = 4 + 32;
/// The largest entry: a decision with the records of all members is below 1 MiB.
const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest line of a program's log.
pub(crate) const LINE_BYTES_MAX: usize = 1024;

record! {
    /// What a session is made of, but for the bytes that have names.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Created {
        pub(crate) chain: ChainId,
        pub(crate) session: SessionId,
        pub(crate) service: ServiceId,
        pub(crate) epoch: Epoch,
        pub(crate) tx: TxId,
        pub(crate) randomness: Digest,
        pub(crate) created: Time,
        pub(crate) deadline: Time,
        pub(crate) committee: Digest,
        pub(crate) members: List<Member, MEMBERS_MAX>,
        pub(crate) program: Digest,
        pub(crate) input: Digest,
    }

    /// A message that a program emitted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Sent {
        pub(crate) receiver: [u8; 32],
        pub(crate) message_hash: Digest,
    }
}

choice! {
    /// What happened to a session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Entry {
        /// It is known, with its program and its input.
        1 => Created {
            facts: Box<Created>,
        },
        /// It began.
        2 => Started {
            at: Time,
        },
        /// A compute step ended.
        3 => Ran {
            at: Time,
            leaf: StepLeaf,
            fuel: u64,
            sent: List<Sent, 1024>,
            logs: List<Text<LINE_BYTES_MAX>, 262_144>,
        },
        /// The program asks the world.
        4 => Asked {
            at: Time,
            kind: RequestKind,
            call: OracleCall,
        },
        /// Something about the agreement on a step.
        5 => Round {
            step: u32,
            entry: Box<RoundEntry>,
        },
        /// The committee decided a step.
        6 => Decided {
            at: Time,
            step: u32,
            decision: Box<Decision>,
        },
        /// The program goes on as new with what it keeps.
        7 => Checkpoint {
            at: Time,
            state: Blob<2_097_152>,
        },
        /// The program ended.
        8 => Completed {
            at: Time,
            outcome: Outcome,
            vote: Option<Box<Vote>>,
        },
        /// The session ended.
        9 => Ended {
            at: Time,
            ending: Ending,
        },
        /// Bytes came from the world.
        10 => Received {
            bytes: u64,
        },
    }

    /// What a session ended with.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Ending {
        /// A quorum attests what came of it.
        1 => Attested {
            certificate: Box<QuorumCertificate>,
        },
        /// Its time was over.
        2 => Expired,
        /// The quorum attests, or the journal says, something else than what was computed here.
        3 => Diverged {
            certificate: Option<Box<QuorumCertificate>>,
        },
        /// The chain no longer has it, and nobody said why.
        4 => Gone,
    }
}

/// Where the journal of one session is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    session: SessionId,
    next: u32,
    expiry: Time,
}

impl Journal {
    /// Begins the journal of a session that must have ended at `deadline`.
    pub(crate) fn new(session: SessionId, deadline: Time) -> Self {
        Self { session, next: 0, expiry: expiry(deadline) }
    }

    /// Opens a journal after a start: reads its entries, and drops what is behind a torn one.
    pub(crate) fn open(
        store: &mut dyn Store,
        session: SessionId,
    ) -> Result<(Self, Vec<Entry>), StoreError> {
        let entries: Vec<Entry> = entries(store, session).collect();
        let next = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let end = key(&session, next, 0);
        let mut expiry = Time::ZERO;
        for (key, until) in store.records(Table::Journal, session.as_bytes()) {
            if key >= end {
                store.remove_record(Table::Journal, &key)?;
            } else {
                expiry = until;
            }
        }
        Ok((Self { session, next, expiry }, entries))
    }

    /// Writes an entry behind the others.
    pub(crate) fn append(
        &mut self,
        store: &mut dyn Store,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let bytes = entry.to_bytes();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let sum = checksum(&self.session, self.next, &bytes);
        let framed = [&length.to_be_bytes()[..], sum.as_bytes(), &bytes].concat();
        for (part, piece) in (0_u16..).zip(framed.chunks(PART_BYTES)) {
            let key = key(&self.session, self.next, part);
            store.put_record(Table::Journal, &key, piece, self.expiry)?;
        }
        self.next += 1;
        Ok(())
    }
}

/// Returns until when records of a session are kept that must have ended at `deadline`.
pub(crate) fn expiry(deadline: Time) -> Time {
    // A session that is late to hear of its end is kept as long as others.
    deadline + RETENTION + Span::from_days(1)
}

/// Reads the entries of a session, up to the first that is torn or missing.
pub(crate) fn entries(store: &dyn Store, session: SessionId) -> impl Iterator<Item = Entry> {
    (0..).map_while(move |index| read(store, &session, index))
}

/// Reads one entry.
pub(crate) fn read(store: &dyn Store, session: &SessionId, index: u32) -> Option<Entry> {
    let part = |part| store.record(Table::Journal, &key(session, index, part)).ok().flatten();
    let mut framed = part(0)?;
    let (length, _) = framed.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > ENTRY_BYTES_MAX {
        return None;
    }
    for number in 1..(length + HEAD_BYTES).div_ceil(PART_BYTES) {
        framed.extend_from_slice(&part(u16::try_from(number).ok()?)?);
    }
    let (head, bytes) = framed.split_at_checked(HEAD_BYTES)?;
    let sum = checksum(session, index, bytes);
    if bytes.len() != length || head[4..] != sum.as_bytes()[..] {
        return None;
    }
    Entry::decode_exact(bytes).ok()
}

/// Returns the sessions that have a journal, and when its records expire.
pub(crate) fn sessions(store: &dyn Store) -> Vec<(SessionId, Time)> {
    let mut sessions: Vec<(SessionId, Time)> = Vec::new();
    for (key, expiry) in store.records(Table::Journal, &[]) {
        let Some(session) = key.first_chunk::<32>().map(|id| SessionId::from(*id)) else {
            continue;
        };
        if sessions.last().is_none_or(|(last, _)| *last != session) {
            sessions.push((session, expiry));
        }
    }
    sessions
}

/// Forgets a session.
pub(crate) fn remove(store: &mut dyn Store, session: &SessionId) -> Result<(), StoreError> {
    for (key, _) in store.records(Table::Journal, session.as_bytes()) {
        store.remove_record(Table::Journal, &key)?;
    }
    Ok(())
}

fn key(session: &SessionId, index: u32, part: u16) -> Vec<u8> {
    [&session.as_bytes()[..], &index.to_be_bytes(), &part.to_be_bytes()].concat()
}

fn checksum(session: &SessionId, index: u32, bytes: &[u8]) -> Digest {
    let parts: [&[u8]; 3] = [session.as_bytes(), &index.to_be_bytes(), bytes];
    digest(Domain::SessionJournal, &parts)
}

#[cfg(test)]
mod tests;
