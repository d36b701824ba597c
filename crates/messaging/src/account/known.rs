//! The manifests of others, and of the own account: what is believed, and what contradicts itself.

use session_core::{AccountId, Decode as _, Digest, List, Time, record};
use session_crypto::RealVerifier;
use session_protocol::manifest::{Device, SignedManifest};
use session_protocol::request::Item;

use super::{Begun, Me, Own, contacts};
use crate::group::Listing;
use crate::messenger::api::Warning;
use crate::say::DeviceId;
use crate::vault::{self, Table, Vault};

/// Manifests of one account that are remembered by their digests, so that others with the same
/// numbers are noticed.
const SHOWN_MAX: usize = 32;

/// Most manifests that are kept of accounts that are no contacts: members of groups, and strangers.
pub(super) const ACQUAINTANCES_MAX: u64 = 2000;

/// How many of them are forgotten at once when there are too many.
const FORGOTTEN_AT_ONCE: usize = 100;

record! {
    /// A manifest that was seen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Shown {
        pub(super) seq: u64,
        pub(super) digest: Digest,
        /// Whether this device made it.
        pub(super) ours: bool,
    }

    /// What is known of an account.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Known {
        /// When the newest manifest came.
        pub(super) learned: Time,
        pub(super) newest: SignedManifest,
        /// Those that were seen, oldest first.
        pub(super) shown: List<Shown, SHOWN_MAX>,
    }
}

impl Known {
    fn key(account: &AccountId) -> Vec<u8> {
        Table::Account.key(&[b"m", account.as_ref()])
    }

    pub(super) fn load(vault: &dyn Vault, account: &AccountId) -> Option<Self> {
        vault::load(vault, &Self::key(account))
    }

    fn save(&self, vault: &mut dyn Vault) {
        vault::save(vault, &Self::key(&self.newest.account()), self);
    }

    pub(super) fn remove(vault: &mut dyn Vault, account: &AccountId) {
        if Self::load(vault, account).is_some() {
            vault.remove(&Self::key(account));
            count(vault, |count| count.saturating_sub(1));
        }
    }

    fn has_seen(&self, digest: &Digest) -> bool {
        self.shown.iter().any(|shown| shown.digest == *digest)
    }

    /// Tells whether another manifest with this number was seen.
    fn contradicts(&self, seq: u64, digest: &Digest) -> bool {
        self.shown.iter().any(|shown| shown.seq == seq && shown.digest != *digest)
    }

    /// Tells whether manifests with this number were seen, and none of them is this one.
    fn denies(&self, seq: u64, digest: &Digest) -> bool {
        self.shown.iter().any(|shown| shown.seq == seq) && !self.has_seen(digest)
    }

    fn remember(&mut self, shown: Shown) {
        let mut all: Vec<_> = self.shown.to_vec();
        if all.len() == SHOWN_MAX {
            all.remove(0);
        }
        all.push(shown);
        self.shown = List::new(all).expect("one was removed if there were too many");
    }
}

/// Returns the newest manifest of an account, even if it has expired.
#[must_use]
pub fn known(vault: &dyn Vault, account: &AccountId) -> Option<SignedManifest> {
    Known::load(vault, account).map(|known| known.newest)
}

/// Returns what is known of the devices of an account, even if its newest manifest has expired.
pub(crate) fn listing(vault: &dyn Vault, account: &AccountId) -> Option<Listing> {
    let Known { newest, shown, .. } = Known::load(vault, account)?;
    let keys = newest.manifest.devices.iter().map(|device| device.key).collect();
    let mut seen: Vec<Digest> = shown.iter().map(|shown| shown.digest).collect();
    // Nobody needs to have seen the one before the newest to know that it is older.
    seen.extend(Some(newest.manifest.previous).filter(|it| *it != Digest::default()));
    Some(Listing { keys, made: newest.manifest.made, seen })
}

/// Tells whether a manifest lists a device with this key.
pub(super) fn is_listed(manifest: &SignedManifest, device: &DeviceId, key_hash: &Digest) -> bool {
    manifest.device(&device.0).is_some_and(|listed| listed.key == *key_hash)
}

/// What came of manifests that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The newest manifest, if there is one that has not expired.
    pub(crate) manifest: Option<SignedManifest>,
    /// Whether it is newer than what was known before.
    pub(crate) new: bool,
    /// Devices that the account did not have before.
    pub(crate) added: Vec<DeviceId>,
    /// Devices that it has no longer: to be removed from all groups.
    pub(crate) removed: Vec<DeviceId>,
    /// What their owners should know.
    pub(crate) warnings: Vec<Warning>,
    /// Items that are no manifests of this account, or have expired.
    pub(crate) refused: usize,
}

