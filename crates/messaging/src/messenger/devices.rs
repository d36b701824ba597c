//! The own other devices: what they are told, who is admitted, who is excluded.

use session_core::{AccountId, List, Text};

use super::api::{Answer, Error};
use super::find::Goal;
use super::{ADMIT_PACE, Messenger, Waiter, links};
use crate::Cx;
use crate::account::{self, Todo};
use crate::group::{self, Agreed, Kind, Phase, Wish};
use crate::outbox::Purpose;
use crate::say::{Copied, DeviceId, Disappear, Peer, Said, Say, SayId, Standing};
use crate::thread;

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
                    if let Some(sealed) = account::export_keys(cx.store) {
                        self.copy(cx, Copied::Keys { sealed });
                    }
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
                let audience = match to {
                    Peer::Account { account } => vec![account],
                    Peer::Group { group } => group::roster(cx.store, &group).accounts(),
                };
                let me = self.me.account;
                let applied =
                    thread::apply(cx.store, cx.now, thread, me, device, true, &said, &audience);
                self.show(cx, thread, applied.places, false);
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
                    if standing == Standing::Accepted {
                        self.open_thread(cx, &Peer::Account { account });
                    }
                    self.contact_changed(cx, account);
                }
            }
            Copied::Forgotten { to, ids } => {
                if let Some(thread) = thread::thread_of(cx.store, &to) {
                    let places = thread::forget(cx.store, cx.now, thread, &ids);
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
}
