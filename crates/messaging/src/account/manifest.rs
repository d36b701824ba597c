//! The manifest of the own account: made, renewed, stored.

use session_core::{Digest, Encode as _, Entropy, List, Span, Time, record};
use session_protocol::inbox::{AccessRule, MANIFESTS};
use session_protocol::limits::TTL_OWNER_MAX;
use session_protocol::manifest::{Device, LegacyLink, Manifest, SignedManifest};
use session_protocol::request::ItemBytes;

use super::keys::{self, Routes};
use super::known::{is_listed, keep_own};
use super::{Begun, Me, Own, Todo, known, packages};
use crate::Cx;
use crate::messenger::api::{Error, Target};
use crate::mls::KeyAgreement;
use crate::outbox::{Outbox, Purpose};
use crate::secret::Secret;
use crate::vault::{self, Table, Vault};

/// Age at which manifest, intro key and last-resort key package are made anew: a stolen intro key
/// opens introductions of a week, and of the time that it is kept afterwards.
pub(super) const RENEW: Span = Span::from_days(7);

/// How long a manifest is believed: as long as swarms keep it.
const LIFE: Span = TTL_OWNER_MAX;

/// Age at which a manifest that cannot be renewed here is stored again.
const STORE_AGAIN: Span = Span::from_days(15);

/// How long [`Todo::LookUpSelf`] may take before it is asked for again.
const ASK_AGAIN: Span = Span::from_secs(60);

fn asked_key() -> Vec<u8> {
    Table::Meta.key(&[b"account/asked"])
}

record! {
    /// Which manifest was stored last by this device, and when.
    struct StoredAt {
        digest: Digest,
        at: Time,
    }
}

impl StoredAt {
    fn key() -> Vec<u8> {
        Table::Meta.key(&[b"account/stored"])
    }
}

/// What the next manifest says beside what never changes.
pub(super) struct Draft {
    pub(super) devices: Vec<Device>,
    pub(super) legacy: Option<LegacyLink>,
    /// Whether intro key and mailbox are drawn anew, even if they are young.
    pub(super) draw_intro: bool,
    /// Whether the mailbox of key packages is drawn anew.
    pub(super) draw_directory: bool,
    /// The lowest number that it may have.
    pub(super) seq_min: u64,
}

impl Draft {
    /// Begins with what the newest manifest says.
    pub(super) fn after(newest: &SignedManifest) -> Self {
        let devices = newest.manifest.devices.to_vec();
        let legacy = newest.manifest.legacy.clone();
        Self { devices, legacy, draw_intro: false, draw_directory: false, seq_min: 1 }
    }
}

/// Makes the first manifest of an account, or the first one after it was restored: with this device
/// alone.
pub(super) fn begin(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    now: Time,
    me: &mut Me,
) -> Result<SignedManifest, Error> {
    let mut own = Own::load(vault).ok_or(Error::NotFound { what: "account" })?;
    let device =
        Device { id: me.device.0, key: me.key.key_hash(), added: now, name: own.name.clone() };
    let legacy = known(vault, &me.account).and_then(|it| it.manifest.legacy);
    // Contacts may know later manifests than the swarm still has: theirs must be lower in any case.
    let seq_min = if own.begun == Begun::LookedUp { now.as_millis() / 1000 } else { 1 };
    own.begun = Begun::Yes;
    own.save(vault);
    let (draw_intro, draw_directory) = (true, true);
    make(
        vault,
        rng,
        now,
        me,
        Draft { devices: vec![device], legacy, draw_intro, draw_directory, seq_min },
    )
}

/// Makes the next manifest and keeps it; to be [stored](store) by the caller.
///
/// # Errors
/// When this device does not hold the keys of the account, or there are too many devices.
pub(super) fn make(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    now: Time,
    me: &mut Me,
    draft: Draft,
) -> Result<SignedManifest, Error> {
    let keys = me.keys()?;
    let devices = List::new(draft.devices).map_err(|over| Error::TooMany {
        field: "devices",
        got: over.got,
        limit: over.limit,
    })?;
    let newest = known(vault, &me.account);
    let seq = newest.as_ref().map_or(0, |it| it.manifest.seq).saturating_add(1).max(draft.seq_min);
    let intro = intro_key(vault, rng, now, seq, draft.draw_intro);
    let routes = match Routes::load(vault) {
        Some(routes) if !draft.draw_directory => Routes { seq, ..routes },
        _ => Routes { seq, directory: Secret::generate(rng) },
    };
    routes.save(vault);
    let manifest = Manifest {
        version: 1,
        network: me.network,
        keys: keys.public().clone(),
        seq,
        previous: newest.map(|it| it.digest()).unwrap_or_default(),
        made: now,
        expiry: now + LIFE,
        intro: intro.route(),
        directory: routes.published(),
        devices,
        legacy: draft.legacy,
    };
    let signed = manifest.sign(keys, rng);
    keep_own(vault, now, &signed);
    me.follow(&signed);
    Ok(signed)
}

fn intro_key(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    now: Time,
    seq: u64,
    draw: bool,
) -> keys::IntroKey {
    match keys::current(vault).filter(|key| !draw && now < key.made + RENEW) {
        Some(key) => key,
        // Tells keys apart that follow each other, which their manifests' numbers do.
        None => keys::draw_intro(vault, rng, now, seq as u32),
    }
}

