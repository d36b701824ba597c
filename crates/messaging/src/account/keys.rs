//! The secrets behind what is published: shared by the devices of an account, erased when their time
//! is over.

use session_core::{Blob, Decode as _, Encode as _, Entropy, InboxAddress, List, Time, record};
use session_crypto::xwing::{XWingPublicKey, XWingSecret};
use session_protocol::inbox::{INTRODUCTIONS, Mailbox};
use session_protocol::manifest::{Directory, IntroRoute, SignedManifest};

use super::intro::forget_taken;
use super::{HOLD, Refused};
use crate::messenger::api::Source;
use crate::secret::Secret;
use crate::vault::{self, Table, Vault};

/// Most intro keys that are kept: one a week for [`HOLD`], and many more for an owner who publishes
/// again and again.
const INTROS_MAX: usize = 48;

/// Longest encoding of [`Shared`].
pub(crate) const KEYS_BYTES_MAX: usize = 8192;

record! {
    /// The secrets with which introductions are found and opened.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct IntroKey {
        pub(super) key_id: u32,
        /// From which the X-Wing key is made.
        pub(super) seed: Secret,
        /// From which the mailbox is derived.
        pub(super) route: Secret,
        pub(super) made: Time,
        /// When another one took its place.
        pub(super) replaced: Option<Time>,
    }

    /// What every device of the account has to know: [`Copied::Keys`](crate::say::Copied::Keys).
    struct Shared {
        version: u16,
        /// The manifest that these keys belong to, or a later one.
        seq: u64,
        /// From which the mailbox of key packages is derived.
        directory: Secret,
        intros: List<IntroKey, INTROS_MAX>,
    }

    /// The part of [`Shared`] that is kept in one place.
    pub(super) struct Routes {
        pub(super) seq: u64,
        pub(super) directory: Secret,
    }
}

impl IntroKey {
    pub(super) fn generate(rng: &mut dyn Entropy, now: Time, key_id: u32) -> Self {
        let (seed, route) = (Secret::generate(rng), Secret::generate(rng));
        Self { key_id, seed, route, made: now, replaced: None }
    }

    pub(super) fn secret(&self) -> XWingSecret {
        XWingSecret::from_seed(self.seed.expose())
    }

    pub(super) fn mailbox(&self) -> Mailbox {
        Mailbox::derive(&self.route.key(), &[b"intro"])
    }

    /// Returns what the manifest says of it.
    pub(super) fn route(&self) -> IntroRoute {
        intro_route(self.key_id, &self.secret().public(), &self.mailbox())
    }

    fn over(&self, now: Time) -> bool {
        self.replaced.is_some_and(|replaced| replaced + HOLD <= now)
    }

    pub(super) fn key(address: &InboxAddress) -> Vec<u8> {
        Table::Prekey.key(&[b"i", address.as_ref()])
    }

    pub(super) fn load(vault: &dyn Vault, address: &InboxAddress) -> Option<Self> {
        vault::load(vault, &Self::key(address))
    }

    fn save(&self, vault: &mut dyn Vault) {
        vault::save(vault, &Self::key(&self.mailbox().address()), self);
    }
}

/// Joins the public half of an X-Wing key and a mailbox.
pub(super) fn intro_route(key_id: u32, key: &XWingPublicKey, mailbox: &Mailbox) -> IntroRoute {
    let key = Blob::new(key.as_bytes().as_slice()).expect("the field has the size of the key");
    IntroRoute { key_id, key, rule: mailbox.rule(), write: mailbox.write.clone() }
}

impl Routes {
    fn key() -> Vec<u8> {
        Table::Prekey.key(&[b"r"])
    }

    pub(super) fn load(vault: &dyn Vault) -> Option<Self> {
        vault::load(vault, &Self::key())
    }

    pub(super) fn save(&self, vault: &mut dyn Vault) {
        vault::save(vault, &Self::key(), self);
    }

    /// Returns the mailbox of key packages.
    pub(super) fn directory(&self) -> Mailbox {
        Mailbox::derive(&self.directory.key(), &[b"directory"])
    }

    /// Returns what the manifest says of it.
    pub(super) fn published(&self) -> Directory {
        let mailbox = self.directory();
        Directory { rule: mailbox.rule(), read: mailbox.read }
    }
}

/// Returns all intro keys, oldest first.
pub(super) fn intros(vault: &dyn Vault) -> Vec<IntroKey> {
    let prefix = Table::Prekey.key(&[b"i"]);
    let found = vault::list::<IntroKey>(vault, &prefix, &[], false, usize::MAX);
    let mut keys: Vec<_> = found.into_iter().map(|(_, key)| key).collect();
    keys.sort_by_key(|key| (key.made, key.key_id));
    keys
}

