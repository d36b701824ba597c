//! Other accounts: what is learned of them, introductions, who is added where.

use session_core::{AccountId, InboxAddress, List};
use session_protocol::manifest::SignedManifest;
use session_protocol::request::Item;

use super::api::{Answer, Event, Warning};
use super::api::{Effect, Error};
use super::find::{Found, Goal};
use super::links::{self, Link};
use super::{Messenger, Waiter, commands, requests};
use crate::Cx;
use crate::account::{self, Incoming};
use crate::group::{self, Inviter, JoinError, Kind, Package, Phase, Wish};
use crate::intro::{IntroBody, Past};
use crate::outbox::Purpose;
use crate::say::{DeviceId, GroupId, Peer, Say, Standing};
use crate::thread::{self, SystemLine};

impl Messenger {
    /// Takes manifests of an account as they were found; returns the newest.
    pub(super) fn learn(
        &mut self,
        cx: &mut Cx<'_>,
        account: &AccountId,
        items: &[Item],
    ) -> Option<SignedManifest> {
        let learned = account::learn(cx.store, cx.now, &mut self.me, account, items);
        let manifest = learned.manifest.clone();
        self.learned(cx, *account, learned);
        manifest
    }

    /// Does what follows from a manifest.
    pub(super) fn learned(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        learned: account::Learned,
    ) {
        for warning in learned.warnings {
            self.warn(cx, warning);
        }
        if !learned.new {
            return;
        }
        self.publish_at = account::next_due(cx.store, &self.me).min(self.publish_at);
        // Whoever is met for the first time has no other devices than before.
        let all = learned.manifest.as_ref().map_or(0, |it| it.manifest.devices.len());
        let thread = thread::thread_of(cx.store, &Peer::Account { account });
        if let Some(thread) = thread
            && (!learned.removed.is_empty()
                || (!learned.added.is_empty() && learned.added.len() < all))
            && account::contact(cx.store, &account)
                .is_some_and(|it| it.standing == Standing::Accepted)
        {
            let place = thread::note(cx.store, cx.now, thread, SystemLine::Devices { account });
            self.show(cx, thread, place.into_iter().collect(), false);
        }
        self.devices_known(cx, account);
    }

    /// Tells groups which devices an account has.
    pub(super) fn devices_known(&mut self, cx: &mut Cx<'_>, account: AccountId) {
        let Some(listing) = account::listing(cx.store, &account) else { return };
        let Self { groups, me, .. } = self;
        let heard = groups.known(cx, me.author(), &account, &listing);
        self.heard(cx, heard);
    }

    /// What was looked up for a goal is there, or not to be had.
    pub(super) fn reached(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        goal: Goal,
        found: Result<&Found, Error>,
    ) {
        match (goal, found) {
            (Goal::Answer { command }, Ok(found)) => {
                let safety_number = account::safety_number(cx.store, &account).unwrap_or_default();
                let manifest = Box::new(found.manifest.clone());
                let answer = Answer::Account { manifest, safety_number };
                commands::answer_to(cx, command, Ok(answer));
            }
            (Goal::Answer { command }, Err(error)) => {
                commands::answer_to(cx, command, Err(error));
            }
            (Goal::Refresh, _) => {}
            (Goal::Talk, Ok(found)) => match self.begin_talk(cx, account, found) {
                Ok(()) => self.finder.talks(&account),
                Err(error) => self.give_up_talk(cx, account, &error),
            },
            (Goal::Talk, Err(error)) => self.give_up_talk(cx, account, &error),
            (Goal::Add { group, tally }, Ok(found)) => {
                let waiter =
                    tally.map_or(Waiter::Nobody, |command| Waiter::Tally { command, account });
                if let Err(error) = self.add(cx, group, account, found, waiter.clone()) {
                    self.told(cx, waiter, Err(error));
                }
            }
            (Goal::Add { tally, .. }, Err(error)) => {
                if let Some(command) = tally {
                    self.tally(cx, command, account, Err(error));
                }
            }
            // Whoever cannot be looked up now is asked about again, with the next thing it says or later.
            (Goal::Check, Ok(_)) => self.devices_known(cx, account),
            (Goal::Check, Err(_)) => {}
        }
    }

