//! One device of one account: conversations, groups, devices and what is published, as one machine.
//!
//! What it is: the place where keys ([`group`]), people ([`account`])
//! and what they see ([`thread`]) meet. It is told commands, what arrived, and
//! what became of what it ordered; it orders items stored, mailboxes watched, people told.
//!
//! What it does not do: it reaches no node and judges no receipt; that is the client's.
//!
//! *Provided:* what is said is kept before it leaves, leaves until a quorum has it, and is shown
//! once; what arrives twice, out of order, altered or from nobody changes nothing. Whoever takes the
//! vault cannot open what was read before, and nothing that comes after one commit from each side.
//! *Not provided:* an order that all see; secrecy from a member; erasure on a disk that keeps what
//! is overwritten.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{AccountId, Context, InboxAddress, Span, Time};
use session_protocol::limits::TTL_MAX;
use session_protocol::request::Item;

use crate::Cx;
use crate::account::{self, Me, Setup};
use crate::group::{self, Groups, Rotation, Wish};
use crate::outbox::{Outbox, Purpose};
use crate::say::GroupId;
use crate::thread;
use crate::vault::{self, Table, Vault};

pub mod api;
mod commands;
mod devices;
mod find;
mod heard;
mod links;
mod marks;
mod people;
mod receipts;
mod requests;
mod unsaid;

use api::{Answer, Effect, Error, Event, Input, NetFailure, Source, Stored, Warning};

/// How long the swarm keeps what is said.
const TTL: Span = TTL_MAX;

/// The least, for what disappears soon: whoever is offline for an hour misses it no sooner.
const TTL_LEAST: Span = Span::from_secs(3600);

/// How often mailboxes are looked through for another day's.
const DAY_CHECK: Span = Span::from_secs(600);

/// How long what is published rests at least, so that a node that refuses it is not asked at once.
const PUBLISH_PACE: Span = Span::from_secs(60);

/// How long own devices that are missing somewhere are waited for before they are added again.
const ADMIT_PACE: Span = Span::from_secs(15);

/// How often it is looked whether one is missing.
const ADMIT_CHECK: Span = Span::from_secs(3600);

/// How a device behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// When keys are renewed.
    pub rotation: Rotation,
    /// How long receipts wait for company: they tell when somebody looked.
    pub receipt_delay: Span,
    /// Whether others are told what was read.
    pub read_receipts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rotation: Rotation::default(),
            receipt_delay: Span::from_secs(30),
            read_receipts: false,
        }
    }
}

/// Who is told that a change is agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Waiter {
    Nobody,
    Command(u64),
    Tally {
        command: u64,
        account: AccountId,
    },
    /// What waits for a conversation with the account.
    Talk(AccountId),
}

/// Accounts that are being added for one command.
#[derive(Debug)]
struct Tally {
    left: usize,
    answer: Answer,
    missing: Vec<(AccountId, String)>,
}

/// The machine.
pub struct Messenger {
    config: Config,
    me: Me,
    groups: Groups,
    outbox: Outbox,
    marking: marks::Marking,
    finder: find::Finder,
    tallies: BTreeMap<u64, Tally>,
    /// Who waits for which wish.
    tickets: BTreeMap<u64, Waiter>,
    /// What was watched last; `None` before the first time.
    watched: Option<BTreeSet<InboxAddress>>,
    /// When mailboxes are looked through again.
    watch_at: Time,
    /// Whether they have to be at the end of this call.
    watch_stale: bool,
    /// Whether conversations that wait are taken up: once, at the beginning.
    resumed: bool,
    /// Addresses of the own introductions and manifests.
    own: BTreeSet<InboxAddress>,
    /// When the account publishes next.
    publish_at: Time,
    /// When it is looked whether an own device is missing from a conversation.
    admit_at: Time,
    /// When this device was last up to date: from then on mailboxes of past days are looked through.
    since: Time,
    /// Whether it came into groups since then, of which it looks through more.
    newly_in: bool,
}

impl Messenger {
    /// Makes the first device of an account in an empty vault.
    ///
    /// # Errors
    /// When the vault belongs to a device already, or a field is over its limit.
    pub fn create(
        vault: &mut dyn Vault,
        rng: &mut dyn session_core::Entropy,
        now: Time,
        setup: &Setup,
    ) -> Result<(), Error> {
        account::create(vault, rng, now, setup).map(drop)
    }

