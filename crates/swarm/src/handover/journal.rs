//! What of a hand-over survives a restart: the last layout, the claims, and what is filled.
//!
//! The record is one value of a few kilobytes for each hundred nodes. A value has 64 KiB, so a
//! large network takes several; they belong together when they carry the same number.

use std::collections::BTreeSet;

use session_core::{Decode as _, Encode as _, List, NodeId, SwarmId, Time, record};
use session_protocol::limits::SWARM_MEMBERS_MAX;
use session_protocol::peer::RingRange;
use session_storage::{Store, StoreError, Table};

use super::{CLAIMS_MAX, Claim, Handover, SOURCES_MAX, Source};
use crate::layout::Layout;
use crate::machine::{Cx, Swarm};

/// Starts the keys of the record in the table of single records; a number follows.
const PREFIX: u8 = b'h';

/// Bytes of the record in one value.
const PART_BYTES: usize = 60_000;

/// Swarms of the largest network: 65,536 nodes.
const SWARMS_MAX: usize = 65_536;

record! {
    struct Seats {
        swarm: SwarmId,
        members: List<NodeId, SWARM_MEMBERS_MAX>,
    }

    struct Filling {
        since: u64,
        range: RingRange,
        members: List<NodeId, SWARM_MEMBERS_MAX>,
        is_hard: bool,
        least: u16,
        enough: u16,
        begun: Time,
    }

    struct Journal {
        since: u64,
        swarms: List<Seats, SWARMS_MAX>,
        claims: List<Claim, { CLAIMS_MAX + 1 }>,
        sources: List<Filling, SOURCES_MAX>,
    }

    /// Stands before each part.
    struct Part {
        generation: u64,
        index: u16,
        count: u16,
    }
}

fn key(index: u16) -> Vec<u8> {
    [&[PREFIX][..], &index.to_be_bytes()].concat()
}

fn counted(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

impl Source {
    fn to_filling(&self) -> Option<Filling> {
        let members: Vec<NodeId> = self.members.iter().copied().collect();
        Some(Filling {
            since: self.since,
            range: self.range,
            members: List::new(members).ok()?,
            is_hard: self.is_hard,
            least: counted(self.least),
            enough: counted(self.enough),
            begun: self.begun,
        })
    }
}

impl Handover {
    fn to_bytes(&self, layout: &Layout) -> Option<Vec<u8>> {
        let seats = layout.swarms().map(|(swarm, members)| {
            let members = List::new(members.iter().copied().collect::<Vec<_>>()).ok()?;
            Some(Seats { swarm, members })
        });
        let journal = Journal {
            since: layout.since,
            swarms: List::new(seats.collect::<Option<Vec<_>>>()?).ok()?,
            claims: List::new(self.claims.clone()).ok()?,
            sources: List::new(
                self.sources.values().filter_map(Source::to_filling).collect::<Vec<_>>(),
            )
            .ok()?,
        };
        Some(journal.to_bytes())
    }

    fn write(&mut self, store: &mut dyn Store, layout: &Layout) -> Result<(), StoreError> {
        let Some(bytes) = self.to_bytes(layout) else { return Ok(()) };
        self.generation += 1;
        let parts: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
        let count = counted(parts.len());
        for (index, part) in (0..).zip(parts) {
            let mut value = Part { generation: self.generation, index, count }.to_bytes();
            value.extend_from_slice(part);
            store.put_record(Table::Meta, &key(index), &value, Time::MAX)?;
        }
        Ok(())
    }

    /// Reads what the last run left behind; returns the layout that it knew.
    fn read(&mut self, store: &dyn Store) -> Option<Layout> {
        let head = |bytes: &[u8]| {
            let (head, rest) = bytes.split_at_checked(12)?;
            Some((Part::decode_exact(head).ok()?, rest.to_vec()))
        };
        let (first, mut bytes) = head(&store.record(Table::Meta, &key(0)).ok()??)?;
        self.generation = first.generation;
        for index in 1..first.count {
            let (part, rest) = head(&store.record(Table::Meta, &key(index)).ok()??)?;
            // A crash between two parts: the node begins as if it had no record.
            if part.generation != first.generation {
                return None;
            }
            bytes.extend(rest);
        }
        let journal = Journal::decode_exact(&bytes).ok()?;
        self.claims = journal.claims.into_vec();
        for filling in journal.sources {
            let Filling { since, range, members, is_hard, least, enough, begun } = filling;
            let members: BTreeSet<NodeId> = members.into_iter().collect();
            let counts = (usize::from(least), usize::from(enough));
            self.add(Source::new((since, range, is_hard), members, counts, begun));
        }
        let seats = journal.swarms.into_iter();
        Some(Layout::new(journal.since, seats.map(|it| (it.swarm, it.members.into_vec()))))
    }

    /// Tells whether a restart would find anything.
    pub(super) const fn is_saved(&self) -> bool {
        self.generation > 0
    }

    /// Begins with what a node without a record is known to keep.
    pub(super) fn found(&mut self, layout: &Layout, node: NodeId) {
        let range = layout.seat(&node).and_then(|swarm| layout.range(swarm));
        self.claims = range.into_iter().map(|range| Claim::new(layout.since, range)).collect();
    }
}

impl Swarm {
    /// Goes on where the last run ended; the first call after a start does it.
    pub(crate) fn recall(&mut self, cx: &mut Cx<'_>) {
        if core::mem::replace(&mut self.handover.recalled, true) {
            return;
        }
        match self.handover.read(cx.store) {
            None => {
                self.handover.fresh = true;
                self.handover.found(&self.view.layout, self.view.node);
            }
            Some(last) if last.is_like(&self.view.layout) => {
                self.view.learn(last.since);
                self.handover.resume(cx.now, &self.view);
            }
            Some(last) => self.turned(cx, &last),
        }
    }

    /// Writes down what a restart must not forget.
    pub(super) fn save(&mut self, cx: &mut Cx<'_>) {
        if self.view.membership().height() > 0
            && self.handover.write(cx.store, &self.view.layout).is_err()
        {
            self.stats.store_errors += 1;
        }
    }
}
