//! Devices and their accounts: what one says whose account has not confirmed it waits.
//!
//! A swarm may show an old manifest, and a device that is not in it may be an impostor or a new one.
//! So a device is taken for an impostor only by a manifest that cannot be older than the one that
//! its leaf names; until there is one, what it says is kept back, and the account looked up again.

use std::collections::BTreeSet;

use session_core::{AccountId, Blob, Digest, List, Span, Time, record};

use super::state::{Known, Leaf, Part, Roster, State, Unchecked, all};
use super::{Author, Groups, Heard, Wish, is_admin, open, wishes};
use crate::Cx;
use crate::messenger::api::Warning;
use crate::say::{GroupId, SAID_BYTES_MAX};
use crate::vault::{self, Table, Vault};

/// Messages of a group that wait for an answer about their author.
const UNCHECKED_MAX: usize = 256;

/// A manifest is made later than something was seen here if it says so by this much: accounts have
/// clocks of their own.
const CLEARLY: Span = Span::from_secs(3600);

/// What this device knows of an account's manifests.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// The keys of the devices in the newest one.
    pub(crate) keys: Vec<Digest>,
    /// When that one was made, says the account.
    pub(crate) made: Time,
    /// The digests of it and of earlier ones, as far as they are remembered.
    pub(crate) seen: Vec<Digest>,
}

record! {
    /// A device that its account does not list.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Doubt {
        /// Since when. A manifest that is made later, and does not list it either, ends the doubt.
        since: Time,
    }
}

impl Doubt {
    fn key(account: &AccountId, device: &[&Digest]) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = vec![b"d", account.as_ref()];
        parts.extend(device.iter().map(|key| key.as_ref()));
        Table::Group.key(&parts)
    }

    fn load(vault: &dyn Vault, leaf: &Leaf) -> Option<Self> {
        vault::load(vault, &Self::key(&leaf.account, &[&leaf.key]))
    }

    /// Begins to doubt a device, unless that was done before.
    fn begin(vault: &mut dyn Vault, account: &AccountId, device: &Digest, since: Time) {
        let key = Self::key(account, &[device]);
        let since = vault::load::<Self>(vault, &key).map_or(since, |it| it.since.min(since));
        vault::save(vault, &key, &Self { since });
    }

    /// Forgets the doubts about devices of an account that are not among these.
    fn keep(vault: &mut dyn Vault, account: &AccountId, among: &BTreeSet<Digest>) {
        let prefix = Self::key(account, &[]);
        for (key, _) in vault::list::<Self>(vault, &prefix, &[], false, usize::MAX) {
            if !among.iter().any(|device| key.ends_with(device.as_ref())) {
                vault.remove(&key);
            }
        }
    }
}

impl Listing {
    /// Whether a device is none of the account's, whatever a swarm keeps back.
    fn refutes(&self, vault: &dyn Vault, leaf: &Leaf) -> bool {
        let later = |doubt: Doubt| self.made >= doubt.since + CLEARLY;
        !self.keys.contains(&leaf.key)
            && (self.seen.contains(&leaf.manifest) || Doubt::load(vault, leaf).is_some_and(later))
    }

    /// Notes which devices of the groups it does not list.
    fn doubt(&self, cx: &mut Cx<'_>, account: &AccountId, groups: &[(GroupId, State)]) {
        // Whoever was listed once and is not any more was taken out.
        let before = Known::load(cx.store, account);
        for key in before.iter().flat_map(|known| known.keys.iter()) {
            if !self.keys.contains(key) {
                Doubt::begin(cx.store, account, key, Time::ZERO);
            }
        }
        let mut unlisted = BTreeSet::new();
        for (group, state) in groups {
            let Some(current) = state.current() else { continue };
            let roster = Roster::load(cx.store, group, &current.authenticator);
            unlisted.extend(roster.of(account).map(|leaf| leaf.key));
        }
        unlisted.retain(|key| !self.keys.contains(key));
        for key in &unlisted {
            Doubt::begin(cx.store, account, key, cx.now);
        }
        Doubt::keep(cx.store, account, &unlisted);
    }
}

impl Groups {
    /// This is what is known of the devices of an account. Answers [`Heard::Check`]; to be called for
    /// every newer manifest, too: devices that are none of the account's are removed where this device
    /// may do so.
    pub(crate) fn known(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        account: &AccountId,
        listing: &Listing,
    ) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut groups = all(cx.store);
        groups.retain(|(_, state)| state.is_member());
        listing.doubt(cx, account, &groups);
        let keys = &listing.keys[..listing.keys.len().min(64)];
        let keys = List::new(keys).expect("it was cut to the bound");
        Known { keys }.save(cx.store, account);
        for (group, state) in groups {
            self.release(cx, &group, account, listing, &mut heard);
            self.exclude(cx, me, &group, &state, account, listing);
        }
        heard
    }

    /// Hands on what an account's devices said while they were not confirmed.
    fn release(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        account: &AccountId,
        listing: &Listing,
        heard: &mut Vec<Heard>,
    ) {
        for (key, waiting) in Part::Unchecked.list::<Unchecked>(cx.store, group) {
            let Unchecked { leaf, said, overlooked, .. } = waiting;
            if leaf.account != *account {
                continue;
            }
            if listing.keys.contains(&leaf.key) {
                cx.store.remove(&key);
                heard.push(said_by(group, &leaf, said, overlooked));
            } else if listing.refutes(cx.store, &leaf) {
                cx.store.remove(&key);
                let warning = Warning::Impostor { device: leaf.device, account: leaf.account };
                heard.push(Heard::Warning(warning));
            }
        }
    }

    /// Wants devices removed that are none of their account's.
    fn exclude(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &State,
        account: &AccountId,
        listing: &Listing,
    ) {
        let Some(current) = state.current() else { return };
        if account != me.account() && !is_admin(&state.agreed, me.account()) {
            return;
        }
        let roster = Roster::load(cx.store, group, &current.authenticator);
        for leaf in roster.of(account) {
            if leaf.leaf == state.own_leaf || !listing.refutes(cx.store, leaf) {
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
