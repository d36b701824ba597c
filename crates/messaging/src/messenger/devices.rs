//! The own other devices: what they are told, who is admitted, who is excluded.

use session_core::{AccountId, List, Text};

use super::api::{Answer, Error};
use super::find::Goal;
use super::{ADMIT_PACE, Messenger, Waiter, links, unsaid};
use crate::Cx;
use crate::account::{self, Todo};
use crate::group::{self, Agreed, Kind, Phase, Wish};
use crate::outbox::Purpose;
use crate::say::{
    CONTACTS_COPIED_MAX, Copied, DeviceId, Disappear, Peer, Said, Say, SayId, Standing,
};
use crate::thread;

/// Messages that a device is told of which it could not read, of each conversation.
const MISSED_MAX: usize = 100;

impl Messenger {
    pub(super) fn add_device(
        &mut self,
        cx: &mut Cx<'_>,
        request: &str,
        name: &str,
    ) -> Result<Answer, Error> {
        let Self { outbox, me, .. } = self;
        let todos = account::add_device(cx, outbox, me, request, name)?;
        self.do_all(cx, todos);
        Ok(Answer::Done)
    }

    pub(super) fn revoke_device(
        &mut self,
        cx: &mut Cx<'_>,
        device: DeviceId,
    ) -> Result<Answer, Error> {
        let Self { outbox, me, .. } = self;
        let todos = account::revoke_device(cx, outbox, me, &device)?;
        self.do_all(cx, todos);
        Ok(Answer::Done)
    }

    pub(super) fn link_legacy(
        &mut self,
        cx: &mut Cx<'_>,
        seed: &crate::Secret,
    ) -> Result<Answer, Error> {
        let classical = session_crypto::legacy::LegacyKey::from_seed(seed.expose());
        let Self { outbox, me, .. } = self;
        account::link_legacy(cx, outbox, me, &classical)?;
        Ok(Answer::Done)
    }

    pub(super) fn do_all(&mut self, cx: &mut Cx<'_>, todos: Vec<Todo>) {
        self.watch_stale = true;
        let own = self.me.account;
        self.devices_known(cx, own);
        for todo in todos {
            match todo {
                Todo::ShareKeys => {
                    links::set_keys_unshared(cx.store, true);
                    self.share_keys(cx);
                }
                // Its key packages are there once it has read its answer.
                Todo::Admit { .. } => self.admit_at = cx.now + ADMIT_PACE,
                Todo::Exclude { device } => self.exclude(cx, self.me.account, device),
                Todo::LookUpSelf => {
                    let account = self.me.account;
                    self.find(cx, account, Goal::Refresh);
                }
            }
        }
    }

    /// Tells the own other devices the secrets with which the account is reached, once no device is
    /// among them that the account does not list any more.
    pub(super) fn share_keys(&mut self, cx: &mut Cx<'_>) {
        if !links::keys_unshared(cx.store) {
            return;
        }
        let own = self.me.account;
        let listed = account::known(cx.store, &own);
        let excluded = |leaf: &group::Leaf| {
            let device = listed.as_ref().and_then(|it| it.device(&leaf.device.0));
            device.is_none_or(|device| device.key != leaf.key)
        };
        if let Some(group) = links::devices(cx.store)
            && group::roster(cx.store, &group).of(&own).any(excluded)
        {
            return;
        }
        links::set_keys_unshared(cx.store, false);
        if let Some(sealed) = account::export_keys(cx.store) {
            self.copy(cx, Copied::Keys { sealed });
        }
    }

    /// The devices of the account are others than before.
    pub(super) fn devices_changed(&mut self, cx: &mut Cx<'_>, changed: &group::Changed) {
        self.share_keys(cx);
        let by_me = changed.by.as_ref().is_some_and(|leaf| leaf.device == self.me.device);
        if by_me && !changed.added.is_empty() {
            self.copy_contacts(cx);
        }
    }

    /// An own device that came into a conversation could not read what was said since it is one.
    pub(super) fn bring_up_to_date(
        &mut self,
        cx: &mut Cx<'_>,
        peer: Peer,
        thread: thread::ThreadId,
        changed: &group::Changed,
    ) {
        let own = self.me.account;
        if changed.by.as_ref().is_none_or(|leaf| leaf.device != self.me.device) {
            return;
        }
        let manifest = account::known(cx.store, &own);
        let since = changed.added.iter().filter(|leaf| leaf.account == own).filter_map(|leaf| {
            let device = manifest.as_ref()?.device(&leaf.device.0)?;
            Some(device.added)
        });
        let Some(since) = since.min() else { return };
        let missed = thread::messages(cx.store, thread, None, MISSED_MAX);
        for message in missed.into_iter().filter(|message| message.received_at >= since) {
            let Some(said) = message.said() else { continue };
            let (said, author, device) =
                (super::commands::encoded(&said), message.author, message.device);
            let copied = match message.own {
                true => Copied::Said { to: peer, said },
                false => Copied::Heard { from: peer, author, device, said },
            };
            self.copy(cx, copied);
        }
    }

    /// Tells a new device whom the account knows.
    fn copy_contacts(&mut self, cx: &mut Cx<'_>) {
        let mut known = account::contacts(cx.store);
        known.retain(|it| it.standing != Standing::Stranger);
        for some in known.chunks(CONTACTS_COPIED_MAX) {
            let contacts = List::new(some.to_vec()).expect("a chunk of the bound");
            self.copy(cx, Copied::Contacts { contacts });
        }
    }

