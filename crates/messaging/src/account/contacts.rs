//! Whom this account knows: names, standing, and whose safety number was compared.

use session_core::{AccountId, Digest, Domain, Text, Time, digest, record};
use session_protocol::manifest::SignedManifest;

use super::known::{Known, known};
use crate::messenger::api::{Error, Warning};
use crate::safety;
use crate::say::{NAME_BYTES_MAX, Standing};
use crate::vault::{self, Table, Vault};

/// Most strangers whose requests wait for a decision. With one more, the oldest request is dropped.
const STRANGERS_MAX: usize = 100;

record! {
    /// An account that this one knows.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Contact {
        /// Who.
        pub account: AccountId,
        /// How it is treated.
        pub standing: Standing,
        /// The name under which it is shown; empty if it was given none.
        pub name: Text<NAME_BYTES_MAX>,
        /// Since when it is known.
        pub since: Time,
        /// What was compared, if anything was.
        pub verified: Option<Verified>,
    }

    /// That a safety number was compared.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Verified {
        /// When.
        pub at: Time,
        /// The devices that the account had then, in one digest.
        devices: Digest,
        /// Whether it has had others since.
        pub changed: bool,
    }
}

impl Contact {
    fn key(account: &AccountId) -> Vec<u8> {
        Table::Account.key(&[b"c", account.as_ref()])
    }

    fn save(&self, vault: &mut dyn Vault) {
        vault::save(vault, &Self::key(&self.account), self);
    }

    fn new(account: AccountId, now: Time) -> Self {
        let (standing, name) = (Standing::Stranger, Text::default());
        Self { account, standing, name, since: now, verified: None }
    }

    /// Tells whether the safety number was compared, and the devices are still those.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified.is_some_and(|verified| !verified.changed)
    }
}

/// Returns what is decided about an account, if it is known.
#[must_use]
pub fn contact(vault: &dyn Vault, account: &AccountId) -> Option<Contact> {
    vault::load(vault, &Contact::key(account))
}

/// Whether nothing of an account is shown or answered.
#[must_use]
pub fn is_blocked(vault: &dyn Vault, account: &AccountId) -> bool {
    contact(vault, account).is_some_and(|it| it.standing == Standing::Blocked)
}

/// Returns everybody who is known: accepted, blocked, and strangers.
#[must_use]
pub fn contacts(vault: &dyn Vault) -> Vec<Contact> {
    let found = vault::list::<Contact>(vault, &Table::Account.key(&[b"c"]), &[], false, usize::MAX);
    found.into_iter().map(|(_, contact)| contact).collect()
}

/// Returns the number that two people compare, as sixty digits; `None` while the manifest of the
/// account is not known.
#[must_use]
pub fn safety_number(vault: &dyn Vault, account: &AccountId) -> Option<String> {
    let own = known(vault, &super::account(vault)?)?;
    let other = known(vault, account)?;
    Some(safety::number(&own.manifest.keys, &other.manifest.keys))
}

/// Decides how an account is treated. `None` leaves name or verification as they are.
///
/// # Errors
/// When the name is too long, or an account is called verified whose manifest is not known: there is
/// nothing that could have been compared.
pub(crate) fn set_contact(
    vault: &mut dyn Vault,
    now: Time,
    account: &AccountId,
    standing: Standing,
    name: Option<&str>,
    verified: Option<bool>,
) -> Result<Contact, Error> {
    let mut it = contact(vault, account).unwrap_or_else(|| Contact::new(*account, now));
    it.standing = standing;
    if let Some(name) = name {
        it.name = Text::new(name).map_err(|over| Error::TooMany {
            field: "bytes of the name",
            got: over.got,
            limit: over.limit,
        })?;
    }
    match verified {
        None => {}
        Some(false) => it.verified = None,
        Some(true) => {
            let manifest = known(vault, account).ok_or_else(|| Error::Unreachable {
                account: *account,
                why: "its manifest is not known, so no safety number was compared".to_owned(),
            })?;
            let devices = device_set(&manifest);
            it.verified = Some(Verified { at: now, devices, changed: false });
        }
    }
    it.save(vault);
    Ok(it)
}

/// Notes that a stranger wrote; who is known already stays as it is. Returns the strangers that are
/// forgotten because there are too many.
pub(crate) fn meet(vault: &mut dyn Vault, now: Time, account: &AccountId) -> Vec<AccountId> {
    if contact(vault, account).is_some() {
        return Vec::new();
    }
    let mut strangers = contacts(vault);
    strangers.retain(|it| it.standing == Standing::Stranger);
    strangers.sort_by_key(|it| (it.since, it.account));
    let over = (strangers.len() + 1).saturating_sub(STRANGERS_MAX);
    let dropped: Vec<_> = strangers.into_iter().take(over).map(|it| it.account).collect();
    dropped.iter().for_each(|account| forget_contact(vault, account));
    Contact::new(*account, now).save(vault);
    dropped
}

/// Forgets an account, its manifest included.
pub(super) fn forget_contact(vault: &mut dyn Vault, account: &AccountId) {
    vault.remove(&Contact::key(account));
    Known::remove(vault, account);
}

/// Takes over what another device of the account has decided.
pub(crate) fn restore(vault: &mut dyn Vault, contact: &Contact) {
    contact.save(vault);
}

/// Returns how many are known.
pub(super) fn count(vault: &dyn Vault) -> usize {
    let mut count = 0;
    vault.scan(&Table::Account.key(&[b"c"]), &[], false, &mut |_, _| {
        count += 1;
        true
    });
    count
}

/// Compares the devices of an account with those that it had when it was verified. Warns once.
pub(super) fn devices_now(vault: &mut dyn Vault, manifest: &SignedManifest) -> Option<Warning> {
    let mut it = contact(vault, &manifest.account())?;
    let verified = it.verified.as_mut().filter(|verified| !verified.changed)?;
    if verified.devices == device_set(manifest) {
        return None;
    }
    verified.changed = true;
    it.save(vault);
    Some(Warning::SafetyNumberChanged { account: it.account })
}

fn device_set(manifest: &SignedManifest) -> Digest {
    let mut keys: Vec<_> = manifest.manifest.devices.iter().map(|device| device.key).collect();
    keys.sort();
    let parts: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
    digest(Domain::DeviceSet, &parts)
}
