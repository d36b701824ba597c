//! Many inboxes, each read from where it stopped.
//!
//! A device that talks to many has thousands of mailboxes. They are read in batches: up to eight of
//! one swarm in one request, each batch from two nodes, a bounded number of batches at once. The
//! same request asks one of the nodes to push; nodes push a bounded number of inboxes to one
//! connection, and what is not pushed is read again more often.

use std::collections::{BTreeMap, VecDeque};

use session_core::timers::Timers;
use session_core::{InboxAddress, Namespace, NodeId, Span, SwarmId, Time};

use crate::command::Inbox;
use crate::reader::InboxReader;
use crate::work::{Door, Query};

/// Inboxes read with one request: their largest items fill a reply together, and each may take two
/// of the twenty operations of a request.
pub(crate) const BATCH_MAX: usize = 8;

/// Inboxes that one node is asked to push: it allows 64 to a connection, and other subscriptions
/// must have their place.
const LISTEN_MAX: usize = 60;

/// Room for the next page, over hops, where a short one did not hold everything; three times as much
/// for the one after that.
const ROOM_BYTES_MORE: usize = 30_000;

/// More room than the longest answer has.
const ROOM_BYTES_MAX: usize = 100_000;

/// Wait after a reading that nobody answered; doubled each time.
const AGAIN_MIN: Span = Span::from_secs(2);

/// Most doublings of that wait: about a minute.
const AGAIN_DOUBLINGS_MAX: u32 = 5;

/// A compartment to be watched.
#[derive(Clone, Debug)]
pub struct Source {
    /// Of which inbox.
    pub from: Inbox,
    /// Which.
    pub namespace: Namespace,
    /// What was read before.
    pub reader: Box<InboxReader>,
}

/// One watched inbox.
pub(crate) struct Watched {
    pub(crate) door: Door,
    pub(crate) namespace: Namespace,
    pub(crate) reader: InboxReader,
    /// Who pushes.
    pub(crate) live: Option<NodeId>,
    /// The reading that is out.
    pub(crate) poll: Option<u64>,
    /// Whether it is to be read again when that reading ends.
    again: bool,
    /// When a reading last began of those that have ended, whatever came of them.
    read_at: Option<Time>,
    /// When one began that told everything.
    through_at: Option<Time>,
    /// When the one that is out began.
    began: Time,
    failures: u32,
    /// Bytes that the next reply should have room for, where that is fixed before.
    room_bytes: usize,
}

/// The watched inboxes, and which of them are to be read.
#[derive(Default)]
pub(crate) struct Watch {
    boxes: BTreeMap<InboxAddress, Watched>,
    due: Timers<InboxAddress>,
    /// Due, and waiting for a place among the readings that are out.
    ready: BTreeMap<SwarmId, VecDeque<InboxAddress>>,
    /// Readings that are out; the inboxes are in the order of their queries.
    polls: BTreeMap<u64, Vec<InboxAddress>>,
    polls_made: u64,
    /// How many inboxes each node pushes, or is being asked to.
    pushing: BTreeMap<NodeId, usize>,
}

impl Watch {
    pub(crate) fn get(&self, address: &InboxAddress) -> Option<&Watched> {
        self.boxes.get(address)
    }

    pub(crate) fn get_mut(&mut self, address: &InboxAddress) -> Option<&mut Watched> {
        self.boxes.get_mut(address)
    }

    pub(crate) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Returns how many inboxes were not read since a time; trying counts.
    pub(crate) fn unread_since(&self, time: Time) -> usize {
        let unread = |it: &&Watched| it.again || it.read_at.is_none_or(|at| at < time);
        self.boxes.values().filter(unread).count()
    }

    /// Returns the time up to which every inbox was read; `None` if one was not read at all, or there
    /// is none.
    pub(crate) fn read_through(&self) -> Option<Time> {
        let times = self.boxes.values().map(|it| it.through_at);
        times.reduce(|first, next| first.min(next)).flatten()
    }

    pub(crate) fn listens_to(&self, node: &NodeId) -> bool {
        self.pushing.contains_key(node)
    }

    /// Tells whether a node may be asked to push more.
    pub(crate) fn has_place(&self, node: &NodeId) -> bool {
        self.pushing.get(node).is_none_or(|count| *count + BATCH_MAX <= LISTEN_MAX)
    }

    /// Adds an inbox, to be read at once.
    pub(crate) fn add(&mut self, address: InboxAddress, door: Door, source: Source, now: Time) {
        let Source { namespace, reader, .. } = source;
        self.boxes.insert(
            address,
            Watched {
                door,
                namespace,
                reader: *reader,
                live: None,
                poll: None,
                again: false,
                read_at: None,
                through_at: None,
                began: now,
                failures: 0,
                room_bytes: 0,
            },
        );
        self.due.set(address, now);
    }

    /// Takes out the inboxes that are not among `wanted`; returns those that are pushed, and by whom.
    pub(crate) fn keep(
        &mut self,
        wanted: impl Fn(&InboxAddress) -> bool,
    ) -> BTreeMap<NodeId, Vec<InboxAddress>> {
        let gone: Vec<InboxAddress> =
            self.boxes.keys().filter(|address| !wanted(address)).copied().collect();
        let mut pushed: BTreeMap<NodeId, Vec<InboxAddress>> = BTreeMap::new();
        for address in gone {
            self.due.cancel(address);
            if let Some(node) = self.boxes.remove(&address).and_then(|it| it.live) {
                self.unlisten(node, 1);
                pushed.entry(node).or_default().push(address);
            }
        }
        pushed
    }