    /// Takes up the device whose vault this is; `None` if it is nobody's yet.
    #[must_use]
    pub fn open(vault: &dyn Vault, config: Config) -> Option<Self> {
        let me = account::open(vault)?;
        let mut groups = Groups::open(vault, Time::ZERO);
        groups.rotate_by(config.rotation);
        Some(Self {
            groups,
            since: vault::load(vault, &since_key()).unwrap_or(Time::ZERO),
            outbox: Outbox::open(vault),
            marking: marks::Marking::default(),
            config,
            me,
            finder: find::Finder::default(),
            tallies: BTreeMap::new(),
            tickets: BTreeMap::new(),
            watched: None,
            watch_at: Time::ZERO,
            watch_stale: true,
            resumed: false,
            own: BTreeSet::new(),
            publish_at: Time::ZERO,
            admit_at: Time::ZERO,
            newly_in: true,
        })
    }

    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.me.account
    }

    /// Returns items that wait to be stored, those on their way included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Returns the id of the device.
    #[must_use]
    pub fn device(&self) -> crate::say::DeviceId {
        self.me.device
    }

    /// Returns the groups of this device, for tests and invariants: the epoch of each, and what is
    /// the same on all members in it.
    #[must_use]
    pub fn epochs(vault: &dyn Vault) -> Vec<(GroupId, u64, api::Authenticator)> {
        let epoch = |(id, _, phase)| match (phase, group::epoch(vault, &id)) {
            (group::Phase::Member, Some((epoch, authenticator))) => {
                Some((id, epoch, authenticator))
            }
            _ => None,
        };
        group::list(vault).into_iter().filter_map(epoch).collect()
    }

    /// Returns whether there is a conversation with a peer: what is said to it next needs no look-up.
    #[must_use]
    pub fn talks_with(vault: &dyn Vault, peer: &crate::say::Peer) -> bool {
        links::group_of(vault, peer).is_some()
    }

    fn stored(&mut self, cx: &mut Cx<'_>, id: u64, outcome: &Result<Stored, NetFailure>) {
        if self.mark_stored(cx, id, outcome) {
            return;
        }
        let Some(waiting) = self.outbox.waiting(cx.store, id) else { return };
        if let Purpose::Commit { group, epoch } = waiting.purpose {
            return self.commit_answered(cx, id, group, epoch, outcome);
        }
        match outcome {
            Ok(stored) => {
                self.outbox.done(cx, id, waiting.batch);
                if waiting.purpose == Purpose::Published {
                    account::published(cx, &self.outbox);
                }
                if let Purpose::Said { thread, id } = waiting.purpose {
                    let changed = thread::stored(cx.store, cx.now, thread, id, stored);
                    self.tell_status(cx, thread, changed);
                }
            }
            Err(NetFailure::Refused(why)) => {
                self.outbox.done(cx, id, waiting.batch);
                self.warn(
                    cx,
                    Warning::Refused { what: format!("a node, what this device stores: {why}") },
                );
                self.given_up(cx, waiting.purpose);
            }
            Err(_) => self.outbox.again(cx, id),
        }
    }

    fn commit_answered(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        group: GroupId,
        epoch: u64,
        outcome: &Result<Stored, NetFailure>,
    ) {
        if matches!(outcome, Err(NetFailure::Unreachable(_) | NetFailure::Missing)) {
            return self.outbox.again(cx, id);
        }
        self.outbox.done(cx, id, None);
        let Self { groups, me, .. } = self;
        let heard = groups.commit_stored(cx, me.author(), &group, epoch, outcome.as_ref());
        self.heard(cx, heard);
    }

    fn arrived(&mut self, cx: &mut Cx<'_>, address: InboxAddress, items: &[Item]) {
        if self.own.contains(&address) {
            return self.arrived_for_me(cx, &address, items);
        }
        for item in items {
            let Self { groups, me, .. } = self;
            let heard = groups.arrived(cx, me.author(), &address, item);
            self.heard(cx, heard);
        }
    }

    /// Every watched mailbox was read through after `at`: those of days before need not be looked
    /// through any more.
    fn caught_up(&mut self, cx: &mut Cx<'_>, at: Time) {
        let at = at.min(cx.now);
        self.join_again(cx, at);
        if at <= self.since {
            return;
        }
        let first = |since| *crate::mailbox::days_to_watch(cx.now, since).start();
        if first(at) != first(self.since) || self.newly_in {
            self.groups.touch_all(cx.store);
            self.newly_in = false;
            self.watch_stale = true;
        }
        self.since = at;
        vault::save(cx.store, &since_key(), &at);
    }

    fn read(&mut self, cx: &mut Cx<'_>, id: u64, outcome: &Result<Vec<Item>, NetFailure>) {
        if self.marks_read(cx, id, outcome) || self.found(cx, id, outcome).is_some() {
            return;
        }
        let Self { groups, me, .. } = self;
        let heard = groups.read(cx, me.author(), id, outcome).unwrap_or_default();
        self.heard(cx, heard);
    }

    fn publish(&mut self, cx: &mut Cx<'_>, force: bool) {
        let Self { groups, outbox, me, .. } = self;
        let todos = account::publish(cx, outbox, me, groups.agreement(), force);
        self.publish_at = account::next_due(cx.store, &self.me).max(cx.now + PUBLISH_PACE);
        self.do_all(cx, todos);
    }

    /// Wants a change, and remembers who waits for it.
    fn wish(&mut self, cx: &mut Cx<'_>, group: GroupId, wish: Wish, waiter: Waiter) {
        self.wishes(cx, group, vec![wish], waiter);
    }

    fn wishes(&mut self, cx: &mut Cx<'_>, group: GroupId, wishes: Vec<Wish>, waiter: Waiter) {
        match self.groups.change(cx, self.me.author(), &group, wishes) {
            Ok(ticket) => drop(self.tickets.insert(ticket, waiter)),
            Err(error) => self.told(cx, waiter, Err(error)),
        }
        self.watch_stale = true;
    }

    fn told(&mut self, cx: &mut Cx<'_>, waiter: Waiter, result: Result<(), Error>) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Command(id) => commands::answer_to(cx, id, result.map(|()| Answer::Done)),
            Waiter::Tally { command, account } => self.tally(cx, command, account, result),
            Waiter::Talk(account) => {
                if let Err(error) = result {
                    self.give_up_talk(cx, account, &error);
                }
            }
        }
    }

    fn warn(&self, cx: &mut Cx<'_>, warning: Warning) {
        cx.effects.push(Effect::Event(Event::Warning(warning)));
    }

    /// Tells how far a message of ours has come, if that is another than before.
    fn tell_status(
        &self,
        cx: &mut Cx<'_>,
        thread: thread::ThreadId,
        changed: Option<(u64, thread::Status)>,
    ) {
        if let Some((place, status)) = changed {
            cx.effects.push(Effect::Event(Event::Status { thread, place, status }));
        }
    }

    /// What was kept here to be said will not be.
    fn given_up(&self, cx: &mut Cx<'_>, purpose: Purpose) {
        if purpose == Purpose::Published {
            account::published(cx, &self.outbox);
        }
        if let Purpose::Said { thread, id } = purpose {
            let changed = thread::failed(cx.store, thread, id);
            self.tell_status(cx, thread, changed);
        }
    }

    fn show(&self, cx: &mut Cx<'_>, thread: thread::ThreadId, places: Vec<u64>, alert: bool) {
        cx.effects.push(Effect::Event(Event::Changed { thread, places, alert }));
    }

    /// Orders watched what has to be watched, if that changed.
    fn watch(&mut self, cx: &mut Cx<'_>) {
        let stale = self.watch_stale || self.groups.sources_changed(cx.now);
        if !stale && cx.now < self.watch_at {
            return;
        }
        if cx.now >= self.watch_at && self.watched.is_some() {
            self.ask_about_devices(cx);
        }
        self.watch_stale = false;
        self.watch_at = cx.now + DAY_CHECK;
        let own = self.me.account;
        let mut sources: BTreeMap<InboxAddress, Source> =
            self.groups.sources(cx.store, &own, cx.now, self.since);
        self.own.clear();
        let mine = account::sources(cx.store);
        for source in mine.into_iter().chain([account::find_source(&self.me.account)]) {
            let address = source.rule.address();
            self.own.insert(address);
            sources.insert(address, source);
        }
        if self.watched.as_ref().is_none_or(|watched| !watched.iter().eq(sources.keys())) {
            self.watched = Some(sources.keys().copied().collect());
            cx.effects.push(Effect::Watch { sources });
        }
    }

    /// Takes up what a restart interrupted.
    fn resume(&mut self, cx: &mut Cx<'_>) {
        if self.resumed {
            return;
        }
        self.resumed = true;
        for account in links::waited_for(cx.store).into_iter().chain(links::lost(cx.store)) {
            self.find(cx, account, find::Goal::Talk);
        }
        self.ask_about_devices(cx);
        let account = self.me.account;
        self.find(cx, account, find::Goal::Refresh);
        self.outbox.fly(cx);
    }
}

