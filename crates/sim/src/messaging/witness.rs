//! Who said what to whom: the truth that devices are compared with.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{AccountId, Span, Time};
use session_messaging::group::{self, Kind, Role};
use session_messaging::messenger::Messenger;
use session_messaging::messenger::api::Authenticator;
use session_messaging::say::{GroupId, Peer, SayId};
use session_messaging::thread::{self, Body, Message};
use session_messaging::vault::Vault;

use super::device::Device;
use crate::world::World;

/// Messages shown of one thread at most; no run comes near.
const ALL: usize = 100_000;

/// Epochs behind its own in which a device still opens messages.
const WINDOW: u64 = session_messaging::mls::PAST_EPOCHS as u64;

/// How long a device that went back in time may take to notice, and to join its conversations again.
const JOINED_AGAIN: Span = Span::from_secs(180);

/// Items that wait on one device: far more than a person says in a run.
const WAITING_MAX: usize = 2_000;

/// The name of an invariant, and what contradicts it.
pub(crate) type Broken = (&'static str, String);

/// A text.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) author: AccountId,
    pub(crate) device: usize,
    pub(crate) to: Peer,
    pub(crate) at: Time,
    /// Whether the author's device answered: from then on it counts.
    pub(crate) answered: bool,
    /// Accounts that it was said to, the author's included, as its device saw it.
    pub(crate) audience: BTreeSet<AccountId>,
    /// The groups behind the conversation, and their epochs on the author's device.
    pub(crate) groups: Vec<(GroupId, Epoch)>,
    /// Devices that were there when it was said: those that were in its epochs must show it.
    pub(crate) there: BTreeSet<usize>,
    /// Devices that must show it in any case: the only ones of their accounts.
    pub(crate) due: BTreeSet<usize>,
}

/// An epoch that a device was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    /// The same on all devices in it, and on no others.
    pub(crate) is: Authenticator,
    /// When it was first seen there.
    pub(crate) seen: Time,
}

/// What is known of a device from watching it.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Epochs of each group, and when they were seen.
    epochs: BTreeMap<GroupId, Vec<Epoch>>,
    /// Texts that it has shown.
    shown: BTreeSet<SayId>,
}

/// Who sees everything.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) said: BTreeMap<SayId, Said>,
    known: BTreeMap<usize, Known>,
    /// When a text was first shown to be stored.
    stored: BTreeMap<SayId, Time>,
    /// Accounts that somebody wanted to leave a group, ever.
    pub(crate) departed: BTreeSet<(GroupId, AccountId)>,
    /// Groups whose making was answered: before, those who were asked in come in one by one.
    pub(crate) made: BTreeSet<GroupId>,
    /// When accounts were last let into a group; [`Time::MAX`] if they may yet be.
    pub(crate) invited: BTreeMap<(GroupId, AccountId), Time>,
    /// Devices that went back in time, or were copied, and until when what they say and hear may be
    /// missing: for ever, if a copy runs.
    unreliable: BTreeMap<usize, Time>,
    /// When accounts got a second device, or asked for it.
    pub(crate) linked: BTreeMap<AccountId, Time>,
}

/// A device, and whose account it is of.
pub(crate) struct Seat<'a> {
    pub(crate) number: usize,
    pub(crate) account: AccountId,
    pub(crate) device: &'a Device,
    /// Whether it is a part of its account: one that waits to be, or was excluded, is not.
    pub(crate) counts: bool,
}

/// Returns the groups behind a conversation on a device, and their epochs.
pub(crate) fn behind(
    vault: &dyn Vault,
    own: AccountId,
    to: &Peer,
    now: Time,
) -> Vec<(GroupId, Epoch)> {
    let wanted = |id: &GroupId| match (to, group::agreed(vault, id).map(|it| it.kind)) {
        (Peer::Group { group }, _) => group == id,
        (Peer::Account { account }, Some(Kind::Direct { creator, other })) => {
            (creator, other) == (own, *account) || (creator, other) == (*account, own)
        }
        _ => false,
    };
    epochs(vault, now).into_iter().filter(|(id, _)| wanted(id)).collect()
}

fn epochs(vault: &dyn Vault, seen: Time) -> Vec<(GroupId, Epoch)> {
    let all = Messenger::epochs(vault).into_iter();
    all.map(|(group, number, is)| (group, Epoch { number, is, seen })).collect()
}

fn is_of_devices(vault: &dyn Vault, group: &GroupId) -> bool {
    group::agreed(vault, group).is_some_and(|it| matches!(it.kind, Kind::Devices { .. }))
}