/// Returns the intro key that the next manifest names, unless it is too old to.
pub(super) fn current(vault: &dyn Vault) -> Option<IntroKey> {
    intros(vault).into_iter().rev().find(|key| key.replaced.is_none())
}

/// Draws an intro key; those before it are replaced.
pub(super) fn draw_intro(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    now: Time,
    key_id: u32,
) -> IntroKey {
    let mut earlier = intros(vault);
    // The oldest make room: their owner published more often than anybody writes.
    while earlier.len() >= INTROS_MAX {
        erase(vault, &earlier.remove(0));
    }
    for mut key in earlier.into_iter().filter(|key| key.replaced.is_none()) {
        key.replaced = Some(now);
        key.save(vault);
    }
    let key = IntroKey::generate(rng, now, key_id);
    key.save(vault);
    key
}

/// Erases intro keys whose time is over.
pub(super) fn erase_old(vault: &mut dyn Vault, now: Time) {
    for key in intros(vault) {
        if key.over(now) {
            erase(vault, &key);
        }
    }
}

fn erase(vault: &mut dyn Vault, key: &IntroKey) {
    let address = key.mailbox().address();
    vault.remove(&IntroKey::key(&address));
    forget_taken(vault, &address);
}

/// Returns when the next intro key is to be erased.
pub(super) fn next_erasure(vault: &dyn Vault) -> Option<Time> {
    intros(vault).iter().filter_map(|key| key.replaced).min().map(|replaced| replaced + HOLD)
}

/// Returns the intro mailboxes to watch: of the current key, and of earlier ones until they are
/// erased.
pub(crate) fn sources(vault: &dyn Vault) -> Vec<Source> {
    let source = |key: &IntroKey| {
        let mailbox = key.mailbox();
        Source { rule: mailbox.rule(), read: Some(mailbox.read), namespace: INTRODUCTIONS }
    };
    intros(vault).iter().map(source).collect()
}

/// Returns the secrets with which the account is reached, for its other devices.
pub(crate) fn export_keys(vault: &dyn Vault) -> Option<Blob<KEYS_BYTES_MAX>> {
    let Routes { seq, directory } = Routes::load(vault)?;
    let intros = List::new(intros(vault)).expect("no more are kept");
    let shared = Shared { version: 1, seq, directory, intros };
    Some(Blob::new(shared.to_bytes()).expect("48 intro keys are 4 KiB"))
}

/// Whether secrets are those behind what a manifest publishes, and no others are among them that are
/// in use.
pub(super) fn belong_to(bytes: &[u8], manifest: &SignedManifest) -> bool {
    let Ok(shared) = Shared::decode_exact(bytes) else { return false };
    let routes = Routes { seq: shared.seq, directory: shared.directory };
    let mut current = shared.intros.iter().filter(|key| key.replaced.is_none());
    shared.seq <= manifest.manifest.seq
        && routes.published() == manifest.manifest.directory
        && current.all(|key| key.route() == manifest.manifest.intro)
}

/// Takes over the secrets that another device of the account says are in use. Older ones than those
/// here change nothing.
///
/// # Errors
/// When they are malformed or of another version.
pub(crate) fn import_keys(vault: &mut dyn Vault, now: Time, bytes: &[u8]) -> Result<(), Refused> {
    let shared = Shared::decode_exact(bytes)
        .map_err(|why| Refused::Malformed { what: "what another device says of keys", why })?;
    if shared.version != 1 {
        return Err(Refused::Invalid { field: "version of shared keys", why: "it is not 1" });
    }
    let seq = Routes::load(vault).map_or(0, |routes| routes.seq);
    if shared.seq < seq {
        return Ok(());
    }
    Routes { seq: shared.seq, directory: shared.directory }.save(vault);
    for mut theirs in shared.intros {
        let ours = IntroKey::load(vault, &theirs.mailbox().address());
        if theirs.over(now) || (ours.is_none() && intros(vault).len() >= INTROS_MAX) {
            continue;
        }
        // Whoever heard first that a key was replaced erases it first.
        let heard = [theirs.replaced, ours.and_then(|ours| ours.replaced)];
        theirs.replaced = heard.into_iter().flatten().min();
        theirs.save(vault);
    }
    replace_all_but_newest(vault, now);
    Ok(())
}

fn replace_all_but_newest(vault: &mut dyn Vault, now: Time) {
    let mut open: Vec<_> = intros(vault).into_iter().filter(|key| key.replaced.is_none()).collect();
    open.pop();
    for mut key in open {
        key.replaced = Some(now);
        key.save(vault);
    }
}