    /// The account cannot be reached now: what waits is kept, and tried again after a while, with the
    /// next message, or after the next start.
    pub(super) fn give_up_talk(&mut self, cx: &mut Cx<'_>, account: AccountId, error: &Error) {
        if !self.finder.unreached(account, cx.now) {
            return;
        }
        let what = format!("{error}; what you wrote waits");
        self.warn(cx, Warning::Refused { what });
        if let Some(thread) = thread::thread_of(cx.store, &Peer::Account { account }) {
            self.show(cx, thread, Vec::new(), false);
        }
    }

    /// Adds the devices of an account to a group.
    pub(super) fn add(
        &mut self,
        cx: &mut Cx<'_>,
        group: GroupId,
        account: AccountId,
        found: &Found,
        waiter: Waiter,
    ) -> Result<(), Error> {
        let there = group::roster(cx.store, &group);
        let there = |device: &DeviceId| there.of(&account).any(|leaf| leaf.device == *device);
        let mut packages = Vec::new();
        for (device, bytes) in &found.packages {
            if there(device) || *device == self.me.device {
                continue;
            }
            let bytes = session_core::Blob::new(bytes.clone()).map_err(|over| Error::TooMany {
                field: "bytes of a key package",
                got: over.got,
                limit: over.limit,
            })?;
            packages.push(Package { account, bytes });
        }
        if packages.is_empty() {
            self.told(cx, waiter, Ok(()));
            return Ok(());
        }
        self.wishes(cx, group, group::adds(packages), waiter);
        Ok(())
    }

    /// Something came for the account itself: an introduction, or its own manifest.
    pub(super) fn arrived_for_me(
        &mut self,
        cx: &mut Cx<'_>,
        address: &InboxAddress,
        items: &[Item],
    ) {
        let me = self.me.account;
        if *address == account::find_source(&me).rule.address() {
            self.learn(cx, &me, items);
            return;
        }
        for item in items {
            let agreement = self.groups.agreement();
            match account::arrived_intro(cx, &mut self.me, agreement, address, item) {
                Ok(Some(incoming)) => self.introduced(cx, incoming),
                Ok(None) => {}
                Err(refused) => self.warn(cx, Warning::Refused { what: refused.to_string() }),
            }
        }
    }

    fn introduced(&mut self, cx: &mut Cx<'_>, incoming: Incoming) {
        let Incoming { from, device, body, learned } = incoming;
        self.learned(cx, from, learned);
        match body {
            IntroBody::Welcome { group, epoch: _, route, welcome, tree, history } => {
                let inviter = self.may_invite(cx, &from, &device, &group);
                let joined = inviter.map_err(JoinError::Refused).and_then(|inviter| {
                    let me = self.me.author();
                    self.groups.join(cx, me, &group, &inviter, &welcome, &tree, &route)
                });
                let alone = account::devices(cx.store).len() < 2;
                match joined {
                    Ok(joined) => self.joined(cx, from, &joined, &history),
                    // Own devices share one mailbox, and are added more than once at times.
                    Err(JoinError::There) => {}
                    Err(JoinError::NotForUs) if !alone => {}
                    Err(error) => {
                        let what = format!("an invitation of {from}: {error}");
                        self.warn(cx, Warning::Refused { what });
                    }
                }
            }
            IntroBody::Rejoin { group, key_package, .. } => {
                let bytes = session_core::Blob::new(key_package.into_vec());
                if let Ok(bytes) = bytes
                    && group::roster(cx.store, &group).of(&from).any(|it| it.device == device)
                {
                    let package = Package { account: from, bytes };
                    self.wish(cx, group, Wish::Readd { package }, Waiter::Nobody);
                }
            }
            // Answers to a device that wants to belong to an account come before there is a messenger.
            IntroBody::Link { .. } => {}
        }
    }

