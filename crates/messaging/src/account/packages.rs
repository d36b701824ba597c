//! Key packages: those of this device in the account's mailbox for them, and the choice among those of
//! others.

use std::collections::BTreeMap;

use session_core::{
    Blob, Decode as _, Digest, Domain, Encode as _, Entropy, InboxAddress, List, MessageId, Span,
    Time, record,
};
use session_crypto::{DsaPublicKey, RealVerifier, Signature, Verifier as _};
use session_protocol::inbox::{BOXES, message_id};
use session_protocol::limits::TTL_MAX;
use session_protocol::manifest::{Device, SignedManifest};
use session_protocol::request::{Item, ItemBytes};

use super::keys::Routes;
use super::manifest::RENEW;
use super::{HOLD, Me};
use crate::Cx;
use crate::messenger::api::{Effect, Error, Target, Warning};
use crate::mls::{Doors, KeyAgreement};
use crate::outbox::{Outbox, Purpose};
use crate::say::DeviceId;
use crate::vault::{self, Table, Vault};

/// Key packages for one use that are made at once.
pub(super) const ONE_TIME: usize = 20;

/// With fewer than this, more are made.
const ONE_TIME_MIN: usize = 10;

/// How long a key package may be used: as long as the swarm keeps it.
const LIFE: Span = TTL_MAX;

/// How long a key package that was used is kept, so that a second welcome for it still opens: a swarm
/// may have handed it out twice.
const USED_HOLD: Span = Span::from_secs(24 * 3600);

/// Longest key package.
const KEY_PACKAGE_BYTES_MAX: usize = 1 << 14;

/// Most packages of this device that wait to be deleted.
const WITHDRAWN_MAX: usize = 256;

/// Most packages of others that are remembered as used.
const CHOSEN_MAX: usize = 4096;

record! {
    /// What a device says of a key package that it publishes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Statement {
        /// The version of this record: 1.
        pub version: u16,
        /// The device.
        pub device: DeviceId,
        /// Whether it is used again and again, when there is no other one.
        pub last_resort: bool,
        /// When it is to be used no longer.
        pub expires: Time,
        /// The key package of MLS.
        pub key_package: Blob<KEY_PACKAGE_BYTES_MAX>,
    }

    /// A key package as it lies in the mailbox.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PublishedPackage {
        /// What is said of it.
        pub statement: Statement,
        /// The key of the device; the manifest has its hash.
        pub key: DsaPublicKey,
        /// By the device, over the statement, under [`Domain::PublishedPackage`].
        pub signature: Signature,
    }

    /// What is remembered of a key package of this device.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct OwnPackage {
        item: MessageId,
        /// The mailbox that it lies in.
        directory: InboxAddress,
        last_resort: bool,
        made: Time,
        expires: Time,
        /// Whether others are to use it.
        offered: bool,
        /// When its private half is erased.
        erase: Time,
    }
}

record! {
    /// Packages that are deleted where they lie as soon as others lie there in their place: whoever
    /// looks meanwhile must find some.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Withdrawn {
        /// The mailbox.
        directory: InboxAddress,
        items: List<MessageId, WITHDRAWN_MAX>,
        /// What waits in the outbox to lie there instead.
        instead: List<u64, WITHDRAWN_MAX>,
    }
}

impl Withdrawn {
    fn key() -> Vec<u8> {
        Table::Meta.key(&[b"account/withdrawn"])
    }

    /// Adds to what is noted; of too many the first ones stay until they expire.
    fn note(vault: &mut dyn Vault, directory: InboxAddress, items: Vec<MessageId>, by: Vec<u64>) {
        let noted = vault::load::<Self>(vault, &Self::key());
        let noted = noted.filter(|it| it.directory == directory).unwrap_or_default();
        let withdrawn = Self {
            directory,
            items: newest(noted.items.into_vec(), items),
            instead: newest(noted.instead.into_vec(), by),
        };
        vault::save(vault, &Self::key(), &withdrawn);
    }
}

fn newest<T>(mut all: Vec<T>, more: Vec<T>) -> List<T, WITHDRAWN_MAX> {
    all.extend(more);
    let skipped = all.len().saturating_sub(WITHDRAWN_MAX);
    List::new(all.into_iter().skip(skipped).collect::<Vec<_>>()).expect("not more than the bound")
}

impl OwnPackage {
    fn key(reference: &Digest) -> Vec<u8> {
        Table::Prekey.key(&[b"p", reference.as_ref()])
    }