    /// Has every inbox read now.
    pub(crate) fn read_all(&mut self, now: Time) {
        for (address, watched) in &mut self.boxes {
            if watched.poll.is_none() {
                self.due.set(*address, now);
            } else if watched.began < now {
                watched.again = true;
            }
        }
    }

    /// Moves what is due to where it waits for its turn; `swarm` finds who keeps it.
    pub(crate) fn collect(&mut self, now: Time, swarm: impl Fn(&InboxAddress) -> Option<SwarmId>) {
        while let Some(address) = self.due.pop(now) {
            match swarm(&address) {
                Some(swarm) => self.ready.entry(swarm).or_default().push_back(address),
                None => self.due.set(address, now + AGAIN_MIN),
            }
        }
    }

    /// Takes a batch of one swarm; the swarms take turns.
    pub(crate) fn batch(&mut self, max: usize) -> Option<(SwarmId, Vec<InboxAddress>)> {
        while let Some((swarm, mut queue)) = self.ready.pop_first() {
            let mut batch = Vec::new();
            while batch.len() < max
                && let Some(address) = queue.pop_front()
            {
                let waits = self.boxes.get(&address).is_some_and(|it| it.poll.is_none());
                if waits && !batch.contains(&address) {
                    batch.push(address);
                }
            }
            if !queue.is_empty() {
                self.ready.insert(swarm, queue);
            }
            if !batch.is_empty() {
                return Some((swarm, batch));
            }
        }
        None
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls.len()
    }

    /// Notes that a batch is read now, and makes its queries. Those that nobody pushes are to be
    /// pushed by `listen_to`.
    pub(crate) fn begin(
        &mut self,
        batch: Vec<InboxAddress>,
        listen_to: Option<NodeId>,
        now: Time,
    ) -> (u64, Vec<Query>) {
        self.polls_made += 1;
        let mut queries = Vec::new();
        for address in &batch {
            let watched = self.boxes.get_mut(address).expect("a batch is of watched inboxes");
            (watched.poll, watched.began, watched.again) = (Some(self.polls_made), now, false);
            queries.push(Query {
                door: watched.door.clone(),
                namespace: watched.namespace,
                cursors: watched.reader.cursors(watched.namespace),
                listen: listen_to.is_some() && watched.live.is_none() && watched.door.has_key(),
                room_bytes: watched.room_bytes,
            });
        }
        self.polls.insert(self.polls_made, batch);
        (self.polls_made, queries)
    }

    /// Ends a reading; returns its inboxes, those that are not watched any more included.
    pub(crate) fn end(&mut self, poll: u64) -> Vec<InboxAddress> {
        self.polls.remove(&poll).unwrap_or_default()
    }

    /// Notes what came of reading an inbox, and when it is read again.
    pub(crate) fn ended(
        &mut self,
        address: InboxAddress,
        read: bool,
        more: bool,
        interval: Span,
        now: Time,
    ) {
        let Some(watched) = self.boxes.get_mut(&address) else { return };
        watched.poll = None;
        // What is behind is more than fits a short answer.
        watched.room_bytes =
            if more { ROOM_BYTES_MORE.max(watched.room_bytes * 3).min(ROOM_BYTES_MAX) } else { 0 };
        if !more {
            watched.read_at = Some(watched.began);
            if read {
                watched.through_at = Some(watched.began);
            }
        }
        let wait = if read {
            watched.failures = 0;
            interval
        } else {
            let wait = AGAIN_MIN.as_millis() << watched.failures.min(AGAIN_DOUBLINGS_MAX);
            watched.failures = watched.failures.saturating_add(1);
            Span::from_millis(wait)
        };
        let soon = more || core::mem::take(&mut watched.again);
        self.due.set(address, if soon { now } else { now + wait });
    }

    /// Has an inbox read at once, with room for a reply of so many bytes.
    pub(crate) fn read_soon(&mut self, address: &InboxAddress, room_bytes: usize, now: Time) {
        let Some(watched) = self.boxes.get_mut(address) else { return };
        watched.room_bytes = watched.room_bytes.max(room_bytes);
        if watched.poll.is_none() {
            self.due.set(*address, now);
        }
    }

    /// Notes that a node pushes an inbox.
    pub(crate) fn went_live(&mut self, address: &InboxAddress, node: NodeId) {
        let Some(watched) = self.boxes.get_mut(address) else { return };
        let before = watched.live.replace(node);
        *self.pushing.entry(node).or_default() += 1;
        if let Some(before) = before {
            self.unlisten(before, 1);
        }
    }

    /// Notes that a node pushes nothing any more; what it pushed is read at once.
    pub(crate) fn lost(&mut self, node: NodeId, now: Time) {
        if self.pushing.remove(&node).is_none() {
            return;
        }
        for (address, watched) in &mut self.boxes {
            if watched.live == Some(node) {
                watched.live = None;
                if watched.poll.is_some() {
                    watched.again = true;
                } else {
                    self.due.set(*address, now);
                }
            }
        }
    }

    fn unlisten(&mut self, node: NodeId, count: usize) {
        if let Some(pushing) = self.pushing.get_mut(&node) {
            *pushing = pushing.saturating_sub(count);
            if *pushing == 0 {
                self.pushing.remove(&node);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.next()
    }
}
