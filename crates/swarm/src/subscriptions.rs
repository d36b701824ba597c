//! Who wants new items of which inbox pushed.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{InboxAddress, Namespace};
use session_protocol::request::Refusal;

use crate::machine::Requester;

/// Inboxes that one requester may subscribe to; an application has a handful of accounts.
const PER_REQUESTER_MAX: usize = 64;

/// Subscriptions in all: 200 bytes each, so 20 MB.
const ALL_MAX: usize = 100_000;

/// The subscriptions of a node. They live as long as the requester's connection.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    inboxes: BTreeMap<InboxAddress, BTreeMap<Requester, Vec<Namespace>>>,
    requesters: BTreeMap<Requester, BTreeSet<InboxAddress>>,
    count: usize,
}

impl Subscriptions {
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Subscribes; a later subscription to the same inbox replaces the earlier one.
    pub(crate) fn add(
        &mut self,
        requester: Requester,
        address: InboxAddress,
        namespaces: Vec<Namespace>,
    ) -> Result<(), Refusal> {
        let mine = self.requesters.get(&requester);
        if !mine.is_some_and(|mine| mine.contains(&address)) {
            let of_mine = mine.map_or(0, BTreeSet::len);
            for (got, limit) in [(of_mine, PER_REQUESTER_MAX), (self.count, ALL_MAX)] {
                if got >= limit {
                    return Err(Refusal::too_large("subscriptions", got as u64 + 1, limit as u64));
                }
            }
            self.count += 1;
        }
        self.requesters.entry(requester).or_default().insert(address);
        self.inboxes.entry(address).or_default().insert(requester, namespaces);
        Ok(())
    }

    pub(crate) fn remove(&mut self, requester: Requester, address: &InboxAddress) {
        if let Some(mine) = self.requesters.get_mut(&requester) {
            mine.remove(address);
            if mine.is_empty() {
                self.requesters.remove(&requester);
            }
        }
        self.detach(requester, address);
    }

    /// Drops everything of a requester that is gone.
    pub(crate) fn forget(&mut self, requester: Requester) {
        for address in self.requesters.remove(&requester).unwrap_or_default() {
            self.detach(requester, &address);
        }
    }

    /// Returns who wants new items of a namespace of an inbox.
    pub(crate) fn of(&self, address: &InboxAddress, namespace: Namespace) -> Vec<Requester> {
        let Some(requesters) = self.inboxes.get(address) else { return Vec::new() };
        requesters
            .iter()
            .filter(|(_, namespaces)| namespaces.contains(&namespace))
            .map(|(requester, _)| *requester)
            .collect()
    }

    fn detach(&mut self, requester: Requester, address: &InboxAddress) {
        if let Some(requesters) = self.inboxes.get_mut(address) {
            self.count -= usize::from(requesters.remove(&requester).is_some());
            if requesters.is_empty() {
                self.inboxes.remove(address);
            }
        }
    }
}