    fn save(&self, vault: &mut dyn Vault, reference: &Digest) {
        vault::save(vault, &Self::key(reference), self);
    }

    /// Returns from when on another one is to lie beside it: long before nobody may use it.
    fn stale(&self) -> Time {
        if self.last_resort {
            self.made + RENEW
        } else {
            self.expires - Span::from_millis(LIFE.as_millis() / 2)
        }
    }

    /// Withdraws it: nobody is to begin using it, but somebody may have begun.
    fn withdraw(&mut self, now: Time) {
        self.offered = false;
        self.erase = self.erase.min(now + HOLD);
    }
}

/// Returns the key packages of this device, by reference.
fn own(vault: &dyn Vault) -> Vec<(Digest, OwnPackage)> {
    let prefix = Table::Prekey.key(&[b"p"]);
    let found = vault::list::<OwnPackage>(vault, &prefix, &[], false, usize::MAX);
    let reference = |key: &[u8]| Digest::decode_exact(key.get(prefix.len()..)?).ok();
    found.into_iter().filter_map(|(key, package)| Some((reference(&key)?, package))).collect()
}

/// Makes and publishes what is missing; with `force`, everything anew.
pub(super) fn replenish(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &Me,
    kx: &dyn KeyAgreement,
    force: bool,
) {
    let Some(routes) = Routes::load(cx.store) else { return };
    let directory = routes.directory().address();
    let mut fresh = [0, 0];
    for (_, package) in own(cx.store) {
        let here = package.offered && package.directory == directory;
        if here && !force && cx.now < package.stale() {
            fresh[usize::from(package.last_resort)] += 1;
        }
    }
    let [one_time, last_resort] = fresh;
    let (mut withdrawn, mut instead) = (Vec::new(), Vec::new());
    if last_resort == 0 {
        withdrawn.extend(withdraw(cx, &directory, |package| package.last_resort));
        vault::save(cx.store, &hits_key(), &0_u64);
        instead.extend(offer(cx, outbox, me, kx, &routes, true));
    }
    if one_time < ONE_TIME_MIN {
        let all = force || one_time == 0;
        withdrawn.extend(withdraw(cx, &directory, |package| all && !package.last_resort));
        for _ in one_time..ONE_TIME {
            instead.extend(offer(cx, outbox, me, kx, &routes, false));
        }
    }
    if !withdrawn.is_empty() {
        Withdrawn::note(cx.store, directory, withdrawn, instead);
    }
}

/// Withdraws packages; returns what of them lies in a mailbox.
fn withdraw(
    cx: &mut Cx<'_>,
    directory: &InboxAddress,
    which: impl Fn(&OwnPackage) -> bool,
) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for (reference, mut package) in own(cx.store) {
        if package.offered && which(&package) {
            package.withdraw(cx.now);
            package.save(cx.store, &reference);
            // In a mailbox of before nobody looks any more.
            ids.extend((package.directory == *directory).then_some(package.item));
        }
    }
    ids
}

/// Something that the account publishes was stored, or never will be: packages are deleted for which
/// others lie there now.
pub(crate) fn published(cx: &mut Cx<'_>, outbox: &Outbox) {
    let Some(withdrawn) = vault::load::<Withdrawn>(cx.store, &Withdrawn::key()) else { return };
    if withdrawn.instead.iter().any(|id| outbox.waiting(cx.store, *id).is_some()) {
        return;
    }
    cx.store.remove(&Withdrawn::key());
    let Some(routes) = Routes::load(cx.store) else { return };
    let mailbox = routes.directory();
    if mailbox.address() == withdrawn.directory {
        let ids = withdrawn.items.into_vec();
        cx.effects.push(Effect::Erase { rule: mailbox.rule(), erase: mailbox.erase, ids });
    }
}

