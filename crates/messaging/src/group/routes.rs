//! Which mailboxes a group reads and writes, and which slot of them ends an epoch.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{AccountId, Digest, Domain, InboxAddress, Span, Time, choice, digest, record};
use session_protocol::inbox::{BOXES, COMMITS, Mailbox, slot_of};

use super::state::{EpochKeys, Route, State};
use super::{HORIZON, Kind, RETAIN};
use crate::boxes;
use crate::mailbox::{self, Lane};
use crate::messenger::api::{Source, Target};
use crate::say::GroupId;
use crate::vault::Vault;

/// Slots that are looked at from the one on that counts. A slot that holds nothing acceptable is
/// burned: the next one counts, however many there are.
pub(super) const SLOTS_MAX: u32 = 16;

choice! {
    /// What lies in a mailbox.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum What {
        /// What is said.
        1 => Lane,
        /// The commit that ends an epoch.
        2 => Commits {
            epoch: u64,
        },
    }
}

record! {
    /// A mailbox of a group.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Place {
        pub(super) group: GroupId,
        pub(super) address: InboxAddress,
        pub(super) what: What,
    }
}

impl Place {
    /// Where a box of an epoch belongs.
    pub(super) fn at(&self, epoch: u64) -> boxes::Place {
        boxes::Place { address: self.address, group: self.group, epoch }
    }
}

/// Returns the slot of the commit that ends an epoch; the first one counts, the others only if
/// those before them hold something that nobody accepts.
pub(super) fn slot(group: &GroupId, epoch: u64, number: u32) -> Digest {
    let parts: [&[u8]; 3] = [&group.bytes, &epoch.to_be_bytes(), &number.to_be_bytes()];
    digest(Domain::CommitSlot, &parts)
}

/// Takes an item of a commit mailbox apart: the number of its slot, which is one of these, and the
/// box.
pub(super) fn split_slot<'a>(
    group: &GroupId,
    epoch: u64,
    mut slots: core::ops::Range<u32>,
    data: &'a [u8],
) -> Option<(u32, &'a [u8])> {
    let found = slot_of(data)?;
    let number = slots.find(|number| slot(group, epoch, *number) == found)?;
    Some((number, data.get(32..)?))
}

/// Returns the lane into which this account writes, or from which it reads.
fn lane_of(kind: &Kind, own: &AccountId, writes: bool) -> Lane {
    match kind {
        Kind::Direct { creator, other } => {
            let peer = if own == creator { other } else { creator };
            Lane::To(if writes { *peer } else { *own })
        }
        Kind::Group | Kind::Devices { .. } => Lane::All,
    }
}

fn target(mailbox: &Mailbox, namespace: session_core::Namespace) -> Target {
    Target { rule: mailbox.rule(), write: Some(mailbox.write.clone()), namespace }
}

fn source(mailbox: &Mailbox, namespace: session_core::Namespace) -> Source {
    Source { rule: mailbox.rule(), read: Some(mailbox.read.clone()), namespace }
}

/// Where something said now is stored.
pub(super) fn outgoing(
    group: &GroupId,
    state: &State,
    own: &AccountId,
    now: Time,
) -> Option<(Place, Target)> {
    outgoing_of(group, state, own, now, state.epoch)
}

/// The same, where those read who are in an earlier epoch.
pub(super) fn outgoing_of(
    group: &GroupId,
    state: &State,
    own: &AccountId,
    now: Time,
    epoch: u64,
) -> Option<(Place, Target)> {
    let lane = lane_of(&state.agreed.kind, own, true);
    let mailbox = mailbox::lane(&state.route_of(epoch)?.seed, &lane, mailbox::day_of(now));
    let place = Place { group: *group, address: mailbox.address(), what: What::Lane };
    Some((place, target(&mailbox, BOXES)))
}

/// The mailbox of the commits that end an epoch.
pub(super) struct CommitBox {
    pub(super) place: Place,
    mailbox: Mailbox,
}

impl CommitBox {
    pub(super) fn of(group: &GroupId, state: &State, epoch: u64) -> Option<Self> {
        let mailbox = mailbox::commits(&state.route_of(epoch)?.seed, epoch);
        let what = What::Commits { epoch };
        Some(Self { place: Place { group: *group, address: mailbox.address(), what }, mailbox })
    }