/// Has a manifest stored where everybody looks for it.
pub(super) fn store(cx: &mut Cx<'_>, outbox: &mut Outbox, manifest: &SignedManifest) {
    let rule = AccessRule::from(manifest.account());
    let to = Target { rule, write: None, namespace: MANIFESTS };
    let data = ItemBytes::new(manifest.to_bytes()).expect("a manifest has 10 KiB at most");
    // Not longer than it is believed, and not shorter than nodes take.
    let left = manifest.manifest.expiry.since(cx.now).clamp(Span::from_days(1), TTL_OWNER_MAX);
    outbox.send(cx, Purpose::Published, to, left, data);
    let stored = StoredAt { digest: manifest.digest(), at: cx.now };
    vault::save(cx.store, &StoredAt::key(), &stored);
}

/// Makes the next manifest and has it stored.
pub(super) fn issue(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &mut Me,
    draft: Draft,
) -> Result<(), Error> {
    let manifest = make(cx.store, cx.rng, cx.now, me, draft)?;
    store(cx, outbox, &manifest);
    Ok(())
}

/// Publishes what is due: the manifest, and the key packages of this device; with `force`, whatever
/// their age. Erases secrets whose time is over.
///
/// A device without the keys of the account publishes its key packages, and stores the newest manifest
/// again before the swarm forgets it.
pub(crate) fn publish(
    cx: &mut Cx<'_>,
    outbox: &mut Outbox,
    me: &mut Me,
    kx: &dyn KeyAgreement,
    force: bool,
) -> Vec<Todo> {
    keys::erase_old(cx.store, cx.now);
    packages::erase_old(cx, kx);
    let begun = Own::load(cx.store).map(|own| own.begun);
    if begun == Some(Begun::MustLookUp) {
        vault::save(cx.store, &asked_key(), &cx.now);
        return vec![Todo::LookUpSelf];
    }
    let mut todo = Vec::new();
    if begun == Some(Begun::LookedUp) && begin(cx.store, cx.rng, cx.now, me).is_err() {
        return todo;
    }
    let Some(newest) = own_manifest(cx.store, me) else { return todo };
    if me.holds_keys() && (force || renewal(cx.store, &newest) <= cx.now) {
        let issued = issue(cx, outbox, me, Draft::after(&newest));
        if issued.is_ok() && newest.manifest.devices.len() > 1 {
            todo.push(Todo::ShareKeys);
        }
    } else if storing(cx.store, me, &newest) <= cx.now || (force && !newest.is_expired(cx.now)) {
        store(cx, outbox, &newest);
    }
    packages::replenish(cx, outbox, me, kx, force);
    todo
}

/// Returns the newest manifest of the own account if it lists this device.
fn own_manifest(vault: &dyn Vault, me: &Me) -> Option<SignedManifest> {
    known(vault, &me.account).filter(|it| is_listed(it, &me.device, &me.key.key_hash()))
}

/// Returns when the manifest is to be made anew.
fn renewal(vault: &dyn Vault, newest: &SignedManifest) -> Time {
    let intro = keys::current(vault);
    let directory = Routes::load(vault).map(|routes| routes.published());
    let ours = intro.is_some_and(|key| key.route() == newest.manifest.intro)
        && directory.as_ref() == Some(&newest.manifest.directory);
    // Another device made it and its secrets have not come: nobody could read what is sent there.
    if ours { newest.manifest.made + RENEW } else { newest.manifest.made + Span::from_days(1) }
}

/// Returns when the manifest is to be stored, or stored again, as it is.
fn storing(vault: &dyn Vault, me: &Me, newest: &SignedManifest) -> Time {
    let due = match vault::load::<StoredAt>(vault, &StoredAt::key()) {
        Some(stored) if stored.digest == newest.digest() => stored.at + STORE_AGAIN,
        _ if me.holds_keys() => Time::ZERO,
        // Whoever made it stored it; only if that was long ago it is this device's turn.
        _ => newest.manifest.made + STORE_AGAIN,
    };
    if due < newest.manifest.expiry { due } else { Time::MAX }
}

/// Returns when [`publish`] has something to do.
pub(crate) fn next_due(vault: &dyn Vault, me: &Me) -> Time {
    match Own::load(vault).map(|own| own.begun) {
        None => return Time::MAX,
        Some(Begun::MustLookUp) => {
            let asked = vault::load::<Time>(vault, &asked_key());
            return asked.map_or(Time::ZERO, |asked| asked + ASK_AGAIN);
        }
        Some(Begun::LookedUp) => return Time::ZERO,
        Some(Begun::Yes) => {}
    }
    let mut due = vec![keys::next_erasure(vault), packages::next_erasure(vault)];
    if let Some(newest) = own_manifest(vault, me) {
        due.push(Some(storing(vault, me, &newest)));
        due.push(me.holds_keys().then(|| renewal(vault, &newest)));
        due.push(Some(packages::next_due(vault)));
    }
    due.into_iter().flatten().min().unwrap_or(Time::MAX)
}