/// Returns who hears what is said to a peer, the author's account included.
pub(crate) fn audience(vault: &dyn Vault, own: AccountId, to: &Peer) -> BTreeSet<AccountId> {
    match to {
        Peer::Account { account } => BTreeSet::from([own, *account]),
        Peer::Group { group } => {
            group::members(vault, group).into_iter().map(|(account, _)| account).collect()
        }
    }
}

impl Witness {
    #[cfg(test)]
    pub(crate) fn forget_what_was_shown(&mut self) {
        self.known.values_mut().for_each(|known| known.shown.clear());
    }

    /// A device went back in time, or is copied: `for_ever`.
    pub(crate) fn went_back(&mut self, device: usize, now: Time, for_ever: bool) {
        let until = if for_ever { Time::MAX } else { now + JOINED_AGAIN };
        let known = self.unreliable.entry(device).or_insert(until);
        *known = until.max(*known);
    }

    fn is_reliable(&self, device: usize, at: Time) -> bool {
        self.unreliable.get(&device).is_none_or(|until| at >= *until)
    }

    /// Takes down in which epochs devices are.
    pub(crate) fn watch(&mut self, seats: &[Seat<'_>], now: Time) {
        for seat in seats {
            let known = self.known.entry(seat.number).or_default();
            for (group, epoch) in epochs(seat.device.vault(), now) {
                let epochs = known.epochs.entry(group).or_default();
                if epochs.last().is_none_or(|last| last.is != epoch.is) {
                    epochs.push(epoch);
                }
            }
        }
    }

    /// Whether a device was in one of the epochs of a group that another one had been in until a
    /// time: from then on it could follow.
    fn follows(&self, device: usize, other: usize, group: &GroupId, until: Time) -> bool {
        let of = |device: usize| self.known.get(&device)?.epochs.get(group);
        let (Some(here), Some(there)) = (of(device), of(other)) else { return false };
        let there = there.iter().filter(|epoch| epoch.seen <= until);
        there.into_iter().any(|epoch| here.iter().any(|other| other.is == epoch.is))
    }

    /// Whether a device has to show a text.
    fn must_show(&self, id: &SayId, said: &Said, source: &Seat<'_>, seat: &Seat<'_>) -> bool {
        // With a second device there is an order in which they are let in.
        let stored = self.stored.get(id).copied().unwrap_or(Time::MAX);
        let alone = self.linked.get(&seat.account).is_none_or(|at| *at > stored);
        if alone && said.due.contains(&seat.number) {
            return true;
        }
        if !said.there.contains(&seat.number) {
            return false;
        }
        let follows = |group: &GroupId| self.follows(seat.number, said.device, group, said.at);
        if seat.account == said.author {
            // Own devices hear from each other in a group of their own.
            let own = epochs(source.device.vault(), said.at);
            let own = own.iter().find(|(id, _)| is_of_devices(source.device.vault(), id));
            return own.is_some_and(|(group, _)| follows(group));
        }
        !said.groups.is_empty() && said.groups.iter().all(|(group, _)| follows(group))
    }

    /// Looks at everything that devices show, and at what they say of what they sent.
    pub(crate) fn look(&mut self, seats: &[Seat<'_>], now: Time) -> Result<(), Broken> {
        self.watch(seats, now);
        for seat in seats {
            self.look_at(seat)?;
        }
        for seat in seats {
            self.look_at_statuses(seat, seats, now)?;
            queues_bounded(seat)?;
        }
        Ok(())
    }

    fn look_at(&mut self, seat: &Seat<'_>) -> Result<(), Broken> {
        let vault = seat.device.vault();
        let mut here = BTreeSet::new();
        for summary in thread::threads(vault) {
            for message in thread::messages(vault, summary.id, None, ALL) {
                let Body::Text { body } = &message.body else { continue };
                let shown = (&summary.peer, &message, &**body);
                self.is_right(seat, shown)?;
                if !here.insert(message.id) {
                    let what = format!("device {} shows {body:?} twice", seat.number);
                    return Err(("nothing_is_shown_twice", what));
                }
            }
        }
        self.known.entry(seat.number).or_default().shown.extend(here);
        Ok(())
    }

    fn is_right(
        &self,
        seat: &Seat<'_>,
        (peer, message, body): (&Peer, &Message, &str),
    ) -> Result<(), Broken> {
        let number = seat.number;
        let Some(said) = self.said.get(&message.id) else {
            let what = format!("device {number} shows {body:?}, which nobody said");
            return Err(("what_is_shown_was_said", what));
        };
        if said.text != body || said.author != message.author {
            let what = format!("device {number} shows {body:?} by {}: {said:?}", message.author);
            return Err(("what_is_shown_was_said", what));
        }
        if number != said.device && !said.answered {
            let what = format!("device {number} shows {body:?} before its author kept it");
            return Err(("what_is_shown_was_said", what));
        }
        let right = match (&said.to, peer) {
            (Peer::Account { account }, Peer::Account { account: other }) => {
                let pair = [said.author, *account];
                pair.contains(&seat.account) && pair.contains(other) && *other != seat.account
            }
            (said, shown) => said == shown,
        };
        if !right {
            let what = format!("device {number} shows {body:?} in the thread of {peer:?}");
            return Err(("what_is_shown_was_said", what));
        }
        self.may_be_seen(seat, said)
    }

    /// Nobody sees what was said when it was out already, unless it came back and was shown what
    /// had been said before.
    fn may_be_seen(&self, seat: &Seat<'_>, said: &Said) -> Result<(), Broken> {
        // Whoever went back in time was asked before it knew who is in by now.
        if said.audience.contains(&seat.account) || !self.is_reliable(said.device, said.at) {
            return Ok(());
        }
        let Peer::Group { group } = said.to else { return Ok(()) };
        if !self.made.contains(&group) {
            return Ok(());
        }
        // Whoever was being let in at the time, or later, is shown what had been said before.
        if self.invited.get(&(group, seat.account)).is_some_and(|at| *at >= said.at) {
            return Ok(());
        }
        let what = format!("device {} of {}: {said:?}", seat.number, seat.account);
        Err(("whoever_is_out_hears_nothing", what))
    }

    fn look_at_statuses(
        &mut self,
        seat: &Seat<'_>,
        seats: &[Seat<'_>],
        now: Time,
    ) -> Result<(), Broken> {
        let vault = seat.device.vault();
        for summary in thread::threads(vault) {
            for message in thread::messages(vault, summary.id, None, ALL) {
                if !message.own || !matches!(message.body, Body::Text { .. }) {
                    continue;
                }
                if message.status.stored.is_some() {
                    self.stored.entry(message.id).or_insert(now);
                    if message.status.good < message.status.needed {
                        let what = format!("device {}: {message:?}", seat.number);
                        return Err(("stored_means_a_quorum", what));
                    }
                }
                let has = |it: &&Seat<'_>| {
                    self.known.get(&it.number).is_some_and(|it| it.shown.contains(&message.id))
                };
                let others = seats.iter().filter(|it| it.account != message.author);
                let had: BTreeSet<AccountId> = others.filter(has).map(|it| it.account).collect();
                let status = message.status;
                if usize::from(status.delivered.max(status.read)) > had.len() {
                    let what = format!("device {}: {message:?}, {had:?}", seat.number);
                    return Err(("delivered_means_it_is_there", what));
                }
            }
        }
        Ok(())
    }

    /// Returns a text that is not where it must be, unless there is a reason, and how many texts
    /// are where they must be and how many have a reason not to.
    pub(crate) fn missing(&self, seats: &[Seat<'_>]) -> (Option<String>, usize, usize) {
        let (mut missing, mut shown, mut excused) = (None, 0, 0);
        for (id, said) in self.said.iter().filter(|(_, said)| said.answered) {
            let source = seats.iter().find(|seat| seat.number == said.device);
            // What an excluded device said may arrive when nobody takes its word any more.
            let good = |it: &&Seat<'_>| it.counts && self.is_reliable(it.number, said.at);
            let Some(source) = source.filter(good) else {
                excused += 1;
                continue;
            };
            for seat in seats.iter().filter(|it| it.counts && it.number != said.device) {
                if self.known.get(&seat.number).is_some_and(|it| it.shown.contains(id)) {
                    shown += 1;
                } else if self.must_show(id, said, source, seat) {
                    if self.is_excused(*id, said, seat) {
                        excused += 1;
                    } else if missing.is_none() {
                        missing = Some(self.describe(id, said, source, seat));
                    }
                }
            }
        }
        (missing, shown, excused)
    }

    /// Whether somebody removed the account of a device, or it left, and it was not told: it had come
    /// in on a branch of its own. Those who are further on do not have the account among them.
    fn is_out(&self, in_use: &[&Seat<'_>], seat: &Seat<'_>, group: &GroupId) -> bool {
        let epoch = |seat: &Seat<'_>| group::epoch(seat.device.vault(), group).map(|it| it.0);
        let furthest =
            in_use.iter().max_by_key(|it| epoch(it)).filter(|it| epoch(it) > epoch(seat));
        self.departed.contains(&(*group, seat.account))
            && furthest.is_some_and(|furthest| {
                let members = group::members(furthest.device.vault(), group);
                members.iter().all(|(account, _)| *account != seat.account)
            })
    }

    fn describe(&self, id: &SayId, said: &Said, source: &Seat<'_>, seat: &Seat<'_>) -> String {
        let (number, state) = (seat.number, state(source.device.vault(), id));
        let mut text = format!("device {number} does not show {said:?}: {state:?}");
        for (group, _) in &said.groups {
            for device in [said.device, number] {
                let epochs = self.known.get(&device).and_then(|it| it.epochs.get(group));
                text.push_str(&format!("\n  device {device} in {group:?}: {epochs:?}"));
            }
        }
        text
    }

    fn is_excused(&self, id: SayId, said: &Said, seat: &Seat<'_>) -> bool {
        if !self.is_reliable(seat.number, said.at) {
            return true;
        }
        if let Peer::Group { group } = said.to {
            let left = |account| self.departed.contains(&(group, account));
            if left(seat.account) || left(said.author) {
                return true;
            }
        }
        // The conversation had gone on too far before it could be stored.
        let stored = self.stored.get(&id);
        let Some(known) = self.known.get(&seat.number) else { return false };
        said.groups.iter().any(|(group, epoch)| {
            let too_late = |at: &Epoch| {
                at.number > epoch.number + WINDOW && stored.is_none_or(|stored| at.seen <= *stored)
            };
            known.epochs.get(group).is_some_and(|epochs| epochs.iter().any(too_late))
        })
    }
}

fn state(vault: &dyn Vault, id: &SayId) -> Option<thread::Status> {
    let threads = thread::threads(vault).into_iter();
    threads.filter_map(|it| thread::by_id(vault, it.id, *id)).map(|it| it.status).next()
}

fn queues_bounded(seat: &Seat<'_>) -> Result<(), Broken> {
    let waiting = seat.device.messenger().map_or(0, Messenger::waiting);
    if waiting > WAITING_MAX {
        let what = format!("{waiting} items wait on device {}", seat.number);
        return Err(("outboxes_bounded", what));
    }
    Ok(())
}

/// Returns which devices of a group are not in the same state, or should not be in it, if any.
pub(crate) fn apart(witness: &Witness, seats: &[Seat<'_>]) -> Option<String> {
    let mut states: BTreeMap<GroupId, (usize, u64, Authenticator)> = BTreeMap::new();
    let (in_use, others): (Vec<_>, Vec<_>) = seats.iter().partition(|seat| seat.counts);
    for seat in &in_use {
        for (group, epoch, authenticator) in Messenger::epochs(seat.device.vault()) {
            if witness.is_out(&in_use, seat, &group) {
                continue;
            }
            let first = states.entry(group).or_insert((seat.number, epoch, authenticator));
            if (first.1, first.2) != (epoch, authenticator) {
                return Some(format!(
                    "{group:?}: device {} is in epoch {} ({}), device {} in {epoch} \
                     ({authenticator})",
                    first.0, first.1, first.2, seat.number,
                ));
            }
        }
    }
    others.into_iter().find_map(|seat| {
        let mut epochs = Messenger::epochs(seat.device.vault()).into_iter();
        let (group, _, _) = epochs.find(|(group, _, authenticator)| {
            states.get(group).is_some_and(|(_, _, of_others)| of_others == authenticator)
                && may_be_removed(seats, seat, group)
        })?;
        Some(format!("device {}, which is excluded, is in {group:?}", seat.number))
    })
}

/// Whether a device is in use in the group that may remove this one and hears soon that it should: an
/// admin's, or its account's. In a conversation of two the other side learns it when it looks the
/// account up again.
fn may_be_removed(seats: &[Seat<'_>], excluded: &Seat<'_>, group: &GroupId) -> bool {
    let is_group = group::agreed(excluded.device.vault(), group)
        .is_some_and(|agreed| !matches!(agreed.kind, Kind::Direct { .. }));
    let there = |vault: &dyn Vault| Messenger::epochs(vault).iter().any(|(it, ..)| it == group);
    seats.iter().filter(|seat| seat.counts && there(seat.device.vault())).any(|seat| {
        let members = group::members(seat.device.vault(), group);
        let admin = members.contains(&(seat.account, Role::Admin));
        (admin && is_group) || seat.account == excluded.account
    })
}

/// Returns what is still on its way, if anything is.
pub(crate) fn under_way(world: &World, seats: &[Seat<'_>]) -> Option<String> {
    seats.iter().filter(|seat| seat.counts).find_map(|seat| {
        let waiting = seat.device.messenger().map_or(0, Messenger::waiting);
        let now = world.now();
        (waiting > 0).then(|| format!("{waiting} items wait on device {} at {now}", seat.number))
    })
}
