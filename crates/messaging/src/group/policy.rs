//! Who may change what. The same answer on every member: from the roster, what was agreed, and the
//! commit alone.

use std::collections::{BTreeMap, BTreeSet};

use session_core::AccountId;

use super::state::{Leaf, Roster};
use super::{Agreed, Inviter, Kind, MEMBERS_MAX};
use crate::mls::{Credential, EpochInfo, Joiner, Member, Summary};
use crate::say::GroupId;

/// Devices of one account in a group.
const DEVICES_MAX: usize = session_protocol::manifest::DEVICES_MAX;

/// Why a commit is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A leaf that is not there.
    #[error("a commit names a leaf that is empty")]
    NoLeaf,
    /// A change that only admins make.
    #[error("a member who is not an admin changed the group")]
    NotAdmin,
    /// A member is removed by somebody who may do so only if it asked.
    #[error("a member was removed that did not ask for it")]
    NotAsked,
    /// Somebody who does not belong in a group of this kind.
    #[error("a commit brings in an account that does not belong")]
    Stranger,
    /// Whoever signed the welcome is not the device that it is said to be of.
    #[error("it is not signed by the device that it is said to be of")]
    Impostor,
    /// What was agreed changed in a way that nobody may.
    #[error("a commit changes what is fixed")]
    Fixed,
    /// The same device twice, too many devices, or too many accounts.
    #[error("a commit adds too many, or the same twice")]
    TooMany,
}

impl From<&Member> for Leaf {
    fn from(member: &Member) -> Self {
        let Member { leaf, credential, key_hash } = member;
        let Credential { account, device, manifest, .. } = *credential;
        Self { leaf: *leaf, account, device, key: *key_hash, manifest }
    }
}

/// Whether the account may add, remove, and change the group.
pub(crate) fn is_admin(agreed: &Agreed, account: &AccountId) -> bool {
    match agreed.kind {
        Kind::Direct { creator, other } => *account == creator || *account == other,
        Kind::Group => agreed.admins.contains(account),
        Kind::Devices { account: owner } => *account == owner,
    }
}

/// Whether the account may be in a group of this kind at all.
pub(super) fn belongs(kind: &Kind, account: &AccountId) -> bool {
    match kind {
        Kind::Direct { creator, other } => account == creator || account == other,
        Kind::Group => true,
        Kind::Devices { account: owner } => account == owner,
    }
}

/// Checks a commit before it is taken.
pub(super) fn check(
    group: &GroupId,
    before: &Roster,
    agreed: &Agreed,
    leavers: &[u32],
    commit: &Summary,
) -> Result<(), Refusal> {
    let by = before.at(commit.by).ok_or(Refusal::NoLeaf)?;
    let admin = is_admin(agreed, &by.account);
    check_agreed(before, agreed, commit, admin)?;
    for joiner in &commit.added {
        let account = &joiner.credential.account;
        if !belongs(&agreed.kind, account) {
            return Err(Refusal::Stranger);
        }
        let back = commit.removed.iter().any(|member| comes_back(group, joiner, member));
        if !(admin || *account == by.account || back) {
            return Err(Refusal::NotAdmin);
        }
    }
    for member in &commit.removed {
        let own = member.credential.account == by.account;
        let back = commit.added.iter().any(|joiner| comes_back(group, joiner, member));
        if !(admin || own || back || leavers.contains(&member.leaf)) {
            return Err(Refusal::NotAsked);
        }
    }
    check_sizes(before, commit)
}

/// Whether a device only comes back that lost its state, and asked for that itself: nobody new hears
/// anything, and nobody is driven out.
fn comes_back(group: &GroupId, joiner: &Joiner, member: &Member) -> bool {
    joiner.key_hash == member.key_hash && joiner.credential.asks_for(group, &member.credential)
}

fn check_agreed(
    before: &Roster,
    agreed: &Agreed,
    commit: &Summary,
    admin: bool,
) -> Result<(), Refusal> {
    let after = &commit.agreed;
    if after == agreed {
        return Ok(());
    }
    if after.version != agreed.version || after.kind != agreed.kind {
        return Err(Refusal::Fixed);
    }
    if !admin {
        return Err(Refusal::NotAdmin);
    }
    // A group without an admin could never change again.
    let stays = |account: &AccountId| {
        let gone = |leaf: &Leaf| commit.removed.iter().any(|member| member.leaf == leaf.leaf);
        before.of(account).any(|leaf| !gone(leaf))
            || commit.added.iter().any(|joiner| joiner.credential.account == *account)
    };
    if after.kind == Kind::Group && !after.admins.iter().any(stays) {
        return Err(Refusal::Fixed);
    }
    Ok(())
}

fn check_sizes(before: &Roster, commit: &Summary) -> Result<(), Refusal> {
    let gone: BTreeSet<u32> = commit.removed.iter().map(|member| member.leaf).collect();
    let stay = before.leaves.iter().filter(|leaf| !gone.contains(&leaf.leaf));
    let stay = stay.map(|leaf| (leaf.account, leaf.key));
    let come = commit.added.iter().map(|it| (it.credential.account, it.key_hash));
    count(stay.chain(come))
}

fn count(devices: impl Iterator<Item = (AccountId, session_core::Digest)>) -> Result<(), Refusal> {
    let mut keys = BTreeSet::new();
    let mut accounts: BTreeMap<AccountId, usize> = BTreeMap::new();
    for (account, key) in devices {
        let of = accounts.entry(account).or_default();
        *of += 1;
        if !keys.insert(key) || *of > DEVICES_MAX {
            return Err(Refusal::TooMany);
        }
    }
    if accounts.len() > MEMBERS_MAX { Err(Refusal::TooMany) } else { Ok(()) }
}

/// Checks a group that this device was brought into by `from`; the leaf `by` signed the welcome.
///
/// What leaves say of themselves proves nothing: everybody can claim every account. The leaf that
/// signed has to have the key that the manifest of `from` lists.
pub(super) fn check_joined(
    info: &EpochInfo,
    own: &AccountId,
    by: u32,
    from: &Inviter,
) -> Result<(), Refusal> {
    let kind = &info.agreed.kind;
    if info.agreed.version != 1 {
        return Err(Refusal::Fixed);
    }
    if let Kind::Direct { creator, other } = kind
        && (creator == other || (own != creator && own != other))
    {
        return Err(Refusal::Stranger);
    }
    if info.members.iter().any(|member| !belongs(kind, &member.credential.account)) {
        return Err(Refusal::Stranger);
    }
    let signed = info.members.iter().find(|member| member.leaf == by && by != info.own_leaf);
    if signed.is_none_or(|it| it.credential.account != from.account || it.key_hash != from.key) {
        return Err(Refusal::Impostor);
    }
    count(info.members.iter().map(|it| (it.credential.account, it.key_hash)))
}