/// Makes a package; returns under which number it waits to be stored.
fn offer(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &Me,
    kx: &dyn KeyAgreement,
    routes: &Routes,
    last_resort: bool,
) -> Option<u64> {
    let mut doors = Doors { vault: cx.store, rng: cx.rng };
    // The library refuses only what we would never ask; without packages others wait for the next try.
    let (key_package, reference) = kx.key_package(&mut doors, &me.key, &me.credential).ok()?;
    let key_package = Blob::new(key_package).ok()?;
    let expires = cx.now + LIFE;
    let statement = Statement { version: 1, device: me.device, last_resort, expires, key_package };
    let published = PublishedPackage::sign(me, statement, cx.rng);
    let data =
        ItemBytes::new(published.to_bytes()).expect("two keys and 16 KiB are below the limit");
    let mailbox = routes.directory();
    let directory = mailbox.address();
    let package = OwnPackage {
        item: message_id(&directory, BOXES, &data),
        directory,
        last_resort,
        made: cx.now,
        expires,
        offered: true,
        erase: expires + HOLD,
    };
    package.save(cx.store, &reference);
    let to = Target { rule: mailbox.rule(), write: Some(mailbox.write), namespace: BOXES };
    Some(outbox.send(cx, Purpose::Published, to, LIFE, data))
}

/// Remembers a key package that is shown to nobody but whoever is asked to add this device again,
/// so that its private half is erased when its time is over.
pub(crate) fn keep_shown_once(cx: &mut Cx<'_>, reference: &Digest) {
    let expires = cx.now + LIFE;
    let package = OwnPackage {
        item: MessageId::default(),
        directory: InboxAddress::default(),
        last_resort: false,
        made: cx.now,
        expires,
        offered: false,
        erase: expires + HOLD,
    };
    package.save(cx.store, reference);
}

/// Notes that a welcome used a key package of this device: it is withdrawn, and erased a day later.
/// The one of last resort stays; a warning tells how often it was used.
pub(crate) fn used_package(cx: &mut Cx<'_>, reference: &Digest) -> Option<Warning> {
    let mut package = vault::load::<OwnPackage>(cx.store, &OwnPackage::key(reference))?;
    if package.last_resort {
        let hits = vault::load::<u64>(cx.store, &hits_key()).unwrap_or(0) + 1;
        vault::save(cx.store, &hits_key(), &hits);
        return Some(Warning::LastResort { hits });
    }
    let offered = package.offered;
    package.withdraw(cx.now);
    package.erase = package.erase.min(cx.now + USED_HOLD);
    package.save(cx.store, reference);
    let mailbox = Routes::load(cx.store)?.directory();
    if offered && mailbox.address() == package.directory {
        let ids = vec![package.item];
        cx.effects.push(Effect::Erase { rule: mailbox.rule(), erase: mailbox.erase, ids });
    }
    None
}

fn hits_key() -> Vec<u8> {
    Table::Meta.key(&[b"account/last-resort"])
}

/// Erases the private halves whose time is over.
pub(super) fn erase_old(cx: &mut Cx<'_>, kx: &dyn KeyAgreement) {
    for (reference, package) in own(cx.store) {
        if package.erase <= cx.now {
            kx.forget_key_package(&mut Doors { vault: cx.store, rng: cx.rng }, &reference);
            cx.store.remove(&OwnPackage::key(&reference));
        }
    }
    forget_chosen(cx.store, cx.now);
}

/// Returns when the next private half is to be erased.
pub(super) fn next_erasure(vault: &dyn Vault) -> Option<Time> {
    own(vault).into_iter().map(|(_, package)| package.erase).min()
}

/// Returns when [`replenish`] has something to do.
pub(super) fn next_due(vault: &dyn Vault) -> Time {
    let Some(routes) = Routes::load(vault) else { return Time::MAX };
    let directory = routes.directory().address();
    let offered = own(vault).into_iter().map(|(_, package)| package);
    let (last_resort, one_time): (Vec<_>, Vec<_>) = offered
        .filter(|package| package.offered && package.directory == directory)
        .partition(|package| package.last_resort);
    let mut stale: Vec<Time> = one_time.iter().map(OwnPackage::stale).collect();
    stale.sort();
    // Due when the tenth from the end goes stale: then fewer than ten are fresh.
    let place = stale.len().checked_sub(ONE_TIME_MIN);
    let more = place.map_or(Time::ZERO, |place| stale[place]);
    let newest = last_resort.iter().map(OwnPackage::stale).max();
    more.min(newest.unwrap_or(Time::ZERO))
}

impl PublishedPackage {
    fn sign(me: &Me, statement: Statement, rng: &mut dyn Entropy) -> Self {
        let signature = me.key.sign(Domain::PublishedPackage, &statement.to_bytes(), rng);
        Self { statement, key: me.key.public().clone(), signature }
    }

