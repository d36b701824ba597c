//! Watched inboxes: see the module `watch`.

use std::collections::BTreeMap;

use session_core::{InboxAddress, NodeId, SwarmId, Time};
use session_network::Class;
use session_protocol::limits::OPERATIONS_MAX;
use session_protocol::placement;
use session_protocol::request::{Operation, Push};

use super::{Client, Cx, Effect};
use crate::nodes::Preference;
use crate::reader::InboxReader;
use crate::task::{Leg, Route, TaskId};
use crate::watch::{BATCH_MAX, Source};
use crate::work::{Polling, Work, is_genuine, request};

/// Nodes that an inbox is read from: what one of them withholds, the other one has.
const POLL_NODES: usize = 2;

/// The same where packets leave at times of their own, and are few: another node is drawn now and then.
const POLL_NODES_PACED: usize = 1;

/// Readings at once there, where each takes seconds on purpose.
const POLLS_PACED_MAX: usize = 32;

impl Client {
    /// Returns how many inboxes are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watch.len()
    }

    /// Returns what was read of a watched inbox, for its owner's disk.
    #[must_use]
    pub fn reader(&self, address: &InboxAddress) -> Option<&InboxReader> {
        self.watch.get(address).map(|watched| &watched.reader)
    }

    /// Returns how many watched inboxes were not read since a time. Those that nobody answered for
    /// count as read: they are tried again.
    #[must_use]
    pub fn unread_since(&self, time: Time) -> usize {
        self.watch.unread_since(time)
    }

    /// Returns the time up to which every watched inbox was read, by somebody who answered; `None` while
    /// one was not read at all.
    #[must_use]
    pub fn read_through(&self) -> Option<Time> {
        self.watch.read_through()
    }

    pub(super) fn watches(&self, address: &InboxAddress) -> bool {
        self.watch.get(address).is_some()
    }

    /// Watches exactly these inboxes. One that nobody could open is left out.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_>, sources: BTreeMap<InboxAddress, Source>) {
        self.end_waits(|address| sources.contains_key(address));
        for (node, addresses) in self.watch.keep(|address| sources.contains_key(address)) {
            if self.routes.is_none() && self.nodes.is_up(&node) {
                for some in addresses.chunks(OPERATIONS_MAX) {
                    let number = self.next_request();
                    let operations = some.iter().map(|&address| Operation::Unsubscribe { address });
                    let request = request(number, operations.collect());
                    // Whether it arrives does not matter: what is pushed nevertheless is dropped.
                    self.send(cx, node, Class::Interactive, &request);
                }
            }
        }
        for (address, source) in sources {
            if self.watches(&address) {
                continue;
            }
            if let Ok(door) = self.door(source.from.clone())
                && door.address == address
            {
                self.watch.add(address, door, source, cx.now);
            }
        }
    }

    /// Reads what is due, within the bound.
    pub(super) fn watch_due(&mut self, cx: &mut Cx<'_>) {
        let swarms = self.config.membership.swarms();
        self.watch.collect(cx.now, |address| placement::nearest(address, &swarms));
        // Over hops each inbox is asked for by itself: nobody learns which ones belong together.
        let batch_max = if self.routes.is_some() { 1 } else { BATCH_MAX };
        let is_paced = self.routes.as_ref().is_some_and(|it| it.mode().every().is_some());
        let (nodes, polls_max) = match is_paced {
            true => (POLL_NODES_PACED, POLLS_PACED_MAX),
            false => (POLL_NODES, self.config.limits.polls_max),
        };
        while self.watch.polls() < polls_max
            && let Some((swarm, batch)) = self.watch.batch(batch_max)
        {
            let listen_to = if batch_max == 1 { None } else { self.choose_pusher(cx, swarm) };
            let (poll, queries) = self.watch.begin(batch, listen_to, cx.now);
            let listen_to = listen_to.filter(|_| queries.iter().any(|query| query.listen));
            let work = Work::Poll(Polling::new(queries, listen_to));
            let legs = (0..nodes).map(|leg| Leg::new(listen_to.filter(|_| leg == 0)));
            let task = self.internal(cx, work, Route::Swarm(swarm), legs.collect());
            self.tasks.insert(TaskId::Poll(poll), task);
        }
    }

    fn choose_pusher(&self, cx: &mut Cx<'_>, swarm: SwarmId) -> Option<NodeId> {
        let mut members = self.config.membership.members(swarm);
        members.retain(|node| self.watch.has_place(node));
        self.nodes.choose(&members, Preference::Fastest, cx.now, &mut *cx.rng)
    }

    /// A reading has come to its end.
    pub(super) fn polled(&mut self, cx: &mut Cx<'_>, poll: u64, mut polling: Polling) {
        for (index, address) in self.watch.end(poll).into_iter().enumerate() {
            let (pages, live) = polling.take(index);
            // It may have been taken out, and even be there again.
            let is_ours = self.watch.get(&address).is_some_and(|it| it.poll == Some(poll));
            if !is_ours {
                continue;
            }
            if let Some(node) = live.filter(|node| self.nodes.is_up(node)) {
                self.watch.went_live(&address, node);
            }
            let (read, more) = (!pages.is_empty(), pages.iter().any(|page| page.more));
            let Some(watched) = self.watch.get_mut(&address) else { continue };
            let mut items = Vec::new();
            for page in pages {
                let all = page.items.len();
                let new = watched.reader.absorb(page);
                self.stats.duplicates += (all - new.len()) as u64;
                items.extend(new);
            }
            let limits = &self.config.limits;
            let is_live = watched.live.is_some() || self.tasks.contains_key(&TaskId::Wait(address));
            let interval = if is_live { limits.check_interval } else { limits.poll_interval };
            self.watch.ended(address, read, more, interval, cx.now);
            self.arrived(cx, address, items);
            if read && !more {
                self.wait_on(cx, address);
            }
        }
        self.watch_due(cx);
    }

    /// An item of a watched inbox was pushed.
    pub(super) fn pushed_to_watch(&mut self, cx: &mut Cx<'_>, node: NodeId, push: Push) {
        let Push { address, item, .. } = push;
        let Some(watched) = self.watch.get_mut(&address) else { return };
        if watched.live != Some(node) || watched.namespace != item.namespace {
            return;
        }
        if !is_genuine(&address, item.namespace, &item) {
            self.nodes.lied(node);
            self.stats.lies += 1;
            return self.resubscribe_from(cx, node);
        }
        if watched.reader.absorb_pushed(&item) {
            self.arrived(cx, address, vec![item]);
        } else {
            self.stats.duplicates += 1;
        }
    }

    pub(super) fn arrived(
        &mut self,
        cx: &mut Cx<'_>,
        address: InboxAddress,
        items: Vec<session_protocol::request::Item>,
    ) {
        if !items.is_empty() {
            self.stats.pushed += items.len() as u64;
            cx.effects.push(Effect::Arrived { address, items });
        }
    }

    /// A node pushes nothing any more.
    pub(super) fn watch_lost(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.watch.lost(node, cx.now);
        self.watch_due(cx);
    }
}