    /// Checks who invites before anything is joined; returns whose key has to have signed.
    fn may_invite(
        &self,
        cx: &mut Cx<'_>,
        from: &AccountId,
        device: &DeviceId,
        group: &GroupId,
    ) -> Result<Inviter, Error> {
        let wrong = |why: &str| Error::Invalid { field: "welcome", why: why.to_owned() };
        let manifest = account::known(cx.store, from);
        let key = manifest.and_then(|it| it.device(&device.0).map(|device| device.key));
        let key = key.ok_or_else(|| wrong("its account does not list the device"))?;
        let there = links::accounts(cx.store, group);
        if group::phase(cx.store, group) == Some(Phase::Lost)
            && !there.is_empty()
            && !there.contains(from)
        {
            return Err(wrong("its sender was not in the group"));
        }
        if !self.trusts(cx, from) {
            let got = requests::groups_of(cx.store, from).iter().filter(|it| *it != group).count();
            if got >= STRANGER_GROUPS_MAX {
                let (field, limit) = ("groups of one stranger", STRANGER_GROUPS_MAX);
                return Err(Error::TooMany { field, got: got + 1, limit });
            }
        }
        Ok(Inviter { account: *from, key })
    }

    /// Whether an account may bring this one into groups without being asked about it.
    fn trusts(&self, cx: &Cx<'_>, account: &AccountId) -> bool {
        *account == self.me.account
            || account::contact(cx.store, account)
                .is_some_and(|it| it.standing == Standing::Accepted)
    }

    /// This device is in a group from now on.
    fn joined(
        &mut self,
        cx: &mut Cx<'_>,
        from: AccountId,
        joined: &group::Joined,
        history: &[Past],
    ) {
        self.watch_stale = true;
        self.newly_in = true;
        if let Some(warning) = account::used_package(cx, &joined.key_package) {
            self.warn(cx, warning);
        }
        self.publish_at = account::next_due(cx.store, &self.me).min(self.publish_at);
        let group = joined.group;
        let own = from == self.me.account;
        let peer = match joined.agreed.kind {
            Kind::Direct { creator, other } => {
                let account = if creator == self.me.account { other } else { creator };
                Peer::Account { account }
            }
            Kind::Group => Peer::Group { group },
            Kind::Devices { .. } => return self.devices_joined(cx, group),
        };
        for account in &joined.unknown {
            self.find(cx, *account, Goal::Check);
        }
        if !self.trusts(cx, &from) {
            self.note_stranger(cx, from, group);
        }
        let known = thread::thread_of(cx.store, &peer).is_some();
        let thread = self.open_thread(cx, &peer);
        links::set_link(cx.store, &group, Link { thread, peer });
        match peer {
            Peer::Account { account } => self.direct_joined(cx, account, group, own),
            Peer::Group { .. } => self.group_joined(cx, from, thread, joined, own),
        }
        if joined.agreed.kind == Kind::Group && !joined.again {
            let most = usize::from(joined.agreed.history);
            self.take_history(cx, thread, &history[history.len().saturating_sub(most)..]);
        }
        if joined.again {
            let place = thread::note(cx.store, cx.now, thread, SystemLine::Gap);
            self.show(cx, thread, place.into_iter().collect(), false);
        }
        let request = thread::summary(cx.store, thread)
            .is_some_and(|summary| summary.standing == Standing::Stranger);
        if request && !known && !own {
            let account = from;
            cx.effects.push(Effect::Event(Event::Request { account, thread }));
        }
        self.show(cx, thread, Vec::new(), false);
        self.send_waiting(cx, &peer, &group);
    }

    /// Shows what was said before, as far as the group shows that to those who join. It is the word
    /// of whoever invites, so it stands under no device, and the own account said none of it.
    fn take_history(&mut self, cx: &mut Cx<'_>, thread: thread::ThreadId, history: &[Past]) {
        for past in history.iter().filter(|past| past.author != self.me.account) {
            let said = commands::decoded(&past.said);
            if let Some(said) = said.filter(|it| matches!(it.say, Say::Text { .. })) {
                let (device, author) = (DeviceId::default(), past.author);
                thread::apply(cx.store, cx.now, thread, author, device, false, &said, &[]);
            }
        }
    }

    /// Of two device groups that were made at once, the lower one counts on all devices.
    fn devices_joined(&mut self, cx: &mut Cx<'_>, group: GroupId) {
        let alive = |it: &GroupId| {
            group::phase(cx.store, it) == Some(Phase::Member)
                && group::roster(cx.store, it).leaves.len() > 1
        };
        let before = links::devices(cx.store).filter(alive);
        links::set_devices(cx.store, before.map_or(group, |before| before.min(group)));
    }

