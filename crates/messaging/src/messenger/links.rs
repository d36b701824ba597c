//! Which cryptographic group carries which thread.
//!
//! A thread with an account can have several groups over time, when both sides begin at once or one
//! of them has lost its state. All of them are read; the primary one is written to.

use session_core::{AccountId, Blob, Decode as _, Encode as _, List, Reader, record};

use crate::group::{self, MEMBERS_MAX, Phase};
use crate::outbox::Purpose;
use crate::say::{GroupId, Peer, SAID_BYTES_MAX};
use crate::thread::ThreadId;
use crate::vault::{self, Table, Vault};

/// Messages that wait for a conversation to be made, for each peer.
pub(super) const WAITING_MAX: usize = 256;

record! {
    /// What a group is for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Link {
        pub(super) thread: ThreadId,
        pub(super) peer: Peer,
    }

    /// Something said that waits for a conversation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Waiting {
        pub(super) purpose: Purpose,
        pub(super) said: Blob<SAID_BYTES_MAX>,
    }

    /// Who was in a group when it was last looked at: for those who must find the way back to it.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(super) struct Accounts {
        pub(super) accounts: List<AccountId, MEMBERS_MAX>,
    }
}

fn link_key(group: &GroupId) -> Vec<u8> {
    Table::Meta.key(&[b"m/link/", &group.bytes])
}

fn primary_key(account: &AccountId) -> Vec<u8> {
    Table::Meta.key(&[b"m/primary/", account.as_ref()])
}

fn devices_key() -> Vec<u8> {
    Table::Meta.key(&[b"m/devices"])
}

fn accounts_key(group: &GroupId) -> Vec<u8> {
    Table::Meta.key(&[b"m/accounts/", &group.bytes])
}

pub(super) fn waiting_prefix(peer: &Peer) -> Vec<u8> {
    Table::Pending.key(&[b"w", &peer.to_bytes()])
}

/// Returns what a group is for.
pub(super) fn link(vault: &dyn Vault, group: &GroupId) -> Option<Link> {
    vault::load(vault, &link_key(group))
}

pub(super) fn set_link(vault: &mut dyn Vault, group: &GroupId, link: Link) {
    vault::save(vault, &link_key(group), &link);
}

/// Forgets a group; returns what it was for.
pub(super) fn remove_link(vault: &mut dyn Vault, group: &GroupId) -> Option<Link> {
    let before = link(vault, group);
    vault.remove(&link_key(group));
    vault.remove(&accounts_key(group));
    before
}

/// Returns the group that carries what is said to an account.
pub(super) fn primary(vault: &dyn Vault, account: &AccountId) -> Option<GroupId> {
    vault::load(vault, &primary_key(account))
}

/// Returns the group that carries what is said to a peer.
pub(super) fn group_of(vault: &dyn Vault, peer: &Peer) -> Option<GroupId> {
    match peer {
        Peer::Group { group } => Some(*group),
        Peer::Account { account } => primary(vault, account),
    }
}

pub(super) fn set_primary(vault: &mut dyn Vault, account: &AccountId, group: Option<GroupId>) {
    match group {
        Some(group) => vault::save(vault, &primary_key(account), &group),
        None => vault.remove(&primary_key(account)),
    }
}

/// Returns the group of the own devices, if there is more than one.
pub(super) fn devices(vault: &dyn Vault) -> Option<GroupId> {
    vault::load(vault, &devices_key())
}

pub(super) fn set_devices(vault: &mut dyn Vault, group: GroupId) {
    vault::save(vault, &devices_key(), &group);
}

/// Returns the accounts whose conversation was lost, and no other has taken its place.
pub(super) fn lost(vault: &dyn Vault) -> Vec<AccountId> {
    let groups = group::list(vault).into_iter();
    let lost = groups.filter(|(_, _, phase)| *phase == Phase::Lost);
    let peers = lost.filter_map(|(group, _, _)| Some(link(vault, &group)?.peer));
    let accounts = peers.filter_map(|peer| match peer {
        Peer::Account { account } => Some(account),
        Peer::Group { .. } => None,
    });
    accounts.filter(|account| primary(vault, account).is_none()).collect()
}

fn keys_unshared_key() -> Vec<u8> {
    Table::Meta.key(&[b"m/unshared"])
}

/// Whether own devices are still to be told the secrets with which the account is reached.
pub(super) fn keys_unshared(vault: &dyn Vault) -> bool {
    vault.get(&keys_unshared_key()).is_some()
}

pub(super) fn set_keys_unshared(vault: &mut dyn Vault, unshared: bool) {
    if unshared {
        vault.put(&keys_unshared_key(), &[]);
    } else {
        vault.remove(&keys_unshared_key());
    }
}

/// Returns who was last known to be in a group.
pub(super) fn accounts(vault: &dyn Vault, group: &GroupId) -> Vec<AccountId> {
    let known = vault::load::<Accounts>(vault, &accounts_key(group)).unwrap_or_default();
    known.accounts.into_iter().collect()
}

pub(super) fn set_accounts(vault: &mut dyn Vault, group: &GroupId, accounts: &[AccountId]) {
    if let Ok(accounts) = List::new(accounts.to_vec()) {
        vault::save(vault, &accounts_key(group), &Accounts { accounts });
    }
}

/// Whether one more may wait for a peer.
pub(super) fn has_room(vault: &dyn Vault, peer: &Peer) -> bool {
    let mut count = 0;
    vault.scan(&waiting_prefix(peer), &[], false, &mut |_, _| {
        count += 1;
        true
    });
    count < WAITING_MAX
}

/// Keeps something until there is a conversation.
pub(super) fn wait(vault: &mut dyn Vault, peer: &Peer, waiting: &Waiting) {
    let number = crate::counter(vault, b"waiting");
    let key = [waiting_prefix(peer), number.to_be_bytes().to_vec()].concat();
    vault::save(vault, &key, waiting);
}

/// Takes what waits for a peer, in order.
pub(super) fn take_waiting(vault: &mut dyn Vault, peer: &Peer) -> Vec<Waiting> {
    let found = vault::list::<Waiting>(vault, &waiting_prefix(peer), &[], false, WAITING_MAX);
    for (key, _) in &found {
        vault.remove(key);
    }
    found.into_iter().map(|(_, waiting)| waiting).collect()
}

/// Returns the accounts for which something waits.
pub(super) fn waited_for(vault: &dyn Vault) -> Vec<AccountId> {
    let mut found = Vec::new();
    vault.scan(&Table::Pending.key(&[b"w"]), &[], false, &mut |key, _| {
        let peer = key.get(2..).and_then(|rest| Peer::decode(&mut Reader::new(rest)).ok());
        if let Some(Peer::Account { account }) = peer
            && found.last() != Some(&account)
        {
            found.push(account);
        }
        true
    });
    found
}
