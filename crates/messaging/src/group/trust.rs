//! Devices and their accounts: what one says whose account has not confirmed it waits.

use std::collections::BTreeSet;

use session_core::{AccountId, Blob, Digest, List};

use super::state::{Known, Leaf, Part, Roster, State, Unchecked, all};
use super::{Author, Groups, Heard, Wish, is_admin, open, wishes};
use crate::Cx;
use crate::messenger::api::Warning;
use crate::say::{GroupId, SAID_BYTES_MAX};
use crate::vault::{self, Table, Vault};

/// Messages of a group that wait for an answer about their author.
const UNCHECKED_MAX: usize = 256;

impl Groups {
    /// These are the keys of the devices that the newest manifest of an account lists. Answers
    /// [`Heard::Check`]; to be called for every newer manifest, too: devices that are no longer
    /// listed are removed where this device may do so.
    pub(crate) fn known(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        account: &AccountId,
        keys: &[Digest],
    ) -> Vec<Heard> {
        let mut heard = Vec::new();
        let listed = List::new(&keys[..keys.len().min(64)]).expect("it was cut to the bound");
        Known { keys: listed }.save(cx.store, account);
        for (group, state) in all(cx.store) {
            if state.is_member() {
                self.release(cx, &group, account, keys, &mut heard);
                self.exclude(cx, me, &group, &state, account, keys);
            }
        }
        heard
    }

    /// Hands on what an account's devices said while they were not confirmed.
    fn release(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        account: &AccountId,
        keys: &[Digest],
        heard: &mut Vec<Heard>,
    ) {
        for (key, waiting) in Part::Unchecked.list::<Unchecked>(cx.store, group) {
            let Unchecked { leaf, said, overlooked, .. } = waiting;
            if leaf.account != *account {
                continue;
            }
            cx.store.remove(&key);
            if keys.contains(&leaf.key) {
                heard.push(said_by(group, &leaf, said, overlooked));
            } else {
                let warning = Warning::Impostor { device: leaf.device, account: leaf.account };
                heard.push(Heard::Warning(warning));
            }
        }
    }

    /// Wants devices removed that their account does not list.
    fn exclude(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &State,
        account: &AccountId,
        keys: &[Digest],
    ) {
        let Some(current) = state.current() else { return };
        if account != me.account() && !is_admin(&state.agreed, me.account()) {
            return;
        }
        let roster = Roster::load(cx.store, group, &current.authenticator);
        for leaf in roster.of(account) {
            if keys.contains(&leaf.key) || leaf.leaf == state.own_leaf {
                continue;
            }
            let wish = Wish::RemoveDevice { account: leaf.account, key: leaf.key };
            let wait = open::turn(state, &roster, me.account(), &leaf.account);
            wishes::want(cx, group, 0, wish, cx.now + wait);
            self.timers.set(*group, cx.now);
        }
    }

    /// Hands on what a device said, if its account lists it; keeps it otherwise, and asks.
    pub(super) fn trusted(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        leaf: &Leaf,
        said: Blob<SAID_BYTES_MAX>,
        overlooked: bool,
        heard: &mut Vec<Heard>,
    ) {
        let known = Known::load(cx.store, &leaf.account);
        if known.is_some_and(|known| known.keys.contains(&leaf.key)) {
            return heard.push(said_by(group, leaf, said, overlooked));
        }
        heard.push(Heard::Check { account: leaf.account });
        let waiting = Unchecked { at: cx.now, leaf: leaf.clone(), said, overlooked };
        Part::Unchecked.append(cx.store, group, &waiting);
        Part::Unchecked.bound(cx.store, group, UNCHECKED_MAX);
    }
}

/// Accounts of devices that wait for an answer about them.
pub(super) fn unchecked(vault: &dyn Vault) -> BTreeSet<AccountId> {
    let prefix = Table::Pending.key(&[b"u"]);
    let waiting = vault::list::<Unchecked>(vault, &prefix, &[], false, usize::MAX);
    waiting.into_iter().map(|(_, waiting)| waiting.leaf.account).collect()
}

fn said_by(group: &GroupId, leaf: &Leaf, said: Blob<SAID_BYTES_MAX>, overlooked: bool) -> Heard {
    let (author, device) = (leaf.account, leaf.device);
    Heard::Said { group: *group, author, device, said: said.into_vec(), overlooked }
}