    /// Where the commit, or its first piece, is stored.
    pub(super) fn slot_target(&self) -> Target {
        target(&self.mailbox, COMMITS)
    }

    /// Where its other pieces are stored.
    pub(super) fn rest_target(&self) -> Target {
        target(&self.mailbox, BOXES)
    }

    pub(super) fn slot_source(&self) -> Source {
        source(&self.mailbox, COMMITS)
    }

    pub(super) fn rest_source(&self) -> Source {
        source(&self.mailbox, BOXES)
    }
}

/// Which mailboxes are watched, and what lies in them. Rebuilt from the vault.
#[derive(Debug, Default)]
pub(super) struct Watch {
    places: BTreeMap<InboxAddress, Place>,
    of_group: BTreeMap<GroupId, BTreeMap<InboxAddress, Source>>,
    /// Groups whose mailboxes may have changed.
    stale: BTreeSet<GroupId>,
    /// The day up to which lanes are watched.
    day: u64,
}

impl Watch {
    /// The mailboxes of a group may have changed.
    pub(super) fn touch(&mut self, group: GroupId) {
        self.stale.insert(group);
    }

    /// Whether [`all`](Self::all) would answer something else than before.
    pub(super) fn is_stale(&self, now: Time) -> bool {
        !self.stale.is_empty() || self.day != last_day(now)
    }

    /// When it becomes stale by itself.
    pub(super) fn deadline(&self) -> Time {
        let begins = Span::from_days(self.day.saturating_add(1));
        Time::ZERO + begins - mailbox::SKEW
    }

    pub(super) fn place(&self, address: &InboxAddress) -> Option<Place> {
        self.places.get(address).copied()
    }

    /// Returns all mailboxes to watch; lanes since `since`, when this device was last up to date.
    pub(super) fn all(
        &mut self,
        vault: &dyn Vault,
        own: &AccountId,
        now: Time,
        since: Time,
    ) -> BTreeMap<InboxAddress, Source> {
        if self.day != last_day(now) {
            self.stale = super::state::all(vault).into_iter().map(|(group, _)| group).collect();
            self.day = last_day(now);
        }
        for group in core::mem::take(&mut self.stale) {
            for address in self.of_group.remove(&group).unwrap_or_default().keys() {
                self.places.remove(address);
            }
            let Some(state) = State::load(vault, &group).filter(State::is_member) else { continue };
            let found = mailboxes(&group, &state, own, now, since);
            self.places.extend(found.iter().map(|(place, _)| (place.address, *place)));
            let sources = found.into_iter().map(|(place, source)| (place.address, source));
            self.of_group.insert(group, sources.collect());
        }
        let sources = self.of_group.values().flatten();
        sources.map(|(address, source)| (*address, source.clone())).collect()
    }
}

fn last_day(now: Time) -> u64 {
    mailbox::day_of(now + mailbox::SKEW)
}

fn mailboxes(
    group: &GroupId,
    state: &State,
    own: &AccountId,
    now: Time,
    since: Time,
) -> Vec<(Place, Source)> {
    let lane = lane_of(&state.agreed.kind, own, false);
    let watched = |route: &&Route| route.ended == Time::MAX || now < route.ended + RETAIN;
    // Whoever was up to date before it came in has not read what waited for it.
    let since = if since > state.joined { since } else { state.since };
    let mut found = Vec::new();
    for route in state.routes.iter().filter(watched) {
        for day in mailbox::days_to_watch(now, since) {
            let mailbox = mailbox::lane(&route.seed, &lane, day);
            let place = Place { group: *group, address: mailbox.address(), what: What::Lane };
            found.push((place, source(&mailbox, BOXES)));
        }
    }
    // Commits of earlier epochs matter while there is a way back.
    let open = |keys: &&EpochKeys| keys.ended == Time::MAX || now < keys.ended + HORIZON;
    let open = state.epochs.iter().filter(open);
    for commits in open.filter_map(|keys| CommitBox::of(group, state, keys.epoch)) {
        found.push((commits.place, commits.slot_source()));
    }
    found
}