/// Takes manifests of an account as they were found, in any order, by whomever they were shown.
///
/// The highest number wins; lower ones are ignored, except that one which contradicts an earlier one
/// of the same number is reported, once. So is a manifest that does not name the one before it as we
/// know that; it is believed nevertheless, because only the account can sign, and whoever lost a
/// device may have had to begin again.
pub(crate) fn learn(
    vault: &mut dyn Vault,
    now: Time,
    me: &mut Me,
    account: &AccountId,
    items: &[Item],
) -> Learned {
    let mut found = Vec::new();
    let mut learned = Learned::default();
    let before = Known::load(vault, account);
    for item in items {
        match read(before.as_ref(), me, account, &item.data, now) {
            Ok(Some(manifest)) => found.push(manifest),
            Ok(None) => {}
            Err(NotBelieved) => learned.refused += 1,
        }
    }
    take(vault, now, me, account, found, &mut learned);
    learned
}

/// As [`learn`], for one manifest whose signature was checked.
pub(super) fn learn_one(
    vault: &mut dyn Vault,
    now: Time,
    me: &mut Me,
    manifest: SignedManifest,
) -> Learned {
    let mut learned = Learned::default();
    let account = manifest.account();
    let seen = Known::load(vault, &account).is_some_and(|it| it.has_seen(&manifest.digest()));
    let found = if seen { Vec::new() } else { vec![manifest] };
    take(vault, now, me, &account, found, &mut learned);
    learned
}

/// Keeps a manifest that another device of the account shows to one that knows nothing yet.
pub(super) fn keep_shown(vault: &mut dyn Vault, now: Time, manifest: SignedManifest) {
    let shown = Shown { seq: manifest.manifest.seq, digest: manifest.digest(), ours: false };
    adopt(vault, now, manifest, shown);
}

/// Keeps a manifest that this device made.
pub(super) fn keep_own(vault: &mut dyn Vault, now: Time, manifest: &SignedManifest) {
    let digest = manifest.digest();
    let shown = Shown { seq: manifest.manifest.seq, digest, ours: true };
    adopt(vault, now, manifest.clone(), shown);
}

struct NotBelieved;

/// Reads one item; `None` if it was seen before.
fn read(
    before: Option<&Known>,
    me: &Me,
    account: &AccountId,
    bytes: &[u8],
    now: Time,
) -> Result<Option<SignedManifest>, NotBelieved> {
    // The digest is much cheaper than the signature, and most of what is found was seen before.
    if let (Some(before), Ok(manifest)) = (before, SignedManifest::decode_exact(bytes))
        && before.has_seen(&manifest.digest())
    {
        return Ok(None);
    }
    let manifest = SignedManifest::read(account, &me.network, bytes, &RealVerifier)
        .map_err(|_| NotBelieved)?;
    // Of the own account, an old one still says which number the next one has.
    if manifest.is_expired(now) && *account != me.account {
        return Err(NotBelieved);
    }
    Ok(Some(manifest))
}

fn take(
    vault: &mut dyn Vault,
    now: Time,
    me: &mut Me,
    account: &AccountId,
    mut found: Vec<SignedManifest>,
    learned: &mut Learned,
) {
    let before = known(vault, account);
    found.sort_by_cached_key(|it| (it.manifest.seq, it.digest()));
    for manifest in found {
        let seq = manifest.manifest.seq;
        match take_one(vault, now, manifest) {
            Taken::Before => {}
            Taken::Newer => learned.new = true,
            Taken::Contradicts { seq } => learned.warnings.push(forked(account, seq)),
            Taken::NewerWithGap => {
                learned.new = true;
                learned.warnings.push(forked(account, seq.saturating_sub(1)));
            }
        }
    }
    let newest = known(vault, account);
    compare(before.as_ref(), newest.as_ref(), learned);
    if *account == me.account {
        take_own(vault, me, newest.as_ref(), learned);
    } else if let Some(newest) = &newest {
        learned.warnings.extend(contacts::devices_now(vault, newest));
    }
    learned.manifest = newest.filter(|it| !it.is_expired(now));
}

fn forked(account: &AccountId, seq: u64) -> Warning {
    Warning::ForkedManifest { account: *account, seq }
}