    /// Checks that the device that a manifest lists offers this package, and returns its reference.
    fn check(
        &self,
        manifest: &SignedManifest,
        device: &Device,
        kx: &dyn KeyAgreement,
    ) -> Option<Digest> {
        let Statement { version, key_package, .. } = &self.statement;
        let (credential, key_hash, reference) = kx.read_key_package(key_package).ok()?;
        let own = credential.account == manifest.account() && credential.device.0 == device.id;
        if *version != 1 || !own || key_hash != device.key || key_hash_of(&self.key) != device.key {
            return None;
        }
        let bytes = self.statement.to_bytes();
        RealVerifier
            .verify(&self.key, Domain::PublishedPackage, &bytes, &self.signature)
            .is_ok()
            .then_some(reference)
    }
}

fn key_hash_of(key: &DsaPublicKey) -> Digest {
    session_core::digest(Domain::DeviceId, &[key.as_ref()])
}

/// Chooses a key package of each device of an account among what its mailbox holds: a random one of
/// those for one use that are in order, and were not chosen here before; the one of last resort only
/// if there is none. Devices that have no package in order are left out.
///
/// Whoever keeps the mailbox may hide packages, and show the same ones to everybody: which one is used
/// is best effort, never an assumption. It cannot make one up.
///
/// # Errors
/// When no device has a package in order.
pub(crate) fn choose_packages(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    now: Time,
    manifest: &SignedManifest,
    items: &[Item],
    kx: &dyn KeyAgreement,
) -> Result<Vec<(DeviceId, Vec<u8>)>, Error> {
    let mut offers: BTreeMap<[u8; 16], Vec<PublishedPackage>> = BTreeMap::new();
    for item in items {
        let Ok(published) = PublishedPackage::decode_exact(&item.data) else { continue };
        if now < published.statement.expires {
            offers.entry(published.statement.device.0).or_default().push(published);
        }
    }
    let mut chosen = Vec::new();
    for device in &manifest.manifest.devices {
        let mut offered = offers.remove(&device.id).unwrap_or_default();
        shuffle(&mut offered, rng);
        if let Some((published, reference)) = choose(vault, manifest, device, offered, kx) {
            remember_chosen(vault, &reference, published.statement.expires);
            let key_package = published.statement.key_package.into_vec();
            chosen.push((DeviceId(device.id), key_package));
        }
    }
    if chosen.is_empty() {
        let why = "none of its devices offers a key package".to_owned();
        return Err(Error::Unreachable { account: manifest.account(), why });
    }
    Ok(chosen)
}

fn choose(
    vault: &dyn Vault,
    manifest: &SignedManifest,
    device: &Device,
    offered: Vec<PublishedPackage>,
    kx: &dyn KeyAgreement,
) -> Option<(PublishedPackage, Digest)> {
    let (last_resort, one_time): (Vec<_>, Vec<_>) =
        offered.into_iter().partition(|published| published.statement.last_resort);
    let mut used = None;
    for published in one_time {
        let Some(reference) = published.check(manifest, device, kx) else { continue };
        if vault.get(&chosen_key(&reference)).is_none() {
            return Some((published, reference));
        }
        used.get_or_insert((published, reference));
    }
    let checked = |published: PublishedPackage| {
        published.check(manifest, device, kx).map(|reference| (published, reference))
    };
    // A package that we used ourselves is kept for a day by its device; the last resort is sure.
    last_resort.into_iter().find_map(checked).or(used)
}

fn shuffle<T>(values: &mut [T], rng: &mut dyn Entropy) {
    for last in (1..values.len()).rev() {
        values.swap(last, rng.below(last as u64 + 1) as usize);
    }
}

fn chosen_key(reference: &Digest) -> Vec<u8> {
    Table::Seen.key(&[b"k", reference.as_ref()])
}

fn remember_chosen(vault: &mut dyn Vault, reference: &Digest, expires: Time) {
    let mut all = chosen(vault);
    all.sort_by_key(|(_, expires)| *expires);
    for (key, _) in all.iter().take((all.len() + 1).saturating_sub(CHOSEN_MAX)) {
        vault.remove(key);
    }
    vault::save(vault, &chosen_key(reference), &expires);
}

fn forget_chosen(vault: &mut dyn Vault, now: Time) {
    for (key, expires) in chosen(vault) {
        if expires <= now {
            vault.remove(&key);
        }
    }
}

fn chosen(vault: &dyn Vault) -> Vec<(Vec<u8>, Time)> {
    vault::list(vault, &Table::Seen.key(&[b"k"]), &[], false, usize::MAX)
}