impl Messenger {
    /// Says again, under the keys and in the mailbox of today, what could not be stored in time.
    fn seal_late(&mut self, cx: &mut Cx<'_>) {
        let epoch = |vault: &dyn Vault, group: &GroupId| {
            let member = group::phase(vault, group) == Some(group::Phase::Member);
            group::epoch(vault, group).filter(|_| member).map(|(epoch, _)| epoch)
        };
        for batch in self.outbox.take_late(cx, epoch) {
            self.say_batch(cx, &batch);
        }
    }

    /// Asks again about devices of which it is not known whether they belong to their accounts.
    fn ask_about_devices(&mut self, cx: &mut Cx<'_>) {
        for account in group::unchecked(cx.store) {
            self.find(cx, account, find::Goal::Check);
        }
    }
}

fn since_key() -> Vec<u8> {
    Table::Meta.key(&[b"m/since"])
}

/// As [`Machine`](session_core::Machine), which cannot be told a vault's lifetime.
impl Messenger {
    /// Handles one input.
    pub fn handle<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, Effect>, input: Input) {
        self.resume(cx);
        match input {
            Input::Command { id, command } => self.command(cx, id, command),
            Input::Stored { id, outcome } => self.stored(cx, id, &outcome),
            Input::Read { id, outcome } => self.read(cx, id, &outcome),
            Input::Arrived { address, items } => self.arrived(cx, address, &items),
            Input::CaughtUp { at } => self.caught_up(cx, at),
        }
        self.mark(cx);
        self.watch(cx);
    }

    /// Returns when [`Self::tick`] wants to run.
    #[must_use]
    pub fn deadline(&self, vault: &dyn Vault) -> Option<Time> {
        let first = if self.resumed { None } else { Some(Time::ZERO) };
        [
            first,
            Some(self.watch_at),
            Some(self.publish_at),
            Some(self.admit_at),
            self.outbox.deadline(),
            self.outbox.late_deadline(),
            self.marking.deadline(),
            self.groups.deadline(),
            self.finder.deadline(),
            receipts::deadline(vault),
            thread::next_expiry(vault),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn tick<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, Effect>) {
        self.resume(cx);
        if self.publish_at <= cx.now {
            self.publish(cx, false);
        }
        if self.admit_at <= cx.now {
            let missing = self.admit(cx);
            self.admit_at = cx.now + if missing { ADMIT_PACE } else { ADMIT_CHECK };
        }
        self.find_again(cx);
        self.seal_late(cx);
        self.outbox.fly(cx);
        let Self { groups, outbox, me, .. } = self;
        let heard = groups.tick(cx, outbox, me.author());
        self.heard(cx, heard);
        if receipts::deadline(cx.store).is_some_and(|due| due <= cx.now) {
            self.send_receipts(cx);
        }
        for (thread, places) in thread::expire(cx.store, cx.now) {
            if let Some(gone) = thread::summary(cx.store, thread) {
                unsaid::unsay(cx.store, cx.now, &gone.peer);
            }
            self.show(cx, thread, places, false);
        }
        if self.marking.deadline().is_some_and(|due| due <= cx.now) {
            self.join_again(cx, cx.now);
        }
        self.mark(cx);
        self.watch(cx);
    }
}

#[cfg(test)]
mod tests;