enum Taken {
    Before,
    Newer,
    /// Newer, but does not name the one before as we know it.
    NewerWithGap,
    Contradicts {
        seq: u64,
    },
}

fn take_one(vault: &mut dyn Vault, now: Time, manifest: SignedManifest) -> Taken {
    let (seq, digest) = (manifest.manifest.seq, manifest.digest());
    let shown = Shown { seq, digest, ours: false };
    let Some(mut known) = Known::load(vault, &manifest.account()) else {
        adopt(vault, now, manifest, shown);
        return Taken::Newer;
    };
    if known.has_seen(&digest) {
        return Taken::Before;
    }
    let newest = known.newest.manifest.seq;
    if seq > newest {
        let gap = known.denies(seq - 1, &manifest.manifest.previous);
        adopt(vault, now, manifest, shown);
        return if gap { Taken::NewerWithGap } else { Taken::Newer };
    }
    if known.contradicts(seq, &digest) {
        known.remember(shown);
        known.save(vault);
        return Taken::Contradicts { seq };
    }
    Taken::Before
}

/// Makes a manifest the newest of its account.
fn adopt(vault: &mut dyn Vault, now: Time, newest: SignedManifest, shown: Shown) {
    let before = Known::load(vault, &newest.account());
    if before.is_none() {
        make_room(vault);
        count(vault, |count| count + 1);
    }
    let before = before.map(|before| before.shown.into_vec()).unwrap_or_default();
    let shown_before = List::new(before).expect("it was such a list");
    let mut known = Known { learned: now, newest, shown: shown_before };
    known.remember(shown);
    known.save(vault);
}

fn compare(before: Option<&SignedManifest>, newest: Option<&SignedManifest>, to: &mut Learned) {
    let devices = |it: Option<&SignedManifest>| -> Vec<Device> {
        it.map(|it| it.manifest.devices.to_vec()).unwrap_or_default()
    };
    let (before, after) = (devices(before), devices(newest));
    let without = |some: &[Device], others: &[Device]| -> Vec<DeviceId> {
        let lacks = |device: &&Device| {
            !others.iter().any(|other| other.id == device.id && other.key == device.key)
        };
        some.iter().filter(lacks).map(|device| DeviceId(device.id)).collect()
    };
    to.added = without(&after, &before);
    to.removed = without(&before, &after);
}

/// What the own account has become without this device.
fn take_own(
    vault: &mut dyn Vault,
    me: &mut Me,
    newest: Option<&SignedManifest>,
    learned: &mut Learned,
) {
    let own = Own::load(vault);
    // A restored device expects the manifest of the devices before it.
    let expected = own.as_ref().is_some_and(|own| own.begun != Begun::Yes);
    if let Some(mut own) = own.filter(|own| own.begun == Begun::MustLookUp) {
        own.begun = Begun::LookedUp;
        own.save(vault);
    }
    let Some(newest) = newest else { return };
    me.follow(newest);
    if expected || !learned.new {
        return;
    }
    for device in &newest.manifest.devices {
        let id = DeviceId(device.id);
        if learned.added.contains(&id) && id != me.device {
            let name = device.name.to_string();
            learned.warnings.push(Warning::DeviceAdded { device: id, name });
        }
    }
    if !is_listed(newest, &me.device, &me.key.key_hash()) {
        learned.warnings.push(Warning::Revoked);
    }
}

fn count(vault: &mut dyn Vault, change: impl FnOnce(u64) -> u64) -> u64 {
    let key = Table::Account.key(&[b"n"]);
    let count = change(vault::load(vault, &key).unwrap_or(0));
    vault::save(vault, &key, &count);
    count
}

/// Forgets those who are no contacts and of whom was heard longest ago, if there are too many.
fn make_room(vault: &mut dyn Vault) {
    let contacts = contacts::count(vault) as u64;
    if count(vault, |count| count) < ACQUAINTANCES_MAX + contacts {
        return;
    }
    let mut oldest = Vec::new();
    vault.scan(&Table::Account.key(&[b"m"]), &[], false, &mut |_, value| {
        if let Ok(known) = Known::decode_exact(value) {
            oldest.push((known.learned, known.newest.account()));
        }
        true
    });
    let own = super::account(vault);
    oldest.retain(|(_, it)| contacts::contact(vault, it).is_none() && Some(*it) != own);
    oldest.sort();
    for (_, account) in oldest.into_iter().take(FORGOTTEN_AT_ONCE) {
        Known::remove(vault, &account);
    }
}