    /// Adds the own devices wherever one is missing. Returns whether one is.
    pub(super) fn admit(&mut self, cx: &mut Cx<'_>) -> bool {
        let own = self.me.account;
        let devices: Vec<DeviceId> = account::devices(cx.store).iter().map(|it| it.id).collect();
        if devices.len() < 2 {
            return false;
        }
        let mut any = false;
        if links::devices(cx.store).is_none() && self.me.holds_keys() {
            let agreed = Agreed {
                version: 1,
                kind: Kind::Devices { account: own },
                name: Text::default(),
                admins: List::default(),
                disappear: Disappear::Never,
                history: 0,
            };
            if let Ok(group) = self.groups.create(cx, self.me.author(), agreed) {
                links::set_devices(cx.store, group);
            }
        }
        for (group, _, phase) in group::list(cx.store) {
            let there = group::roster(cx.store, &group);
            let is_there = |device: &DeviceId| there.of(&own).any(|it| it.device == *device);
            if phase == Phase::Member && !devices.iter().all(is_there) {
                any = true;
                self.find(cx, own, Goal::Add { group, tally: None });
            }
        }
        any
    }

    /// Removes a device of an account from every group where this one may.
    pub(super) fn exclude(&mut self, cx: &mut Cx<'_>, account: AccountId, device: DeviceId) {
        for (group, agreed, _) in group::list(cx.store) {
            let may = account == self.me.account || group::is_admin(&agreed, &self.me.account);
            let roster = group::roster(cx.store, &group);
            let leaf = roster.of(&account).find(|leaf| leaf.device == device).cloned();
            if let Some(leaf) = leaf.filter(|_| may && device != self.me.device) {
                let wish = Wish::RemoveDevice { account, key: leaf.key };
                self.wish(cx, group, wish, Waiter::Nobody);
            }
        }
    }

    /// Tells the own other devices, if there are any.
    pub(super) fn copy(&mut self, cx: &mut Cx<'_>, copied: Copied) {
        let Some(group) = links::devices(cx.store) else { return };
        if group::roster(cx.store, &group).leaves.len() < 2 {
            return;
        }
        let say = Say::Copy { copy: Box::new(copied) };
        let said = Said { id: SayId::generate(cx.rng), sent_at: cx.now, say };
        // What does not fit, or a device group that is being repaired, costs a copy.
        let _missing = self.send(cx, &group, Purpose::Quiet, &said);
    }

    /// Another own device tells what it said, read or decided.
    pub(super) fn copied(&mut self, cx: &mut Cx<'_>, device: DeviceId, copied: Copied) {
        match copied {
            Copied::Said { to, said } => {
                let Some(said) = super::commands::decoded(&said) else { return };
                if matches!(said.say, Say::Copy { .. }) {
                    return;
                }
                let thread = self.open_thread(cx, &to);
                self.take_up(cx, thread, self.me.account, device, &said);
                unsaid::unsay(cx.store, cx.now, &to);
            }
            Copied::Heard { from, author, device, said } => {
                let Some(said) = super::commands::decoded(&said) else { return };
                let transient = matches!(said.say, Say::Copy { .. } | Say::Typing { .. });
                if transient || account::is_blocked(cx.store, &author) {
                    return;
                }
                let thread = self.open_thread(cx, &from);
                // The device that heard it tells its author.
                let _receipt_due = self.take_up(cx, thread, author, device, &said);
            }
            Copied::Read { to, ids } => {
                if let Some(thread) = thread::thread_of(cx.store, &to) {
                    let places = thread::read_elsewhere(cx.store, cx.now, thread, &ids);
                    self.show(cx, thread, places, false);
                }
            }
            Copied::Contact { account, standing, name } => {
                let name = Some(&*name).filter(|name| !name.is_empty());
                let kept = account::set_contact(cx.store, cx.now, &account, standing, name, None);
                if kept.is_ok() {
                    self.contact_copied(cx, account, standing);
                }
            }
            Copied::Contacts { contacts } => {
                for contact in contacts {
                    // What was decided here counts; that somebody is in a conversation decides nothing.
                    let here = account::contact(cx.store, &contact.account);
                    let undecided = here.is_none_or(|here| {
                        contact.since < here.since
                            && here.name.is_empty()
                            && here.verified.is_none()
                    });
                    if undecided {
                        account::restore_contact(cx.store, &contact);
                        self.contact_copied(cx, contact.account, contact.standing);
                    }
                }
            }
            Copied::Group { group, standing } => {
                if let Some(thread) = thread::thread_of(cx.store, &Peer::Group { group }) {
                    self.stand(cx, thread, standing);
                    self.show(cx, thread, Vec::new(), false);
                }
            }
            Copied::Forgotten { to, ids } => {
                if let Some(thread) = thread::thread_of(cx.store, &to) {
                    let places = thread::forget(cx.store, cx.now, thread, &ids);
                    unsaid::unsay(cx.store, cx.now, &to);
                    self.show(cx, thread, places, false);
                }
            }
            Copied::Keys { sealed } => {
                if account::import_keys(cx.store, cx.now, &sealed).is_ok() {
                    self.watch_stale = true;
                    // The mailbox of key packages may be another one from now on.
                    self.publish_at = account::next_due(cx.store, &self.me);
                }
            }
        }
    }

    fn contact_copied(&mut self, cx: &mut Cx<'_>, account: AccountId, standing: Standing) {
        if standing == Standing::Accepted {
            self.open_thread(cx, &Peer::Account { account });
        }
        self.contact_changed(cx, account);
    }
}
