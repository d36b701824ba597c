//! What groups report: something said, somebody added or gone, a conversation lost.

use std::collections::BTreeSet;

use session_core::{AccountId, Domain, Time};

use super::api::{Effect, Event, Warning};
use super::find::Goal;
use super::links;
use super::{Messenger, Waiter, commands, receipts};
use crate::Cx;
use crate::account;
use crate::group::{self, Changed, Heard, Kind, Phase, Role, Welcome};
use crate::intro::IntroBody;
use crate::mls::{Doors, KeyAgreement as _};
use crate::outbox::Purpose;
use crate::say::{Copied, DeviceId, GroupId, Peer, Said, Say, SayId, Standing};
use crate::thread::{self, SystemLine};

/// Something that a member of a group said.
struct Spoken {
    group: GroupId,
    author: AccountId,
    device: DeviceId,
    said: Vec<u8>,
    /// Whether own devices could not read it.
    overlooked: bool,
}

impl Messenger {
    pub(super) fn heard(&mut self, cx: &mut Cx<'_>, heard: Vec<Heard>) {
        for it in heard {
            self.hear(cx, it);
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>, heard: Heard) {
        match heard {
            Heard::Said { group, author, device, said, overlooked } => {
                self.spoken(cx, &Spoken { group, author, device, said, overlooked });
            }
            Heard::Welcome(welcome) => self.welcome_all(cx, *welcome),
            Heard::Changed(changed) => self.changed(cx, &changed),
            Heard::Done { ticket, result } => {
                let waiter = self.tickets.remove(&ticket).unwrap_or(Waiter::Nobody);
                self.told(cx, waiter, result);
            }
            Heard::Check { account, .. } => self.find(cx, account, Goal::Check),
            Heard::Removed { group, by } => self.removed(cx, group, by),
            Heard::Lost { group } => self.lost(cx, group),
            Heard::StillLost { group, times } => self.ask_back(cx, group, times as usize),
            Heard::HealingBlocked { group, since } => {
                if let Some(link) = links::link(cx.store, &group) {
                    self.warn(cx, Warning::HealingBlocked { thread: link.thread, since });
                }
            }
            Heard::Warning(warning) => self.warn(cx, warning),
        }
    }

    /// Sends each account that a commit of ours brought in what it needs.
    fn welcome_all(&mut self, cx: &mut Cx<'_>, welcome: Welcome) {
        let Welcome { group, joiners, welcome, tree, route, epoch } = welcome;
        let most = group::agreed(cx.store, &group).map_or(0, |agreed| agreed.history);
        let history = self.history(cx, &group, most);
        let (Ok(welcome), Ok(tree)) =
            (session_core::Blob::new(welcome), session_core::Blob::new(tree))
        else {
            let what = "a group that is too large to be joined".to_owned();
            return self.warn(cx, Warning::Refused { what });
        };
        let accounts: BTreeSet<AccountId> = joiners.iter().map(|leaf| leaf.account).collect();
        for account in accounts {
            let body = IntroBody::Welcome {
                group,
                epoch,
                route: route.clone(),
                welcome: welcome.clone(),
                tree: tree.clone(),
                history: history.clone(),
            };
            self.welcome(cx, account, group, body);
        }
    }

    fn spoken(&mut self, cx: &mut Cx<'_>, spoken: &Spoken) {
        let Some(said) = commands::decoded(&spoken.said) else {
            let what = format!("a message of {} that is not understood", spoken.author);
            return self.warn(cx, Warning::Refused { what });
        };
        let own = spoken.author == self.me.account;
        if Some(spoken.group) == links::devices(cx.store) {
            if let (true, Say::Copy { copy }) = (own, said.say) {
                self.copied(cx, spoken.device, *copy);
            }
            return;
        }
        let Some(link) = links::link(cx.store, &spoken.group) else { return };
        let standing = thread::summary(cx.store, link.thread).map(|it| it.standing);
        let blocked =
            standing == Some(Standing::Blocked) || account::is_blocked(cx.store, &spoken.author);
        if blocked || matches!(said.say, Say::Copy { .. } | Say::Seen) {
            return;
        }
        // The other side is where it speaks: in a conversation in which it never did it may not be.
        if let Peer::Account { account } = link.peer
            && links::primary(cx.store, &account).is_none_or(|primary| {
                let there = group::phase(cx.store, &primary) == Some(Phase::Member)
                    && group::is_heard(cx.store, &primary);
                primary != spoken.group && !there
            })
        {
            links::set_primary(cx.store, &account, Some(spoken.group));
        }
        if let Say::Profile { name } = &said.say {
            return self.profile(cx, spoken.author, name);
        }
        if spoken.overlooked && !matches!(said.say, Say::Typing { .. }) {
            self.pass_on(cx, link.peer, spoken);
        }
        let receipt_due = self.take_up(cx, link.thread, spoken.author, spoken.device, &said);
        if receipt_due {
            let at = self.receipt_time(cx);
            receipts::note(cx.store, at, spoken.group, &[(said.id, spoken.author)], false);
        }
    }

    /// Tells own devices what they could not read.
    fn pass_on(&mut self, cx: &mut Cx<'_>, from: Peer, spoken: &Spoken) {
        let Ok(said) = session_core::Blob::new(spoken.said.as_slice()) else { return };
        let (author, device) = (spoken.author, spoken.device);
        self.copy(cx, Copied::Heard { from, author, device, said });
    }

    /// Shows what somebody said. Returns whether its author may be told that it arrived.
    pub(super) fn take_up(
        &mut self,
        cx: &mut Cx<'_>,
        thread: thread::ThreadId,
        author: AccountId,
        device: DeviceId,
        said: &Said,
    ) -> bool {
        let own = author == self.me.account;
        let audience = match thread::summary(cx.store, thread).map(|it| it.peer) {
            Some(peer) => self.audience(cx, peer),
            None => return false,
        };
        let (store, now) = (&mut *cx.store, cx.now);
        let applied = thread::apply(store, now, thread, author, device, own, said, &audience);
        if let Some(on) = applied.typing {
            cx.effects.push(Effect::Event(Event::Typing { thread, account: author, on }));
        }
        for (place, status) in applied.status {
            cx.effects.push(Effect::Event(Event::Status { thread, place, status }));
        }
        if !applied.places.is_empty() || applied.timer.is_some() {
            self.show(cx, thread, applied.places, applied.alert);
        }
        applied.receipt_due
    }

    /// A name that somebody gives itself is shown where its owner has given none.
    fn profile(&mut self, cx: &mut Cx<'_>, author: AccountId, name: &str) {
        if !crate::shown::is_name(name) {
            return;
        }
        let Some(contact) = account::contact(cx.store, &author) else { return };
        if contact.name.is_empty() && contact.standing != Standing::Blocked {
            let standing = contact.standing;
            let named = account::set_contact(cx.store, cx.now, &author, standing, Some(name), None);
            if named.is_ok() {
                self.contact_changed(cx, author);
            }
        }
    }

    /// Receipts wait for company, and a random while longer: they tell when somebody looked.
    fn receipt_time(&self, cx: &mut Cx<'_>) -> Time {
        let delay = self.config.receipt_delay;
        let jitter = cx.rng.below(delay.as_millis() / 2 + 1);
        cx.now + delay + session_core::Span::from_millis(jitter)
    }

    /// Notes receipts for messages of a peer.
    pub(super) fn note_receipts(
        &mut self,
        cx: &mut Cx<'_>,
        peer: Peer,
        ids: &[(SayId, AccountId)],
        read: bool,
    ) {
        if let Some(group) = links::group_of(cx.store, &peer) {
            let at = self.receipt_time(cx);
            receipts::note(cx.store, at, group, ids, read);
        }
    }

    /// Sends the receipts that wait.
    pub(super) fn send_receipts(&mut self, cx: &mut Cx<'_>) {
        for (group, say) in receipts::take(cx.store) {
            let said = Said { id: SayId::generate(cx.rng), sent_at: cx.now, say };
            // A conversation that was lost has nobody to tell.
            let _lost = self.send(cx, &group, Purpose::Quiet, &said);
        }
    }

    fn changed(&mut self, cx: &mut Cx<'_>, changed: &Changed) {
        if Some(changed.group) == links::devices(cx.store) {
            return self.devices_changed(cx, changed);
        }
        let Some(link) = links::link(cx.store, &changed.group) else { return };
        let mut places = Vec::new();
        if let Peer::Group { group } = link.peer {
            for line in lines(changed, &group::roster(cx.store, &group).accounts()) {
                places.extend(thread::note(cx.store, cx.now, link.thread, line));
            }
            thread::set_name(cx.store, link.thread, &changed.agreed.name);
            thread::set_disappear(cx.store, cx.now, link.thread, changed.agreed.disappear);
            self.count_members(cx, group, link.thread);
        }
        if !places.is_empty() {
            self.show(cx, link.thread, places, false);
        }
        self.bring_up_to_date(cx, link.peer, link.thread, changed);
        self.send_waiting(cx, &link.peer, &changed.group);
    }

    /// Somebody removed this device.
    fn removed(&mut self, cx: &mut Cx<'_>, group: GroupId, by: Option<AccountId>) {
        let Some(link) = links::link(cx.store, &group) else { return };
        if let Peer::Account { account } = link.peer
            && links::primary(cx.store, &account) == Some(group)
        {
            links::set_primary(cx.store, &account, None);
        }
        let by = by.unwrap_or(self.me.account);
        let line = SystemLine::Left { account: self.me.account, by };
        let place = thread::note(cx.store, cx.now, link.thread, line);
        self.show(cx, link.thread, place.into_iter().collect(), false);
    }

    /// This device cannot follow a conversation any more: it finds a way back, and says that
    /// something is missing.
    fn lost(&mut self, cx: &mut Cx<'_>, group: GroupId) {
        let Some(link) = links::link(cx.store, &group) else {
            return self.ask_back(cx, group, 0);
        };
        let place = thread::note(cx.store, cx.now, link.thread, SystemLine::Gap);
        self.show(cx, link.thread, place.into_iter().collect(), false);
        self.warn(cx, Warning::Lost { thread: link.thread });
        match link.peer {
            // A new conversation is the way back: the other side takes it up in the same thread.
            Peer::Account { account } => {
                if links::primary(cx.store, &account) == Some(group) {
                    links::set_primary(cx.store, &account, None);
                    self.find(cx, account, Goal::Talk);
                }
            }
            Peer::Group { .. } => self.ask_back(cx, group, 0),
        }
    }

    /// Asks members of a group to remove and add this device: others each time.
    fn ask_back(&mut self, cx: &mut Cx<'_>, group: GroupId, times: usize) {
        let Some(agreed) = group::agreed(cx.store, &group) else { return };
        let mut others: Vec<AccountId> = agreed.admins.iter().copied().collect();
        others.extend(links::accounts(cx.store, &group));
        others.retain(|account| *account != self.me.account);
        if matches!(agreed.kind, Kind::Devices { .. }) {
            others = vec![self.me.account];
        }
        others.dedup();
        // Two are enough: one may be away, and whoever comes second finds it done.
        let first = (2 * times).checked_rem(others.len()).unwrap_or(0);
        others.rotate_left(first);
        for account in others.into_iter().take(2) {
            match self.rejoin(cx, group, &account) {
                Ok(body) => self.welcome(cx, account, group, body),
                Err(what) => self.warn(cx, Warning::Refused { what }),
            }
        }
    }

    /// What asks a member to add this device again, with a fresh key package.
    fn rejoin(
        &mut self,
        cx: &mut Cx<'_>,
        group: GroupId,
        to: &AccountId,
    ) -> Result<IntroBody, String> {
        let at = cx.now;
        let (key, who) = (&self.me.key, &self.me.credential.again(group, at));
        let agreement = self.groups.agreement();
        let mut doors = Doors { vault: &mut *cx.store, rng: &mut *cx.rng };
        let (package, reference) =
            agreement.key_package(&mut doors, key, who).map_err(|why| why.to_string())?;
        account::keep_shown_once(cx, &reference);
        let statement = crate::intro::rejoin_statement(&group, to, at, &package);
        let signature = self.me.key.sign(Domain::Rejoin, &statement, cx.rng);
        let key_package = session_core::Blob::new(package).map_err(|over| over.to_string())?;
        Ok(IntroBody::Rejoin { group, at, key_package, signature })
    }
}

/// What an epoch brought that people see.
fn lines(changed: &Changed, there: &[AccountId]) -> Vec<SystemLine> {
    let Some(by) = changed.by.as_ref().map(|leaf| leaf.account) else { return Vec::new() };
    let accounts = |leaves: &[group::Leaf]| -> BTreeSet<AccountId> {
        leaves.iter().map(|leaf| leaf.account).collect()
    };
    let (added, removed) = (accounts(&changed.added), accounts(&changed.removed));
    let mut lines = Vec::new();
    // Devices come and go without a word; accounts do not.
    for account in added.difference(&removed) {
        lines.push(SystemLine::Joined { account: *account, by });
    }
    for account in removed.difference(&added) {
        if !there.contains(account) {
            lines.push(SystemLine::Left { account: *account, by });
        }
    }
    let (before, after) = (&changed.before, &changed.agreed);
    if before.name != after.name {
        lines.push(SystemLine::Renamed { by, name: after.name.clone() });
    }
    if before.disappear != after.disappear {
        lines.push(SystemLine::Timer { by, disappear: after.disappear });
    }
    let admins =
        |agreed: &group::Agreed| -> BTreeSet<AccountId> { agreed.admins.iter().copied().collect() };
    let (was, is) = (admins(before), admins(after));
    lines.extend(is.difference(&was).map(|account| SystemLine::Role {
        by,
        account: *account,
        role: Role::Admin,
    }));
    lines.extend(
        was.difference(&is)
            .filter(|account| there.contains(account))
            .map(|account| SystemLine::Role { by, account: *account, role: Role::Member }),
    );
    lines
}