    /// Of two conversations with the same account that began at once, both sides write to that with
    /// the lower id. One that was made because the other was lost takes its place.
    fn direct_joined(&mut self, cx: &mut Cx<'_>, account: AccountId, group: GroupId, own: bool) {
        for dropped in account::meet(cx.store, cx.now, &account) {
            for group in requests::groups_of(cx.store, &dropped) {
                self.drop_group(cx, &dropped, &group);
            }
        }
        if own {
            let accepted = Standing::Accepted;
            let _known = account::set_contact(cx.store, cx.now, &account, accepted, None, None);
        }
        self.contact_changed(cx, account);
        let before = links::primary(cx.store, &account);
        let fresh = before.is_none_or(|before| {
            let alive = group::phase(cx.store, &before) == Some(Phase::Member);
            // Whoever begins again after it was there has lost what was there.
            !alive || group::is_heard(cx.store, &before) || group < before
        });
        if fresh {
            links::set_primary(cx.store, &account, Some(group));
        }
    }

    fn group_joined(
        &mut self,
        cx: &mut Cx<'_>,
        from: AccountId,
        thread: thread::ThreadId,
        joined: &group::Joined,
        own: bool,
    ) {
        thread::set_name(cx.store, thread, &joined.agreed.name);
        thread::set_disappear(cx.store, cx.now, thread, joined.agreed.disappear);
        let trusted = own || self.trusts(cx, &from);
        let standing = if trusted { Standing::Accepted } else { Standing::Stranger };
        let before = thread::summary(cx.store, thread).map(|it| it.standing);
        // Whoever was removed from a group has not accepted what a stranger makes of it.
        if before != Some(Standing::Accepted) || (!trusted && !joined.again) {
            self.stand(cx, thread, standing);
        }
        if !joined.again {
            let line = SystemLine::Joined { account: self.me.account, by: from };
            thread::note(cx.store, cx.now, thread, line);
        }
        self.count_members(cx, joined.group, thread);
    }

    /// Remembers who is in a group, for the list and for the way back.
    pub(super) fn count_members(
        &mut self,
        cx: &mut Cx<'_>,
        group: GroupId,
        thread: thread::ThreadId,
    ) {
        let accounts = group::roster(cx.store, &group).accounts();
        thread::set_members(cx.store, thread, u32::try_from(accounts.len()).unwrap_or(u32::MAX));
        links::set_accounts(cx.store, &group, &accounts);
    }

    /// Sends welcomes to an account that was added.
    pub(super) fn welcome(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        group: GroupId,
        body: IntroBody,
    ) {
        let Some(manifest) = account::known(cx.store, &account) else {
            let what = format!("nobody knows where {account} is told of a group");
            return self.warn(cx, Warning::Refused { what });
        };
        match account::make_intro(cx.rng, cx.store, &self.me, &manifest, body) {
            Ok(letters) => {
                for letter in letters {
                    let purpose = Purpose::Intro { group };
                    self.outbox.send(cx, purpose, letter.to, letter.ttl, letter.data);
                }
            }
            Err(error) => self.warn(cx, Warning::Refused { what: error.to_string() }),
        }
    }

    /// What those who join a group are shown of before.
    pub(super) fn history(
        &self,
        cx: &Cx<'_>,
        group: &GroupId,
        most: u16,
    ) -> List<Past, { crate::intro::HISTORY_MAX }> {
        let Some(link) = links::link(cx.store, group) else { return List::default() };
        let most = usize::from(most).min(crate::intro::HISTORY_MAX);
        let mut bytes = 0;
        let mut shown = Vec::new();
        for message in thread::messages(cx.store, link.thread, None, most).into_iter().rev() {
            let said = message.said().filter(|said| matches!(said.say, Say::Text { .. }));
            let Some(said) = said.filter(|_| message.expires.is_none()) else { continue };
            let said = commands::encoded(&said);
            bytes += said.len();
            if bytes > HISTORY_BYTES_MAX {
                break;
            }
            shown.push(Past { author: message.author, said });
        }
        shown.reverse();
        List::new(shown).unwrap_or_default()
    }
}

/// Groups into which one stranger may bring this account.
const STRANGER_GROUPS_MAX: usize = 4;

/// Bytes of history in one introduction: it stays within two items.
const HISTORY_BYTES_MAX: usize = 32 << 10;
